//! No batch's checksum covers its offset, and where offsets are missing a wrong one may fit: the sums of compacted segments show it.

use super::*;

/// 600 keys at even offsets, what was at the odd ones is gone: one compacted segment of several chunks.
fn compacted_disk() -> Disk {
    let mut node = restart(Disk::default());
    let value = "x".repeat(400);
    for i in 0..600 {
        node.put(Codec::None, NOBODY, &[(&format!("key {i}"), Some(&value))]);
        node.put(Codec::None, NOBODY, &[("fill", Some(""))]);
    }
    node.fill(450);
    node.pass(10_000);
    assert_eq!(node.kept(0).len(), 600);
    let disk = node.disk;
    assert!(disk.files[&file(&disk, ".log")].len() > 250_000);
    disk
}

fn file(disk: &Disk, ending: &str) -> String {
    let mut all = disk.files.keys().filter(|path| path.contains("/00000000000000000000-") && path.ends_with(ending));
    all.next().expect("it was compacted").clone()
}

/// Where each batch of the compacted segment begins.
fn batches(disk: &Disk) -> Vec<usize> {
    inspect::segment_file(&disk.files[&file(disk, ".log")]).map(|found| found.position as usize).collect()
}

fn flip(disk: &Disk, at: usize, bit: u8) -> Disk {
    let mut disk = disk.clone();
    disk.files.get_mut(&file(&disk, ".log")).unwrap()[at] ^= 1 << bit;
    disk
}

fn restart(disk: Disk) -> Node {
    start(disk, LogConfig { segment_bytes: 400_000, ..compacted() })
}

#[test]
fn an_offset_that_fits_is_damage_all_the_same() {
    let disk = compacted_disk();
    let all = batches(&disk);
    let infos: Vec<_> = inspect::segment_file(&disk.files[&file(&disk, ".log")]).map(|found| found.info).collect();
    // First and last of the segment, and some in between, each with another bit of the offset; the leader epoch as well.
    for (i, byte, bit) in
        [(0, 7, 0), (0, 6, 2), (1, 7, 5), (300, 6, 3), (300, 15, 0), (all.len() - 1, 7, 1), (200, 3, 7)]
    {
        let mut node = restart(flip(&disk, all[i] + byte, bit));
        let one = ReadLimits { bytes_max: 1, share: u64::MAX, at_least_one: true, up_to: i64::MAX };
        let read = node.read(0, infos[i].base_offset, one);
        assert!(matches!(&read, Err(ReadError::Storage(reason)) if reason.contains("-1.log")), "{i}, {byte}: {read:?}");
        // What lies in another chunk was given before.
        let mut node = restart(flip(&disk, all[i] + byte, bit));
        let first = node.read(0, 0, one);
        assert_eq!(first.is_ok(), i >= 200, "{i}, {byte}: {first:?}");
    }
}

/// Else the wrong offset would have the right checksum from then on.
#[test]
fn compaction_does_not_take_a_wrong_offset_over() {
    let disk = compacted_disk();
    let all = batches(&disk);
    for (i, byte, bit) in [(0, 7, 0), (250, 7, 0), (598, 7, 0)] {
        let mut node = restart(flip(&disk, all[i] + byte, bit));
        node.put(Codec::None, NOBODY, &[("key 7", Some("new"))]);
        node.fill(450);
        node.pass(10_000);
        let told = node
            .lines
            .iter()
            .any(|line| line.contains("not compacted any more") && line.contains("checksum of their offsets"));
        assert!(told, "{i}: {:?}", node.lines);
        let is_left = |path: &String| path.contains("/00000000000000000000-1");
        assert_eq!(node.disk.files.keys().filter(|path| is_left(path)).count(), 2);
    }
    // Nothing is in the way of it otherwise, also with an index that is damaged, or of the kind without sums.
    let mut without = disk.clone();
    without.files.get_mut(&file(&disk, ".idx")).unwrap()[60] ^= 1;
    for disk in [disk, without] {
        let mut node = restart(disk);
        assert_eq!(node.kept(0).len(), 600);
        node.put(Codec::None, NOBODY, &[("key 7", Some("new"))]);
        node.fill(450);
        node.pass(10_000);
        assert_eq!(node.kept(0).len(), 600, "{:?}", node.lines);
        assert!(node.disk.files.keys().any(|path| path.contains("/00000000000000000000-2")));
    }
}

/// Both checkpoints are damaged, so the segments are read.
#[test]
fn a_wrong_offset_does_not_come_in_by_recovery() {
    let mut disk = compacted_disk();
    for (path, bytes) in disk.files.iter_mut().filter(|(path, _)| path.contains("/checkpoint-")) {
        bytes[60] ^= 1;
        assert!(path.starts_with("journal/"));
    }
    assert_eq!(restart(disk.clone()).kept(0).len(), 600);
    let all = batches(&disk);
    for (i, byte, bit) in [(0, 7, 0), (250, 7, 0), (598, 7, 0)] {
        let node = restart(flip(&disk, all[i] + byte, bit));
        assert!(node.p(0).failed().is_some(), "{i}: {:?}", node.lines);
    }
}

/// The operator accepts the loss: what is in the chunk cannot be told from what it was, all others are given.
#[test]
fn an_accepted_loss_is_no_more_than_its_chunk() {
    let disk = compacted_disk();
    let all = batches(&disk);
    let accepted = |mut disk: Disk| {
        disk.files.insert("accept-loss".into(), b"*\n".to_vec());
        restart(disk)
    };
    let mut node = accepted(flip(&disk, all[300] + 7, 4));
    let kept = node.kept(0);
    let lost = 600 - kept.len();
    assert!((1..250).contains(&lost), "{lost} lost");
    assert!(kept.iter().all(|(offset, key, _)| *key == format!("key {}", offset / 2)), "none has another's offset");
    // A batch whose records are damaged is known by its place: only that one is lost.
    let mut node = accepted(flip(&disk, all[300] + 100, 4));
    assert_eq!(node.kept(0).len(), 599);
}

/// The checksum of a batch does not cover its offset, and with gaps a later one is none too many: but it lies in its segment.
#[test]
fn an_offset_behind_its_segment_is_damage() {
    let mut node = start(Disk::default(), compacted());
    node.put(Codec::None, NOBODY, &[("a", Some("1"))]);
    node.put(Codec::None, NOBODY, &[("b", Some("1"))]);
    node.fill(60);
    node.pass(1000);
    assert_eq!(node.kept(0).len(), 2);
    let mut disk = node.disk;
    let is_compacted = |path: &str| path.contains("/00000000000000000000-") && path.ends_with(".log");
    let (path, bytes) = disk.files.iter_mut().find(|(path, _)| is_compacted(path)).unwrap();
    let path = path.clone();
    let second = BatchHeader::decode(bytes).unwrap().total_bytes();
    assert_eq!(BatchHeader::decode(&bytes[second..]).unwrap().base_offset, 1);
    bytes[second + 3] ^= 1;
    let mut node = start(disk, compacted());
    assert!(matches!(node.read_all(0, 1), Err(ReadError::Storage(reason)) if reason.contains(&path)));
}
