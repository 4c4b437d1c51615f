//! A partition's segment: one file of raw batches back to back, and its sparse index. Lives in [`crate::partition::Partition`].
//!
//! Invariants: the index's first entry is the segment's start; entries stand at batch boundaries, rising. It is a hint: what is read from
//! the file is checked against it, and the file decides.

use super::sums;
use crate::event::FileHandle;

/// Distance between index entries in bytes, at least.
pub(crate) const INDEX_BYTES: u64 = 64 << 10;
/// "FLOEIX01".
const INDEX_MAGIC: &[u8; 8] = b"FLOEIX01";
/// "FLOEIX02": of a segment that compaction has written, before there were sums. Where it ends and how long it is stand there as well.
const CLEANED_MAGIC: &[u8; 8] = b"FLOEIX02";
/// "FLOEIX03": the same with a sum for each chunk.
const SUMMED_MAGIC: &[u8; 8] = b"FLOEIX03";
/// Bytes ahead of the entries of the two.
const CLEANED_HEADER_BYTES: usize = 40;
/// Bytes of one entry in an index file without sums.
const ENTRY_BYTES: usize = 24;
/// Bytes of one entry in an index file with sums.
const SUMMED_ENTRY_BYTES: usize = 28;
const INDEX_HEADER_BYTES: usize = 24;

/// A place in a segment where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of its first record.
    pub offset: i64,
    /// Its place in the file in bytes.
    pub position: u64,
    /// The highest timestamp of all batches before it.
    pub max_timestamp_before: i64,
    /// Of the batches from here to the next entry ([`sums`]); 0 where the segment has none.
    pub sum: u32,
    /// Every batch from here to the next entry has been read since the start, and its checksum held.
    pub verified: bool,
}

/// A segment.
#[derive(Debug)]
pub struct Segment {
    /// Offset of its first record; its name.
    pub(crate) base: i64,
    /// 0: as it was settled. Above: written by compaction; its file has the number in its name, and offsets are missing between its batches.
    pub(crate) version: u32,
    /// Bytes of whole settled batches.
    pub(crate) len: u64,
    /// Highest timestamp; `i64::MIN` while empty.
    pub(crate) max_timestamp: i64,
    /// The offset that goes with it.
    pub(crate) max_timestamp_offset: i64,
    /// Wall-clock ms of its first append.
    pub(crate) created_ms: i64,
    pub(crate) index: Vec<IndexEntry>,
    /// The index file has been looked at (or the segment was begun in this process).
    pub(crate) index_loaded: bool,
    /// Its entries are those of its file, each with the sum of its chunk.
    pub(crate) summed: bool,
    /// `len` when the index file was last written.
    pub(crate) index_saved_len: u64,
    /// Bytes reserved on disk ahead.
    pub(crate) reserved: u64,
    /// What a crash may have left behind the end was cut off (or nothing was there).
    pub(crate) cut: bool,
    /// For sending, through the page cache.
    pub(crate) file: Option<FileHandle>,
    /// For settling, while it is the last segment: with many partitions opening files again in every round was a fifth of settling.
    pub(crate) writer: Option<FileHandle>,
    /// For reading and checking, past the page cache: most data is read once, and a copy of it that nobody asks for again costs more CPU
    /// than everything else about the read.
    pub(crate) reader: Option<FileHandle>,
}

impl Segment {
    pub(crate) fn new(base: i64, created_ms: i64) -> Segment {
        Segment {
            base,
            version: 0,
            len: 0,
            max_timestamp: i64::MIN,
            max_timestamp_offset: base,
            created_ms,
            index: vec![IndexEntry {
                offset: base,
                position: 0,
                max_timestamp_before: i64::MIN,
                sum: 0,
                verified: false,
            }],
            index_loaded: true,
            summed: false,
            index_saved_len: 0,
            reserved: 0,
            cut: false,
            file: None,
            writer: None,
            reader: None,
        }
    }

    /// Takes a batch at the end into account.
    pub(crate) fn push(&mut self, base_offset: i64, last_offset: i64, len: u64, max_timestamp: i64) {
        let last = self.index.last().expect("an index has its first entry");
        if self.len >= last.position + INDEX_BYTES {
            let entry = IndexEntry {
                offset: base_offset,
                position: self.len,
                max_timestamp_before: self.max_timestamp,
                sum: 0,
                verified: false,
            };
            self.index.push(entry);
        }
        self.len += len;
        if max_timestamp > self.max_timestamp {
            self.max_timestamp = max_timestamp;
            self.max_timestamp_offset = last_offset;
        }
    }

    /// The same with the batch itself, for its sum. `expected` is the offset behind the batch before, which may be missing.
    pub(crate) fn push_summed(&mut self, expected: i64, last_offset: i64, batch: &[u8], max_timestamp: i64) {
        self.push(expected, last_offset, batch.len() as u64, max_timestamp);
        let chunk = self.index.last_mut().expect("an index has its first entry");
        chunk.sum = sums::add(chunk.sum, batch);
    }

    /// Index of the last entry at or below `offset`.
    pub(crate) fn floor(&self, offset: i64) -> usize {
        self.index.partition_point(|e| e.offset <= offset).saturating_sub(1)
    }

    /// Where the chunk that begins with entry `i` ends.
    pub(crate) fn chunk_end(&self, i: usize) -> u64 {
        self.index.get(i + 1).map_or(self.len, |e| e.position)
    }

    /// Enters a batch boundary met while reading behind entry `i`, if it is far enough from its neighbours. Gives the entry it belongs to now.
    pub(crate) fn refine(&mut self, i: usize, offset: i64, position: u64, max_timestamp_before: i64) -> usize {
        if !self.index_loaded {
            // Let go of while this read was under way: what the file says comes first.
            return i;
        }
        if position == self.chunk_end(i) && i + 1 < self.index.len() {
            return i + 1;
        }
        if self.summed || position < self.index[i].position + INDEX_BYTES || position >= self.chunk_end(i) {
            return i;
        }
        self.index.insert(i + 1, IndexEntry { offset, position, max_timestamp_before, sum: 0, verified: false });
        i + 1
    }

    /// Everything between these bytes has been read and its checksums held. The last chunk is not closed yet.
    pub(crate) fn verified(&mut self, from: u64, to: u64) {
        let first = self.index.partition_point(|e| e.position < from);
        let behind = self.index.partition_point(|e| e.position <= to).saturating_sub(1);
        for entry in self.index.iter_mut().take(behind).skip(first) {
            entry.verified = true;
        }
    }

    /// Lets go of the open file, and of the index if its file has all of it: read again, and the segment checked again, when it is asked for. The last
    /// segment keeps what it has, it is being added to.
    pub(crate) fn close(&mut self, is_last: bool) {
        (self.file, self.reader) = (None, None);
        if !is_last && self.index_saved_len == self.len {
            self.index.truncate(1);
            self.index[0].verified = false;
            self.index.shrink_to_fit();
            (self.index_loaded, self.summed) = (false, false);
        }
    }

    /// The index file's bytes.
    pub(crate) fn index_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(INDEX_HEADER_BYTES + self.index.len() * ENTRY_BYTES);
        out.extend_from_slice(INDEX_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.base.to_le_bytes());
        for entry in &self.index {
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.position.to_le_bytes());
            out.extend_from_slice(&entry.max_timestamp_before.to_le_bytes());
        }
        sealed(out)
    }

    /// The index file's bytes, for a segment that compaction has written: all offsets below `end` have been in it.
    pub(crate) fn summed_index_bytes(&self, end: i64) -> Vec<u8> {
        let mut out = Vec::with_capacity(CLEANED_HEADER_BYTES + self.index.len() * SUMMED_ENTRY_BYTES);
        out.extend_from_slice(SUMMED_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&end.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        for entry in &self.index {
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.position.to_le_bytes());
            out.extend_from_slice(&entry.max_timestamp_before.to_le_bytes());
            out.extend_from_slice(&entry.sum.to_le_bytes());
        }
        sealed(out)
    }

    /// Takes over what an index file says, in front of what is known already. Nonsense is left out: the file is only a hint.
    pub(crate) fn load_index(&mut self, bytes: &[u8]) {
        self.index_loaded = true;
        let is_this = |(len, entries): &(u64, Vec<IndexEntry>)| (*len, entries[0].offset) == (self.len, self.base);
        if self.version > 0
            && let Some((_, entries)) = read_summed(bytes).filter(is_this)
        {
            (self.index, self.summed) = (entries, true);
            return;
        }
        let Some(found) = read_index(bytes).filter(|(base, _)| *base == self.base) else {
            self.index_saved_len = 0;
            return;
        };
        let known_from = self.index.get(1).map_or(self.len, |e| e.position);
        let rest = self.index.split_off(1);
        for entry in found.1 {
            let last = self.index.last().expect("the first entry stays");
            if entry.position > last.position && entry.offset > last.offset && entry.position < known_from {
                self.index.push(entry);
            }
        }
        self.index.extend(rest);
    }

    /// Looks at the sums of the whole chunks in `bytes`, which were read from where entry `first` is.
    pub(crate) fn look_at_sums(&self, first: usize, bytes: &[u8]) -> Summed {
        let start = self.index[first].position;
        let mut held = 0;
        for i in first..self.index.len() {
            let end = (self.chunk_end(i) - start) as usize;
            match bytes.get(held..end) {
                None if held == 0 => return Summed::Short(end as u64),
                Some(chunk) if sums::of(chunk) == Some(self.index[i].sum) => held = end,
                Some(_) if held == 0 => return Summed::Broken,
                _ => break,
            }
        }
        Summed::Held(held)
    }
}

/// An index file's bytes with their checksum in its place.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What the sums of chunks say of bytes of their segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summed {
    /// So many bytes at the start are whole chunks that hold their sums.
    Held(usize),
    /// The first chunk has so many bytes, more than there are.
    Short(u64),
    /// The first chunk does not hold its sum.
    Broken,
}

/// Reads an index file: the segment's base offset and the entries. `None` when it is damaged.
pub fn read_index(bytes: &[u8]) -> Option<(i64, Vec<IndexEntry>)> {
    let header = bytes.get(..INDEX_HEADER_BYTES)?;
    let (header_bytes, entry_bytes) = match header.first_chunk::<8>()? {
        INDEX_MAGIC => (INDEX_HEADER_BYTES, ENTRY_BYTES),
        CLEANED_MAGIC => (CLEANED_HEADER_BYTES, ENTRY_BYTES),
        SUMMED_MAGIC => (CLEANED_HEADER_BYTES, SUMMED_ENTRY_BYTES),
        _ => return None,
    };
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let count = half(12) as usize;
    if bytes.len() != header_bytes + count * entry_bytes || crc32fast::hash(&bytes[12..]) != half(8) {
        return None;
    }
    let entries = (0..count).map(|i| {
        let at = header_bytes + i * entry_bytes;
        IndexEntry {
            offset: number(at) as i64,
            position: number(at + 8),
            max_timestamp_before: number(at + 16) as i64,
            sum: if entry_bytes == SUMMED_ENTRY_BYTES { half(at + 24) } else { 0 },
            verified: false,
        }
    });
    Some((number(16) as i64, entries.collect()))
}

/// Of the index file of a segment that compaction has written: the offset behind it and its length in bytes. There is one only when the segment is
/// whole and durable.
pub fn read_cleaned(bytes: &[u8]) -> Option<(i64, u64)> {
    let is_cleaned = bytes.starts_with(CLEANED_MAGIC) || bytes.starts_with(SUMMED_MAGIC);
    read_index(bytes).filter(|_| is_cleaned)?;
    Some(cleaned_header(bytes))
}

/// The same of a file that is known to be one.
fn cleaned_header(bytes: &[u8]) -> (i64, u64) {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    (number(24) as i64, number(32))
}

/// Of an index file with sums: the segment's length in bytes and the entries, which begin at its start and rise.
pub(super) fn read_summed(bytes: &[u8]) -> Option<(u64, Vec<IndexEntry>)> {
    let (base, entries) = read_index(bytes).filter(|_| bytes.starts_with(SUMMED_MAGIC))?;
    let (_, len) = cleaned_header(bytes);
    let begins = entries.first().is_some_and(|e| (e.offset, e.position) == (base, 0));
    let rises = entries.windows(2).all(|pair| pair[0].offset < pair[1].offset && pair[0].position < pair[1].position);
    let ends = entries.last().is_some_and(|e| e.position < len || len == 0);
    (begins && rises && ends).then_some((len, entries))
}

/// The name of a segment's files, without the ending.
pub fn file_name(base: i64, version: u32) -> String {
    if version == 0 { format!("{base:020}") } else { format!("{base:020}-{version}") }
}

/// Base and version of the segment whose file (data or index) has this name.
pub fn file_name_parts(name: &str) -> Option<(i64, u32)> {
    let stem = name.strip_suffix(".log").or_else(|| name.strip_suffix(".idx"))?;
    match stem.split_once('-') {
        None => Some((stem.parse().ok()?, 0)),
        Some((base, version)) => Some((base.parse().ok()?, version.parse().ok().filter(|v| *v > 0)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_comes_back() {
        let mut segment = Segment::new(100, 0);
        for i in 0..1000 {
            segment.push(100 + i, 100 + i, 1000, i);
        }
        assert!(segment.index.len() > 10);
        let bytes = segment.index_bytes();
        let mut again = Segment::new(100, 0);
        again.len = segment.len;
        again.index_loaded = false;
        again.load_index(&bytes);
        assert_eq!(again.index, segment.index);
        let mut damaged = bytes.clone();
        damaged[40] ^= 1;
        assert_eq!((read_index(&damaged), read_cleaned(&bytes)), (None, None));
        let summed = segment.summed_index_bytes(5000);
        assert_eq!(read_index(&summed), read_index(&bytes));
        assert_eq!(read_cleaned(&summed), Some((5000, segment.len)));
        assert_eq!(read_cleaned(&summed[..summed.len() - 28]), None);
        // As it was written before there were sums.
        let cleaned = sealed([&b"FLOEIX02"[..], &summed[8..40], &bytes[24..]].concat());
        assert_eq!(read_index(&cleaned), read_index(&bytes));
        assert_eq!((read_cleaned(&cleaned), read_summed(&cleaned)), (Some((5000, segment.len)), None));
    }

    #[test]
    fn names() {
        for (base, version, name) in [(0, 0, "00000000000000000000"), (12, 3, "00000000000000000012-3")] {
            assert_eq!(file_name(base, version), name);
            assert_eq!(file_name_parts(&format!("{name}.log")), Some((base, version)));
            assert_eq!(file_name_parts(&format!("{name}.idx")), Some((base, version)));
        }
        for other in ["x.log", "1-0.log", "1-x.log", "1.txt", "-1", ""] {
            assert_eq!(file_name_parts(other), None, "{other}");
        }
    }
}
