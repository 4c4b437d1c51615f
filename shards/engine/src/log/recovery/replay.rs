//! Which of the commits found on disk count: the heart of recovery, as a pure function over headers.
//!
//! On disk there may be, side by side: commits of this lap, commits of earlier laps behind them, a torn commit with whole ones of the same
//! incarnation behind it (writes end in any order), and commits of an incarnation that ended in such a tear. Numbers alone cannot tell these
//! apart. Every start of the broker is an incarnation, known to the checkpoint before its first commit; what counted of the ones before is
//! written down at that moment as runs, so that what a later crash lays open again is not believed.

use crate::log::checkpoint::{Checkpoint, Run};
use crate::log::frame::CommitHeader;

/// A commit found, as far as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) header: CommitHeader,
    /// Every entry is there and whole, and its own header is what was written.
    pub(super) whole: bool,
}

/// What is known from the checkpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) tail_seq: u64,
    pub(super) durable_seq: u64,
    pub(super) runs: Vec<Run>,
    /// The newest incarnation and its first commit.
    pub(super) newest: Option<(u64, u64)>,
    /// It is the newest checkpoint. If it may be an older one, files may have been used again since, and incarnations begun.
    pub(super) exact: bool,
}

impl Known {
    pub(super) fn of(checkpoint: Option<&Checkpoint>, exact: bool) -> Known {
        match checkpoint {
            None => Known { exact, ..Known::default() },
            Some(c) => Known {
                tail_seq: c.tail_seq,
                durable_seq: c.durable_seq,
                runs: c.runs.clone(),
                newest: Some((c.incarnation, c.first_seq)),
                exact,
            },
        }
    }
}

/// The decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Indices of the candidates that count, by rising number. Those not whole are damaged in some batch.
    pub(super) accepted: Vec<usize>,
    /// Numbers of commits that were acknowledged and cannot be read: nobody knows all that was in them.
    pub(super) lost: Vec<u64>,
    /// Runs to be written down.
    pub(super) runs: Vec<Run>,
}

/// Decides. `found` in any order.
pub(super) fn select(found: &[Candidate], known: &Known) -> Selection {
    let mut selection = Selection::default();
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by_key(|i| (found[*i].header.incarnation, found[*i].header.seq));
    for run in runs(found, known) {
        let open = run.last_seq == u64::MAX;
        let mine = order.iter().copied().filter(|i| {
            let h = &found[*i].header;
            h.incarnation == run.incarnation && h.seq >= run.first_seq.max(known.tail_seq) && h.seq <= run.last_seq
        });
        let mine: Vec<usize> = mine.collect();
        let newest = known.newest.is_some_and(|(incarnation, _)| incarnation == run.incarnation);
        let acknowledged = if open {
            let told = mine.iter().map(|i| found[*i].header.acknowledged_seq).max().unwrap_or(0);
            told.max(if newest { known.durable_seq } else { 0 })
        } else {
            run.last_seq
        };
        let mut expected = run.first_seq.max(known.tail_seq);
        // Files are used again oldest first, each from its beginning. So where an older commit counts, or stands before the first of these in its file, nothing
        // between them has been given up: what is missing was never written, or is damaged.
        let older_is_there = !selection.accepted.is_empty()
            || mine.first().is_some_and(|first| found.iter().any(|c| stands_before(&c.header, &found[*first].header)));
        if !known.exact && !older_is_there {
            // Files may have been used again since that checkpoint: what is missing at the start says nothing.
            expected = mine.first().map_or(acknowledged.saturating_add(1), |i| found[*i].header.seq.max(expected));
        }
        for i in mine {
            let (seq, c) = (found[i].header.seq, &found[i]);
            if seq < expected {
                continue;
            }
            let certain = seq <= acknowledged;
            if !c.whole && !certain {
                break;
            }
            if seq > expected {
                if expected > acknowledged {
                    break;
                }
                selection.lost.extend(expected..seq.min(acknowledged + 1));
                if seq > acknowledged + 1 {
                    expected = acknowledged + 1;
                    break;
                }
            }
            selection.accepted.push(i);
            expected = seq + 1;
            match selection.runs.last_mut() {
                Some(last) if last.incarnation == run.incarnation && last.last_seq + 1 == seq => last.last_seq = seq,
                _ => selection.runs.push(Run { incarnation: run.incarnation, first_seq: seq, last_seq: seq }),
            }
        }
        if expected <= acknowledged && acknowledged != u64::MAX {
            selection.lost.extend(expected..=acknowledged);
        }
    }
    selection
}

fn stands_before(one: &CommitHeader, other: &CommitHeader) -> bool {
    one.slot == other.slot && one.block < other.block && one.seq < other.seq
}

/// The runs in which commits can count, oldest first; the newest incarnation's is open.
fn runs(found: &[Candidate], known: &Known) -> Vec<Run> {
    let mut runs = known.runs.clone();
    if let Some((incarnation, first_seq)) = known.newest {
        runs.push(Run { incarnation, first_seq, last_seq: u64::MAX });
    }
    if !known.exact {
        // Incarnations that the checkpoint does not know tell by themselves where they began, and what counted before.
        let mut unknown: Vec<&CommitHeader> =
            found.iter().map(|c| &c.header).filter(|h| runs.iter().all(|r| r.incarnation != h.incarnation)).collect();
        unknown.sort_by_key(|h| (h.incarnation, h.seq));
        unknown.dedup_by_key(|h| h.incarnation);
        for header in unknown {
            for run in runs.iter_mut().filter(|r| r.last_seq == u64::MAX && r.incarnation < header.incarnation) {
                run.last_seq = header.accepted_seq.max(run.first_seq.saturating_sub(1));
            }
            runs.push(Run { incarnation: header.incarnation, first_seq: header.first_seq, last_seq: u64::MAX });
        }
        runs.sort_by_key(|r| (r.incarnation, r.first_seq));
    }
    runs.retain(|r| r.last_seq >= r.first_seq);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::JournalId;

    /// `(incarnation, seq, acknowledged, state)`; state: `w`hole, `b`ad batch in it, `t`orn.
    type Row = (u64, u64, u64, char);
    /// What it shows, what was found, what is known, what counts, what is lost.
    type Case<'a> = (&'a str, &'a [Row], &'a Known, &'a [u64], &'a [u64]);

    /// All in one file, in this order.
    fn candidates(rows: &[Row]) -> Vec<Candidate> {
        let firsts = |incarnation: u64| rows.iter().filter(|r| r.0 == incarnation).map(|r| r.1).min().unwrap_or(0);
        rows.iter()
            .zip(0..)
            .map(|((incarnation, seq, acknowledged, state), block)| Candidate {
                header: CommitHeader {
                    journal: JournalId { key: 1, generation: 1, shard: 0 },
                    incarnation: *incarnation,
                    seq: *seq,
                    slot: 0,
                    block,
                    bytes: 128,
                    entries: 0,
                    acknowledged_seq: *acknowledged,
                    first_seq: firsts(*incarnation),
                    accepted_seq: 3,
                },
                whole: *state == 'w',
            })
            .collect()
    }

    fn known(tail_seq: u64, runs: &[(u64, u64, u64)], newest: (u64, u64), exact: bool) -> Known {
        let runs = runs.iter().map(|(incarnation, first_seq, last_seq)| Run {
            incarnation: *incarnation,
            first_seq: *first_seq,
            last_seq: *last_seq,
        });
        Known { tail_seq, durable_seq: 0, runs: runs.collect(), newest: Some(newest), exact }
    }

    #[test]
    fn cases() {
        let first = known(1, &[], (1, 1), true);
        let second = known(1, &[(1, 1, 3)], (2, 6), true);
        let cases: &[Case] = &[
            ("nothing", &[], &first, &[], &[]),
            ("all whole", &[(1, 1, 0, 'w'), (1, 2, 1, 'w'), (1, 3, 2, 'w')], &first, &[1, 2, 3], &[]),
            ("torn tail", &[(1, 1, 0, 'w'), (1, 2, 1, 'w'), (1, 3, 2, 't')], &first, &[1, 2], &[]),
            (
                "torn with whole ones behind: not acknowledged, so not believed",
                &[(1, 1, 0, 'w'), (1, 2, 1, 't'), (1, 3, 1, 'w'), (1, 4, 1, 'w')],
                &first,
                &[1],
                &[],
            ),
            (
                "a bad batch in an acknowledged commit: the others of it count",
                &[(1, 1, 0, 'w'), (1, 2, 1, 'b'), (1, 3, 2, 'w')],
                &first,
                &[1, 2, 3],
                &[],
            ),
            ("a bad batch in the last commit: torn", &[(1, 1, 0, 'w'), (1, 2, 1, 'b')], &first, &[1], &[]),
            (
                "an acknowledged one unreadable: lost, what follows counts",
                &[(1, 1, 0, 'w'), (1, 3, 2, 'w'), (1, 4, 3, 'w')],
                &first,
                &[1, 3, 4],
                &[2],
            ),
            ("told by a torn one that it was acknowledged", &[(1, 1, 0, 'w'), (1, 3, 2, 't')], &first, &[1], &[2]),
            (
                "left of an earlier lap",
                &[(1, 1, 0, 'w'), (1, 11, 9, 'w'), (1, 12, 10, 'w')],
                &known(11, &[], (1, 1), true),
                &[11, 12],
                &[],
            ),
            (
                "stale behind a torn one of an earlier start, laid open again: never",
                &[(1, 1, 0, 'w'), (1, 2, 1, 'w'), (1, 3, 2, 'w'), (1, 4, 3, 't'), (1, 5, 3, 'w')],
                &second,
                &[1, 2, 3],
                &[],
            ),
            (
                "a new start wrote over the torn one; the stale one behind it has the number that follows nothing",
                &[(1, 1, 0, 'w'), (1, 2, 1, 'w'), (1, 3, 2, 'w'), (2, 6, 3, 'w'), (1, 5, 3, 'w')],
                &second,
                &[1, 2, 3, 6],
                &[],
            ),
            (
                "of an earlier start, acknowledged then, gone now",
                &[(1, 1, 0, 'w'), (1, 3, 2, 'w')],
                &second,
                &[1, 3],
                &[2],
            ),
            (
                "an older checkpoint: the newer start is known by its headers",
                &[(1, 2, 1, 'w'), (1, 3, 2, 'w'), (1, 4, 3, 'w'), (2, 6, 3, 'w'), (2, 7, 6, 'w')],
                &known(1, &[], (1, 1), false),
                &[2, 3, 6, 7],
                &[],
            ),
            (
                "an older checkpoint, and the first commits of a start are gone: they may have been given up",
                &[(2, 7, 3, 'w'), (2, 8, 6, 'w')],
                &known(6, &[(1, 1, 3)], (2, 6), false),
                &[7, 8],
                &[],
            ),
            (
                "one before it counts, so they have not been: they were not written",
                &[(1, 2, 1, 'w'), (1, 3, 2, 'w'), (2, 7, 3, 'w'), (2, 8, 3, 'w')],
                &known(1, &[(1, 1, 3)], (2, 6), false),
                &[2, 3],
                &[],
            ),
            (
                "one that need not count stands before it in its file: the same",
                &[(1, 3, 2, 'w'), (2, 7, 3, 'w')],
                &known(6, &[(1, 1, 3)], (2, 6), false),
                &[],
                &[],
            ),
            (
                "they have not been given up, and were acknowledged: lost",
                &[(1, 3, 2, 'w'), (2, 7, 3, 'w'), (2, 8, 6, 'w')],
                &known(3, &[(1, 1, 3)], (2, 6), false),
                &[3, 7, 8],
                &[6],
            ),
        ];
        for (name, rows, known, accepted, lost) in cases {
            let found = candidates(rows);
            let selection = select(&found, known);
            let seqs: Vec<u64> = selection.accepted.iter().map(|i| found[*i].header.seq).collect();
            assert_eq!((seqs.as_slice(), selection.lost.as_slice()), (*accepted, *lost), "{name}");
        }
    }
}
