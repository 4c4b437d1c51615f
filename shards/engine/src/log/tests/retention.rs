//! What goes by age, by size and by DeleteRecords.

use super::*;

#[test]
fn retention_and_delete_records() {
    let config = LogConfig { segment_bytes: 50_000, retention_ms: 10_000, ..LogConfig::default() };
    let mut node = Node::start(Disk::default(), 0, 1, 1, config.clone());
    for _ in 0..100 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    let ix = node.ix(0);
    let (start, wait) = node.log.delete_records(node.now, ix, 42).unwrap();
    assert!(start == 42 && wait.is_some());
    assert_eq!(node.log.delete_records(node.now, ix, 40), Ok((42, wait)), "not durable yet");
    node.run();
    assert_eq!(node.log.delete_records(node.now, ix, 42), Ok((42, None)));
    let mut node = Node::start(node.disk, 0, 1, 1, config.clone());
    assert_eq!(node.p(0).log_start(), 42);
    assert_eq!(node.read_all(0, 10), Err(ReadError::OffsetOutOfRange));
    assert_eq!(node.read_all(0, 42).unwrap().len(), 58);
    let segments = |node: &Node| node.disk.files.keys().filter(|p| p.ends_with(".log")).count();
    let before = segments(&node);
    for _ in 0..3 {
        node.now.mono_ns += 20_000_000_000;
        node.now.wall_ms += 20_000;
        node.log.timer(node.now, &mut node.fx);
        node.run();
    }
    assert_eq!((node.p(0).log_start(), node.p(0).log_end()), (100, 100));
    assert!(segments(&node) < before);
    assert_eq!(node.append(0, 1, 10).unwrap().base_offset, 100);
    node.run();
    let mut node = Node::start(node.disk, 0, 1, 1, config);
    assert_eq!(node.read_all(0, 100).unwrap().len(), 1);
}

impl Node {
    fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.wall_ms += ms as i64;
        self.log.timer(self.now, &mut self.fx);
        self.run();
    }
}

#[test]
fn retention_by_size_keeps_what_it_should() {
    let config =
        LogConfig { segment_bytes: 50_000, retention_ms: -1, retention_bytes: 200_000, ..LogConfig::default() };
    let mut node = Node::start(Disk::default(), 0, 1, 1, config);
    for _ in 0..200 {
        node.append(0, 1, 5000).unwrap();
        node.run();
    }
    node.pass_ms(2000);
    node.pass_ms(2000);
    let (start, size) = (node.p(0).log_start(), node.p(0).size_bytes());
    assert!((200_000..300_000).contains(&size), "{size}");
    assert_eq!(node.read_all(0, start).unwrap().len() as i64, 200 - start);
    let bytes: usize = node.disk.files.iter().filter(|(p, _)| p.ends_with(".log")).map(|(_, b)| b.len()).sum();
    assert!(bytes < 300_000, "the files are gone too: {bytes}");
}

#[test]
fn an_old_segment_is_closed_and_goes_by_age_although_little_is_in_it() {
    let config = LogConfig { segment_ms: 10_000, retention_ms: 60_000, ..LogConfig::default() };
    let mut node = Node::start(Disk::default(), 0, 1, 1, config.clone());
    node.append(0, 1, 100).unwrap();
    node.run();
    node.pass_ms(5_000);
    assert_eq!(node.disk.files.keys().filter(|p| p.ends_with(".log")).count(), 0, "not yet");
    node.pass_ms(6_000);
    assert_eq!(node.p(0).settled_end, 1, "closed by its age");
    node.append(0, 1, 100).unwrap();
    node.run();
    node.pass_ms(11_000);
    assert_eq!(node.p(0).segments.iter().filter(|s| s.len > 0).count(), 2);
    // The first is a minute old, the second is not.
    node.pass_ms(40_000);
    assert_eq!((node.p(0).log_start(), node.p(0).log_end()), (1, 2));
    node.pass_ms(20_000);
    assert_eq!((node.p(0).log_start(), node.p(0).log_end()), (2, 2));
    node.pass_ms(2_000);
    let node = Node::start(node.disk, 0, 1, 1, config);
    assert_eq!((node.p(0).log_start(), node.p(0).log_end()), (2, 2));
}

#[test]
fn an_answered_delete_survives_whatever_comes_after() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    for _ in 0..10 {
        node.append(0, 1, 100).unwrap();
    }
    node.run();
    let ix = node.ix(0);
    // Not answered while its commit is under way.
    node.fault = |what| if matches!(what, DiskOp::Write { .. }) { None } else { Some(Ok(())) };
    let (_, wait) = node.log.delete_records(node.now, ix, 5).unwrap();
    node.run();
    let told =
        |node: &Node| node.events.iter().any(|e| matches!(e, LogEvent::Committed { up_to } if Some(*up_to) >= wait));
    assert!(wait.is_some() && !told(&node));
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!(node.p(0).log_start(), 0, "the crash came before it was durable");
    // Answered, then carried over many laps of the journal and a damaged checkpoint.
    let ix = node.ix(0);
    node.log.delete_records(node.now, ix, 5).unwrap();
    node.run();
    for _ in 0..400 {
        node.append(0, 1, 4000).unwrap();
        node.run();
    }
    for name in ["checkpoint-a", "checkpoint-b"] {
        let mut disk = node.disk.clone();
        disk.files.get_mut(&format!("journal/g1x1/s0/{name}")).unwrap()[60] ^= 1;
        assert_eq!(Node::start(disk, 0, 1, 1, LogConfig::default()).p(0).log_start(), 5, "{name}");
    }
}

#[test]
fn idle_producers_are_forgotten() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { retention_ms: -1, ..LogConfig::default() });
    for id in 0..50 {
        node.append_as(0, 1, 100, (id, 0, 0)).unwrap();
    }
    node.run();
    node.pass_ms(43_200_000);
    node.append_as(0, 1, 100, (7, 0, 1)).unwrap();
    node.run();
    assert_eq!(node.p(0).producers().len(), 50);
    node.pass_ms(43_201_000);
    assert_eq!(node.p(0).producers().len(), 1, "a day without a word");
    assert!(matches!(node.append_as(0, 1, 100, (7, 0, 1)), Err(AppendError::Duplicate { .. })));
    assert!(node.append_as(0, 1, 100, (8, 0, 77)).is_ok(), "begins anywhere, as Kafka lets it");
}

#[test]
fn what_is_too_old_goes_at_the_pace_of_the_setting() {
    let settings = LogSettings { retention_check_ms: 300_000, ..small() };
    let config = LogConfig { retention_ms: 1_000, ..LogConfig::default() };
    let mut node = Node::start_with(settings, Disk::default(), 0, 1, 1, config);
    node.append(0, 1, 5000).unwrap();
    node.run();
    for _ in 0..29 {
        node.pass_ms(10_000);
        assert_eq!(node.p(0).log_start(), 0, "at {} ms", node.now.wall_ms);
    }
    node.pass_ms(10_000);
    assert_eq!(node.p(0).log_start(), 1);
}
