//! What comes back after a crash, and what must not.

use super::*;

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    for (name, sizes) in [("small", 100..400), ("straddling", 5_000..9_000), ("large", 60_000..90_000)] {
        let mut node = Node::start(Disk::default(), 0, 1, 3, LogConfig::default());
        let mut expected = vec![Vec::new(); 3];
        for i in 0..300 {
            let size = sizes.start + (i * 7919) % (sizes.end - sizes.start);
            let partition = (i % 3) as i32;
            let done = node.append(partition, 1 + (i % 4) as i32, size).expect("room");
            expected[partition as usize].push((done.base_offset, size));
            node.run();
            if i % 50 == 49 {
                node = Node::start(node.disk, 0, 1, 3, LogConfig::default());
            }
        }
        for p in 0..3 {
            assert_eq!(node.read_all(p, 0).unwrap(), expected[p as usize], "{name}, partition {p}");
            assert_eq!(node.read_all(p, 17).unwrap().last(), expected[p as usize].last(), "{name}");
        }
        assert!(name == "small" || node.disk.files.keys().any(|p| p.ends_with(".log")), "{name}: something settled");
    }
}

#[test]
fn an_unfinished_commit_is_neither_shown_nor_kept() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    node.append(0, 1, 100).unwrap();
    node.run();
    node.fault = |what| if matches!(what, DiskOp::Write { .. }) { None } else { Some(Ok(())) };
    let lost = node.append(0, 1, 100).unwrap();
    node.run();
    assert_eq!((lost.base_offset, node.p(0).log_end(), node.p(0).high_watermark()), (1, 2, 1));
    let node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!((node.p(0).log_end(), node.p(0).high_watermark()), (1, 1));
}

/// Commit 2 tears while commit 3 behind it is whole; the next start writes over 2 only. Commit 3, never acknowledged, must not come back.
#[test]
fn a_stale_commit_behind_a_torn_one_stays_dead() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    node.append(0, 1, 100).unwrap();
    node.run();
    for size in [200, 300] {
        node.append(0, 1, size).unwrap();
        node.run();
    }
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &node.disk.files[path]);
    assert_eq!(commits.len(), 3);
    // As if the crash had come before 2 and 3 were acknowledged: what 3 says of 2 is taken back as well.
    let file = node.disk.files.get_mut(path).unwrap();
    file[commits[1].offset as usize..][..4096].fill(0);
    let mut third = commits[2].header;
    third.acknowledged_seq = commits[0].header.seq;
    third.write(&mut file[commits[2].offset as usize..]);
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!((node.p(0).log_end(), node.p(0).failed()), (1, None));
    node.append(0, 1, 222).unwrap();
    node.run();
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!(node.read_all(0, 0).unwrap(), [(0, 100), (1, 222)]);
}

#[test]
fn another_number_of_shards_keeps_everything() {
    let mut disk = Disk::default();
    let mut count = 0;
    for shards in [1, 4, 2, 2, 3] {
        for round in 0..2 {
            let mut nodes = Vec::new();
            for shard in 0..shards {
                let node = Node::start(disk, shard, shards, 8, LogConfig::default());
                assert!(node.lines.iter().all(|l| !l.contains("fails")), "{:?}", node.lines);
                disk = node.disk.clone();
                nodes.push(node);
            }
            // In the first of two starts the old generation is not removed: as if the crash had come before.
            if round == 1 {
                nodes[0].disk = disk;
                let first = &mut nodes[0];
                first.log.drop_old_generations(&mut first.fx);
                first.run();
                disk = nodes[0].disk.clone();
                assert_eq!(
                    disk.files
                        .keys()
                        .filter_map(|p| p.strip_prefix("journal/")?.split('/').next())
                        .collect::<std::collections::BTreeSet<_>>()
                        .len(),
                    1
                );
            }
            for (shard, node) in nodes.iter_mut().enumerate() {
                node.disk = disk;
                for p in (shard as i32..8).step_by(usize::from(shards)) {
                    assert_eq!(node.read_all(p, 0).unwrap().len(), count, "{shards} shards, partition {p}");
                    for i in 0..10 {
                        node.append(p, 1, 500 + i * 100).unwrap();
                    }
                }
                node.run();
                disk = node.disk.clone();
            }
            count += 10;
        }
    }
}

/// A commit holds batches of partitions that several shards take over. If one of them keeps what only a cache has, and the power is lost before another one has
/// read it, half of the commit is left: a transaction's end without its markers.
#[test]
fn what_an_older_generation_holds_is_made_durable_before_it_counts() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    node.append(0, 1, 100).unwrap();
    node.append(1, 1, 100).unwrap();
    node.run();
    let node = Node::start(node.disk, 0, 2, 2, LogConfig::default());
    let files = node.disk.files.keys().filter(|path| path.starts_with("journal/g1x1/s0/j")).count();
    let is_own = |name: &str, path: &str| path.starts_with("journal/g2x2/") && matches!(name, "write" | "replace");
    let first_own = node.boot.iter().position(|(name, path, _)| is_own(name, path)).expect("it takes them over");
    let synced = node.boot[..first_own]
        .iter()
        .filter(|(name, path, _)| *name == "sync" && path.starts_with("journal/g1x1/s0/j"));
    assert_eq!(synced.count(), files, "{:?}", node.boot);
}

/// When the newest checkpoint is damaged, the one before counts. If that did not know that older generations are drained, their journals would be asked again,
/// of which a crash may have left a part.
#[test]
fn both_checkpoints_know_that_older_generations_are_drained() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    node.append(0, 1, 100).unwrap();
    node.run();
    let node = Node::start(node.disk, 0, 2, 2, LogConfig::default());
    assert!(node.events.iter().any(|event| matches!(event, LogEvent::OldGenerationsDrained)));
    for name in crate::log::checkpoint::NAMES {
        let content = &node.disk.files[&format!("journal/g2x2/s0/{name}")];
        assert!(crate::log::checkpoint::Checkpoint::from_bytes(content).unwrap().drained, "{name}");
    }
}

#[test]
fn repeats_are_known_after_a_crash() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    for i in 0..100 {
        node.append_as(0, 2, 3000, (77, 1, i * 2)).unwrap();
        node.run();
    }
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    let repeat = node.append_as(0, 2, 3000, (77, 1, 196));
    assert!(matches!(repeat, Err(AppendError::Duplicate { base_offset: 196, wait: None, .. })), "{repeat:?}");
    assert!(matches!(
        node.append_as(0, 2, 3000, (77, 0, 200)),
        Err(AppendError::InvalidProducerEpoch { known: 1, .. })
    ));
    assert!(matches!(
        node.append_as(0, 2, 3000, (77, 1, 202)),
        Err(AppendError::OutOfOrderSequence { expected: 200, .. })
    ));
    assert_eq!(node.append_as(0, 2, 3000, (77, 1, 200)).unwrap().base_offset, 200);
}

#[test]
fn shutdown_makes_the_other_tiers_durable() {
    for tier in [Tier::Written, Tier::Memory] {
        let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { tier, ..LogConfig::default() });
        let done = node.append(0, 1, 100).unwrap();
        assert_eq!(done.wait.is_none(), tier == Tier::Memory);
        if tier == Tier::Memory {
            assert_eq!(node.read_all(0, 0).unwrap().len(), 1, "acknowledged, so shown");
        }
        node.log.shutdown(node.now, &mut node.fx);
        node.run();
        assert!(matches!(node.events.last(), Some(LogEvent::Stopped)));
    }
}
