//! Compaction: what stays, what goes, what readers see meanwhile and what a crash leaves.

mod offsets;
mod transactions;

use floe_wire::batch::{BatchBuilder, BatchHeader, BatchRecord, records};
use floe_wire::compression::Codec;

use super::*;
use crate::log::api::Compaction;

fn compacted() -> LogConfig {
    let compact = Compaction { dirty_ratio_ppm: 0, ..Compaction::default() };
    LogConfig { segment_bytes: 20_000, delete: false, compact: Some(compact), ..LogConfig::default() }
}

fn settings() -> LogSettings {
    LogSettings { compaction_backoff_ms: 1, ..small() }
}

fn start(disk: Disk, config: LogConfig) -> Node {
    Node::start_with(settings(), disk, 0, 1, 1, config)
}

type Kept = (i64, String, Option<String>);

impl Node {
    /// Appends a batch of these keys; `None` deletes.
    fn put(&mut self, codec: Codec, producer: (i64, i16, i32), pairs: &[(&str, Option<&str>)]) -> i64 {
        let mut builder = BatchBuilder::new(codec);
        builder.producer(producer.0, producer.1, producer.2);
        for (key, value) in pairs {
            let record = BatchRecord {
                timestamp: self.now.wall_ms,
                key: Some(key.as_bytes()),
                value: value.map(str::as_bytes),
                headers: &[],
            };
            builder.push(record);
        }
        let batch = builder.finish();
        let info = batch::header(&batch).expect("made so");
        let appended = self.log.append(self.now, self.ix(0), &batch, &info, 3).expect("there is room");
        self.run();
        appended.base_offset
    }

    /// Many batches of random bytes under few keys, so that segments settle and close.
    fn fill(&mut self, batches: usize) {
        for i in 0..batches {
            let value = format!("{i:0>2000}");
            self.put(Codec::None, (-1, -1, -1), &[(&format!("fill {}", i % 3), Some(&value))]);
        }
    }

    /// Lets so much time pass, in steps of housekeeping.
    fn pass(&mut self, ms: i64) {
        let step = ms.min(5000);
        let mut passed = 0;
        while passed < ms || passed < 3 * step {
            passed += step;
            self.now.wall_ms += step;
            self.now.mono_ns += step as u64 * 1_000_000 + 1_000_000_000;
            self.log.timer(self.now, &mut self.fx);
            self.run();
        }
    }

    /// Every record from `from` on.
    fn records(&mut self, from: i64) -> Vec<Kept> {
        let mut all = Vec::new();
        for bytes in self.batches(from) {
            let mut scratch = Vec::new();
            for record in records(&bytes, &mut scratch).expect("a batch") {
                let record = record.expect("a record");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
                all.push((record.offset, record.key.map(text).unwrap_or_default(), record.value.map(text)));
            }
        }
        all
    }

    /// Those whose key does not begin with `fill`.
    fn kept(&mut self, from: i64) -> Vec<Kept> {
        self.records(from).into_iter().filter(|(_, key, _)| !key.starts_with("fill")).collect()
    }

    /// Every batch from `from` on, as it is read by somebody who goes on behind each answer's last batch.
    fn batches(&mut self, mut from: i64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while from < self.p(0).high_watermark() {
            let limits = ReadLimits { bytes_max: 30_000, share: u64::MAX, at_least_one: true, up_to: i64::MAX };
            let ix = self.ix(0);
            let data = match self.log.read(self.now, ix, from, limits, &mut self.fx).expect("it can be read") {
                ReadOutcome::Ready(data) => data,
                ReadOutcome::Cold(wanted) => {
                    self.run();
                    let is_it = |e: &LogEvent| matches!(e, LogEvent::ReadDone { ticket, .. } if *ticket == wanted);
                    let at = self.events.iter().position(is_it).expect("the disk answers at once");
                    match self.events.remove(at) {
                        LogEvent::ReadDone { result, .. } => result.expect("it can be read"),
                        _ => unreachable!(),
                    }
                }
            };
            assert!(data.bytes > 0, "there is always something behind a gap (from {from})");
            let mut bytes = Vec::new();
            for part in data.parts {
                match part {
                    ReplyPart::Mem(b) => bytes.extend_from_slice(&b),
                    ReplyPart::File(range) => {
                        let file = &self.disk.files[range.file.get::<String>().expect("ours")];
                        bytes.extend_from_slice(&file[range.offset as usize..(range.offset + range.len) as usize]);
                    }
                }
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let header = BatchHeader::decode(rest).expect("whole batches");
                assert!(header.last_offset() >= from && header.crc_holds(rest));
                from = header.last_offset() + 1;
                let (one, behind) = rest.split_at(header.total_bytes());
                all.push(one.to_vec());
                rest = behind;
            }
        }
        all
    }

    fn segment_files(&self) -> impl Iterator<Item = (&str, usize)> {
        let files = self.disk.files.iter().filter(|(p, _)| p.starts_with("partitions/") && p.ends_with(".log"));
        files.map(|(p, bytes)| (p.as_str(), bytes.len()))
    }

    fn segment_bytes(&self) -> usize {
        self.segment_files().map(|(_, bytes)| bytes).sum()
    }
}

fn kept(rows: &[(i64, &str, Option<&str>)]) -> Vec<Kept> {
    rows.iter().map(|(offset, key, value)| (*offset, (*key).to_owned(), value.map(str::to_owned))).collect()
}

const NOBODY: (i64, i16, i32) = (-1, -1, -1);

#[test]
fn the_last_of_each_key_stays_with_its_offset() {
    for codec in Codec::ALL {
        let mut node = start(Disk::default(), compacted());
        node.put(codec, NOBODY, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
        node.put(codec, NOBODY, &[("a", Some("2")), ("a", Some("3"))]);
        node.put(codec, NOBODY, &[("b", Some("2"))]);
        node.fill(60);
        let before = node.segment_bytes();
        node.pass(1000);
        let want = kept(&[(2, "c", Some("1")), (4, "a", Some("3")), (5, "b", Some("2"))]);
        assert_eq!(node.kept(0), want, "{codec:?}");
        assert!(node.segment_bytes() < before / 3, "{} of {before} bytes left", node.segment_bytes());
        // In the middle of a gap begins what follows.
        assert_eq!(node.kept(3), want[1..]);
        assert_eq!(node.kept(5), want[2..]);
        assert!(node.log.metrics().compaction_removed_bytes > 50_000);
        // What was compacted once is compacted again with what came later, and comes back from disk as it is.
        node.put(codec, NOBODY, &[("a", Some("4"))]);
        node.fill(60);
        node.pass(1000);
        let want = [&want[..1], &want[2..], &kept(&[(66, "a", Some("4"))])].concat();
        assert_eq!(node.kept(0), want);
        assert!(node.segment_files().count() < 8, "small ones become one");
        let mut node = start(node.disk, compacted());
        assert_eq!(node.kept(0), want);
        // Without any checkpoint the segments say it themselves.
        let mut disk = node.disk.clone();
        for (_, bytes) in disk.files.iter_mut().filter(|(path, _)| path.contains("/checkpoint-")) {
            bytes[20] ^= 1;
        }
        let mut node = start(disk, compacted());
        assert_eq!(node.p(0).failed(), None);
        assert_eq!(node.kept(0), want);
    }
}

#[test]
fn a_deletion_stays_for_a_while() {
    let config = LogConfig {
        compact: Some(Compaction { dirty_ratio_ppm: 0, delete_retention_ms: 60_000, ..Compaction::default() }),
        ..compacted()
    };
    let mut node = start(Disk::default(), config);
    node.put(Codec::None, NOBODY, &[("a", Some("1")), ("b", Some("1"))]);
    node.put(Codec::Lz4, NOBODY, &[("a", None), ("c", Some("1"))]);
    let time_ms = node.now.wall_ms;
    node.fill(60);
    node.pass(1000);
    let want = kept(&[(1, "b", Some("1")), (2, "a", None), (3, "c", Some("1"))]);
    assert_eq!(node.kept(0), want);
    let batches = node.batches(2);
    let header = BatchHeader::decode(&batches[0]).unwrap();
    assert!(header.has_delete_horizon() && header.base_timestamp >= time_ms + 60_000);
    let mut scratch = Vec::new();
    assert!(records(&batches[0], &mut scratch).unwrap().all(|r| r.unwrap().timestamp == time_ms), "as they were");
    node.fill(60);
    node.pass(20_000);
    assert_eq!(node.kept(0), want, "not yet");
    node.pass(60_000);
    node.fill(60);
    node.pass(1000);
    assert_eq!(node.kept(0), [want[0].clone(), want[2].clone()]);
}

#[test]
fn sequences_survive_the_records_they_came_with() {
    let mut node = start(Disk::default(), compacted());
    node.put(Codec::Gzip, (7, 1, 0), &[("a", Some("1")), ("a", Some("2"))]);
    node.put(Codec::Gzip, (7, 1, 2), &[("a", Some("3"))]);
    node.put(Codec::None, NOBODY, &[("a", Some("4"))]);
    node.fill(40);
    node.pass(1000);
    assert_eq!(node.kept(0), kept(&[(3, "a", Some("4"))]));
    let batches = node.batches(0);
    let first = BatchHeader::decode(&batches[0]).unwrap();
    assert_eq!((first.base_offset, first.last_offset(), first.records_count), (2, 2, 0), "an empty one says it");
    let mut disk = node.disk;
    for (_, bytes) in disk.files.iter_mut().filter(|(path, _)| path.contains("/checkpoint-")) {
        bytes[20] ^= 1;
    }
    let node = start(disk, compacted());
    let last = node.p(0).producers().get(7).and_then(|p| p.batches.back()).copied().unwrap();
    assert_eq!((last.first_sequence, last.last_sequence, last.base_offset), (2, 2, 2));
}

#[test]
fn lookups_find_what_is_left() {
    let mut node = start(Disk::default(), compacted());
    for i in 0..20 {
        node.now.wall_ms += 1000;
        node.put(Codec::None, NOBODY, &[(if i % 5 == 0 { "a" } else { "b" }, Some("1"))]);
    }
    let time_ms = node.now.wall_ms;
    node.fill(40);
    node.pass(1000);
    assert_eq!(node.kept(0).iter().map(|r| r.0).collect::<Vec<_>>(), [15, 19]);
    for (before_ms, offset) in [(19_000, 15), (4000, 15), (3999, 19), (0, 19)] {
        let ix = node.ix(0);
        let found = match node.log.lookup_timestamp(node.now, ix, time_ms - before_ms, &mut node.fx).unwrap() {
            LookupOutcome::Ready(found) => found,
            LookupOutcome::Cold(_) => {
                node.run();
                match node.events.pop() {
                    Some(LogEvent::LookupDone { result, .. }) => result.unwrap(),
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(found.map(|f| f.offset), Some(offset), "{before_ms} before");
    }
}

/// Damage met while compacting costs nothing that is not lost already: what is there stays, and the reader is told when it comes there.
#[test]
fn damage_is_left_alone() {
    let mut node = start(Disk::default(), compacted());
    node.put(Codec::None, NOBODY, &[("a", Some("1"))]);
    node.put(Codec::None, NOBODY, &[("a", Some("2"))]);
    node.fill(60);
    let (path, bytes) = node.disk.files.iter_mut().find(|(p, _)| p.ends_with("00000000000000000000.log")).unwrap();
    bytes[5000] ^= 1;
    let path = path.clone();
    let before = node.disk.files[&path].clone();
    node.pass(1000);
    assert_eq!(node.disk.files.get(&path), Some(&before));
    assert!(node.lines.iter().any(|line| line.contains("not compacted any more")), "{:?}", node.lines);
    assert_eq!(node.p(0).failed(), None);
    assert_eq!(node.segment_files().filter(|(name, _)| name.contains("-1.log")).count(), 0, "nothing half made stays");
}

/// A start with another number of shards that did not end leaves two generations, and both have checkpoints of a partition. The older one still
/// names the files that the newer one has compacted since.
#[test]
fn the_newest_generation_knows_which_files_are_left() {
    let mut node = start(Disk::default(), compacted());
    node.put(Codec::None, NOBODY, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
    node.fill(60);
    let old: Vec<String> = node.segment_files().map(|(path, _)| path.to_owned()).collect();
    // One of two shards starts, compacts, and the other never does.
    let mut node = Node::start_with(settings(), node.disk, 0, 2, 1, compacted());
    let settled_end = node.p(0).settled_end;
    node.pass(10_000);
    assert_eq!(node.p(0).settled_end, settled_end, "nothing but the files tells the two apart");
    let left = old.iter().filter(|path| node.disk.files.contains_key(*path)).count();
    assert_eq!((left, old.len()), (0, 4), "all of them are replaced");
    assert!(node.disk.files.keys().any(|path| path.starts_with("journal/g1x1/")));
    for shards in [2, 3] {
        let mut node = Node::start_with(settings(), node.disk.clone(), 0, shards, 1, compacted());
        assert_eq!(node.p(0).failed(), None);
        assert_eq!(node.kept(0), kept(&[(1, "b", Some("1")), (2, "a", Some("2"))]), "{shards} shards");
    }
}

/// The table of keys holds few: what it does not reach has its turn in the next run.
#[test]
fn many_keys_take_several_runs() {
    let settings = LogSettings { compaction_bytes_max: 24 * 24, ..settings() };
    let mut node = Node::start_with(settings, Disk::default(), 0, 1, 1, compacted());
    for round in 0..3 {
        for i in 0..100 {
            let value = format!("{round}{i:0>700}");
            node.put(Codec::Snappy, NOBODY, &[(&format!("key {i}"), Some(&value)), (&format!("key {i}"), None)]);
            node.put(Codec::None, NOBODY, &[(&format!("key {i}"), Some(&value))]);
        }
    }
    node.fill(60);
    for _ in 0..40 {
        node.pass(1000);
    }
    assert!(node.log.metrics().compaction_runs > 10);
    let all = node.kept(0);
    let expected: Vec<i64> = (0..100).map(|i| 602 + i * 3).collect();
    assert_eq!(all.iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(), expected);
}

/// Whenever the power goes, what is found again holds the last of each key and nothing that was not there.
#[test]
fn a_crash_leaves_the_old_or_the_new() {
    let steps = {
        let mut node = start(Disk::default(), compacted());
        crash_scene(&mut node);
        node.done.clear();
        node.pass(3000);
        node.done.len()
    };
    assert!(steps > 40, "{steps}");
    let mut versions = std::collections::BTreeSet::new();
    for step in 0..steps {
        for lost in 0..4 {
            let mut node = start(Disk::default(), compacted());
            crash_scene(&mut node);
            let mut disk = crashed_after(node, step);
            // One checkpoint may be lost as well, or both.
            for (path, bytes) in disk.files.iter_mut() {
                let (a, b) = (path.ends_with("/checkpoint-a"), path.ends_with("/checkpoint-b"));
                if (a && lost & 1 > 0) || (b && lost & 2 > 0) {
                    bytes[20] ^= 1;
                }
            }
            let mut node = start(disk, compacted());
            assert_eq!(node.p(0).failed(), None, "step {step}, lost {lost}");
            let found = node.kept(0);
            versions.insert(found.len());
            let last: BTreeMap<String, (i64, Option<String>)> =
                found.into_iter().map(|(offset, key, value)| (key, (offset, value))).collect();
            for i in 0..5 {
                let (offset, value) = &last[&format!("key {i}")];
                assert_eq!((*offset, value.as_deref()), (90 + i, Some("17")), "step {step}, lost {lost}");
            }
            // It goes on, and nothing is left over in the end.
            node.fill(60);
            node.pass(10_000);
            assert_eq!(node.kept(0).len(), 5, "step {step}, lost {lost}");
            let (known, there) = (node.p(0).segments.len(), node.segment_files().count());
            assert!(there <= known, "step {step}, lost {lost}: {there} files, {known} segments");
        }
    }
    assert!(versions.len() > 1, "old and new ones were met: {versions:?}");
}

fn crash_scene(node: &mut Node) {
    for round in 0..18 {
        for i in 0..5 {
            node.put(Codec::None, NOBODY, &[(&format!("key {i}"), Some(&format!("{round}")))]);
        }
    }
    assert_eq!(node.p(0).log_end(), 90);
    for i in 0..5 {
        node.put(Codec::None, NOBODY, &[(&format!("key {i}"), Some("17"))]);
    }
    node.fill(60);
}

/// The disk when power is lost after so many operations of compaction and what goes with it.
fn crashed_after(mut node: Node, step: usize) -> Disk {
    node.done.clear();
    for _ in 0..3 {
        node.now.wall_ms += 1000;
        node.now.mono_ns += 2_000_000_000;
        node.log.timer(node.now, &mut node.fx);
        loop {
            node.log.end_of_round(node.now, &mut node.fx);
            while node.log.poll_event().is_some() {}
            if node.fx.is_empty() {
                break;
            }
            for effect in std::mem::take(&mut node.fx) {
                let Effect::Disk { op, what } = effect else { continue };
                if node.done.len() == step {
                    return node.disk;
                }
                let result = node.disk.carry_out(&what);
                node.done.push(described(&what, &result));
                node.log.handle_disk(node.now, op, result, &mut node.fx);
            }
        }
    }
    node.disk
}
