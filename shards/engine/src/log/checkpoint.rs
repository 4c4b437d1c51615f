//! A shard's checkpoint: everything of its log that is not in the journal or the segments themselves, as one small file written whole.
//!
//! Two names take turns, so damage to one leaves the one before. `frame` around the rkyv bytes: magic, version, sequence, length, CRC-32.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

/// "FLOECP01".
const MAGIC: &[u8; 8] = b"FLOECP01";
const HEADER_BYTES: usize = 32;
/// The version of the content's layout.
pub const CHECKPOINT_VERSION: u32 = 3;
/// Largest checkpoint that is read, in bytes.
pub(super) const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;
/// The two names.
pub(super) const NAMES: [&str; 2] = ["checkpoint-a", "checkpoint-b"];

/// The content.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Rises with every checkpoint of this journal.
    pub sequence: u64,
    /// The journal's key.
    pub key: u64,
    /// The newest start of the broker.
    pub incarnation: u64,
    /// Its first commit.
    pub first_seq: u64,
    /// What recovery accepted as the last commit before it.
    pub accepted_seq: u64,
    /// The oldest commit that must be in the journal.
    pub tail_seq: u64,
    /// The highest commit known to be durable.
    pub durable_seq: u64,
    /// Runs of commits that were accepted of earlier incarnations.
    pub runs: Vec<Run>,
    /// Everything of older generations has been taken over.
    pub drained: bool,
    /// All partitions of this shard.
    pub partitions: Vec<PartitionState>,
}

/// Accepted commits of one incarnation without a gap.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which start of the broker.
    pub incarnation: u64,
    /// First commit.
    pub first_seq: u64,
    /// Last commit.
    pub last_seq: u64,
}

/// A partition in a checkpoint.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// Topic id.
    pub topic: [u8; 16],
    /// Partition number.
    pub partition: i32,
    /// First offset that can be read.
    pub log_start: i64,
    /// Below this offset the last record of each key is the only one.
    pub cleaned_to: i64,
    /// Everything below lies in segments.
    pub settled_end: i64,
    /// Where in the last segment that offset begins.
    pub settled_pos: u64,
    /// Bytes of the last segment that are written.
    pub written_pos: u64,
    /// Wall-clock ms of the first append to the last segment.
    pub segment_since_ms: i64,
    /// The lowest and the highest leader epoch of its batches: the checksums do not cover them.
    pub leader_epochs: Option<(i32, i32)>,
    /// Why acknowledged records are lost or in doubt, if so: it stays failed.
    pub failed: Option<String>,
    /// Offsets that are missing between batches: from, up to.
    pub gaps: Vec<(i64, i64)>,
    /// Oldest first.
    pub segments: Vec<SegmentState>,
    /// By rising id.
    pub producers: Vec<ProducerState>,
    /// Transactions aborted below `settled_end` of which records may be left, in order of their ends.
    pub aborted: Vec<AbortedState>,
}

/// An aborted transaction in a checkpoint.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedState {
    /// Whose it was.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// The first offset of a transaction that was open then, or the offset behind the marker.
    pub last_stable: i64,
}

/// A segment in a checkpoint.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// Its first offset.
    pub base: i64,
    /// 0: as it was settled. Above: written by compaction, under a name with this number.
    pub version: u32,
    /// Bytes of whole batches.
    pub len: u64,
    /// Highest timestamp.
    pub max_timestamp: i64,
    /// The offset it stands at.
    pub max_timestamp_offset: i64,
    /// Wall-clock ms of its first append.
    pub created_ms: i64,
}

/// A producer in a checkpoint: only batches below the high watermark; its epochs and its transaction as of `settled_end`, where replay begins.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Wall-clock ms of its last append.
    pub last_seen_ms: i64,
    /// Offset of the first record of its open transaction.
    pub txn_first_offset: Option<i64>,
    /// Epoch of the coordinator that ended its last transaction; -1: none has.
    pub coordinator_epoch: i32,
    /// Timestamp of that end; -1: none.
    pub ended_ms: i64,
    /// First sequence, last sequence, base offset, last offset, timestamp of each.
    pub batches: Vec<(i32, i32, i64, i64, i64)>,
}

impl Checkpoint {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Bytes {
        let body = rkyv::to_bytes::<rkyv::rancor::Error>(self).expect("plain data serialises into memory");
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&CHECKPOINT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&(body.len() as u64).to_le_bytes());
        out.extend_from_slice(&body);
        let crc = crc32fast::hash(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        Bytes::from(out)
    }

    /// Reads what [`Checkpoint::to_bytes`] made; the reason when it cannot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, String> {
        let header = bytes.get(..HEADER_BYTES).ok_or("shorter than its header")?;
        if &header[..8] != MAGIC {
            return Err("does not begin like a checkpoint".into());
        }
        if u32::from_le_bytes(header[8..12].try_into().expect("4 bytes")) != crc32fast::hash(&bytes[12..]) {
            return Err("its checksum does not hold".into());
        }
        let version = u32::from_le_bytes(header[12..16].try_into().expect("4 bytes"));
        if version != CHECKPOINT_VERSION {
            return Err(format!("it is of version {version}, this program reads version {CHECKPOINT_VERSION}"));
        }
        let mut body = rkyv::util::AlignedVec::<16>::with_capacity(bytes.len() - HEADER_BYTES);
        body.extend_from_slice(&bytes[HEADER_BYTES..]);
        rkyv::from_bytes::<Checkpoint, rkyv::rancor::Error>(&body).map_err(|e| format!("its content is not whole: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_damage_is_seen() {
        let checkpoint = Checkpoint {
            sequence: 7,
            key: 8,
            runs: vec![Run { incarnation: 1, first_seq: 2, last_seq: 3 }],
            partitions: vec![PartitionState {
                topic: [1; 16],
                failed: Some("x".into()),
                gaps: vec![(1, 2)],
                leader_epochs: Some((1, 2)),
                segments: vec![SegmentState {
                    base: 1,
                    version: 6,
                    len: 2,
                    max_timestamp: 3,
                    max_timestamp_offset: 4,
                    created_ms: 5,
                }],
                producers: vec![ProducerState {
                    id: 1,
                    epoch: 2,
                    last_seen_ms: 3,
                    txn_first_offset: Some(4),
                    coordinator_epoch: 5,
                    ended_ms: 6,
                    batches: vec![(1, 2, 3, 4, 5)],
                }],
                aborted: vec![AbortedState { producer_id: 1, first_offset: 2, last_offset: 3, last_stable: 4 }],
                ..PartitionState::default()
            }],
            ..Checkpoint::default()
        };
        let bytes = checkpoint.to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes), Ok(checkpoint));
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            assert!(Checkpoint::from_bytes(&damaged).is_err(), "byte {at}");
        }
    }
}
