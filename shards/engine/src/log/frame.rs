//! The journal's headers, of commits and of entries, written and read; `scan` finds them in a file. docs/FORMAT.md explains each field; all
//! numbers are little-endian.

use floe_wire::ids::TopicId;

use super::buffer::block_up;

/// "FLOEJC01", as a number read little-endian.
const COMMIT_MAGIC: u64 = u64::from_le_bytes(*b"FLOEJC01");
/// "FLEN".
const ENTRY_MAGIC: u32 = u32::from_le_bytes(*b"FLEN");
/// The version of this layout.
pub const JOURNAL_VERSION: u16 = 1;
/// Bytes of a commit header.
pub const COMMIT_HEADER_BYTES: usize = 128;
/// Bytes of an entry header; the batch follows.
pub const ENTRY_HEADER_BYTES: usize = 64;
/// Entries begin at multiples of this.
pub(super) const ENTRY_ALIGN: usize = 8;

/// Which journal a commit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalId {
    /// Random, made with the journal, never shown to clients: so no client can write records that look like a commit.
    pub key: u64,
    /// Counts changes of the number of shards.
    pub generation: u32,
    /// Whose.
    pub shard: u16,
}

/// The first bytes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    /// Which journal.
    pub journal: JournalId,
    /// Number of the start of the broker that wrote it; strictly rising.
    pub incarnation: u64,
    /// Number of the commit; rises by one, also from file to file.
    pub seq: u64,
    /// The journal file it was written to (a write that landed elsewhere is seen by this).
    pub slot: u32,
    /// The block in that file.
    pub block: u32,
    /// Bytes used, this header included, padding excluded.
    pub bytes: u32,
    /// Number of entries.
    pub entries: u32,
    /// The highest commit known to be durable when this one was made: if that one is not whole now, it was damaged, not torn.
    pub acknowledged_seq: u64,
    /// The first commit of this incarnation.
    pub first_seq: u64,
    /// The last commit that recovery accepted when this incarnation began: what lies between the two never counted.
    pub accepted_seq: u64,
}

impl CommitHeader {
    /// Bytes on disk.
    pub fn padded_bytes(&self) -> u64 {
        block_up(u64::from(self.bytes))
    }

    /// Writes it over the first bytes of `commit`.
    pub fn write(&self, commit: &mut [u8]) {
        let out = &mut commit[..COMMIT_HEADER_BYTES];
        out.fill(0);
        out[0..8].copy_from_slice(&COMMIT_MAGIC.to_le_bytes());
        out[12..14].copy_from_slice(&JOURNAL_VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.journal.key.to_le_bytes());
        out[24..28].copy_from_slice(&self.journal.generation.to_le_bytes());
        out[28..30].copy_from_slice(&self.journal.shard.to_le_bytes());
        out[32..40].copy_from_slice(&self.incarnation.to_le_bytes());
        out[40..48].copy_from_slice(&self.seq.to_le_bytes());
        out[48..52].copy_from_slice(&self.slot.to_le_bytes());
        out[52..56].copy_from_slice(&self.block.to_le_bytes());
        out[56..60].copy_from_slice(&self.bytes.to_le_bytes());
        out[60..64].copy_from_slice(&self.entries.to_le_bytes());
        out[64..72].copy_from_slice(&self.acknowledged_seq.to_le_bytes());
        out[72..80].copy_from_slice(&self.first_seq.to_le_bytes());
        out[80..88].copy_from_slice(&self.accepted_seq.to_le_bytes());
        let crc = crc32fast::hash(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads what [`CommitHeader::write`] wrote; `None` when it is not there whole.
    pub fn read(bytes: &[u8]) -> Option<CommitHeader> {
        let b = bytes.get(..COMMIT_HEADER_BYTES)?;
        if u64_at(b, 0) != COMMIT_MAGIC || u32_at(b, 8) != crc32fast::hash(&b[12..]) || u16_at(b, 12) != JOURNAL_VERSION
        {
            return None;
        }
        let header = CommitHeader {
            journal: JournalId { key: u64_at(b, 16), generation: u32_at(b, 24), shard: u16_at(b, 28) },
            incarnation: u64_at(b, 32),
            seq: u64_at(b, 40),
            slot: u32_at(b, 48),
            block: u32_at(b, 52),
            bytes: u32_at(b, 56),
            entries: u32_at(b, 60),
            acknowledged_seq: u64_at(b, 64),
            first_seq: u64_at(b, 72),
            accepted_seq: u64_at(b, 80),
        };
        (header.bytes as usize >= COMMIT_HEADER_BYTES).then_some(header)
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A batch as appended.
    Batch,
    /// The log start moved to the base offset; no batch follows.
    LogStart,
    /// A batch copied from an older commit so that its file can be used again.
    Carried,
    /// A batch that was written straight to its segment, before this commit; a [`DirectBody`] follows.
    Direct,
    /// What batches written straight to a segment have behind its last whole block; a [`rest_body`] follows.
    Rest,
}

/// The header of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Its commit.
    pub seq: u64,
    /// Which topic.
    pub topic: TopicId,
    /// Which partition.
    pub partition: i32,
    /// Offset of the batch's first record, or the new log start.
    pub base_offset: i64,
    /// Bytes of what follows: the batch, or a body of its kind.
    pub length: u32,
    /// As stamped into the batch.
    pub leader_epoch: i32,
    /// What it is.
    pub kind: EntryKind,
}

impl EntryHeader {
    /// The bytes on disk.
    pub fn bytes(&self) -> [u8; ENTRY_HEADER_BYTES] {
        let mut out = [0; ENTRY_HEADER_BYTES];
        out[0..4].copy_from_slice(&ENTRY_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.seq.to_le_bytes());
        out[16..32].copy_from_slice(&self.topic.0);
        out[32..40].copy_from_slice(&self.base_offset.to_le_bytes());
        out[40..44].copy_from_slice(&self.partition.to_le_bytes());
        out[44..48].copy_from_slice(&self.length.to_le_bytes());
        out[48..52].copy_from_slice(&self.leader_epoch.to_le_bytes());
        out[52] = match self.kind {
            EntryKind::Batch => 1,
            EntryKind::LogStart => 2,
            EntryKind::Carried => 3,
            EntryKind::Direct => 4,
            EntryKind::Rest => 5,
        };
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what [`EntryHeader::bytes`] made.
    pub fn read(bytes: &[u8]) -> Option<EntryHeader> {
        let b = bytes.get(..ENTRY_HEADER_BYTES)?;
        if u32_at(b, 0) != ENTRY_MAGIC || u32_at(b, 4) != crc32fast::hash(&b[8..]) {
            return None;
        }
        Some(EntryHeader {
            seq: u64_at(b, 8),
            topic: TopicId(b[16..32].try_into().expect("16 bytes")),
            base_offset: u64_at(b, 32) as i64,
            partition: u32_at(b, 40) as i32,
            length: u32_at(b, 44),
            leader_epoch: u32_at(b, 48) as i32,
            kind: match b[52] {
                1 => EntryKind::Batch,
                2 => EntryKind::LogStart,
                3 => EntryKind::Carried,
                4 => EntryKind::Direct,
                5 => EntryKind::Rest,
                _ => return None,
            },
        })
    }
}

/// "FLDI".
const DIRECT_MAGIC: u32 = u32::from_le_bytes(*b"FLDI");
/// "FLRE".
const REST_MAGIC: u32 = u32::from_le_bytes(*b"FLRE");
/// No segment is larger; what says so is not believed.
const POSITION_MAX: u64 = 1 << 48;
/// Nor is a batch.
const LENGTH_MAX: u32 = 1 << 30;
/// The segment of what did not come to stand in one: the same commit has a copy of the batch.
pub const MOVED: i64 = -1;
/// Bytes of a [`DirectBody`].
pub const DIRECT_BODY_BYTES: usize = 64;
/// Bytes before those of the stream in the body of a [`EntryKind::Rest`].
pub const REST_HEADER_BYTES: usize = 24;

/// Where a batch lies that was written straight to its segment. It says all that the header of its entry says, but for topic and partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectBody {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// The segment, by its base offset; or [`MOVED`].
    pub segment: i64,
    /// Where in it the batch begins.
    pub position: u64,
    /// Bytes of the batch.
    pub length: u32,
    /// The CRC-32C that the batch itself carries: with offset, length and epoch here it covers every byte of it.
    pub batch_crc: u32,
    /// As stamped into the batch.
    pub leader_epoch: i32,
    /// Offset of the batch's last record, relative to the first.
    pub last_offset_delta: i32,
}

impl DirectBody {
    /// Offset of the batch's last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The bytes on disk.
    pub fn bytes(&self) -> [u8; DIRECT_BODY_BYTES] {
        let mut out = [0; DIRECT_BODY_BYTES];
        out[0..4].copy_from_slice(&DIRECT_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.base_offset.to_le_bytes());
        out[16..24].copy_from_slice(&self.segment.to_le_bytes());
        out[24..32].copy_from_slice(&self.position.to_le_bytes());
        out[32..36].copy_from_slice(&self.length.to_le_bytes());
        out[36..40].copy_from_slice(&self.batch_crc.to_le_bytes());
        out[40..44].copy_from_slice(&self.leader_epoch.to_le_bytes());
        out[44..48].copy_from_slice(&self.last_offset_delta.to_le_bytes());
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what [`DirectBody::bytes`] made; `None` when it is not there whole.
    pub fn read(bytes: &[u8]) -> Option<DirectBody> {
        let b: &[u8; DIRECT_BODY_BYTES] = bytes.try_into().ok()?;
        if u32_at(b, 0) != DIRECT_MAGIC || u32_at(b, 4) != crc32fast::hash(&b[8..]) {
            return None;
        }
        let body = DirectBody {
            base_offset: u64_at(b, 8) as i64,
            segment: u64_at(b, 16) as i64,
            position: u64_at(b, 24),
            length: u32_at(b, 32),
            batch_crc: u32_at(b, 36),
            leader_epoch: u32_at(b, 40) as i32,
            last_offset_delta: u32_at(b, 44) as i32,
        };
        (body.position <= POSITION_MAX && body.length <= LENGTH_MAX).then_some(body)
    }
}

/// The body of a [`EntryKind::Rest`]: `stream` goes on where segment `segment` is written up to, `written`.
pub fn rest_body(segment: i64, written: u64, stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(REST_HEADER_BYTES + stream.len());
    out.extend_from_slice(&REST_MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&segment.to_le_bytes());
    out.extend_from_slice(&written.to_le_bytes());
    out.extend_from_slice(stream);
    let crc = crc32fast::hash(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads what [`rest_body`] made: segment, where it is written up to, what goes on there.
pub fn read_rest(bytes: &[u8]) -> Option<(i64, u64, &[u8])> {
    let (b, stream) = bytes.split_at_checked(REST_HEADER_BYTES)?;
    let whole =
        u32_at(b, 0) == REST_MAGIC && u32_at(b, 4) == crc32fast::hash(&bytes[8..]) && u64_at(b, 16) <= POSITION_MAX;
    whole.then(|| (u64_at(b, 8) as i64, u64_at(b, 16), stream))
}

/// Bytes that an entry with a batch of `length` takes.
pub fn entry_bytes(length: usize) -> usize {
    (ENTRY_HEADER_BYTES + length).next_multiple_of(ENTRY_ALIGN)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_every_flipped_bit_is_seen() {
        let header = CommitHeader {
            journal: JournalId { key: 0x0102_0304_0506_0708, generation: 9, shard: 3 },
            incarnation: 4,
            seq: 5,
            slot: 6,
            block: 7,
            bytes: 300,
            entries: 1,
            acknowledged_seq: 4,
            first_seq: 2,
            accepted_seq: 1,
        };
        let mut bytes = vec![0xff; COMMIT_HEADER_BYTES];
        header.write(&mut bytes);
        assert_eq!(CommitHeader::read(&bytes), Some(header));
        let entry = EntryHeader {
            seq: 5,
            topic: TopicId([8; 16]),
            partition: 2,
            base_offset: 77,
            length: 100,
            leader_epoch: 1,
            kind: EntryKind::Carried,
        };
        let entry_bytes = entry.bytes();
        assert_eq!(EntryHeader::read(&entry_bytes), Some(entry));
        let direct = DirectBody {
            base_offset: 77,
            segment: 50,
            position: 8192,
            length: 100_000,
            batch_crc: 0xdead_beef,
            leader_epoch: 1,
            last_offset_delta: 9,
        };
        assert_eq!(DirectBody::read(&direct.bytes()), Some(direct));
        let rest = rest_body(50, 106_496, b"goes on");
        assert_eq!(read_rest(&rest), Some((50, 106_496, &b"goes on"[..])));
        for bit in 0..DIRECT_BODY_BYTES * 8 {
            let mut damaged = direct.bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(DirectBody::read(&damaged), None, "bit {bit}");
        }
        for bit in 0..rest.len() * 8 {
            let mut damaged = rest.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_rest(&damaged), None, "bit {bit}");
        }
        for bit in 0..COMMIT_HEADER_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(CommitHeader::read(&damaged), None, "bit {bit}");
        }
        for bit in 0..ENTRY_HEADER_BYTES * 8 {
            let mut damaged = entry_bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(EntryHeader::read(&damaged), None, "bit {bit}");
        }
    }
}
