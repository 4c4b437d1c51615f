//! What a coordinator is asked and what it answers: owned values, one per group, free of the protocol's versions.
//!
//! `requests/groups/` makes them of what clients send (splitting requests that name several groups) and answers of what comes back.

use std::sync::Arc;

use bytes::Bytes;
use floe_wire::consumer_protocol::Assignment;
use floe_wire::ids::TopicId;

use super::records::CommittedOffset;
use crate::requests::codes;

pub use crate::hosted::{Asker, TxnWrite};

/// A request to the coordinator of one group.
#[derive(Clone, Debug)]
pub struct GroupCall {
    /// The partition of `__consumer_offsets` that holds the group. For [`GroupRequest::List`]: the partition listed.
    pub partition: i32,
    /// The group; empty for [`GroupRequest::List`].
    pub group: Arc<str>,
    /// The client's name for itself (header of its request).
    pub client_id: Arc<str>,
    /// The client's address, as Kafka shows it: `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// What is asked.
    pub request: GroupRequest,
}

/// What is asked of a group.
#[derive(Clone, Debug)]
pub enum GroupRequest {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(MemberRef),
    /// LeaveGroup: each by member id, instance id, or both.
    Leave(Vec<Leaver>),
    /// OffsetCommit.
    Commit(Commit),
    /// TxnOffsetCommit: a [`Commit`] with its transaction.
    TxnCommit(Commit, TxnWrite),
    /// OffsetFetch.
    Fetch(FetchOffsets),
    /// OffsetDelete: topic names with partitions.
    DeleteOffsets(Vec<(Arc<str>, Vec<i32>)>),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// ListGroups, of one partition of `__consumer_offsets`.
    List(ListFilter),
    /// DescribeGroups.
    Describe,
    /// ConsumerGroupDescribe.
    ConsumerDescribe,
    /// DeleteGroups.
    Delete,
}

/// Its answer. `Err` is Kafka's error code, for requests whose answer has room for no more.
#[derive(Clone, Debug)]
pub enum GroupAnswer {
    /// Of a join.
    Joined(Joined),
    /// Of a sync.
    Synced(Synced),
    /// Of a heartbeat: the error code.
    Heartbeat(i16),
    /// Of a leave: an error of the whole, else one for each leaver, in their order.
    Left(Result<Vec<i16>, i16>),
    /// Of a commit: error codes by topic and partition, in their order.
    Committed(Vec<Vec<i16>>),
    /// Of a commit in a transaction: nothing was taken, as it would open a transaction on the partition of `__consumer_offsets` that nobody has vouched
    /// for. Its coordinator is to be asked, and then the commit sent again as verified with this guard.
    Unverified {
        /// The guard.
        guard: u64,
        /// Codes for all that was to be committed, should that fail.
        codes: Vec<Vec<i16>>,
    },
    /// Of a fetch: an error of the whole, or offsets.
    Fetched(Result<Vec<FetchedTopic>, i16>),
    /// Of deleting offsets: an error of the whole, or codes by topic and partition, in their order.
    OffsetsDeleted(Result<Vec<Vec<i16>>, i16>),
    /// Of a consumer's heartbeat.
    ConsumerHeartbeat(ConsumerHeartbeatAnswer),
    /// Of a list: an error of the whole, or groups.
    Listed(Result<Vec<ListedGroup>, i16>),
    /// Of a describe.
    Described(Described),
    /// Of a consumer describe.
    ConsumerDescribed(ConsumerDescribed),
    /// Of a delete: the error code.
    Deleted(i16),
}

impl GroupAnswer {
    /// Whether there is any partition in the assignment that a member hears from it, if it hears of one.
    pub fn assigns(&self) -> Option<bool> {
        match self {
            GroupAnswer::Synced(synced) if synced.error_code == codes::NONE => {
                let assignment = Assignment::from_bytes(&synced.assignment);
                // Of what protocol it may be otherwise, nobody here knows.
                Some(assignment.map_or(!synced.assignment.is_empty(), |(_, of)| !of.assigned_partitions.is_empty()))
            }
            GroupAnswer::ConsumerHeartbeat(heartbeat) => heartbeat.assignment.as_ref().map(|topics| !topics.is_empty()),
            _ => None,
        }
    }
}

/// A member asks to join a classic group.
#[derive(Clone, Debug)]
pub struct Join {
    /// Empty: a new one.
    pub member: Arc<str>,
    /// Static members.
    pub instance: Option<Arc<str>>,
    /// `consumer`, ...
    pub protocol_type: Arc<str>,
    /// Protocols in the order of preference, with their metadata.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// JoinGroup 4 and above: a new member is given its id first and joins again with it (KIP-394).
    pub needs_member_id: bool,
    /// JoinGroup 9 and above understand `skip_assignment` (KIP-814).
    pub may_skip_assignment: bool,
    /// Why it joins, for the log (KIP-800).
    pub reason: Option<Arc<str>>,
}

/// The answer to a join.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    /// Kafka's.
    pub error_code: i16,
    /// -1 with an error.
    pub generation: i32,
    /// As the group agreed on.
    pub protocol_type: Option<Arc<str>>,
    /// As the group agreed on.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// The leader need not compute an assignment.
    pub skip_assignment: bool,
    /// The member's id.
    pub member: Arc<str>,
    /// For the leader: id, instance id and metadata of each member.
    pub members: Vec<(Arc<str>, Option<Arc<str>>, Bytes)>,
}

impl Joined {
    /// A join that failed.
    pub fn error(member: Arc<str>, error_code: i16) -> GroupAnswer {
        GroupAnswer::Joined(Joined { error_code, generation: -1, member, ..Joined::default() })
    }
}

/// A member asks for its assignment; the leader brings all.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Who.
    pub who: MemberRef,
    /// What it believes (SyncGroup 5), `None` in older ones.
    pub protocol_type: Option<Arc<str>>,
    /// What it believes (SyncGroup 5), `None` in older ones.
    pub protocol: Option<Arc<str>>,
    /// Member id and assignment.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// The answer to a sync.
#[derive(Clone, Debug, Default)]
pub struct Synced {
    /// Kafka's.
    pub error_code: i16,
    /// As the group agreed on.
    pub protocol_type: Option<Arc<str>>,
    /// As the group agreed on.
    pub protocol: Option<Arc<str>>,
    /// The member's.
    pub assignment: Bytes,
}

impl Synced {
    /// A sync that failed.
    pub fn error(error_code: i16) -> GroupAnswer {
        GroupAnswer::Synced(Synced { error_code, ..Synced::default() })
    }
}

/// A member at a generation (classic) or member epoch (KIP-848).
#[derive(Clone, Debug)]
pub struct MemberRef {
    /// Its id; empty for a commit by a standalone consumer.
    pub member: Arc<str>,
    /// Of a static member.
    pub instance: Option<Arc<str>>,
    /// Generation or epoch; -1 for a commit by a standalone consumer.
    pub generation: i32,
}

/// Who leaves.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// Its id; may be empty when there is an instance.
    pub member: Arc<str>,
    /// Of a static member.
    pub instance: Option<Arc<str>>,
    /// For the log (KIP-800).
    pub reason: Option<Arc<str>>,
}

/// Offsets to commit. Topics and partitions are known to exist: others have been answered before.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Who.
    pub who: MemberRef,
    /// OffsetCommit 9 and above may come from KIP-848 members; an older version in such a group is UNSUPPORTED_VERSION.
    pub knows_epochs: bool,
    /// OffsetCommit 2 to 4: how long they shall be kept, in milliseconds; -1: as the broker says.
    pub retention_ms: i64,
    /// By topic.
    pub topics: Vec<CommitTopic>,
}

/// Offsets of a topic.
#[derive(Clone, Debug)]
pub struct CommitTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Partition, offset, leader epoch (or -1), metadata.
    pub partitions: Vec<(i32, i64, i32, Arc<str>)>,
}

/// Offsets to fetch.
#[derive(Clone, Debug)]
pub struct FetchOffsets {
    /// OffsetFetch 9 and above: who asks; checked when its generation is not -1.
    pub who: Option<MemberRef>,
    /// Names with partitions; `None`: all there are.
    pub topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
    /// Not those that an open transaction may change (KIP-447).
    pub require_stable: bool,
}

/// Offsets of a topic.
#[derive(Clone, Debug)]
pub struct FetchedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Partition and what was committed, `None`: nothing; or the error code of the partition.
    pub partitions: Vec<(i32, Result<Option<CommittedOffset>, i16>)>,
}

/// A KIP-848 member's heartbeat. `None`: as before.
#[derive(Clone, Debug)]
pub struct ConsumerHeartbeat {
    /// Its id; empty in version 0 of a new member, which is given one.
    pub member: Arc<str>,
    /// 0 joins, -1 leaves, -2 leaves for a while (static).
    pub member_epoch: i32,
    /// Static members.
    pub instance: Option<Arc<str>>,
    /// Its rack.
    pub rack: Option<Arc<str>>,
    /// In milliseconds; -1: as before.
    pub rebalance_timeout_ms: i32,
    /// Topics by name.
    pub topics: Option<Vec<Arc<str>>>,
    /// Topics by expression; empty takes it back.
    pub expression: Option<Arc<str>>,
    /// The assignor it asks for.
    pub assignor: Option<Arc<str>>,
    /// What it owns at present.
    pub owned: Option<Vec<(TopicId, Vec<i32>)>>,
}

/// The answer to a KIP-848 member's heartbeat.
#[derive(Clone, Debug, Default)]
pub struct ConsumerHeartbeatAnswer {
    /// Kafka's.
    pub error_code: i16,
    /// For people.
    pub error_message: Option<String>,
    /// Its id.
    pub member: Option<Arc<str>>,
    /// Its epoch.
    pub member_epoch: i32,
    /// When the next one is due, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// What it shall own now; `None`: as before.
    pub assignment: Option<Vec<(TopicId, Vec<i32>)>>,
}

/// Which groups to list; empty: all.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Names of states, as Kafka writes them, in any case.
    pub states: Vec<String>,
    /// Names of types (`classic`, `consumer`), in any case.
    pub types: Vec<String>,
}

/// A group in a list.
#[derive(Clone, Debug)]
pub struct ListedGroup {
    /// Its name.
    pub group: Arc<str>,
    /// `consumer`, ...
    pub protocol_type: Arc<str>,
    /// As Kafka writes it.
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub kind: &'static str,
}

/// A classic group, described.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// Kafka's.
    pub error_code: i16,
    /// For people.
    pub error_message: Option<String>,
    /// As Kafka writes it; `Dead` when there is no such group.
    pub state: &'static str,
    /// `consumer`, ...
    pub protocol_type: Arc<str>,
    /// The assignor; empty unless stable.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<super::records::ClassicMember>,
}

/// A KIP-848 group, described.
#[derive(Clone, Debug, Default)]
pub struct ConsumerDescribed {
    /// Kafka's.
    pub error_code: i16,
    /// For people.
    pub error_message: Option<String>,
    /// As Kafka writes it.
    pub state: &'static str,
    /// Group epoch.
    pub epoch: i32,
    /// Epoch of the target.
    pub target_epoch: i32,
    /// The assignor in use.
    pub assignor: Arc<str>,
    /// Its members.
    pub members: Vec<ConsumerDescribedMember>,
}

/// A member of it.
#[derive(Clone, Debug)]
pub struct ConsumerDescribedMember {
    /// Its id.
    pub id: Arc<str>,
    /// How it described itself.
    pub metadata: super::records::MemberMetadata,
    /// Its epoch.
    pub member_epoch: i32,
    /// What it owns.
    pub assigned: Vec<(TopicId, Vec<i32>)>,
    /// What it shall own.
    pub target: Vec<(TopicId, Vec<i32>)>,
}
