//! The owner's side of requests: what a shard does on its own partitions for a connection that may be on another shard.
//!
//! Invariants: every call gets one answer, whole; a produce only after each of its batches has reached its tier. A watch wakes once per call.

mod calls;
mod ends;
mod hosts;
mod markers;
mod produce;
mod txns;
mod visits;
mod watches;

use std::collections::VecDeque;
use std::sync::Arc;

use floe_wire::ids::TopicId;
use floe_wire::messages::list_offsets as places;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

pub use self::calls::is_own;
use self::ends::Ends;
pub use self::hosts::GroupHost;
use self::txns::Markers;
pub use self::txns::TxnHost;
use self::watches::Watches;
use crate::config::TopicSettings;
use crate::event::{Effects, ShardId};
use crate::limits::COLD_READ_BYTES_MAX;
use crate::log::{
    CommitSeq, LookupOutcome, PartitionIx, ReadData, ReadError, ReadLimits, ReadOutcome, ReadTicket, ShardLog,
};
use crate::mesh::{Answer, Call, FetchPart, Fetched, Found, LookupPart, Place, Produced};
use crate::metrics::Histogram;
use crate::requests::codes;
use crate::time::Time;

/// A call at work.
#[derive(Debug)]
struct Job {
    from: ShardId,
    token: u64,
    answer: Answer,
    begun_ns: u64,
    /// Commits and tickets it waits for.
    waits: usize,
}

/// A part of a job that waits for the disk.
#[derive(Debug)]
struct Awaited {
    job: u64,
    /// Which of the answer's parts.
    at: usize,
    bound: Bound,
}

/// What may be given of what the disk brings.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// All of it.
    None,
    /// Only records below this offset.
    Below(i64),
    /// What is committed: from this offset, with the aborted transactions that are known, unless some have been forgotten since.
    Committed { ix: PartitionIx, from: i64, forgotten: u64 },
}

/// What a look at a fetch's partitions gives.
struct Look {
    fetched: Vec<Fetched>,
    /// By its part: whether something is there, or awaited from the disk.
    found: Vec<bool>,
    /// Reads of the disk under way.
    waits: usize,
}

/// Calls at work and watches, of one shard.
#[derive(Debug, Default)]
pub struct Owner {
    /// By topic, as the image says.
    pub settings: HashMap<TopicId, Arc<TopicSettings>, FxBuildHasher>,
    /// From a produce's arrival to its being appended.
    pub append_ns: Histogram,
    /// From being appended to having reached its tier.
    pub durable_ns: Histogram,
    /// Why nothing is appended, while the disk is nearly full.
    pub full: Option<String>,
    held: produce::Held,
    jobs: HashMap<u64, Job, FxBuildHasher>,
    last_job: u64,
    /// Jobs that wait for commits, in the order of these.
    commits: VecDeque<(CommitSeq, u64)>,
    tickets: HashMap<ReadTicket, Awaited, FxBuildHasher>,
    /// Who waits for more.
    pub watches: Watches,
    /// The coordinators of the groups whose partitions are here.
    pub groups: GroupHost,
    /// The coordinators of the transactional ids whose partitions are here.
    pub txns: TxnHost,
    /// Of their ends.
    pub markers: Markers,
    /// Committed offsets and the ends of their partitions.
    pub ends: Ends,
    answers: VecDeque<(ShardId, u64, Answer)>,
}

impl Owner {
    /// Takes a call in.
    pub fn call(&mut self, now: Time, log: &mut ShardLog, from: ShardId, token: u64, call: Call, fx: &mut Effects) {
        let call = match call {
            Call::Group { at, call } => {
                return self.groups.call(now, log, (from, token, at), *call, self.full.is_some());
            }
            Call::Txn { at, call } => {
                return self.txns.call(now, log, (from, token, at), *call, self.full.is_some());
            }
            call => call,
        };
        self.last_job += 1;
        let job = self.last_job;
        let (answer, waits) = match call {
            Call::Produce { parts, since_ns } => self.produce(now, log, job, parts, since_ns),
            Call::Fetch { parts, bytes_max, committed, watch_below, again } => {
                let only = if again { self.watches.look_again((from, token)) } else { None };
                let Look { fetched, found, waits } =
                    self.fetch(now, log, job, (&parts, only.as_deref()), (bytes_max, committed), fx);
                // Whoever gets enough now need not be told of more.
                let failed = |part: &Fetched| part.error_code != codes::NONE;
                let watches = fetched.iter().map(|part| part.data.bytes).sum::<u64>() < watch_below
                    && !fetched.iter().any(failed);
                match only {
                    _ if !watches => {}
                    Some(_) => self.watches.go_on((from, token), &found),
                    None => {
                        let ixs = parts.iter().map(|part| log.find(part.topic, part.partition)).collect();
                        self.watches.begin((from, token), ixs, found);
                    }
                }
                (Answer::Fetched { parts: fetched, watches }, waits)
            }
            Call::Lookup(parts) => self.lookup(now, log, job, &parts, fx),
            Call::Visit(visits) => self.visit(now, log, job, &visits),
            Call::Markers(parts) => self.mark(now, log, job, &parts),
            Call::Group { .. } | Call::Txn { .. } => unreachable!("their hosts have them"),
        };
        self.jobs.insert(job, Job { from, token, answer, begun_ns: now.mono_ns, waits });
        self.settle_job(job, 0);
    }

    /// The next answer that is whole: whose it is, and by which token it is awaited.
    pub fn next_answer(&mut self) -> Option<(ShardId, u64, Answer)> {
        self.answers.pop_front().or_else(|| self.groups.next_answer()).or_else(|| self.txns.next_answer())
    }

    /// Commits up to this one have completed.
    pub fn committed(&mut self, now: Time, up_to: CommitSeq) {
        self.groups.committed(now, up_to);
        self.txns.committed(now, up_to);
        while let Some((_, id)) = self.commits.pop_front_if(|(commit, _)| *commit <= up_to) {
            if let Some(Job { answer: Answer::Produced { durable_ns, .. }, begun_ns, .. }) = self.jobs.get_mut(&id) {
                *durable_ns = now.mono_ns;
                self.durable_ns.record(now.mono_ns.saturating_sub(*begun_ns));
            }
            self.settle_job(id, 1);
        }
    }

    /// No commit completes any more: what waits for one ends in an error.
    pub fn journal_failed(&mut self, reason: &str) {
        self.groups.journal_failed();
        self.txns.journal_failed();
        for (_, job) in std::mem::take(&mut self.commits) {
            match self.jobs.get_mut(&job).map(|job| &mut job.answer) {
                Some(Answer::Produced { parts, .. }) => {
                    for part in parts.iter_mut().filter(|part| part.error_code == codes::NONE) {
                        *part = not_produced(part.at, codes::KAFKA_STORAGE_ERROR, reason.to_owned());
                    }
                }
                Some(Answer::Visited(visited)) => visits::fail(visited),
                Some(Answer::Marked(marked)) => markers::fail(marked),
                _ => {}
            }
            self.settle_job(job, 1);
        }
    }

    /// A cold read ended.
    pub fn read_done(
        &mut self,
        log: Option<&ShardLog>,
        ticket: ReadTicket,
        result: Result<ReadData, ReadError>,
        fx: &mut Effects,
    ) {
        let Some(result) = self.groups.read_done(ticket, result, fx) else { return };
        let Some(result) = self.txns.read_done(ticket, result, fx) else { return };
        let Some(Awaited { job, at, bound }) = self.tickets.remove(&ticket) else { return };
        if let Some(Job { answer: Answer::Fetched { parts, .. }, .. }) = self.jobs.get_mut(&job) {
            match result {
                Ok(data) => match bound {
                    Bound::Committed { ix, from, forgotten } => {
                        let known = log.and_then(|log| log.partition(ix)).map(|p| p.producers().transactions());
                        // Some may have been forgotten that what was read needs: nothing for now, and the client asks again.
                        if let Some(known) = known.filter(|known| known.forgotten() == forgotten) {
                            parts[at].aborted = known.aborted_in(from, data.end);
                            parts[at].data = data;
                        }
                    }
                    _ => parts[at].data = data,
                },
                Err(error) => parts[at].error_code = read_code(&error),
            }
        }
        self.settle_job(job, 1);
    }

    /// A cold lookup ended.
    pub fn lookup_done(&mut self, ticket: ReadTicket, result: Result<Option<crate::log::Found>, ReadError>) {
        let Some(Awaited { job, at, bound }) = self.tickets.remove(&ticket) else { return };
        if let Some(Job { answer: Answer::Found(parts), .. }) = self.jobs.get_mut(&job) {
            match result {
                Ok(found) => enter_found(&mut parts[at], found, bound),
                Err(error) => parts[at].error_code = read_code(&error),
            }
        }
        self.settle_job(job, 1);
    }

    /// `ended` of the things a job waits for have ended.
    fn settle_job(&mut self, job: u64, ended: usize) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        entry.waits -= ended;
        if entry.waits == 0
            && let Some(Job { from, token, answer, .. }) = self.jobs.remove(&job)
        {
            self.answers.push_back((from, token, answer));
        }
    }

    fn await_commit(&mut self, commit: CommitSeq, job: u64) {
        // A repeat may wait for an older commit than those before it do.
        match self.commits.back() {
            Some((last, _)) if *last > commit => {
                let at = self.commits.partition_point(|(earlier, _)| *earlier <= commit);
                self.commits.insert(at, (commit, job));
            }
            _ => self.commits.push_back((commit, job)),
        }
    }

    fn fetch(
        &mut self,
        now: Time,
        log: &mut ShardLog,
        job: u64,
        (parts, only): (&[FetchPart], Option<&[bool]>),
        (bytes_max, committed): (u64, bool),
        fx: &mut Effects,
    ) -> Look {
        let count = only.map_or(parts.len(), |only| only.iter().filter(|wanted| **wanted).count());
        let (mut fetched, mut waits, mut left) = (Vec::with_capacity(count), 0, bytes_max);
        let mut found = vec![false; parts.len()];
        for (at, part) in parts.iter().enumerate() {
            if only.is_some_and(|only| !only[at]) {
                continue;
            }
            let mut answer = Fetched {
                at: part.at,
                error_code: codes::NONE,
                high_watermark: -1,
                last_stable: -1,
                log_start: -1,
                log_end: -1,
                data: ReadData::default(),
                aborted: Vec::new(),
            };
            let ix = log.find(part.topic, part.partition);
            if let Some((ix, p)) = ix.and_then(|ix| Some((ix, log.partition(ix)?))) {
                (answer.high_watermark, answer.log_start) = (p.high_watermark(), p.log_start());
                (answer.last_stable, answer.log_end) = (p.last_stable(), p.log_end());
                let at_least_one = left == bytes_max;
                let up_to = if committed { p.last_stable() } else { p.high_watermark() };
                let limits = ReadLimits { bytes_max: part.bytes_max.min(left), share: part.share, at_least_one, up_to };
                let forgotten = p.producers().transactions().forgotten();
                match log.read(now, ix, part.offset, limits, fx) {
                    Ok(ReadOutcome::Ready(data)) => {
                        left = left.saturating_sub(data.bytes);
                        found[at] = data.bytes > 0;
                        if committed && data.bytes > 0 {
                            let p = log.partition(ix).expect("it has just been read");
                            answer.aborted = p.producers().transactions().aborted_in(part.offset, data.end);
                        }
                        answer.data = data;
                    }
                    Ok(ReadOutcome::Cold(ticket)) => {
                        left = left.saturating_sub(limits.most().min(COLD_READ_BYTES_MAX));
                        waits += 1;
                        found[at] = true;
                        let from = part.offset;
                        let bound = if committed { Bound::Committed { ix, from, forgotten } } else { Bound::None };
                        self.tickets.insert(ticket, Awaited { job, at: fetched.len(), bound });
                    }
                    Err(error) => answer.error_code = read_code(&error),
                }
            } else {
                answer.error_code = codes::UNKNOWN_TOPIC_OR_PARTITION;
            }
            fetched.push(answer);
        }
        Look { fetched, found, waits }
    }

    fn lookup(
        &mut self,
        now: Time,
        log: &mut ShardLog,
        job: u64,
        parts: &[LookupPart],
        fx: &mut Effects,
    ) -> (Answer, usize) {
        let (mut all, mut waits) = (Vec::with_capacity(parts.len()), 0);
        for part in parts {
            let mut answer = Found { at: part.at, error_code: codes::NONE, timestamp_ms: -1, offset: -1 };
            let ix = log.find(part.topic, part.partition);
            let Some((ix, p)) = ix.and_then(|ix| Some((ix, log.partition(ix)?))) else {
                all.push(Found { error_code: codes::UNKNOWN_TOPIC_OR_PARTITION, ..answer });
                continue;
            };
            if p.failed().is_some() {
                all.push(Found { error_code: codes::KAFKA_STORAGE_ERROR, ..answer });
                continue;
            }
            let up_to = if part.committed { p.last_stable() } else { p.high_watermark() };
            let bound = if part.committed { Bound::Below(up_to) } else { Bound::None };
            let outcome = match part.timestamp {
                places::LATEST => Err(up_to),
                places::EARLIEST | places::EARLIEST_LOCAL => Err(p.log_start()),
                // Nothing is ever in remote storage.
                places::LATEST_TIERED | places::EARLIEST_PENDING_UPLOAD => Err(-1),
                places::MAX_TIMESTAMP => Ok(log.max_timestamp(now, ix, fx)),
                timestamp => Ok(log.lookup_timestamp(now, ix, timestamp, fx)),
            };
            match outcome {
                Err(place) => answer.offset = place,
                Ok(Ok(LookupOutcome::Ready(found))) => enter_found(&mut answer, found, bound),
                Ok(Ok(LookupOutcome::Cold(ticket))) => {
                    waits += 1;
                    self.tickets.insert(ticket, Awaited { job, at: all.len(), bound });
                }
                Ok(Err(error)) => answer.error_code = read_code(&error),
            }
            all.push(answer);
        }
        (Answer::Found(all), waits)
    }
}

/// A batch that was not appended.
fn not_produced(at: Place, error_code: i16, message: String) -> Produced {
    Produced { at, error_code, message: Some(message), base_offset: -1, append_time_ms: -1, log_start: -1, guard: None }
}

fn enter_found(answer: &mut Found, found: Option<crate::log::Found>, bound: Bound) {
    let may_be_told = |found: &crate::log::Found| !matches!(bound, Bound::Below(end) if found.offset >= end);
    if let Some(found) = found.filter(may_be_told) {
        (answer.offset, answer.timestamp_ms) = (found.offset, found.timestamp_ms);
    }
}

fn read_code(error: &ReadError) -> i16 {
    match error {
        ReadError::OffsetOutOfRange => codes::OFFSET_OUT_OF_RANGE,
        ReadError::Storage(_) => codes::KAFKA_STORAGE_ERROR,
        ReadError::Removed => codes::UNKNOWN_TOPIC_OR_PARTITION,
        ReadError::Full => codes::LEADER_NOT_AVAILABLE,
    }
}
