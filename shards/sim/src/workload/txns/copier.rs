//! What makes a transactional producer a copier (consume-transform-produce): it is a member of a group of the classic protocol, reads committed records of its
//! partitions from the group's offsets on, writes a copy of each, and commits its offsets in the transaction with its generation.
//!
//! It says to the group that it lives only between transactions, so one that is silent in a transaction loses its partitions and goes on all the same: the group
//! must refuse its offsets. What it was given it believes until then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use floe_wire::errors::ErrorCode;
use floe_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use floe_wire::messages::fetch::FetchResponse;
use floe_wire::messages::find_coordinator::GROUP as OF_GROUP;
use floe_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use floe_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use floe_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse};
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use floe_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
};

use super::reader::committed_records;
use super::{Copying, Speech, Style};
use crate::oracle::txns::Part;
use crate::oracle::{TopicIx, Tp};
use crate::workload::api::ApiKey;
use crate::workload::fetch::{self, Limits, Taken, Want};
use crate::workload::footing::{Footing, Told, send};
use crate::workload::groups::assignment::{self, Subscription};
use crate::workload::{Cx, Request, decode};

/// The group of all copiers.
pub const GROUP: &str = "copiers";
/// The topic that is copied: the first of the run. Copies go to the others.
pub const SOURCE: TopicIx = TopicIx(0);
/// Polls of a partition that are refused, or bring nothing although there is something, before one that copies everything goes on without it.
const ATTEMPTS_MAX: u32 = 50;
/// How it reads.
const LIMITS: Limits =
    Limits { max_wait_ms: 5, min_bytes: 1, max_bytes: 1 << 20, partition_max_bytes: 1 << 20, read_committed: true };

/// Where it stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The group's coordinator was not asked for.
    Lost,
    /// It has to join, for the first time or again.
    Out,
    /// It has to ask for its partitions.
    Joined,
    /// It has them.
    Member,
}

/// What it has taken for the open transaction.
#[derive(Debug)]
struct Load {
    tp: Tp,
    /// Offsets of records that have no copy yet.
    left: VecDeque<i64>,
    /// The offset behind them all.
    next: i64,
    /// Of version 1: the coordinator knows of the group.
    added: bool,
    /// The group has taken the offset.
    committed: bool,
}

/// What became of an answer about the offsets of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Go on.
    Well,
    /// The transaction can only be aborted.
    Doomed,
    /// The producer is not what it believes to be.
    Fenced(ErrorCode),
}

/// The consuming half of a copier.
#[derive(Debug)]
pub struct Feed {
    how: Copying,
    phase: Phase,
    /// The group's coordinator is being asked for.
    finding: bool,
    member: String,
    generation: i32,
    protocol: String,
    /// As leader: who gets what.
    plan: Vec<(String, Vec<u8>)>,
    /// Its partitions, each with the next offset to read if it knows it.
    positions: BTreeMap<Tp, Option<i64>>,
    /// The least that the offset of a partition must be when it is asked for.
    least: BTreeMap<Tp, i64>,
    /// Partitions that it has read to their end, or cannot.
    ended: BTreeSet<Tp>,
    /// Partitions whose offset is in a transaction that nobody can end: its coordinator's partition is damaged.
    hopeless: BTreeSet<Tp>,
    attempts: BTreeMap<Tp, u32>,
    asked: Option<Want>,
    load: Option<Load>,
    /// It says next that it lives.
    beats: bool,
}

impl Feed {
    /// Of one that has to join.
    pub fn new(how: Copying) -> Feed {
        Feed {
            how,
            phase: Phase::Lost,
            finding: false,
            member: String::new(),
            generation: -1,
            protocol: String::new(),
            plan: Vec::new(),
            positions: BTreeMap::new(),
            least: BTreeMap::new(),
            ended: BTreeSet::new(),
            hopeless: BTreeSet::new(),
            attempts: BTreeMap::new(),
            asked: None,
            load: None,
            beats: false,
        }
    }

    /// Does the next thing on the way to a transaction. `true`: there is something to copy.
    pub fn prepare(&mut self, cx: &mut Cx<'_>, footing: &mut Footing) -> bool {
        if cx.topics.all().is_empty() || !cx.topics.is_live(SOURCE) || cx.topics.get(SOURCE).id.is_zero() {
            return false;
        }
        cx.oracle.txns.copies.source = Some(SOURCE);
        if self.load.is_some() {
            return true;
        }
        match self.phase {
            Phase::Lost => {
                (self.finding, footing.found) = (true, false);
                footing.find(cx, OF_GROUP, GROUP);
            }
            Phase::Out => self.join(cx, footing),
            Phase::Joined => self.sync(cx, footing),
            Phase::Member if self.beats => self.heartbeat(cx, footing),
            Phase::Member => {
                if self.positions.values().any(Option::is_none) {
                    self.ask_offsets(cx, footing);
                } else {
                    self.read(cx, footing);
                }
            }
        }
        false
    }

    /// The answer about the coordinator came.
    pub fn found(&mut self, found: bool) {
        if std::mem::take(&mut self.finding) && found {
            self.phase = Phase::Out;
        }
    }

    /// It is out: what it had may be somebody else's.
    fn out(&mut self, keeps_id: bool) {
        self.phase = Phase::Out;
        self.positions.clear();
        self.ended.clear();
        if !keeps_id {
            self.member.clear();
        }
    }

    /// The process is gone.
    pub fn vanish(&mut self) {
        self.load = None;
        self.out(false);
    }

    /// No request on the way will be answered.
    pub fn lost(&mut self) {
        self.finding = false;
        self.asked = None;
        if self.phase == Phase::Joined {
            self.out(true);
        }
    }

    fn join(&mut self, cx: &mut Cx<'_>, footing: &mut Footing) {
        let topics = assignment::names(cx.topics, &[SOURCE]);
        let metadata = Subscription { topics, owned: Vec::new() }.encode();
        let request = JoinGroupRequest {
            group_id: Cow::Borrowed(GROUP),
            session_timeout_ms: self.how.session_ms as i32,
            rebalance_timeout_ms: self.how.rebalance_ms as i32,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: None,
            protocol_type: Cow::Borrowed("consumer"),
            protocols: vec![JoinGroupRequestProtocol {
                name: Cow::Borrowed("range"),
                metadata: Cow::Borrowed(&metadata),
            }],
            reason: None,
        };
        let version = cx.rng.range(4, 9) as i16;
        send(cx, footing, ApiKey::JoinGroup, version, &request);
    }

    fn joined(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, request: &Request, body: &[u8]) {
        let decoded = decode::<JoinGroupResponse>(cx, "JoinGroup", body, request.version);
        let Some(response) = decoded else { return };
        match footing.told(cx, response.error_code, "JoinGroup") {
            Told::Fine => {}
            Told::Other(ErrorCode::MEMBER_ID_REQUIRED) => {
                self.member = response.member_id.into_owned();
                return;
            }
            Told::Other(error) => return self.member_error(cx, error, "JoinGroup"),
            Told::Later => return,
        }
        self.member = response.member_id.clone().into_owned();
        self.generation = response.generation_id;
        self.protocol = response.protocol_name.as_deref().unwrap_or("").to_owned();
        self.phase = Phase::Joined;
        self.plan.clear();
        if response.leader == response.member_id {
            let read = |metadata: &[u8]| {
                Subscription::decode(metadata).unwrap_or(Subscription { topics: Vec::new(), owned: Vec::new() })
            };
            let members =
                response.members.iter().map(|one| (one.member_id.clone().into_owned(), read(&one.metadata))).collect();
            let given = assignment::assign(cx.topics, &members, false);
            self.plan = given.into_iter().map(|(member, given)| (member, assignment::encode(&given))).collect();
        }
    }

    fn sync(&mut self, cx: &mut Cx<'_>, footing: &mut Footing) {
        let one = |(member, assignment): &(String, Vec<u8>)| SyncGroupRequestAssignment {
            member_id: Cow::Owned(member.clone()),
            assignment: Cow::Owned(assignment.clone()),
        };
        let request = SyncGroupRequest {
            group_id: Cow::Borrowed(GROUP),
            generation_id: self.generation,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: None,
            protocol_type: Some(Cow::Borrowed("consumer")),
            protocol_name: Some(Cow::Borrowed(&self.protocol)),
            assignments: self.plan.iter().map(one).collect(),
        };
        let version = cx.rng.range(0, 5) as i16;
        send(cx, footing, ApiKey::SyncGroup, version, &request);
    }

    fn synced(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, request: &Request, body: &[u8]) {
        let decoded = decode::<SyncGroupResponse>(cx, "SyncGroup", body, request.version);
        let Some(response) = decoded else { return };
        match footing.told(cx, response.error_code, "SyncGroup") {
            Told::Fine => {}
            Told::Later => return self.out(true),
            Told::Other(error) => return self.member_error(cx, error, "SyncGroup"),
        }
        let given = assignment::decode(&response.assignment).and_then(|given| assignment::of_names(cx.topics, &given));
        let Some(given) = given else {
            return cx.oracle.fail("SyncGroup: an assignment that nobody made".into());
        };
        self.phase = Phase::Member;
        self.positions = given.into_iter().map(|tp| (tp, None)).collect();
    }

    /// What a member does about an error.
    fn member_error(&mut self, cx: &mut Cx<'_>, error: ErrorCode, what: &str) {
        match error {
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => self.out(true),
            ErrorCode::UNKNOWN_MEMBER_ID => self.out(false),
            error => cx.oracle.fail(format!("{what} of {GROUP}: {}", error.name())),
        }
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>, footing: &mut Footing) {
        let request = HeartbeatRequest {
            group_id: Cow::Borrowed(GROUP),
            generation_id: self.generation,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: None,
        };
        self.beats = false;
        let version = cx.rng.range(0, 4) as i16;
        send(cx, footing, ApiKey::Heartbeat, version, &request);
    }

    /// Asks where the group stands. Offsets of open transactions have to be waited for: somebody else may still commit them.
    fn ask_offsets(&mut self, cx: &mut Cx<'_>, footing: &mut Footing) {
        let asked = self.positions.iter().filter(|(_, position)| position.is_none()).map(|(tp, _)| *tp);
        self.least = asked.map(|tp| (tp, cx.oracle.txns.copies.least(tp))).collect();
        let topic = OffsetFetchRequestTopic {
            name: Cow::Owned(cx.topics.get(SOURCE).name.clone()),
            partition_indexes: self.least.keys().map(|tp| tp.partition).collect(),
        };
        let request = OffsetFetchRequest {
            group_id: Cow::Borrowed(GROUP),
            topics: Some(vec![topic]),
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        send(cx, footing, ApiKey::OffsetFetch, 7, &request);
    }

    fn told_offsets(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, request: &Request, body: &[u8]) {
        let what = "OffsetFetch";
        let Some(response) = decode::<OffsetFetchResponse>(cx, what, body, request.version) else { return };
        match footing.told(cx, response.error_code, what) {
            Told::Fine => {}
            Told::Later => return,
            Told::Other(error) => return cx.oracle.fail(format!("{what}: {}", error.name())),
        }
        for part in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let tp = Tp { topic: SOURCE, partition: part.partition_index };
            match footing.told(cx, part.error_code, what) {
                Told::Fine => {}
                Told::Later => return,
                Told::Other(ErrorCode::UNSTABLE_OFFSET_COMMIT) => {
                    footing.later(cx);
                    if cx.refusals_excused && self.attempt(tp) {
                        self.positions.remove(&tp);
                        self.hopeless.insert(tp);
                    }
                    continue;
                }
                Told::Other(error) => return cx.oracle.fail(format!("{what} of {tp}: {}", error.name())),
            }
            let (least, found) = (self.least.get(&tp).copied().unwrap_or(0), part.committed_offset.max(0));
            if found < least && !cx.refusals_excused {
                cx.oracle.fail(format!("{tp}: the committed offset is {found}, {least} was committed with its copies"));
            }
            if let Some(position) = self.positions.get_mut(&tp) {
                *position = Some(found);
            }
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>, footing: &mut Footing) {
        let open: Vec<Tp> = self.positions.keys().copied().collect();
        let some: Vec<Tp> = open.iter().copied().filter(|tp| !self.ended.contains(tp)).collect();
        // Whoever has come to every end looks again now and then, and whether it is still a member.
        self.beats = some.is_empty() || cx.rng.percent(30);
        if some.is_empty() {
            self.ended.clear();
        }
        let from = if some.is_empty() { &open } else { &some };
        if from.is_empty() {
            return;
        }
        let tp = *cx.rng.pick(from);
        let offset = self.positions[&tp].unwrap_or(0);
        let want = Want { tp, offset, expected: cx.oracle.expect(tp) };
        let (api, version, body) = fetch::request(cx, 16, &[want], &LIMITS, (0, -1));
        self.asked = Some(want);
        footing.in_flight = cx.send(api, version, 0, body);
    }

    fn fetched(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, request: &Request, body: &[u8]) {
        let Some(response) = decode::<FetchResponse>(cx, "Fetch", body, request.version) else { return };
        let data = response.responses.iter().flat_map(|topic| &topic.partitions).next();
        let (Some(want), Some(data)) = (self.asked.take(), data) else { return };
        let tp = want.tp;
        let Taken::Next(next) = fetch::judge(cx, &want, data) else {
            footing.later(cx);
            if self.attempt(tp) {
                self.ended.insert(tp);
            }
            return;
        };
        let shown = match committed_records(tp, want.offset, data) {
            Ok(shown) => shown,
            Err(text) => return cx.oracle.fail(format!("{tp}: Fetch of committed records: {text}")),
        };
        if next > want.offset {
            self.attempts.remove(&tp);
        }
        if next >= data.high_watermark {
            self.ended.insert(tp);
        } else if next == want.offset {
            footing.not_before_ns = cx.world.now_ns() + 5_000_000;
            if self.attempt(tp) {
                self.ended.insert(tp);
            }
        }
        let taken = cx.rng.range(1, self.how.records_max) as usize;
        let left: VecDeque<i64> = shown.iter().map(|(_, offset, _)| *offset).take(taken).collect();
        let Some(position) = self.positions.get_mut(&tp) else { return };
        match left.back() {
            // What is no record for this reader is passed over; the next offset that is committed says so.
            None => *position = Some(next),
            Some(last) => {
                let next = if shown.len() > left.len() { *last + 1 } else { next };
                self.ended.remove(&tp);
                self.load = Some(Load { tp, left, next, added: false, committed: false });
            }
        }
    }

    /// Nothing came of a partition, once more: whether that was too often.
    fn attempt(&mut self, tp: Tp) -> bool {
        let attempts = self.attempts.entry(tp).or_default();
        *attempts += 1;
        *attempts > ATTEMPTS_MAX
    }

    /// Whether there is nothing left to copy for this one, who has every partition.
    pub fn has_copied_all(&self, cx: &Cx<'_>) -> bool {
        if self.phase != Phase::Member || self.load.is_some() {
            return false;
        }
        let mut all = (0..cx.topics.get(SOURCE).partitions).map(|partition| Tp { topic: SOURCE, partition });
        all.all(|tp| self.ended.contains(&tp) || self.hopeless.contains(&tp))
    }

    /// Records that have no copy yet.
    pub fn left(&self) -> u64 {
        self.load.as_ref().map_or(0, |load| load.left.len() as u64)
    }

    /// These are the copies of the next ones.
    pub fn copied(&mut self, cx: &mut Cx<'_>, copies: &[Part]) {
        let Some(load) = &mut self.load else { return };
        for (_, copy, _) in copies {
            let Some(offset) = load.left.pop_front() else { return };
            cx.oracle.txns.copies.making(*copy, (load.tp, offset));
        }
    }

    /// Whether the offset is in the transaction.
    pub fn is_committed(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.committed)
    }

    /// Puts the offset into the transaction.
    pub fn commit(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, style: &Style, identity: (i64, i16)) {
        let Some(load) = &self.load else { return };
        let (producer_id, producer_epoch) = identity;
        if style.speech == Speech::Named && !load.added {
            let request = AddOffsetsToTxnRequest {
                transactional_id: Cow::Borrowed(&style.id),
                producer_id,
                producer_epoch,
                group_id: Cow::Borrowed(GROUP),
            };
            let version = cx.rng.range(0, 3) as i16;
            return send(cx, footing, ApiKey::AddOffsetsToTxn, version, &request);
        }
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: load.tp.partition,
            committed_offset: load.next,
            ..TxnOffsetCommitRequestPartition::default()
        };
        let name = Cow::Owned(cx.topics.get(SOURCE).name.clone());
        let request = TxnOffsetCommitRequest {
            transactional_id: Cow::Borrowed(&style.id),
            group_id: Cow::Borrowed(GROUP),
            producer_id,
            producer_epoch,
            generation_id: self.generation,
            member_id: Cow::Borrowed(&self.member),
            group_instance_id: None,
            topics: vec![TxnOffsetCommitRequestTopic { name, partitions: vec![partition] }],
        };
        // The first with the generation is 3.
        let version = if style.speech == Speech::Implicit { 5 } else { cx.rng.range(3, 4) as i16 };
        send(cx, footing, ApiKey::TxnOffsetCommit, version, &request);
    }

    /// An answer about the offset of the transaction.
    pub fn said(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, code: i16, api: ApiKey) -> Said {
        let what = format!("{api:?} of {GROUP}");
        match footing.told(cx, code, &what) {
            Told::Fine => {
                if let Some(load) = &mut self.load {
                    load.added = true;
                    load.committed |= api == ApiKey::TxnOffsetCommit;
                }
            }
            Told::Later => {}
            Told::Other(ErrorCode::CONCURRENT_TRANSACTIONS) => footing.later(cx),
            Told::Other(error @ (ErrorCode::ILLEGAL_GENERATION | ErrorCode::UNKNOWN_MEMBER_ID)) => {
                cx.oracle.txns.copies.refused += 1;
                self.out(error == ErrorCode::ILLEGAL_GENERATION);
                return Said::Doomed;
            }
            // Its transaction took too long, or was taken from it.
            Told::Other(ErrorCode::INVALID_TXN_STATE | ErrorCode::TRANSACTION_ABORTABLE) => return Said::Doomed,
            Told::Other(
                error @ (ErrorCode::PRODUCER_FENCED
                | ErrorCode::INVALID_PRODUCER_EPOCH
                | ErrorCode::INVALID_PRODUCER_ID_MAPPING),
            ) => return Said::Fenced(error),
            Told::Other(error) => cx.oracle.fail(format!("{what}: {}", error.name())),
        }
        Said::Well
    }

    /// The transaction is over: whether it was committed for certain.
    pub fn over(&mut self, cx: &mut Cx<'_>, committed: bool) {
        let Some(load) = self.load.take() else { return };
        let position = self.positions.get_mut(&load.tp);
        if committed {
            cx.oracle.txns.copies.acknowledged(load.tp, load.next);
        }
        // What it does not know it asks for.
        if let Some(position) = position {
            *position = committed.then_some(load.next);
        }
        self.ended.remove(&load.tp);
    }

    /// Any other answer that is the feed's.
    pub fn reply(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, request: &Request, body: &[u8]) {
        match request.api {
            ApiKey::JoinGroup => self.joined(cx, footing, request, body),
            ApiKey::SyncGroup => self.synced(cx, footing, request, body),
            ApiKey::OffsetFetch => self.told_offsets(cx, footing, request, body),
            ApiKey::Fetch => self.fetched(cx, footing, request, body),
            _ => {
                let Some(response) = decode::<HeartbeatResponse>(cx, "Heartbeat", body, request.version) else {
                    return;
                };
                if let Told::Other(error) = footing.told(cx, response.error_code, "Heartbeat") {
                    self.member_error(cx, error, "Heartbeat");
                }
            }
        }
    }
}

/// The one error code of an answer to TxnOffsetCommit.
pub fn code_of(response: &TxnOffsetCommitResponse<'_>) -> i16 {
    let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code);
    codes.next().unwrap_or(0)
}
