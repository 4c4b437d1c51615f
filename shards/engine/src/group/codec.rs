//! Kafka's bytes of the records of `__consumer_offsets` (`floe_wire::group_records`), out of a coordinator's own terms and back.
//!
//! What was written is read back the same. Of what Kafka writes, records of kinds that no coordinator here has are passed over, damaged ones are errors.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::group_records::GroupRecord as Wire;
use floe_wire::group_records::consumer_group_current_member_assignment as current;
use floe_wire::group_records::consumer_group_member_metadata as member;
use floe_wire::group_records::consumer_group_metadata as epoch;
use floe_wire::group_records::consumer_group_regular_expression as expression;
use floe_wire::group_records::consumer_group_target_assignment_member as target;
use floe_wire::group_records::consumer_group_target_assignment_metadata as target_epoch;
use floe_wire::group_records::group_metadata as classic;
use floe_wire::group_records::offset_commit as offset;
use floe_wire::ids::TopicId;
use floe_wire::primitives::DecodeError;

use super::records::{
    ClassicMember, ClassicMemberMetadata, ClassicState, CommittedOffset, CurrentAssignment, ExpressionTopics,
    GroupEpoch, GroupRecord, MemberMetadata, MemberState, TargetEpoch,
};

/// A key and its value; no value is a tombstone.
pub fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
    let record = to_wire(record);
    (record.key(), record.value())
}

/// `None`: a record of a kind that no coordinator here has.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<GroupRecord>, DecodeError> {
    Ok(Wire::decode(key, value)?.and_then(from_wire))
}

fn to_wire(record: &GroupRecord) -> Wire<'_> {
    match record {
        GroupRecord::Offset { group, topic, partition, value } => Wire::OffsetCommit(
            offset::OffsetCommitKey { group: text(group), topic: text(topic), partition: *partition },
            value.as_ref().map(|value| offset::OffsetCommitValue {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: text(&value.metadata),
                commit_timestamp: value.commit_ms,
                expire_timestamp: value.expire_ms,
                topic_id: value.topic_id,
            }),
        ),
        GroupRecord::Classic { group, value } => Wire::GroupMetadata(
            classic::GroupMetadataKey { group: text(group) },
            value.as_ref().map(|value| classic::GroupMetadataValue {
                protocol_type: text(&value.protocol_type),
                generation: value.generation,
                protocol: option(value.protocol.as_ref()),
                leader: option(value.leader.as_ref()),
                current_state_timestamp: value.since_ms,
                members: value.members.iter().map(classic_to_wire).collect(),
            }),
        ),
        GroupRecord::Epoch { group, value } => Wire::ConsumerGroupMetadata(
            epoch::ConsumerGroupMetadataKey { group_id: text(group) },
            value.map(|value| epoch::ConsumerGroupMetadataValue {
                epoch: value.epoch,
                metadata_hash: value.metadata_hash,
            }),
        ),
        GroupRecord::Member { group, member, value } => Wire::ConsumerGroupMemberMetadata(
            member::ConsumerGroupMemberMetadataKey { group_id: text(group), member_id: text(member) },
            value.as_ref().map(member_to_wire),
        ),
        GroupRecord::TargetEpoch { group, value } => Wire::ConsumerGroupTargetAssignmentMetadata(
            target_epoch::ConsumerGroupTargetAssignmentMetadataKey { group_id: text(group) },
            value.map(|value| target_epoch::ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: value.epoch,
                assignment_timestamp: value.computed_ms,
            }),
        ),
        GroupRecord::Target { group, member, value } => Wire::ConsumerGroupTargetAssignmentMember(
            target::ConsumerGroupTargetAssignmentMemberKey { group_id: text(group), member_id: text(member) },
            value.as_ref().map(|topics| target::ConsumerGroupTargetAssignmentMemberValue {
                topic_partitions: topics
                    .iter()
                    .map(|(id, partitions)| target::TopicPartition { topic_id: *id, partitions: partitions.clone() })
                    .collect(),
            }),
        ),
        GroupRecord::Current { group, member, value } => Wire::ConsumerGroupCurrentMemberAssignment(
            current::ConsumerGroupCurrentMemberAssignmentKey { group_id: text(group), member_id: text(member) },
            value.as_ref().map(|value| current::ConsumerGroupCurrentMemberAssignmentValue {
                member_epoch: value.member_epoch,
                previous_member_epoch: value.previous_epoch,
                state: value.state as i8,
                assigned_partitions: current_to_wire(&value.assigned),
                partitions_pending_revocation: current_to_wire(&value.revoking),
            }),
        ),
        GroupRecord::Expression { group, expression, value } => Wire::ConsumerGroupRegularExpression(
            expression::ConsumerGroupRegularExpressionKey {
                group_id: text(group),
                regular_expression: text(expression),
            },
            value.as_ref().map(|value| expression::ConsumerGroupRegularExpressionValue {
                topics: value.topics.iter().map(text).collect(),
                version: value.version,
                timestamp: value.matched_ms,
            }),
        ),
    }
}

fn from_wire(record: Wire<'_>) -> Option<GroupRecord> {
    Some(match record {
        Wire::OffsetCommit(key, value) => GroupRecord::Offset {
            group: name(&key.group),
            topic: name(&key.topic),
            partition: key.partition,
            value: value.map(|value| CommittedOffset {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: name(&value.metadata),
                commit_ms: value.commit_timestamp,
                expire_ms: value.expire_timestamp,
                topic_id: value.topic_id,
            }),
        },
        Wire::GroupMetadata(key, value) => GroupRecord::Classic {
            group: name(&key.group),
            value: value.map(|value| ClassicState {
                protocol_type: name(&value.protocol_type),
                generation: value.generation,
                protocol: value.protocol.as_deref().map(Arc::from),
                leader: value.leader.as_deref().map(Arc::from),
                since_ms: value.current_state_timestamp,
                members: value.members.iter().map(classic_from_wire).collect(),
            }),
        },
        Wire::ConsumerGroupMetadata(key, value) => GroupRecord::Epoch {
            group: name(&key.group_id),
            value: value.map(|value| GroupEpoch { epoch: value.epoch, metadata_hash: value.metadata_hash }),
        },
        Wire::ConsumerGroupMemberMetadata(key, value) => GroupRecord::Member {
            group: name(&key.group_id),
            member: name(&key.member_id),
            value: value.map(|value| member_from_wire(&value)),
        },
        Wire::ConsumerGroupTargetAssignmentMetadata(key, value) => GroupRecord::TargetEpoch {
            group: name(&key.group_id),
            value: value
                .map(|value| TargetEpoch { epoch: value.assignment_epoch, computed_ms: value.assignment_timestamp }),
        },
        Wire::ConsumerGroupTargetAssignmentMember(key, value) => GroupRecord::Target {
            group: name(&key.group_id),
            member: name(&key.member_id),
            value: value.map(|value| {
                value.topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect()
            }),
        },
        Wire::ConsumerGroupCurrentMemberAssignment(key, value) => GroupRecord::Current {
            group: name(&key.group_id),
            member: name(&key.member_id),
            value: value.map(|value| CurrentAssignment {
                member_epoch: value.member_epoch,
                previous_epoch: value.previous_member_epoch,
                state: match value.state {
                    current::STATE_STABLE => MemberState::Stable,
                    current::STATE_UNREVOKED_PARTITIONS => MemberState::UnrevokedPartitions,
                    current::STATE_UNRELEASED_PARTITIONS => MemberState::UnreleasedPartitions,
                    _ => MemberState::Unknown,
                },
                assigned: current_from_wire(value.assigned_partitions),
                revoking: current_from_wire(value.partitions_pending_revocation),
            }),
        },
        Wire::ConsumerGroupRegularExpression(key, value) => GroupRecord::Expression {
            group: name(&key.group_id),
            expression: name(&key.regular_expression),
            value: value.map(|value| ExpressionTopics {
                topics: value.topics.iter().map(|topic| name(topic)).collect(),
                version: value.version,
                matched_ms: value.timestamp,
            }),
        },
        // The topics as Kafka 4.0 saw them; their hash in the group's epoch has taken its place (KIP-1101).
        Wire::ConsumerGroupPartitionMetadata(..) => return None,
    })
}

fn classic_to_wire(member: &ClassicMember) -> classic::MemberMetadata<'_> {
    classic::MemberMetadata {
        member_id: text(&member.id),
        group_instance_id: option(member.instance_id.as_ref()),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: Cow::Borrowed(&member.subscription),
        assignment: Cow::Borrowed(&member.assignment),
    }
}

fn classic_from_wire(member: &classic::MemberMetadata<'_>) -> ClassicMember {
    ClassicMember {
        id: name(&member.member_id),
        instance_id: member.group_instance_id.as_deref().map(Arc::from),
        client_id: name(&member.client_id),
        client_host: name(&member.client_host),
        session_timeout_ms: member.session_timeout,
        // Before version 1 there was one timeout for both.
        rebalance_timeout_ms: match member.rebalance_timeout {
            -1 => member.session_timeout,
            timeout => timeout,
        },
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    }
}

fn member_to_wire(value: &MemberMetadata) -> member::ConsumerGroupMemberMetadataValue<'_> {
    member::ConsumerGroupMemberMetadataValue {
        instance_id: option(value.instance_id.as_ref()),
        rack_id: option(value.rack_id.as_ref()),
        client_id: text(&value.client_id),
        client_host: text(&value.client_host),
        subscribed_topic_names: value.topics.iter().map(text).collect(),
        subscribed_topic_regex: option(value.expression.as_ref()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: option(value.assignor.as_ref()),
        classic_member_metadata: member::ClassicMember(value.classic.as_ref().map(|classic| {
            member::ClassicMemberMetadata {
                session_timeout_ms: classic.session_timeout_ms,
                supported_protocols: classic
                    .protocols
                    .iter()
                    .map(|(name, metadata)| member::ClassicProtocol {
                        name: text(name),
                        metadata: Cow::Borrowed(metadata),
                    })
                    .collect(),
            }
        })),
    }
}

fn member_from_wire(value: &member::ConsumerGroupMemberMetadataValue<'_>) -> MemberMetadata {
    MemberMetadata {
        instance_id: value.instance_id.as_deref().map(Arc::from),
        rack_id: value.rack_id.as_deref().map(Arc::from),
        client_id: name(&value.client_id),
        client_host: name(&value.client_host),
        topics: value.subscribed_topic_names.iter().map(|topic| name(topic)).collect(),
        // Kafka writes an empty one where there is none.
        expression: value.subscribed_topic_regex.as_deref().filter(|text| !text.is_empty()).map(Arc::from),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.as_deref().map(Arc::from),
        classic: value.classic_member_metadata.0.as_ref().map(|classic| ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic
                .supported_protocols
                .iter()
                .map(|protocol| (name(&protocol.name), Bytes::copy_from_slice(&protocol.metadata)))
                .collect(),
        }),
    }
}

fn current_to_wire(topics: &[(TopicId, Vec<i32>)]) -> Vec<current::TopicPartitions> {
    let topics = topics.iter().map(|(id, partitions)| current::TopicPartitions {
        topic_id: *id,
        partitions: partitions.clone(),
        ..current::TopicPartitions::default()
    });
    topics.collect()
}

fn current_from_wire(topics: Vec<current::TopicPartitions>) -> Vec<(TopicId, Vec<i32>)> {
    topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect()
}

fn text(text: &Arc<str>) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn option(text: Option<&Arc<str>>) -> Option<Cow<'_, str>> {
    text.map(|text| Cow::Borrowed(&**text))
}

fn name(text: &str) -> Arc<str> {
    text.into()
}

#[cfg(test)]
mod tests;
