//! The log against a tiny disk in memory: every operation of a round is carried out at once, or held back by the test; files forget what was not
//! synced when the test says that power was lost. The simulator does the wide work; here stand the cases that name a rule.

mod cached;
mod cold;
mod compaction;
mod cost;
mod damage;
mod direct;
mod file_sizes;
mod generations;
mod lookup;
mod recovery;
mod restart;
mod retention;
mod settling;
mod transactions;

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
    /// What goes to partitions is thrown away: for tests that never read it.
    forgets_segments: bool,
    /// Places (file, byte) that cannot be read.
    bad: Vec<(String, u64)>,
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
            DiskOp::Sync { .. } | DiskOp::SyncAll { .. } => Ok(DiskOutput::Done),
            DiskOp::Preallocate { file, offset, len, grow } => {
                if *grow && !self.forgets_segments {
                    let file = self.files.entry(path_of(file)).or_default();
                    file.resize(file.len().max((offset + len) as usize), 0);
                }
                Ok(DiskOutput::Done)
            }
            DiskOp::WriteZeros { file, offset, len } => {
                self.write(&path_of(file), *offset, &vec![0; *len as usize]);
                Ok(DiskOutput::Done)
            }
            DiskOp::Write { file, offset, data, .. } => {
                self.write(&path_of(file), *offset, data);
                Ok(DiskOutput::Done)
            }
            DiskOp::Read { file, offset, len, .. } => {
                let hit = |(path, at): &&(String, u64)| *path == path_of(file) && (*offset..offset + len).contains(at);
                if let Some((path, _)) = self.bad.iter().find(hit) {
                    return Err(DiskError { kind: DiskErrorKind::Io, message: format!("cannot read {path}: EIO") });
                }
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
        if self.forgets_segments && path.starts_with("partitions/") {
            return;
        }
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
    /// Why it refused to start.
    refusal: Option<String>,
    /// Decides what becomes of an operation: carried out, failed, or neither (`None`: it never ends).
    fault: fn(&DiskOp) -> Option<Result<(), DiskErrorKind>>,
    /// So many operations that change the disk are carried out, the others never end.
    left: Option<usize>,
    /// What was carried out: the operation's name, the file, bytes read.
    done: Vec<(&'static str, String, u64)>,
    /// The same, up to the end of recovery.
    boot: Vec<(&'static str, String, u64)>,
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
        Node::start_with(small(), disk, shard, shards, partitions, config)
    }

    /// A start that must be refused: the reason.
    fn refused(disk: Disk, partitions: i32) -> String {
        let mut node = Node::new(small(), disk, 0, 1);
        let list = (0..partitions).map(|p| (TOPIC, p, "t".to_string(), LogConfig::default())).collect();
        node.log.start(node.now, list, &mut node.fx);
        node.refusal = Some(String::new());
        node.run();
        node.refusal.filter(|reason| !reason.is_empty()).expect("the start is refused")
    }

    fn start_with(
        settings: LogSettings,
        disk: Disk,
        shard: u16,
        shards: u16,
        partitions: i32,
        config: LogConfig,
    ) -> Node {
        let mut node = Node::new(settings, disk, shard, shards);
        let mine = (0..partitions).filter(|p| p % i32::from(shards) == i32::from(shard));
        let list = mine.map(|p| (TOPIC, p, "t".to_string(), config.clone())).collect();
        node.log.start(node.now, list, &mut node.fx);
        node.run();
        node
    }

    fn new(settings: LogSettings, disk: Disk, shard: u16, shards: u16) -> Node {
        Node {
            log: ShardLog::of_shard(shard, shards, [5; 32], settings),
            disk,
            fx: Vec::new(),
            now: Time { mono_ns: 1, wall_ms: 1_000_000 },
            events: Vec::new(),
            lines: Vec::new(),
            refusal: None,
            fault: |_| Some(Ok(())),
            left: None,
            done: Vec::new(),
            boot: Vec::new(),
        }
    }

    fn run(&mut self) {
        loop {
            self.log.end_of_round(self.now, &mut self.fx);
            while let Some(event) = self.log.poll_event() {
                if matches!(event, LogEvent::Recovered) {
                    self.boot = std::mem::take(&mut self.done);
                }
                self.events.push(event);
            }
            if self.fx.is_empty() {
                return;
            }
            for effect in std::mem::take(&mut self.fx) {
                match effect {
                    Effect::Disk { op, what } => {
                        if let Some(left) = self.left.as_mut().filter(|_| changes(&what)) {
                            let Some(less) = left.checked_sub(1) else { continue };
                            *left = less;
                        }
                        let result = match (self.fault)(&what) {
                            None => continue,
                            Some(Ok(())) => {
                                let result = self.disk.carry_out(&what);
                                self.done.push(described(&what, &result));
                                result
                            }
                            Some(Err(kind)) => Err(DiskError { kind, message: "injected".into() }),
                        };
                        self.now.mono_ns += 1000;
                        self.log.handle_disk(self.now, op, result, &mut self.fx);
                    }
                    Effect::Log { line, .. } => self.lines.push(line),
                    Effect::Fatal { message } if self.refusal.is_some() => self.refusal = Some(message),
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
    fn read_all(&mut self, partition: i32, from: i64) -> Result<Vec<(i64, usize)>, ReadError> {
        self.read_whole(partition, from, false)
    }

    /// The same where offsets may be missing.
    fn read_from_gaps(&mut self, partition: i32, from: i64) -> Vec<(i64, usize)> {
        self.read_whole(partition, from, true).expect("it can be read")
    }

    /// One read, to its end.
    fn read(&mut self, partition: i32, from: i64, limits: ReadLimits) -> Result<ReadData, ReadError> {
        let ix = self.ix(partition);
        let wanted = match self.log.read(self.now, ix, from, limits, &mut self.fx)? {
            ReadOutcome::Ready(data) => return Ok(data),
            ReadOutcome::Cold(wanted) => wanted,
        };
        self.run();
        let done = |e: &LogEvent| matches!(e, LogEvent::ReadDone { ticket, .. } if *ticket == wanted);
        let at = self.events.iter().position(done).expect("the disk answers at once");
        match self.events.remove(at) {
            LogEvent::ReadDone { result, .. } => result,
            _ => unreachable!(),
        }
    }

    fn read_whole(&mut self, partition: i32, mut from: i64, gaps: bool) -> Result<Vec<(i64, usize)>, ReadError> {
        let mut found = Vec::new();
        while from < self.p(partition).high_watermark() {
            let limits = ReadLimits { bytes_max: 200_000, share: u64::MAX, at_least_one: true, up_to: i64::MAX };
            let data = self.read(partition, from, limits)?;
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
                let last = batch.info.last_offset();
                assert!(last >= from, "a batch that was not asked for");
                assert!(gaps || batch.info.base_offset <= from, "a gap before {}", batch.info.base_offset);
                found.push((batch.info.base_offset, batch.info.bytes as usize));
                from = last + 1;
            }
        }
        Ok(found)
    }
}

fn changes(what: &DiskOp) -> bool {
    let replaces = matches!(what, DiskOp::ReplaceFile { .. } | DiskOp::Remove { .. } | DiskOp::Truncate { .. });
    replaces || matches!(what, DiskOp::Write { .. } | DiskOp::WriteZeros { .. })
}

fn described(what: &DiskOp, result: &Result<DiskOutput, DiskError>) -> (&'static str, String, u64) {
    let path_of = |file: &FileHandle| file.get::<String>().expect("ours").clone();
    let bytes = match result {
        Ok(DiskOutput::Data(data)) => data.len() as u64,
        _ => 0,
    };
    let (name, path) = match what {
        DiskOp::Open { path, create: true, .. } => ("create", path.clone()),
        DiskOp::Open { path, .. } => ("open", path.clone()),
        DiskOp::Preallocate { file, .. } => ("preallocate", path_of(file)),
        DiskOp::WriteZeros { file, .. } => ("zero", path_of(file)),
        DiskOp::Write { file, .. } => ("write", path_of(file)),
        DiskOp::Sync { file } => ("sync", path_of(file)),
        DiskOp::SyncAll { files } => ("sync all", path_of(&files[0])),
        DiskOp::Read { file, .. } => ("read", path_of(file)),
        DiskOp::Truncate { file, .. } => ("truncate", path_of(file)),
        DiskOp::ReadFile { path, .. } => ("read file", path.clone()),
        DiskOp::ReplaceFile { path, .. } => ("replace", path.clone()),
        DiskOp::Remove { path } => ("remove", path.clone()),
        DiskOp::List { path } => ("list", path.clone()),
    };
    (name, path, bytes)
}

pub(super) fn make_batch(records: i32, bytes: usize, producer: (i64, i16, i32), time_ms: i64) -> Vec<u8> {
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
    floe_wire::batch::seal(&mut b);
    b
}
