//! OffsetDelete (47): offsets of a group are forgotten (KIP-496).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{GroupAnswer, GroupRequest};
use crate::shard::Shard;
use crate::time::Time;

/// Topics with partitions: those asked of the coordinator, and those that are not there.
#[derive(Debug)]
pub(super) struct Deleting {
    asked: Vec<(Arc<str>, Vec<i32>)>,
    unknown: Vec<(Arc<str>, Vec<i32>)>,
}

impl Shard {
    pub(super) fn offset_delete(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = OffsetDeleteRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let mut deleting = Deleting { asked: Vec::new(), unknown: Vec::new() };
        for asked in &request.topics {
            let name: Arc<str> = (&*asked.name).into();
            let topic = self.image.topic(&name);
            let partitions = asked.partitions.iter().map(|partition| partition.partition_index);
            let (there, missing): (Vec<i32>, Vec<i32>) =
                partitions.partition(|partition| topic.is_some_and(|topic| topic.has(*partition)));
            if !there.is_empty() {
                deleting.asked.push((name.clone(), there));
            }
            if !missing.is_empty() {
                deleting.unknown.push((name, missing));
            }
        }
        let call = GroupRequest::DeleteOffsets(deleting.asked.clone());
        let call = Shard::group_call(client, (&*request.group_id).into(), call);
        self.call_groups(now, caller, Kind::DeleteOffsets(deleting), vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, deleting: &Deleting, answer: GroupAnswer) -> Ending {
    let GroupAnswer::OffsetsDeleted(deleted) = answer else { unreachable!("{answer:?} to a delete of offsets") };
    let mut response = OffsetDeleteResponse::default();
    let of_topic = |name, partitions: &[i32], codes: &mut dyn Iterator<Item = i16>| {
        let partitions = partitions.iter().zip(codes);
        let partitions = partitions.map(|(partition_index, error_code)| OffsetDeleteResponsePartition {
            partition_index: *partition_index,
            error_code,
        });
        OffsetDeleteResponseTopic { name, partitions: partitions.collect() }
    };
    match deleted {
        Err(code) => response.error_code = code,
        Ok(deleted) => {
            for ((name, partitions), codes) in deleting.asked.iter().zip(deleted) {
                response.topics.push(of_topic(Cow::Borrowed(&**name), partitions, &mut codes.into_iter()));
            }
            for (name, partitions) in &deleting.unknown {
                let mut codes = std::iter::repeat(codes::UNKNOWN_TOPIC_OR_PARTITION);
                response.topics.push(of_topic(Cow::Borrowed(&**name), partitions, &mut codes));
            }
        }
    }
    caller.reply(&response, Vec::new())
}
