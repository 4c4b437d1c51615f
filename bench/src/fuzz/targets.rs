//! What is fuzzed: everything that reads bytes from the network or the disk. A target is a corpus of valid bytes, a way to make damaged
//! ones pass the checksum, and the reader.

use crc_fast::CrcAlgorithm;
use floe_engine::log::inspect;
use floe_wire::ids::TopicId;

use super::wire;
use crate::client;

/// One reader of foreign bytes.
pub struct Target {
    /// As it is named on the command line.
    pub name: &'static str,
    /// Valid inputs to damage.
    pub corpus: Vec<Vec<u8>>,
    /// Makes the outermost checksum hold again.
    pub repair: fn(&mut [u8]),
    /// Reads; must come back.
    pub read: fn(&[u8]),
    /// Memory that it may use whatever the size of its input: tables, scratch buffers.
    pub bytes_flat: usize,
}

/// All of them.
pub fn all() -> Vec<Target> {
    const FLAT: usize = 256 << 10;
    let mut targets = vec![
        Target { name: "segment", corpus: segments(), repair: repair_batch, read: read_segment, bytes_flat: FLAT },
        Target { name: "journal", corpus: journals(), repair: repair_journal, read: read_journal, bytes_flat: FLAT },
        Target {
            name: "checkpoint",
            corpus: checkpoints(),
            repair: repair_file,
            read: read_checkpoint,
            bytes_flat: FLAT,
        },
        Target { name: "index", corpus: indexes(), repair: repair_file, read: read_index, bytes_flat: FLAT },
    ];
    targets.extend(wire::all());
    targets
}

fn read_segment(bytes: &[u8]) {
    let mut end = 0;
    for found in inspect::segment_file(bytes) {
        assert_eq!(found.position, end, "batches lie back to back");
        end = found.position + found.info.bytes;
    }
}

fn read_journal(bytes: &[u8]) {
    for commit in inspect::journal_file(0, bytes) {
        for entry in &commit.body.entries {
            assert!(entry.batch_at <= bytes.len(), "an entry lies in its file");
        }
    }
}

fn read_checkpoint(bytes: &[u8]) {
    // What is taken must also be able to be written again: recovery does exactly that.
    if let Ok(checkpoint) = inspect::Checkpoint::from_bytes(bytes) {
        assert_eq!(inspect::Checkpoint::from_bytes(&checkpoint.to_bytes()), Ok(checkpoint));
    }
}

fn read_index(bytes: &[u8]) {
    let _ = inspect::read_index(bytes);
    if let Some(mut sums) = inspect::Sums::read(bytes) {
        sums.take(bytes);
    }
}

fn segments() -> Vec<Vec<u8>> {
    let one = client::batch(1, 10);
    let many = client::batch(100, 50);
    vec![[one.clone(), many.clone(), one.clone()].concat(), many, one]
}

/// Valid files as recovery would find them: two commits, each with entries of two partitions.
fn journals() -> Vec<Vec<u8>> {
    let mut file = Vec::new();
    for seq in 1..=2u64 {
        let block = (file.len() / BLOCK_BYTES) as u32;
        let mut commit = vec![0; COMMIT_HEADER_BYTES];
        for partition in 0..2 {
            let mut batch = client::batch(3, 100);
            // As the log leaves it: the entry's header says the same, and is compared.
            floe_wire::batch::stamp(&mut batch, 0, 0);
            let header = inspect::EntryHeader {
                seq,
                topic: TopicId::default(),
                partition,
                base_offset: 0,
                length: batch.len() as u32,
                leader_epoch: 0,
                kind: inspect::EntryKind::Batch,
            };
            commit.extend_from_slice(&header.bytes());
            commit.extend_from_slice(&batch);
            commit.resize(commit.len().next_multiple_of(8), 0);
        }
        let header = inspect::CommitHeader {
            journal: inspect::JournalId { key: 7, generation: 1, shard: 0 },
            incarnation: 1,
            seq,
            slot: 0,
            block,
            bytes: commit.len() as u32,
            entries: 2,
            acknowledged_seq: seq - 1,
            first_seq: 1,
            accepted_seq: 0,
        };
        commit.resize(header.padded_bytes() as usize, 0);
        header.write(&mut commit);
        file.extend_from_slice(&commit);
    }
    vec![file]
}

fn checkpoints() -> Vec<Vec<u8>> {
    let partition = |number| inspect::PartitionState {
        partition: number,
        settled_end: 100,
        settled_pos: 5000,
        written_pos: 8192,
        failed: (number == 1).then(|| "a reason".to_owned()),
        segments: vec![inspect::SegmentState {
            base: 0,
            version: 3,
            len: 5000,
            max_timestamp: 9,
            max_timestamp_offset: 3,
            created_ms: 1,
        }],
        producers: vec![inspect::ProducerState {
            id: 4,
            epoch: 0,
            last_seen_ms: 5,
            txn_first_offset: Some(95),
            coordinator_epoch: 0,
            ended_ms: 8,
            batches: vec![(0, 4, 0, 4, 9)],
        }],
        aborted: vec![inspect::AbortedState { producer_id: 4, first_offset: 1, last_offset: 7, last_stable: 8 }],
        ..Default::default()
    };
    let full = inspect::Checkpoint {
        sequence: 3,
        runs: vec![inspect::Run { incarnation: 1, first_seq: 1, last_seq: 9 }],
        partitions: (0..3).map(partition).collect(),
        ..Default::default()
    };
    vec![full.to_bytes().to_vec(), inspect::Checkpoint::default().to_bytes().to_vec()]
}

/// Indexes of two entries, with sums and without; the engine does not show its writer, docs/FORMAT.md has the layout.
fn indexes() -> Vec<Vec<u8>> {
    let index = |magic: &[u8; 8], header: &[u64], sums: bool| {
        let mut file = magic.to_vec();
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&2u32.to_le_bytes());
        for number in header {
            file.extend_from_slice(&number.to_le_bytes());
        }
        for entry in [[0u64, 0, 0], [5, 100_000, 65_536]] {
            for number in entry {
                file.extend_from_slice(&number.to_le_bytes());
            }
            if sums {
                file.extend_from_slice(&7u32.to_le_bytes());
            }
        }
        repair_file(&mut file);
        file
    };
    vec![
        index(b"FLOEIX01", &[0], false),
        index(b"FLOEIX02", &[0, 9, 200_000], false),
        index(b"FLOEIX03", &[0, 9, 200_000], true),
    ]
}

/// Commits begin at multiples of this.
const BLOCK_BYTES: usize = 4096;
/// Bytes of a commit before its entries (docs/FORMAT.md).
const COMMIT_HEADER_BYTES: usize = 128;
/// Bytes of an entry before its batch.
const ENTRY_HEADER_BYTES: usize = 64;

// Offset of the CRC in a batch, and of the first byte it covers.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// Makes the CRC-32C of the first batch hold for the length it claims.
pub fn repair_batch(bytes: &mut [u8]) {
    let Some(length) = bytes.get(8..12).map(|field| i32::from_be_bytes(field.try_into().expect("four bytes"))) else {
        return;
    };
    let end = (length.max(0) as usize + 12).min(bytes.len());
    if end > CRC_FROM {
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &bytes[CRC_FROM..end]) as u32;
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Makes the CRC of a whole file hold, as checkpoints and indexes carry it: at 8, over everything from 12.
fn repair_file(bytes: &mut [u8]) {
    if bytes.len() > 12 {
        let crc = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Makes the CRCs of all commits, entries and batches hold that can be found by walking the file.
fn repair_journal(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(BLOCK_BYTES) {
        if bytes.len() < at + COMMIT_HEADER_BYTES || !bytes[at..].starts_with(b"FLOEJC01") {
            continue;
        }
        repair_file(&mut bytes[at..at + COMMIT_HEADER_BYTES]);
        let mut entry = at + COMMIT_HEADER_BYTES;
        while bytes.get(entry..).is_some_and(|rest| rest.starts_with(b"FLEN") && rest.len() >= ENTRY_HEADER_BYTES) {
            let length = u32::from_le_bytes(bytes[entry + 44..entry + 48].try_into().expect("four bytes")) as usize;
            repair_batch(&mut bytes[entry + ENTRY_HEADER_BYTES..]);
            let crc = crc32fast::hash(&bytes[entry + 8..entry + ENTRY_HEADER_BYTES]);
            bytes[entry + 4..entry + 8].copy_from_slice(&crc.to_le_bytes());
            entry += (ENTRY_HEADER_BYTES + length).next_multiple_of(8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A corpus that is not valid fuzzes nothing but the first check.
    #[test]
    fn the_corpus_is_valid() {
        for file in journals() {
            let commits = inspect::journal_file(0, &file);
            assert_eq!(commits.len(), 2);
            assert!(commits.iter().all(|commit| commit.body.whole()));
        }
        for file in checkpoints() {
            inspect::Checkpoint::from_bytes(&file).unwrap();
        }
        for file in indexes() {
            assert_eq!(inspect::read_index(&file).unwrap().1.len(), 2);
            assert_eq!(inspect::Sums::read(&file).is_some(), file.starts_with(b"FLOEIX03"));
        }
        for file in segments() {
            assert!(inspect::segment_file(&file).all(|batch| batch.whole));
        }
    }
}
