//! A producer with a transactional id, in every state that a real one gets into: named, in a transaction, ending one, silent for too long, restarted, taken
//! over by another one of its id and going on all the same. It believes what it is told and tells the book what it may believe of each transaction.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::add_offsets_to_txn::AddOffsetsToTxnResponse;
use floe_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic,
};
use floe_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use floe_wire::messages::find_coordinator::TRANSACTION;
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::messages::produce::{PartitionProduceResponse, ProduceResponse};
use floe_wire::messages::txn_offset_commit::TxnOffsetCommitResponse;

use super::batches::{Batches, Place};
use super::copier::{self, Feed, Said};
use super::ghost::Late;
use super::{Speech, Style};
use crate::oracle::Tp;
use crate::oracle::history::Outcome;
use crate::workload::api::ApiKey;
use crate::workload::footing::{Footing, Told};
use crate::workload::{Actor, Cx, Request, Verdict, decode, encode};

/// Produce requests on the way at once.
const IN_FLIGHT_MAX: usize = 5;
/// Transactions that one which must succeed commits.
const MUST_COMMIT: u32 = 3;
/// So long a transaction of a producer whose timeout "never comes" does not time out, even if the wall clock was wrong in a life between.
const SAFE_NS: u64 = 8_000_000_000;
/// First version of InitProducerId that names who the caller is already (KIP-360).
const KNOWN_SINCE: u64 = 3;

/// Where a producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has to ask for its identity.
    Nameless,
    /// It is in no transaction.
    Idle,
    /// It writes.
    Open {
        /// Batches to make.
        left: u64,
        /// It can only be aborted.
        doomed: bool,
    },
    /// It ends.
    Ending {
        /// Whether what was written is to count.
        commit: bool,
        /// A commit was asked for, and nobody knows whether it was heard.
        doubt: bool,
    },
}

/// A transactional producer.
pub struct Producer {
    style: Style,
    footing: Footing,
    phase: Phase,
    identity: Option<(i64, i16)>,
    /// What it tells of itself when it asks for its identity.
    known: Option<(i64, i16)>,
    /// When its transaction began, and how wrong the wall clock was.
    began: (u64, i64),
    /// A request of its own may still come and fence it.
    haunted: bool,
    /// It was told that it is fenced, and goes on.
    zombie: bool,
    partitions: BTreeSet<Tp>,
    /// Of version 1: partitions that the coordinator knows of, and those it is being told.
    added: BTreeSet<Tp>,
    adding: BTreeSet<Tp>,
    batches: Batches,
    produces: usize,
    next_tag: u64,
    /// Of version 1: ends to come again when the epoch is another one.
    kept: Vec<(ApiKey, i16, Bytes)>,
    committed: u32,
    /// Of a copier: where its records come from.
    feed: Option<Feed>,
}

impl Producer {
    /// One that begins when there is a topic.
    pub fn new(style: Style) -> Producer {
        Producer {
            footing: Footing::new(style.steps),
            feed: style.copies.clone().map(Feed::new),
            style,
            phase: Phase::Nameless,
            identity: None,
            known: None,
            began: (0, 0),
            haunted: false,
            zombie: false,
            partitions: BTreeSet::new(),
            added: BTreeSet::new(),
            adding: BTreeSet::new(),
            batches: Batches::default(),
            produces: 0,
            next_tag: 1,
            kept: Vec::new(),
            committed: 0,
        }
    }

    fn in_transaction(&self) -> bool {
        matches!(self.phase, Phase::Open { .. } | Phase::Ending { .. })
    }

    /// Whether nothing explains that it is fenced or its transaction over.
    fn is_safe(&self, cx: &Cx<'_>) -> bool {
        let (began_ns, skew_ms) = self.began;
        let in_time = cx.world.now_ns() - began_ns < SAFE_NS && cx.world.wall_skew_ms == skew_ms;
        self.style.alone && !self.haunted && in_time && !cx.refusals_excused
    }

    /// The transaction is over, as far as this producer will ever know.
    fn over(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        self.batches.give_up();
        let parts = self.batches.take_parts();
        self.partitions.clear();
        self.added.clear();
        self.phase = Phase::Idle;
        if let Some(feed) = &mut self.feed {
            feed.over(cx, outcome == Outcome::Ok);
        }
        if parts.is_empty() {
            return;
        }
        let (now_ns, me, n) = (cx.world.now_ns(), cx.me, parts.len());
        cx.world.trace.event(now_ns, 24, &[u64::from(me), outcome as u64], || {
            format!("client {me}: a transaction of {n} records is over: {outcome:?}")
        });
        cx.oracle.txns.ended(cx.me, outcome, &parts);
    }

    /// What it knows of its transaction when it will hear no more.
    fn outcome_unheard(&self) -> Outcome {
        if let Phase::Ending { doubt: true, .. } = self.phase { Outcome::Info } else { Outcome::Fail }
    }

    /// The process is gone, and another one comes.
    fn restart(&mut self, cx: &mut Cx<'_>) {
        let requests = cx.hang_up();
        self.lost(cx, requests);
        self.over(cx, self.outcome_unheard());
        (self.phase, self.identity, self.known, self.zombie) = (Phase::Nameless, None, None, false);
        self.feed.iter_mut().for_each(Feed::vanish);
        self.batches.renew();
    }

    /// It was told that another one has taken its place, or that its transaction took too long: by a partition, or by the coordinator.
    fn fenced(&mut self, cx: &mut Cx<'_>, by: Option<Tp>, what: &str, error: ErrorCode) {
        if self.is_safe(cx) {
            let text = format!("{what} of {}, which nobody fenced: {}", self.describe(), error.name());
            cx.oracle.fail(text);
        }
        if let Some(identity) = self.identity {
            cx.oracle.txns.fenced(identity, by);
        }
        self.over(cx, self.outcome_unheard());
        if cx.rng.percent(30) && !self.zombie {
            // It does not believe it.
            self.zombie = true;
            self.footing.not_before_ns = cx.world.now_ns() + cx.rng.below(self.style.pause_ns * 4 + 1);
            return;
        }
        self.restart(cx);
        self.footing.not_before_ns = cx.world.now_ns() + cx.rng.below(self.style.pause_ns * 4 + 1);
    }

    /// Sends a request, and perhaps lets it come a second time.
    fn ask(&mut self, cx: &mut Cx<'_>, api: ApiKey, version: i16, tag: u64, body: Bytes, may_return: bool) -> bool {
        if may_return && cx.rng.percent(self.style.ghost_percent) {
            if api == ApiKey::EndTxn && self.style.speech == Speech::Named {
                self.kept.push((api, version, body.clone()));
            } else {
                let late = Late::draw(cx, api, version, body.clone());
                cx.topics.late.push(late);
                // The copy may come first and do it: whoever is refused then does not know.
                if let (ApiKey::EndTxn, Phase::Ending { commit, .. }) = (api, &self.phase) {
                    self.phase = Phase::Ending { commit: *commit, doubt: *commit };
                }
            }
        }
        cx.send(api, version, tag, body)
    }

    fn init(&mut self, cx: &mut Cx<'_>) {
        let version = cx.rng.range(if self.known.is_some() { KNOWN_SINCE } else { 0 }, 5) as i16;
        let (producer_id, producer_epoch) = self.known.unwrap_or((-1, -1));
        let request = InitProducerIdRequest {
            transactional_id: Some(Cow::Borrowed(&self.style.id)),
            transaction_timeout_ms: self.style.timeout_ms as i32,
            producer_id,
            producer_epoch,
        };
        let body = encode(&request, version);
        self.footing.in_flight = cx.send(ApiKey::InitProducerId, version, 0, body);
    }

    fn named(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let what = "InitProducerId";
        let Some(response) = decode::<InitProducerIdResponse>(cx, what, body, request.version) else { return };
        match self.footing.told(cx, response.error_code, what) {
            Told::Fine => {}
            Told::Later => return,
            Told::Other(ErrorCode::CONCURRENT_TRANSACTIONS) => return self.footing.later(cx),
            Told::Other(error @ (ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH))
                if self.known.is_some() =>
            {
                return self.fenced(cx, None, what, error);
            }
            Told::Other(error) => return cx.oracle.fail(format!("{what} of {}: {}", self.describe(), error.name())),
        }
        let identity = (response.producer_id, response.producer_epoch);
        cx.oracle.txns.given(cx.me, identity);
        cx.oracle.judge_txns();
        (self.identity, self.known, self.zombie, self.phase) = (Some(identity), None, false, Phase::Idle);
        self.batches.renew();
        for (api, version, body) in std::mem::take(&mut self.kept) {
            let late = Late::draw(cx, api, version, body);
            cx.topics.late.push(late);
        }
    }

    /// Begins a transaction. `false`: there is nothing to write to.
    fn start(&mut self, cx: &mut Cx<'_>) -> bool {
        let live = cx.topics.live_partitions();
        let copies = self.feed.is_some();
        let may = |tp: &Tp| !cx.topics.get(tp.topic).id.is_zero() && (!copies || tp.topic != copier::SOURCE);
        let usable: Vec<Tp> = live.into_iter().filter(may).collect();
        if usable.is_empty() {
            return false;
        }
        for _ in 0..cx.rng.log_range(1, self.style.partitions_max) {
            self.partitions.insert(*cx.rng.pick(&usable));
        }
        let least = self.partitions.len() as u64;
        let left = cx.rng.range(least.min(self.style.batches_max), self.style.batches_max);
        let left = self.feed.as_ref().map_or(left, Feed::left);
        self.phase = Phase::Open { left, doomed: false };
        self.began = (cx.world.now_ns(), cx.world.wall_skew_ms);
        self.footing.step(cx, self.style.pause_ns);
        true
    }

    fn add_partitions(&mut self, cx: &mut Cx<'_>, identity: (i64, i16)) {
        let version = cx.rng.range(0, 3) as i16;
        self.adding = self.partitions.difference(&self.added).copied().collect();
        let mut topics: Vec<AddPartitionsToTxnTopic<'_>> = Vec::new();
        for tp in &self.adding {
            let name = cx.topics.get(tp.topic).name.clone();
            match topics.last_mut() {
                Some(last) if last.name == name => last.partitions.push(tp.partition),
                _ => {
                    topics.push(AddPartitionsToTxnTopic { name: Cow::Owned(name), partitions: vec![tp.partition] });
                }
            }
        }
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: Cow::Borrowed(&self.style.id),
            v3_and_below_producer_id: identity.0,
            v3_and_below_producer_epoch: identity.1,
            v3_and_below_topics: topics,
            ..Default::default()
        };
        let body = encode(&request, version);
        // A late one begins another transaction of the same epoch, which nobody ends.
        self.footing.in_flight = self.ask(cx, ApiKey::AddPartitionsToTxn, version, 0, body, !self.style.alone);
    }

    fn partitions_added(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let what = "AddPartitionsToTxn";
        let decoded = decode::<AddPartitionsToTxnResponse>(cx, what, body, request.version);
        let Some(response) = decoded else { return };
        let adding = std::mem::take(&mut self.adding);
        let results = response.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
        let codes: Vec<i16> = results.map(|result| result.partition_error_code).collect();
        if codes.len() != adding.len() {
            return cx.oracle.fail(format!("{what}: {} partitions asked, {} answered", adding.len(), codes.len()));
        }
        if self.identity.is_none() || !self.in_transaction() {
            return;
        }
        let code = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
        match self.footing.told(cx, code, what) {
            Told::Fine => self.added.extend(adding),
            Told::Later => {}
            Told::Other(ErrorCode::CONCURRENT_TRANSACTIONS) => self.footing.later(cx),
            Told::Other(error) if is_fenced(error) => self.fenced(cx, None, what, error),
            Told::Other(error) => cx.oracle.fail(format!("{what} of {}: {}", self.describe(), error.name())),
        }
    }

    /// Makes batches and sends what may go out.
    fn write(&mut self, cx: &mut Cx<'_>, identity: (i64, i16), left: u64, goes: bool) {
        let now_ns = cx.world.now_ns();
        let named = self.style.speech == Speech::Implicit || self.partitions.is_subset(&self.added);
        let mut left = if goes && self.batches.acked > 0 { 0 } else { left };
        if named && left > 0 && cx.rng.percent(70) {
            let all: Vec<Tp> = self.partitions.iter().copied().collect();
            let tp = all[left as usize % all.len()];
            let most = if self.feed.is_some() { left } else { u64::MAX };
            let made = self.batches.make(cx, &self.style, identity, tp, most);
            match &mut self.feed {
                None => left -= u64::from(made > 0),
                Some(feed) => {
                    let parts = self.batches.parts();
                    feed.copied(cx, &parts[parts.len() - made..]);
                    left = feed.left();
                }
            }
        }
        self.phase = Phase::Open { left, doomed: false };
        if !named {
            return self.add_partitions(cx, identity);
        }
        while self.produces < IN_FLIGHT_MAX {
            let mut ready = self.batches.ready(now_ns);
            if cx.rng.percent(50) {
                ready.truncate(1);
            }
            if ready.is_empty() || cx.connection().is_none() {
                break;
            }
            let (tag, version) = (self.next_tag, self.style.produce_version);
            self.next_tag += 1;
            let (body, may_return) = self.batches.request(cx, &self.style, &ready, tag);
            if !self.ask(cx, ApiKey::Produce, version, tag, body, may_return) {
                break;
            }
            self.produces += 1;
        }
        if left == 0 && self.batches.all_answered() {
            let commit = self.batches.acked > 0 && !cx.rng.percent(self.style.abort_percent);
            // What was not copied to its end is not committed; what was, with its offset.
            let whole = self.feed.as_ref().is_none_or(|feed| feed.left() == 0);
            if let Some(feed) = self.feed.as_mut().filter(|feed| commit && whole && !feed.is_committed()) {
                return feed.commit(cx, &mut self.footing, &self.style, identity);
            }
            let commit = commit && whole;
            self.phase = Phase::Ending { commit, doubt: false };
        }
    }

    fn produced(&mut self, cx: &mut Cx<'_>, tag: u64, tp: Tp, answer: &PartitionProduceResponse<'_>) {
        let (code, offset) = (answer.error_code, answer.base_offset);
        let now_ns = cx.world.now_ns();
        let Some(place) = self.batches.place(tp, tag) else { return };
        let what = format!("{tp}: Produce of client {}", cx.me);
        if code == ErrorCode::CONCURRENT_TRANSACTIONS.code() {
            // For good, if a partition of the transaction before is damaged and takes no marker.
            self.footing.later(cx);
            return self.batches.again(tp, tag, now_ns + 5_000_000);
        }
        match cx.judge(code, &what, true) {
            Verdict::Done => {
                if let Some(identity) = self.identity.filter(|_| !cx.refusals_excused) {
                    cx.oracle.txns.served(identity, Some(tp), &what);
                }
                let records = self.batches.acknowledge(tp, tag, offset);
                cx.oracle.acked(tp, offset, &records, None);
            }
            verdict @ (Verdict::Retry | Verdict::Refused) => {
                if verdict == Verdict::Refused || coordinator_refuses(answer) {
                    self.footing.later(cx);
                }
                self.batches.again(tp, tag, now_ns + cx.rng.range(1_000_000, 50_000_000));
            }
            Verdict::Gone => self.batches.again(tp, tag, now_ns + 5_000_000),
            Verdict::Other(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) if place == Place::Behind => {
                self.batches.again(tp, tag, now_ns);
            }
            Verdict::Other(error) if is_fenced(error) => self.fenced(cx, Some(tp), &what, error),
            Verdict::Other(error) => {
                let explained = matches!(
                    error,
                    ErrorCode::INVALID_TXN_STATE
                        | ErrorCode::TRANSACTION_ABORTABLE
                        | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                );
                if self.is_safe(cx) || !explained {
                    let (describe, words) = (self.describe(), answer.error_message.as_deref().unwrap_or(""));
                    cx.oracle.fail(format!("{what} ({describe}): {} {words}", error.name()));
                }
                self.batches.give_up();
                if let Phase::Open { left, .. } = self.phase {
                    self.phase = Phase::Open { left, doomed: true };
                }
            }
        }
        cx.oracle.judge_txns();
    }

    /// An answer about the offsets of a copier's transaction.
    fn offsets_said(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let code = if request.api == ApiKey::AddOffsetsToTxn {
            let decoded = decode::<AddOffsetsToTxnResponse>(cx, "AddOffsetsToTxn", body, request.version);
            decoded.map(|response| response.error_code)
        } else {
            let decoded = decode::<TxnOffsetCommitResponse>(cx, "TxnOffsetCommit", body, request.version);
            decoded.map(|response| copier::code_of(&response))
        };
        let (Some(code), Some(feed), Phase::Open { left, .. }) = (code, &mut self.feed, self.phase) else { return };
        match feed.said(cx, &mut self.footing, code, request.api) {
            Said::Well => {}
            Said::Doomed => self.phase = Phase::Open { left, doomed: true },
            Said::Fenced(error) => self.fenced(cx, None, "TxnOffsetCommit", error),
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, identity: (i64, i16), commit: bool) {
        let version = if self.style.speech == Speech::Implicit { 5 } else { cx.rng.range(0, 4) as i16 };
        if commit {
            cx.oracle.txns.committing(self.batches.parts());
        }
        let request = EndTxnRequest {
            transactional_id: Cow::Borrowed(&self.style.id),
            producer_id: identity.0,
            producer_epoch: identity.1,
            committed: commit,
        };
        let body = encode(&request, version);
        self.footing.in_flight = self.ask(cx, ApiKey::EndTxn, version, 0, body, true);
    }

    fn ended(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let what = "EndTxn";
        let Some(response) = decode::<EndTxnResponse>(cx, what, body, request.version) else { return };
        let Phase::Ending { commit, .. } = self.phase else { return };
        match self.footing.told(cx, response.error_code, what) {
            Told::Fine => {}
            // A failed journal takes the answer back, not the record.
            Told::Later => return self.phase = Phase::Ending { commit, doubt: commit },
            Told::Other(ErrorCode::CONCURRENT_TRANSACTIONS) => {
                self.footing.later(cx);
                return self.phase = Phase::Ending { commit, doubt: commit };
            }
            Told::Other(error) if is_fenced(error) => return self.fenced(cx, None, what, error),
            Told::Other(ErrorCode::INVALID_TXN_STATE) if !self.is_safe(cx) => return self.restart(cx),
            Told::Other(error) => {
                return cx.oracle.fail(format!("{what} of {}: {}", self.describe(), error.name()));
            }
        }
        // An abort of what has timed out tells the next epoch to whoever asks for it.
        if let Some(identity) = self.identity.filter(|_| commit && !cx.refusals_excused) {
            cx.oracle.txns.served(identity, None, what);
        }
        self.committed += u32::from(commit);
        self.footing.succeeded |= self.committed >= MUST_COMMIT && self.feed.is_none();
        self.over(cx, if commit { Outcome::Ok } else { Outcome::Fail });
        if self.style.speech == Speech::Implicit {
            let identity = (response.producer_id, response.producer_epoch);
            if Some(identity) == self.identity {
                cx.oracle.fail(format!("{what} of {}: no other epoch was given", self.describe()));
            }
            cx.oracle.txns.given(cx.me, identity);
            self.identity = Some(identity);
            self.batches.renew();
        } else if self.batches.unresolved {
            // What is still on its way must find another epoch.
            self.known = self.identity.filter(|_| cx.rng.percent(70));
            (self.identity, self.phase) = (None, Phase::Nameless);
        }
        cx.oracle.judge_txns();
    }
}

/// Whether a partition says that the coordinator of the transaction does not serve it: its own partition is damaged, if that lasts. Not every version has the
/// words.
fn coordinator_refuses(answer: &PartitionProduceResponse<'_>) -> bool {
    let words = answer.error_message.as_deref();
    answer.error_code == ErrorCode::NOT_ENOUGH_REPLICAS.code()
        && words.is_none_or(|words| words.ends_with(ErrorCode::NOT_COORDINATOR.name()))
}

/// Whether an error says that another one has taken the producer's place.
fn is_fenced(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING
    )
}

impl Actor for Producer {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let begun = self.footing.begin(cx, self.style.must_succeed);
        if self.footing.over {
            // Refused too often, with an excuse.
            cx.oracle.txns.abandoned += u64::from(self.in_transaction());
            self.over(cx, self.outcome_unheard());
            return None;
        }
        let goes = match begun {
            Ok(goes) => goes,
            Err(wait) => return wait,
        };
        let in_transaction = self.in_transaction();
        let stays = in_transaction && self.style.alone;
        if goes && !stays && self.footing.ends(cx, in_transaction) {
            self.over(cx, self.outcome_unheard());
            return None;
        }
        if cx.rng.percent(self.style.hang_up_percent) {
            let requests = cx.hang_up();
            self.lost(cx, requests);
        }
        if cx.rng.percent(self.style.restart_percent) {
            self.restart(cx);
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        if in_transaction && !goes && cx.rng.percent(self.style.silent_percent) {
            // A copier's is long enough that its group gives its partitions to another one.
            let timeout_ms = self.style.copies.as_ref().map_or(self.style.timeout_ms, |copies| copies.session_ms);
            self.footing.not_before_ns = cx.world.now_ns() + timeout_ms * 2_000_000;
            return Some(timeout_ms * 2_000_000);
        }
        if !self.footing.found {
            self.footing.find(cx, TRANSACTION, &self.style.id);
        } else {
            match (self.phase, self.identity) {
                (Phase::Nameless, _) | (_, None) => self.init(cx),
                (Phase::Idle, _) => {
                    let ready = self.feed.as_mut().is_none_or(|feed| feed.prepare(cx, &mut self.footing));
                    if let Some(feed) = &self.feed
                        && !ready
                    {
                        self.footing.succeeded |= feed.has_copied_all(cx);
                        return if self.footing.in_flight { None } else { Some(cx.rng.range(1_000_000, 20_000_000)) };
                    }
                    if !self.start(cx) {
                        return Some(20_000_000);
                    }
                }
                (Phase::Open { doomed: true, .. }, _) => {
                    self.batches.give_up();
                    self.phase = Phase::Ending { commit: false, doubt: false };
                }
                (Phase::Open { left, doomed: false }, Some(identity)) => self.write(cx, identity, left, goes),
                (Phase::Ending { commit, .. }, Some(identity)) => self.end(cx, identity, commit),
            }
        }
        if self.footing.in_flight { None } else { Some(cx.rng.range(200_000, self.style.pause_ns.max(1_000_000))) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        if request.api != ApiKey::Produce {
            self.footing.in_flight = false;
        }
        match request.api {
            ApiKey::FindCoordinator => {
                self.footing.found(cx, request.version, body);
                self.feed.iter_mut().for_each(|feed| feed.found(self.footing.found));
            }
            ApiKey::InitProducerId => self.named(cx, request, body),
            ApiKey::AddPartitionsToTxn => self.partitions_added(cx, request, body),
            ApiKey::EndTxn => self.ended(cx, request, body),
            ApiKey::AddOffsetsToTxn | ApiKey::TxnOffsetCommit => self.offsets_said(cx, request, body),
            ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::OffsetFetch | ApiKey::Fetch => {
                let Some(feed) = &mut self.feed else { return };
                feed.reply(cx, &mut self.footing, request, body);
            }
            _ => {
                self.produces -= 1;
                let Some(response) = decode::<ProduceResponse>(cx, "Produce", body, request.version) else { return };
                for topic in &response.responses {
                    let Some(ix) = cx.topics.find(&topic.name, topic.topic_id).map(|topic| topic.ix) else {
                        cx.oracle.fail(format!("Produce: answered with topic {}, not asked", topic.name));
                        continue;
                    };
                    for part in &topic.partition_responses {
                        self.produced(cx, request.tag, Tp { topic: ix, partition: part.index }, part);
                    }
                }
                if let Some(tp) = self.batches.unanswered(request.tag) {
                    cx.oracle.fail(format!("{tp}: Produce was answered without this partition"));
                }
            }
        }
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, requests: Vec<Request>) {
        self.footing.in_flight = false;
        self.feed.iter_mut().for_each(Feed::lost);
        self.produces = 0;
        self.batches.lost();
        for request in requests {
            match request.api {
                ApiKey::FindCoordinator => self.footing.found = false,
                // It may be heard later than the one that is sent in its place.
                ApiKey::InitProducerId | ApiKey::AddPartitionsToTxn => self.haunted = true,
                ApiKey::EndTxn => {
                    self.batches.unresolved = true;
                    if let Phase::Ending { commit, .. } = self.phase {
                        self.phase = Phase::Ending { commit, doubt: commit };
                    }
                }
                _ => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        self.footing.over
    }

    fn describe(&self) -> String {
        format!(
            "producer {} ({:?}, {} ms) as {:?} in {:?}, {} transactions committed, {} to go",
            self.style.id,
            self.style.speech,
            self.style.timeout_ms,
            self.identity,
            self.phase,
            self.committed,
            self.footing.left
        )
    }
}
