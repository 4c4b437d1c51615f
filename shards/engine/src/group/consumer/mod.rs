//! A group of the next-generation protocol (KIP-848): members say by heartbeat what they want and have, the coordinator works out who shall own what, and
//! leads each member there by itself, so that only partitions that move ever stop.
//!
//! - `heartbeat.rs`: what a member's heartbeat does. `classic.rs`: the same for members that speak the classic protocol in such a group.
//! - `advance.rs`: what follows from either. `draft.rs`: the group as it would be after it: subscriptions, metadata hash, target.
//! - `migration.rs`: a classic group becomes one of these while its members stay, and the other way round.
//! - `reconcile.rs`: one member's way to its target. `apply.rs`: records taken in. `timers.rs`: sessions, revocations, changed topics.
//! - `assignors/`: who shall own what. `expressions.rs`: topics by regular expression. `partitions.rs`: sets of partitions.
//!
//! Invariants: durable fields change in `apply` alone, with `owners` and `instances`, which follow from them; a partition has at most one owner, counting
//! what members must still give up; timers are soft: after a restart each member has a whole session.

mod advance;
mod apply;
pub mod assignors;
mod classic;
mod draft;
mod heartbeat;
mod migration;
pub mod partitions;
mod reconcile;
#[cfg(test)]
pub(crate) mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use floe_wire::ids::TopicId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

pub(in crate::group) use self::heartbeat::not_a_consumer_group;
pub(in crate::group) use self::migration::upgrade;
use self::partitions::Partitions;
use crate::group::api::{ConsumerDescribed, ConsumerDescribedMember, MemberRef};
use crate::group::records::{
    CurrentAssignment, ExpressionTopics, GroupEpoch, GroupRecord, MemberMetadata, MemberState, TargetEpoch,
};
use crate::group::{GroupSettings, Name, millis};
use crate::requests::codes;
use crate::time::Deadline;

/// A KIP-848 group.
#[derive(Debug)]
pub struct ConsumerGroup {
    group: Name,
    /// Durable: what it was computed from is `epoch.metadata_hash`. Epoch 0: no member has ever joined.
    epoch: GroupEpoch,
    /// Durable. Behind `epoch` until the next heartbeat computes the target.
    target_epoch: TargetEpoch,
    /// Durable.
    members: BTreeMap<Name, Member>,
    /// Durable.
    targets: BTreeMap<Name, Partitions>,
    /// Durable: every subscribed expression has an entry.
    expressions: BTreeMap<Name, ExpressionTopics>,
    /// Who owns, or has still to give up, a partition.
    owners: HashMap<(TopicId, i32), Name, FxBuildHasher>,
    /// Member by instance id.
    instances: BTreeMap<Name, Name>,
    /// Soft: when which member is to be looked at; at most one entry a member, never later than it must be.
    timers: BTreeSet<(Deadline, Name)>,
    /// Soft: the metadata image that the group was last compared with and found in agreement.
    compared: Option<u64>,
    /// Soft: topics changed since.
    changed: bool,
    /// Soft: when expressions may be matched again.
    match_from: Deadline,
    /// Soft: what this broker offers when no member asks for anything, as the last heartbeat found it.
    assignor: Name,
    /// Soft: a new member that joins by the classic protocol, and until when it must have asked for its assignment.
    joining: Option<(Name, Deadline)>,
    /// Soft: since when it rebalances, in nanoseconds of the monotonic clock.
    rebalance_since: Option<u64>,
}

/// A member.
#[derive(Debug)]
struct Member {
    /// Durable.
    metadata: MemberMetadata,
    /// Durable.
    current: CurrentAssignment,
    /// Soft: when it is gone without another heartbeat; `None`: nobody has counted yet.
    session_until: Option<Deadline>,
    /// Soft: when it must have given up what it has to.
    revoke_until: Option<Deadline>,
    /// Soft, of a member that speaks the classic protocol: when it must have joined again, after it was told to.
    join_until: Option<Deadline>,
    /// Soft, of such a member: when it must have asked for its assignment, after it joined.
    sync_until: Option<Deadline>,
    /// Its entry in the timers.
    timer: Option<Deadline>,
}

/// An epoch that no member has.
const NO_EPOCH: i32 = -1;

impl ConsumerGroup {
    /// Without members.
    pub fn new(group: Name) -> ConsumerGroup {
        ConsumerGroup {
            group,
            epoch: GroupEpoch { epoch: 0, metadata_hash: 0 },
            target_epoch: TargetEpoch { epoch: 0, computed_ms: -1 },
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            expressions: BTreeMap::new(),
            owners: HashMap::default(),
            instances: BTreeMap::new(),
            timers: BTreeSet::new(),
            compared: None,
            changed: false,
            match_from: Deadline(0),
            assignor: assignors::UNIFORM.into(),
            joining: None,
            rebalance_since: None,
        }
    }

    /// Whether a commit may be taken: from a member at its present epoch, or from anybody while there is no member.
    pub fn check_commit(&self, who: &MemberRef, knows_epochs: bool) -> i16 {
        match self.members.get(&who.member) {
            _ if self.members.is_empty() && who.generation < 0 => codes::NONE,
            None => codes::UNKNOWN_MEMBER_ID,
            Some(member) if member.metadata.classic.is_none() && !knows_epochs => codes::UNSUPPORTED_VERSION,
            Some(member) => member.check_epoch(who.generation),
        }
    }

    /// Whether a partition is another's, of which this member may think otherwise. One that speaks the classic protocol is given a generation with its join and
    /// learns only with its assignment what it has lost: it was removed without knowing, or the group has changed its protocol before it had what it was
    /// to get. librdkafka commits meanwhile, for what it still has in hand. A KIP-848 member's epoch tells it all: there is nothing to ask.
    pub fn is_anothers(&self, who: &MemberRef) -> impl Fn(TopicId, i32) -> bool {
        let told_late = self.members.get(&who.member).is_some_and(|member| member.metadata.classic.is_some());
        move |topic, partition| {
            told_late && self.owners.get(&(topic, partition)).is_some_and(|owner| *owner != who.member)
        }
    }

    /// Whether a member may see offsets; who names none may.
    pub fn check_fetch(&self, who: &MemberRef) -> i16 {
        match self.members.get(&who.member) {
            _ if who.member.is_empty() && who.generation < 0 => codes::NONE,
            None => codes::UNKNOWN_MEMBER_ID,
            Some(member) => member.check_epoch(who.generation),
        }
    }

    /// Whether offsets of the topic are in use.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.metadata.topics.iter().any(|name| &**name == topic))
            || self.expressions.values().any(|matched| matched.topics.iter().any(|name| &**name == topic))
    }

    /// As Kafka writes it.
    pub fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch.epoch > self.target_epoch.epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_at(self.target_epoch.epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// For ConsumerGroupDescribe.
    pub fn describe(&self) -> ConsumerDescribed {
        let members = self.members.iter().map(|(id, member)| ConsumerDescribedMember {
            id: id.clone(),
            metadata: member.metadata.clone(),
            member_epoch: member.current.member_epoch,
            assigned: member.current.assigned.clone(),
            target: self.targets.get(id).cloned().unwrap_or_default(),
        });
        ConsumerDescribed {
            state: self.state(),
            epoch: self.epoch.epoch,
            target_epoch: self.target_epoch.epoch,
            assignor: self.preferred().unwrap_or_else(|| self.assignor.clone()),
            members: members.collect(),
            ..ConsumerDescribed::default()
        }
    }

    /// What takes the group (not its offsets) out of the log, in Kafka's order.
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        let group = || self.group.clone();
        let mut records = Vec::new();
        for member in self.members.keys() {
            records.extend(self.without_member(member));
        }
        records.extend(self.expressions.keys().map(|expression| GroupRecord::Expression {
            group: group(),
            expression: expression.clone(),
            value: None,
        }));
        records.push(GroupRecord::TargetEpoch { group: group(), value: None });
        records.push(GroupRecord::Epoch { group: group(), value: None });
        records
    }

    /// What takes a member out of the log.
    fn without_member(&self, member: &Name) -> [GroupRecord; 3] {
        let (group, member) = (|| self.group.clone(), || member.clone());
        [
            GroupRecord::Current { group: group(), member: member(), value: None },
            GroupRecord::Target { group: group(), member: member(), value: None },
            GroupRecord::Member { group: group(), member: member(), value: None },
        ]
    }

    /// The assignor most members ask for; the first by name of several such.
    fn preferred(&self) -> Option<Name> {
        draft::preferred(self.members.values().map(|member| &member.metadata))
    }
}

impl Member {
    /// As the first record of a member finds it.
    fn unknown() -> Member {
        Member {
            metadata: MemberMetadata {
                instance_id: None,
                rack_id: None,
                client_id: "".into(),
                client_host: "".into(),
                topics: Vec::new(),
                expression: None,
                rebalance_timeout_ms: -1,
                assignor: None,
                classic: None,
            },
            current: nothing_owned(),
            session_until: None,
            revoke_until: None,
            join_until: None,
            sync_until: None,
            timer: None,
        }
    }

    /// Whether this is its present epoch, which is a generation to members that speak the classic protocol.
    fn check_epoch(&self, epoch: i32) -> i16 {
        match &self.metadata.classic {
            _ if self.current.member_epoch == epoch => codes::NONE,
            Some(_) => codes::ILLEGAL_GENERATION,
            None => codes::STALE_MEMBER_EPOCH,
        }
    }

    /// How long it may be silent.
    fn session_timeout(&self, settings: &GroupSettings) -> Duration {
        let by_classic = self.metadata.classic.as_ref().map(|classic| classic.session_timeout_ms);
        millis(by_classic.unwrap_or(settings.consumer_session_timeout_ms))
    }

    /// Whether it has reached the target of this epoch.
    fn is_at(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.member_epoch == epoch
    }
}

/// Where a member begins.
fn nothing_owned() -> CurrentAssignment {
    CurrentAssignment {
        member_epoch: 0,
        previous_epoch: NO_EPOCH,
        state: MemberState::Stable,
        assigned: Vec::new(),
        revoking: Vec::new(),
    }
}

/// The assignor of groups whose members ask for none: the first that is configured and known.
fn default_assignor(settings: &GroupSettings) -> &str {
    let known = settings.consumer_assignors.iter().find(|name| assignors::NAMES.contains(&name.as_str()));
    known.map_or(assignors::UNIFORM, String::as_str)
}
