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
