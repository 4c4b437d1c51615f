//! DescribeLogDirs (35): how much each partition takes of the one data directory, and how much room there is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use floe_wire::primitives::DecodeError;

use super::Caller;
use super::split::bounded;
use super::visits::{VisitResponse, Visits};
use crate::event::Effects;
use crate::mesh::{Errand, Seen};
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn describe_log_dirs(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeLogDirsRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().flatten().map(|topic| topic.partitions.len()))?;
        // What is not there is left out, as Kafka does it. By name, each partition once.
        let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        for asked in request.topics.iter().flatten() {
            wanted.entry(asked.topic.as_ref()).or_default().extend(&asked.partitions);
        }
        let image = self.image.clone();
        let all = request.topics.is_none();
        let mut visits = Visits::new(self.shards);
        let mut topics: Vec<DescribeLogDirsTopic<'static>> = Vec::new();
        for topic in image.topics() {
            let some = wanted.get(topic.name.as_str());
            let numbers: Vec<i32> = match some {
                _ if all => (0..topic.partitions).collect(),
                Some(some) => some.iter().copied().filter(|partition| topic.has(*partition)).collect(),
                None => continue,
            };
            if numbers.is_empty() {
                continue;
            }
            for (at, partition) in numbers.iter().enumerate() {
                visits.push(self.shards, topic, *partition, Errand::Size, (topics.len(), at));
            }
            let partition = |partition_index| DescribeLogDirsPartition { partition_index, ..Default::default() };
            let partitions = numbers.into_iter().map(partition).collect();
            topics.push(DescribeLogDirsTopic { name: Cow::Owned(topic.name.clone()), partitions });
        }
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (usable_bytes, total_bytes) =
            self.space.seen().map_or((-1, -1), |(free, total)| (bytes(free), bytes(total)));
        let result = DescribeLogDirsResult {
            log_dir: Cow::Owned(self.config.data_dir.clone()),
            topics,
            total_bytes,
            usable_bytes,
            ..DescribeLogDirsResult::default()
        };
        let response = DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() };
        self.call_visits(now, caller, visits, VisitResponse::LogDirs(response), fx);
        Ok(())
    }
}

pub(super) fn enter(answer: &mut DescribeLogDirsPartition, result: Result<Seen, i16>) {
    match result {
        Ok(Seen::Bytes(bytes)) => answer.partition_size = i64::try_from(bytes).unwrap_or(i64::MAX),
        Ok(seen) => unreachable!("{seen:?} of a size"),
        // It was deleted meanwhile: it takes nothing.
        Err(_) => answer.partition_size = 0,
    }
}
