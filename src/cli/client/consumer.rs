//! Reading records: a position for each partition, long-polling fetches to the leaders, records handed out in offset order per partition.
//!
//! Without a fetch session: each request names all its partitions. A person's command reads few of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use floe_wire::batch::{self, BatchError};
use floe_wire::errors::ErrorCode;
use floe_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use floe_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use floe_wire::primitives::Records;

use super::connection::{Answer, error_of};
use super::keys::ApiKey;
use super::position::Position;
use super::record::ReadRecord;
use super::{Cluster, RETRY_PAUSE, Topic};
use crate::problem::{Outcome, Problem};

/// Bytes of one fetch answer, and of one partition in it.
const FETCH_BYTES: i32 = 8 << 20;
const PARTITION_BYTES: i32 = 2 << 20;

/// ListOffsets' special timestamps.
pub(in crate::cli) const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// A consumer of one topic. It knows of no group: who is in one says which partitions, and where to begin.
#[derive(Debug)]
pub(in crate::cli) struct Consumer {
    topic: Topic,
    next: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    /// Whether only committed transactions are read.
    read_committed: bool,
}

impl Consumer {
    /// Finds the topic and where to begin. `partitions`: which; all when `None`.
    pub(in crate::cli) fn new(
        cluster: &mut Cluster,
        name: &str,
        partitions: Option<&[i32]>,
        from: Position,
        read_committed: bool,
    ) -> Outcome<Consumer> {
        let mut topic = cluster.topic(name, false)?;
        if let Some(wanted) = partitions {
            if let Some(stray) =
                wanted.iter().find(|index| !topic.partitions.iter().any(|partition| partition.index == **index))
            {
                return Err(Problem::new(format!("topic `{name}` has no partition {stray}"))
                    .next(format!("use partitions from 0 to {}", topic.partitions.len() as i32 - 1)));
            }
            topic.partitions.retain(|partition| wanted.contains(&partition.index));
        }
        let mut consumer = Consumer { topic, next: BTreeMap::new(), ends: BTreeMap::new(), read_committed };
        consumer.ends = consumer.offsets(cluster, LATEST)?;
        consumer.next = consumer.begin(cluster, from)?;
        Ok(consumer)
    }

    fn begin(&self, cluster: &mut Cluster, from: Position) -> Outcome<BTreeMap<i32, i64>> {
        let ends = &self.ends;
        let starts = match from {
            Position::End => return Ok(ends.clone()),
            Position::Time(ms) => {
                // -1: no record is that young; what comes from now on is.
                let found = self.offsets(cluster, ms.max(0))?;
                return Ok(found
                    .into_iter()
                    .map(|(p, offset)| (p, if offset < 0 { ends[&p] } else { offset }))
                    .collect());
            }
            Position::Beginning | Position::Offset(_) | Position::Last(_) => self.offsets(cluster, EARLIEST)?,
        };
        Ok(starts
            .into_iter()
            .map(|(p, start)| {
                let offset = match from {
                    Position::Offset(offset) => offset.max(start),
                    Position::Last(count) => ends[&p].saturating_sub(count).max(start),
                    _ => start,
                };
                (p, offset)
            })
            .collect())
    }

    /// The next offset to read of every partition.
    pub(in crate::cli) fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.next
    }

    /// Begins at these offsets where there are any. Gives partition, offset and where it begins instead, of those that are not there any more or not yet.
    pub(in crate::cli) fn go_on_at(
        &mut self,
        cluster: &mut Cluster,
        offsets: &BTreeMap<i32, i64>,
    ) -> Outcome<Vec<(i32, i64, i64)>> {
        let starts = self.offsets(cluster, EARLIEST)?;
        let mut gone = Vec::new();
        for (partition, next) in &mut self.next {
            let Some(offset) = offsets.get(partition) else { continue };
            *next = (*offset).clamp(starts[partition], self.ends[partition].max(starts[partition]));
            if next != offset {
                gone.push((*partition, *offset, *next));
            }
        }
        Ok(gone)
    }

    /// Whether every partition has been read to where it ended when this consumer began.
    pub(in crate::cli) fn at_end(&self) -> bool {
        self.next.iter().all(|(partition, next)| *next >= self.ends[partition])
    }

    /// Offsets left to read to the ends known at the beginning.
    pub(in crate::cli) fn remaining(&self) -> u64 {
        self.next.iter().map(|(partition, next)| (self.ends[partition] - next).max(0) as u64).sum()
    }

    /// One round of fetches: waits up to `wait` for something new, hands each record to `take` until that says "enough" by `false`.
    /// Gives back whether it did not.
    pub(in crate::cli) fn poll(
        &mut self,
        cluster: &mut Cluster,
        wait: Duration,
        bounded: bool,
        mut take: impl FnMut(ReadRecord) -> Outcome<bool>,
    ) -> Outcome<bool> {
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64, i32)>> = BTreeMap::new();
        for partition in &self.topic.partitions {
            let next = self.next[&partition.index];
            if !bounded || next < self.ends[&partition.index] {
                by_leader.entry(partition.leader).or_default().push((partition.index, next, partition.leader_epoch));
            }
        }
        // With several leaders nobody may be waited for long, or the others' records come late.
        let wait = if by_leader.len() > 1 { wait.min(Duration::from_millis(50)) } else { wait };
        let mut moved = false;
        for (leader, mut partitions) in by_leader {
            // Whoever comes first may fill the answer; everybody gets a turn.
            let turn = self.next.values().sum::<i64>() as usize % partitions.len();
            partitions.rotate_left(turn);
            let Some(answer) = self.fetch(cluster, leader, &partitions, wait)? else {
                moved = true;
                continue;
            };
            let response: FetchResponse = answer.decode()?;
            if response.error_code != 0 {
                return Err(answer.refused(response.error_code, None));
            }
            for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
                let index = data.partition_index;
                match error_of(data.error_code) {
                    ErrorCode::NONE => {
                        let aborted = data.aborted_transactions.as_deref().unwrap_or_default();
                        let aborted: Vec<(i64, i64)> =
                            aborted.iter().map(|a| (a.producer_id, a.first_offset)).collect();
                        let bytes = if let Records::Borrowed(bytes) = data.records { bytes } else { &[] };
                        if !self.take_records(index, bytes, &aborted, bounded, &mut take)? {
                            return Ok(false);
                        }
                    }
                    ErrorCode::OFFSET_OUT_OF_RANGE => return Err(self.out_of_range(index)),
                    error if error.retriable() => moved = true,
                    _ => {
                        return Err(answer
                            .refused(data.error_code, None)
                            .next(format!("partition {}-{index}; see the broker's log", self.topic.name)));
                    }
                }
            }
        }
        if moved {
            std::thread::sleep(RETRY_PAUSE);
            let fresh = cluster.topic(&self.topic.name, false)?;
            self.topic.id = fresh.id;
            for partition in &mut self.topic.partitions {
                if let Some(now) = fresh.partitions.iter().find(|now| now.index == partition.index) {
                    partition.clone_from(now);
                }
            }
        }
        Ok(true)
    }

    fn out_of_range(&self, partition: i32) -> Problem {
        Problem::new(format!("partition {}-{partition} has no offset {}", self.topic.name, self.next[&partition]))
            .because_of("it is past the end, or retention removed it while it was being read")
            .next(format!("begin with --from beginning, or see the offsets: floe topic describe {}", self.topic.name))
    }

    /// Asks one leader. `None`: it cannot be reached now, look for another leader.
    fn fetch(
        &self,
        cluster: &mut Cluster,
        leader: i32,
        partitions: &[(i32, i64, i32)],
        wait: Duration,
    ) -> Outcome<Option<Answer>> {
        let connection = match cluster.broker(leader) {
            Ok(connection) => connection,
            Err(_) if leader < 0 => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let version = connection.version(ApiKey::Fetch, 4, if self.topic.id.is_zero() { 12 } else { 16 })?;
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            isolation_level: i8::from(self.read_committed),
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: self.topic.name.as_str().into(),
                topic_id: self.topic.id,
                partitions: partitions
                    .iter()
                    .map(|(index, offset, _)| FetchPartition {
                        partition: *index,
                        fetch_offset: *offset,
                        current_leader_epoch: -1,
                        last_fetched_epoch: -1,
                        log_start_offset: -1,
                        partition_max_bytes: PARTITION_BYTES,
                        ..FetchPartition::default()
                    })
                    .collect(),
            }],
            ..FetchRequest::default()
        };
        connection.ask(ApiKey::Fetch, version, &request).map(Some)
    }

    fn take_records(
        &mut self,
        index: i32,
        bytes: &[u8],
        aborted: &[(i64, i64)],
        bounded: bool,
        take: &mut impl FnMut(ReadRecord) -> Outcome<bool>,
    ) -> Outcome<bool> {
        let mut scratch = Vec::new();
        // Producers whose transaction here ended in an abort, while their records go by.
        let mut aborting: Vec<i64> = Vec::new();
        for (nth, found) in batch::batches(bytes).enumerate() {
            let found = match found {
                // Kafka cuts the last batch off where the size limit lies; it comes whole with the next fetch.
                Err(BatchError::Truncated { .. }) if nth > 0 => break,
                found => found.map_err(|error| self.damaged(index, &error.to_string()))?,
            };
            let header = found.header;
            let last = header.base_offset + i64::from(header.last_offset_delta);
            let next = self.next[&index];
            if last < next {
                continue;
            }
            let skip = if header.is_control() {
                aborting.retain(|producer| *producer != header.producer_id);
                true
            } else {
                let begins = |(producer, first): &&(i64, i64)| *producer == header.producer_id && *first <= last;
                self.read_committed
                    && header.is_transactional()
                    && (aborting.contains(&header.producer_id) || aborted.iter().any(|a| begins(&a)))
            };
            if skip {
                if !header.is_control() && !aborting.contains(&header.producer_id) {
                    aborting.push(header.producer_id);
                }
            } else {
                for record in batch::records(found.bytes, &mut scratch)
                    .map_err(|error| self.damaged(index, &error.to_string()))?
                {
                    let record = record.map_err(|error| self.damaged(index, &error.to_string()))?;
                    if record.offset < next {
                        continue;
                    }
                    if bounded && record.offset >= self.ends[&index] {
                        break;
                    }
                    self.next.insert(index, record.offset + 1);
                    if !take(ReadRecord::of(index, &record))? {
                        return Ok(false);
                    }
                }
            }
            self.next.insert(index, last + 1);
        }
        Ok(true)
    }

    fn damaged(&self, index: i32, why: &str) -> Problem {
        Problem::new(format!("the broker sent a damaged batch of {}-{index}", self.topic.name)).because_of(why).next(
            format!(
                "skip it by beginning further on (--from offset:N, the damage is at or after {})",
                self.next[&index]
            ),
        )
    }

    /// ListOffsets for every partition: the first offset whose timestamp is at least `timestamp`.
    fn offsets(&self, cluster: &mut Cluster, timestamp: i64) -> Outcome<BTreeMap<i32, i64>> {
        list_offsets(cluster, &self.topic, timestamp)
    }
}

/// First and next offset of every partition of a topic.
pub(in crate::cli) fn ranges(cluster: &mut Cluster, topic: &Topic) -> Outcome<BTreeMap<i32, (i64, i64)>> {
    let starts = list_offsets(cluster, topic, EARLIEST)?;
    let ends = list_offsets(cluster, topic, LATEST)?;
    Ok(starts.into_iter().map(|(partition, start)| (partition, (start, ends[&partition]))).collect())
}

/// The first offset of every partition whose timestamp is at least `timestamp`, -1 where there is none; ListOffsets' negative timestamps stand for
/// places.
pub(in crate::cli) fn list_offsets(
    cluster: &mut Cluster,
    topic: &Topic,
    timestamp: i64,
) -> Outcome<BTreeMap<i32, i64>> {
    let until = Instant::now() + cluster.timeout();
    let mut topic = topic.clone();
    let mut found = BTreeMap::new();
    loop {
        let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in topic.partitions.iter().filter(|partition| !found.contains_key(&partition.index)) {
            by_leader.entry(partition.leader).or_default().push(partition.index);
        }
        if by_leader.is_empty() {
            return Ok(found);
        }
        let mut last = None;
        for (leader, partitions) in by_leader {
            let connection = cluster.broker(leader)?;
            let version = connection.version(ApiKey::ListOffsets, 1, 7)?;
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: vec![ListOffsetsTopic {
                    name: topic.name.as_str().into(),
                    partitions: partitions
                        .iter()
                        .map(|index| ListOffsetsPartition {
                            partition_index: *index,
                            current_leader_epoch: -1,
                            timestamp,
                        })
                        .collect(),
                }],
                ..ListOffsetsRequest::default()
            };
            let answer = connection.ask(ApiKey::ListOffsets, version, &request)?;
            let response: ListOffsetsResponse = answer.decode()?;
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                if partition.error_code == 0 {
                    found.insert(partition.partition_index, partition.offset);
                } else {
                    let problem = answer
                        .refused(partition.error_code, None)
                        .next(format!("partition {}-{}; see the broker's log", topic.name, partition.partition_index));
                    if !error_of(partition.error_code).retriable() || Instant::now() > until {
                        return Err(problem);
                    }
                    last = Some(problem);
                }
            }
        }
        if let Some(problem) = last {
            if Instant::now() > until {
                return Err(problem);
            }
            std::thread::sleep(RETRY_PAUSE);
            let fresh = cluster.topic(&topic.name, false)?;
            topic.partitions.retain_mut(|partition| {
                fresh.partitions.iter().find(|now| now.index == partition.index).is_some_and(|now| {
                    partition.clone_from(now);
                    true
                })
            });
        }
    }
}
