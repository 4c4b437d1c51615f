//! A partition's segment: one file of raw batches back to back, and its sparse index. Lives in [`crate::partition::Partition`].
//!
//! Invariants: the index's first entry is the segment's start; entries stand at batch boundaries, rising. It is a hint: what is read from
//! the file is checked against it, and the file decides.

use crate::event::FileHandle;

/// Distance between index entries in bytes, at least.
pub(crate) const INDEX_BYTES: u64 = 64 << 10;
/// "FLOEIX01".
const INDEX_MAGIC: &[u8; 8] = b"FLOEIX01";
/// "FLOEIX02": of a segment that compaction has written. Where it ends and how long it is stand there as well.
const CLEANED_MAGIC: &[u8; 8] = b"FLOEIX02";
/// Bytes ahead of its entries.
const CLEANED_HEADER_BYTES: usize = 40;
/// Bytes of one entry in an index file.
const ENTRY_BYTES: usize = 24;
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
            index: vec![IndexEntry { offset: base, position: 0, max_timestamp_before: i64::MIN, verified: false }],
            index_loaded: true,
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
        if position < self.index[i].position + INDEX_BYTES || position >= self.chunk_end(i) {
            return i;
        }
        self.index.insert(i + 1, IndexEntry { offset, position, max_timestamp_before, verified: false });
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
            self.index_loaded = false;
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
        let crc = crc32fast::hash(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The index file's bytes, for a segment that compaction has written: all offsets below `end` have been in it.
    pub(crate) fn cleaned_index_bytes(&self, end: i64) -> Vec<u8> {
        let plain = self.index_bytes();
        let mut out = plain[..INDEX_HEADER_BYTES].to_vec();
        out[..8].copy_from_slice(CLEANED_MAGIC);
        out.extend_from_slice(&end.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&plain[INDEX_HEADER_BYTES..]);
        let crc = crc32fast::hash(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Takes over what an index file says, in front of what is known already. Nonsense is left out: the file is only a hint.
    pub(crate) fn load_index(&mut self, bytes: &[u8]) {
        self.index_loaded = true;
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
}

/// Reads an index file: the segment's base offset and the entries. `None` when it is damaged.
pub fn read_index(bytes: &[u8]) -> Option<(i64, Vec<IndexEntry>)> {
    let header = bytes.get(..INDEX_HEADER_BYTES)?;
    let header_bytes = match header.first_chunk::<8>()? {
        INDEX_MAGIC => INDEX_HEADER_BYTES,
        CLEANED_MAGIC => CLEANED_HEADER_BYTES,
        _ => return None,
    };
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let count = u32::from_le_bytes(header[12..16].try_into().expect("4 bytes")) as usize;
    let crc = u32::from_le_bytes(header[8..12].try_into().expect("4 bytes"));
    if bytes.len() != header_bytes + count * ENTRY_BYTES || crc32fast::hash(&bytes[12..]) != crc {
        return None;
    }
    let entries = (0..count).map(|i| {
        let at = header_bytes + i * ENTRY_BYTES;
        IndexEntry {
            offset: number(at) as i64,
            position: number(at + 8),
            max_timestamp_before: number(at + 16) as i64,
            verified: false,
        }
    });
    Some((number(16) as i64, entries.collect()))
}

/// Of the index file of a segment that compaction has written: the offset behind it and its length in bytes. There is one only when the segment is
/// whole and durable.
pub fn read_cleaned(bytes: &[u8]) -> Option<(i64, u64)> {
    read_index(bytes).filter(|_| bytes.starts_with(CLEANED_MAGIC))?;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    Some((number(24) as i64, number(32)))
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
        let cleaned = segment.cleaned_index_bytes(5000);
        assert_eq!(read_index(&cleaned), read_index(&bytes));
        assert_eq!(read_cleaned(&cleaned), Some((5000, segment.len)));
        assert_eq!(read_cleaned(&cleaned[..cleaned.len() - 24]), None);
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
