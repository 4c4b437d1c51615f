//! DeleteRecords (21): moves the start of partitions; answered when the new start is durable, so that nothing deleted comes back.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::visits::{VisitResponse, Visits};
use super::{Caller, codes};
use crate::event::Effects;
use crate::mesh::{Errand, Seen};
use crate::shard::Shard;
use crate::time::Time;

/// What stands for "the high watermark" in a request.
const HIGH_WATERMARK: i64 = -1;

impl Shard {
    pub(super) fn delete_records(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DeleteRecordsRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let mut response = DeleteRecordsResponse::default();
        let mut visits = Visits::new(self.shards);
        for asked in &request.topics {
            let topic = self.image.topic(&asked.name);
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for part in &asked.partitions {
                let error_code = match topic.filter(|topic| topic.has(part.partition_index)) {
                    None => codes::UNKNOWN_TOPIC_OR_PARTITION,
                    Some(topic) if topic.is_internal() => codes::INVALID_TOPIC_EXCEPTION,
                    Some(_) if part.offset < HIGH_WATERMARK => codes::OFFSET_OUT_OF_RANGE,
                    Some(topic) => {
                        let errand = Errand::Trim { before: part.offset };
                        let place = (response.topics.len(), partitions.len());
                        visits.push(self.shards, topic, part.partition_index, errand, place);
                        codes::NONE
                    }
                };
                partitions.push(DeleteRecordsPartitionResult {
                    partition_index: part.partition_index,
                    low_watermark: -1,
                    error_code,
                });
            }
            let name = Cow::Owned(asked.name.clone().into_owned());
            response.topics.push(DeleteRecordsTopicResult { name, partitions });
        }
        self.call_visits(now, caller, visits, VisitResponse::DeleteRecords(response), fx);
        Ok(())
    }
}

pub(super) fn enter(answer: &mut DeleteRecordsPartitionResult, result: Result<Seen, i16>) {
    match result {
        Ok(Seen::LogStart(offset)) => answer.low_watermark = offset,
        Ok(seen) => unreachable!("{seen:?} of a trim"),
        Err(code) => answer.error_code = code,
    }
}
