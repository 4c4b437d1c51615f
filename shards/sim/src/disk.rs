//! The simulated data directory of one node: an in-memory file system that carries out every [`DiskOp`] by its contract, and fails in every
//! way that the contract allows.
//!
//! Fault model:
//! - Operations take random time and so end in another order than they were asked for; rarely one takes very long.
//! - A write without `dsync` is visible at its end and durable only after a later successful sync. When power is lost each 512-byte sector of it
//!   (and each write to that sector) may or may not have reached the platter, and so may the new size of the file.
//! - An operation under way when power is lost has happened, or not, or in part: writes by sector, `Remove` of a folder by file, `WriteZeros` by sector.
//!   `ReplaceFile` is all or nothing. Creation, removal, replacement and truncation are durable at their end.
//! - Killing the process loses what is under way, but nothing that ended: the page cache lives on. A file whose creation it cut off may be there, but
//!   its name is durable only when it has been opened with `create` again; to write to it before is the engine's bug (an assertion).
//! - Crash at an exact place: [`Disk::crash_at`] stops the node before, in the middle of, or after its n-th changing operation.
//! - EIO on read, write (a part may have been written), sync and directory operations. A failed sync drops unsynced writes for good while reads still show
//!   them. ENOSPC at a capacity in bytes: a part of the write may have been done.
//! - Misdirected writes: acknowledged, but elsewhere in the same file.
//! - At rest ([`Disk::damage`]): flipped bits, zeroed sectors, sectors with another's content, unreadable sectors; in a chosen kind of file.
//!
//! Invariants: with no fault configured it is a correct disk; direct access out of alignment is the engine's bug (an assertion); a
//! buffered read that overlaps a direct write under way sees a mixture of sectors.

mod crash;
mod faults;
mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use floe_engine::event::{DirEntry, DiskError, DiskErrorKind, DiskOp, DiskOutput, FileHandle, FileRange};
use floe_engine::limits::BLOCK_BYTES;

use crate::rng::Rng;
pub use faults::{Breach, CrashKind, CrashPhase, DiskFaults, FileKind, Injected, InjectedKind};
use file::File;
pub use file::SECTOR_BYTES;

/// How an operation under way came out.
#[derive(Debug)]
pub enum Ended {
    /// It ended.
    Done(Result<DiskOutput, DiskError>),
    /// The node stops here (see [`Disk::crash_at`]).
    Crash,
}

/// A name for an operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Journal writes remembered per folder, newest last. More than are ever in flight, so that damage to an older one must be noticed.
const RECENT_JOURNAL_WRITES: usize = 12;
/// Changes at the end of the metadata log whose damage is taken for a torn write: the last may have been cut off by a crash.
const RECENT_METADATA_WRITES: usize = 2;
/// Writes of a log remembered at all, as places for damage.
const KNOWN_WRITES: usize = 256;

/// The data directory.
#[derive(Debug)]
pub struct Disk {
    /// What may go wrong. May be changed while running (faults heal).
    pub faults: DiskFaults,
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, u64>,
    under_way: BTreeMap<Ticket, UnderWay>,
    rng: Rng,
    next: u64,
    /// Order of ended writes.
    write_seq: u64,
    /// Which life of the node this is: handles of an earlier one are void.
    life: u64,
    changing_ops: u64,
    crash_at: Option<(u64, CrashPhase)>,
    injected: Vec<Injected>,
    /// Checkpoints damaged since they were written: of each pair one stays good.
    rotten: BTreeSet<String>,
    /// By folder: the last writes to journal files and to the metadata log, oldest first.
    log_writes: BTreeMap<String, Vec<LogWrite>>,
}

/// A write to a journal or to the metadata log.
#[derive(Clone, Copy, Debug)]
struct LogWrite {
    ticket: Ticket,
    file: u64,
    offset: u64,
    len: u64,
    /// Its number in its folder, by end.
    number: u64,
    durable: bool,
    /// The last number in its folder when it and all that began before it were durable: a log acknowledges in order, so only later
    /// writes can vouch for it.
    vouched_from: Option<u64>,
}

#[derive(Debug)]
struct UnderWay {
    op: DiskOp,
    /// The disk's write order when the operation began: a sync covers the writes up to here.
    began_seq: u64,
    crash: Option<CrashPhase>,
}

/// What a [`FileHandle`] wraps here.
#[derive(Debug)]
struct SimFile {
    file: u64,
    path: String,
    direct: bool,
    life: u64,
    _open: Arc<()>,
}

impl Disk {
    /// An empty data directory.
    pub fn new(rng: Rng, faults: DiskFaults) -> Disk {
        Disk {
            faults,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            under_way: BTreeMap::new(),
            rng,
            next: 0,
            write_seq: 0,
            life: 0,
            changing_ops: 0,
            crash_at: None,
            injected: Vec::new(),
            rotten: BTreeSet::new(),
            log_writes: BTreeMap::new(),
        }
    }

    /// Bytes that could still be written.
    pub fn free_bytes(&self) -> u64 {
        self.faults.capacity_bytes.saturating_sub(self.used_bytes())
    }

    /// Bytes taken by files, those without a name but with a handle among them.
    pub fn used_bytes(&self) -> u64 {
        self.files.values().map(File::allocated).sum()
    }

    /// How many changing operations have begun in the life of this disk.
    pub fn changing_ops(&self) -> u64 {
        self.changing_ops
    }

    /// Operations under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Files that have a handle in use, with a name or without.
    pub fn open_files(&self) -> usize {
        self.files.values().filter(|file| Arc::strong_count(&file.open) > 1).count()
    }

    /// Stops the node at the changing operation with this number ([`Disk::changing_ops`] counts them).
    pub fn crash_at(&mut self, changing_op: u64, phase: CrashPhase) {
        self.crash_at = Some((changing_op, phase));
    }

    /// Faults that happened so far.
    pub fn injected(&self) -> &[Injected] {
        &self.injected
    }

    /// Names of all files, for tests and reports.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The content of a file as reads see it.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        self.names.get(path).map(|id| self.files[id].view())
    }

    /// Begins an operation. Gives its ticket and the nanoseconds it will take.
    ///
    /// # Panics
    /// When the operation breaks the contract: misaligned direct access, a handle of an earlier life, a bad path.
    pub fn begin(&mut self, op: DiskOp) -> (Ticket, u64) {
        self.check_contract(&op);
        self.next += 1;
        let ticket = Ticket(self.next);
        let mut crash = None;
        if is_changing(&op) {
            self.changing_ops += 1;
            if let Some((at, phase)) = self.crash_at
                && at == self.changing_ops
            {
                self.crash_at = None;
                crash = Some(phase);
            }
        }
        let mut latency = self.rng.range(self.faults.latency_ns_min, self.faults.latency_ns_max);
        if self.rng.ppm(self.faults.spike_ppm) {
            latency += self.rng.below(self.faults.spike_ns);
        }
        self.under_way.insert(ticket, UnderWay { op, began_seq: self.write_seq, crash });
        (ticket, latency)
    }

    /// Ends an operation.
    pub fn end(&mut self, ticket: Ticket) -> Ended {
        match self.under_way.get(&ticket).and_then(|op| op.crash) {
            Some(CrashPhase::Before) => {
                self.under_way.remove(&ticket);
                return Ended::Crash;
            }
            // The crash tears whatever is under way, this one among them.
            Some(CrashPhase::Middle) => return Ended::Crash,
            Some(CrashPhase::After) | None => {}
        }
        let UnderWay { op, began_seq, crash } = self.under_way.remove(&ticket).expect("an operation ends once");
        let result = self.carry_out(ticket, &op, began_seq);
        if crash.is_some() { Ended::Crash } else { Ended::Done(result) }
    }

    /// Reads a range for sendfile, at the moment of sending. `None`: not all of it could be read.
    pub fn sendfile(&mut self, range: &FileRange) -> Option<Bytes> {
        let sim = handle(&range.file, self.life);
        assert!(range.len > 0, "an empty file range in a reply");
        let data = self.read(sim.file, range.offset, range.len, false).ok()?;
        if data.len() as u64 != range.len {
            return None;
        }
        if self.faults.breach == Some(Breach::SendfileFlipsBits) && self.rng.percent(20) {
            let mut flipped = data.to_vec();
            let at = self.rng.index(flipped.len());
            flipped[at] ^= 1 << self.rng.below(8);
            return Some(flipped.into());
        }
        Some(data)
    }

    fn check_contract(&self, op: &DiskOp) {
        let aligned = |what: &str, n: u64| assert!(n.is_multiple_of(BLOCK_BYTES), "direct {what} {n} is not aligned");
        match op {
            DiskOp::Open { path, .. }
            | DiskOp::ReadFile { path, .. }
            | DiskOp::ReplaceFile { path, .. }
            | DiskOp::Remove { path }
            | DiskOp::List { path } => {
                let bad = path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".");
                assert!(!bad, "path {path:?} leaves the data directory");
            }
            DiskOp::Write { file, offset, data, .. } => {
                let sim = handle(file, self.life);
                assert!(!data.is_empty(), "an empty write to {}", sim.path);
                assert!(
                    self.files[&sim.file].name_durable,
                    "a write to {}, whose name may be gone after a crash",
                    sim.path
                );
                if sim.direct {
                    aligned("write offset", *offset);
                    aligned("write length", data.len() as u64);
                    aligned("write memory", data.as_ptr() as u64);
                }
            }
            DiskOp::Read { file, offset, len, .. } => {
                let sim = handle(file, self.life);
                if sim.direct {
                    aligned("read offset", *offset);
                    aligned("read length", *len);
                }
            }
            DiskOp::WriteZeros { file, offset, len } => {
                let sim = handle(file, self.life);
                assert!(
                    self.files[&sim.file].name_durable,
                    "zeroes for {}, whose name may be gone after a crash",
                    sim.path
                );
                if sim.direct {
                    aligned("zeroing offset", *offset);
                    aligned("zeroing length", *len);
                }
            }
            DiskOp::Preallocate { file, .. } | DiskOp::Sync { file } | DiskOp::Truncate { file, .. } => {
                handle(file, self.life);
            }
            DiskOp::SyncAll { files } => {
                assert!(!files.is_empty(), "a sync of nothing");
                files.iter().for_each(|file| {
                    handle(file, self.life);
                });
            }
        }
    }

    fn carry_out(&mut self, ticket: Ticket, op: &DiskOp, began_seq: u64) -> Result<DiskOutput, DiskError> {
        match op {
            DiskOp::Open { path, create, direct } => self.open(path, *create, *direct),
            DiskOp::Preallocate { file, offset, len, grow } => {
                let id = handle(file, self.life).file;
                self.space_for(id, offset + len)?;
                self.file(id).reserve(offset + len, *grow);
                Ok(DiskOutput::Done)
            }
            DiskOp::WriteZeros { file, offset, len } => {
                let sim = handle(file, self.life);
                let zeros = Bytes::from(vec![0; *len as usize]);
                self.write(sim, *offset, &zeros, true)
            }
            DiskOp::Write { file, offset, data, dsync } => {
                let sim = handle(file, self.life);
                if matches!(FileKind::of(&sim.path), FileKind::Journal | FileKind::Metadata) {
                    self.note_log_write(ticket, sim, *offset, data.len() as u64, *dsync);
                }
                self.write(sim, *offset, data, *dsync)
            }
            DiskOp::Sync { file } => self.sync(file, began_seq),
            DiskOp::SyncAll { files } => {
                // Each in any case: after a failure the others may be durable or not.
                let ends: Vec<_> = files.iter().map(|file| self.sync(file, began_seq)).collect();
                ends.into_iter().find(Result::is_err).unwrap_or(Ok(DiskOutput::Done))
            }
            DiskOp::Read { file, offset, len, .. } => {
                let sim = handle(file, self.life);
                if self.rng.ppm(self.faults.eio_read_ppm) {
                    self.note(InjectedKind::ReadError, &sim.path, *offset);
                    return Err(io_error("read", &sim.path));
                }
                self.read(sim.file, *offset, *len, sim.direct).map(DiskOutput::Data)
            }
            DiskOp::Truncate { file, len } => {
                let sim = handle(file, self.life);
                self.directory_fault("truncate", &sim.path)?;
                if *len > self.file(sim.file).len() {
                    self.space_for(sim.file, *len)?;
                }
                self.file(sim.file).truncate(*len);
                Ok(DiskOutput::Done)
            }
            DiskOp::ReadFile { path, bytes_max } => self.read_file(path, *bytes_max),
            DiskOp::ReplaceFile { path, data } => {
                self.directory_fault("replace", path)?;
                if self.free_bytes() < data.len() as u64 {
                    self.note(InjectedKind::NoSpace, path, 0);
                    return Err(no_space("replace", path));
                }
                self.replace(path, data);
                Ok(DiskOutput::Done)
            }
            DiskOp::Remove { path } => {
                self.directory_fault("remove", path)?;
                for name in self.names_under(path) {
                    self.unlink(&name);
                }
                Ok(DiskOutput::Done)
            }
            DiskOp::List { path } => {
                self.directory_fault("list", path)?;
                Ok(DiskOutput::Entries(self.list(path)))
            }
        }
    }

    fn sync(&mut self, file: &FileHandle, began_seq: u64) -> Result<DiskOutput, DiskError> {
        let sim = handle(file, self.life);
        if self.rng.ppm(self.faults.eio_sync_ppm) {
            self.note(InjectedKind::SyncError, &sim.path, 0);
            let file = self.files.get_mut(&sim.file).expect("an open file exists");
            file.sync_failed(began_seq, &mut self.rng);
            return Err(io_error("sync", &sim.path));
        }
        if self.faults.breach != Some(Breach::SyncDoesNothing) {
            self.file(sim.file).sync(began_seq);
        }
        let synced = self.log_writes.values_mut().flatten().filter(|w| w.file == sim.file);
        synced.for_each(|w| w.durable = true);
        self.note_vouched(folder_of(&sim.path));
        Ok(DiskOutput::Done)
    }

    fn note_log_write(&mut self, ticket: Ticket, sim: &SimFile, offset: u64, len: u64, durable: bool) {
        let writes = self.log_writes.entry(folder_of(&sim.path).to_string()).or_default();
        // A write over an older one: that content is no more.
        let end = offset + len;
        let number = writes.last().map_or(0, |w| w.number + 1);
        writes.retain(|w| w.file != sim.file || w.offset + w.len <= offset || w.offset >= end);
        writes.push(LogWrite { ticket, file: sim.file, offset, len, number, durable, vouched_from: None });
        if writes.len() > KNOWN_WRITES {
            writes.remove(0);
        }
        self.note_vouched(folder_of(&sim.path));
    }

    /// Something of this folder became durable: finds for which writes later ones vouch from now on.
    fn note_vouched(&mut self, folder: &str) {
        let life = self.life;
        let writes_there = self.under_way.iter().filter(|(_, op)| match &op.op {
            DiskOp::Write { file, .. } => folder_of(&handle(file, life).path) == folder,
            _ => false,
        });
        let under_way = writes_there.map(|(ticket, _)| *ticket).min();
        let Some(writes) = self.log_writes.get_mut(folder) else { return };
        let undurable = writes.iter().filter(|w| !w.durable).map(|w| w.ticket).min();
        let newest = writes.last().map(|w| w.number);
        let first_open = under_way.into_iter().chain(undurable).min();
        let settled =
            writes.iter_mut().filter(|w| w.vouched_from.is_none() && first_open.is_none_or(|open| w.ticket < open));
        settled.for_each(|w| w.vouched_from = newest);
    }

    fn open(&mut self, path: &str, create: bool, direct: bool) -> Result<DiskOutput, DiskError> {
        self.directory_fault("open", path)?;
        let id = match self.names.get(path) {
            Some(id) => *id,
            None if create => self.create(path),
            None => return Err(not_found("open", path)),
        };
        self.file(id).name_durable |= create;
        let file = &self.files[&id];
        let sim = SimFile { file: id, path: path.to_string(), direct, life: self.life, _open: file.open.clone() };
        Ok(DiskOutput::Opened { len: file.len(), file: FileHandle::new(sim) })
    }

    fn write(&mut self, sim: &SimFile, offset: u64, data: &Bytes, dsync: bool) -> Result<DiskOutput, DiskError> {
        self.write_seq += 1;
        let seq = self.write_seq;
        let partial = |rng: &mut Rng| {
            data.slice(..rng.below(data.len() as u64 / SECTOR_BYTES + 1) as usize * SECTOR_BYTES as usize)
        };
        if let Err(error) = self.space_for(sim.file, offset + data.len() as u64) {
            self.note(InjectedKind::NoSpace, &sim.path, offset);
            return Err(error);
        }
        if self.rng.ppm(self.faults.eio_write_ppm) {
            self.note(InjectedKind::WriteError, &sim.path, offset);
            let part = partial(&mut self.rng);
            if !part.is_empty() {
                self.file(sim.file).write(seq, offset, part);
            }
            return Err(io_error("write", &sim.path));
        }
        let mut offset = offset;
        if self.rng.ppm(self.faults.misdirect_ppm) {
            let blocks = (self.file(sim.file).len().saturating_sub(data.len() as u64)) / BLOCK_BYTES;
            let elsewhere = self.rng.below(blocks) * BLOCK_BYTES;
            if sim.direct && blocks > 1 && elsewhere != offset {
                self.note(InjectedKind::Misdirected, &sim.path, offset);
                self.note(InjectedKind::Misdirected, &sim.path, elsewhere);
                offset = elsewhere;
            }
        }
        if dsync && self.faults.breach != Some(Breach::DsyncIsNotDurable) {
            self.file(sim.file).write_durable(offset, data);
        } else {
            self.file(sim.file).write(seq, offset, data.clone());
        }
        Ok(DiskOutput::Done)
    }

    /// Reads what is visible; a buffered read over a direct write under way sees some of its sectors.
    fn read(&mut self, id: u64, offset: u64, len: u64, direct: bool) -> Result<Bytes, DiskError> {
        let Some(file) = self.files.get(&id) else { panic!("an open file exists") };
        let data = match file.read(offset, len) {
            Ok(data) => data,
            Err(at) => {
                let path = self.names.iter().find(|(_, f)| **f == id).map_or("(removed)", |(path, _)| path);
                return Err(io_error("read", &format!("{path} at {at}")));
            }
        };
        let mut out = aligned_copy(data);
        if !direct && !data.is_empty() {
            let end = offset + data.len() as u64;
            let mut mixed = None;
            for op in self.under_way.values() {
                let DiskOp::Write { file, offset: at, data: new, .. } = &op.op else { continue };
                let overlap = offset.max(*at)..end.min(at + new.len() as u64);
                if overlap.is_empty() || handle(file, self.life).file != id {
                    continue;
                }
                let mixed = mixed.get_or_insert_with(|| out.to_vec());
                let mut sector = overlap.start;
                while sector < overlap.end {
                    let next = ((sector / SECTOR_BYTES + 1) * SECTOR_BYTES).min(overlap.end);
                    if self.rng.percent(50) {
                        let from = &new[(sector - at) as usize..(next - at) as usize];
                        mixed[(sector - offset) as usize..(next - offset) as usize].copy_from_slice(from);
                    }
                    sector = next;
                }
            }
            if let Some(mixed) = mixed {
                out = mixed.into();
            }
        }
        Ok(out)
    }

    fn read_file(&mut self, path: &str, bytes_max: u64) -> Result<DiskOutput, DiskError> {
        let Some(&id) = self.names.get(path) else { return Err(not_found("read", path)) };
        if self.rng.ppm(self.faults.eio_read_ppm) {
            self.note(InjectedKind::ReadError, path, 0);
            return Err(io_error("read", path));
        }
        let len = self.files[&id].len();
        if len > bytes_max {
            let message = format!("read {path}: {len} bytes, at most {bytes_max} expected");
            return Err(DiskError { kind: DiskErrorKind::TooLarge, message });
        }
        self.read(id, 0, len, false).map(DiskOutput::Data)
    }

    fn replace(&mut self, path: &str, data: &Bytes) {
        self.rotten.remove(path);
        self.unlink(path);
        let id = self.create(path);
        if !data.is_empty() {
            self.file(id).write_durable(0, data);
        }
    }

    fn list(&self, path: &str) -> Vec<DirEntry> {
        let prefix = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
        let mut entries: Vec<DirEntry> = Vec::new();
        for (name, id) in self.names.range(prefix.clone()..) {
            let Some(rest) = name.strip_prefix(&prefix) else { break };
            match rest.split_once('/') {
                Some((folder, _)) if entries.iter().any(|e| e.name == folder) => {}
                Some((folder, _)) => entries.push(DirEntry { name: folder.to_string(), len: 0, is_dir: true }),
                None => entries.push(DirEntry { name: rest.to_string(), len: self.files[id].len(), is_dir: false }),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    fn space_for(&mut self, id: u64, end: u64) -> Result<(), DiskError> {
        let grows = end.next_multiple_of(4096).saturating_sub(self.files[&id].allocated());
        if grows > 0 && grows > self.free_bytes() {
            let path = self.names.iter().find(|(_, f)| **f == id).map_or("(removed)", |(path, _)| path);
            return Err(no_space("write", path));
        }
        Ok(())
    }

    fn directory_fault(&mut self, what: &str, path: &str) -> Result<(), DiskError> {
        if self.rng.ppm(self.faults.eio_directory_ppm) {
            self.note(InjectedKind::DirectoryError, path, 0);
            return Err(io_error(what, path));
        }
        Ok(())
    }

    fn note(&mut self, kind: InjectedKind, path: &str, offset: u64) {
        self.injected.push(Injected {
            kind,
            path: path.to_string(),
            offset,
            recent: kind == InjectedKind::Misdirected,
        });
    }

    fn create(&mut self, path: &str) -> u64 {
        self.next += 1;
        self.files.insert(self.next, File::new());
        self.names.insert(path.to_string(), self.next);
        self.next
    }

    fn unlink(&mut self, path: &str) {
        let Some(id) = self.names.remove(path) else { return };
        let file = self.file(id);
        file.linked = false;
        if Arc::strong_count(&file.open) == 1 {
            self.files.remove(&id);
        }
        // Those whose last handle went since their removal.
        self.files.retain(|_, file| file.linked || Arc::strong_count(&file.open) > 1);
    }

    fn names_under(&self, path: &str) -> BTreeSet<String> {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.names
            .range(path.to_string()..)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(path))
            .filter(|name| *name == path || name.starts_with(&folder))
            .cloned()
            .collect()
    }

    fn file(&mut self, id: u64) -> &mut File {
        self.files.get_mut(&id).expect("an open file exists")
    }
}

/// The folder a file is in.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The path under which a handle was opened.
pub fn path_of(file: &FileHandle) -> &str {
    file.get::<SimFile>().map_or("(not a simulated file)", |sim| &sim.path)
}

fn handle(file: &FileHandle, life: u64) -> &SimFile {
    let sim: &SimFile = file.get().expect("a handle that the disk gave out");
    assert_eq!(sim.life, life, "a handle of an earlier life of the node ({})", sim.path);
    sim
}

fn is_changing(op: &DiskOp) -> bool {
    !matches!(
        op,
        DiskOp::Read { .. } | DiskOp::ReadFile { .. } | DiskOp::List { .. } | DiskOp::Open { create: false, .. }
    )
}

/// A copy whose memory starts at a block boundary.
fn aligned_copy(data: &[u8]) -> Bytes {
    let mut memory = Vec::with_capacity(data.len() + BLOCK_BYTES as usize);
    let pad = (memory.as_ptr() as usize).next_multiple_of(BLOCK_BYTES as usize) - memory.as_ptr() as usize;
    memory.resize(pad, 0);
    memory.extend_from_slice(data);
    Bytes::from(memory).slice(pad..)
}

fn io_error(what: &str, path: &str) -> DiskError {
    DiskError { kind: DiskErrorKind::Io, message: format!("{what} {path}: Input/output error (simulated)") }
}

fn no_space(what: &str, path: &str) -> DiskError {
    DiskError { kind: DiskErrorKind::NoSpace, message: format!("{what} {path}: No space left on device (simulated)") }
}

fn not_found(what: &str, path: &str) -> DiskError {
    DiskError { kind: DiskErrorKind::NotFound, message: format!("{what} {path}: No such file or directory") }
}

#[cfg(test)]
mod tests;
