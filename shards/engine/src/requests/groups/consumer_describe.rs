//! ConsumerGroupDescribe (69): KIP-848 groups with their members.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, MEMBER_CLASSIC,
    MEMBER_CONSUMER, Member, TopicPartitions,
};
use floe_wire::primitives::DecodeError;

use super::super::{Caller, operations};
use super::{Client, Kind, Named};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{ConsumerDescribed, ConsumerDescribedMember, GroupAnswer, GroupRequest};
use crate::metadata::Image;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn consumer_describe(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ConsumerGroupDescribeRequest::decode_all(body, caller.version)?;
        let operations = if request.include_authorized_operations { operations::GROUP } else { operations::NOT_ASKED };
        let each = (GroupRequest::ConsumerDescribe, operations, Kind::ConsumerDescribe as _);
        self.call_each(now, caller, client, &request.group_ids, each, fx)
    }
}

pub(super) fn reply(
    caller: &Caller,
    named: &Named,
    answers: impl Iterator<Item = GroupAnswer>,
    image: &Image,
) -> Ending {
    let described: Vec<ConsumerDescribed> = answers
        .map(|answer| match answer {
            GroupAnswer::ConsumerDescribed(described) => described,
            answer => unreachable!("{answer:?} to a describe"),
        })
        .collect();
    let groups = named.groups.iter().zip(&described).map(|(group, described)| DescribedGroup {
        error_code: described.error_code,
        error_message: described.error_message.as_deref().map(Cow::Borrowed),
        group_id: Cow::Borrowed(group),
        group_state: Cow::Borrowed(described.state),
        group_epoch: described.epoch,
        assignment_epoch: described.target_epoch,
        assignor_name: Cow::Borrowed(&described.assignor),
        members: described.members.iter().map(|member| show(member, image)).collect(),
        authorized_operations: named.operations,
    });
    let response = ConsumerGroupDescribeResponse { throttle_time_ms: 0, groups: groups.collect() };
    caller.reply(&response, Vec::new())
}

fn show<'a>(member: &'a ConsumerDescribedMember, image: &'a Image) -> Member<'a> {
    let metadata = &member.metadata;
    Member {
        member_id: Cow::Borrowed(&member.id),
        instance_id: metadata.instance_id.as_deref().map(Cow::Borrowed),
        rack_id: metadata.rack_id.as_deref().map(Cow::Borrowed),
        member_epoch: member.member_epoch,
        client_id: Cow::Borrowed(&metadata.client_id),
        client_host: Cow::Borrowed(&metadata.client_host),
        subscribed_topic_names: metadata.topics.iter().map(|name| Cow::Borrowed(&**name)).collect(),
        subscribed_topic_regex: metadata.expression.as_deref().map(Cow::Borrowed),
        assignment: named(&member.assigned, image),
        target_assignment: named(&member.target, image),
        member_type: if metadata.classic.is_some() { MEMBER_CLASSIC } else { MEMBER_CONSUMER },
    }
}

/// With the names of topics; one that was deleted meanwhile is nobody's any more.
fn named<'a>(assigned: &[(TopicId, Vec<i32>)], image: &'a Image) -> Assignment<'a> {
    let topics = assigned.iter().filter_map(|(id, partitions)| {
        let topic = image.topic_by_id(*id)?;
        let topic_name = Cow::Borrowed(topic.name.as_str());
        Some(TopicPartitions { topic_id: *id, topic_name, partitions: partitions.clone() })
    });
    Assignment { topic_partitions: topics.collect() }
}
