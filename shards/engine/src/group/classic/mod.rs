//! A group of the classic protocol: JoinGroup to LeaveGroup (KIP-62, 345, 394, 429, 814). Members agree on a protocol, one of them (the leader) computes the
//! assignment, the coordinator counts generations and times out who is silent.
//!
//! - `member.rs`: one member. `join.rs`: who comes. `rebalance.rs`: from the first join to the generation. `sync.rs`: assignments, heartbeats, leaving.
//! - `subscription.rs`: which topics the members read. `migration.rs`: to and from KIP-848.
//!
//! Invariants: durable is only a group at rest (Stable or Empty), and only [`ClassicGroup::apply`] brings it there. A rebalance under way is soft: after
//! a restart the members join again. Whoever waits in a join or a sync is answered exactly once.

mod join;
mod member;
mod migration;
mod rebalance;
mod subscription;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use floe_wire::consumer_protocol::PROTOCOL_TYPE;
use member::Member;
pub use migration::Protocols;

use super::api::{Described, GroupRequest, MemberRef};
use super::audit::GroupCounts;
use super::offsets::Retention;
use super::records::{ClassicState, GroupRecord};
use super::{Caller, Context, Decision, Name};
use crate::requests::codes;
use crate::time::{Deadline, Time};

/// Where a group stands. A dead one is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No members.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// The generation is made; the leader computes the assignment.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
}

/// The joins of one rebalance.
#[derive(Debug)]
struct Joining {
    /// When it completes at the latest.
    deadline: Deadline,
    /// Of a group that was empty: `group.initial.rebalance.delay.ms` are awaited, again and again while new members come, for so long in all.
    initial_left: Option<Duration>,
    /// A new member came since the delay began.
    new_member: bool,
}

/// A group.
#[derive(Debug)]
pub struct ClassicGroup {
    name: Name,
    state: State,
    /// When it came to its durable state, in ms since the epoch, or -1.
    since_ms: i64,
    protocol_type: Option<Name>,
    generation: i32,
    /// The assignor that the generation agreed on.
    protocol: Option<Name>,
    leader: Option<Name>,
    members: BTreeMap<Name, Member>,
    /// Member ids of static members by instance.
    instances: BTreeMap<Name, Name>,
    /// How many members support a protocol.
    supporters: BTreeMap<Name, usize>,
    /// How many members wait in a join.
    joined: usize,
    /// Ids given out that have not come back yet, with when they are forgotten (KIP-394).
    pending: BTreeMap<Name, Deadline>,
    /// While PreparingRebalance.
    joining: Option<Joining>,
    /// When the rebalance began.
    rebalance_began: Option<Time>,
    /// Who has not asked for its assignment yet in this generation; removed when `sync_deadline` comes.
    unsynced: BTreeSet<Name>,
    sync_deadline: Option<Deadline>,
    /// When something may be due: never later than the first deadline in here, often earlier, because heartbeats do not move it.
    wake: Option<Deadline>,
    /// A rebalance is due, and why: its last record was refused, or it has changed its protocol.
    must_rebalance: Option<&'static str>,
    /// There is a record of it.
    written: bool,
}

impl ClassicGroup {
    /// Nothing is known of it.
    pub fn new(name: Name) -> ClassicGroup {
        ClassicGroup {
            name,
            state: State::Empty,
            since_ms: -1,
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            supporters: BTreeMap::new(),
            joined: 0,
            pending: BTreeMap::new(),
            joining: None,
            rebalance_began: None,
            unsynced: BTreeSet::new(),
            sync_deadline: None,
            wake: None,
            must_rebalance: None,
            written: false,
        }
    }

    /// Whether nothing is known of it.
    pub fn is_vacant(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && !self.written
    }

    /// Whether it has no members and waits for none.
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Whether its members are consumers, so that their subscriptions can be read.
    pub fn is_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(PROTOCOL_TYPE)
    }

    /// The group is deleted: who was given an id and has not come back with it yet begins anew, as in Kafka.
    pub fn forget_given_ids(&mut self) {
        self.pending.clear();
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// As the members gave it, else empty.
    pub fn protocol_type(&self) -> Name {
        self.protocol_type.clone().unwrap_or_else(|| "".into())
    }

    /// As Kafka writes it.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    /// Decides join, sync, heartbeat and leave.
    pub fn request(&mut self, cx: &mut Context<'_>, caller: &Caller, request: GroupRequest) -> Decision {
        let mut decision = Decision::default();
        match request {
            GroupRequest::Join(join) => self.join(cx, caller, join, &mut decision),
            GroupRequest::Sync(sync) => self.sync(cx, caller, sync, &mut decision),
            GroupRequest::Heartbeat(who) => self.heartbeat(cx, caller, &who, &mut decision),
            GroupRequest::Leave(leavers) => self.leave(cx, caller, &leavers, &mut decision),
            other => unreachable!("not of the classic protocol: {other:?}"),
        }
        decision
    }

    /// Whether who commits may: the error code. A commit keeps a member's session alive.
    pub fn check_commit(&mut self, cx: &mut Context<'_>, who: &MemberRef) -> i16 {
        if who.generation < 0 && self.state == State::Empty {
            return codes::NONE;
        }
        if who.generation < 0 && who.member.is_empty() && who.instance.is_none() {
            return codes::UNKNOWN_MEMBER_ID;
        }
        let code = self.check(who);
        if code != codes::NONE {
            return code;
        }
        if who.generation != self.generation {
            return codes::ILLEGAL_GENERATION;
        }
        if self.state == State::CompletingRebalance {
            return codes::REBALANCE_IN_PROGRESS;
        }
        self.alive(cx.now, &who.member);
        codes::NONE
    }

    /// Whether a member may commit in a transaction: the error code. Other than a plain commit it may do so before it has its assignment.
    pub fn check_txn_commit(&self, who: &MemberRef) -> i16 {
        match self.check(who) {
            codes::NONE if who.generation != self.generation => codes::ILLEGAL_GENERATION,
            code => code,
        }
    }

    /// Described for DescribeGroups: subscriptions and assignments only of a stable group.
    pub fn describe(&self) -> Described {
        let stable = self.state == State::Stable;
        let members = self.members.iter().map(|(id, member)| {
            let mut described = member.record(id, self.protocol.as_deref().filter(|_| stable));
            if !stable {
                described.assignment.clear();
            }
            described
        });
        Described {
            error_code: codes::NONE,
            error_message: None,
            state: self.state_name(),
            protocol_type: self.protocol_type(),
            protocol: self.protocol.clone().filter(|_| stable).unwrap_or_else(|| "".into()),
            members: members.collect(),
        }
    }

    /// From when its offsets age.
    pub fn retention(&self) -> Retention {
        match self.state {
            _ if self.protocol_type.is_none() => Retention::SinceCommit,
            State::Empty if self.since_ms < 0 => Retention::SinceCommit,
            State::Empty => Retention::Since(self.since_ms),
            State::Stable if self.is_consumers() && self.subscribed().is_some() => Retention::SinceCommit,
            _ => Retention::Never,
        }
    }

    /// What takes it out of the log.
    pub fn tombstone(&self) -> Option<GroupRecord> {
        self.written.then(|| GroupRecord::Classic { group: self.name.clone(), value: None })
    }

    /// A record holds: live, or (without a time) read from the log. Live, members that are there keep what the record does not say.
    pub fn apply(&mut self, now: Option<Time>, value: Option<&ClassicState>, counts: &mut GroupCounts) {
        let Some(value) = value else {
            *self = ClassicGroup::new(self.name.clone());
            return;
        };
        self.written = true;
        self.protocol_type = Some(value.protocol_type.clone()).filter(|kind| !kind.is_empty());
        self.generation = value.generation;
        self.protocol.clone_from(&value.protocol);
        self.since_ms = value.since_ms;
        let mut members = std::mem::take(&mut self.members);
        if now.is_none() {
            // What the record before said of its members is as old as that record.
            members.clear();
        }
        self.instances.clear();
        self.supporters.clear();
        self.joined = 0;
        for record in &value.members {
            let mut member =
                members.remove(&record.id).unwrap_or_else(|| Member::restored(record, value.protocol.as_ref()));
            member.assignment = record.assignment.clone();
            self.add(record.id.clone(), member);
        }
        self.unsynced.retain(|id| self.members.contains_key(id));
        self.leader.clone_from(&value.leader);
        self.joining = None;
        if self.members.is_empty() {
            self.state = State::Empty;
            self.unsynced.clear();
            self.sync_deadline = None;
        } else {
            self.state = State::Stable;
        }
        if let (Some(now), Some(began)) = (now, self.rebalance_began.take()) {
            counts.rebalance_ns.record(now.mono_ns.saturating_sub(began.mono_ns));
        }
        if let Some(now) = now {
            self.loaded(now);
        }
    }

    /// Members that have no deadline get one.
    pub fn loaded(&mut self, now: Time) {
        for member in self.members.values_mut().filter(|member| member.session.is_none()) {
            member.alive(now);
            wake_at(&mut self.wake, member.session);
        }
        // The record of a group that has just been converted: the rebalance that follows went with the process.
        if self.state == State::Stable && self.leader.is_none() {
            self.agree_anew(now);
        }
    }

    /// When [`ClassicGroup::due`] is to be called at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.wake
    }

    /// The durable state that a group at rest has.
    fn record(&self, cx: &Context<'_>) -> GroupRecord {
        let members = self.members.iter().map(|(id, member)| member.record(id, self.protocol.as_deref()));
        GroupRecord::Classic {
            group: self.name.clone(),
            value: Some(ClassicState {
                protocol_type: self.protocol_type(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                since_ms: cx.now.wall_ms,
                members: members.collect(),
            }),
        }
    }

    /// Whether this is a member (KIP-345: of a static one the last that came).
    fn check(&self, who: &MemberRef) -> i16 {
        if let Some(instance) = &who.instance {
            match self.instances.get(instance) {
                None => return codes::UNKNOWN_MEMBER_ID,
                Some(id) if *id != who.member => return codes::FENCED_INSTANCE_ID,
                Some(_) => {}
            }
        }
        if self.members.contains_key(&who.member) { codes::NONE } else { codes::UNKNOWN_MEMBER_ID }
    }

    /// A member was heard: its session begins anew.
    fn alive(&mut self, now: Time, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.alive(now);
            wake_at(&mut self.wake, member.session);
        }
    }
}

/// Makes sure that the group is looked at by then.
fn wake_at(wake: &mut Option<Deadline>, deadline: Option<Deadline>) {
    *wake = wake.iter().copied().chain(deadline).min();
}
