//! Checkpoints damaged while the journals of older generations are still there, as they are when a crash comes before their removal.

use super::*;
use crate::log::checkpoint::NAMES;

fn kept_short() -> LogConfig {
    LogConfig { segment_bytes: 60_000, retention_bytes: 200_000, ..LogConfig::default() }
}

/// A shard's journal with four partitions, taken over by the first of two shards. What that settles and removes since, the older generation does not know.
fn taken_over() -> Node {
    let mut node = Node::start(Disk::default(), 0, 1, 4, kept_short());
    for i in 0..120 {
        node.append(i % 4, 1, 4000).unwrap();
        node.run();
    }
    assert!(node.p(0).segments.len() > 1);
    let node = Node::start(node.disk, 0, 2, 4, kept_short());
    assert!(node.events.iter().any(|e| matches!(e, LogEvent::OldGenerationsDrained)));
    node
}

fn lose_checkpoints(disk: &mut Disk, folder: &str) {
    for name in NAMES {
        disk.files.get_mut(&format!("journal/{folder}/{name}")).expect("it is there")[60] ^= 1;
    }
}

/// All there is of partition 0, and where it begins.
fn content(node: &mut Node) -> (i64, Vec<(i64, usize)>) {
    let start = node.p(0).log_start();
    (start, node.read_all(0, start).unwrap())
}

fn pass(node: &mut Node) {
    for _ in 0..20 {
        node.now.mono_ns += 1_100_000_000;
        node.now.wall_ms += 1_100;
        node.log.timer(node.now, &mut node.fx);
        node.run();
    }
}

/// The older generation's checkpoint names segments that retention has removed since: it must not count again, and what is there is served as it is.
#[test]
fn with_both_checkpoints_damaged_older_ones_do_not_count_again() {
    let mut node = taken_over();
    for _ in 0..200 {
        node.append(0, 1, 4000).unwrap();
        node.run();
        pass(&mut node);
    }
    let expected = content(&mut node);
    assert!(expected.0 > 30, "what the older generation knows is gone");
    let mut disk = node.disk.clone();
    lose_checkpoints(&mut disk, "g2x2/s0");
    // The same shards once more; and others, to which that is an older generation as well.
    for shards in [2, 3] {
        let mut again = Node::start(disk.clone(), 0, shards, 4, kept_short());
        assert_eq!(again.p(0).failed(), None, "{shards} shards");
        assert_eq!(content(&mut again), expected, "{shards} shards");
        let next = again.append(0, 1, 100).unwrap().base_offset;
        assert_eq!(next, expected.1.last().unwrap().0 + 1);
    }
}

/// All that the partition had was deleted, so nothing on disk says where its offsets ended: they must not begin anew in silence, nor may records come back from the
/// journal of an older generation.
#[test]
fn with_both_checkpoints_damaged_an_unknown_end_is_an_error() {
    let config = LogConfig { segment_ms: 5_000, retention_ms: 5_000, ..LogConfig::default() };
    for generations in [1, 2] {
        let mut node = Node::start(Disk::default(), 0, 1, 4, config.clone());
        if generations == 2 {
            node.append(0, 1, 300).unwrap();
            node.run();
            node = Node::start(node.disk, 0, 2, 4, config.clone());
        }
        for _ in 0..100 {
            node.append(0, 1, 4000).unwrap();
            node.run();
        }
        pass(&mut node);
        let end = node.p(0).log_end();
        assert_eq!(node.p(0).log_start(), end);
        assert!(!node.disk.files.keys().any(|p| p.starts_with("partitions/")), "its segments are removed");
        // The journal laps: only what is appended to another one is in it.
        for i in 0..200 {
            node.append(2, 1, 4000 + i).unwrap();
            node.run();
        }
        let shards = generations;
        let expected = node.read_all(2, 0).unwrap();
        lose_checkpoints(&mut node.disk, if shards == 1 { "g1x1/s0" } else { "g2x2/s0" });
        let disk = node.disk.clone();
        for again in 0..2 {
            node = Node::start(node.disk, 0, shards, 4, config.clone());
            assert!(node.p(0).failed().is_some_and(|r| r.contains("accept-loss")), "start {again}: {:?}", node.lines);
            assert!(matches!(node.append(0, 1, 100), Err(AppendError::Storage(_))));
            assert_eq!(node.read_all(2, 0).unwrap(), expected);
        }
        node.disk = disk;
        node.disk.files.insert("accept-loss".into(), b"t-0\n".to_vec());
        let mut node = Node::start(node.disk, 0, shards, 4, config.clone());
        assert_eq!(node.p(0).failed(), None);
        node.append(0, 1, 100).unwrap();
    }
}

/// The only checkpoint there is was written by the first start: all that was appended since is in the journal, and so is that nothing was.
#[test]
fn with_the_first_checkpoint_damaged_nothing_is_in_doubt() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    node.append(0, 1, 300).unwrap();
    node.run();
    let checkpoints = NAMES.map(|name| format!("journal/g1x1/s0/{name}"));
    let there: Vec<&String> = checkpoints.iter().filter(|path| node.disk.files.contains_key(*path)).collect();
    node.disk.files.get_mut(there[0]).expect("it is there")[60] ^= 1;
    assert_eq!(there.len(), 1);
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    assert_eq!([0, 1].map(|p| node.p(p).failed()), [None, None]);
    assert_eq!(node.read_all(0, 0).unwrap(), [(0, 300)]);
}
