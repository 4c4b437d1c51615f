//! Produce on the owner's side: batches are appended, or wait for room that is being made.
//!
//! What a producer is told for good (that it is fenced, that its transaction is over) is as durable as an acknowledgement: the marker that says so may not
//! have reached the disk, and if it never does, the producer was what it believed to be.
//!
//! Invariants: batches are appended in the order in which they came, so while one waits every later one waits behind it; a pipeline without sequence
//! numbers keeps its order. Nothing waits for room that nobody makes (a full disk), longer than [`PRODUCE_HOLD_MS_MAX`], or past
//! [`HELD_BYTES_MAX`]: it gets the retriable error that clients know.

use std::collections::VecDeque;
use std::time::Duration;
use std::vec;

use super::{Job, Owner, not_produced};
use crate::limits::{HELD_BYTES_MAX, PRODUCE_HOLD_MS_MAX};
use crate::log::{AppendError, CommitSeq, ShardLog};
use crate::mesh::{Answer, ProducePart, Produced};
use crate::requests::codes;
use crate::time::{Deadline, Time};

const NO_ROOM: &str = "The journal has no room before older records have been settled: try again.";

/// What waits for room, the first first.
#[derive(Debug, Default)]
pub(super) struct Held {
    queue: VecDeque<HeldProduce>,
    bytes: u64,
}

/// A produce of which something has not been appended.
#[derive(Debug)]
struct HeldProduce {
    job: u64,
    /// What has not been.
    parts: vec::IntoIter<ProducePart>,
    /// Memory of them.
    bytes: u64,
    since_ns: u64,
    until: Deadline,
}

impl Owner {
    /// Takes a produce in; what it came to so far, and for how many things it waits.
    pub(super) fn produce(
        &mut self,
        now: Time,
        log: &mut ShardLog,
        job: u64,
        parts: Vec<ProducePart>,
        since_ns: u64,
    ) -> (Answer, usize) {
        let bytes = parts.iter().map(|part| (part.batch.len() + size_of::<ProducePart>()) as u64).sum();
        let mut produced = Vec::with_capacity(parts.len());
        let until = now.after(Duration::from_millis(PRODUCE_HOLD_MS_MAX));
        let mut produce = HeldProduce { job, parts: parts.into_iter(), bytes, since_ns, until };
        let mut waits = 0;
        if self.held.queue.is_empty() {
            let may_wait = bytes <= HELD_BYTES_MAX;
            waits += usize::from(self.append_all(now, log, &mut produce, &mut produced, may_wait));
        } else if self.held.bytes + bytes > HELD_BYTES_MAX {
            // Nor is it appended: it would pass what waits.
            for part in produce.parts.by_ref() {
                if let Some(ix) = log.find(part.topic, part.partition) {
                    log.refuse(now, ix, &part.info);
                }
                produced.push(not_produced(part.at, codes::NOT_ENOUGH_REPLICAS, NO_ROOM.into()));
            }
        }
        if !produce.parts.as_slice().is_empty() {
            waits += 1;
            self.held.bytes += bytes;
            self.held.queue.push_back(produce);
        }
        (Answer::Produced { parts: produced, durable_ns: now.mono_ns }, waits)
    }

    /// Goes on with what waits for room, as far as there is some now.
    pub fn resume(&mut self, now: Time, log: &mut ShardLog) {
        while let Some(mut produce) = self.held.queue.pop_front() {
            let mut more = Vec::new();
            let waits = self.append_all(now, log, &mut produce, &mut more, true);
            if let Some(Job { answer: Answer::Produced { parts, durable_ns }, begun_ns, waits: all, .. }) =
                self.jobs.get_mut(&produce.job)
            {
                parts.append(&mut more);
                (*durable_ns, *begun_ns) = (now.mono_ns, now.mono_ns);
                *all += usize::from(waits);
            }
            if !produce.parts.as_slice().is_empty() {
                return self.held.queue.push_front(produce);
            }
            self.held.bytes -= produce.bytes;
            self.settle_job(produce.job, 1);
        }
    }

    /// When [`Owner::resume`] is wanted at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.held.queue.front().map(|produce| produce.until)
    }

    /// Appends until there is no room, if it may wait for some; else to the end. Whether a commit is to be waited for.
    fn append_all(
        &mut self,
        now: Time,
        log: &mut ShardLog,
        produce: &mut HeldProduce,
        produced: &mut Vec<Produced>,
        may_wait: bool,
    ) -> bool {
        // Commits complete in order, so the last one stands for all.
        let mut last: Option<CommitSeq> = None;
        let waits_for_room = may_wait && log.makes_room() && !now.reached(produce.until);
        while let Some(part) = produce.parts.as_slice().first() {
            let Some((answer, wait)) = self.append(now, log, part, waits_for_room) else { break };
            produced.push(answer);
            last = last.max(wait);
            produce.parts.next();
        }
        if produce.parts.as_slice().is_empty() {
            self.append_ns.record(now.mono_ns.saturating_sub(produce.since_ns));
        }
        if let Some(commit) = last {
            self.await_commit(commit, produce.job);
        }
        last.is_some()
    }

    /// Appends one batch. `None`: there is no room and it waits for some.
    fn append(
        &self,
        now: Time,
        log: &mut ShardLog,
        part: &ProducePart,
        waits_for_room: bool,
    ) -> Option<(Produced, Option<CommitSeq>)> {
        let no = |code, message| Some((not_produced(part.at, code, message), None));
        let Some(ix) = log.find(part.topic, part.partition) else {
            return no(codes::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.".into());
        };
        if let Some(reason) = &self.full {
            log.refuse(now, ix, &part.info);
            return no(codes::NOT_ENOUGH_REPLICAS, reason.clone());
        }
        let (base_offset, append_time_ms, wait) =
            match log.append_verified(now, ix, &part.batch, &part.info, 0, part.verified) {
                Ok(appended) => (appended.base_offset, appended.append_time_ms, appended.wait),
                Err(AppendError::Duplicate { base_offset, append_time_ms, wait }) => {
                    (base_offset, append_time_ms, wait)
                }
                Err(AppendError::OutOfOrderSequence { expected, got }) => {
                    return no(
                        codes::OUT_OF_ORDER_SEQUENCE_NUMBER,
                        format!("Out of order sequence number: {got} came and {expected} is next."),
                    );
                }
                Err(AppendError::InvalidProducerEpoch { known, got }) => {
                    let why = format!("Producer epoch {got} is older than {known}.");
                    return Some((not_produced(part.at, codes::INVALID_PRODUCER_EPOCH, why), log.undurable(ix)));
                }
                Err(AppendError::Unverified { guard }) => {
                    let answer = not_produced(part.at, codes::NONE, String::new());
                    return Some((Produced { message: None, guard: Some(guard), ..answer }, None));
                }
                Err(AppendError::NotInTransaction(why)) => {
                    return Some((not_produced(part.at, codes::INVALID_TXN_STATE, why.into()), log.undurable(ix)));
                }
                Err(AppendError::TooManyTransactions) => {
                    return no(
                        codes::NOT_ENOUGH_REPLICAS,
                        "Too many aborted transactions: delete older records.".into(),
                    );
                }
                Err(AppendError::CoordinatorFenced { .. }) => unreachable!("only ends of transactions are fenced so"),
                Err(AppendError::Storage(reason)) => return no(codes::KAFKA_STORAGE_ERROR, reason),
                // Another shard took the request in before it was told to stop.
                Err(AppendError::Closed) => return no(codes::NOT_LEADER_OR_FOLLOWER, "The broker is stopping.".into()),
                Err(AppendError::TooLarge { bytes_max }) => {
                    return no(
                        codes::MESSAGE_TOO_LARGE,
                        format!("The journal takes batches of at most {bytes_max} bytes."),
                    );
                }
                Err(AppendError::Full) if waits_for_room => return None,
                Err(AppendError::Full) => return no(codes::NOT_ENOUGH_REPLICAS, NO_ROOM.into()),
            };
        let log_start = log.partition(ix).map_or(-1, |p| p.log_start());
        let answer = Produced {
            at: part.at,
            error_code: codes::NONE,
            message: None,
            base_offset,
            append_time_ms: append_time_ms.unwrap_or(-1),
            log_start,
            guard: None,
        };
        Some((answer, wait))
    }
}
