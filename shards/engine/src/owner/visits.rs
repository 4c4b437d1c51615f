//! The owner's side of what admin clients ask of partitions: where they end, who writes to them, how large they are, and where they are to start.

use super::{Owner, read_code};
use crate::log::{CommitSeq, ShardLog};
use crate::mesh::{Answer, Errand, ProducerSeen, Seen, Visit, Visited};
use crate::requests::codes;
use crate::time::Time;

impl Owner {
    pub(super) fn visit(&mut self, now: Time, log: &mut ShardLog, job: u64, visits: &[Visit]) -> (Answer, usize) {
        // Commits complete in order, so the last one stands for all.
        let mut last: Option<CommitSeq> = None;
        let visited = visits.iter().map(|visit| {
            let result = see(now, log, visit).map(|(seen, wait)| {
                last = last.max(wait);
                seen
            });
            Visited { at: visit.at, result }
        });
        let visited = visited.collect();
        if let Some(commit) = last {
            self.await_commit(commit, job);
        }
        (Answer::Visited(visited), usize::from(last.is_some()))
    }
}

/// What was promised of a start that has not reached the disk cannot be kept any more.
pub(super) fn fail(visited: &mut [Visited]) {
    for visited in visited.iter_mut().filter(|visited| matches!(visited.result, Ok(Seen::LogStart(_)))) {
        visited.result = Err(codes::KAFKA_STORAGE_ERROR);
    }
}

/// What a visit finds, and the commit it has to wait for.
fn see(now: Time, log: &mut ShardLog, visit: &Visit) -> Result<(Seen, Option<CommitSeq>), i16> {
    let found = log.find(visit.topic, visit.partition);
    let (ix, p) = found.and_then(|ix| Some((ix, log.partition(ix)?))).ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
    let usable = || if p.failed().is_some() { Err(codes::KAFKA_STORAGE_ERROR) } else { Ok(()) };
    let seen = match visit.errand {
        // Who compacts without deleting wants the last of each key to stay (Kafka's answer).
        Errand::Trim { .. } if !p.config().delete => return Err(codes::POLICY_VIOLATION),
        Errand::Trim { before } => {
            let (log_start, wait) = log.delete_records(now, ix, before).map_err(|error| read_code(&error))?;
            return Ok((Seen::LogStart(log_start), wait));
        }
        Errand::End => {
            usable()?;
            Seen::End(p.high_watermark())
        }
        Errand::Producers => {
            usable()?;
            let producers = p.producers().sorted().into_iter().map(|(id, producer)| {
                let last = producer.batches.back();
                ProducerSeen {
                    id,
                    epoch: producer.epoch,
                    last_sequence: last.map_or(-1, |batch| batch.last_sequence),
                    last_timestamp_ms: producer.last_timestamp_ms(),
                    coordinator_epoch: producer.coordinator_epoch,
                    txn_first_offset: producer.txn_first_offset.unwrap_or(-1),
                }
            });
            Seen::Producers(producers.collect())
        }
        // What a failed partition takes, it takes.
        Errand::Size => Seen::Bytes(p.size_bytes()),
    };
    Ok((seen, None))
}
