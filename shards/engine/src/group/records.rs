//! What a group coordinator writes down, in its own terms: one variant per record of `__consumer_offsets`. `codec.rs` turns them into Kafka's bytes and back.
//!
//! Invariant: a coordinator's durable state is what these records give when they are applied in order. Nothing else survives a restart.

use std::sync::Arc;

use bytes::Bytes;
use floe_wire::ids::TopicId;

/// A change of a group's durable state. A `None` where a value could stand is a tombstone: the key is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A committed offset (OffsetCommitKey 1 / OffsetCommitValue).
    Offset {
        /// The group.
        group: Arc<str>,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// What was committed.
        value: Option<CommittedOffset>,
    },
    /// A group of the classic protocol (GroupMetadataKey 2 / GroupMetadataValue).
    Classic {
        /// The group.
        group: Arc<str>,
        /// As it is at a stable generation, or empty.
        value: Option<ClassicState>,
    },
    /// A KIP-848 group's epoch (ConsumerGroupMetadataKey 3).
    Epoch {
        /// The group.
        group: Arc<str>,
        /// The epoch with the hash of the metadata it was computed from.
        value: Option<GroupEpoch>,
    },
    /// A member of such a group as it described itself (ConsumerGroupMemberMetadataKey 5).
    Member {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// Its subscription and more.
        value: Option<MemberMetadata>,
    },
    /// The epoch of the target assignment (ConsumerGroupTargetAssignmentMetadataKey 6).
    TargetEpoch {
        /// The group.
        group: Arc<str>,
        /// The epoch, and when it was computed.
        value: Option<TargetEpoch>,
    },
    /// What a member shall own (ConsumerGroupTargetAssignmentMemberKey 7).
    Target {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// By topic, partitions rising.
        value: Option<Vec<(TopicId, Vec<i32>)>>,
    },
    /// What a member owns (ConsumerGroupCurrentMemberAssignmentKey 8).
    Current {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// Where it stands between its last assignment and the target.
        value: Option<CurrentAssignment>,
    },
    /// Topics that match a subscribed expression (ConsumerGroupRegularExpressionKey 16).
    Expression {
        /// The group.
        group: Arc<str>,
        /// As members sent it.
        expression: Arc<str>,
        /// What it matched.
        value: Option<ExpressionTopics>,
    },
}

impl GroupRecord {
    /// Whether its key is gone.
    pub fn is_tombstone(&self) -> bool {
        match self {
            GroupRecord::Offset { value, .. } => value.is_none(),
            GroupRecord::Classic { value, .. } => value.is_none(),
            GroupRecord::Epoch { value, .. } => value.is_none(),
            GroupRecord::Member { value, .. } => value.is_none(),
            GroupRecord::TargetEpoch { value, .. } => value.is_none(),
            GroupRecord::Target { value, .. } => value.is_none(),
            GroupRecord::Current { value, .. } => value.is_none(),
            GroupRecord::Expression { value, .. } => value.is_none(),
        }
    }

    /// The group it belongs to.
    pub fn group(&self) -> &Arc<str> {
        match self {
            GroupRecord::Offset { group, .. }
            | GroupRecord::Classic { group, .. }
            | GroupRecord::Epoch { group, .. }
            | GroupRecord::Member { group, .. }
            | GroupRecord::TargetEpoch { group, .. }
            | GroupRecord::Target { group, .. }
            | GroupRecord::Current { group, .. }
            | GroupRecord::Expression { group, .. } => group,
        }
    }
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Of the last record read, or -1.
    pub leader_epoch: i32,
    /// Whatever the client keeps with it.
    pub metadata: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub commit_ms: i64,
    /// When it expires, if the client said so (OffsetCommit 2 to 4), in ms since the epoch, or -1.
    pub expire_ms: i64,
    /// The topic's id at the time (OffsetCommitValue 4), or zero.
    pub topic_id: TopicId,
}

/// A classic group at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicState {
    /// `consumer`, `connect`, ...; empty while only offsets were committed.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The assignor the members agreed on; `None` while empty.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id; `None` while empty.
    pub leader: Option<Arc<str>>,
    /// When it came into this state, in ms since the epoch, or -1.
    pub since_ms: i64,
    /// The members.
    pub members: Vec<ClassicMember>,
}

/// A member of a classic group at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    /// Its id.
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// As its requests say.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Metadata for the chosen protocol, as it sent them.
    pub subscription: Bytes,
    /// As the leader gave it.
    pub assignment: Bytes,
}

/// A KIP-848 group's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Rises with every change of members, subscriptions or subscribed topics.
    pub epoch: i32,
    /// Of the subscribed topics and their partitions, so that a change is seen after a restart.
    pub metadata_hash: i64,
}

/// A member of a KIP-848 group as it described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Static members.
    pub instance_id: Option<Arc<str>>,
    /// Its rack.
    pub rack_id: Option<Arc<str>>,
    /// As its requests say.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// Topics by name, rising.
    pub topics: Vec<Arc<str>>,
    /// Topics by expression.
    pub expression: Option<Arc<str>>,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The server-side assignor it asks for.
    pub assignor: Option<Arc<str>>,
    /// What a member that speaks the classic protocol in this group gave (KIP-848, migration).
    pub classic: Option<ClassicMemberMetadata>,
}

/// A classic member inside a KIP-848 group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberMetadata {
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// Name and metadata of each protocol that it supports.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

/// The epoch of a target assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch it was computed for.
    pub epoch: i32,
    /// When, in ms since the Unix epoch.
    pub computed_ms: i64,
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// Its epoch.
    pub member_epoch: i32,
    /// The one before, in which it may still speak once.
    pub previous_epoch: i32,
    /// What it has to do.
    pub state: MemberState,
    /// What it owns, by topic, partitions rising.
    pub assigned: Vec<(TopicId, Vec<i32>)>,
    /// What it must give up first.
    pub revoking: Vec<(TopicId, Vec<i32>)>,
}

/// What a KIP-848 member has to do; the numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum MemberState {
    /// It owns its target.
    Stable = 0,
    /// It must say that it has given up `revoking` before it gets more.
    UnrevokedPartitions = 1,
    /// What it shall get is still owned by others.
    UnreleasedPartitions = 2,
    /// Written by a newer broker.
    Unknown = 127,
}

/// What a subscribed expression matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionTopics {
    /// Names, rising.
    pub topics: Vec<Arc<str>>,
    /// Number of the metadata image it was matched against.
    pub version: i64,
    /// When, in ms since the epoch.
    pub matched_ms: i64,
}
