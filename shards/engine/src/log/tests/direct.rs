//! Large batches that go straight to their segment: every moment at which that can be cut off, and what damage to them means.

use super::*;

const LARGE: usize = 20_000;

fn settings() -> LogSettings {
    LogSettings { direct_bytes: 8 << 10, ..small() }
}

fn start(disk: Disk, partitions: i32) -> Node {
    Node::start_with(settings(), disk, 0, 1, partitions, LogConfig::default())
}

/// A node with one partition whose segment is ready, and what was appended to it.
fn ready() -> (Node, Vec<(i64, usize)>) {
    let mut node = start(Disk::default(), 1);
    let mut all = Vec::new();
    for bytes in [LARGE, 300, LARGE + 77] {
        let done = node.append(0, 2, bytes).unwrap();
        node.run();
        all.push((done.base_offset, bytes));
    }
    assert_eq!(node.log.metrics().direct_batches, 1, "the first finds the segment not ready");
    (node, all)
}

fn is_segment_write(what: &DiskOp) -> bool {
    matches!(what, DiskOp::Write { file, .. } if file.get::<String>().expect("ours").ends_with(".log"))
}

fn is_journal_write(what: &DiskOp) -> bool {
    matches!(what, DiskOp::Write { file, .. } if file.get::<String>().expect("ours").starts_with("journal/"))
}

fn segment(disk: &mut Disk) -> &mut Vec<u8> {
    let path = disk.files.keys().find(|p| p.ends_with(".log")).expect("there is one").clone();
    disk.files.get_mut(&path).unwrap()
}

/// Where the content of a segment ends: what is only reserved reads as zeros.
fn written(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn sizes_of_all_kinds_come_back_after_every_crash() {
    for (name, sizes, segment_bytes) in [
        ("large", 9_000..40_000, 1 << 30),
        ("mixed", 200..20_000, 1 << 30),
        ("mixed, small segments", 200..30_000, 100_000),
    ] {
        let config = LogConfig { segment_bytes, ..LogConfig::default() };
        let mut node = Node::start_with(settings(), Disk::default(), 0, 1, 3, config.clone());
        let mut expected = vec![Vec::new(); 3];
        let mut direct = 0;
        for i in 0..300_usize {
            let size = sizes.start + (i * 7919) % (sizes.end - sizes.start);
            let partition = (i % 3) as i32;
            let done = node.append(partition, 1 + (i % 4) as i32, size).expect("room");
            expected[partition as usize].push((done.base_offset, size));
            if i % 4 > 0 {
                node.run();
            }
            if i % 25 == 24 {
                node.run();
                direct += node.log.metrics().direct_batches;
                node = Node::start_with(settings(), node.disk, 0, 1, 3, config.clone());
                assert_eq!(node.lines, Vec::<String>::new(), "{name}");
            }
        }
        node.run();
        for p in 0..3 {
            assert_eq!(node.read_all(p, 0).unwrap(), expected[p as usize], "{name}, partition {p}");
        }
        assert!(direct > 50, "{name}: {direct} batches went straight");
    }
}

/// What the crash cuts off, and what is there afterwards: `done` says which operations were carried out, and how.
#[test]
fn what_is_cut_off_was_never_there() {
    type Cut = fn(&DiskOp) -> bool;
    type Tear = fn(&mut Disk, &DiskOp);
    let half: Tear = |disk, what| {
        let DiskOp::Write { file, offset, data, dsync } = what else { return };
        let data = data.slice(..data.len() / 2 / 512 * 512);
        disk.carry_out(&DiskOp::Write { file: file.clone(), offset: *offset, data, dsync: *dsync }).unwrap();
    };
    let cases: [(&str, Cut, Option<Tear>); 4] = [
        ("before the segment's write", is_segment_write, None),
        ("in the segment's write", is_segment_write, Some(half)),
        ("between", is_journal_write, None),
        ("in the commit's write", is_journal_write, Some(half)),
    ];
    for (name, cut, tear) in cases {
        let (mut node, mut all) = ready();
        let end = node.p(0).high_watermark();
        // The batch is on its way; the operation that is cut off is found, what comes before it is carried out.
        node.append(0, 2, LARGE).unwrap();
        node.append(0, 2, 9_000).unwrap();
        node.log.end_of_round(node.now, &mut node.fx);
        let mut asked = 0;
        while let Some(Effect::Disk { op, what }) = node.fx.pop() {
            asked += usize::from(is_segment_write(&what) || is_journal_write(&what));
            if cut(&what) {
                if let Some(tear) = tear {
                    tear(&mut node.disk, &what);
                }
                node.fx.clear();
                break;
            }
            let result = node.disk.carry_out(&what);
            node.log.handle_disk(node.now, op, result, &mut node.fx);
        }
        assert_eq!(asked, if name.contains("segment") { 1 } else { 2 }, "{name}: first the segment, then the commit");
        assert_eq!(node.p(0).high_watermark(), end, "{name}: not acknowledged");
        let mut node = start(node.disk, 1);
        assert_eq!(node.read_all(0, 0).unwrap(), all, "{name}");
        assert_eq!(node.lines, Vec::<String>::new(), "{name}");
        // Others come in their place, also across another crash.
        for bytes in [500, LARGE + 11, LARGE - 11, 700] {
            let done = node.append(0, 2, bytes).unwrap();
            node.run();
            all.push((done.base_offset, bytes));
        }
        assert_eq!(node.read_all(0, 0).unwrap(), all, "{name}");
        let mut node = start(node.disk, 1);
        assert_eq!(node.read_all(0, 0).unwrap(), all, "{name}");
    }
}

/// The commit of a large batch was cut off, another batch came in its place; then the newest checkpoint is damaged and the segment is read through.
#[test]
fn what_was_cut_off_does_not_come_back_with_an_older_checkpoint() {
    let (mut node, mut all) = ready();
    node.append(0, 2, LARGE).unwrap();
    node.append(0, 2, 9_000).unwrap();
    node.fault = |what| if is_journal_write(what) { None } else { Some(Ok(())) };
    node.run();
    let mut node = start(node.disk, 1);
    let done = node.append(0, 1, 600).unwrap();
    node.run();
    all.push((done.base_offset, 600));
    damage_newest_checkpoint(&mut node.disk);
    let mut node = start(node.disk, 1);
    assert_eq!(node.read_all(0, 0).unwrap(), all);
    assert_eq!(node.p(0).failed(), None);
}

fn damage_newest_checkpoint(disk: &mut Disk) {
    let paths = ["a", "b"].map(|name| format!("journal/g1x1/s0/checkpoint-{name}"));
    let sequence =
        |path: &String| disk.files.get(path).map(|bytes| inspect::Checkpoint::from_bytes(bytes).unwrap().sequence);
    let newest = paths.into_iter().max_by_key(sequence).unwrap();
    disk.files.get_mut(&newest).unwrap()[40] ^= 1;
}

/// After damage to a checkpoint the next batch begins a segment of its own. The one before holds a batch whose last bytes are in the journal: it is removed
/// only when that batch is settled in the new one.
#[test]
fn a_segment_left_behind_stays_until_its_batches_are_settled() {
    let (mut node, all) = ready();
    let first = segment_files(&node.disk);
    damage_newest_checkpoint(&mut node.disk);
    let no_space: fn(&DiskOp) -> Option<Result<(), DiskErrorKind>> =
        |what| Some(if is_segment_write(what) { Err(DiskErrorKind::NoSpace) } else { Ok(()) });
    for again in 0..3 {
        node = Node::new(settings(), node.disk, 0, 1);
        node.fault = no_space;
        node.log.start(node.now, vec![(TOPIC, 0, "t".to_string(), LogConfig::default())], &mut node.fx);
        node.run();
        let unsettled = all[2].0;
        assert_eq!((node.p(0).settled_end, node.p(0).failed()), (unsettled, None), "start {again}");
        // What comes before it is deleted, with the segment that it is in but for this one.
        let ix = node.ix(0);
        node.log.delete_records(node.now, ix, unsettled).unwrap();
        node.log.retain(node.now);
        node.log.settle.checkpoint_wanted = true;
        node.run();
        assert_eq!(node.read_all(0, unsettled).unwrap(), all[2..], "start {again}");
    }
    assert!(first.iter().all(|path| node.disk.files.contains_key(path)), "needed by every start");
    let mut node = start(node.disk, 1);
    assert_eq!(node.p(0).settled_end, node.p(0).log_end(), "with space again it is settled at once");
    node.log.settle.checkpoint_wanted = true;
    node.run();
    assert!(first.iter().all(|path| !node.disk.files.contains_key(path)), "it has gone when it was not needed");
    let mut node = start(node.disk, 1);
    assert_eq!(node.read_all(0, all[2].0).unwrap(), all[2..]);
}

/// The start found the disk full. With space again no other round comes of itself on an idle shard, and none of the partition's segments can be removed before.
#[test]
fn what_was_left_behind_on_a_full_disk_is_settled_when_there_is_space() {
    let (mut node, _) = ready();
    damage_newest_checkpoint(&mut node.disk);
    let mut node = Node::new(settings(), node.disk, 0, 1);
    node.fault = |what| Some(if is_segment_write(what) { Err(DiskErrorKind::NoSpace) } else { Ok(()) });
    node.log.start(node.now, vec![(TOPIC, 0, "t".to_string(), LogConfig::default())], &mut node.fx);
    node.run();
    let look_again = |node: &mut Node| {
        let before = node.log.metrics().settle_rounds;
        node.now.mono_ns += 1_100_000_000;
        node.log.timer(node.now, &mut node.fx);
        node.run();
        node.log.metrics().settle_rounds - before
    };
    for _ in 0..3 {
        assert_eq!(look_again(&mut node), 1, "it is tried again, and not all the time");
        assert!(!node.p(0).may_lose_segments());
    }
    node.fault = |_| Some(Ok(()));
    look_again(&mut node);
    assert_eq!(node.p(0).settled_end, node.p(0).log_end());
    assert!(node.p(0).may_lose_segments());
    assert_eq!(look_again(&mut node), 0, "that was all");
}

fn segment_files(disk: &Disk) -> Vec<String> {
    disk.files.keys().filter(|path| path.ends_with(".log")).cloned().collect()
}

#[test]
fn an_acknowledged_batch_that_is_damaged_fails_its_partition() {
    let (mut node, _) = ready();
    let damaged = segment(&mut node.disk);
    let at = written(damaged) - 5_000;
    damaged[at] ^= 1;
    let mut node = start(node.disk, 1);
    let reason = node.p(0).failed().expect("records were lost").to_owned();
    assert!(reason.contains("offset 4") && reason.contains(".log at byte"), "{reason}");
    // With the loss accepted the rest is served, and goes on.
    node.disk.files.insert("accept-loss".into(), b"t-0\n".to_vec());
    let mut node = start(node.disk, 1);
    assert_eq!(node.p(0).failed(), None, "{:?}", node.lines);
    let mut count = node.read_from_gaps(0, 0).len();
    assert_eq!(count, 2);
    for bytes in [LARGE, 400, LARGE, LARGE] {
        node.append(0, 1, bytes).unwrap();
        node.run();
        count += 1;
    }
    assert_eq!(node.read_from_gaps(0, 0).len(), count);
    let mut node = start(node.disk, 1);
    assert_eq!(node.read_from_gaps(0, 0).len(), count);
}

#[test]
fn a_batch_that_the_device_cannot_read_is_given_up_by_the_operator_only() {
    let (mut node, all) = ready();
    let at = written(segment(&mut node.disk)) as u64 - 5_000;
    let path = node.disk.files.keys().find(|p| p.ends_with(".log")).unwrap().clone();
    node.disk.bad.push((path.clone(), at));
    let refusal = Node::refused(node.disk.clone(), 1);
    assert!(refusal.contains(&path) && refusal.contains("the line t-0"), "{refusal}");
    // On a device that reads it all is there; with the loss accepted the rest is.
    let mut good = node.disk.clone();
    good.bad.clear();
    assert_eq!(start(good, 1).read_all(0, 0).unwrap(), all);
    node.disk.files.insert("accept-loss".into(), b"t-0\n".to_vec());
    let mut node = start(node.disk, 1);
    assert_eq!(node.p(0).failed(), None);
    assert_eq!(node.read_from_gaps(0, 0).len(), 2);
}

#[test]
fn another_number_of_shards_takes_over_what_went_straight() {
    let mut disk = Disk::default();
    let mut count = 0;
    for shards in [1, 3, 2] {
        let mut nodes = Vec::new();
        for shard in 0..shards {
            let node = Node::start_with(settings(), disk, shard, shards, 4, LogConfig::default());
            assert!(node.lines.iter().all(|l| !l.contains("fails")), "{:?}", node.lines);
            disk = node.disk.clone();
            nodes.push(node);
        }
        for (shard, node) in nodes.iter_mut().enumerate() {
            node.disk = disk;
            for p in (shard as i32..4).step_by(usize::from(shards)) {
                assert_eq!(node.read_all(p, 0).unwrap().len(), count, "{shards} shards, partition {p}");
            }
            for i in 0..5 {
                for p in (shard as i32..4).step_by(usize::from(shards)) {
                    node.append(p, 1, 9_000 + i * 1_001).unwrap();
                }
                node.run();
            }
            assert!(node.log.metrics().direct_batches > 0);
            disk = node.disk.clone();
        }
        count += 5;
    }
}

#[test]
fn every_tier_is_durable_before_the_commit_tells_of_it() {
    for tier in [Tier::Flushed, Tier::Written, Tier::Memory] {
        let config = LogConfig { tier, ..LogConfig::default() };
        let mut node = Node::start_with(settings(), Disk::default(), 0, 1, 1, config);
        node.fault = |what| {
            if let DiskOp::Write { file, dsync, .. } = what {
                let straight = file.get::<String>().expect("ours").ends_with(".log");
                assert!(!straight || *dsync);
            }
            Some(Ok(()))
        };
        for _ in 0..3 {
            node.append(0, 1, LARGE).unwrap();
            node.run();
        }
        let shown = node.append(0, 1, LARGE).unwrap();
        assert_eq!(shown.wait.is_none(), tier == Tier::Memory);
        if tier == Tier::Memory {
            assert_eq!(node.read_all(0, 0).unwrap().len(), 4, "acknowledged, so shown");
        }
        node.run();
        assert!(node.log.metrics().direct_batches >= 3);
        let mut node = start(node.disk, 1);
        assert_eq!(node.read_all(0, 0).unwrap().len(), 4, "{tier:?}");
    }
}

#[test]
fn without_space_to_reserve_large_batches_take_the_journal() {
    let mut node = start(Disk::default(), 1);
    node.fault = |what| match what {
        DiskOp::Preallocate { .. } => Some(Err(DiskErrorKind::NoSpace)),
        _ => Some(Ok(())),
    };
    for _ in 0..3 {
        node.append(0, 1, LARGE).unwrap();
        node.run();
    }
    assert_eq!((node.log.metrics().direct_batches, node.p(0).high_watermark()), (0, 3));
}

fn is_write_of_partition_0(what: &DiskOp) -> bool {
    matches!(what, DiskOp::Write { file, .. } if file.get::<String>().expect("ours").contains("-0/"))
}

/// What cannot be written to the segment comes into the journal, with what builds on it; other partitions notice nothing.
#[test]
fn what_the_segment_does_not_take_comes_into_the_journal() {
    type Fault = fn(&DiskOp) -> Option<Result<(), DiskErrorKind>>;
    let no_space: Fault = |what| Some(if is_write_of_partition_0(what) { Err(DiskErrorKind::NoSpace) } else { Ok(()) });
    let broken: Fault = |what| Some(if is_write_of_partition_0(what) { Err(DiskErrorKind::Io) } else { Ok(()) });
    for (fault, comes_back) in [(no_space, true), (broken, false)] {
        let mut node = start(Disk::default(), 2);
        let mut all = vec![Vec::new(); 2];
        let mut add = |node: &mut Node, partition: usize, bytes: usize| {
            let done = node.append(partition as i32, 2, bytes).unwrap();
            all[partition].push((done.base_offset, bytes));
        };
        for bytes in [LARGE, 300, LARGE + 77] {
            (0..2).for_each(|p| add(&mut node, p, bytes));
            node.run();
        }
        assert_eq!(node.log.metrics().direct_batches, 2);
        node.fault = fault;
        // Several in one commit, some in the next, which builds on it.
        for (p, bytes) in [(0, LARGE), (1, LARGE), (0, 200), (0, LARGE + 5), (1, 700)] {
            add(&mut node, p, bytes);
        }
        node.log.end_of_round(node.now, &mut node.fx);
        for (p, bytes) in [(0, LARGE + 9), (1, LARGE + 9), (0, 10_000)] {
            add(&mut node, p, bytes);
        }
        node.run();
        assert_eq!(node.log.journal_failure(), None);
        for p in 0..2 {
            assert_eq!(node.read_all(p, 0).unwrap(), all[p as usize], "acknowledged");
        }
        assert!(node.lines.iter().any(|l| l.contains("They go through the journal")), "{:?}", node.lines);
        assert_eq!(node.lines.len(), 1, "{:?}", node.lines);
        assert_eq!((node.p(0).failed(), node.p(1).failed()), (None, None));
        // All of it comes back.
        let mut again = start(node.disk.clone(), 2);
        assert_eq!(again.lines, Vec::<String>::new());
        for p in 0..2 {
            assert_eq!(again.read_all(p, 0).unwrap(), all[p as usize], "after a crash");
        }
        // The same process goes on: straight again when there is space, through the journal when the segment is broken.
        node.fault = |_| Some(Ok(()));
        let mut add = |node: &mut Node, partition: usize, bytes: usize| {
            let done = node.append(partition as i32, 2, bytes).unwrap();
            all[partition].push((done.base_offset, bytes));
        };
        node.now.mono_ns += 2_000_000_000;
        node.log.timer(node.now, &mut node.fx);
        node.run();
        let before = node.log.metrics().direct_batches;
        for i in 0..20 {
            add(&mut node, 0, LARGE + i);
            node.run();
        }
        assert_eq!(node.log.metrics().direct_batches > before, comes_back);
        assert_eq!(node.read_all(0, 0).unwrap(), all[0]);
        let mut again = start(node.disk, 2);
        for p in 0..2 {
            assert_eq!(again.read_all(p, 0).unwrap(), all[p as usize], "after it went on");
        }
    }
}

/// A large batch was torn, its commit is not there; then the newest checkpoint is damaged: the journal says where the partition ends.
#[test]
fn a_torn_batch_that_was_not_acknowledged_fails_nothing_with_an_older_checkpoint() {
    let (mut node, all) = ready();
    node.append(0, 2, LARGE).unwrap();
    node.append(0, 2, 9_000).unwrap();
    node.fault = |what| if is_journal_write(what) { None } else { Some(Ok(())) };
    node.run();
    let torn = segment(&mut node.disk);
    let at = torn.len() - 4 * 4096;
    torn[at..at + 4096].fill(0);
    let newest = ["a", "b"].map(|name| format!("journal/g1x1/s0/checkpoint-{name}"));
    let sequence = |disk: &Disk, path: &String| {
        disk.files.get(path).map(|bytes| inspect::Checkpoint::from_bytes(bytes).unwrap().sequence)
    };
    let newest = newest.into_iter().max_by_key(|path| sequence(&node.disk, path)).unwrap();
    node.disk.files.get_mut(&newest).unwrap()[40] ^= 1;
    let mut node = start(node.disk, 1);
    assert_eq!(node.p(0).failed(), None);
    assert_eq!(node.read_all(0, 0).unwrap(), all);
}

#[test]
fn large_batches_are_written_once() {
    let mut node = start(Disk::default(), 2);
    for i in 0..200 {
        node.append(i % 2, 1, 60_000).unwrap();
        node.run();
    }
    let metrics = node.log.metrics().clone();
    assert!(metrics.direct_batches > 190, "{metrics:?}");
    assert!(metrics.settled_bytes < 200_000, "{metrics:?}");
    assert!(metrics.journal_bytes < 200 * 10_000, "{metrics:?}");
    assert!(metrics.unsettled_bytes < 200_000, "{metrics:?}");
    assert_eq!(node.read_all(0, 0).unwrap().len(), 100);
    // A deleted topic takes what is on its way with it.
    let (ix, now) = (node.ix(0), node.now);
    node.append(0, 1, 60_000).unwrap();
    node.log.end_of_round(now, &mut node.fx);
    node.log.remove(now, ix, &mut node.fx);
    node.run();
    assert_eq!(node.disk.files.keys().filter(|p| p.ends_with(".log")).count(), 1);
}

/// More came through the journal than the next large batch takes along, as happens while a segment is opened or closed: it is settled at once, not when the
/// journal is full, or a fast producer would never get out of it again.
#[test]
fn what_came_through_the_journal_does_not_keep_the_rest_there() {
    let settings = LogSettings {
        direct_bytes: 1 << 20,
        journal_bytes: 256 << 20,
        journal_file_bytes: 16 << 20,
        cache_bytes: 512 << 20,
        settle_bytes: 200 << 20,
        commit_bytes_max: 1 << 20,
        ..small()
    };
    let mut node = Node::start_with(settings, Disk::default(), 0, 1, 1, LogConfig::default());
    for bytes in [vec![900_000; 80], vec![1_200_000; 2]].concat() {
        node.append(0, 1, bytes).unwrap();
        node.run();
    }
    assert_eq!(node.log.metrics().direct_batches, 0, "the segment was not ready, then there was too much before it");
    node.append(0, 1, 1_200_000).unwrap();
    node.run();
    assert_eq!(node.log.metrics().direct_batches, 1);
    assert_eq!(node.read_all(0, 0).unwrap().len(), 83);
}

/// Large batches leave little in the journal, so its oldest file is the current one for gigabytes: what is small and not settled in it keeps no more in
/// memory than it should.
#[test]
fn a_small_batch_does_not_keep_all_large_ones_behind_it_in_memory() {
    let settings = LogSettings { journal_bytes: 24 << 20, journal_file_bytes: 8 << 20, ..settings() };
    let mut node = Node::start_with(settings.clone(), Disk::default(), 0, 1, 2, LogConfig::default());
    let small = node.append(1, 1, 300).unwrap().base_offset;
    for i in 0..300 {
        node.append(0, 1, 60_000).unwrap();
        node.run();
        let memory = node.log.pressure().memory_bytes;
        assert!(memory <= settings.cache_bytes * 5 / 4, "{memory} bytes after {i} large batches");
    }
    let carried = node.log.metrics().carried_bytes;
    assert!((300..300 * 60_000 / 8).contains(&carried), "{carried} bytes carried");
    assert_eq!(node.read_all(1, 0).unwrap(), [(small, 300)]);
    let mut again = Node::start_with(settings, node.disk, 0, 1, 2, LogConfig::default());
    assert_eq!(again.read_all(1, 0).unwrap(), [(small, 300)]);
    assert_eq!(again.read_all(0, 0).unwrap().len(), 300);
}
