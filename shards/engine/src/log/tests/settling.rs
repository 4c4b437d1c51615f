//! Journal space and what becomes of it.

use super::*;

#[test]
fn idle_partitions_are_carried_and_the_journal_laps() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    node.append(1, 1, 700).unwrap();
    for _ in 0..800 {
        node.append(0, 1, 4000).unwrap();
        node.run();
    }
    assert!(node.log.metrics().carried_bytes >= 700);
    let journal = node.disk.files.iter().filter(|(p, _)| p.starts_with("journal/g1x1/s0/j"));
    assert!(journal.map(|(_, b)| b.len()).sum::<usize>() <= 1 << 20);
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert_eq!(node.read_all(1, 0).unwrap(), [(0, 700)]);
    assert_eq!(node.read_all(0, 0).unwrap().len(), 800);
}

/// More in remainders than the journal can carry: segments are closed to make room, those of the oldest file only, and at once.
#[test]
fn remainders_larger_than_the_journal_do_not_stop_it() {
    let mut node = Node::start(Disk::default(), 0, 1, 100, LogConfig::default());
    for i in 0..3000 {
        let mut refused = 0;
        while node.append(i % 100, 1, 12_000) == Err(AppendError::Full) {
            refused += 1;
            assert!(refused < 4, "only what is under way may be waited for, never the timer (batch {i})");
            node.run();
        }
        node.run();
    }
    let files = node.disk.files.keys().filter(|p| p.ends_with(".log")).count();
    assert!(files < 3000, "{files} segments");
    let mut node = Node::start(node.disk, 0, 1, 100, LogConfig::default());
    for p in 0..100 {
        assert_eq!(node.read_all(p, 0).unwrap().len(), 30, "partition {p}");
    }
}

/// A segment is never closed before the batch whose beginning it holds: a checkpoint counts that beginning as written.
#[test]
fn a_segment_is_not_cut_below_what_the_checkpoint_counts_as_written() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    while node.p(0).written_pos <= node.p(0).settled_pos {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    let (ix, batches) = (node.ix(0), node.p(0).log_end);
    // The segment is full all at once; what closes it is cut off before its checkpoint.
    node.log.configure(ix, LogConfig { segment_bytes: 16_000, ..LogConfig::default() });
    node.fault =
        |what| (!matches!(what, DiskOp::ReplaceFile { path, .. } if path.contains("checkpoint"))).then_some(Ok(()));
    for _ in 0..30 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    assert!(node.done.iter().any(|done| done.0 == "truncate"), "{:?}", node.done);
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    for _ in 0..200 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert!(node.p(0).settled_end > batches + 30);
    assert_eq!(node.read_all(0, 0).unwrap().len() as i64, batches + 230);
}
