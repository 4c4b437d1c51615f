//! What must be true of transactions: the judge's book of what each was made of, how it ended as far as its producer knows, and what readers of committed
//! records were shown.
//!
//! - At once: no record is shown to them before the end of its transaction was asked for as a commit; no identity is given to two producers.
//! - At the end of a run: the rules of [`super::history`]. What was committed is there once and whole, of what was aborted nothing is, of what nobody knows
//!   all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::Tp;
use super::copies::Copies;
use super::history::{History, Kind, Outcome};
use crate::content::RecordId;

/// A record of a transaction: where it was sent, which, and its offset if that was answered.
pub type Part = (Tp, RecordId, Option<i64>);

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    history: History,
    /// Records sent in transactions; of which a commit has been asked for.
    records: BTreeMap<RecordId, bool>,
    /// Who was given each producer id and epoch.
    identities: BTreeMap<(i64, i16), u32>,
    /// Identities that were told that they are fenced, by which partition, or by the coordinator. Each partition fences from its marker on, so another one may
    /// serve for a little longer what its own marker will end.
    fenced: BTreeSet<((i64, i16), Option<Tp>)>,
    readers: u32,
    /// Consume-transform-produce.
    pub copies: Copies,
    violations: Vec<String>,
    /// Transactions whose commit was acknowledged.
    pub committed: u64,
    /// Transactions that were certainly not committed.
    pub aborted: u64,
    /// Transactions of which nobody knows.
    pub unknown: u64,
    /// Records shown to readers of committed ones.
    pub read: u64,
    /// Transactions that were left open for good, with an excuse.
    pub abandoned: u64,
}

/// Processes that read have numbers from here on; those that send have their actor's.
const FIRST_READER: u32 = 1 << 20;

impl Book {
    /// What was found since the last call.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// A record is about to be sent in a transaction.
    pub fn sending(&mut self, record: RecordId) {
        self.records.insert(record, false);
    }

    /// Whether it was sent in a transaction.
    pub fn knows(&self, record: RecordId) -> bool {
        self.records.contains_key(&record)
    }

    /// Nothing was ever sent in a transaction.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A commit of these is about to be asked for.
    pub fn committing(&mut self, parts: &[Part]) {
        for (_, record, _) in parts {
            self.records.insert(*record, true);
        }
    }

    /// A producer's transaction is over, as far as it will ever know.
    pub fn ended(&mut self, producer: u32, outcome: Outcome, parts: &[Part]) {
        match outcome {
            Outcome::Ok => self.committed += 1,
            Outcome::Fail => self.aborted += 1,
            Outcome::Info => self.unknown += 1,
        }
        self.history.begin(producer, Kind::Txn, outcome);
        for (tp, record, offset) in parts {
            self.history.send(&tp.to_string(), *offset, &record.0.to_string());
        }
    }

    /// A number for another reader.
    pub fn new_reader(&mut self) -> u32 {
        self.readers += 1;
        FIRST_READER + self.readers
    }

    /// A reader of committed records was shown these.
    pub fn polled(&mut self, reader: u32, shown: &[(Tp, i64, RecordId)]) {
        self.history.begin(reader, Kind::Plain, Outcome::Ok);
        for (tp, offset, record) in shown {
            self.read += 1;
            self.copies.show(*tp, *offset, *record);
            if self.records.get(record) == Some(&false) {
                let text = format!(
                    "{tp}: offset {offset}, record {}, is shown to a reader of committed records and nobody committed it",
                    record.0
                );
                self.violations.push(text);
            }
            self.history.read(&tp.to_string(), *offset, &record.0.to_string());
        }
    }

    /// A reader lost its place in a partition.
    pub fn sought(&mut self, reader: u32, tp: Tp) {
        self.history.begin(reader, Kind::Rebalance, Outcome::Ok);
        self.history.key(&tp.to_string());
    }

    /// A producer was given this identity.
    pub fn given(&mut self, producer: u32, identity: (i64, i16)) {
        let before = self.identities.insert(identity, producer);
        if identity.0 < 0 || identity.1 < 0 || before.is_some_and(|before| before != producer) {
            self.violations.push(format!("client {producer} was given {identity:?}, which client {before:?} has"));
        }
    }

    /// An identity was told that it is fenced, by a partition or by the coordinator.
    pub fn fenced(&mut self, identity: (i64, i16), by: Option<Tp>) {
        self.fenced.insert((identity, by));
    }

    /// An identity was served by a partition or by the coordinator, which must not have fenced it before.
    pub fn served(&mut self, identity: (i64, i16), by: Option<Tp>, what: &str) {
        if self.fenced.contains(&(identity, by)) {
            self.violations.push(format!("{what} of {identity:?} was served, which had been fenced"));
        }
    }

    /// The judgement of all that happened, when a last reader has seen everything.
    pub fn judge(&self) -> Option<String> {
        match self.history.check() {
            Ok(report) if report.is_clean(&[]) => self.copies.judge(),
            Ok(report) => Some(format!("transactions: {report}")),
            Err(malformed) => Some(format!("transactions: the history cannot be judged: {malformed}")),
        }
    }
}
