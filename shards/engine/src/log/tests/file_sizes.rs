//! Journal files of different sizes in one ring: the setting was changed between two starts.

use super::*;

/// Files of so many KiB, eight of them.
fn settings(file_kib: u64, settle_kib: u64) -> LogSettings {
    LogSettings {
        journal_bytes: file_kib << 13,
        journal_file_bytes: file_kib << 10,
        commit_bytes_max: 512 << 10,
        settle_bytes: settle_kib << 10,
        cache_bytes: 4 << 20,
        ..small()
    }
}

fn damaged(disk: &Disk, name: &str) -> Option<Disk> {
    let mut disk = disk.clone();
    disk.files.get_mut(&format!("journal/g1x1/s0/{name}"))?[60] ^= 1;
    Some(disk)
}

/// Larger than the old files, so that a commit with one fits the new ones only.
fn bytes_of(i: usize) -> usize {
    if i.is_multiple_of(3) { 160_000 } else { 9_000 + (i % 7) * 900 }
}

/// A file too small for the next commit must not be passed over: of the commits that an older checkpoint still asks for some in between would be gone.
#[test]
fn files_are_used_again_oldest_first_whatever_their_size() {
    for (before, after) in [(128, 512), (512, 256)] {
        for settle_kib in [300, 700] {
            let start = |disk, kib| Node::start_with(settings(kib, settle_kib), disk, 0, 1, 2, LogConfig::default());
            let mut node = start(Disk::default(), before);
            // Nothing is appended to it later: it would be in doubt about any commit that is missing.
            node.append(1, 1, 300).unwrap();
            for i in 0..90 {
                node.append(0, 1, 9_000 + (i % 7) * 900).unwrap();
                node.run();
            }
            node = start(node.disk, after);
            for i in 0..60 {
                node.append(0, 1, bytes_of(i)).unwrap();
                node.run();
                for name in ["checkpoint-a", "checkpoint-b"] {
                    let Some(disk) = damaged(&node.disk, name) else { continue };
                    let again = start(disk, after);
                    let failed = again.p(0).failed().or(again.p(1).failed());
                    assert_eq!(failed, None, "{before} to {after} KiB, settled by {settle_kib}, append {i}, {name}");
                }
            }
            let mut node = start(node.disk, after);
            assert_eq!(node.read_all(0, 0).unwrap().len(), 150);
            assert_eq!(node.read_all(1, 0).unwrap().len(), 1);
        }
    }
}

/// What a start makes larger, it leaves as it was until a checkpoint of its own is there: a crash before may leave it half done, and then the
/// checkpoint before the last one may be all there is.
#[test]
fn making_files_larger_changes_nothing_that_a_checkpoint_asks_for() {
    let start = |disk, kib| Node::start_with(settings(kib, 100), disk, 0, 1, 2, LogConfig::default());
    let mut node = start(Disk::default(), 128);
    node.append(1, 1, 300).unwrap();
    for i in 0..120 {
        node.append(0, 1, 9_000 + (i % 7) * 900).unwrap();
        node.run();
        for crashed_after in 0..4 {
            // Of what the start writes, so many operations are carried out.
            let mut node = Node::new(settings(512, 100), node.disk.clone(), 0, 1);
            node.left = Some(crashed_after);
            let list = (0..2).map(|p| (TOPIC, p, "t".to_string(), LogConfig::default())).collect();
            node.log.start(node.now, list, &mut node.fx);
            node.run();
            for name in ["checkpoint-a", "checkpoint-b"] {
                let Some(disk) = damaged(&node.disk, name) else { continue };
                let again = start(disk, 512);
                let failed = again.p(0).failed().or(again.p(1).failed());
                assert_eq!(failed, None, "append {i}, crashed after {crashed_after}, {name}");
            }
        }
    }
}
