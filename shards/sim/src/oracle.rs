//! What must be true of the broker, whatever failed: the judge of a run.
//!
//! It keeps, per partition, the facts the broker has committed itself to ("offset 17 is record 412"): by acknowledging it to a producer or by showing
//! it to a consumer. From then on:
//! - the fact holds for ever: through crashes for tier `flushed`; through a killed process for `written`; through a clean stop for `memory`.
//!   Where a crash may have cost a tier its tail, the facts are *in doubt*: a suffix of them may be gone, nothing else;
//! - no other record appears at that offset, and the record (when its producer was idempotent) appears at no other;
//! - records of one idempotent producer stand in the order in which it made them;
//! - offsets are contiguous, the high watermark does not go back, the log start moves only by DeleteRecords or where retention is configured;
//! - bytes are those the producer made. Damage may make a partition refuse; it never changes what is served.
//!
//! Excuses are given only by [`Oracle::crashed`], whose caller knows which faults were really injected.

pub mod copies;
pub mod groups;
pub mod history;
pub mod txns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::content::{self, RecordId};

/// A topic of the run, by order of making. A topic made again under the name of a deleted one is another topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicIx(pub usize);

/// A partition of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tp {
    /// Its topic.
    pub topic: TopicIx,
    /// Its index.
    pub partition: i32,
}

impl fmt::Display for Tp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}-{}", self.topic.0, self.partition)
    }
}

/// What a topic promises about its acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// On stable storage before the acknowledgement.
    Flushed,
    /// Written, not synced.
    Written,
    /// In memory.
    Memory,
}

/// How a life of the node ended, as far as promises go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// After a clean shutdown.
    Clean,
    /// The process was killed.
    Process,
    /// Power was lost.
    Power,
    /// The newest writes to a journal were damaged: nobody can tell them from torn ones, so even `flushed` may have lost its last records.
    TailDamaged,
}

/// A record as its producer knows it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it was sent.
    pub tp: Tp,
    /// Its producer's timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// It has one of few keys, for a compacted topic.
    pub keyed: bool,
    /// It must not appear twice.
    pub once: bool,
    /// Records with the same key here must stand in the order of `order.1`.
    pub order: Option<(u64, u64)>,
}

/// A record as a consumer saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// What the broker was committed to when a request was sent: an answer may know more, not less.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// The high watermark is at least this.
    pub high_watermark: i64,
    /// The log start is at least this.
    pub log_start: i64,
    /// Facts up to this moment must show.
    moment: u64,
    /// Lives of the node that had ended in a loss then: an expectation from before one is void.
    losses: u64,
}

/// One reading of a compacted partition.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What was known when it began.
    pub expected: Expectation,
    /// Where the log began.
    pub start: i64,
    /// Where it ended then; what explains that something before is missing came before the reading's own end.
    pub end: i64,
    /// Offsets that were there.
    pub shown: BTreeSet<i64>,
    /// Milliseconds it took.
    pub took_ms: i64,
}

/// A partition's promises.
#[derive(Debug, Default)]
struct Partition {
    facts: BTreeMap<i64, Fact>,
    /// Where each record of an idempotent producer is.
    places: BTreeMap<RecordId, i64>,
    /// By order key: offset to place in the order.
    orders: BTreeMap<u64, BTreeMap<i64, u64>>,
    high_watermark: i64,
    /// DeleteRecords answered up to here.
    log_start_promised: i64,
    /// DeleteRecords asked for up to here.
    log_start_allowed: i64,
    losses: u64,
    /// Of a compacted topic: facts with a key that have not been shown where they should be. Something later must stand for each.
    gone: BTreeMap<i64, RecordId>,
}

#[derive(Clone, Copy, Debug)]
struct Fact {
    record: RecordId,
    timestamp_ms: i64,
    /// The oracle's clock when it became a fact.
    moment: u64,
    /// The life of the node in which it became a fact.
    life: u64,
    in_doubt: bool,
    /// Its producer knows: it is not sent again.
    acked: bool,
}

#[derive(Debug)]
struct Topic {
    tier: Tier,
    /// Retention may move the log start by itself.
    retention: bool,
    append_time: bool,
    compacted: bool,
    /// Of a compacted one: how long it keeps a record without a value.
    delete_retention_ms: i64,
}

/// The judge.
#[derive(Debug, Default)]
pub struct Oracle {
    sent: Vec<Sent>,
    topics: Vec<Topic>,
    partitions: BTreeMap<Tp, Partition>,
    moment: u64,
    /// Lives of the node that have ended.
    life: u64,
    violations: Vec<String>,
    /// Look-ups may name the batch that holds the record, not the record: of a log whose caller looks into batches.
    pub lookups_name_batches: bool,
    /// Offsets of a compacted partition that the last answer judged has shown.
    pub shown_last: Vec<i64>,
    /// What is known of consumer groups.
    pub groups: groups::Ledger,
    /// What is known of transactions.
    pub txns: txns::Book,
    /// Counters for the report.
    pub tally: Tally,
}

/// How much was judged: a run that judged nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records acknowledged.
    pub acked: u64,
    /// Records seen by consumers.
    pub seen: u64,
    /// Facts lost that were in doubt (tiers that allow it).
    pub lost_in_doubt: u64,
    /// Look-ups by timestamp judged.
    pub lookups: u64,
    /// Connections that changed shards.
    pub moved: u64,
    /// Assignments of group members judged.
    pub assigned: u64,
    /// Times that mixed groups were found changed from one protocol to the other.
    pub migrated: u64,
    /// Offsets committed and acknowledged.
    pub committed: u64,
    /// Committed offsets read.
    pub fetched: u64,
    /// Transactions committed, and acknowledged.
    pub txns_committed: u64,
    /// Transactions that were certainly not committed.
    pub txns_aborted: u64,
    /// Transactions of which nobody knows.
    pub txns_unknown: u64,
    /// Records shown to readers of committed ones.
    pub txns_read: u64,
    /// Transactions of copiers committed, and acknowledged.
    pub copied: u64,
    /// Offsets in transactions that a group refused, as who sent them was no member any more.
    pub copies_fenced: u64,
}

/// No run takes so long.
const LONG_MS: i64 = 10_000_000;

/// Violations kept; the first is the one that matters.
const VIOLATIONS_KEPT: usize = 8;

impl Oracle {
    /// A judge who knows nothing yet.
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// What was found, first thing first.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Takes over what the book of the groups found.
    pub fn judge_groups(&mut self) {
        for text in self.groups.take_violations() {
            self.fail(text);
        }
    }

    /// Takes over what the book of the transactions has found.
    pub fn judge_txns(&mut self) {
        for text in self.txns.take_violations() {
            self.fail(text);
        }
    }

    /// Notes a breach found outside (an answer that no rule allows).
    pub fn fail(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(text);
        }
    }

    /// Makes a topic known.
    pub fn add_topic(&mut self, tier: Tier, retention: bool, append_time: bool) -> TopicIx {
        self.topics.push(Topic { tier, retention, append_time, compacted: false, delete_retention_ms: 0 });
        TopicIx(self.topics.len() - 1)
    }

    /// Records of this topic may go when a later one has the same key, or when they have no key or no value.
    pub fn allow_compaction(&mut self, topic: TopicIx) {
        self.topics[topic.0].compacted = true;
    }

    /// A compacted topic keeps a record that deletes its key for so long.
    pub fn delete_retention(&mut self, topic: TopicIx, ms: i64) {
        self.topics[topic.0].delete_retention_ms = ms;
    }

    /// Whether offsets may be missing.
    pub fn is_compacted(&self, tp: Tp) -> bool {
        self.topics[tp.topic.0].compacted
    }

    /// Whether a compacted log may end in a gap: what stood behind it may have been lost.
    pub fn may_end_in_a_gap(&self, tp: Tp) -> bool {
        self.is_compacted(tp) && self.may_have_lost(tp)
    }

    /// Of the offsets from `from` up to `to` of a compacted partition, only `shown` are there.
    pub fn compacted(&mut self, tp: Tp, from: i64, to: i64, shown: &[i64]) {
        let keeps_deletions = self.topics[tp.topic.0].delete_retention_ms > LONG_MS;
        let p = self.partitions.entry(tp).or_default();
        for (offset, fact) in p.facts.range(from..to.max(from)).filter(|(offset, _)| !shown.contains(offset)) {
            let made = content::content(fact.record);
            if made.key.is_some() && (made.value.is_some() || keeps_deletions) {
                p.gone.insert(*offset, fact.record);
            }
        }
        // A crash may have brought back what had not gone for good.
        p.gone.retain(|offset, _| !shown.contains(offset));
    }

    /// A compacted partition has been read from its start to its end: what is missing must have something later with its key, which was shown now.
    pub fn all_shown(&mut self, tp: Tp) {
        let may_be_deleted = self.topics[tp.topic.0].retention;
        let p = self.partitions.entry(tp).or_default();
        let mut last_of_key = BTreeMap::new();
        for (offset, fact) in p.facts.iter().filter(|(offset, _)| !p.gone.contains_key(offset)) {
            if let Some(key) = content::content(fact.record).key {
                last_of_key.insert(key, *offset);
            }
        }
        let low = p.log_start_allowed;
        let unexplained = p.gone.iter().find(|(offset, record)| {
            let key = content::content(**record).key.expect("it has one");
            **offset >= low && last_of_key.get(&key).is_none_or(|last| last < *offset)
        });
        if let Some((offset, record)) = unexplained.filter(|_| !may_be_deleted) {
            let text = format!("{tp}: record {} at offset {offset} was the last of its key, and is gone", record.0);
            self.fail(text);
        }
    }

    /// A compacted partition has been read once from its start to its end.
    pub fn passed(&mut self, tp: Tp, pass: &Pass) {
        let topic = &self.topics[tp.topic.0];
        let (retention, delete_retention_ms) = (topic.retention, topic.delete_retention_ms);
        let p = self.partitions.entry(tp).or_default();
        if retention || pass.expected.losses != p.losses {
            return;
        }
        // What was known when it began, and its key.
        let low = p.log_start_allowed.max(pass.start);
        let known = p.facts.range(low..).filter(|(_, fact)| fact.moment <= pass.expected.moment);
        let known: Vec<(i64, RecordId, content::Content)> =
            known.map(|(offset, fact)| (*offset, fact.record, content::content(fact.record))).collect();
        let mut last_of_key: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for (offset, fact) in &p.facts {
            if let Some(key) = content::content(fact.record).key {
                last_of_key.insert(key, *offset);
            }
        }
        let mut deleted: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (offset, record, made) in known.iter().filter(|(offset, ..)| *offset < pass.end) {
            let Some(key) = made.key.as_ref().filter(|_| !pass.shown.contains(offset)) else { continue };
            let stays = made.value.is_some() || delete_retention_ms > LONG_MS;
            // One that something later has taken the place of goes with what it deletes.
            if made.value.is_none() && last_of_key.get(key) == Some(offset) {
                deleted.insert(key, *offset);
            }
            if !stays || last_of_key.get(key).is_some_and(|last| last > offset) {
                continue;
            }
            // A record that deletes it, whose sender never learnt where it is, may have come and gone.
            let is_that = |(n, sent): (usize, &Sent)| {
                let other = RecordId(n as u64 + 1);
                let other = if sent.keyed { other.keyed() } else { other };
                let made = content::content(other);
                sent.tp == tp && other != *record && made.value.is_none() && made.key.as_ref() == Some(key)
            };
            if delete_retention_ms <= LONG_MS && self.sent.iter().enumerate().any(is_that) {
                continue;
            }
            let text = format!("{tp}: record {} at offset {offset} was the last of its key, and is gone", record.0);
            return self.fail(text);
        }
        // What was deleted goes before the record that deletes it, which stays for a while after that.
        if pass.took_ms >= delete_retention_ms {
            return;
        }
        for (offset, _, made) in known.iter().filter(|(offset, ..)| pass.shown.contains(offset)) {
            if let Some(by) = made.key.as_deref().and_then(|key| deleted.get(key)).filter(|by| *by > offset) {
                let text = format!("{tp}: offset {offset} is there, the record at {by} that deletes its key is not");
                return self.fail(text);
            }
        }
    }

    /// From now on retention may delete records of this topic.
    pub fn allow_retention(&mut self, topic: TopicIx) {
        self.topics[topic.0].retention = true;
    }

    /// A producer made a record and is about to send it.
    pub fn sending(&mut self, sent: Sent) -> RecordId {
        let keyed = sent.keyed;
        self.sent.push(sent);
        let id = RecordId(self.sent.len() as u64);
        if keyed { id.keyed() } else { id }
    }

    /// What was sent under this identity.
    pub fn record(&self, id: RecordId) -> Option<&Sent> {
        self.sent.get((id.number() as usize).wrapping_sub(1)).filter(|sent| sent.keyed == id.is_keyed())
    }

    /// What an answer to a request that is sent now must show.
    pub fn expect(&mut self, tp: Tp) -> Expectation {
        self.moment += 1;
        let moment = self.moment;
        let p = self.partitions.entry(tp).or_default();
        Expectation { high_watermark: p.high_watermark, log_start: p.log_start_promised, moment, losses: p.losses }
    }

    /// The broker acknowledged these records from `base_offset` on. `append_time_ms`: of a topic with LogAppendTime.
    pub fn acked(&mut self, tp: Tp, base_offset: i64, records: &[RecordId], append_time_ms: Option<i64>) {
        if base_offset < 0 {
            return self.fail(format!("{tp}: acknowledged with base offset {base_offset}"));
        }
        for (i, &record) in records.iter().enumerate() {
            self.tally.acked += 1;
            let timestamp_ms = append_time_ms.unwrap_or_else(|| self.record(record).expect("sent").timestamp_ms);
            self.fact(tp, base_offset + i as i64, record, timestamp_ms, "acknowledged");
        }
        // Tier `memory` acknowledges before the commit is on its way, and so perhaps before it is shown.
        if self.topics[tp.topic.0].tier != Tier::Memory {
            let end = base_offset + records.len() as i64;
            let p = self.partitions.entry(tp).or_default();
            p.high_watermark = p.high_watermark.max(end);
        }
    }

    /// A consumer was shown this record.
    pub fn seen(&mut self, tp: Tp, seen: Seen<'_>) {
        self.tally.seen += 1;
        let offset = seen.offset;
        let known = content::identify(seen.key, seen.value, seen.headers).filter(|id| self.record(*id).is_some());
        let Some(record) = known else {
            return self.fail(format!("{tp}: offset {offset} holds bytes that nobody sent"));
        };
        let made = content::content(record);
        let same =
            made.key.as_deref() == seen.key && made.value.as_deref() == seen.value && made.headers == seen.headers;
        if !same {
            return self
                .fail(format!("{tp}: offset {offset} holds record {} with other bytes than were sent", record.0));
        }
        let sent = self.record(record).expect("known");
        if sent.tp != tp {
            let to = sent.tp;
            return self.fail(format!("{tp}: offset {offset} holds record {} which was sent to {to}", record.0));
        }
        if !self.topics[tp.topic.0].append_time && sent.timestamp_ms != seen.timestamp_ms {
            let (sent, seen) = (sent.timestamp_ms, seen.timestamp_ms);
            return self.fail(format!("{tp}: offset {offset} has timestamp {seen}, sent with {sent}"));
        }
        self.fact(tp, offset, record, seen.timestamp_ms, "shown");
        let p = self.partitions.entry(tp).or_default();
        p.high_watermark = p.high_watermark.max(offset + 1);
    }

    /// An answer named the high watermark (or the end offset of a read-uncommitted consumer, which is the same here).
    pub fn high_watermark(&mut self, tp: Tp, expected: &Expectation, high_watermark: i64) {
        let lags = self.topics[tp.topic.0].tier == Tier::Memory;
        let (life, seen_below) = (self.life, expected.high_watermark);
        let p = self.partitions.entry(tp).or_default();
        if expected.losses != p.losses {
            return;
        }
        if high_watermark < expected.high_watermark {
            let before = expected.high_watermark;
            return self.fail(format!("{tp}: the high watermark went back from {before} to {high_watermark}"));
        }
        p.high_watermark = p.high_watermark.max(high_watermark);
        // Facts in doubt past the end are gone.
        let moment = expected.moment;
        let gone = |fact: &Fact| fact.in_doubt && fact.moment <= moment;
        let lost: Vec<i64> = p.facts.range(high_watermark..).filter(|(_, f)| gone(f)).map(|(o, _)| *o).collect();
        if let Some(&first) = lost.first() {
            self.drop_doubtful_from(tp, first);
        }
        let p = self.partitions.entry(tp).or_default();
        let due = |offset: i64, fact: &Fact| !lags || fact.life < life || offset < seen_below;
        let missing = |(offset, f): &(&i64, &Fact)| !f.in_doubt && f.moment <= moment && due(**offset, f);
        if let Some((offset, fact)) = p.facts.range(high_watermark..).find(missing) {
            let text =
                format!("{tp}: record {} at offset {offset} is lost, the log ends at {high_watermark}", fact.record.0);
            self.fail(text);
        }
    }

    /// An answer named the log start.
    pub fn log_start(&mut self, tp: Tp, expected: &Expectation, log_start: i64) {
        let retention = self.topics[tp.topic.0].retention;
        let p = self.partitions.entry(tp).or_default();
        if expected.losses == p.losses && log_start < expected.log_start {
            let promised = expected.log_start;
            return self
                .fail(format!("{tp}: records before {promised} were deleted, but the log starts at {log_start}"));
        }
        if !retention && log_start > p.log_start_allowed {
            let allowed = p.log_start_allowed;
            self.fail(format!("{tp}: the log starts at {log_start}, nobody deleted past {allowed}"));
        }
    }

    /// Whether an answer OFFSET_OUT_OF_RANGE to a read of `offset` is a lie.
    pub fn out_of_range(&mut self, tp: Tp, expected: &Expectation, offset: i64) {
        let retention = self.topics[tp.topic.0].retention;
        let p = self.partitions.entry(tp).or_default();
        let inside = offset >= p.log_start_allowed && offset <= expected.high_watermark;
        if inside && !retention && expected.losses == p.losses {
            let (low, high) = (p.log_start_allowed, expected.high_watermark);
            self.fail(format!("{tp}: offset {offset} is said to be out of range, {low}..={high} is there"));
        }
    }

    /// DeleteRecords up to `before` is about to be sent.
    pub fn deleting(&mut self, tp: Tp, before: i64) {
        let p = self.partitions.entry(tp).or_default();
        p.log_start_allowed = p.log_start_allowed.max(before);
    }

    /// DeleteRecords was answered with this low watermark.
    pub fn deleted(&mut self, tp: Tp, low_watermark: i64) {
        let retention = self.topics[tp.topic.0].retention;
        let p = self.partitions.entry(tp).or_default();
        if !retention && low_watermark > p.log_start_allowed {
            let allowed = p.log_start_allowed;
            return self
                .fail(format!("{tp}: DeleteRecords answered {low_watermark}, nobody asked for more than {allowed}"));
        }
        p.log_start_promised = p.log_start_promised.max(low_watermark);
    }

    /// The highest DeleteRecords asked for so far.
    pub fn log_start_allowed(&self, tp: Tp) -> i64 {
        self.partitions.get(&tp).map_or(0, |p| p.log_start_allowed)
    }

    /// The high watermark known so far.
    pub fn known_high_watermark(&self, tp: Tp) -> i64 {
        self.partitions.get(&tp).map_or(0, |p| p.high_watermark)
    }

    /// A look-up of the first record at or after `timestamp_ms` was answered with `(offset, timestamp)` or with nothing.
    pub fn looked_up(&mut self, tp: Tp, expected: &Expectation, timestamp_ms: i64, answer: Option<(i64, i64)>) {
        let retention = self.topics[tp.topic.0].retention;
        let (lags, life) = (self.topics[tp.topic.0].tier == Tier::Memory, self.life);
        let exact = !self.lookups_name_batches;
        let compacted = self.is_compacted(tp);
        let p = self.partitions.entry(tp).or_default();
        if let Some((offset, timestamp)) = answer {
            if timestamp < timestamp_ms {
                return self.fail(format!("{tp}: looked for {timestamp_ms}, found an older {timestamp} at {offset}"));
            }
            if let Some(fact) = p.facts.get(&offset)
                && !fact.in_doubt
                && exact
                && fact.timestamp_ms != timestamp
            {
                let real = fact.timestamp_ms;
                return self.fail(format!("{tp}: offset {offset} has timestamp {real}, the look-up says {timestamp}"));
            }
        }
        if retention || compacted || p.log_start_allowed > 0 || expected.losses != p.losses {
            return; // What the log start was at that moment is not known.
        }
        self.tally.lookups += 1;
        let due = |offset: i64, fact: &Fact| !lags || fact.life < life || offset < expected.high_watermark;
        let known = |(offset, fact): &(&i64, &Fact)| {
            let there = fact.moment <= expected.moment && !fact.in_doubt && due(**offset, fact);
            there && fact.timestamp_ms >= timestamp_ms
        };
        let Some((&first, _)) = p.facts.iter().find(known) else { return };
        match answer {
            Some((offset, _)) if offset <= first => {}
            _ => {
                self.fail(format!("{tp}: looked for {timestamp_ms}, first record is at {first}, answer was {answer:?}"))
            }
        }
    }

    /// A life of the node has ended this way; the broker may have lost what its tiers do not promise.
    pub fn crashed(&mut self, ending: Ending) {
        self.life += 1;
        self.groups.crashed();
        if ending == Ending::TailDamaged {
            self.groups.lost();
        }
        for (tp, p) in &mut self.partitions {
            let survives = match self.topics[tp.topic.0].tier {
                Tier::Flushed => ending != Ending::TailDamaged,
                Tier::Written => matches!(ending, Ending::Clean | Ending::Process),
                Tier::Memory => ending == Ending::Clean,
            };
            if !survives {
                p.losses += 1;
                if self.topics[tp.topic.0].compacted {
                    // What is missing cannot be told from what was lost: from here on only what is learnt anew counts.
                    (p.facts, p.places, p.orders, p.gone) = Default::default();
                }
                p.facts.values_mut().for_each(|fact| fact.in_doubt = true);
                // The surviving facts raise them again.
                p.high_watermark = 0;
                p.log_start_promised = 0;
            }
        }
    }

    /// Whether an answer to a request with this expectation may know less than it.
    pub fn has_lost_since(&self, tp: Tp, expected: &Expectation) -> bool {
        self.partitions.get(&tp).is_some_and(|p| p.losses != expected.losses)
    }

    /// Whether records of this partition may have been lost in some crash so far.
    pub fn may_have_lost(&self, tp: Tp) -> bool {
        self.partitions.get(&tp).is_some_and(|p| p.losses > 0)
    }

    fn fact(&mut self, tp: Tp, offset: i64, record: RecordId, timestamp_ms: i64, how: &str) {
        let acked = how == "acknowledged";
        self.moment += 1;
        let moment = self.moment;
        let sent = &self.sent[record.number() as usize - 1];
        let (once, order) = (sent.once, sent.order);
        let p = self.partitions.entry(tp).or_default();
        match p.facts.get(&offset).copied() {
            Some(old) if old.record == record => {
                if old.timestamp_ms != timestamp_ms && !old.in_doubt {
                    let before = old.timestamp_ms;
                    return self.fail(format!("{tp}: offset {offset} had timestamp {before}, now {timestamp_ms}"));
                }
                // A suffix may be lost, so what stands before a survivor has survived. Without an acknowledgement it may also have been sent again and have
                // come to its old place by chance.
                if old.in_doubt && old.acked {
                    p.facts.range_mut(..=offset).for_each(|(_, fact)| fact.in_doubt = false);
                }
                if let Some(fact) = p.facts.get_mut(&offset) {
                    // Come back by chance: an answer given before that did not have to show it.
                    if fact.in_doubt && !fact.acked {
                        fact.moment = moment;
                    }
                    fact.timestamp_ms = timestamp_ms;
                    fact.in_doubt = false;
                    fact.acked |= acked;
                }
                return;
            }
            Some(old) if old.in_doubt => self.drop_doubtful_from(tp, offset),
            Some(old) => {
                let (old, new) = (old.record.0, record.0);
                return self.fail(format!("{tp}: offset {offset} was record {old}, now record {new} is {how} there"));
            }
            None => {}
        }
        let p = self.partitions.entry(tp).or_default();
        if once && let Some(&other) = p.places.get(&record) {
            if p.facts.get(&other).is_some_and(|fact| fact.in_doubt) {
                self.drop_doubtful_from(tp, other);
            } else {
                let id = record.0;
                return self
                    .fail(format!("{tp}: record {id} stands at offset {other}, and is {how} at {offset} as well"));
            }
        }
        let p = self.partitions.entry(tp).or_default();
        if let Some((key, place)) = order {
            let places = p.orders.entry(key).or_default();
            let before = places.range(..offset).next_back().filter(|(_, other)| **other >= place);
            let after = places.range(offset + 1..).next().filter(|(_, other)| **other <= place);
            if let Some((&other, _)) = before.or(after) {
                let in_doubt = p.facts.get(&other).is_some_and(|fact| fact.in_doubt);
                if !in_doubt {
                    let id = record.0;
                    return self.fail(format!(
                        "{tp}: record {id} is {how} at {offset}, out of its producer's order with offset {other}"
                    ));
                }
                self.drop_doubtful_from(tp, other);
            }
        }
        let p = self.partitions.entry(tp).or_default();
        if let Some((key, place)) = order {
            p.orders.entry(key).or_default().insert(offset, place);
        }
        if once {
            p.places.insert(record, offset);
        }
        p.facts.insert(offset, Fact { record, timestamp_ms, moment, life: self.life, in_doubt: false, acked });
    }

    /// The facts in doubt from `offset` on turned out to be lost.
    fn drop_doubtful_from(&mut self, tp: Tp, offset: i64) {
        let p = self.partitions.entry(tp).or_default();
        let lost: Vec<(i64, RecordId)> =
            p.facts.range(offset..).filter(|(_, fact)| fact.in_doubt).map(|(o, fact)| (*o, fact.record)).collect();
        for (offset, record) in lost {
            p.facts.remove(&offset);
            if p.places.get(&record) == Some(&offset) {
                p.places.remove(&record);
            }
            if let Some((key, _)) = self.sent[record.number() as usize - 1].order
                && let Some(places) = p.orders.get_mut(&key)
            {
                places.remove(&offset);
            }
            self.tally.lost_in_doubt += 1;
        }
    }
}

#[cfg(test)]
mod tests;
