//! One simulated file: what reads see, what is on stable storage, and the writes that are in the first and not yet in the second.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::rng::Rng;

/// What a disk writes as one: a crash leaves each sector old or new, never mixed.
pub const SECTOR_BYTES: u64 = 512;

/// A file's content, with or without a name.
#[derive(Debug)]
pub(super) struct File {
    /// What reads see: the page cache, or the device's write cache for direct files.
    view: Vec<u8>,
    /// What is there after a loss of power at least; [`File::crash_power`] adds some of `pending`.
    durable: Vec<u8>,
    /// Writes in `view` that no sync has made durable, oldest first.
    pending: Vec<Pending>,
    /// End of the space reserved by `Preallocate`, in bytes.
    reserved: u64,
    /// How long that made the file. A loss of power may leave it shorter until a sync.
    grown: u64,
    /// End of what was ever written: behind it nothing is on the platter that could be damaged.
    content: u64,
    /// Sectors that give EIO until they are written again.
    bad_sectors: BTreeMap<u64, ()>,
    /// Shared with every handle: the file without a name lives while a handle does.
    pub(super) open: Arc<()>,
    /// Whether a name still leads here.
    pub(super) linked: bool,
    /// Whether that name outlives a loss of power.
    pub(super) name_durable: bool,
}

#[derive(Debug)]
struct Pending {
    /// Place in the disk's order of ended writes.
    seq: u64,
    offset: u64,
    data: Bytes,
    /// A failed sync marked it clean: no later sync makes it durable (as Linux does since 4.13, and as fsyncgate taught).
    lost: bool,
}

/// How the unsynced writes of a file fare in a loss of power.
#[derive(Clone, Copy, Debug)]
enum Survival {
    None,
    All,
    /// Those that ended first.
    Prefix,
    /// Each sector decides for itself how many of its writes reached the platter.
    PerSector,
}

impl File {
    pub(super) fn new() -> File {
        File {
            view: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
            reserved: 0,
            grown: 0,
            content: 0,
            bad_sectors: BTreeMap::new(),
            open: Arc::new(()),
            linked: true,
            name_durable: true,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.view.len() as u64
    }

    /// Up to where it has been written.
    pub(super) fn content(&self) -> u64 {
        self.content.min(self.len())
    }

    /// Reserves space up to `end`; a file that grows reads as zeros there.
    pub(super) fn reserve(&mut self, end: u64, grow: bool) {
        self.reserved = self.reserved.max(end);
        if grow {
            self.grown = self.grown.max(end);
            self.view.resize(self.view.len().max(end as usize), 0);
        }
    }

    /// Bytes the file takes on disk.
    pub(super) fn allocated(&self) -> u64 {
        self.len().max(self.reserved).next_multiple_of(4096)
    }

    /// Up to `len` bytes from `offset`, fewer at the end; `Err` when a sector in it cannot be read.
    pub(super) fn read(&self, offset: u64, len: u64) -> Result<&[u8], u64> {
        let start = offset.min(self.len());
        let end = offset.saturating_add(len).min(self.len());
        let first = start / SECTOR_BYTES;
        if start < end
            && let Some((&sector, ())) = self.bad_sectors.range(first..end.div_ceil(SECTOR_BYTES)).next()
        {
            return Err(sector * SECTOR_BYTES);
        }
        Ok(&self.view[start as usize..end as usize])
    }

    /// A write that ended without being durable.
    pub(super) fn write(&mut self, seq: u64, offset: u64, data: Bytes) {
        put(&mut self.view, offset, &data);
        self.wrote(offset, data.len() as u64);
        self.pending.push(Pending { seq, offset, data, lost: false });
    }

    /// A write that ended durable. Older unsynced writes below it are over; those beside it stay unsynced.
    pub(super) fn write_durable(&mut self, offset: u64, data: &Bytes) {
        put(&mut self.view, offset, data);
        put(&mut self.durable, offset, data);
        self.wrote(offset, data.len() as u64);
        self.size_is_durable();
        let end = offset + data.len() as u64;
        let mut rest = Vec::with_capacity(self.pending.len());
        for old in self.pending.drain(..) {
            let old_end = old.offset + old.data.len() as u64;
            if old_end <= offset || old.offset >= end {
                rest.push(old);
                continue;
            }
            if old.offset < offset {
                let data = old.data.slice(..(offset - old.offset) as usize);
                rest.push(Pending { seq: old.seq, offset: old.offset, data, lost: old.lost });
            }
            if old_end > end {
                let data = old.data.slice((end - old.offset) as usize..);
                rest.push(Pending { seq: old.seq, offset: end, data, lost: old.lost });
            }
        }
        self.pending = rest;
    }

    /// A successful sync: every write that ended up to `seq` is durable, unless an earlier sync dropped it.
    pub(super) fn sync(&mut self, seq: u64) {
        let pending = std::mem::take(&mut self.pending);
        for write in pending {
            if write.seq <= seq && !write.lost {
                put(&mut self.durable, write.offset, &write.data);
            } else {
                self.pending.push(write);
            }
        }
        self.size_is_durable();
    }

    /// A failed sync: each unsynced write up to `seq` reached the disk, or is marked clean without having reached it. What reads see stays.
    pub(super) fn sync_failed(&mut self, seq: u64, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        for mut write in pending {
            if write.seq <= seq && !write.lost {
                if rng.percent(30) {
                    put(&mut self.durable, write.offset, &write.data);
                    continue;
                }
                write.lost = true;
            }
            self.pending.push(write);
        }
    }

    pub(super) fn truncate(&mut self, len: u64) {
        self.view.resize(len as usize, 0);
        self.durable.resize(len as usize, 0);
        self.pending.retain_mut(|write| {
            if write.offset >= len {
                return false;
            }
            let keep = (len - write.offset).min(write.data.len() as u64);
            write.data.truncate(keep as usize);
            true
        });
        self.reserved = len;
        self.grown = self.grown.min(len);
        self.content = self.content.min(len);
    }

    /// Power is lost: what was pending is there or not, sector by sector; reads see the outcome.
    pub(super) fn crash_power(&mut self, rng: &mut Rng) {
        let pending: Vec<Pending> = std::mem::take(&mut self.pending).into_iter().filter(|w| !w.lost).collect();
        if !pending.is_empty() {
            let durable_len = self.durable.len() as u64;
            let survival =
                *rng.pick(&[Survival::None, Survival::All, Survival::Prefix, Survival::PerSector, Survival::PerSector]);
            let prefix = rng.index(pending.len() + 1);
            let mut kept: BTreeMap<u64, usize> = BTreeMap::new();
            for (i, write) in pending.iter().enumerate() {
                for (offset, piece) in sectors(write.offset, &write.data) {
                    let keep = match survival {
                        Survival::None => 0,
                        Survival::All => pending.len(),
                        Survival::Prefix => prefix,
                        Survival::PerSector => {
                            *kept.entry(offset / SECTOR_BYTES).or_insert_with(|| rng.index(pending.len() + 1))
                        }
                    };
                    if i < keep {
                        put(&mut self.durable, offset, &piece);
                    }
                }
            }
            // The new size is metadata of its own: it may not have made it even where the data did.
            if self.durable.len() as u64 > durable_len && rng.percent(30) {
                self.durable.truncate(durable_len as usize);
            }
        }
        if rng.percent(50) {
            self.size_is_durable();
        }
        self.view.clone_from(&self.durable);
    }

    /// A write that was under way when the power went: every sector decides, or a prefix made it.
    pub(super) fn tear(&mut self, offset: u64, data: &Bytes, rng: &mut Rng) {
        let pieces: Vec<_> = sectors(offset, data).collect();
        let mode = rng.below(4);
        let cut = rng.index(pieces.len() + 1);
        let may_grow = rng.percent(70);
        for (i, (at, piece)) in pieces.into_iter().enumerate() {
            let reached = match mode {
                0 => false,
                1 => i < cut,
                2 => i >= cut,
                _ => rng.percent(50),
            };
            if reached && (may_grow || at + piece.len() as u64 <= self.durable.len() as u64) {
                put(&mut self.durable, at, &piece);
                put(&mut self.view, at, &piece);
                self.content = self.content.max(at + piece.len() as u64);
            }
        }
    }

    /// Changes bytes on the platter while the node is down.
    pub(super) fn damage(&mut self, offset: u64, change: impl FnOnce(&mut [u8]), len: u64) {
        let range = offset as usize..(offset + len) as usize;
        if range.end <= self.durable.len() {
            change(&mut self.durable[range.clone()]);
            self.view[range.clone()].copy_from_slice(&self.durable[range]);
        }
    }

    /// Makes the sector at `offset` unreadable until it is written again.
    pub(super) fn make_bad(&mut self, offset: u64) {
        self.bad_sectors.insert(offset / SECTOR_BYTES, ());
    }

    /// The size that reserving has made is durable.
    fn size_is_durable(&mut self) {
        let len = self.durable.len().max(self.grown as usize);
        self.durable.resize(len, 0);
    }

    fn wrote(&mut self, offset: u64, len: u64) {
        self.content = self.content.max(offset + len);
        if !self.bad_sectors.is_empty() {
            let range = offset / SECTOR_BYTES..(offset + len).div_ceil(SECTOR_BYTES);
            self.bad_sectors.retain(|sector, ()| !range.contains(sector));
        }
    }

    /// What reads see, whole.
    pub(super) fn view(&self) -> &[u8] {
        &self.view
    }

    #[cfg(test)]
    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }
}

/// `data` at `offset`, cut at sector boundaries.
fn sectors(offset: u64, data: &Bytes) -> impl Iterator<Item = (u64, Bytes)> + '_ {
    let end = offset + data.len() as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        let piece = data.slice((at - offset) as usize..(next - offset) as usize);
        let item = (at, piece);
        at = next;
        Some(item)
    })
}

fn put(image: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset as usize..end].copy_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(byte: u8, len: usize) -> Bytes {
        Bytes::from(vec![byte; len])
    }

    #[test]
    fn a_durable_write_survives_and_says_nothing_about_the_one_before() {
        let (mut lost_once, mut kept_once) = (false, false);
        for seed in 0..64 {
            let mut file = File::new();
            file.write_durable(0, &filled(0, 8192));
            file.write(1, 0, filled(1, 4096));
            file.write_durable(4096, &filled(2, 4096));
            file.crash_power(&mut Rng::new(seed));
            assert!(file.view()[4096..].iter().all(|&b| b == 2));
            lost_once |= file.view()[..4096].contains(&0);
            kept_once |= file.view()[..4096].contains(&1);
        }
        assert!(lost_once && kept_once);
    }

    #[test]
    fn a_durable_write_over_a_pending_one_is_final() {
        for seed in 0..64 {
            let mut file = File::new();
            file.write_durable(0, &filled(0, 12288));
            file.write(1, 0, filled(1, 12288));
            file.write_durable(4096, &filled(2, 4096));
            file.crash_power(&mut Rng::new(seed));
            assert!(file.view()[4096..8192].iter().all(|&b| b == 2), "seed {seed}");
        }
    }

    #[test]
    fn a_failed_sync_drops_writes_for_good() {
        let mut dropped = false;
        for seed in 0..64 {
            let mut rng = Rng::new(seed);
            let mut file = File::new();
            file.write(1, 0, filled(1, 512));
            file.sync_failed(1, &mut rng);
            assert_eq!(file.view(), &filled(1, 512)[..], "reads still see it");
            file.sync(1);
            dropped |= file.durable().is_empty();
            file.crash_power(&mut rng);
            assert_eq!(file.view(), file.durable());
        }
        assert!(dropped);
    }

    #[test]
    fn each_sector_is_old_or_new() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut file = File::new();
            file.write_durable(0, &filled(0, 4096));
            file.write(1, 0, filled(1, 4096));
            file.write(2, 0, filled(2, 4096));
            file.tear(0, &filled(3, 4096), &mut rng);
            file.crash_power(&mut rng);
            for sector in file.view().chunks(512) {
                assert!(sector.iter().all(|b| *b == sector[0]), "seed {seed}: mixed sector");
            }
        }
    }

    #[test]
    fn a_synced_write_survives_a_size_change() {
        let mut file = File::new();
        file.write(1, 0, filled(1, 1000));
        file.sync(1);
        file.write(2, 1000, filled(2, 1000));
        file.crash_power(&mut Rng::new(3));
        assert!(file.view().len() >= 1000 && file.view()[..1000].iter().all(|&b| b == 1));
    }
}
