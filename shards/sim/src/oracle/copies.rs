//! What must be true of consume-transform-produce: the judge's book of copies. A group of copiers reads the partitions of one topic, writes a copy of each record
//! to other topics and commits its offsets, all in transactions.
//!
//! - At once: the committed offset of a partition is never behind one whose transaction was acknowledged.
//! - At the end: of each record of a partition below its committed offset there is one copy that readers of committed records see, of those behind it none.
//!   An offset that counts without its copies is a loss, copies that count without their offset become duplicates: both show here.

use std::collections::{BTreeMap, BTreeSet};

use super::{TopicIx, Tp};
use crate::content::RecordId;

/// The book.
#[derive(Debug, Default)]
pub struct Copies {
    /// The topic that is copied, if one is.
    pub source: Option<TopicIx>,
    /// Of which record each copy is.
    made: BTreeMap<RecordId, (Tp, i64)>,
    /// What readers of committed records were shown, by place.
    shown: BTreeMap<(Tp, i64), RecordId>,
    /// The highest offset of a partition that an acknowledged transaction committed.
    acked: BTreeMap<Tp, i64>,
    /// Committed offsets at the last look.
    last: BTreeMap<Tp, Option<i64>>,
    /// Transactions of copies that were acknowledged.
    pub committed: u64,
    /// Offsets that a group refused to take from somebody who is not its member any more.
    pub refused: u64,
}

impl Copies {
    /// A copy of the record at this place is about to be sent.
    pub fn making(&mut self, copy: RecordId, of: (Tp, i64)) {
        self.made.insert(copy, of);
    }

    /// A transaction was committed that holds the copies of all below this offset.
    pub fn acknowledged(&mut self, tp: Tp, offset: i64) {
        self.committed += 1;
        let highest = self.acked.entry(tp).or_default();
        *highest = offset.max(*highest);
    }

    /// The least that the committed offset of a partition must be.
    pub fn least(&self, tp: Tp) -> i64 {
        self.acked.get(&tp).copied().unwrap_or(0)
    }

    /// A reader of committed records was shown this.
    pub fn show(&mut self, tp: Tp, offset: i64, record: RecordId) {
        if self.source.is_some() {
            self.shown.insert((tp, offset), record);
        }
    }

    /// The committed offset of a partition when everything is at rest.
    pub fn stands(&mut self, tp: Tp, offset: Option<i64>) {
        self.last.insert(tp, offset);
    }

    /// The judgement, when a last reader has seen everything.
    pub fn judge(&self) -> Option<String> {
        let mut copies: BTreeMap<(Tp, i64), Vec<RecordId>> = BTreeMap::new();
        for record in self.shown.values().collect::<BTreeSet<_>>() {
            if let Some(of) = self.made.get(record) {
                copies.entry(*of).or_default().push(*record);
            }
        }
        let end = |tp: &Tp| self.last.get(tp).copied().flatten().unwrap_or(0);
        let known = |tp: &Tp| self.last.contains_key(tp);
        let ahead = copies.keys().find(|(tp, offset)| known(tp) && *offset >= end(tp));
        if let Some((tp, offset)) = ahead {
            return Some(format!("{tp}: offset {offset} was copied, the committed offset is {}", end(tp)));
        }
        let mut inputs = self.shown.keys().filter(|(tp, offset)| known(tp) && *offset < end(tp));
        let wrong = inputs.find(|place| copies.get(place).map_or(0, Vec::len) != 1);
        wrong.map(|(tp, offset)| {
            let number = copies.get(&(*tp, *offset)).map_or(0, Vec::len);
            format!("{tp}: offset {offset} has {number} copies, the committed offset is {}", end(tp))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(topic: usize) -> Tp {
        Tp { topic: TopicIx(topic), partition: 0 }
    }

    /// Three records of which the first two were copied and committed, as `copies` says how often.
    fn judged(copies: [usize; 3], committed: i64) -> Option<String> {
        let mut book = Copies { source: Some(TopicIx(0)), ..Copies::default() };
        let mut next = 100;
        for (offset, n) in copies.into_iter().enumerate() {
            book.show(tp(0), offset as i64, RecordId(offset as u64 + 1));
            for _ in 0..n {
                next += 1;
                book.making(RecordId(next), (tp(0), offset as i64));
                book.show(tp(1), next as i64, RecordId(next));
            }
        }
        book.stands(tp(0), Some(committed));
        book.judge()
    }

    #[test]
    fn each_record_below_the_committed_offset_is_copied_once() {
        assert_eq!(judged([1, 1, 0], 2), None);
        assert_eq!(judged([1, 1, 1], 3), None);
        assert_eq!(judged([0, 0, 0], 0), None);
        assert!(judged([1, 0, 0], 2).is_some_and(|text| text.contains("offset 1 has 0 copies")));
        assert!(judged([2, 1, 0], 2).is_some_and(|text| text.contains("offset 0 has 2 copies")));
        assert!(judged([1, 1, 1], 2).is_some_and(|text| text.contains("offset 2 was copied")));
    }

    #[test]
    fn a_copy_that_nobody_is_shown_is_none() {
        let mut book = Copies { source: Some(TopicIx(0)), ..Copies::default() };
        book.show(tp(0), 0, RecordId(1));
        book.making(RecordId(2), (tp(0), 0));
        book.stands(tp(0), Some(0));
        assert_eq!(book.judge(), None);
        book.stands(tp(0), Some(1));
        assert!(book.judge().is_some());
    }
}
