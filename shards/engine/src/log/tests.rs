//! The log against a tiny disk in memory: every operation of a round is carried out at once, or held back by the test; files forget what was not
//! synced when the test says that power was lost. The simulator does the wide work; here stand the cases that name a rule.

use std::collections::BTreeMap;

use bytes::Bytes;
use floe_wire::ids::TopicId;

use super::*;
use crate::event::{DirEntry, DiskErrorKind, FileHandle, ReplyPart};

const TOPIC: TopicId = TopicId([7; 16]);

/// A disk on which everything that ended is durable.
#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
}

impl Disk {
    fn carry_out(&mut self, what: &DiskOp) -> Result<DiskOutput, DiskError> {
        let path_of = |file: &FileHandle| file.get::<String>().expect("ours").clone();
        let missing = |path: &str| DiskError { kind: DiskErrorKind::NotFound, message: path.into() };
        match what {
            DiskOp::Open { path, create, .. } => {
                if !self.files.contains_key(path) && !create {
                    return Err(missing(path));
                }
                let len = self.files.entry(path.clone()).or_default().len() as u64;
                Ok(DiskOutput::Opened { file: FileHandle::new(path.clone()), len })
            }
            DiskOp::Preallocate { .. } | DiskOp::Sync { .. } => Ok(DiskOutput::Done),
            DiskOp::WriteZeros { file, offset, len } => {
                self.write(&path_of(file), *offset, &vec![0; *len as usize]);
                Ok(DiskOutput::Done)
            }
            DiskOp::Write { file, offset, data, .. } => {
                self.write(&path_of(file), *offset, data);
                Ok(DiskOutput::Done)
            }
            DiskOp::Read { file, offset, len } => {
                let bytes = &self.files[&path_of(file)];
                let from = (*offset as usize).min(bytes.len());
                let to = ((offset + len) as usize).min(bytes.len());
                Ok(DiskOutput::Data(Bytes::copy_from_slice(&bytes[from..to])))
            }
            DiskOp::Truncate { file, len } => {
                self.files.get_mut(&path_of(file)).expect("open").resize(*len as usize, 0);
                Ok(DiskOutput::Done)
            }
            DiskOp::ReadFile { path, .. } => {
                self.files.get(path).map(|b| DiskOutput::Data(Bytes::copy_from_slice(b))).ok_or_else(|| missing(path))
            }
            DiskOp::ReplaceFile { path, data } => {
                self.files.insert(path.clone(), data.to_vec());
                Ok(DiskOutput::Done)
            }
            DiskOp::Remove { path } => {
                let below = format!("{path}/");
                self.files.retain(|p, _| p != path && !p.starts_with(&below));
                Ok(DiskOutput::Done)
            }
            DiskOp::List { path } => {
                let below = format!("{path}/");
                let mut entries: BTreeMap<String, DirEntry> = BTreeMap::new();
                for (p, bytes) in self.files.iter().filter_map(|(p, b)| Some((p.strip_prefix(&below)?, b))) {
                    let (name, rest) = p.split_once('/').map_or((p, None), |(n, r)| (n, Some(r)));
                    let len = if rest.is_none() { bytes.len() as u64 } else { 0 };
                    entries.insert(name.into(), DirEntry { name: name.into(), len, is_dir: rest.is_some() });
                }
                Ok(DiskOutput::Entries(entries.into_values().collect()))
            }
        }
    }

    fn write(&mut self, path: &str, offset: u64, data: &[u8]) {
        let file = self.files.get_mut(path).expect("open");
        let end = offset as usize + data.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(data);
    }
}

/// One start of a shard's log on a disk.
struct Node {
    log: ShardLog,
    disk: Disk,
    fx: Effects,
    now: Time,
    events: Vec<LogEvent>,
    lines: Vec<String>,
    /// Decides what becomes of an operation: carried out, failed, or neither (`None`: it never ends).
    fault: fn(&DiskOp) -> Option<Result<(), DiskErrorKind>>,
}

fn small() -> LogSettings {
    LogSettings {
        journal_bytes: 1 << 20,
        journal_file_bytes: 128 << 10,
        cache_bytes: 1 << 20,
        settle_bytes: 64 << 10,
        commit_bytes_max: 64 << 10,
        retention_check_ms: 1000,
        ..LogSettings::default()
    }
}

impl Node {
    fn start(disk: Disk, shard: u16, shards: u16, partitions: i32, config: LogConfig) -> Node {
        let mut node = Node {
            log: ShardLog::of_shard(shard, shards, [5; 32], small()),
            disk,
            fx: Vec::new(),
            now: Time { mono_ns: 1, wall_ms: 1_000_000 },
            events: Vec::new(),
            lines: Vec::new(),
            fault: |_| Some(Ok(())),
        };
        let mine = (0..partitions).filter(|p| p % i32::from(shards) == i32::from(shard));
        let list = mine.map(|p| (TOPIC, p, "t".to_string(), config.clone())).collect();
        node.log.start(node.now, list, &mut node.fx);
        node.run();
        node
    }

    fn run(&mut self) {
        loop {
            self.log.end_of_round(self.now, &mut self.fx);
            while let Some(event) = self.log.poll_event() {
                self.events.push(event);
            }
            if self.fx.is_empty() {
                return;
            }
            for effect in std::mem::take(&mut self.fx) {
                match effect {
                    Effect::Disk { op, what } => {
                        let result = match (self.fault)(&what) {
                            None => continue,
                            Some(Ok(())) => self.disk.carry_out(&what),
                            Some(Err(kind)) => Err(DiskError { kind, message: "injected".into() }),
                        };
                        self.now.mono_ns += 1000;
                        self.log.handle_disk(self.now, op, result, &mut self.fx);
                    }
                    Effect::Log { line, .. } => self.lines.push(line),
                    Effect::Fatal { message } => panic!("{message}"),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn ix(&self, partition: i32) -> PartitionIx {
        self.log.find(TOPIC, partition).expect("it is there")
    }

    fn p(&self, partition: i32) -> &Partition {
        self.log.partition(self.ix(partition)).expect("it is there")
    }

    fn append(&mut self, partition: i32, records: i32, bytes: usize) -> Result<Appended, AppendError> {
        self.append_as(partition, records, bytes, (-1, -1, -1))
    }

    fn append_as(
        &mut self,
        partition: i32,
        records: i32,
        bytes: usize,
        producer: (i64, i16, i32),
    ) -> Result<Appended, AppendError> {
        let batch = make_batch(records, bytes, producer, self.now.wall_ms);
        let info = batch::header(&batch).expect("made so");
        let ix = self.ix(partition);
        self.log.append(self.now, ix, &batch, &info, 3)
    }

    /// Everything that can be read from `from` on, as (base offset, length) of each batch.
    fn read_all(&mut self, partition: i32, mut from: i64) -> Result<Vec<(i64, usize)>, ReadError> {
        let mut found = Vec::new();
        while from < self.p(partition).high_watermark() {
            let limits = ReadLimits { bytes_max: 200_000, at_least_one: true, up_to: i64::MAX };
            let ix = self.ix(partition);
            let data = match self.log.read(self.now, ix, from, limits, &mut self.fx)? {
                ReadOutcome::Ready(data) => data,
                ReadOutcome::Cold(wanted) => {
                    self.run();
                    let done = self
                        .events
                        .iter()
                        .position(|e| matches!(e, LogEvent::ReadDone { ticket, .. } if *ticket == wanted));
                    match self.events.remove(done.expect("the disk answers at once")) {
                        LogEvent::ReadDone { result, .. } => result?,
                        _ => unreachable!(),
                    }
                }
            };
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
            for batch in inspect::segment_file(&bytes) {
                assert!(batch.whole);
                let last = batch.info.base_offset + i64::from(batch.info.last_offset_delta);
                assert!(last >= from, "a batch that was not asked for");
                assert!(batch.info.base_offset <= from, "a gap before {}", batch.info.base_offset);
                found.push((batch.info.base_offset, batch.info.bytes as usize));
                from = last + 1;
            }
        }
        Ok(found)
    }
}

fn make_batch(records: i32, bytes: usize, producer: (i64, i16, i32), time_ms: i64) -> Vec<u8> {
    let mut b = vec![0x5a; bytes.max(batch::HEADER_BYTES)];
    let len = b.len() as i32 - 12;
    b[..8].fill(0);
    b[8..12].copy_from_slice(&len.to_be_bytes());
    b[16] = 2;
    b[21..23].fill(0);
    b[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    b[27..35].copy_from_slice(&time_ms.to_be_bytes());
    b[35..43].copy_from_slice(&time_ms.to_be_bytes());
    b[43..51].copy_from_slice(&producer.0.to_be_bytes());
    b[51..53].copy_from_slice(&producer.1.to_be_bytes());
    b[53..57].copy_from_slice(&producer.2.to_be_bytes());
    b[57..61].copy_from_slice(&records.to_be_bytes());
    batch::seal(&mut b);
    b
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    for (name, sizes) in [("small", 100..400), ("straddling", 5_000..9_000), ("large", 60_000..90_000)] {
        let mut node = Node::start(Disk::default(), 0, 1, 3, LogConfig::default());
        let mut expected = vec![Vec::new(); 3];
        for i in 0..300 {
            let size = sizes.start + (i * 7919) % (sizes.end - sizes.start);
            let partition = (i % 3) as i32;
            let done = node.append(partition, 1 + (i % 4) as i32, size).expect("room");
            expected[partition as usize].push((done.base_offset, size));
            node.run();
            if i % 50 == 49 {
                node = Node::start(node.disk, 0, 1, 3, LogConfig::default());
            }
        }
        for p in 0..3 {
            assert_eq!(node.read_all(p, 0).unwrap(), expected[p as usize], "{name}, partition {p}");
            assert_eq!(node.read_all(p, 17).unwrap().last(), expected[p as usize].last(), "{name}");
        }
        assert!(name == "small" || node.disk.files.keys().any(|p| p.ends_with(".log")), "{name}: something settled");
    }
}

#[test]
fn an_unfinished_commit_is_neither_shown_nor_kept() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    node.append(0, 1, 100).unwrap();
    node.run();
    node.fault = |what| if matches!(what, DiskOp::Write { .. }) { None } else { Some(Ok(())) };
    let lost = node.append(0, 1, 100).unwrap();
    node.run();
    assert_eq!((lost.base_offset, node.p(0).log_end(), node.p(0).high_watermark()), (1, 2, 1));
    let node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!((node.p(0).log_end(), node.p(0).high_watermark()), (1, 1));
}

/// Commit 2 tears while commit 3 behind it is whole; the next start writes over 2 only. Commit 3, never acknowledged, must not come back.
#[test]
fn a_stale_commit_behind_a_torn_one_stays_dead() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    node.append(0, 1, 100).unwrap();
    node.run();
    for size in [200, 300] {
        node.append(0, 1, size).unwrap();
        node.run();
    }
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &node.disk.files[path]);
    assert_eq!(commits.len(), 3);
    // As if the crash had come before 2 and 3 were acknowledged: what 3 says of 2 is taken back as well.
    let file = node.disk.files.get_mut(path).unwrap();
    file[commits[1].offset as usize..][..4096].fill(0);
    let mut third = commits[2].header;
    third.acknowledged_seq = commits[0].header.seq;
    third.write(&mut file[commits[2].offset as usize..]);
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!((node.p(0).log_end(), node.p(0).failed()), (1, None));
    node.append(0, 1, 222).unwrap();
    node.run();
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!(node.read_all(0, 0).unwrap(), [(0, 100), (1, 222)]);
}

#[test]
fn damage_to_an_acknowledged_commit_fails_only_whom_it_concerns() {
    let mut node = Node::start(Disk::default(), 0, 1, 3, LogConfig::default());
    for partition in [0, 1, 0, 2, 1, 0] {
        node.append(partition, 1, 300).unwrap();
        node.run();
    }
    let path = "journal/g1x1/s0/j0";
    let commits = inspect::journal_file(0, &node.disk.files[path]);
    // A bit in the records of partition 0's second batch.
    let at = commits[2].offset as usize + commits[2].body.entries[0].batch_at + 100;
    let mut disk = node.disk.clone();
    disk.files.get_mut(path).unwrap()[at] ^= 4;
    let mut again = Node::start(disk, 0, 1, 3, LogConfig::default());
    assert!(again.p(0).failed().unwrap().contains("journal/g1x1/s0/j0"), "{:?}", again.p(0).failed());
    assert!(matches!(again.append(0, 1, 100), Err(AppendError::Storage(_))));
    assert_eq!(again.read_all(1, 0).unwrap().len(), 2);
    assert_eq!(again.read_all(2, 0).unwrap().len(), 1);
    // The header of partition 2's only commit: it may have held anything, so those without a later batch are in doubt.
    let mut disk = node.disk.clone();
    disk.files.get_mut(path).unwrap()[commits[3].offset as usize + 20] ^= 4;
    let again = Node::start(disk, 0, 1, 3, LogConfig::default());
    assert_eq!([0, 1, 2].map(|p| again.p(p).failed().is_some()), [false, false, true]);
}

#[test]
fn damage_to_a_segment_is_seen_and_never_served() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig::default());
    for i in 0..400 {
        node.append(i % 2, 1, 5000).unwrap();
        node.run();
    }
    let mut node = Node::start(node.disk, 0, 1, 2, LogConfig::default());
    let path = format!("partitions/{}/00000000000000000000.log", folder_name(TOPIC, 0));
    node.disk.files.get_mut(&path).unwrap()[300_000] ^= 1;
    assert!(matches!(node.read_all(0, 0), Err(ReadError::Storage(reason)) if reason.contains(&path)));
    assert!(matches!(node.append(0, 1, 100), Err(AppendError::Storage(_))));
    assert_eq!(node.read_all(1, 0).unwrap().len(), 200);
}

#[test]
fn a_damaged_checkpoint_is_made_up_for_by_the_segments() {
    let mut node = Node::start(Disk::default(), 0, 1, 2, LogConfig { segment_bytes: 100_000, ..LogConfig::default() });
    for i in 0..600 {
        node.append_as(i % 2, 1, 3000, (9, 0, i / 2)).unwrap();
        node.run();
    }
    let names = ["checkpoint-a", "checkpoint-b"].map(|n| format!("journal/g1x1/s0/{n}"));
    for damaged in [&names[..1], &names[1..], &names[..]] {
        let mut disk = node.disk.clone();
        for name in damaged {
            disk.files.get_mut(name).unwrap()[60] ^= 1;
        }
        let mut again = Node::start(disk, 0, 1, 2, LogConfig::default());
        for p in 0..2 {
            assert_eq!(again.read_all(p, 0).unwrap().len(), 300, "{damaged:?}");
            let repeat = again.append_as(p, 1, 3000, (9, 0, 298));
            assert!(matches!(repeat, Err(AppendError::Duplicate { base_offset: 298, .. })), "{repeat:?}");
            assert_eq!(again.append_as(p, 1, 3000, (9, 0, 300)).unwrap().base_offset, 300);
        }
        again.run();
        let mut again = Node::start(again.disk, 0, 1, 2, LogConfig::default());
        assert_eq!(again.read_all(0, 0).unwrap().len(), 301, "{damaged:?}");
    }
}

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

#[test]
fn another_number_of_shards_keeps_everything() {
    let mut disk = Disk::default();
    let mut count = 0;
    for shards in [1, 4, 2, 2, 3] {
        for round in 0..2 {
            let mut nodes = Vec::new();
            for shard in 0..shards {
                let node = Node::start(disk, shard, shards, 8, LogConfig::default());
                assert!(node.lines.iter().all(|l| !l.contains("fails")), "{:?}", node.lines);
                disk = node.disk.clone();
                nodes.push(node);
            }
            // In the first of two starts the old generation is not removed: as if the crash had come before.
            if round == 1 {
                nodes[0].disk = disk;
                let first = &mut nodes[0];
                first.log.drop_old_generations(&mut first.fx);
                first.run();
                disk = nodes[0].disk.clone();
                assert_eq!(
                    disk.files
                        .keys()
                        .filter_map(|p| p.strip_prefix("journal/")?.split('/').next())
                        .collect::<std::collections::BTreeSet<_>>()
                        .len(),
                    1
                );
            }
            for (shard, node) in nodes.iter_mut().enumerate() {
                node.disk = disk;
                for p in (shard as i32..8).step_by(usize::from(shards)) {
                    assert_eq!(node.read_all(p, 0).unwrap().len(), count, "{shards} shards, partition {p}");
                    for i in 0..10 {
                        node.append(p, 1, 500 + i * 100).unwrap();
                    }
                }
                node.run();
                disk = node.disk.clone();
            }
            count += 10;
        }
    }
}

#[test]
fn after_a_failed_journal_write_nothing_is_appended_and_the_rest_is_served() {
    for sync in [false, true] {
        let tier = if sync { Tier::Written } else { Tier::Flushed };
        let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { tier, ..LogConfig::default() });
        node.append(0, 1, 100).unwrap();
        node.run();
        if sync {
            // A flushed batch behind one that was only written has to wait for a sync.
            let ix = node.ix(0);
            node.log.configure(ix, LogConfig::default());
            node.fault = |what| Some(if matches!(what, DiskOp::Sync { .. }) { Err(DiskErrorKind::Io) } else { Ok(()) });
        } else {
            node.fault =
                |what| Some(if matches!(what, DiskOp::Write { .. }) { Err(DiskErrorKind::Io) } else { Ok(()) });
        }
        node.append(0, 1, 100).unwrap();
        node.run();
        assert!(node.events.iter().any(|e| matches!(e, LogEvent::JournalFailed { .. })));
        assert!(matches!(node.append(0, 1, 100), Err(AppendError::Storage(_))));
        assert_eq!(node.p(0).high_watermark(), 1);
        assert_eq!(node.read_all(0, 0).unwrap(), [(0, 100)]);
    }
}

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
    node.run();
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

#[test]
fn repeats_are_known_after_a_crash() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig::default());
    for i in 0..100 {
        node.append_as(0, 2, 3000, (77, 1, i * 2)).unwrap();
        node.run();
    }
    let mut node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    let repeat = node.append_as(0, 2, 3000, (77, 1, 196));
    assert!(matches!(repeat, Err(AppendError::Duplicate { base_offset: 196, wait: None, .. })), "{repeat:?}");
    assert!(matches!(
        node.append_as(0, 2, 3000, (77, 0, 200)),
        Err(AppendError::InvalidProducerEpoch { known: 1, .. })
    ));
    assert!(matches!(
        node.append_as(0, 2, 3000, (77, 1, 202)),
        Err(AppendError::OutOfOrderSequence { expected: 200, .. })
    ));
    assert_eq!(node.append_as(0, 2, 3000, (77, 1, 200)).unwrap().base_offset, 200);
}

#[test]
fn shutdown_makes_the_other_tiers_durable() {
    for tier in [Tier::Written, Tier::Memory] {
        let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { tier, ..LogConfig::default() });
        let done = node.append(0, 1, 100).unwrap();
        assert_eq!(done.wait.is_none(), tier == Tier::Memory);
        if tier == Tier::Memory {
            assert_eq!(node.read_all(0, 0).unwrap().len(), 1, "acknowledged, so shown");
        }
        node.log.shutdown(node.now, &mut node.fx);
        node.run();
        assert!(matches!(node.events.last(), Some(LogEvent::Stopped)));
    }
}
