//! How much a start does: it must not grow with the data, and little with the number of partitions.

use super::*;

/// Many partitions with many batches each, killed while the journal is as full as it gets.
fn killed(settings: &LogSettings, partitions: i32, batches: i32, bytes: usize) -> Disk {
    let disk = Disk { forgets_segments: true, ..Disk::default() };
    let mut node = Node::start_with(settings.clone(), disk, 0, 1, partitions, LogConfig::default());
    for i in 0..batches {
        let p = (i * 7) % partitions;
        while node.append_as(p, 1, bytes, (i64::from(p), 0, i / partitions)) == Err(AppendError::Full) {
            node.run();
        }
        if i % 64 == 0 {
            node.run();
            node.done.clear();
        }
    }
    node.run();
    node.disk
}

#[test]
fn a_start_reads_the_journal_and_nothing_else() {
    let settings = LogSettings { journal_bytes: 4 << 20, cache_bytes: 4 << 20, ..small() };
    let disk = killed(&settings, 200, 20_000, 700);
    let journal: u64 =
        disk.files.iter().filter(|(p, _)| p.starts_with("journal/g1x1/s0/j")).map(|(_, b)| b.len() as u64).sum();
    assert!(disk.files.keys().filter(|p| p.ends_with(".log")).count() > 100, "most partitions have a segment");
    let node = Node::start_with(settings.clone(), disk, 0, 1, 200, LogConfig::default());
    let count = |name: &str| node.boot.iter().filter(|(n, ..)| *n == name).count();
    let files = settings.journal_bytes / settings.journal_file_bytes;
    // Two folders, two checkpoints and the operator's word, each journal file opened, read whole and synced, one checkpoint written.
    assert_eq!((count("list"), count("read file"), count("replace")), (2, 3, 1), "{:?}", node.boot);
    assert!(count("open") as u64 <= files && count("read") == count("open") && count("sync") <= count("open"));
    assert_eq!(count("create") + count("zero") + count("write") + count("preallocate"), 0, "{:?}", node.boot);
    assert!(node.boot.iter().all(|(_, path, _)| !path.starts_with("partitions/")));
    let read: u64 = node.boot.iter().filter(|(name, ..)| *name == "read").map(|(.., bytes)| bytes).sum();
    assert!(read <= journal);
    assert_eq!((0..200).map(|p| node.p(p).log_end()).sum::<i64>(), 20_000);
}

/// `cargo test --release -p floe-engine restart_time -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for a release build"]
#[allow(clippy::disallowed_methods)]
fn restart_time() {
    for (partitions, bytes) in [(2000, 1024), (2000, 200), (16, 65_536)] {
        let settings = LogSettings::default();
        let batches = (settings.journal_bytes * 2 / bytes as u64) as i32;
        let disk = killed(&settings, partitions, batches, bytes);
        let since = std::time::Instant::now();
        let mut node = Node::start_with(settings, disk, 0, 1, partitions, LogConfig::default());
        let all = since.elapsed();
        let read: u64 = node.boot.iter().map(|(.., bytes)| bytes).sum();
        let reads = node.boot.iter().filter(|(name, ..)| *name == "read").count();
        println!(
            "{partitions} partitions, batches of {bytes} bytes: {reads} reads, {} MiB, {} operations; {:?} with memory as the disk, memory held {} MiB",
            read >> 20,
            node.boot.len(),
            all,
            node.log.metrics().memory_bytes >> 20,
        );
        node.run();
    }
}
