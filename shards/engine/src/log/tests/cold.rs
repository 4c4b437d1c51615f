//! Reading a log from the disk from one end to the other.

use super::*;

/// Reads all there is, `bytes_max` at a time: bytes from memory, and from files.
fn read_through(node: &mut Node, bytes_max: u64) -> (u64, u64) {
    let (mut from, mut given) = (0, (0, 0));
    while from < node.p(0).settled_end {
        let limits = ReadLimits { bytes_max, share: u64::MAX, at_least_one: true, up_to: i64::MAX };
        let data = node.read(0, from, limits).unwrap();
        assert!(data.end > from);
        from = data.end;
        for part in data.parts {
            match part {
                ReplyPart::Mem(bytes) => given.0 += bytes.len() as u64,
                ReplyPart::File(range) => given.1 += range.len,
            }
        }
    }
    given
}

#[test]
fn who_reads_on_reads_the_disk_once_and_ahead_and_the_next_one_has_it_from_the_file() {
    for (batch, bytes_max) in [(900, 1 << 20), (900, 300_000), (20_000, 1 << 20), (20_000, 4 << 20), (700_000, 1 << 20)]
    {
        let settings = LogSettings { settle_bytes: 2 << 20, ..LogSettings::default() };
        let mut node = Node::start_with(settings.clone(), Disk::default(), 0, 1, 1, LogConfig::default());
        for i in 0..(12 << 20) / batch {
            node.append(0, 1, batch as usize).unwrap();
            if i % 16 == 0 || batch > 100_000 {
                node.run();
            }
        }
        node.run();
        let mut node = Node::start_with(settings, node.disk, 0, 1, 1, LogConfig::default());
        let settled = node.p(0).settled_pos;
        assert!(settled > 8 << 20, "{settled}");
        node.done.clear();
        let (from_memory, from_file) = read_through(&mut node, bytes_max);
        let read = |node: &Node| node.done.iter().filter(|d| d.0 == "read").map(|d| d.2).sum::<u64>();
        assert_eq!(from_file, 0, "batches of {batch}, {bytes_max} at a time: {from_memory} from memory");
        // Windows overlap by a chunk or a batch that did not fit.
        let first = read(&node);
        assert!(first < settled * 2, "batches of {batch}, {bytes_max} at a time: read {first} of {settled}");
        node.done.clear();
        let (again_from_memory, again_from_file) = read_through(&mut node, bytes_max);
        assert!(
            again_from_file > again_from_memory,
            "{again_from_memory} from memory, {again_from_file} from the file"
        );
    }
}

/// An index of another file, whole as it is, leads to places where no batch begins or ends.
#[test]
fn a_wrong_index_is_found_out_and_done_without() {
    for (batch, moved) in [(900, Some(7)), (20_000, Some(-30)), (100_000, Some(-99_000)), (100_000, None)] {
        let mut node =
            Node::start(Disk::default(), 0, 1, 1, LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
        for _ in 0..(3 << 20) / batch {
            node.append(0, 1, batch as usize).unwrap();
            node.run();
        }
        let (all, mut disk) = (node.read_all(0, 0).unwrap(), node.disk.clone());
        let path = format!("partitions/{}/00000000000000000000.idx", folder_name(TOPIC, 0));
        let end = disk.files[&path.replace(".idx", ".log")].len() as i64;
        let bytes = disk.files.get_mut(&path).expect("the first segment is closed");
        let at = 24 + 24 + 8;
        let position = i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        // `None`: where no header fits.
        let position = moved.map_or(end - 5, |by| position + by);
        bytes[at..at + 8].copy_from_slice(&position.to_le_bytes());
        let crc = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        for bytes_max in [1, 70_000, 1 << 20] {
            let mut node = Node::start(disk.clone(), 0, 1, 1, LogConfig::default());
            let mut from = 0;
            let mut found = 0;
            while from < all.len() as i64 {
                let limits = ReadLimits { bytes_max, share: u64::MAX, at_least_one: true, up_to: i64::MAX };
                let data = node.read(0, from, limits).expect("the segment decides");
                assert!(data.end > from);
                (from, found) = (data.end, found + 1);
            }
            assert!(found > 0, "batches of {batch} {bytes_max} at a time");
        }
    }
}

/// Batches that an answer has no room for are not read to find that out.
#[test]
fn what_does_not_fit_is_not_read() {
    let settings = LogSettings { settle_bytes: 2 << 20, ..LogSettings::default() };
    let mut node = Node::start_with(settings.clone(), Disk::default(), 0, 1, 1, LogConfig::default());
    for _ in 0..12 {
        node.append(0, 1, 700_000).unwrap();
        node.run();
    }
    let mut node = Node::start_with(settings, node.disk, 0, 1, 1, LogConfig::default());
    let mut read = |from, bytes_max, at_least_one| {
        node.done.clear();
        let limits = ReadLimits { bytes_max, share: u64::MAX, at_least_one, up_to: i64::MAX };
        let bytes = node.read(0, from, limits).unwrap().bytes;
        (bytes > 0, node.done.iter().filter(|d| d.0 == "read").map(|d| d.2).sum::<u64>())
    };
    assert_eq!(read(0, 0, false), (false, 0));
    let (given, bytes) = read(0, 100_000, false);
    assert!(!given && bytes < 300_000, "{bytes}");
    let (given, bytes) = read(0, 0, true);
    assert!(given && bytes >= 700_000, "{bytes}");
    let (given, bytes) = read(1, 100_000, false);
    assert!(!given && bytes < 300_000, "{bytes}");
}
