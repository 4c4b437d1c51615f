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

type Fault = fn(&DiskOp) -> Option<Result<(), DiskErrorKind>>;

/// A disk without space for anything that is not there yet.
fn no_space(what: &DiskOp) -> Option<Result<(), DiskErrorKind>> {
    let full = match what {
        DiskOp::WriteZeros { .. } | DiskOp::ReplaceFile { .. } => true,
        DiskOp::Write { file, .. } => file.get::<String>().expect("ours").starts_with("partitions/"),
        _ => false,
    };
    Some(if full { Err(DiskErrorKind::NoSpace) } else { Ok(()) })
}

/// One that has taken the journal and nothing more.
fn no_space_for_segments(what: &DiskOp) -> Option<Result<(), DiskErrorKind>> {
    if matches!(what, DiskOp::WriteZeros { .. }) { Some(Ok(())) } else { no_space(what) }
}

/// One with space for small files only: checkpoints can be written.
fn no_space_for_data(what: &DiskOp) -> Option<Result<(), DiskErrorKind>> {
    if matches!(what, DiskOp::ReplaceFile { .. }) { Some(Ok(())) } else { no_space_for_segments(what) }
}

/// Reading from clients may only stop for what will come by itself. With a full disk that is nothing: whoever would free space has to be heard.
#[test]
fn a_full_disk_refuses_appends_and_never_stops_the_reading() {
    for fault in [no_space as Fault, no_space_for_segments, no_space_for_data] {
        let mut node = Node::start(Disk::default(), 0, 1, 4, LogConfig::default());
        node.fault = fault;
        let mut appended = 0;
        for _ in 0..5 {
            // Copies carried forward may begin the file that clients cannot begin, so there may be a little room again.
            while node.append(appended % 4, 1, 8_000).is_ok() {
                appended += 1;
                node.run();
                assert!(!node.log.pressure().stalled, "after {appended}: nothing is under way that makes room");
            }
            // The timer tries again, and that is no reason to stop either.
            node.now.mono_ns += 1_100_000_000;
            node.log.timer(node.now, &mut node.fx);
            assert!(node.fx.iter().any(|effect| matches!(effect, Effect::Disk { .. })), "it tries");
            assert!(!node.log.pressure().stalled);
            node.run();
        }
        // There is room again: all goes on with the timer's next look.
        node.fault = |_| Some(Ok(()));
        node.now.mono_ns += 1_100_000_000;
        node.log.timer(node.now, &mut node.fx);
        node.run();
        for i in 0..400 {
            node.append(i % 4, 1, 8_000).unwrap();
            node.run();
        }
        let all: usize = (0..4).map(|p| node.read_all(p, 0).unwrap().len()).sum();
        assert_eq!(all as i32, appended + 400);
    }
}

/// While nothing can settle, memory is bounded by refusing as well, where the journal has more room than memory.
#[test]
fn a_full_disk_does_not_fill_the_memory() {
    let settings = LogSettings { cache_bytes: 256 << 10, ..small() };
    let mut node = Node::start_with(settings, Disk::default(), 0, 1, 4, LogConfig::default());
    for i in 0..60 {
        node.append(i % 4, 1, 8_000).unwrap();
        node.run();
    }
    node.fault = no_space;
    let refused = (0..400).any(|i| {
        let refused = node.append(i % 4, 1, 8_000) == Err(AppendError::Full);
        node.run();
        refused
    });
    assert!(refused && node.log.pressure().memory_bytes < 400 << 10, "{:?}", node.log.pressure());
}

/// Appends to twenty partitions until a round has settled all of them.
fn twenty_settled(node: &mut Node) {
    for i in 0..60 {
        node.append(i % 20, 1, 5000).unwrap();
        node.run();
    }
}

#[test]
fn many_small_pieces_are_synced_together_and_large_ones_alone() {
    let mut node = Node::start(Disk::default(), 0, 1, 20, LogConfig::default());
    twenty_settled(&mut node);
    let count = |node: &Node, what| {
        node.done.iter().filter(|(name, path, _)| *name == what && path.starts_with("partitions/")).count()
    };
    assert!(node.log.metrics().checkpoints > 1 && node.log.metrics().settled_bytes > 0);
    assert!(count(&node, "write") >= 20);
    assert_eq!(count(&node, "sync"), 0);
    assert!((1..=node.log.metrics().settle_rounds as usize).contains(&count(&node, "sync all")));
    let mut again = Node::start(node.disk, 0, 1, 20, LogConfig::default());
    (0..20).for_each(|p| assert_eq!(again.read_all(p, 0).unwrap().len(), 3));

    let mut node = Node::start(Disk::default(), 0, 1, 3, LogConfig::default());
    for i in 0..60 {
        node.append(i % 3, 1, 5000).unwrap();
        node.run();
    }
    assert!(count(&node, "sync") >= 3);
    assert_eq!(count(&node, "sync all"), 0);
}

#[test]
fn of_a_failed_common_sync_no_partition_is_trusted_and_nothing_is_lost() {
    let mut node = Node::start(Disk::default(), 0, 1, 21, LogConfig::default());
    node.fault = |what| Some(if matches!(what, DiskOp::SyncAll { .. }) { Err(DiskErrorKind::Io) } else { Ok(()) });
    for i in 0..60 {
        let _ = node.append(i % 20, 1, 5000);
        node.run();
    }
    let failed = node.events.iter().filter(|e| matches!(e, LogEvent::Failed { .. })).count();
    assert!(failed >= 4, "{failed} partitions failed");
    (0..20).filter(|p| node.p(*p).failed.is_some()).for_each(|p| assert_eq!(node.p(p).settled_end, 0));
    // Who had no part in it goes on.
    node.append(20, 1, 100).unwrap();
    node.run();
    assert_eq!(node.read_all(20, 0).unwrap(), [(0, 100)]);
    let ends: Vec<i64> = (0..20).map(|p| node.p(p).high_watermark()).collect();
    let mut again = Node::start(node.disk, 0, 1, 21, LogConfig::default());
    (0..20).for_each(|p| assert_eq!(again.read_all(p, 0).unwrap().len() as i64, ends[p as usize]));
}

#[test]
fn a_partition_may_be_removed_while_its_sync_with_others_is_under_way() {
    let mut node = Node::start(Disk::default(), 0, 1, 20, LogConfig::default());
    node.fault = |what| (!matches!(what, DiskOp::SyncAll { .. })).then_some(Ok(()));
    twenty_settled(&mut node);
    let ix = node.ix(3);
    let path = format!("partitions/{}", folder_name(TOPIC, 3));
    let there = |node: &Node| node.disk.files.keys().any(|p| p.starts_with(&path));
    assert!(there(&node) && node.p(3).job.is_some());
    node.log.remove(node.now, ix, &mut node.fx);
    node.run();
    assert!(there(&node), "its files go when the sync has ended");
    let mut fx = Vec::new();
    node.log.settle_synced(node.now, Ok(DiskOutput::Done), &mut fx);
    node.fx = fx;
    node.run();
    assert!(!there(&node));
}
