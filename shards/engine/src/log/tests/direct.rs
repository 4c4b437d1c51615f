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
    let newest = ["a", "b"].map(|name| format!("journal/g1x1/s0/checkpoint-{name}"));
    let sequence = |disk: &Disk, path: &String| {
        disk.files.get(path).map(|bytes| inspect::Checkpoint::from_bytes(bytes).unwrap().sequence)
    };
    let newest = newest.into_iter().max_by_key(|path| sequence(&node.disk, path)).unwrap();
    node.disk.files.get_mut(&newest).unwrap()[40] ^= 1;
    let mut node = start(node.disk, 1);
    assert_eq!(node.read_all(0, 0).unwrap(), all);
    assert_eq!(node.p(0).failed(), None);
}

#[test]
fn an_acknowledged_batch_that_is_damaged_fails_its_partition() {
    let (mut node, _) = ready();
    let damaged = segment(&mut node.disk);
    let at = damaged.len() - 5_000;
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
fn a_full_disk_takes_the_journal_or_waits() {
    // No space to reserve: through the journal.
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
    // A file system that does not keep what it reserved: the commit waits until there is space.
    let (mut node, _) = ready();
    let end = node.p(0).high_watermark();
    node.fault = |what| if is_segment_write(what) { Some(Err(DiskErrorKind::NoSpace)) } else { Some(Ok(())) };
    node.append(0, 1, LARGE).unwrap();
    node.run();
    node.append(0, 1, 100).unwrap();
    node.run();
    assert_eq!((node.p(0).high_watermark(), node.log.journal_failure()), (end, None));
    assert!(node.lines.iter().any(|line| line.contains("the disk is full")), "{:?}", node.lines);
    node.fault = |_| Some(Ok(()));
    node.now.mono_ns += 2_000_000_000;
    node.log.timer(node.now, &mut node.fx);
    node.run();
    assert_eq!(node.p(0).high_watermark(), end + 2);
    // Any other error: nothing more can be trusted on this shard.
    node.fault = |what| if is_segment_write(what) { Some(Err(DiskErrorKind::Io)) } else { Some(Ok(())) };
    node.append(0, 1, LARGE).unwrap();
    node.run();
    assert!(node.log.journal_failure().is_some());
    assert_eq!(node.p(0).high_watermark(), end + 2);
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
