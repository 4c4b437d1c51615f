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
    // The whole block of partition 2's only commit: it may have held anything, so those without a later batch are in doubt.
    let mut disk = node.disk.clone();
    disk.files.get_mut(path).unwrap()[commits[3].offset as usize..][..4096].fill(0x33);
    let again = Node::start(disk, 0, 1, 3, LogConfig::default());
    assert_eq!([0, 1, 2].map(|p| again.p(p).failed().is_some()), [false, false, true]);
}

/// A copy carried forward is older than what was appended before it: that it stands behind a damaged place says nothing about its partition.
#[test]
fn a_carried_copy_behind_a_damaged_commit_does_not_clear_its_partition() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    let file = |node: &Node, slot: u32| node.disk.files[&format!("journal/g1x1/s0/j{slot}")].clone();
    let fill = |node: &mut Node| {
        node.append(1, 1, 4000).unwrap();
        node.run();
    };
    // A small batch in the first file, another in the second; then the first file is freed, so its batch is copied behind the other.
    node.append(0, 1, 100).unwrap();
    node.run();
    while node.log.journal.order.len() < 2 {
        fill(&mut node);
    }
    node.append(0, 1, 100).unwrap();
    node.run();
    let (second, place) = (node.log.journal.order[1], node.log.journal.write_pos - 4096);
    while node.log.metrics().carried_bytes == 0 {
        fill(&mut node);
    }
    fill(&mut node);
    assert_eq!(node.log.journal.order[0], second, "the second file is still needed");
    let commits = inspect::journal_file(second, &file(&node, second));
    let appended = commits.iter().find(|c| c.offset == place).expect("the second batch's commit");
    assert_eq!(appended.body.entries[0].header.partition, 0);
    let mut disk = node.disk.clone();
    disk.files.get_mut(&format!("journal/g1x1/s0/j{second}")).unwrap()[place as usize..][..4096].fill(0x33);
    let again = Node::start(disk, 0, 1, 2, LogConfig::default());
    assert_eq!([0, 1].map(|p| again.p(p).failed().is_some()), [true, false], "{:?}", again.lines);
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

/// Three partitions with some batches each, shut down cleanly: everything in the journal is known to have been acknowledged.
fn three_partitions() -> (Disk, Vec<Vec<(i64, usize)>>) {
    let mut node = Node::start(Disk::default(), 0, 1, 4, LogConfig::default());
    let mut expected = vec![Vec::new(); 4];
    for (i, together) in [vec![0, 1], vec![2], vec![1, 0, 1], vec![2, 0], vec![1], vec![0]].iter().enumerate() {
        for p in together {
            let done = node.append(*p, 1 + (i % 3) as i32, 100 + i * 50).unwrap();
            expected[*p as usize].push((done.base_offset, 100 + i * 50));
        }
        node.run();
    }
    node.log.shutdown(node.now, &mut node.fx);
    node.run();
    (node.disk, expected)
}

#[test]
fn a_flipped_byte_anywhere_in_the_journal_costs_one_partition_at_most() {
    let (disk, expected) = three_partitions();
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &disk.files[path]);
    let (mut harmless, mut failed) = (0, 0);
    for commit in &commits {
        for at in 0..commit.header.bytes as usize {
            let mut damaged = disk.clone();
            damaged.files.get_mut(path).unwrap()[commit.offset as usize + at] ^= 0x40;
            let mut node = Node::start(damaged, 0, 1, 4, LogConfig::default());
            let place = format!("commit {}, byte {at}: {:?}", commit.header.seq, node.lines);
            let broken: Vec<i32> = (0..4).filter(|p| node.p(*p).failed().is_some()).collect();
            assert!(broken.len() <= 1, "{place}");
            harmless += usize::from(broken.is_empty());
            failed += broken.len();
            for p in (0..4).filter(|p| !broken.contains(p)) {
                assert_eq!(node.read_all(p, 0).unwrap(), expected[p as usize], "partition {p}, {place}");
            }
            for p in broken {
                assert!(
                    node.lines.iter().any(|l| l.contains(&format!("t-{p}")) && l.contains("accept-loss")),
                    "{place}"
                );
                assert!(matches!(node.append(p, 1, 100), Err(AppendError::Storage(_))));
            }
        }
    }
    assert!(harmless > commits.len() * 100, "commit headers are made up for: {harmless}");
    assert!(failed > 1000, "{failed}");
}

#[test]
fn an_accepted_loss_leaves_everything_else() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    for i in 0..6 {
        for p in 0..2 {
            node.append_as(p, 10, 300, (4, 0, i * 10)).unwrap();
        }
        node.run();
    }
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &node.disk.files[path]);
    let at = commits[2].offset as usize + commits[2].body.entries[0].batch_at + 100;
    node.disk.files.get_mut(path).unwrap()[at] ^= 4;
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert!(node.p(0).failed().is_some());
    // While nobody has decided nothing is given up, also when the journal is used again and again.
    for _ in 0..400 {
        node.append(1, 1, 4000).unwrap();
        node.run();
    }
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert!(node.p(0).failed().unwrap().contains("offset 20 up to 30"), "{:?}", node.p(0).failed());
    node.disk.files.insert("accept-loss".into(), b"other-1\nt-0\n".to_vec());
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert!(node.lines.iter().any(|l| l.contains("t-0: its loss is accepted")), "{:?}", node.lines);
    let kept = [0, 10, 30, 40, 50].map(|offset| (offset, 300));
    let all = |node: &mut Node| node.read_from_gaps(0, 0);
    assert_eq!(all(&mut node), kept);
    assert_eq!(node.append_as(0, 10, 300, (4, 0, 60)).unwrap().base_offset, 60);
    for _ in 0..50 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    assert!(node.p(0).settled_end > 60, "the gap is in a segment now");
    // Decided once and for all: the file need not stay.
    node.disk.files.remove("accept-loss");
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert_eq!(node.p(0).failed(), None);
    assert_eq!(all(&mut node)[..5], kept);
    assert_eq!(node.read_from_gaps(0, 25)[0], (30, 300));
    assert_eq!(all(&mut node).len(), 56);
    // What was settled after the older checkpoint is found again across the gap, which that one knows.
    for name in ["checkpoint-a", "checkpoint-b"] {
        let mut disk = node.disk.clone();
        disk.files.get_mut(&format!("journal/g1x1/s0/{name}")).unwrap()[60] ^= 1;
        let mut again = Node::start(disk, 0, 1, 2, LogConfig::default());
        assert_eq!(again.p(0).failed(), None, "{name}");
        assert_eq!(again.read_from_gaps(0, 0).len(), 56, "{name}");
    }
}

/// What cannot be read at all may be the newest commit, acknowledged a moment ago: nothing is guessed. The operator is told what can be done, and when
/// it has been, the start costs what was there.
#[test]
fn an_unreadable_journal_block_needs_the_operator() {
    let (disk, expected) = three_partitions();
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &disk.files[path]);
    for commit in &commits {
        let mut disk = disk.clone();
        disk.bad.push((path.into(), commit.offset + 700));
        let reason = Node::refused(disk.clone(), 4);
        for part in [path, &format!("at byte {} (+4096)", commit.offset), "EIO", "accept-loss", "smartctl"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
        for line in ["other-1", "t-0"] {
            disk.files.insert("accept-loss".into(), line.into());
            Node::refused(disk.clone(), 4);
        }
        disk.files.insert("accept-loss".into(), path.into());
        let node = Node::start(disk.clone(), 0, 1, 4, LogConfig::default());
        assert!(node.lines.iter().any(|line| line.contains(path) && line.contains("given up")), "{:?}", node.lines);
        // The checkpoint of the stop says that all of them had been acknowledged.
        assert!((0..3).any(|p| node.p(p).failed().is_some()), "commit {}", commit.header.seq);
        disk.files.insert("accept-loss".into(), b"*".to_vec());
        let mut node = Node::start(disk, 0, 1, 4, LogConfig::default());
        let left: usize = (0..4).map(|p| node.read_from_gaps(p, 0).len()).sum();
        let lost = expected.iter().map(Vec::len).sum::<usize>() - left;
        assert_eq!(lost, commit.body.entries.len(), "commit {}", commit.header.seq);
    }
}

/// With the older checkpoint commits are found that have been given up since. What was written over them is no hole between those that are left, also
/// when several files were free at once, in whatever order they had been used before.
#[test]
fn files_used_again_since_the_older_checkpoint_are_no_damage() {
    for settle_kib in [100, 250, 400, 550] {
        let settings = LogSettings { settle_bytes: settle_kib << 10, ..small() };
        let start = |disk| Node::start_with(settings.clone(), disk, 0, 1, 2, LogConfig::default());
        let mut node = start(Disk::default());
        // Nothing is appended to it later: it would be in doubt about any commit that is missing.
        node.append(1, 1, 300).unwrap();
        for i in 0..500 {
            if i % 47 == 46 {
                node = start(node.disk);
            }
            node.append(0, 1, 3000 + (i % 7) * 900).unwrap();
            node.run();
            for name in ["checkpoint-a", "checkpoint-b"] {
                let mut disk = node.disk.clone();
                let Some(file) = disk.files.get_mut(&format!("journal/g1x1/s0/{name}")) else { continue };
                file[60] ^= 1;
                let again = start(disk);
                let failed = again.p(0).failed().or(again.p(1).failed());
                assert_eq!(failed, None, "append {i}, settled by {settle_kib} KiB, {name}");
            }
        }
    }
}

#[test]
fn a_segment_that_cannot_be_read_while_a_checkpoint_is_made_up_for_fails_its_partition() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    for i in 0..600 {
        node.append(i % 2, 1, 3000).unwrap();
        node.run();
    }
    for name in ["checkpoint-a", "checkpoint-b"] {
        node.disk.files.get_mut(&format!("journal/g1x1/s0/{name}")).unwrap()[60] ^= 1;
    }
    node.disk.bad.push((format!("partitions/{}/00000000000000000000.log", folder_name(TOPIC, 0)), 70_000));
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert!(node.p(0).failed().is_some());
    assert_eq!(node.read_all(1, 0).unwrap().len(), 300);
}

/// The batch that straddles the last block written is lost. What is behind it is less than that block, and more than it: neither may take the
/// block for its own, nor hold the journal for ever.
#[test]
fn a_lost_batch_that_was_half_settled_leaves_its_block() {
    for (behind, first_behind) in [(3, 0), (30, 0), (0, 0), (3, 4000)] {
        let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
        node.append(0, 1, first_behind.max(100)).unwrap();
        while node.p(0).written_pos <= node.p(0).settled_pos {
            node.append(0, 1, 5000).unwrap();
            node.run();
        }
        for _ in 0..behind {
            node.append(0, 1, 300).unwrap();
            node.run();
        }
        let (lost, end) = (node.p(0).settled_end, node.p(0).log_end);
        let entry = node.p(0).tail[node.p(0).tail_index(lost)];
        let commit = node.log.journal.commit(entry.ring).unwrap();
        let (path, at) = (format!("journal/g1x1/s0/j{}", commit.slot), commit.offset + u64::from(entry.at) + 100);
        node.append(1, 1, 100).unwrap();
        node.run();
        node.disk.files.get_mut(&path).unwrap()[at as usize] ^= 4;
        let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
        assert!(node.p(0).failed().is_some());
        for i in 0..600 {
            node.append(1, 1, 4000).unwrap_or_else(|e| panic!("{behind} behind, append {i}: {e:?}"));
            node.run();
        }
        node.disk.files.insert("accept-loss".into(), b"t-0".to_vec());
        let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
        for _ in 0..40 {
            node.append(0, 1, 5000).unwrap();
            node.run();
        }
        assert!(node.p(0).settled_end > end);
        for name in ["checkpoint-a", "checkpoint-b"] {
            let mut disk = node.disk.clone();
            disk.files.get_mut(&format!("journal/g1x1/s0/{name}")).unwrap()[60] ^= 1;
            disk.files.remove("accept-loss");
            let mut node = Node::start(disk, 0, 1, 2, LogConfig::default());
            let offsets: Vec<i64> = node.read_from_gaps(0, 0).iter().map(|b| b.0).collect();
            // With nothing behind it, its offset is given again.
            let all: Vec<i64> = match end - lost {
                1 => (0..end - 1 + 40).collect(),
                _ => (0..end + 40).filter(|offset| *offset != lost).collect(),
            };
            assert_eq!(offsets, all, "{behind} behind, {name} damaged");
        }
    }
}

#[test]
fn damage_in_a_segment_is_passed_over_when_accepted() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { segment_bytes: 400_000, ..LogConfig::default() });
    for _ in 0..200 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    let (first, second) = (0, node.p(0).segments[1].base);
    let path = |base: i64| format!("partitions/{}/{base:020}.log", folder_name(TOPIC, 0));
    let cases: [(&str, usize, usize, usize); 3] =
        [("payload", 300_100, 1, 1), ("length", 300_008, 4, 13), ("many blocks", 100_000, 150_000, 45)];
    for (what, at, len, lost_max) in cases {
        let mut disk = node.disk.clone();
        disk.files.get_mut(&path(first)).unwrap()[at..at + len].iter_mut().for_each(|b| *b ^= 0x55);
        let mut again = Node::start(disk, 0, 1, 1, LogConfig::default());
        assert!(matches!(again.read_all(0, 0), Err(ReadError::Storage(r)) if r.contains(&path(first))), "{what}");
        again.disk.files.insert("accept-loss".into(), b"*\n".to_vec());
        let mut again = Node::start(again.disk, 0, 1, 1, LogConfig::default());
        for round in 0..2 {
            let read = again.read_from_gaps(0, 0);
            assert!(read.len() >= 200 - lost_max && read.len() < 200, "{what}, round {round}: {}", read.len());
            assert_eq!(read.last(), Some(&(199, 5000)));
        }
        assert_eq!(
            again.lines.iter().filter(|l| l.contains("passes over")).count(),
            1 + usize::from(len > 100_000) * 2
        );
    }
    let mut disk = node.disk.clone();
    disk.files.remove(&path(first));
    disk.files.insert("accept-loss".into(), b"t-0".to_vec());
    let mut again = Node::start(disk, 0, 1, 1, LogConfig::default());
    assert_eq!(again.read_from_gaps(0, 0)[0].0, second);
}

/// Wherever a byte of a segment is flipped, also in what no checksum of the batch covers: it is never served, neither from memory nor from the file.
#[test]
fn a_flipped_byte_in_a_segment_is_never_served() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    for i in 0..240 {
        node.append(i % 2, 1, 2900).unwrap();
        node.run();
    }
    let path = format!("partitions/{}/00000000000000000000.log", folder_name(TOPIC, 0));
    let settled = node.p(0).settled_pos as usize;
    assert!(settled > 200_000);
    for at in (0..settled).step_by(4999).chain(2900 * 50..2900 * 50 + 70) {
        let mut disk = node.disk.clone();
        disk.files.get_mut(&path).unwrap()[at] ^= 1;
        let mut again = Node::start(disk, 0, 1, 2, LogConfig::default());
        // What is whole before it may be read; then again, from the file.
        for _ in 0..2 {
            assert!(matches!(again.read_all(0, 0), Err(ReadError::Storage(r)) if r.contains(&path)), "byte {at}");
        }
        assert!(again.lines.iter().any(|l| l.contains(&path) && l.contains("byte") && l.contains("accept-loss")));
        assert_eq!(again.read_all(1, 0).unwrap().len(), 120, "byte {at}");
    }
}

#[test]
fn a_damaged_index_is_made_up_for() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { segment_bytes: 400_000, ..LogConfig::default() });
    for _ in 0..300 {
        node.append(0, 1, 3000).unwrap();
        node.run();
    }
    let index = format!("partitions/{}/00000000000000000000.idx", folder_name(TOPIC, 0));
    let len = node.disk.files[&index].len();
    for at in (0..len).step_by(5) {
        let mut disk = node.disk.clone();
        disk.files.get_mut(&index).unwrap()[at] ^= 1;
        let mut again = Node::start(disk, 0, 1, 1, LogConfig::default());
        for from in [0, 77, 131] {
            assert_eq!(again.read_all(0, from).unwrap().len() as i64, 300 - from, "byte {at}");
        }
    }
}
