//! How the node's end leaves the disk: what is torn, what the page cache keeps, and what is damaged at rest afterwards.

use std::sync::Arc;

use bytes::Bytes;
use floe_engine::event::DiskOp;

use super::{
    CrashKind, CrashPhase, Disk, FileKind, Injected, InjectedKind, LogWrite, RECENT_JOURNAL_WRITES,
    RECENT_METADATA_WRITES, SECTOR_BYTES, UnderWay, handle,
};

impl Disk {
    /// The node stops. Everything under way is torn; handles are void; afterwards the disk is as the next life finds it.
    pub fn crash(&mut self, kind: CrashKind) {
        let under_way = std::mem::take(&mut self.under_way);
        if kind == CrashKind::Power {
            let unsure: Vec<String> = self
                .names
                .iter()
                .filter(|(_, id)| !self.files[id].name_durable)
                .map(|(path, _)| path.clone())
                .collect();
            for path in unsure {
                if self.rng.percent(50) {
                    self.unlink(&path);
                }
            }
            for file in self.files.values_mut() {
                file.crash_power(&mut self.rng);
            }
        }
        for (_, UnderWay { op, began_seq, crash }) in under_way {
            if crash != Some(CrashPhase::Before) {
                self.tear(&op, began_seq, kind);
            }
        }
        self.life += 1;
        self.crash_at = None;
        self.files.retain(|_, file| file.linked);
        for file in self.files.values_mut() {
            file.open = Arc::new(());
        }
    }

    /// Changes content at rest in a file of `kind`, somewhere that has been written. `allow_recent`: also among the last writes to
    /// a journal. Gives what was done; `None` when there is no such file.
    pub fn damage(&mut self, kind: FileKind, allow_recent: bool) -> Option<Injected> {
        let (file, path, offset, len, recent) = self.pick_place(kind, allow_recent)?;
        let sector = offset + self.rng.below(len.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES;
        let len = (offset + len - sector).min(SECTOR_BYTES);
        let injected = match self.rng.below(10) {
            0 => {
                self.files.get_mut(&file)?.make_bad(sector);
                InjectedKind::BadSector
            }
            1 => {
                self.files.get_mut(&file)?.damage(sector, |bytes| bytes.fill(0), len);
                InjectedKind::Damaged
            }
            2 => {
                let from = self.rng.below(self.files[&file].len() / SECTOR_BYTES) * SECTOR_BYTES;
                let other = self.files[&file].view()[from as usize..].to_vec();
                let copy = |bytes: &mut [u8]| {
                    let n = bytes.len().min(other.len());
                    bytes[..n].copy_from_slice(&other[..n]);
                };
                self.files.get_mut(&file)?.damage(sector, copy, len);
                InjectedKind::Damaged
            }
            _ => {
                let flips: Vec<(u64, u8)> =
                    (0..self.rng.range(1, 4)).map(|_| (self.rng.below(len), 1 << self.rng.below(8))).collect();
                let flip = |bytes: &mut [u8]| flips.iter().for_each(|&(at, mask)| bytes[at as usize] ^= mask);
                self.files.get_mut(&file)?.damage(sector, flip, len);
                InjectedKind::Damaged
            }
        };
        if kind == FileKind::Checkpoint {
            self.rotten.insert(path.clone());
        }
        let injected = Injected { kind: injected, path, offset: sector, recent };
        self.injected.push(injected.clone());
        Some(injected)
    }

    /// A written range of a file of `kind`: (file, path, offset, length, recent).
    fn pick_place(&mut self, kind: FileKind, allow_recent: bool) -> Option<(u64, String, u64, u64, bool)> {
        if matches!(kind, FileKind::Journal | FileKind::Metadata) {
            let mut places = Vec::new();
            for (folder, writes) in &self.log_writes {
                let metadata = folder == "metadata";
                if metadata != (kind == FileKind::Metadata) {
                    continue;
                }
                let last = if metadata { RECENT_METADATA_WRITES } else { RECENT_JOURNAL_WRITES };
                let newest = writes.last().map_or(0, |w| w.number);
                for &LogWrite { file, offset, len, vouched_from, .. } in writes {
                    let recent = vouched_from.is_none_or(|at| at + last as u64 > newest);
                    let allow_recent = allow_recent && !metadata;
                    if (allow_recent || !recent) && self.files.get(&file).is_some_and(|f| f.linked) {
                        places.push((file, offset, len, recent));
                    }
                }
            }
            if places.is_empty() {
                return None;
            }
            let (file, offset, len, recent) = *self.rng.pick(&places);
            let path = self.names.iter().find(|(_, id)| **id == file)?.0.clone();
            return Some((file, path, offset, len, recent));
        }
        let places: Vec<(&String, u64)> = self
            .names
            .iter()
            .filter(|(path, id)| FileKind::of(path) == kind && self.files[id].content() > 0)
            .filter(|(path, _)| kind != FileKind::Checkpoint || self.has_good_sibling(path))
            .map(|(path, id)| (path, *id))
            .collect();
        if places.is_empty() {
            return None;
        }
        let (path, file) = *self.rng.pick(&places);
        Some((file, path.clone(), 0, self.files[&file].content(), false))
    }

    /// Of each pair of checkpoints one stays good; the first of a journal has none beside it.
    fn has_good_sibling(&self, path: &str) -> bool {
        let other = sibling(path);
        self.names.contains_key(&other) && !self.rotten.contains(&other)
    }

    /// What of an operation under way happens although the node stops.
    fn tear(&mut self, op: &DiskOp, began_seq: u64, kind: CrashKind) {
        self.write_seq += 1;
        let seq = self.write_seq;
        match op {
            DiskOp::Write { file, offset, data, .. } => {
                let id = handle(file, self.life).file;
                self.tear_write(id, seq, *offset, data.clone(), kind);
            }
            DiskOp::WriteZeros { file, offset, len } => {
                let id = handle(file, self.life).file;
                self.tear_write(id, seq, *offset, Bytes::from(vec![0; *len as usize]), kind);
            }
            DiskOp::Sync { file } => {
                let id = handle(file, self.life).file;
                if kind == CrashKind::Process && self.rng.percent(50) {
                    self.file(id).sync(began_seq);
                }
            }
            DiskOp::SyncAll { files } => {
                for file in files {
                    let id = handle(file, self.life).file;
                    if kind == CrashKind::Process && self.rng.percent(50) {
                        self.file(id).sync(began_seq);
                    }
                }
            }
            DiskOp::Truncate { file, len } => {
                let id = handle(file, self.life).file;
                if self.rng.percent(50) {
                    self.file(id).truncate(*len);
                }
            }
            DiskOp::Open { path, create: true, .. } if !self.names.contains_key(path) => {
                if self.rng.percent(50) {
                    let id = self.create(path);
                    self.file(id).name_durable = kind == CrashKind::Power;
                }
            }
            DiskOp::ReplaceFile { path, data } => {
                if self.rng.percent(50) {
                    self.replace(path, data);
                }
            }
            DiskOp::Remove { path } => {
                let all = self.rng.percent(30);
                for name in self.names_under(path) {
                    if all || self.rng.percent(50) {
                        self.unlink(&name);
                    }
                }
            }
            DiskOp::Open { .. }
            | DiskOp::Preallocate { .. }
            | DiskOp::Read { .. }
            | DiskOp::ReadFile { .. }
            | DiskOp::List { .. } => {}
        }
    }

    fn tear_write(&mut self, id: u64, seq: u64, offset: u64, data: Bytes, kind: CrashKind) {
        let Some(file) = self.files.get_mut(&id) else { return };
        match kind {
            CrashKind::Power => file.tear(offset, &data, &mut self.rng),
            // The kernel finishes the pages it has begun; the process does not learn of it.
            CrashKind::Process => {
                let sectors = data.len() as u64 / SECTOR_BYTES;
                let keep = *self.rng.pick(&[0, sectors, sectors / 2, sectors]) * SECTOR_BYTES;
                let keep = if keep == sectors * SECTOR_BYTES { data.len() } else { keep as usize };
                if keep > 0 {
                    file.write(seq, offset, data.slice(..keep));
                }
            }
        }
    }
}

/// The other one of a pair of checkpoints.
fn sibling(path: &str) -> String {
    match path.strip_suffix('a') {
        Some(stem) => format!("{stem}b"),
        None => path.strip_suffix('b').map_or_else(|| path.to_owned(), |stem| format!("{stem}a")),
    }
}
