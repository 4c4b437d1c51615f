//! A member of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, eager or cooperative, dynamic or static; it leads when it is told to.
//! Also the standalone consumer, which only commits.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use floe_wire::errors::ErrorCode;
use floe_wire::messages::find_coordinator::GROUP;
use floe_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use floe_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use floe_wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

use super::assignment::{self, Subscription};
use super::grip::Grip;
use super::offsets::{Open, Who};
use super::{Footing, Speech, Style, Told, draw_some, draw_topics, send};
use crate::oracle::groups::Answered;
use crate::oracle::{TopicIx, Tp};
use crate::workload::api::ApiKey;
use crate::workload::{Actor, Cx, Request, decode};

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has to join, for the first time or again.
    Out,
    /// It has to ask for its assignment.
    Joined,
    /// It has it.
    Member,
    /// It has said that it leaves.
    Leaving,
}

/// A member.
pub struct Member {
    style: Style,
    footing: Footing,
    phase: Phase,
    topics: Vec<TopicIx>,
    member: String,
    generation: i32,
    protocol: String,
    /// As leader: who gets what.
    plan: Vec<(String, Vec<u8>)>,
    /// What it has.
    owned: BTreeSet<Tp>,
    /// What it said it has when it joined.
    claimed: BTreeSet<Tp>,
    /// In a mixed group: how firmly, and by which name the judge knows of it.
    grip: Grip,
    known_as: String,
    open: Open,
}

impl Member {
    /// A member that joins when there is a topic.
    pub fn new(style: Style) -> Member {
        Member {
            footing: Footing::new(style.steps),
            style,
            phase: Phase::Out,
            topics: Vec::new(),
            member: String::new(),
            generation: -1,
            protocol: String::new(),
            plan: Vec::new(),
            owned: BTreeSet::new(),
            claimed: BTreeSet::new(),
            grip: Grip::default(),
            known_as: String::new(),
            open: Open::default(),
        }
    }

    fn cooperative(&self) -> bool {
        self.style.speech == Speech::Cooperative
    }

    fn who(&self) -> Who<'_> {
        Who {
            group: self.style.group,
            member: &self.member,
            instance: self.style.instance.as_deref(),
            generation: self.generation,
            has_epoch: false,
        }
    }

    /// Tells the judge what it has, of a member of a mixed group: there partitions go from member to member without a generation for all of them.
    fn note_holdings(&mut self, cx: &mut Cx<'_>) {
        if !self.style.is_mixed {
            return;
        }
        let (group, who) = (self.style.group, self.style.identity(cx.me, &self.member));
        if self.known_as != who {
            cx.oracle.groups.holds_nothing(group, &self.known_as);
        }
        let until_ns = self.grip.until_ns(&self.style);
        cx.oracle.groups.holds(group, &who, self.owned.iter().map(|tp| (*tp, until_ns)));
        self.known_as = who;
    }

    /// It is out: what it had may be somebody else's.
    fn out(&mut self, keeps_id: bool) {
        self.phase = Phase::Out;
        self.generation = -1;
        self.owned.clear();
        if !keeps_id {
            self.member.clear();
        }
    }

    /// It has to join again.
    fn rejoin(&mut self) {
        self.phase = Phase::Out;
        if !self.cooperative() {
            self.owned.clear();
        }
    }

    fn join(&mut self, cx: &mut Cx<'_>) {
        let version = cx.rng.range(if self.style.instance.is_some() { 5 } else { 0 }, 9) as i16;
        self.claimed = if self.cooperative() { self.owned.clone() } else { BTreeSet::new() };
        let subscription = Subscription {
            topics: assignment::names(cx.topics, &self.topics),
            owned: assignment::named(cx.topics, &self.claimed),
        };
        let metadata = subscription.encode();
        let name = if self.cooperative() { "cooperative-sticky" } else { "range" };
        let request = JoinGroupRequest {
            group_id: Cow::Owned(self.style.group.name()),
            session_timeout_ms: self.style.session_ms as i32,
            rebalance_timeout_ms: self.style.rebalance_ms as i32,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: self.style.instance.as_deref().map(Cow::Borrowed),
            protocol_type: Cow::Borrowed("consumer"),
            protocols: vec![JoinGroupRequestProtocol { name: Cow::Borrowed(name), metadata: Cow::Borrowed(&metadata) }],
            reason: None,
        };
        send(cx, &mut self.footing, ApiKey::JoinGroup, version, &request);
    }

    fn joined(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let decoded = decode::<JoinGroupResponse>(cx, "JoinGroup", body, request.version);
        let Some(response) = decoded else { return };
        match self.footing.told(cx, response.error_code, "JoinGroup") {
            Told::Fine => {}
            Told::Later => return,
            Told::Other(ErrorCode::MEMBER_ID_REQUIRED) => {
                self.member = response.member_id.into_owned();
                return;
            }
            Told::Other(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => return self.out(false),
            Told::Other(ErrorCode::REBALANCE_IN_PROGRESS) => return,
            Told::Other(error) => {
                return cx.oracle.fail(format!("JoinGroup of {}: {}", self.style.group.name(), error.name()));
            }
        }
        self.member = response.member_id.clone().into_owned();
        let was_out = self.generation < 0;
        self.generation = response.generation_id;
        self.protocol = response.protocol_name.as_deref().unwrap_or("").to_owned();
        self.phase = Phase::Joined;
        let who = self.style.identity(cx.me, &self.member);
        let topics = &*cx.topics;
        let is_live = |tp: Tp| topics.is_live(tp.topic);
        let times = (request.sent_ns, cx.world.now_ns());
        if self.style.is_mixed {
            let (group, now_ns) = (self.style.group, times.1);
            if was_out || request.sent_ns >= self.grip.until_ns(&self.style) {
                cx.oracle.groups.forget_epoch(group, &self.member);
            }
            cx.oracle.groups.joined_mixed(group, !response.leader.is_empty());
            // A generation of a classic group is written when its members get what they own: before, a crash takes it back.
            if response.leader.is_empty() {
                cx.oracle.groups.told_epoch(group, &self.member, self.generation, now_ns, &is_live);
            }
            self.grip.told(&self.style, request.sent_ns);
        } else {
            cx.oracle.groups.joined((self.style.group, self.generation), &who, &self.claimed, times, &is_live);
        }
        cx.oracle.judge_groups();
        self.plan.clear();
        if response.leader != response.member_id || response.skip_assignment {
            return;
        }
        let mut members = BTreeMap::new();
        for member in &response.members {
            let Some(subscription) = Subscription::decode(&member.metadata) else {
                return cx.oracle.fail(format!("JoinGroup: {} has a subscription that nobody sent", member.member_id));
            };
            members.insert(member.member_id.clone().into_owned(), subscription);
        }
        if !members.contains_key(&self.member) {
            return cx.oracle.fail(format!("JoinGroup: the leader {} is not among the members", self.member));
        }
        let given = assignment::assign(cx.topics, &members, self.cooperative());
        self.plan = given.into_iter().map(|(member, given)| (member, assignment::encode(&given))).collect();
    }

    fn sync(&mut self, cx: &mut Cx<'_>) {
        let version = cx.rng.range(if self.style.instance.is_some() { 3 } else { 0 }, 5) as i16;
        let one = |(member, assignment): &(String, Vec<u8>)| SyncGroupRequestAssignment {
            member_id: Cow::Owned(member.clone()),
            assignment: Cow::Owned(assignment.clone()),
        };
        let request = SyncGroupRequest {
            group_id: Cow::Owned(self.style.group.name()),
            generation_id: self.generation,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: self.style.instance.as_deref().map(Cow::Borrowed),
            protocol_type: Some(Cow::Borrowed("consumer")),
            protocol_name: Some(Cow::Borrowed(&self.protocol)),
            assignments: self.plan.iter().map(one).collect(),
        };
        send(cx, &mut self.footing, ApiKey::SyncGroup, version, &request);
    }

    fn synced(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let decoded = decode::<SyncGroupResponse>(cx, "SyncGroup", body, request.version);
        let Some(response) = decoded else { return };
        match self.told(cx, response.error_code, "SyncGroup", request.sent_ns) {
            Told::Fine => {}
            Told::Later => return self.rejoin(),
            Told::Other(error) => return self.member_error(cx, error, "SyncGroup"),
        }
        let given = assignment::decode(&response.assignment).and_then(|given| assignment::of_names(cx.topics, &given));
        let Some(given) = given else {
            return cx.oracle.fail("SyncGroup: an assignment that nobody made".into());
        };
        let who = self.style.identity(cx.me, &self.member);
        let topics = &*cx.topics;
        let is_live = |tp: Tp| topics.is_live(tp.topic);
        let at = (self.style.group, self.generation);
        let times = (request.sent_ns, cx.world.now_ns());
        if self.style.is_mixed {
            self.grip.synced(request.sent_ns);
            cx.oracle.groups.told_epoch(self.style.group, &self.member, self.generation, times.1, &is_live);
            let gained: BTreeSet<Tp> = given.difference(&self.owned).copied().collect();
            cx.oracle.groups.given(self.style.group, &who, &gained, self.grip.until_ns(&self.style), times.1);
        } else {
            cx.oracle.groups.synced(at, &who, &given, self.cooperative(), times, &is_live);
        }
        cx.oracle.judge_groups();
        self.phase = Phase::Member;
        if self.cooperative() && !self.owned.is_subset(&given) {
            // What has moved is given up, and everybody is asked to join again.
            self.phase = Phase::Out;
        }
        self.owned = given;
    }

    /// What an answer to a member says; whatever is wrong may mean that it has been told to do something.
    fn told(&mut self, cx: &mut Cx<'_>, error_code: i16, what: &str, sent_ns: u64) -> Told {
        let told = self.footing.told(cx, error_code, what);
        if !matches!(told, Told::Fine) {
            self.grip.told(&self.style, sent_ns);
        }
        told
    }

    /// What a member does about an error.
    fn member_error(&mut self, cx: &mut Cx<'_>, error: ErrorCode, what: &str) {
        match error {
            ErrorCode::REBALANCE_IN_PROGRESS => self.rejoin(),
            ErrorCode::ILLEGAL_GENERATION => self.out(true),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => self.out(false),
            // It was removed, and then the group was deleted.
            ErrorCode::GROUP_ID_NOT_FOUND if self.style.deletes_percent > 0 => self.out(false),
            error => cx.oracle.fail(format!("{what} of {}: {}", self.style.group.name(), error.name())),
        }
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>) {
        let version = cx.rng.range(if self.style.instance.is_some() { 3 } else { 0 }, 4) as i16;
        let request = HeartbeatRequest {
            group_id: Cow::Owned(self.style.group.name()),
            generation_id: self.generation,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: self.style.instance.as_deref().map(Cow::Borrowed),
        };
        send(cx, &mut self.footing, ApiKey::Heartbeat, version, &request);
    }

    fn leave(&mut self, cx: &mut Cx<'_>) {
        let version = cx.rng.range(if self.style.instance.is_some() { 3 } else { 0 }, 5) as i16;
        let mut request = LeaveGroupRequest { group_id: Cow::Owned(self.style.group.name()), ..Default::default() };
        if version < 3 {
            request.member_id = Cow::Borrowed(&self.member);
        } else {
            request.members = vec![MemberIdentity {
                member_id: Cow::Borrowed(&self.member),
                group_instance_id: self.style.instance.as_deref().map(Cow::Borrowed),
                reason: None,
            }];
        }
        send(cx, &mut self.footing, ApiKey::LeaveGroup, version, &request);
        self.phase = Phase::Leaving;
        self.owned.clear();
    }

    /// The process is gone, and perhaps another one comes.
    fn vanish(&mut self, cx: &mut Cx<'_>) {
        let requests = cx.hang_up();
        self.lost(cx, requests);
        self.out(false);
        self.style.stay_away(cx, &mut self.footing);
    }

    /// One step of a member's life.
    fn step(&mut self, cx: &mut Cx<'_>) {
        self.footing.step(cx, self.style.pause_ns);
        if self.style.leaves(cx.rng) {
            return self.leave(cx);
        }
        let (mut open, expiring) = (std::mem::take(&mut self.open), cx.rng.percent(self.style.expiring_percent));
        let some = draw_some(cx.rng, &self.owned);
        let draw = if self.style.must_succeed { 60 + cx.rng.below(30) } else { cx.rng.below(100) };
        match draw {
            60..=77 if !some.is_empty() => {
                let (group, member) = (self.style.group, self.member.clone());
                let instance = self.style.instance.clone();
                let who = Who { group, member: &member, instance: instance.as_deref(), ..self.who() };
                open.commit(cx, &mut self.footing, &who, &some, expiring);
            }
            78..=89 if !some.is_empty() => {
                let who = self.who_of();
                open.fetch(cx, &mut self.footing, &who, &some);
            }
            90..=91 => self.rejoin(),
            92..=94 => self.leave(cx),
            95..=97 => self.vanish(cx),
            98 => self.topics.clear(),
            _ => self.heartbeat(cx),
        }
        self.open = open;
        if self.topics.is_empty() {
            self.rejoin();
        }
    }

    fn who_of(&self) -> Who<'static> {
        Who { group: self.style.group, member: "", instance: None, generation: -1, has_epoch: false }
    }

    /// One step of a standalone consumer.
    fn commit_alone(&mut self, cx: &mut Cx<'_>) {
        self.footing.step(cx, self.style.pause_ns);
        let all: BTreeSet<Tp> =
            cx.topics.live_partitions().into_iter().filter(|tp| self.topics.contains(&tp.topic)).collect();
        let some = draw_some(cx.rng, &all);
        if some.is_empty() {
            return;
        }
        let (who, mut open) = (self.who_of(), std::mem::take(&mut self.open));
        let expiring = cx.rng.percent(self.style.expiring_percent);
        match cx.rng.below(20) {
            0..=4 if self.style.deletes(cx.rng) => open.delete_group(cx, &mut self.footing, self.style.group),
            0..=11 => open.commit(cx, &mut self.footing, &who, &some, expiring),
            12 if self.style.expiring_percent > 0 => open.delete(cx, &mut self.footing, self.style.group, &some),
            _ => open.fetch(cx, &mut self.footing, &who, &some),
        }
        self.open = open;
    }
}

impl Actor for Member {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let goes = match self.footing.begin(cx, self.style.must_succeed) {
            Ok(goes) => goes,
            Err(wait) => return wait,
        };
        if goes && self.footing.ends(cx, self.phase == Phase::Member) {
            return None;
        }
        if cx.rng.percent(self.style.hang_up_percent) {
            let requests = cx.hang_up();
            self.lost(cx, requests);
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        if self.topics.iter().any(|ix| !cx.topics.is_live(*ix)) {
            self.topics.clear();
            self.rejoin();
        }
        if self.topics.is_empty() {
            self.topics = draw_topics(cx, self.style.topics_max);
        }
        if self.topics.is_empty() {
            return Some(20_000_000);
        }
        if !self.footing.found {
            self.footing.find(cx, GROUP, &self.style.group.name());
        } else if self.style.speech == Speech::Standalone {
            self.commit_alone(cx);
        } else {
            match self.phase {
                Phase::Out if self.style.deletes(cx.rng) => {
                    self.open.delete_group(cx, &mut self.footing, self.style.group)
                }
                Phase::Out => self.join(cx),
                Phase::Joined => self.sync(cx),
                Phase::Member if goes => self.leave(cx),
                Phase::Member => self.step(cx),
                Phase::Leaving => self.out(false),
            }
        }
        self.note_holdings(cx);
        if self.footing.in_flight { None } else { Some(cx.rng.range(1_000_000, 10_000_000)) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.footing.in_flight = false;
        let version = request.version;
        match request.api {
            ApiKey::FindCoordinator => self.footing.found(cx, version, body),
            ApiKey::JoinGroup => self.joined(cx, request, body),
            ApiKey::SyncGroup => self.synced(cx, request, body),
            ApiKey::Heartbeat => {
                let Some(response) = decode::<HeartbeatResponse>(cx, "Heartbeat", body, version) else { return };
                match self.told(cx, response.error_code, "Heartbeat", request.sent_ns) {
                    Told::Fine => self.grip.heard(request.sent_ns),
                    Told::Later => {}
                    Told::Other(error) => self.member_error(cx, error, "Heartbeat"),
                }
            }
            ApiKey::LeaveGroup => {
                let Some(response) = decode::<LeaveGroupResponse>(cx, "LeaveGroup", body, version) else { return };
                let code = response.members.first().map_or(response.error_code, |member| member.error_code);
                match self.footing.told(cx, code, "LeaveGroup") {
                    Told::Fine | Told::Later => {}
                    Told::Other(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => {}
                    Told::Other(error) => cx.oracle.fail(format!("LeaveGroup: {}", error.name())),
                }
                self.out(false);
                self.style.stay_away(cx, &mut self.footing);
            }
            ApiKey::OffsetCommit => {
                let mut open = std::mem::take(&mut self.open);
                match open.committed(cx, &mut self.footing, version, body) {
                    // Somebody else may be a member of the group that it commits to alone.
                    Told::Other(error) => self.member_error(cx, error, "OffsetCommit"),
                    Told::Fine | Told::Later => {}
                }
                self.open = open;
            }
            ApiKey::DeleteGroups => {
                let mut open = std::mem::take(&mut self.open);
                open.group_deleted(cx, &mut self.footing, version, body);
                self.open = open;
            }
            ApiKey::OffsetDelete => {
                let mut open = std::mem::take(&mut self.open);
                match open.deleted(cx, &mut self.footing, version, body) {
                    Told::Other(ErrorCode::GROUP_ID_NOT_FOUND) | Told::Fine | Told::Later => {}
                    Told::Other(error) => cx.oracle.fail(format!("OffsetDelete: {}", error.name())),
                }
                self.open = open;
            }
            _ => {
                let mut open = std::mem::take(&mut self.open);
                match open.fetched(cx, &mut self.footing, request, body) {
                    Ok(found) => self.footing.succeeded |= found.values().any(Option::is_some),
                    Err(Told::Other(error)) => cx.oracle.fail(format!("OffsetFetch: {}", error.name())),
                    Err(_) => {}
                }
                self.open = open;
            }
        }
        self.note_holdings(cx);
    }

    fn lost(&mut self, cx: &mut Cx<'_>, requests: Vec<Request>) {
        self.footing.in_flight = false;
        let mut open = std::mem::take(&mut self.open);
        open.lost(cx, Answered::Lost);
        self.open = open;
        for request in &requests {
            if matches!(request.api, ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat) {
                self.grip.told(&self.style, request.sent_ns);
            }
        }
        // Whoever does not know what became of its join or sync joins again.
        match self.phase {
            Phase::Joined => self.rejoin(),
            Phase::Leaving => self.out(false),
            Phase::Out | Phase::Member => {}
        }
        if requests.iter().any(|request| request.api == ApiKey::FindCoordinator) {
            self.footing.found = false;
        }
        self.note_holdings(cx);
    }

    fn is_done(&self) -> bool {
        self.footing.over
    }

    fn describe(&self) -> String {
        format!(
            "member {:?} of {} ({:?}), generation {}, {} partitions, {} steps to go",
            self.member,
            self.style.group.name(),
            (self.style.speech, self.phase, &self.style.instance),
            self.generation,
            self.owned.len(),
            self.footing.left
        )
    }
}
