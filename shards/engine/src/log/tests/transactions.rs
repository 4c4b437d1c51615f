//! Transactions in a partition: what holds readers back, what is fenced, and that every crash leaves what was known before it.

use super::*;
use crate::producers::Verified;

/// What a partition knows of transactions: last stable offset, producers (id, epoch, coordinator epoch, first offset), aborted ones.
type Known = (i64, Vec<(i64, i16, i32, Option<i64>)>, Vec<(i64, i64, i64, i64)>);

/// Kafka's fetch ranges: from, up to, the aborted transactions in it, what it shows.
type Range<'a> = (i64, i64, &'a [(i64, i64)], &'a str);
/// Producer, epoch of its end, of the coordinator, transaction version, what becomes of it, what it shows.
type End<'a> = (i64, i16, i32, i16, Result<(), AppendError>, &'a str);

impl Node {
    /// Appends a batch of a transaction, asking nobody where somebody has to be asked.
    fn in_txn(&mut self, bytes: usize, producer: (i64, i16, i32)) -> Result<Appended, AppendError> {
        let mut batch = make_batch(1, bytes, producer, self.now.wall_ms);
        batch[22] |= 0x10;
        floe_wire::batch::seal(&mut batch);
        let info = batch::header(&batch).expect("made so");
        let ix = self.ix(0);
        match self.log.append(self.now, ix, &batch, &info, 3) {
            Err(AppendError::Unverified { guard }) => {
                let verified = Some(Verified { guard, epoch_rises: false });
                self.log.append_verified(self.now, ix, &batch, &info, 3, verified)
            }
            other => other,
        }
    }

    fn end_txn(&mut self, producer: (i64, i16), committed: bool, version: i16) -> Result<Appended, AppendError> {
        self.end_by(producer, TxnEnd { committed, coordinator_epoch: 1 }, version)
    }

    fn end_by(&mut self, producer: (i64, i16), end: TxnEnd, version: i16) -> Result<Appended, AppendError> {
        let ix = self.ix(0);
        self.log.append_end(self.now, ix, producer, end, version, 3)
    }

    fn known(&self) -> Known {
        let p = self.p(0);
        let producers = p.producers.sorted().into_iter();
        let producers = producers.map(|(id, p)| (id, p.epoch, p.coordinator_epoch, p.txn_first_offset)).collect();
        let aborted = p.producers.transactions().aborted().iter();
        let aborted = aborted.map(|a| (a.producer_id, a.first_offset, a.last_offset, a.last_stable)).collect();
        (p.last_stable(), producers, aborted)
    }
}

fn start(disk: Disk) -> Node {
    Node::start(disk, 0, 1, 1, LogConfig { segment_bytes: 150_000, ..LogConfig::default() })
}

#[test]
fn what_is_open_holds_the_last_stable_offset_back() {
    let mut node = start(Disk::default());
    node.append(0, 1, 100).unwrap();
    node.in_txn(100, (1, 0, 0)).unwrap();
    node.in_txn(100, (2, 0, 0)).unwrap();
    node.run();
    assert_eq!((node.p(0).last_stable(), node.p(0).high_watermark()), (1, 3));
    node.end_txn((1, 0), true, 1).unwrap();
    assert_eq!(node.p(0).last_stable(), 1, "the end is not durable");
    node.run();
    assert_eq!(node.p(0).last_stable(), 2, "the other one is open");
    node.in_txn(100, (1, 0, 1)).unwrap();
    node.end_txn((2, 0), false, 1).unwrap();
    node.run();
    assert_eq!((node.p(0).last_stable(), node.p(0).high_watermark()), (4, 6));
    node.end_txn((1, 0), false, 1).unwrap();
    node.run();
    assert_eq!(node.p(0).last_stable(), 7);
    let txns = node.p(0).producers.transactions();
    // (2: offsets 2 to 5; 1: offsets 4 to 6).
    let rows: &[Range] = &[
        (0, 2, &[], "before both"),
        (0, 3, &[(2, 2)], "up to the second's first"),
        (0, 7, &[(2, 2), (1, 4)], "all"),
        (5, 7, &[(2, 2), (1, 4)], "from the first's end"),
        (6, 7, &[(1, 4)], "behind it"),
        (7, 9, &[], "behind both"),
    ];
    for (from, up_to, expected, why) in rows {
        assert_eq!(txns.aborted_in(*from, *up_to), *expected, "{why}");
    }
}

/// Kafka's ProducerAppendInfo, row by row. Producer 1 has a transaction open at epoch 3; 2 ended one at epoch 3, by coordinator 5; 9 is unknown.
#[test]
fn ends_are_fenced_by_both_epochs() {
    let fenced = Err(AppendError::InvalidProducerEpoch { known: 3, got: 2 });
    let late = Err(AppendError::InvalidProducerEpoch { known: 3, got: 3 });
    let coordinator = Err(AppendError::CoordinatorFenced { known: 5, got: 4 });
    let rows: &[End] = &[
        (1, 3, 0, 0, Ok(()), "version 0: the epoch of the records"),
        (1, 3, 0, 1, Ok(()), "version 1: the epoch of the records"),
        (1, 2, 0, 1, fenced.clone(), "an older epoch"),
        (1, 4, 0, 1, Ok(()), "an abort that fences"),
        (1, 3, 0, 2, late, "version 2: the epoch has to be higher"),
        (1, 4, 0, 2, Ok(()), "version 2: it is"),
        (2, 3, 5, 2, Ok(()), "version 2, nothing open: a repeat"),
        (2, 2, 5, 2, fenced, "version 2: an older epoch"),
        (2, 3, 4, 1, coordinator, "an older coordinator"),
        (2, 3, 6, 1, Ok(()), "a newer one"),
        (9, 0, 0, 2, Ok(()), "a producer that is not known"),
    ];
    for (id, epoch, coordinator_epoch, version, expected, why) in rows {
        let mut node = start(Disk::default());
        node.in_txn(100, (1, 3, 0)).unwrap();
        node.in_txn(100, (2, 3, 0)).unwrap();
        node.end_by((2, 3), TxnEnd { committed: true, coordinator_epoch: 5 }, 1).unwrap();
        node.run();
        let end = TxnEnd { committed: true, coordinator_epoch: *coordinator_epoch };
        let result = node.end_by((*id, *epoch), end, *version);
        assert_eq!(result.as_ref().map(|_| ()), expected.as_ref().map(|_| ()), "{why}");
        assert_eq!(result.err(), expected.clone().err(), "{why}");
    }
}

#[test]
fn batches_fit_their_transaction() {
    let mut node = start(Disk::default());
    let ix = node.ix(0);
    let batch = |transactional: bool, producer| {
        let mut batch = make_batch(1, 100, producer, 0);
        batch[22] |= if transactional { 0x10 } else { 0 };
        floe_wire::batch::seal(&mut batch);
        let info = batch::header(&batch).expect("made so");
        (batch, info)
    };
    let append = |node: &mut Node, transactional, producer, verified| {
        let (batch, info) = batch(transactional, producer);
        node.log.append_verified(node.now, ix, &batch, &info, 3, verified).map(|appended| appended.base_offset)
    };
    let v = |guard, epoch_rises| Some(Verified { guard, epoch_rises });
    let out = |expected, got| Err(AppendError::OutOfOrderSequence { expected, got });
    let not_in = |result: Result<i64, AppendError>| {
        assert!(matches!(result, Err(AppendError::NotInTransaction(_))), "{result:?}")
    };
    let unverified = |guard| Err(AppendError::Unverified { guard });
    assert_eq!(append(&mut node, true, (1, 0, 0), None), unverified(1));
    assert_eq!(
        append(&mut node, true, (1, 0, 1), None),
        unverified(1),
        "sent together: asked for before a gap is seen"
    );
    assert_eq!(append(&mut node, true, (1, 0, 1), v(1, false)), out(0, 1), "the lowest comes first");
    assert_eq!(append(&mut node, true, (1, 0, 0), v(2, false)), unverified(1), "another guard: asked about again");
    assert_eq!(append(&mut node, true, (1, 0, 0), v(1, false)), Ok(0));
    assert_eq!(append(&mut node, true, (1, 0, 1), v(1, false)), Ok(1), "its transaction is open");
    assert_eq!(append(&mut node, true, (1, 0, 2), None), Ok(2), "and stays so");
    not_in(append(&mut node, false, (1, 0, 3), None));
    // Delayed past the end of its transaction, with the word of its coordinator: it opens nothing, but is asked about again.
    assert_eq!(append(&mut node, true, (2, 0, 0), None), unverified(2));
    node.end_txn((2, 1), false, 2).unwrap();
    assert_eq!(append(&mut node, true, (2, 1, 0), v(2, true)), unverified(3));
    assert_eq!(
        append(&mut node, true, (2, 0, 0), v(2, true)),
        Err(AppendError::InvalidProducerEpoch { known: 1, got: 0 })
    );
    assert_eq!(append(&mut node, true, (2, 1, 5), None), unverified(3));
    assert_eq!(append(&mut node, true, (2, 1, 5), v(3, true)), out(0, 5), "the first of an epoch that an end began");
    assert_eq!(append(&mut node, true, (3, 0, 7), None), unverified(4));
    assert_eq!(append(&mut node, true, (3, 0, 7), v(4, true)), out(0, 7), "KIP-890: nothing is known, so 0");
    assert_eq!(append(&mut node, true, (3, 0, 7), v(4, false)), Ok(4), "before it any sequence was taken");
    // A repeat from before the window, in the next transaction of the same epoch: nobody waits for it.
    for sequence in 8..24 {
        assert_eq!(append(&mut node, true, (3, 0, sequence), None), Ok(i64::from(sequence) - 3));
    }
    node.end_txn((3, 0), true, 1).unwrap();
    assert_eq!(append(&mut node, true, (3, 0, 8), None), out(24, 8));
    assert_eq!(append(&mut node, true, (3, 0, 24), None), unverified(5));
    assert_eq!(append(&mut node, true, (3, 0, 8), None), out(24, 8));
    assert_eq!(append(&mut node, true, (3, 0, 24), v(5, false)), Ok(22));
    // The end of the transaction before comes while the coordinator is asked about the next one, which has the epoch of that end: offsets of groups,
    // which are asked about once.
    assert_eq!(append(&mut node, true, (4, 1, -1), None), unverified(6));
    node.end_txn((4, 1), true, 2).unwrap();
    assert_eq!(append(&mut node, true, (4, 1, -1), v(6, true)), Ok(24), "it was not the end of this one");
    node.end_txn((4, 2), true, 2).unwrap();
    not_in(append(&mut node, true, (4, 2, -1), v(6, true)));
    // Before KIP-890 an end has the epoch of its records.
    assert_eq!(append(&mut node, true, (5, 1, -1), None), unverified(7));
    node.end_txn((5, 1), true, 1).unwrap();
    not_in(append(&mut node, true, (5, 1, -1), v(7, false)));
}

/// What a coordinator appends itself, such as offsets of groups, has no sequence.
#[test]
fn batches_without_sequence_are_held_to_their_epoch_alone() {
    let mut node = start(Disk::default());
    for _ in 0..20 {
        node.in_txn(100, (1, 2, -1)).unwrap();
    }
    node.run();
    assert_eq!((node.p(0).last_stable(), node.p(0).high_watermark()), (0, 20));
    assert_eq!(node.in_txn(100, (1, 1, -1)), Err(AppendError::InvalidProducerEpoch { known: 2, got: 1 }));
    node.end_txn((1, 3), true, 2).unwrap();
    node.run();
    assert_eq!(node.p(0).last_stable(), 21);
    assert_eq!(node.in_txn(100, (1, 2, -1)), Err(AppendError::InvalidProducerEpoch { known: 3, got: 2 }));
}

/// One step of a history: batches of five producers in and outside transactions, ends of all kinds, sizes that settle, lap and close segments.
struct History {
    state: u64,
    /// Epoch, next sequence, open.
    producers: [(i16, i32, bool); 5],
}

impl History {
    fn new() -> History {
        History { state: 0x9e37_79b9_7f4a_7c15, producers: [(0, 0, false); 5] }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 33) % below
    }

    fn step(&mut self, node: &mut Node) {
        let at = self.random(5) as usize;
        let bytes = 100 + self.random(8000) as usize;
        let (kind, committed) = (self.random(8), self.random(2) == 0);
        let (epoch, sequence, open) = self.producers[at];
        let id = at as i64 + 1;
        let done = match (kind, open) {
            (0..2, true) => {
                // Some transactions go on for long.
                self.producers[at] = (epoch + i16::from(id % 2 == 0), if id % 2 == 0 { 0 } else { sequence }, false);
                node.end_txn((id, self.producers[at].0), committed, if id % 2 == 0 { 2 } else { 1 })
            }
            (2, false) => {
                self.producers[at].1 += 1;
                node.append_as(0, 1, bytes, (id, epoch, sequence))
            }
            (3, _) => node.append(0, 1, bytes),
            _ => {
                self.producers[at] = (epoch, sequence + 1, true);
                node.in_txn(bytes, (id, epoch, sequence))
            }
        };
        done.unwrap_or_else(|error| panic!("producer {id}, {:?}: {error:?}", self.producers[at]));
    }
}

#[test]
fn every_crash_leaves_what_was_known() {
    let (mut node, mut history) = (start(Disk::default()), History::new());
    for step in 0..600 {
        history.step(&mut node);
        let unwritten = node.disk.clone();
        let before = start(unwritten).known();
        node.run();
        let known = node.known();
        let mut again = start(node.disk.clone());
        assert_eq!(again.known(), known, "step {step}");
        again.run();
        assert_eq!(again.known().0, known.0);
        // What had not been written was not there, and then is.
        assert!(before.0 <= known.0, "step {step}");
        // A checkpoint lost: the one before, the segments and the journal say the same.
        let mut checkpoints: Vec<_> =
            node.disk.files.keys().filter(|path| path.contains("checkpoint")).cloned().collect();
        checkpoints.retain(|path| step % 7 == 0 || path.ends_with(if step % 2 == 0 { "-a" } else { "-b" }));
        let mut damaged = node.disk.clone();
        for path in checkpoints {
            damaged.files.get_mut(&path).unwrap()[40] ^= 1;
        }
        let again = start(damaged);
        assert_eq!(again.p(0).failed(), None, "step {step}: {:?}", again.lines);
        assert_eq!(again.known(), known, "step {step} without a checkpoint: {:?}", again.lines);
        if step % 50 == 49 {
            node = start(node.disk);
        }
    }
    assert!(node.p(0).segments.len() > 3 && node.known().2.len() > 20, "the history was long enough");
}

#[test]
fn an_end_that_was_not_written_is_not_known_after_the_crash() {
    let mut node = start(Disk::default());
    node.in_txn(100, (1, 0, 0)).unwrap();
    node.run();
    let open = node.known();
    // Everything else is settled and in a checkpoint; the end, with its higher epoch, never gets to the disk.
    for _ in 0..40 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    node.fault = |what| match what {
        DiskOp::Write { file, .. } if file.get::<String>().expect("ours").starts_with("journal") => None,
        _ => Some(Ok(())),
    };
    node.end_txn((1, 1), false, 2).unwrap();
    node.log.settle.checkpoint_wanted = true;
    node.run();
    assert!(node.p(0).settled_end > 1);
    let mut node = start(node.disk);
    assert_eq!(node.known(), open);
    node.end_txn((1, 1), false, 2).unwrap();
    node.run();
    assert_eq!(node.p(0).last_stable(), node.p(0).high_watermark());
}

#[test]
fn open_transactions_are_not_forgotten_and_aborted_ones_go_with_their_records() {
    let mut node = start(Disk::default());
    node.in_txn(100, (1, 0, 0)).unwrap();
    node.end_txn((1, 0), false, 1).unwrap();
    node.in_txn(100, (2, 0, 0)).unwrap();
    node.append_as(0, 1, 100, (3, 0, 0)).unwrap();
    node.run();
    node.now.wall_ms += 100 * 86_400_000;
    node.now.mono_ns += 2_000_000_000;
    let ids = |node: &Node| node.p(0).producers.sorted().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(&node), [1, 2, 3]);
    node.log.housekeeping(node.now);
    assert_eq!(ids(&node), [2], "what is open stays");
    let ix = node.ix(0);
    assert_eq!(node.known().2.len(), 1);
    node.log.delete_records(node.now, ix, 1).unwrap();
    assert_eq!(node.known().2.len(), 1, "its end may still be read");
    node.log.delete_records(node.now, ix, -1).unwrap();
    node.run();
    assert_eq!(node.known(), (4, vec![(2, 0, -1, Some(2))], vec![]), "what is open holds back nothing that is deleted");
    let node = start(node.disk);
    assert_eq!(node.known(), (4, vec![(2, 0, -1, Some(2))], vec![]));
}

#[test]
fn ends_are_durable_in_every_tier() {
    for tier in [Tier::Written, Tier::Memory] {
        let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { tier, ..LogConfig::default() });
        node.in_txn(100, (1, 0, 0)).unwrap();
        let end = node.end_txn((1, 0), true, 1).unwrap();
        assert!(end.wait.is_some(), "{tier:?}");
        let before = node.log.metrics().commits_flushed;
        node.run();
        assert_eq!(node.log.metrics().commits_flushed, before + 1, "{tier:?}");
        assert_eq!(node.p(0).last_stable(), 2, "{tier:?}");
    }
}

/// Many partitions together are bounded as well; what is open goes on, and room comes back with what is deleted.
#[test]
fn a_shard_remembers_only_so_many() {
    let mut node = start(Disk::default());
    node.in_txn(100, (1, 0, 0)).unwrap();
    node.in_txn(100, (2, 0, 0)).unwrap();
    node.end_txn((2, 0), false, 1).unwrap();
    node.run();
    assert_eq!(node.log.transactions, 2);
    node.log.transactions = crate::limits::ABORTED_SHARD_MAX;
    assert_eq!(node.in_txn(100, (3, 0, 0)), Err(AppendError::TooManyTransactions));
    assert!(node.in_txn(100, (1, 0, 1)).is_ok(), "it is open already");
    assert!(node.append(0, 1, 100).is_ok(), "others write");
    node.end_txn((1, 0), true, 1).unwrap();
    assert!(node.in_txn(100, (3, 0, 0)).is_ok(), "a commit is remembered no longer");
    node.end_txn((3, 0), false, 1).unwrap();
    node.run();
    node.log.transactions = crate::limits::ABORTED_SHARD_MAX + 1;
    let ix = node.ix(0);
    node.log.delete_records(node.now, ix, -1).unwrap();
    assert_eq!(node.log.transactions, crate::limits::ABORTED_SHARD_MAX - 1, "with what is deleted");
    node.log.housekeeping(node.now);
    assert_eq!(node.log.transactions, 0, "counted");
}
