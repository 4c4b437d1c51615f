//! A member of the next-generation protocol (KIP-848): everything by ConsumerGroupHeartbeat. It takes its time to give up what it must, sometimes too
//! much; it loses answers and says everything anew; it leaves, for good or for a while, or vanishes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use floe_wire::errors::ErrorCode;
use floe_wire::ids::TopicId;
use floe_wire::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JOIN_EPOCH, LEAVE_EPOCH, LEAVE_STATIC_EPOCH,
    TopicPartitions,
};
use floe_wire::messages::find_coordinator::GROUP;

use super::offsets::{Open, Who};
use super::{Footing, Style, Told, draw_some, draw_topics, send};
use crate::oracle::groups::Answered;
use crate::oracle::{TopicIx, Tp};
use crate::workload::api::ApiKey;
use crate::workload::{Actor, Cx, Request, decode};

/// First version whose clients make their member ids themselves.
const OWN_ID_SINCE: i16 = 1;

/// A member.
pub struct Member {
    style: Style,
    footing: Footing,
    topics: Vec<TopicIx>,
    version: i16,
    member: String,
    /// Makes the next member id another one.
    incarnation: u32,
    epoch: i32,
    /// What it has in hand.
    owned: BTreeSet<Tp>,
    /// What it shall have.
    target: BTreeSet<Tp>,
    /// It must give something up: when it will.
    revoking: Option<u64>,
    /// When it may be removed for not having given up something: until an answer shows that the coordinator has heard that it has.
    revoke_until_ns: u64,
    /// When the first heartbeat since the last answer was sent: the coordinator may have answered it with something to give up, and count from then on.
    unanswered_ns: Option<u64>,
    /// The coordinator does not know what it has; or it must be told everything.
    must_say: bool,
    must_say_all: bool,
    /// When the last heartbeat that succeeded was sent.
    alive_ns: u64,
    next_heartbeat_ns: u64,
    open: Open,
    leaving: bool,
}

impl Member {
    /// A member that joins when there is a topic.
    pub fn new(style: Style) -> Member {
        Member {
            footing: Footing::new(style.steps),
            style,
            topics: Vec::new(),
            version: OWN_ID_SINCE,
            member: String::new(),
            incarnation: 0,
            epoch: JOIN_EPOCH,
            owned: BTreeSet::new(),
            target: BTreeSet::new(),
            revoking: None,
            revoke_until_ns: u64::MAX,
            unanswered_ns: None,
            must_say: true,
            must_say_all: true,
            alive_ns: 0,
            next_heartbeat_ns: 0,
            open: Open::default(),
            leaving: false,
        }
    }

    fn identity(&self, me: u32) -> String {
        self.style.identity(me, &self.member)
    }

    fn is_member(&self) -> bool {
        self.epoch > JOIN_EPOCH
    }

    /// It is no member any more and has nothing.
    fn drop_all(&mut self, cx: &mut Cx<'_>) {
        let who = self.identity(cx.me);
        cx.oracle.groups.holds_nothing(self.style.group, &who);
        self.forget();
    }

    fn forget(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.owned.clear();
        self.target.clear();
        (self.revoking, self.revoke_until_ns, self.unanswered_ns) = (None, u64::MAX, None);
        (self.must_say, self.must_say_all, self.leaving) = (true, true, false);
        self.next_heartbeat_ns = 0;
    }

    /// Another process: it has another id.
    fn reborn(&mut self, cx: &mut Cx<'_>) {
        self.forget();
        self.incarnation += 1;
        self.version = cx.rng.range(0, 1) as i16;
        self.member =
            if self.version >= OWN_ID_SINCE { format!("member-{}-{}", cx.me, self.incarnation) } else { String::new() };
    }

    /// Until when the coordinator must count what it has as held, by what it has answered.
    fn note_holdings(&mut self, cx: &mut Cx<'_>) {
        let session_ns = self.alive_ns + self.style.session_ms * 1_000_000;
        let who = self.identity(cx.me);
        // Of a member that is too slow everything goes.
        let unheard_ns = self.unanswered_ns.map_or(u64::MAX, |sent_ns| self.rebalance_end_ns(sent_ns));
        let until_ns = session_ns.min(self.revoke_until_ns).min(unheard_ns);
        let held: Vec<(Tp, u64)> = self.owned.iter().map(|tp| (*tp, until_ns)).collect();
        cx.oracle.groups.holds(self.style.group, &who, held.into_iter());
    }

    fn rebalance_end_ns(&self, began_ns: u64) -> u64 {
        began_ns + self.style.rebalance_ms * 1_000_000
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>, epoch: i32) {
        let now_ns = cx.world.now_ns();
        if self.revoking.is_some_and(|at| at <= now_ns) {
            self.owned = self.owned.intersection(&self.target).copied().collect();
            self.revoking = None;
            self.must_say = true;
            self.note_holdings(cx);
        }
        let names: Vec<String> = self.topics.iter().map(|ix| cx.topics.get(*ix).name.clone()).collect();
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: Cow::Owned(self.style.group.name()),
            member_id: Cow::Borrowed(&self.member),
            member_epoch: epoch,
            instance_id: self.style.instance.as_deref().map(Cow::Borrowed),
            ..Default::default()
        };
        let all = self.must_say_all || epoch == JOIN_EPOCH;
        if epoch >= JOIN_EPOCH {
            if all {
                request.rebalance_timeout_ms = self.style.rebalance_ms as i32;
                request.subscribed_topic_names = Some(names.iter().map(|name| Cow::Borrowed(name.as_str())).collect());
            }
            if all || self.must_say {
                request.topic_partitions = Some(ids(cx, &self.owned));
            }
        } else {
            self.leaving = true;
        }
        send(cx, &mut self.footing, ApiKey::ConsumerGroupHeartbeat, self.version, &request);
        if epoch < JOIN_EPOCH {
            // What it had is given up with the request.
            let who = self.identity(cx.me);
            cx.oracle.groups.holds_nothing(self.style.group, &who);
        } else if self.unanswered_ns.is_none() {
            self.unanswered_ns = Some(now_ns);
            self.note_holdings(cx);
        }
    }

    fn answered(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let what = "ConsumerGroupHeartbeat";
        let decoded = decode::<ConsumerGroupHeartbeatResponse>(cx, what, body, request.version);
        let Some(response) = decoded else { return };
        if self.leaving {
            match self.footing.told(cx, response.error_code, what) {
                // Leaving again what may have been left before.
                Told::Fine | Told::Later => {}
                Told::Other(
                    ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::FENCED_INSTANCE_ID,
                ) => {}
                Told::Other(error) => cx.oracle.fail(format!("{what}: leaving: {}", error.name())),
            }
            self.style.stay_away(cx, &mut self.footing);
            return self.reborn(cx);
        }
        match self.footing.told(cx, response.error_code, what) {
            Told::Fine => {}
            Told::Later => {
                self.must_say_all = true;
                return;
            }
            Told::Other(
                ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND,
            ) => return self.drop_all(cx),
            Told::Other(ErrorCode::UNRELEASED_INSTANCE_ID) if self.style.instance.is_some() => {
                self.footing.not_before_ns = cx.world.now_ns() + 50_000_000;
                return;
            }
            Told::Other(ErrorCode::FENCED_INSTANCE_ID) if self.style.instance.is_some() => return self.reborn(cx),
            Told::Other(error) => {
                let words = response.error_message.as_deref().unwrap_or("");
                return cx.oracle.fail(format!("{what} of {}: {} {words}", self.describe(), error.name()));
            }
        }
        let now_ns = cx.world.now_ns();
        let before = self.identity(cx.me);
        self.member = response.member_id.as_deref().unwrap_or("").to_owned();
        if before != self.identity(cx.me) {
            cx.oracle.groups.holds_nothing(self.style.group, &before);
        }
        let topics = &*cx.topics;
        let is_live = |tp: Tp| topics.is_live(tp.topic);
        if self.style.is_mixed && !self.is_member() {
            cx.oracle.groups.forget_epoch(self.style.group, &self.member);
        }
        cx.oracle.groups.told_epoch(self.style.group, &self.member, response.member_epoch, now_ns, &is_live);
        self.epoch = response.member_epoch;
        self.alive_ns = request.sent_ns;
        let asked_ns = self.unanswered_ns.take().unwrap_or(request.sent_ns);
        (self.must_say, self.must_say_all) = (false, false);
        if self.revoking.is_none() {
            self.revoke_until_ns = u64::MAX;
        }
        if let Some(assignment) = &response.assignment {
            self.target = BTreeSet::new();
            for given in &assignment.topic_partitions {
                let Some(ix) = cx.topics.find("", given.topic_id).map(|topic| topic.ix) else {
                    cx.oracle.fail(format!("{what}: topic {} was assigned, nobody made it", given.topic_id));
                    continue;
                };
                self.target.extend(given.partitions.iter().map(|partition| Tp { topic: ix, partition: *partition }));
            }
            self.reconcile(cx, request.sent_ns, asked_ns);
        }
        self.note_holdings(cx);
        cx.oracle.judge_groups();
    }

    /// Takes what is new; begins to give up what it must, which the coordinator may have said first to what was asked at `asked_ns`.
    fn reconcile(&mut self, cx: &mut Cx<'_>, sent_ns: u64, asked_ns: u64) {
        let now_ns = cx.world.now_ns();
        let who = self.identity(cx.me);
        let gained: BTreeSet<Tp> = self.target.difference(&self.owned).copied().collect();
        let until_ns = sent_ns + self.style.session_ms * 1_000_000;
        cx.oracle.groups.given(self.style.group, &who, &gained, until_ns, now_ns);
        self.must_say = !gained.is_empty();
        self.owned.extend(gained);
        if self.owned.is_subset(&self.target) {
            self.revoking = None;
        } else if self.revoking.is_none() {
            let takes_ms = if cx.rng.percent(5) { self.style.rebalance_ms * 2 } else { self.style.rebalance_ms / 4 };
            self.revoking = Some(now_ns + cx.rng.below(takes_ms * 1_000_000 + 1));
            self.revoke_until_ns = self.revoke_until_ns.min(self.rebalance_end_ns(asked_ns));
        }
    }

    /// The process is gone, and perhaps another one comes.
    fn vanish(&mut self, cx: &mut Cx<'_>) {
        let requests = cx.hang_up();
        self.lost(cx, requests);
        self.reborn(cx);
        self.style.stay_away(cx, &mut self.footing);
    }

    fn step(&mut self, cx: &mut Cx<'_>) {
        self.footing.step(cx, self.style.pause_ns);
        let draw = if self.style.must_succeed { 60 + cx.rng.below(30) } else { cx.rng.below(100) };
        let some = draw_some(cx.rng, &self.owned);
        let (group, member, instance) = (self.style.group, self.member.clone(), self.style.instance.clone());
        let who =
            Who { group, member: &member, instance: instance.as_deref(), generation: self.epoch, has_epoch: true };
        if self.style.leaves(cx.rng) {
            return self.heartbeat(cx, LEAVE_EPOCH);
        }
        match draw {
            60..=77 if !some.is_empty() => self.open.commit(cx, &mut self.footing, &who, &some, false),
            78..=89 if !some.is_empty() => self.open.fetch(cx, &mut self.footing, &who, &some),
            90..=93 => self.heartbeat(cx, LEAVE_EPOCH),
            94 if self.style.instance.is_some() => self.heartbeat(cx, LEAVE_STATIC_EPOCH),
            95..=97 => self.vanish(cx),
            98 => {
                self.topics = draw_topics(cx, self.style.topics_max);
                self.must_say_all = true;
            }
            _ => self.heartbeat(cx, self.epoch),
        }
    }
}

/// As the protocol names partitions.
fn ids(cx: &Cx<'_>, some: &BTreeSet<Tp>) -> Vec<TopicPartitions> {
    let mut by_topic: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for tp in some {
        by_topic.entry(cx.topics.get(tp.topic).id).or_default().push(tp.partition);
    }
    by_topic.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}

impl Actor for Member {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let goes = match self.footing.begin(cx, self.style.must_succeed) {
            Ok(goes) => goes,
            Err(wait) => return wait,
        };
        if goes && self.footing.ends(cx, self.is_member()) {
            return None;
        }
        if cx.rng.percent(self.style.hang_up_percent) {
            let requests = cx.hang_up();
            self.lost(cx, requests);
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        if self.topics.is_empty() || self.topics.iter().any(|ix| !cx.topics.is_live(*ix)) {
            self.topics = draw_topics(cx, self.style.topics_max);
            self.must_say_all = true;
        }
        if self.topics.is_empty() {
            return Some(20_000_000);
        }
        if self.incarnation == 0 {
            self.reborn(cx);
        }
        let now_ns = cx.world.now_ns();
        if !self.footing.found {
            self.footing.find(cx, GROUP, &self.style.group.name());
        } else if !self.is_member() && self.style.deletes(cx.rng) {
            self.open.delete_group(cx, &mut self.footing, self.style.group);
        } else if !self.is_member() {
            self.heartbeat(cx, JOIN_EPOCH);
        } else if goes {
            self.heartbeat(cx, LEAVE_EPOCH);
        } else if self.must_say_all || now_ns >= self.next_heartbeat_ns {
            self.next_heartbeat_ns = now_ns + cx.rng.below(self.style.session_ms * 300_000);
            self.heartbeat(cx, self.epoch);
        } else {
            self.step(cx);
        }
        if self.footing.in_flight { None } else { Some(cx.rng.range(1_000_000, 10_000_000)) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.footing.in_flight = false;
        match request.api {
            ApiKey::FindCoordinator => self.footing.found(cx, request.version, body),
            ApiKey::ConsumerGroupHeartbeat => self.answered(cx, request, body),
            ApiKey::DeleteGroups => self.open.group_deleted(cx, &mut self.footing, request.version, body),
            ApiKey::OffsetCommit => match self.open.committed(cx, &mut self.footing, request.version, body) {
                Told::Fine | Told::Later => {}
                Told::Other(ErrorCode::STALE_MEMBER_EPOCH) => self.must_say_all = true,
                Told::Other(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND) => self.drop_all(cx),
                Told::Other(error) => cx.oracle.fail(format!("OffsetCommit: {}", error.name())),
            },
            _ => match self.open.fetched(cx, &mut self.footing, request, body) {
                Ok(found) => self.footing.succeeded |= found.values().any(Option::is_some),
                Err(Told::Other(ErrorCode::STALE_MEMBER_EPOCH)) => self.must_say_all = true,
                Err(Told::Other(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND)) => self.drop_all(cx),
                Err(Told::Other(error)) => cx.oracle.fail(format!("OffsetFetch: {}", error.name())),
                Err(_) => {}
            },
        }
    }

    fn lost(&mut self, cx: &mut Cx<'_>, requests: Vec<Request>) {
        self.footing.in_flight = false;
        self.open.lost(cx, Answered::Lost);
        if self.leaving {
            return self.reborn(cx);
        }
        self.must_say_all = true;
        if requests.iter().any(|request| request.api == ApiKey::FindCoordinator) {
            self.footing.found = false;
        }
    }

    fn is_done(&self) -> bool {
        self.footing.over
    }

    fn describe(&self) -> String {
        format!(
            "member {:?} of {} ({:?}, {:?}), epoch {}, {} of {} partitions, {} steps to go",
            self.member,
            self.style.group.name(),
            self.style.speech,
            self.style.instance,
            self.epoch,
            self.owned.len(),
            self.target.len(),
            self.footing.left
        )
    }
}
