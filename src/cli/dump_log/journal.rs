//! Journals and their checkpoints. A file keeps commits of earlier laps behind the newest ones; they are told apart by the checkpoint.

use floe_engine::log::inspect::{
    Checkpoint, DirectBody, EntryKind, FoundCommit, PartitionState, file_name, journal_file,
};
use floe_wire::ids::TopicId;
use serde_json::json;

use super::Known;
use super::print::{Dump, Place};
use crate::problem::Outcome;

/// Whether a file is a checkpoint: `journal/g1x2/s0/checkpoint-a`.
pub(super) fn is_checkpoint(name: &str) -> bool {
    name.starts_with("journal/") && (name.ends_with("/checkpoint-a") || name.ends_with("/checkpoint-b"))
}

/// The number of a journal file: `journal/g1x2/s0/j3`.
pub(super) fn slot(name: &str) -> Option<u32> {
    name.strip_prefix("journal/")?.rsplit_once("/j")?.1.parse().ok()
}

fn folder(name: &str) -> String {
    name.rsplit_once('/').map_or(name, |(folder, _)| folder).to_owned()
}

/// Keeps the newest checkpoint of each journal, and what it says about segments.
pub(super) fn learn(name: &str, bytes: &[u8], known: &mut Known) {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes) else { return };
    let folder = folder(name);
    if known.checkpoints.get(&folder).is_some_and(|other| other.sequence > checkpoint.sequence) {
        return;
    }
    for partition in &checkpoint.partitions {
        let path = format!("partitions/{}-{}", TopicId(partition.topic).to_hex(), partition.partition);
        for (at, segment) in partition.segments.iter().enumerate() {
            let is_last = at + 1 == partition.segments.len();
            let len = if is_last { partition.settled_pos } else { segment.len };
            known.contents.insert(format!("{path}/{}.log", file_name(segment.base, segment.version)), len);
        }
    }
    known.checkpoints.insert(folder, checkpoint);
}

/// Prints a checkpoint.
pub(super) fn checkpoint(dump: &mut Dump, name: &str, bytes: &[u8]) -> Outcome {
    let checkpoint = match Checkpoint::from_bytes(bytes) {
        Ok(checkpoint) => checkpoint,
        // The other one and the journal make up for it.
        Err(why) => {
            dump.head(name, bytes.len() as u64, "")?;
            return dump.damage(name, 0, &why);
        }
    };
    let newest = dump.known.checkpoints.get(&folder(name)).is_some_and(|newest| newest.sequence == checkpoint.sequence);
    let state = if newest { "newest" } else { "older" };
    if dump.json {
        dump.object(&json!({
            "file": name, "checkpoint": checkpoint.sequence, "newest": newest, "start": checkpoint.incarnation,
            "oldest_commit": checkpoint.tail_seq, "durable_commit": checkpoint.durable_seq,
            "partitions": checkpoint.partitions.len(),
        }))?;
    } else {
        dump.head(name, bytes.len() as u64, &format!(", the {state}"))?;
        dump.line(&format!(
            "  checkpoint {}  start {}  commits from {} on are in the journal, durable up to {} at least",
            checkpoint.sequence, checkpoint.incarnation, checkpoint.tail_seq, checkpoint.durable_seq
        ))?;
    }
    if newest {
        for partition in &checkpoint.partitions {
            settled(dump, name, partition)?;
        }
    }
    Ok(())
}

fn settled(dump: &mut Dump, name: &str, partition: &PartitionState) -> Outcome {
    let called = dump.known.partition(&TopicId(partition.topic).to_hex(), partition.partition);
    if dump.json {
        dump.object(&json!({
            "file": name, "partition": called, "log_start": partition.log_start, "settled_end": partition.settled_end,
            "segments": partition.segments.len(), "producers": partition.producers.len(), "failed": partition.failed,
        }))?;
    } else {
        dump.line(&format!(
            "  {called}  begins at {}, in segments up to {}, segments {}, producers {}",
            partition.log_start,
            partition.settled_end,
            partition.segments.len(),
            partition.producers.len()
        ))?;
    }
    match &partition.failed {
        Some(why) => dump.damage(name, 0, &format!("{called} answers KAFKA_STORAGE_ERROR: {why}")),
        None => Ok(()),
    }
}

/// Prints the commits of a journal file.
pub(super) fn file(dump: &mut Dump, name: &str, slot: u32, bytes: &[u8]) -> Outcome {
    let commits = journal_file(slot, bytes);
    let checkpoint = dump.known.checkpoints.get(&folder(name));
    let tail = checkpoint.map_or(0, |checkpoint| checkpoint.tail_seq);
    let durable = checkpoint.map_or(0, |checkpoint| checkpoint.durable_seq);
    // Each commit says what was durable when it was made, so a damaged one is told from one that a crash tore.
    let acknowledged = commits.iter().map(|commit| commit.header.acknowledged_seq).chain([durable]).max().unwrap_or(0);
    let current = commits.iter().filter(|commit| commit.header.seq >= tail).count();
    dump.head(name, bytes.len() as u64, &format!(", commits {} and {current} of them needed", commits.len()))?;
    for commit in &commits {
        let is_needed = commit.header.seq >= tail;
        show(dump, name, commit, is_needed, bytes)?;
        if commit.body.whole() {
            continue;
        }
        let seq = commit.header.seq;
        if !is_needed {
            dump.note(name, commit.offset, &format!("commit {seq} is partly written over; it is settled"))?;
        } else if seq <= acknowledged {
            dump.damage(name, commit.offset, &format!("commit {seq} is not whole and had been acknowledged"))?;
        } else {
            dump.note(name, commit.offset, &format!("commit {seq} is torn, as a crash leaves it; never acknowledged"))?;
        }
    }
    Ok(())
}

fn show(dump: &mut Dump, name: &str, commit: &FoundCommit, is_needed: bool, file: &[u8]) -> Outcome {
    let header = &commit.header;
    if !dump.json {
        let state = if is_needed { "" } else { "  settled" };
        dump.line(&format!(
            "  at {}: commit {}  start {}  entries {}  {} bytes{state}",
            commit.offset, header.seq, header.incarnation, header.entries, header.bytes
        ))?;
    } else {
        dump.object(&json!({
            "file": name, "position": commit.offset, "commit": header.seq, "start": header.incarnation,
            "entries": header.entries, "bytes": header.bytes, "needed": is_needed,
        }))?;
    }
    for entry in commit.body.entries.iter() {
        let partition = dump.known.partition(&entry.header.topic.to_hex(), entry.header.partition);
        let position = commit.offset + entry.batch_at as u64;
        match entry.header.kind {
            EntryKind::LogStart => {
                dump.note(name, position, &format!("{partition} begins at {} from here on", entry.header.base_offset))?;
            }
            EntryKind::Direct if entry.whole => {
                let body = file.get(position as usize..).and_then(|rest| rest.get(..entry.header.length as usize));
                if let Some(body) = body.and_then(DirectBody::read).filter(|body| body.segment >= 0) {
                    let (offset, last) = (body.base_offset, body.last_offset());
                    let (segment, at, len) = (body.segment, body.position, body.length);
                    let place = format!("in segment {segment:020}.log at {at}, {len} bytes");
                    dump.note(name, position, &format!("{partition}: offsets {offset} to {last} stand {place}"))?;
                }
            }
            EntryKind::Rest if entry.whole => {}
            // Damage to the whole commit is told by the caller, with whether it counts.
            _ if !entry.whole => dump.note(name, position, &format!("{partition}: this batch is not whole"))?,
            kind => {
                let remark = if kind == EntryKind::Carried { " (carried)" } else { "" };
                let batch = file.get(position as usize..).and_then(|rest| rest.get(..entry.header.length as usize));
                let place = Place { file: name, position, partition: &partition, remark, commit: Some(header.seq) };
                dump.batch(&place, batch.unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        assert_eq!(slot("journal/g1x2/s0/j13"), Some(13));
        assert_eq!(slot("journal/g1x2/s0/checkpoint-a"), None);
        assert_eq!(slot("partitions/x/j1"), None);
        assert!(is_checkpoint("journal/g1x2/s0/checkpoint-b") && !is_checkpoint("journal/g1x2/s0/checkpoint-b.new"));
    }
}
