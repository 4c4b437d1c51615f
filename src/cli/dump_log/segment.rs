//! Segments: record batches back to back, as Kafka's own .log files; and their indexes. Read piece by piece, as segments are large.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use floe_engine::log::inspect::{Sums, read_index};
use floe_wire::batch::LENGTH_END;
use serde_json::json;

use super::print::{Dump, Place};
use crate::problem::{Outcome, Tried};

/// A batch longer than this is damage, whatever its length field says.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Prints the batches of a segment.
pub(super) fn file(dump: &mut Dump, name: &str, path: &Path) -> Outcome {
    let say = || format!("cannot read {}", path.display());
    let file = File::open(path).tried(say)?;
    let len = file.metadata().tried(say)?.len();
    // What no checkpoint knows was written after the last one; its batches stand in the journal, too.
    let content = dump.known.contents.get(name).copied();
    let end = content.unwrap_or(len).min(len);
    dump.head(name, len, &content.map(|content| format!(", {content} of them whole batches")).unwrap_or_default())?;
    if let Some(content) = content.filter(|content| *content > len) {
        dump.damage(
            name,
            len,
            &format!("the file ends here, and the checkpoint knows {content} bytes of batches in it"),
        )?;
    }
    let partition = partition_of(dump, name);
    // Only compaction writes an index with sums.
    let mut sums = std::fs::read(path.with_extension("idx")).ok().and_then(|bytes| Sums::read(&bytes));
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut position, mut batch) = (0u64, Vec::new());
    while position < end {
        match next_batch(&mut reader, &mut batch, end - position).tried(say)? {
            Next::Padding if content.is_none() => return dump.note(name, position, "zeros from here on"),
            Next::Padding => return dump.damage(name, position, "zeros where a batch should be"),
            Next::Wrong(why) if content.is_none() => {
                return dump.note(name, position, &format!("no whole batch ({why}); the rest is in the journal"));
            }
            Next::Wrong(why) => return dump.damage(name, position, &why),
            Next::Batch => {
                dump.batch(&Place { file: name, position, partition: &partition, remark: "", commit: None }, &batch)?;
                if sums.as_mut().is_some_and(|sums| !sums.take(&batch)) {
                    sums = None;
                    let what = "the batches up to the end of this one do not hold the checksum of their offsets: some offset, length or leader epoch \
                                is not as it was written";
                    dump.damage(name, position, what)?;
                }
            }
        }
        position += batch.len() as u64;
    }
    if position < len {
        dump.note(
            name,
            position,
            &format!("{} bytes reserved, or of a batch that is whole in the journal", len - position),
        )?;
    }
    Ok(())
}

/// Prints what an index says.
pub(super) fn index(dump: &mut Dump, name: &str, bytes: &[u8]) -> Outcome {
    match read_index(bytes) {
        Some((base, entries)) if dump.json => {
            dump.object(&json!({"file": name, "base_offset": base, "index_entries": entries.len()}))
        }
        Some((_, entries)) => dump.head(name, bytes.len() as u64, &format!(", {} entries", entries.len())),
        // The segment decides; an index is made again when it is needed.
        None => dump.note(name, 0, "not a whole index; the broker does without it"),
    }
}

/// `partitions/<topic id>-<partition>/...` as people call it.
fn partition_of(dump: &Dump, name: &str) -> String {
    let folder = name.split('/').nth(1).unwrap_or_default();
    match folder.rsplit_once('-').and_then(|(topic, number)| Some((topic, number.parse().ok()?))) {
        Some((topic, number)) => dump.known.partition(topic, number),
        None => folder.to_owned(),
    }
}

/// What comes next in a segment.
enum Next {
    /// Only zeros.
    Padding,
    /// Bytes that cannot be a batch.
    Wrong(String),
    /// A batch of plausible length, in the buffer.
    Batch,
}

fn next_batch(reader: &mut impl Read, batch: &mut Vec<u8>, left: u64) -> io::Result<Next> {
    batch.clear();
    let prefix_len = (LENGTH_END as u64).min(left) as usize;
    batch.resize(prefix_len, 0);
    reader.read_exact(batch)?;
    if batch.iter().all(|byte| *byte == 0) {
        return Ok(Next::Padding);
    }
    if prefix_len < LENGTH_END {
        return Ok(Next::Wrong(format!("{prefix_len} bytes are left, too few for a batch")));
    }
    let length = i32::from_be_bytes([batch[8], batch[9], batch[10], batch[11]]);
    let length = usize::try_from(length).ok().filter(|length| *length <= BATCH_BYTES_MAX);
    match length {
        Some(length) if (length as u64) <= left - LENGTH_END as u64 => {
            batch.resize(LENGTH_END + length, 0);
            reader.read_exact(&mut batch[LENGTH_END..])?;
            Ok(Next::Batch)
        }
        _ => Ok(Next::Wrong("its length goes past the end of the batches".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lengths_are_told_and_nothing_is_reserved_for_them() {
        let row = |length: i32| {
            let mut bytes = vec![1; 100];
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes
        };
        let rows: &[(Vec<u8>, bool, &str)] = &[
            (row(88), true, ""),
            (row(89), false, "past the end"),
            (row(-1), false, "past the end"),
            (row(i32::MAX), false, "past the end"),
            (vec![1; 5], false, "too few"),
        ];
        for (bytes, whole, expect) in rows {
            let mut batch = Vec::new();
            match next_batch(&mut bytes.as_slice(), &mut batch, bytes.len() as u64).unwrap() {
                Next::Batch => assert!(*whole && batch.len() == bytes.len()),
                Next::Wrong(why) => assert!(!whole && why.contains(expect) && batch.capacity() < 1000, "{why}"),
                Next::Padding => panic!("these are no zeros"),
            }
        }
        assert!(matches!(next_batch(&mut [0; 50].as_slice(), &mut Vec::new(), 50).unwrap(), Next::Padding));
    }
}
