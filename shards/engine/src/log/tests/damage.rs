//! Flipped bits and failed writes: never served, never silent, and dear only to the partition they hit.

use super::*;

#[test]
fn damage_to_an_acknowledged_commit_fails_only_whom_it_concerns() {
    let mut node = Node::start(Disk::default(), 0, 1, 3, LogConfig::default());
    for partition in [0, 1, 0, 2, 1, 0] {
        node.append(partition, 1, 300).unwrap();
        node.run();
    }
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &node.disk.files[path]);
    // A bit in the records of partition 0's second batch.
    let at = commits[2].offset as usize + commits[2].body.entries[0].batch_at + 100;
    let mut disk = node.disk.clone();
    disk.files.get_mut(path).unwrap()[at] ^= 4;
    let mut again = Node::start(disk, 0, 1, 3, LogConfig::default());
    assert!(again.p(0).failed().unwrap().contains("journal/g1x1/s0/j0"), "{:?}", again.p(0).failed());
    assert!(matches!(again.append(0, 1, 100), Err(AppendError::Storage(_))));
    assert_eq!(again.read_all(1, 0).unwrap().len(), 2);
    assert_eq!(again.read_all(2, 0).unwrap().len(), 1);
    // The header of partition 2's only commit: it may have held anything, so those without a later batch are in doubt.
    let mut disk = node.disk.clone();
    disk.files.get_mut(path).unwrap()[commits[3].offset as usize + 20] ^= 4;
    let again = Node::start(disk, 0, 1, 3, LogConfig::default());
    assert_eq!([0, 1, 2].map(|p| again.p(p).failed().is_some()), [false, false, true]);
}

#[test]
fn damage_to_a_segment_is_seen_and_never_served() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    for i in 0..400 {
        node.append(i % 2, 1, 5000).unwrap();
        node.run();
    }
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    let path = format!("partitions/{}/00000000000000000000.log", folder_name(TOPIC, 0));
    node.disk.files.get_mut(&path).unwrap()[300_000] ^= 1;
    assert!(matches!(node.read_all(0, 0), Err(ReadError::Storage(reason)) if reason.contains(&path)));
    assert!(matches!(node.append(0, 1, 100), Err(AppendError::Storage(_))));
    assert_eq!(node.read_all(1, 0).unwrap().len(), 200);
}

#[test]
fn a_damaged_checkpoint_is_made_up_for_by_the_segments() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig { segment_bytes: 100_000, ..LogConfig::default() });
    for i in 0..600 {
        node.append_as(i % 2, 1, 3000, (9, 0, i / 2)).unwrap();
        node.run();
    }
    let names = ["checkpoint-a", "checkpoint-b"].map(|n| format!("journal/g1x1/s0/{n}"));
    for damaged in [&names[..1], &names[1..], &names[..]] {
        let mut disk = node.disk.clone();
        for name in damaged {
            disk.files.get_mut(name).unwrap()[60] ^= 1;
        }
        let mut again = Node::start(disk, 0, 1, 2, LogConfig::default());
        for p in 0..2 {
            assert_eq!(again.read_all(p, 0).unwrap().len(), 300, "{damaged:?}");
            let repeat = again.append_as(p, 1, 3000, (9, 0, 298));
            assert!(matches!(repeat, Err(AppendError::Duplicate { base_offset: 298, .. })), "{repeat:?}");
            assert_eq!(again.append_as(p, 1, 3000, (9, 0, 300)).unwrap().base_offset, 300);
        }
        again.run();
        let mut again = Node::start(again.disk, 0, 1, 2, LogConfig::default());
        assert_eq!(again.read_all(0, 0).unwrap().len(), 301, "{damaged:?}");
    }
}

#[test]
fn after_a_failed_journal_write_nothing_is_appended_and_the_rest_is_served() {
    for sync in [false, true] {
        let tier = if sync { Tier::Written } else { Tier::Flushed };
        let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { tier, ..LogConfig::default() });
        node.append(0, 1, 100).unwrap();
        node.run();
        if sync {
            // A flushed batch behind one that was only written has to wait for a sync.
            let ix = node.ix(0);
            node.log.configure(ix, LogConfig::default());
            node.fault = |what| Some(if matches!(what, DiskOp::Sync { .. }) { Err(DiskErrorKind::Io) } else { Ok(()) });
        } else {
            node.fault =
                |what| Some(if matches!(what, DiskOp::Write { .. }) { Err(DiskErrorKind::Io) } else { Ok(()) });
        }
        node.append(0, 1, 100).unwrap();
        node.run();
        assert!(node.events.iter().any(|e| matches!(e, LogEvent::JournalFailed { .. })));
        assert!(matches!(node.append(0, 1, 100), Err(AppendError::Storage(_))));
        assert_eq!(node.p(0).high_watermark(), 1);
        assert_eq!(node.read_all(0, 0).unwrap(), [(0, 100)]);
    }
}
