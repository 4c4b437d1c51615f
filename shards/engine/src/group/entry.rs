//! One group, of either protocol, with its committed offsets. Routes what is asked to the one who knows; owns which of the two protocols a group speaks.
//!
//! Invariant: a group of which nothing is known is a classic one without members, never written: it is no different from one that was never there.

use super::api::{
    Asker, Commit, ConsumerDescribed, ConsumerHeartbeat, Described, GroupAnswer, GroupRequest, ListedGroup,
};
use super::audit::GroupCounts;
use super::classic::{ClassicGroup, Protocols};
use super::consumer::{ConsumerGroup, not_a_consumer_group, upgrade};
use super::offsets::{Committer, Offsets, Retention};
use super::records::GroupRecord;
use super::{Caller, Context, Decision, Name};
use crate::event::LogLevel;
use crate::hosted::Position;
use crate::metadata::Image;
use crate::requests::codes;
use crate::time::{Deadline, Time};

/// A group by its protocol.
#[derive(Debug)]
pub enum Group {
    /// JoinGroup, SyncGroup, ...; also groups that only commit offsets.
    Classic(Box<ClassicGroup>),
    /// KIP-848.
    Consumer(Box<ConsumerGroup>),
}

/// A group with its offsets.
#[derive(Debug)]
pub struct Entry {
    name: Name,
    group: Group,
    /// What it has committed.
    pub offsets: Offsets,
    /// While it is deleted, a bounded number of offsets at a time: who asked for it.
    deleting: Option<Asker>,
    /// While a decision is under way that makes it a classic group: what its members keep that is not written down.
    becomes_classic: Option<Protocols>,
    /// Its entry among the coordinator's deadlines.
    pub scheduled: Option<Deadline>,
}

impl Entry {
    /// Nothing is known of it.
    pub fn new(name: Name) -> Entry {
        let group = Group::Classic(Box::new(ClassicGroup::new(name.clone())));
        Entry { name, group, offsets: Offsets::default(), deleting: None, becomes_classic: None, scheduled: None }
    }

    /// Whether there is no trace of it.
    pub fn is_vacant(&self) -> bool {
        // Between the records that forget it as one kind of group and those that make it the other it is not gone.
        self.offsets.is_empty()
            && self.becomes_classic.is_none()
            && self.deleting.is_none()
            && matches!(&self.group, Group::Classic(classic) if classic.is_vacant())
    }

    /// Decides what is asked.
    pub fn request(&mut self, cx: &mut Context<'_>, caller: &Caller, request: GroupRequest) -> Decision {
        let vacant = self.is_vacant();
        // What comes while it is deleted would be lost, or keep it: clients ask again.
        if self.deleting.is_some() && !matches!(request, GroupRequest::Describe | GroupRequest::ConsumerDescribe) {
            return Decision::answer(caller.asker, request.refuse(codes::COORDINATOR_LOAD_IN_PROGRESS));
        }
        match request {
            GroupRequest::Join(_) | GroupRequest::Sync(_) | GroupRequest::Heartbeat(_) | GroupRequest::Leave(_) => {
                self.classic(cx, caller, request)
            }
            GroupRequest::ConsumerHeartbeat(heartbeat) => self.consumer_heartbeat(cx, caller, heartbeat),
            GroupRequest::Commit(commit) => {
                let code = self.check_commit(cx, &commit);
                if code != codes::NONE {
                    return Decision::answer(caller.asker, GroupAnswer::Committed(commit.refuse(code)));
                }
                let by_hand = commit.who.generation < 0 && self.group.had_members();
                self.commit(cx, caller, commit, Committer { txn: None, by_hand })
            }
            GroupRequest::TxnCommit(commit, txn) => {
                let code = self.check_txn_commit(&commit);
                if code != codes::NONE {
                    return Decision::answer(caller.asker, GroupAnswer::Committed(commit.refuse(code)));
                }
                let committer = Committer { txn: Some(txn), by_hand: false };
                self.commit(cx, caller, commit, committer)
            }
            GroupRequest::Fetch(fetch) => {
                let code = match (&self.group, &fetch.who) {
                    (Group::Consumer(consumer), Some(who)) => consumer.check_fetch(who),
                    _ => codes::NONE,
                };
                let answer = if code == codes::NONE {
                    Ok(self.offsets.fetch(fetch.topics, fetch.require_stable))
                } else {
                    Err(code)
                };
                Decision::answer(caller.asker, GroupAnswer::Fetched(answer))
            }
            GroupRequest::DeleteOffsets(topics) => {
                let code = match &self.group {
                    _ if vacant => codes::GROUP_ID_NOT_FOUND,
                    Group::Classic(classic) if !classic.is_empty() && !classic.is_consumers() => codes::NON_EMPTY_GROUP,
                    _ => codes::NONE,
                };
                if code != codes::NONE {
                    return Decision::answer(caller.asker, GroupAnswer::OffsetsDeleted(Err(code)));
                }
                let Entry { name, group, offsets, .. } = self;
                offsets.delete(cx, name, caller, &topics, |topic| group.is_subscribed(topic))
            }
            GroupRequest::Describe => Decision::answer(caller.asker, GroupAnswer::Described(self.describe(vacant))),
            GroupRequest::ConsumerDescribe => {
                let described = match &self.group {
                    Group::Consumer(consumer) => consumer.describe(),
                    Group::Classic(_) => ConsumerDescribed {
                        error_code: codes::GROUP_ID_NOT_FOUND,
                        error_message: Some(self.missing(vacant, "consumer")),
                        ..ConsumerDescribed::default()
                    },
                };
                Decision::answer(caller.asker, GroupAnswer::ConsumerDescribed(described))
            }
            GroupRequest::Delete => self.delete(cx, caller, vacant),
            GroupRequest::List(_) => unreachable!("a list is of a partition"),
        }
    }

    /// Something that is due by now.
    pub fn due(&mut self, cx: &mut Context<'_>) -> Option<Decision> {
        if let Some(asker) = self.deleting {
            return Some(self.delete_some(cx, asker));
        }
        let decision = match &mut self.group {
            Group::Classic(classic) => classic.due(cx),
            Group::Consumer(consumer) => consumer.due(cx),
        };
        decision.map(|decision| self.watch(decision))
    }

    /// When that is at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.deleting.is_some() {
            return Some(Deadline(0));
        }
        match &self.group {
            Group::Classic(classic) => classic.next_deadline(),
            Group::Consumer(consumer) => consumer.next_deadline(),
        }
    }

    /// Offsets that expired, or whose topics are gone; then the group itself, when nothing is left of it.
    pub fn sweep(&mut self, cx: &mut Context<'_>) -> Option<Decision> {
        let Entry { name, group, offsets, .. } = self;
        let retention = group.retention();
        let mut decision = Decision { records: offsets.gone(cx, name), ..Decision::default() };
        // One after the other: what is gone may have expired as well, and is to be deleted once.
        if decision.records.is_empty() {
            decision.records = offsets.expired(cx, name, retention, |topic| group.is_subscribed(topic));
        }
        let taken = decision.records.len();
        if offsets.would_be_empty_without(taken) && group.is_empty() {
            decision.records.extend(group.tombstones());
        }
        (!decision.records.is_empty()).then_some(decision)
    }

    /// A record holds: live, or (without a time) read from the log.
    pub fn apply(&mut self, now: Option<Time>, record: &GroupRecord, position: Position, counts: &mut GroupCounts) {
        match (record, &mut self.group) {
            (GroupRecord::Offset { topic, partition, value, .. }, _) => {
                counts.commits += u64::from(now.is_some() && value.is_some());
                self.offsets.apply(topic, *partition, value.as_ref(), position);
            }
            (GroupRecord::Classic { value, .. }, Group::Classic(classic)) => {
                classic.apply(now, value.as_ref(), counts);
                if let (Some(now), Some(protocols)) = (now, self.becomes_classic.take()) {
                    classic.begin_after_migration(now, protocols);
                }
            }
            (GroupRecord::Classic { value: Some(_), .. }, Group::Consumer(_)) => {
                self.group = Group::Classic(Box::new(ClassicGroup::new(self.name.clone())));
                self.apply(now, record, position, counts);
            }
            (GroupRecord::Epoch { value: None, .. }, Group::Consumer(_)) => {
                self.group = Group::Classic(Box::new(ClassicGroup::new(self.name.clone())));
            }
            (_, Group::Consumer(consumer)) => consumer.apply(now, record, counts),
            // What is left of a consumer group that is gone, or the first trace of one: compaction keeps the last record of each key alone, in any order.
            (_, Group::Classic(_)) if record.is_tombstone() => {}
            (_, Group::Classic(_)) => {
                let mut consumer = ConsumerGroup::new(self.name.clone());
                consumer.apply(now, record, counts);
                self.group = Group::Consumer(Box::new(consumer));
            }
        }
    }

    /// A record could not be written. Gives who waited for the group to be deleted: what is left of it stays.
    pub fn refused(&mut self, now: Time, record: &GroupRecord) -> Option<Asker> {
        self.becomes_classic = None;
        match (&mut self.group, record) {
            (_, GroupRecord::Offset { .. }) => {}
            (Group::Classic(classic), GroupRecord::Classic { value: Some(_), .. }) => classic.refused(now),
            (Group::Classic(_), _) => {}
            (Group::Consumer(consumer), _) => consumer.refused(now),
        }
        self.deleting.take()
    }

    /// Everything has been read.
    pub fn loaded(&mut self, now: Time) {
        match &mut self.group {
            Group::Classic(classic) => classic.loaded(now),
            Group::Consumer(consumer) => consumer.loaded(now),
        }
    }

    /// Topics have changed. Whether offsets of topics that are gone are to be dropped.
    pub fn image_changed(&mut self, image: &Image) -> bool {
        if let Group::Consumer(consumer) = &mut self.group {
            consumer.image_changed(image);
        }
        self.offsets.has_gone(image)
    }

    /// The partition goes away: whoever waits is told.
    pub fn dissolve(&mut self, error_code: i16, decision: &mut Decision) {
        decision.answers.extend(self.deleting.take().map(|asker| (asker, GroupAnswer::Deleted(error_code))));
        if let Group::Classic(classic) = &mut self.group {
            classic.dissolve(error_code, decision);
        }
    }

    /// As Kafka writes it.
    pub fn state(&self) -> &'static str {
        match &self.group {
            Group::Classic(classic) => classic.state_name(),
            Group::Consumer(consumer) => consumer.state(),
        }
    }

    /// As Kafka writes it.
    pub fn kind(&self) -> &'static str {
        match &self.group {
            Group::Classic(_) => "classic",
            Group::Consumer(_) => "consumer",
        }
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        match &self.group {
            Group::Classic(classic) => classic.members(),
            Group::Consumer(consumer) => consumer.members(),
        }
    }

    /// Its line in a list.
    pub fn list(&self, group: Name) -> ListedGroup {
        let protocol_type = match &self.group {
            Group::Classic(classic) => classic.protocol_type(),
            Group::Consumer(_) => "consumer".into(),
        };
        ListedGroup { group, protocol_type, state: self.state(), kind: self.kind() }
    }
}

impl Entry {
    fn classic(&mut self, cx: &mut Context<'_>, caller: &Caller, request: GroupRequest) -> Decision {
        let mut tombstones = Vec::new();
        if let (Group::Consumer(consumer), GroupRequest::Join(_)) = (&self.group, &request)
            && consumer.members() == 0
        {
            tombstones = consumer.tombstones();
            self.group = Group::Classic(Box::new(ClassicGroup::new(self.name.clone())));
        }
        let mut decision = match &mut self.group {
            Group::Classic(classic) => classic.request(cx, caller, request),
            Group::Consumer(consumer) => consumer.classic(cx, caller, request),
        };
        decision.records.splice(0..0, tombstones);
        self.watch(decision)
    }

    /// A KIP-848 member speaks. When it joins, an empty classic group makes way, and one with members becomes a group of its protocol, if it may.
    fn consumer_heartbeat(&mut self, cx: &mut Context<'_>, caller: &Caller, heartbeat: ConsumerHeartbeat) -> Decision {
        let joins = heartbeat.member_epoch == 0;
        let (mut consumer, records) = match &mut self.group {
            Group::Consumer(consumer) => {
                let decision = consumer.heartbeat(cx, caller, heartbeat);
                return self.watch(decision);
            }
            Group::Classic(classic) if classic.is_empty() => (ConsumerGroup::new(self.name.clone()), Vec::new()),
            Group::Classic(_) if !joins => {
                return not_a_consumer_group(caller, format!("Group {} is not a consumer group.", self.name));
            }
            Group::Classic(classic) => match upgrade(cx, &self.name, classic) {
                Ok(records) => (ConsumerGroup::new(self.name.clone()), records),
                Err(message) => return not_a_consumer_group(caller, message),
            },
        };
        // Decided by a group as it will be, which is thrown away: when the records hold they make it again.
        let mut uncounted = GroupCounts::default();
        records.iter().for_each(|record| consumer.apply(None, record, &mut uncounted));
        let mut decision = consumer.heartbeat(cx, caller, heartbeat);
        if let (Group::Classic(classic), false) = (&mut self.group, decision.records.is_empty()) {
            if !records.is_empty() {
                let (name, members, generation) = (&self.name, classic.members(), classic.generation());
                cx.audit.line(LogLevel::Info, || {
                    format!(
                        "group {name}: takes {members} members of generation {generation} into the consumer protocol"
                    )
                });
            }
            decision.records.splice(0..0, classic.tombstone().into_iter().chain(records));
            classic.interrupt(codes::REBALANCE_IN_PROGRESS, &mut decision);
        }
        decision
    }

    /// A KIP-848 group has decided. If that makes it a classic one, what is not written down is kept for it.
    fn watch(&mut self, decision: Decision) -> Decision {
        let is_classic = |record: &GroupRecord| matches!(record, GroupRecord::Classic { value: Some(_), .. });
        if let Group::Consumer(consumer) = &self.group
            && decision.records.last().is_some_and(is_classic)
        {
            self.becomes_classic = Some(consumer.protocols());
        }
        decision
    }

    /// A commit by somebody who may.
    fn commit(&self, cx: &mut Context<'_>, caller: &Caller, commit: Commit, committer: Committer) -> Decision {
        match &self.group {
            Group::Classic(_) => self.offsets.commit(cx, &self.name, caller, commit, committer, |_, _| false),
            Group::Consumer(consumer) => {
                let who = commit.who.clone();
                self.offsets.commit(cx, &self.name, caller, commit, committer, consumer.is_anothers(&who))
            }
        }
    }

    /// Whether somebody may commit in a transaction. Older clients do not say who they are: then only their producer is checked, by the log (KIP-447).
    fn check_txn_commit(&self, commit: &Commit) -> i16 {
        let who = &commit.who;
        let is_told = who.generation >= 0 || !who.member.is_empty() || who.instance.is_some();
        match &self.group {
            Group::Classic(_) if self.is_vacant() && who.generation >= 0 => codes::ILLEGAL_GENERATION,
            group if group.is_empty() && who.generation < 0 => codes::NONE,
            _ if !is_told => codes::NONE,
            Group::Classic(classic) => classic.check_txn_commit(who),
            Group::Consumer(consumer) => match consumer.check_commit(who, true) {
                codes::STALE_MEMBER_EPOCH => codes::ILLEGAL_GENERATION,
                code => code,
            },
        }
    }

    fn check_commit(&mut self, cx: &mut Context<'_>, commit: &Commit) -> i16 {
        let vacant = self.is_vacant();
        match &mut self.group {
            Group::Classic(_) if vacant && commit.who.generation >= 0 => {
                if commit.knows_epochs {
                    codes::GROUP_ID_NOT_FOUND
                } else {
                    codes::ILLEGAL_GENERATION
                }
            }
            Group::Classic(classic) => classic.check_commit(cx, &commit.who),
            Group::Consumer(consumer) => consumer.check_commit(&commit.who, commit.knows_epochs),
        }
    }

    fn describe(&self, vacant: bool) -> Described {
        match &self.group {
            Group::Classic(classic) if !vacant => classic.describe(),
            _ => Described {
                error_code: codes::GROUP_ID_NOT_FOUND,
                error_message: Some(self.missing(vacant, "classic")),
                state: "Dead",
                ..Described::default()
            },
        }
    }

    fn missing(&self, vacant: bool, kind: &str) -> String {
        if vacant {
            format!("Group {} not found.", self.name)
        } else {
            format!("Group {} is not a {kind} group.", self.name)
        }
    }

    fn delete(&mut self, cx: &mut Context<'_>, caller: &Caller, vacant: bool) -> Decision {
        let code = match &self.group {
            _ if vacant => codes::GROUP_ID_NOT_FOUND,
            group if !group.is_empty() => codes::NON_EMPTY_GROUP,
            _ => codes::NONE,
        };
        if code != codes::NONE {
            return Decision::answer(caller.asker, GroupAnswer::Deleted(code));
        }
        self.delete_some(cx, caller.asker)
    }

    /// Deletes as many offsets as one decision takes; with the last ones the group goes, and `asker` is told.
    fn delete_some(&mut self, cx: &mut Context<'_>, asker: Asker) -> Decision {
        let mut decision = Decision { records: self.offsets.delete_some(cx, &self.name), ..Decision::default() };
        let is_last = self.offsets.would_be_empty_without(decision.records.len());
        self.deleting = (!is_last).then_some(asker);
        if is_last {
            if let Group::Classic(classic) = &mut self.group {
                classic.forget_given_ids();
            }
            decision.records.extend(self.group.tombstones());
            decision.answers.push((asker, GroupAnswer::Deleted(codes::NONE)));
        }
        decision
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        match self {
            Group::Classic(classic) => classic.is_empty(),
            Group::Consumer(consumer) => consumer.members() == 0,
        }
    }

    /// Whether members commit here, and none is there: then an offset is set by hand. Groups that never had any are those of standalone consumers.
    fn had_members(&self) -> bool {
        match self {
            Group::Classic(classic) => classic.is_empty() && !classic.protocol_type().is_empty(),
            Group::Consumer(consumer) => consumer.members() == 0,
        }
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        match self {
            Group::Classic(classic) => classic.is_subscribed(topic),
            Group::Consumer(consumer) => consumer.is_subscribed(topic),
        }
    }

    fn retention(&self) -> Retention {
        match self {
            Group::Classic(classic) => classic.retention(),
            Group::Consumer(_) => Retention::SinceCommit,
        }
    }

    fn tombstones(&self) -> Vec<GroupRecord> {
        match self {
            Group::Classic(classic) => classic.tombstone().into_iter().collect(),
            Group::Consumer(consumer) => consumer.tombstones(),
        }
    }
}
