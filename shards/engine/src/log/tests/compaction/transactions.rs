//! Compaction and transactions: what was aborted goes and hides nothing, ends stay as long as they mean something, and no crash shows what was aborted.

use super::*;
use crate::producers::Verified;

impl Node {
    /// Appends a batch of a producer's transaction.
    fn put_in_txn(&mut self, producer: (i64, i16, i32), pairs: &[(&str, &str)]) {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.producer(producer.0, producer.1, producer.2);
        builder.attributes(0x10);
        for (key, value) in pairs {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            builder.push(BatchRecord { timestamp: self.now.wall_ms, key, value, headers: &[] });
        }
        let batch = builder.finish();
        let info = batch::header(&batch).expect("made so");
        let ix = self.ix(0);
        if let Err(AppendError::Unverified { guard }) = self.log.append(self.now, ix, &batch, &info, 3) {
            let verified = Some(Verified { guard, epoch_rises: false });
            self.log.append_verified(self.now, ix, &batch, &info, 3, verified).expect("there is room");
        }
        self.run();
    }

    fn finish(&mut self, producer: (i64, i16), committed: bool) {
        let ix = self.ix(0);
        let end = TxnEnd { committed, coordinator_epoch: 1 };
        self.log.append_end(self.now, ix, producer, end, 1, 3).expect("there is room");
        self.run();
    }

    /// What a reader of what is committed keeps, as clients go about it; and the offsets of the ends it met.
    fn committed(&mut self) -> (Vec<Kept>, Vec<i64>) {
        let mut aborted = self.p(0).producers.transactions().aborted_in(0, self.p(0).last_stable());
        aborted.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
        let mut hidden = std::collections::BTreeSet::new();
        let (mut seen, mut ends) = (Vec::new(), Vec::new());
        for bytes in self.batches(0) {
            let info = batch::header(&bytes).expect("a batch");
            let last_offset = info.last_offset();
            while let Some((id, _)) = aborted.pop_if(|(_, first)| *first <= last_offset) {
                hidden.insert(id);
            }
            if info.is_control() {
                if info.end.is_some_and(|end| !end.committed) {
                    hidden.remove(&info.producer_id);
                }
                ends.extend(info.end.map(|_| info.base_offset));
                continue;
            }
            if info.is_transactional() && hidden.contains(&info.producer_id) {
                continue;
            }
            let mut scratch = Vec::new();
            for record in records(&bytes, &mut scratch).expect("a batch") {
                let record = record.expect("a record");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
                let key = record.key.map(text).unwrap_or_default();
                if !key.starts_with("fill") {
                    seen.push((record.offset, key, record.value.map(text)));
                }
            }
        }
        (seen, ends)
    }
}

fn quick() -> LogConfig {
    let compact = Compaction { dirty_ratio_ppm: 0, delete_retention_ms: 60_000, ..Compaction::default() };
    LogConfig { compact: Some(compact), ..compacted() }
}

#[test]
fn what_was_aborted_goes_and_hides_nothing() {
    let mut node = start(Disk::default(), quick());
    node.put(Codec::None, NOBODY, &[("a", Some("1"))]);
    node.put_in_txn((1, 0, 0), &[("a", "aborted"), ("b", "aborted")]);
    node.finish((1, 0), false);
    node.put_in_txn((2, 0, 0), &[("c", "1")]);
    node.finish((2, 0), true);
    // Producers go on, so that what they did here is not their last.
    node.put_in_txn((1, 0, 2), &[("d", "1")]);
    node.put_in_txn((2, 0, 1), &[("d", "2")]);
    node.finish((1, 0), true);
    node.finish((2, 0), true);
    let all = [(0, "a", Some("1")), (4, "c", Some("1")), (6, "d", Some("1")), (7, "d", Some("2"))];
    assert_eq!(node.committed(), (kept(&all), vec![3, 5, 8, 9]));
    node.fill(60);
    node.pass(1000);
    let want = kept(&[(0, "a", Some("1")), (4, "c", Some("1")), (7, "d", Some("2"))]);
    assert_eq!(
        node.committed(),
        (want.clone(), vec![3, 5, 8, 9]),
        "an end stays for as long as its batches were there"
    );
    assert!(node.kept(0).iter().all(|(_, _, value)| value.as_deref() != Some("aborted")), "nothing of it is left");
    assert_eq!(node.p(0).producers.transactions().aborted().len(), 0, "so it need not be known");
    // The next pass finds nothing of the first transaction; its end goes when its time has come.
    node.fill(60);
    node.pass(1000);
    assert_eq!(node.committed(), (want.clone(), vec![3, 5, 8, 9]));
    let batches = node.batches(3);
    let header = BatchHeader::decode(&batches[0]).unwrap();
    assert!(header.base_offset == 3 && header.is_control() && header.has_delete_horizon());
    node.pass(70_000);
    node.fill(60);
    node.pass(1000);
    assert_eq!(node.committed(), (want.clone(), vec![5, 8, 9]), "of the others something is left");
    let mut disk = node.disk.clone();
    for (_, bytes) in disk.files.iter_mut().filter(|(path, _)| path.contains("/checkpoint-")) {
        bytes[20] ^= 1;
    }
    for disk in [node.disk, disk] {
        let mut node = start(disk, quick());
        assert_eq!(node.committed(), (want.clone(), vec![5, 8, 9]));
        assert_eq!(node.p(0).last_stable(), node.p(0).high_watermark());
    }
}

#[test]
fn nothing_behind_an_open_transaction_is_compacted() {
    let mut node = start(Disk::default(), quick());
    node.put(Codec::None, NOBODY, &[("a", Some("1"))]);
    node.put_in_txn((1, 0, 0), &[("a", "2")]);
    node.fill(60);
    node.pass(3000);
    assert_eq!((node.kept(0).len(), node.log.metrics().compaction_runs), (2, 0));
    node.finish((1, 0), true);
    node.fill(30);
    node.pass(3000);
    assert_eq!(node.committed().0, kept(&[(1, "a", Some("2"))]));
}

fn scene(node: &mut Node) {
    for round in 0..6 {
        for (id, committed) in [(1, round % 2 == 0), (2, round % 2 == 1)] {
            let value = if committed { format!("{round}") } else { "aborted".to_owned() };
            node.put_in_txn((id, 0, round), &[(&format!("key {id}"), &value)]);
        }
        node.finish((1, 0), round % 2 == 0);
        node.finish((2, 0), round % 2 == 1);
    }
    node.fill(60);
}

#[test]
fn no_crash_shows_what_was_aborted() {
    let steps = {
        let mut node = start(Disk::default(), quick());
        scene(&mut node);
        node.done.clear();
        node.pass(3000);
        node.done.len()
    };
    let mut left = std::collections::BTreeSet::new();
    for step in 0..steps {
        for lost in [0, 1, 2, 3] {
            let mut node = start(Disk::default(), quick());
            scene(&mut node);
            let mut disk = crashed_after(node, step);
            for (path, bytes) in disk.files.iter_mut() {
                let (a, b) = (path.ends_with("/checkpoint-a"), path.ends_with("/checkpoint-b"));
                if (a && lost & 1 > 0) || (b && lost & 2 > 0) {
                    bytes[20] ^= 1;
                }
            }
            let mut node = start(disk, quick());
            assert_eq!(node.p(0).failed(), None, "step {step}, lost {lost}");
            for again in [false, true] {
                let (seen, _) = node.committed();
                left.insert(seen.len());
                assert!(seen.iter().all(|(_, _, value)| value.as_deref() != Some("aborted")), "step {step}: {seen:?}");
                let last: BTreeMap<_, _> = seen.into_iter().map(|(_, key, value)| (key, value)).collect();
                let want = [("key 1", "4"), ("key 2", "5")];
                let want = want.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
                assert_eq!(last, want.into(), "step {step}, lost {lost}");
                assert_eq!(node.p(0).last_stable(), node.p(0).high_watermark(), "step {step}, lost {lost}");
                if !again {
                    node.fill(60);
                    node.pass(10_000);
                }
            }
        }
    }
    assert!(left.len() > 1, "old and new ones were met: {left:?}");
}
