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
