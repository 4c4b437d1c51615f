//! All transactional ids of one shard: which partitions of `__transaction_state` are here, their ids, whose markers are on their way, and when each is to be
//! looked at again.
//!
//! The way of an end: `Prepare*` is appended. Partitions of the same shard get their markers at once ([`Coordinator::next_decided`]): these stand behind the
//! end in one journal, so no crash leaves a marker without its end, and end, markers and completion are one write to the device. When the end is durable the
//! client is answered and the other markers go out ([`Coordinator::next_ending`]), again and again until each partition has one or is gone; then `Complete*`
//! is appended. After a crash the log says `Prepare*`, and the way goes on from there.
//!
//! Invariants: to other shards markers go out only for an end that is durable; an id has at most one end under way; what waits for its completion
//! (bounded, and not longer than [`TXN_WAIT_MS`]) is decided again then. Deadlines are soft state, made anew when a partition has loaded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use super::api::{Adding, DescribedTxn, ListedTxn, Producer, TxnAnswer, TxnCall, TxnFilter, TxnRequest};
use super::records::{State, Txn, TxnRecord};
use super::rules::{Outcome, unborn};
use super::{Decision, TxnMetrics, TxnSettings};
use crate::event::LogLevel;
use crate::group::Name;
use crate::hosted::Asker;
use crate::limits::{
    MARKER_RETRY_DOUBLINGS, MARKER_RETRY_MS, TXN_PARTITIONS_MAX, TXN_WAIT_MS, TXN_WAITING_MAX, TXNS_MAX,
};
use crate::requests::codes;
use crate::time::{Deadline, Time};

/// A transactional id: its partition of `__transaction_state`, and its name.
pub type Key = (i32, Name);

/// The coordinator of all transactional ids of one shard.
#[derive(Debug, Default)]
pub struct Coordinator {
    settings: TxnSettings,
    partitions: BTreeMap<i32, Partition>,
    /// Ids in `partitions`.
    ids: usize,
    /// Open transactions by when they are aborted, looked at every so often.
    timeouts: Watch,
    /// Ids without a transaction by when they are forgotten.
    expiries: Watch,
    /// Ends whose markers are everywhere.
    complete: VecDeque<Key>,
    /// Requests whose id has completed.
    awake: VecDeque<(Key, Asker, TxnRequest)>,
    /// Ids that requests wait for, by when the first of these gives up.
    waits: BTreeSet<(Deadline, Key)>,
    /// Ends with partitions that did not take their marker, by when that is tried again.
    retries: BTreeSet<(Deadline, Key)>,
    /// Ends that were decided and are not durable.
    decided: VecDeque<Key>,
    /// Ends whose markers are to go out.
    endings: VecDeque<Ending>,
    lines: Vec<(LogLevel, String)>,
    metrics: TxnMetrics,
}

#[derive(Debug, Default)]
struct Partition {
    loading: bool,
    ids: BTreeMap<Name, Entry>,
}

/// Ids by deadlines that are looked at together, every so often.
#[derive(Debug, Default)]
struct Watch {
    deadlines: BTreeSet<(Deadline, Key)>,
    not_before: Option<Deadline>,
}

/// A transactional id.
#[derive(Debug)]
struct Entry {
    txn: Txn,
    /// Its place in `timeouts` or `expiries`.
    watched: Option<Deadline>,
    /// While its markers are on their way: partitions that have none yet.
    unmarked: BTreeSet<(Name, i32)>,
    /// Markers that were sent and not answered.
    in_flight: usize,
    /// How often all that were missing have been sent again.
    retries: u32,
    /// Ends that were appended and are not durable: several, when one was completed before.
    undurable: u32,
    /// When the end was decided, on the monotonic clock.
    ending_since_ns: u64,
    /// Who waits for the end.
    waiting: Vec<(Deadline, Asker, TxnRequest)>,
}

/// Markers to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whose.
    pub key: Key,
    /// What they carry.
    pub producer: Producer,
    /// How it ends.
    pub committed: bool,
    /// The level of `transaction.version`: 2, or 0.
    pub version: i16,
    /// Where.
    pub partitions: Vec<(Name, i32)>,
}

impl Coordinator {
    /// None yet.
    pub fn new(settings: TxnSettings) -> Coordinator {
        Coordinator { settings, ..Coordinator::default() }
    }

    /// A partition has come to this shard: its ids answer COORDINATOR_LOAD_IN_PROGRESS until [`Coordinator::loaded`].
    pub fn load(&mut self, partition: i32) {
        self.forget(partition);
        self.partitions.insert(partition, Partition { loading: true, ..Partition::default() });
    }

    /// A record of the partition, while it loads, in the order of the log.
    pub fn replay(&mut self, partition: i32, record: TxnRecord) {
        self.put(Time::default(), partition, &record, true);
    }

    /// The partition has been read to its end. Ends that were decided go on.
    pub fn loaded(&mut self, now: Time, partition: i32) {
        let Some(home) = self.partitions.get_mut(&partition) else { return };
        home.loading = false;
        let names: Vec<Name> = home.ids.keys().cloned().collect();
        for name in names {
            let key = (partition, name);
            self.watch(now, &key);
            if let Some(entry) = self.entry(&key).filter(|entry| entry.txn.state.is_ending()) {
                entry.begin_end();
                self.send_markers(now, key);
            }
        }
    }

    /// The partition is gone or failed: its ids are forgotten. What waits is answered with `error_code`.
    pub fn unload(&mut self, partition: i32, error_code: i16) -> Vec<Decision> {
        let home = self.forget(partition);
        let waiting = home.ids.into_values().flat_map(|entry| entry.waiting);
        let answers: Vec<_> = waiting.map(|(_, asker, request)| (asker, request.refuse(error_code))).collect();
        let decision = Decision { partition, answers, ..Decision::default() };
        if decision.is_empty() { Vec::new() } else { vec![decision] }
    }

    /// Somebody asks. Ids of partitions that were never given to [`Coordinator::load`] answer NOT_COORDINATOR.
    pub fn request(&mut self, now: Time, asker: Asker, call: TxnCall) -> Decision {
        let TxnCall { partition, id, request } = call;
        let refused = match self.partitions.get(&partition) {
            _ if id.is_empty() && !matches!(request, TxnRequest::List(_)) => codes::INVALID_REQUEST,
            None => codes::NOT_COORDINATOR,
            Some(home) if home.loading => codes::COORDINATOR_LOAD_IN_PROGRESS,
            Some(_) => return self.decide(now, asker, (partition, id), request),
        };
        Decision { partition, ..Decision::answer(asker, request.refuse(refused)) }
    }

    /// Something that is due by now: ends to complete, requests that waited, transactions that took too long, ids that expired. To be called until
    /// `None`, each decision taken to its end before the next call.
    pub fn due(&mut self, now: Time) -> Option<Decision> {
        while let Some(key) = pop_due(&mut self.retries, now) {
            self.send_markers(now, key);
        }
        if let Some(decision) = self.due_complete(now) {
            return Some(decision);
        }
        if let Some((key, asker, request)) = self.awake.pop_front() {
            return Some(match self.partitions.get(&key.0) {
                Some(home) if !home.loading => self.decide(now, asker, key, request),
                _ => Decision::answer(asker, request.refuse(codes::NOT_COORDINATOR)),
            });
        }
        if let Some(decision) = self.due_wait(now) {
            return Some(decision);
        }
        self.due_timeout(now).or_else(|| self.due_expiry(now))
    }

    /// The records of a decision were appended: they hold.
    pub fn apply(&mut self, now: Time, decision: &Decision) {
        for record in &decision.records {
            self.put(now, decision.partition, record, false);
            self.watch(now, &(decision.partition, record.id.clone()));
        }
    }

    /// They were not, for `error_code`: what was due stays due. The answers, as errors.
    pub fn refused(&mut self, decision: Decision, error_code: i16) -> Decision {
        let Decision { partition, answers, .. } = decision;
        let answers = answers.into_iter().map(|(asker, answer)| (asker, answer.failed(error_code))).collect();
        Decision { partition, answers, ..Decision::default() }
    }

    /// An end of the id is durable: if it is the one under way, the markers that are not written yet go out.
    pub fn durable(&mut self, now: Time, key: Key) {
        let Some(entry) = self.entry(&key) else { return };
        entry.undurable = entry.undurable.saturating_sub(1);
        if entry.undurable == 0 && entry.txn.state.is_ending() {
            self.send_markers(now, key);
        }
    }

    /// The next end that was appended just now. Whoever takes it may write markers into the journal that it stands in, and tells of each by
    /// [`Coordinator::marked_beside`]; the others are for [`Coordinator::next_ending`].
    pub fn next_decided(&mut self) -> Option<Ending> {
        loop {
            let key = self.decided.pop_front()?;
            let Some(entry) = self.entry(&key).filter(|e| e.txn.state.is_ending() && e.undurable > 0) else { continue };
            return Some(entry.ending(key));
        }
    }

    /// A marker stands in the journal of the shard.
    pub fn marked_beside(&mut self, key: &Key, producer: Producer, place: &(Name, i32)) {
        let ending = |entry: &&mut Entry| entry.txn.state.is_ending() && entry.txn.producer == producer;
        let Some(entry) = self.entry(key).filter(ending) else { return };
        if !entry.unmarked.remove(place) {
            return;
        }
        let is_last = entry.unmarked.is_empty();
        self.metrics.markers += 1;
        if is_last {
            self.complete.push_back(key.clone());
        }
    }

    /// The next end whose markers are to be written. Each of them is answered by [`Coordinator::marked`].
    pub fn next_ending(&mut self) -> Option<Ending> {
        self.endings.pop_front()
    }

    /// What became of a marker: 0, or Kafka's error code. A partition that is gone, or where a newer epoch has been, needs none.
    pub fn marked(&mut self, now: Time, key: &Key, producer: Producer, place: &(Name, i32), error_code: i16) {
        let Some(entry) = self.entry(key).filter(|e| e.txn.state.is_ending() && e.txn.producer == producer) else {
            return;
        };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        let over = matches!(
            error_code,
            codes::NONE
                | codes::UNKNOWN_TOPIC_OR_PARTITION
                | codes::INVALID_PRODUCER_EPOCH
                | codes::TRANSACTION_COORDINATOR_FENCED
        );
        if over {
            entry.unmarked.remove(place);
        }
        let (in_flight, unmarked, retries) = (entry.in_flight, entry.unmarked.len(), entry.retries);
        if unmarked > 0 && in_flight == 0 {
            entry.retries += 1;
        }
        if error_code == codes::NONE {
            self.metrics.markers += 1;
        } else if over || retries == 0 || retries.is_power_of_two() {
            // A partition that is damaged takes none until somebody mends it: said less and less often.
            let what = if over { "it needs none" } else { "it is tried again" };
            let line = format!(
                "the marker of transaction {} was refused by {}-{} with error {error_code}: {what}",
                key.1, place.0, place.1
            );
            self.lines.push((if over { LogLevel::Info } else { LogLevel::Warn }, line));
        }
        if unmarked == 0 {
            self.complete.push_back(key.clone());
        } else if in_flight == 0 {
            self.metrics.marker_retries += 1;
            let wait_ms = MARKER_RETRY_MS << retries.min(MARKER_RETRY_DOUBLINGS);
            self.retries.insert((now.after(Duration::from_millis(wait_ms)), key.clone()));
        }
    }

    /// When [`Coordinator::due`] is to be called at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if !self.complete.is_empty() || !self.awake.is_empty() {
            return Some(Deadline(0));
        }
        let waits = self.waits.first().map(|(deadline, _)| *deadline);
        let retries = self.retries.first().map(|(deadline, _)| *deadline);
        [waits, retries, self.timeouts.next(), self.expiries.next()].into_iter().flatten().min()
    }

    /// Lines for the broker's log since the last call.
    pub fn take_lines(&mut self) -> Vec<(LogLevel, String)> {
        mem::take(&mut self.lines)
    }

    /// What a scrape shows.
    pub fn metrics(&self) -> TxnMetrics {
        let mut metrics = self.metrics.clone();
        for entry in self.partitions.values().flat_map(|home| home.ids.values()) {
            metrics.states[entry.txn.state as usize] += 1;
        }
        metrics
    }
}

impl Coordinator {
    fn decide(&mut self, now: Time, asker: Asker, key: Key, request: TxnRequest) -> Decision {
        let partition = key.0;
        let home = &self.partitions[&partition];
        let txn = home.ids.get(&key.1).map(|entry| &entry.txn);
        let now_ms = now.wall_ms;
        let decision = match request {
            TxnRequest::Init { timeout_ms, known, fresh } => {
                if timeout_ms <= 0 || timeout_ms > self.settings.timeout_ms_max {
                    return refuse(partition, asker, TxnAnswer::Initialized(Err(codes::INVALID_TRANSACTION_TIMEOUT)));
                }
                if txn.is_none() && self.ids >= TXNS_MAX {
                    return refuse(partition, asker, TxnAnswer::Initialized(Err(codes::COORDINATOR_NOT_AVAILABLE)));
                }
                let unborn = unborn(fresh);
                let outcome = txn.unwrap_or(&unborn).init(now_ms, timeout_ms, known, fresh);
                // An abort comes first: the client asks again.
                let aborts = matches!(&outcome, Outcome::Changes(changed, _) if changed.state.is_ending());
                let told = |producer| if aborts { Err(codes::CONCURRENT_TRANSACTIONS) } else { Ok(producer) };
                decision(&key, asker, outcome, |result| TxnAnswer::Initialized(result.and_then(told)))
            }
            TxnRequest::AddPartitions { producer, ref topics, adding: Adding::Verify, beside } => {
                let verified = txn.map_or(Err(codes::INVALID_PRODUCER_ID_MAPPING), |txn| txn.verify(producer, topics));
                let is_good = verified.as_ref().is_ok_and(|codes| codes.iter().flatten().all(|code| *code == 0));
                Ok(Decision { at_once: beside && is_good, ..Decision::answer(asker, TxnAnswer::Added(verified)) })
            }
            TxnRequest::AddPartitions { producer, ref topics, adding, beside } => {
                let outcome = match txn {
                    None => Outcome::Refused(codes::INVALID_PRODUCER_ID_MAPPING),
                    Some(txn) => txn.add_partitions(now_ms, producer, topics, adding),
                };
                let added: Vec<Vec<i16>> = topics.iter().map(|(_, p)| vec![codes::NONE; p.len()]).collect();
                match &outcome {
                    Outcome::Changes(changed, ()) if changed.partitions() > TXN_PARTITIONS_MAX => {
                        Ok(Decision::answer(asker, TxnAnswer::Added(Err(codes::POLICY_VIOLATION))))
                    }
                    _ => {
                        // A refusal goes back to the client: what it tells has to be durable.
                        let at_once = beside && !matches!(outcome, Outcome::Refused(_));
                        decision(&key, asker, outcome, |result| TxnAnswer::Added(result.map(|()| added)))
                            .map(|decision| Decision { at_once, ..decision })
                    }
                }
            }
            TxnRequest::End { producer, committed, bumps_epoch, fresh } => {
                let outcome = match txn {
                    None => Outcome::Refused(codes::INVALID_PRODUCER_ID_MAPPING),
                    Some(txn) if bumps_epoch => txn.end_bumping(now_ms, producer, committed, fresh),
                    Some(txn) => txn.end(now_ms, producer, committed),
                };
                decision(&key, asker, outcome, TxnAnswer::Ended)
            }
            TxnRequest::Describe => {
                let described = txn.map(describe).ok_or(codes::TRANSACTIONAL_ID_NOT_FOUND);
                Ok(Decision::answer(asker, TxnAnswer::Described(described)))
            }
            TxnRequest::List(ref filter) => {
                Ok(Decision::answer(asker, TxnAnswer::Listed(Ok(home.list(now_ms, filter)))))
            }
        };
        match decision {
            Ok(decision) => Decision { partition, ..decision },
            Err(Waits) => self.wait(now, asker, key, request),
        }
    }

    /// The request waits until the end that is under way is over.
    fn wait(&mut self, now: Time, asker: Asker, key: Key, request: TxnRequest) -> Decision {
        let deadline = now.after(Duration::from_millis(TXN_WAIT_MS));
        let entry = self.entry(&key).expect("it said so");
        if entry.waiting.len() >= TXN_WAITING_MAX {
            return Decision {
                partition: key.0,
                ..Decision::answer(asker, request.refuse(codes::CONCURRENT_TRANSACTIONS))
            };
        }
        entry.waiting.push((deadline, asker, request));
        if entry.waiting.len() == 1 {
            self.waits.insert((deadline, key.clone()));
        }
        Decision { partition: key.0, ..Decision::default() }
    }

    fn due_complete(&mut self, now: Time) -> Option<Decision> {
        while let Some(key) = self.complete.front().cloned() {
            match self.entry(&key).filter(|entry| entry.txn.state.is_ending() && entry.unmarked.is_empty()) {
                // It stays in the queue until it is written.
                Some(entry) => return Some(change(&key, entry.txn.completed(now.wall_ms))),
                None => _ = self.complete.pop_front(),
            }
        }
        None
    }

    /// Requests that have waited too long: the client asks again.
    fn due_wait(&mut self, now: Time) -> Option<Decision> {
        let key = pop_due(&mut self.waits, now)?;
        let entry = self.entry(&key)?;
        let late = |(deadline, ..): &mut (Deadline, Asker, TxnRequest)| now.reached(*deadline);
        let answers = entry.waiting.extract_if(.., late);
        let answers = answers.map(|(_, asker, request)| (asker, request.refuse(codes::CONCURRENT_TRANSACTIONS)));
        let answers = answers.collect();
        if let Some((deadline, ..)) = entry.waiting.first() {
            let deadline = *deadline;
            self.waits.insert((deadline, key.clone()));
        }
        Some(Decision { partition: key.0, answers, ..Decision::default() })
    }

    fn due_timeout(&mut self, now: Time) -> Option<Decision> {
        let key = self.timeouts.due(now, self.settings.timeout_check_ms)?;
        let txn = &self.entry(&key).expect("what is watched is there").txn;
        let fenced = txn.fence(now.wall_ms);
        let line = format!(
            "aborting transaction {} of producer {} epoch {}: it has been open for longer than its {} ms",
            key.1, txn.producer.id, txn.producer.epoch, txn.timeout_ms
        );
        self.lines.push((LogLevel::Info, line));
        Some(change(&key, fenced))
    }

    fn due_expiry(&mut self, now: Time) -> Option<Decision> {
        let (partition, id) = self.expiries.due(now, self.settings.expiration_check_ms)?;
        Some(Decision { partition, records: vec![TxnRecord { id, value: None }], ..Decision::default() })
    }

    fn send_markers(&mut self, now: Time, key: Key) {
        let Some(entry) = self.entry(&key).filter(|e| e.txn.state.is_ending()) else { return };
        entry.in_flight = entry.unmarked.len();
        if entry.ending_since_ns == 0 {
            entry.ending_since_ns = now.mono_ns;
        }
        if entry.unmarked.is_empty() {
            return self.complete.push_back(key);
        }
        let ending = entry.ending(key);
        self.endings.push_back(ending);
    }

    /// A record holds. Live and in replay this is the only way to durable state.
    fn put(&mut self, now: Time, partition: i32, record: &TxnRecord, replay: bool) {
        let Some(home) = self.partitions.get_mut(&partition) else { return };
        let Some(txn) = &record.value else {
            let Some(entry) = home.ids.remove(&record.id) else { return };
            self.ids -= 1;
            return self.unwatch(&(partition, record.id.clone()), &entry);
        };
        let entry = home.ids.entry(record.id.clone()).or_insert_with(|| {
            self.ids += 1;
            Entry::new(txn.clone())
        });
        let before = mem::replace(&mut entry.txn, txn.clone());
        if replay {
            return;
        }
        let key = (partition, record.id.clone());
        if txn.state.is_ending() {
            entry.begin_end();
            entry.undurable += 1;
            entry.ending_since_ns = now.mono_ns;
            return self.decided.push_back(key);
        }
        if before.state.is_ending() {
            let took_ns = now.mono_ns.saturating_sub(mem::take(&mut entry.ending_since_ns));
            let waited = mem::take(&mut entry.waiting);
            if let Some((deadline, ..)) = waited.first() {
                self.waits.remove(&(*deadline, key.clone()));
            }
            self.awake.extend(waited.into_iter().map(|(_, asker, request)| (key.clone(), asker, request)));
            self.metrics.marker_ns.record(took_ns);
        }
        match txn.state {
            State::CompleteCommit => self.metrics.committed += 1,
            State::CompleteAbort => self.metrics.aborted += 1,
            _ => {}
        }
    }

    /// Enters when an id is to be looked at anew.
    fn watch(&mut self, now: Time, key: &Key) {
        let settings = (self.settings.timeout_check_ms, self.settings.expiration_check_ms);
        let expiration_ms = self.settings.expiration_ms;
        let Some(entry) = self.partitions.get_mut(&key.0).and_then(|home| home.ids.get_mut(&key.1)) else { return };
        if let Some(deadline) = entry.watched.take() {
            let at = (deadline, key.clone());
            self.timeouts.deadlines.remove(&at);
            self.expiries.deadlines.remove(&at);
        }
        let txn = &entry.txn;
        let (watch, due_ms, every_ms) = match txn.state {
            State::Ongoing => (&mut self.timeouts, txn.start_ms.saturating_add(i64::from(txn.timeout_ms)), settings.0),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                (&mut self.expiries, txn.updated_ms.saturating_add(expiration_ms), settings.1)
            }
            _ => return,
        };
        let left_ms = due_ms.saturating_sub(now.wall_ms).max(0).unsigned_abs();
        let deadline = now.after(Duration::from_millis(left_ms));
        entry.watched = Some(deadline);
        watch.deadlines.insert((deadline, key.clone()));
        watch.not_before.get_or_insert(now.after(Duration::from_millis(every_ms)));
    }

    fn unwatch(&mut self, key: &Key, entry: &Entry) {
        if let Some(deadline) = entry.watched {
            let at = (deadline, key.clone());
            self.timeouts.deadlines.remove(&at);
            self.expiries.deadlines.remove(&at);
        }
    }

    fn entry(&mut self, key: &Key) -> Option<&mut Entry> {
        self.partitions.get_mut(&key.0).filter(|home| !home.loading)?.ids.get_mut(&key.1)
    }

    fn forget(&mut self, partition: i32) -> Partition {
        let home = self.partitions.remove(&partition).unwrap_or_default();
        self.ids -= home.ids.len();
        for watch in [&mut self.timeouts.deadlines, &mut self.expiries.deadlines, &mut self.waits, &mut self.retries] {
            watch.retain(|(_, (of, _))| *of != partition);
        }
        self.complete.retain(|(of, _)| *of != partition);
        self.decided.retain(|(of, _)| *of != partition);
        self.endings.retain(|ending| ending.key.0 != partition);
        home
    }
}

/// Takes out the first one whose deadline has come.
fn pop_due(set: &mut BTreeSet<(Deadline, Key)>, now: Time) -> Option<Key> {
    let due = set.first().is_some_and(|(deadline, _)| now.reached(*deadline));
    if due { set.pop_first().map(|(_, key)| key) } else { None }
}

/// The request has to wait.
struct Waits;

/// What an outcome comes to.
fn decision<T>(
    key: &Key,
    asker: Asker,
    outcome: Outcome<T>,
    answer: impl FnOnce(Result<T, i16>) -> TxnAnswer,
) -> Result<Decision, Waits> {
    match outcome {
        Outcome::Refused(code) => Ok(Decision::answer(asker, answer(Err(code)))),
        Outcome::Done(told) => Ok(Decision::answer(asker, answer(Ok(told)))),
        Outcome::Changes(txn, told) => Ok(Decision { answers: vec![(asker, answer(Ok(told)))], ..change(key, *txn) }),
        Outcome::Wait => Err(Waits),
    }
}

/// The id is to become this. If that is an end, markers follow when it is durable.
fn change(key: &Key, txn: Txn) -> Decision {
    let then = txn.state.is_ending().then(|| key.clone());
    let records = vec![TxnRecord { id: key.1.clone(), value: Some(txn) }];
    Decision { partition: key.0, records, then, ..Decision::default() }
}

fn refuse(partition: i32, asker: Asker, answer: TxnAnswer) -> Decision {
    Decision { partition, ..Decision::answer(asker, answer) }
}

fn describe(txn: &Txn) -> DescribedTxn {
    DescribedTxn {
        state: txn.state.name(),
        producer: txn.producer,
        timeout_ms: txn.timeout_ms,
        start_ms: txn.start_ms,
        topics: txn.topics.clone(),
    }
}

impl Partition {
    fn list(&self, now_ms: i64, filter: &TxnFilter) -> Vec<ListedTxn> {
        let passes = |txn: &Txn| {
            (filter.states.is_empty() || filter.states.iter().any(|state| state == txn.state.name()))
                && (filter.producers.is_empty() || filter.producers.contains(&txn.producer.id))
                // Kafka's: of those without a transaction as well, whose start is -1.
                && (filter.longer_than_ms < 0 || now_ms.saturating_sub(txn.start_ms) > filter.longer_than_ms)
        };
        let listed = self.ids.iter().filter(|(_, entry)| passes(&entry.txn));
        let listed = listed.map(|(id, entry)| ListedTxn {
            id: id.clone(),
            producer_id: entry.txn.producer.id,
            state: entry.txn.state.name(),
        });
        listed.collect()
    }
}

impl Watch {
    /// The next one that is due. It stays until its state changes. After the last one it is looked at again when `every_ms` have passed.
    fn due(&mut self, now: Time, every_ms: u64) -> Option<Key> {
        if self.not_before.is_some_and(|deadline| !now.reached(deadline)) {
            return None;
        }
        match self.deadlines.first() {
            Some((deadline, key)) if now.reached(*deadline) => Some(key.clone()),
            _ => {
                self.not_before = Some(now.after(Duration::from_millis(every_ms)));
                None
            }
        }
    }

    fn next(&self) -> Option<Deadline> {
        let (first, _) = self.deadlines.first()?;
        Some(self.not_before.map_or(*first, |deadline| deadline.max(*first)))
    }
}

impl Entry {
    fn new(txn: Txn) -> Entry {
        Entry {
            txn,
            watched: None,
            unmarked: BTreeSet::new(),
            in_flight: 0,
            retries: 0,
            undurable: 0,
            ending_since_ns: 0,
            waiting: Vec::new(),
        }
    }

    /// An end begins: every partition needs a marker.
    fn begin_end(&mut self) {
        let topics = self.txn.topics.iter();
        let partitions = topics.flat_map(|(topic, partitions)| partitions.iter().map(|p| (topic.clone(), *p)));
        self.unmarked = partitions.collect();
        (self.in_flight, self.retries) = (0, 0);
    }

    /// The markers that are missing.
    fn ending(&self, key: Key) -> Ending {
        Ending {
            key,
            producer: self.txn.producer,
            committed: self.txn.state == State::PrepareCommit,
            version: self.txn.version,
            partitions: self.unmarked.iter().cloned().collect(),
        }
    }
}
