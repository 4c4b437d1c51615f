//! From commits found to a journal that goes on: which of them count, in which order the files are, which entries belong to which partition.

use std::collections::VecDeque;

use bytes::Bytes;
use floe_wire::ids::TopicId;

use super::replay::{Candidate, Known, select};
use super::rescan::Rescanned;
use super::sources::{Source, find_commits, newest_checkpoint, superseded_below};
use super::{ShardLog, Stage};
use crate::event::{Effect, Effects, LogLevel};
use crate::log::checkpoint::PartitionState;
use crate::log::frame::{DirectBody, EntryKind, MOVED, read_rest};
use crate::log::journal::{Commit, Slot, SlotState};
use crate::log::scan::{FoundCommit, FoundEntry, Held};
use crate::log::{BatchInfo, PartitionIx, batch};
use crate::time::Time;

/// An entry that counts, on its way to its partition.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    pub(super) info: BatchInfo,
    /// Newer sources and commits first among copies of the same batch.
    pub(super) age: (usize, u64),
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In this journal.
    Own { ring: u64, part: u32, at: u32 },
    /// In an older generation.
    Old(Bytes),
}

/// What all sources together say of a partition.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) state: Option<PartitionState>,
    /// The source whose checkpoint gave the state.
    pub(super) state_of: Option<usize>,
    /// Why records are lost or in doubt, as a checkpoint says that is too old to count otherwise.
    pub(super) lost: Option<String>,
    /// No checkpoint and no journal says anything of it that is new enough: only its folder can.
    pub(super) unknown: bool,
    pub(super) entries: Vec<Replayed>,
    pub(super) log_start: i64,
    /// Batches written straight to a segment, to be read there.
    pub(super) directs: Vec<FoundDirect>,
    /// The ends of what was written straight to segments.
    pub(super) rests: Vec<FoundRest>,
    /// Acknowledged batches that are damaged: base offset and where.
    pub(super) damaged: Vec<(i64, String)>,
    /// For each source, the newest commit in which a batch was appended to it, and where in it. Sources come one after the other.
    pub(super) last_appended: Vec<(usize, (u64, usize))>,
    /// Sources that know it, by a checkpoint or an entry.
    pub(super) sources: Vec<usize>,
    /// What its segments hold beyond the checkpoint.
    pub(super) rescanned: Rescanned,
}

impl Gathered {
    /// What is known of it is from before a generation that may have had it, and knew better: segments may have been removed or compacted since, and the names of
    /// those that are there now tell more. Two things only ever go one way.
    fn forget_state(&mut self) {
        let Some(state) = self.state.take() else { return };
        self.state_of = None;
        self.log_start = self.log_start.max(state.log_start);
        self.lost = state.failed;
    }
}

/// A batch that was written straight to a segment.
#[derive(Clone, Debug)]
pub(super) struct FoundDirect {
    pub(super) source: usize,
    /// In its own journal the commit's ring number.
    pub(super) ring: u64,
    pub(super) seq: u64,
    pub(super) body: DirectBody,
}

/// What goes on where a segment is written up to.
#[derive(Clone, Debug)]
pub(super) struct FoundRest {
    pub(super) source: usize,
    pub(super) seq: u64,
    pub(super) segment: i64,
    /// The segment is written up to here.
    pub(super) written: u64,
    pub(super) stream: Bytes,
}

/// Something acknowledged that cannot be read, and does not say whose it was.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) source: usize,
    pub(super) seq: u64,
    /// Where in the commit.
    pub(super) at: usize,
    pub(super) held: Option<Held>,
    /// For people.
    pub(super) place: String,
}

/// Where an entry was found.
struct From<'a> {
    source: usize,
    ring: u64,
    commit: &'a Bytes,
    folder: &'a str,
    slot: u32,
    offset: u64,
}

impl ShardLog {
    /// Everything has been read: makes the log of it.
    pub(super) fn rebuild(&mut self, now: Time, fx: &mut Effects) {
        let mut recovery = self.recovery.take().expect("recovery runs");
        let mut gathered: Vec<Gathered> = (0..self.partitions.len()).map(|_| Gathered::default()).collect();
        let mut doubts: Vec<Doubt> = Vec::new();
        let mut commits = VecDeque::new();
        let mut max_seq = 0;
        let mut drained = false;
        let mut all_exact = true;
        // The newest generation of which a shard has lost both checkpoints.
        let mut unknown_of = None;
        let superseded = superseded_below(&recovery.sources);
        for (s, source) in recovery.sources.iter().enumerate() {
            if s > 0 && drained {
                break;
            }
            if s > 0 && source.generation < superseded {
                continue;
            }
            let (checkpoint, exact) = match newest_checkpoint(source) {
                Ok(found) => found,
                Err(reason) => return self.recovery_failed(reason, fx),
            };
            all_exact &= exact;
            if !exact {
                let folder = &source.folder;
                let line = match &checkpoint {
                    Some(_) => format!(
                        "{folder}: a checkpoint is damaged; its place is taken by the one before, the journal, and the segments, which are read through now"
                    ),
                    None => format!(
                        "{folder}: no checkpoint is whole; their place is taken by the journal and the segments, which are read through from their beginning \
                         now. Records that were deleted lately may be back: delete them again"
                    ),
                };
                fx.push(Effect::Log { level: LogLevel::Warn, line });
            }
            // Where there is only one, it is that of a first start: nothing has been given up since, and the journal tells all.
            if checkpoint.is_none() && source.checkpoints.iter().all(Option::is_some) {
                unknown_of = unknown_of.max(Some(source.generation));
            }
            if s == 0 {
                drained = checkpoint.as_ref().is_some_and(|c| c.drained);
            }
            let key = checkpoint.as_ref().map(|c| c.key);
            let found = find_commits(source, key);
            let candidates: Vec<Candidate> = found.iter().map(|(_, c)| candidate(c)).collect();
            let mut known = Known::of(checkpoint.as_ref(), exact);
            known.exact &= checkpoint.is_some() || found.is_empty();
            let selection = select(&candidates, &known);
            doubts.extend(selection.lost.iter().map(|seq| Doubt {
                source: s,
                seq: *seq,
                at: usize::MAX,
                held: None,
                place: format!("commit {seq} of {}", source.folder),
            }));
            for state in checkpoint.iter().flat_map(|c| &c.partitions) {
                if let Some(ix) = self.find(TopicId(state.topic), state.partition) {
                    let g = &mut gathered[ix.0 as usize];
                    g.sources.push(s);
                    // The newest generation's was made of the others, and they may name files that are gone: what retention or compaction removed later.
                    if g.state_of != Some(0) {
                        g.state = Some(state.clone());
                        g.state_of = Some(s);
                    }
                }
            }
            if s == 0 {
                max_seq = found.iter().map(|(_, c)| c.header.seq).max().unwrap_or(0);
                max_seq = max_seq.max(checkpoint.as_ref().map_or(0, |c| c.durable_seq.max(c.first_seq)));
                let newest = found.iter().map(|(_, c)| c.header.incarnation).max().unwrap_or(0);
                self.journal.incarnation = newest.max(checkpoint.as_ref().map_or(0, |c| c.incarnation)) + 1;
                self.checkpoint_sequence = checkpoint.as_ref().map_or(0, |c| c.sequence) + if exact { 0 } else { 2 };
                let seeded =
                    u64::from_le_bytes(self.seed[..8].try_into().expect("8 bytes")) ^ (u64::from(self.shard) << 48);
                self.journal.id.key = key.or(found.first().map(|(_, c)| c.header.journal.key)).unwrap_or(seeded);
                self.runs = selection.runs.clone();
                self.take_slots(source, &found, &selection.accepted, checkpoint.as_ref().map_or(0, |c| c.tail_seq));
            }
            for i in selection.accepted {
                let (f, commit) = &found[i];
                let ring = self.journal.first_ring + commits.len() as u64;
                let file = &source.files[*f];
                let end = commit.offset + commit.header.padded_bytes();
                let bytes = file.bytes.slice(commit.offset as usize..end as usize);
                let from = From {
                    source: s,
                    ring,
                    commit: &bytes,
                    folder: &source.folder,
                    slot: file.slot,
                    offset: commit.offset,
                };
                let doubtful = commit.body.holes.iter().filter(|hole| hole.held != Some(Held::Rest));
                doubts.extend(doubtful.map(|hole| Doubt {
                    source: s,
                    seq: commit.header.seq,
                    at: hole.at,
                    held: hole.held.clone(),
                    place: format!("{}/j{} at byte {}", source.folder, file.slot, commit.offset + hole.at as u64),
                }));
                for entry in &commit.body.entries {
                    self.gather(&mut gathered, &from, entry);
                }
                if s == 0 {
                    commits.push_back(Commit::recovered(commit.header.seq, bytes, file.slot, commit.offset));
                }
            }
        }
        let accepted_seq = commits.back().map_or(0, |c: &Commit| c.seq);
        self.journal.resume(commits, max_seq + 1, accepted_seq);
        self.drained = !recovery.drains || drained;
        recovery.drains &= !drained;
        for g in &mut gathered {
            let known_of = g.state_of.map(|s| recovery.sources[s].generation);
            if known_of < unknown_of {
                g.forget_state();
                let in_journals = g.entries.iter().map(|e| e.age.0).chain(g.directs.iter().map(|d| d.source));
                // Its own journal is the newest.
                let generation = |s: usize| recovery.sources.get(s).map_or(u32::MAX, |source| source.generation);
                g.unknown = in_journals.map(generation).max() < unknown_of;
            }
        }
        for (i, g) in gathered.iter().enumerate().filter(|_| !all_exact) {
            recovery.scans.push(PartitionIx(i as u32), g.state.clone(), g.journaled(&self.journal));
        }
        recovery.gathered = gathered;
        recovery.doubts = doubts;
        recovery.stage = Stage::Scanning;
        self.recovery = Some(recovery);
        if self.scan_on(fx) {
            self.fetch_direct(now, fx);
        }
    }

    fn gather(&self, gathered: &mut [Gathered], from: &From<'_>, entry: &FoundEntry) {
        let header = &entry.header;
        let Some(ix) = self.find(header.topic, header.partition) else { return };
        let g = &mut gathered[ix.0 as usize];
        let at = entry.batch_at;
        if g.sources.last() != Some(&from.source) {
            g.sources.push(from.source);
        }
        // Batches are appended in the order of their offsets. A copy carried forward, or a moved log start, may stand behind newer batches.
        if matches!(header.kind, EntryKind::Batch | EntryKind::Direct) {
            match g.last_appended.last_mut() {
                Some((source, last)) if *source == from.source => *last = (header.seq, at),
                _ => g.last_appended.push((from.source, (header.seq, at))),
            }
        }
        // Whose batch it is the end of is found to be damaged.
        if header.kind == EntryKind::Rest && !entry.whole {
            return;
        }
        if !entry.whole {
            let place = format!("{}/j{} at byte {}", from.folder, from.slot, from.offset + at as u64);
            g.damaged.push((header.base_offset, place));
            return;
        }
        if header.kind == EntryKind::LogStart {
            g.log_start = g.log_start.max(header.base_offset);
            return;
        }
        let range = at..at + header.length as usize;
        if header.kind == EntryKind::Direct {
            let body = DirectBody::read(&from.commit[range]).expect("looked at by the scan");
            if body.segment == MOVED {
                return;
            }
            g.directs.push(FoundDirect { source: from.source, ring: from.ring, seq: header.seq, body });
            return;
        }
        if header.kind == EntryKind::Rest {
            let body = from.commit.slice(range);
            let (segment, written, stream) = read_rest(&body).expect("looked at by the scan");
            let stream = body.slice_ref(stream);
            g.rests.push(FoundRest { source: from.source, seq: header.seq, segment, written, stream });
            return;
        }
        let info = batch::header(&from.commit[range.clone()]).expect("a whole batch has a header");
        let own = from.source == 0;
        let place = match own {
            true => Place::Own { ring: from.ring, part: 0, at: at as u32 },
            false => Place::Old(from.commit.slice(range)),
        };
        // Own copies are the newest: they were made of the others.
        let age = (if own { usize::MAX } else { from.source }, header.seq);
        g.entries.push(Replayed { info, age, place });
    }

    /// Puts the journal's files in their order: those with commits that count, oldest first, the last of them to be gone on with.
    fn take_slots(&mut self, source: &Source, found: &[(usize, FoundCommit)], accepted: &[usize], tail_seq: u64) {
        let count = source.files.iter().map(|f| f.slot + 1).max().unwrap_or(0);
        for slot in 0..count {
            let len = source.files.iter().find(|f| f.slot == slot).map_or(0, |f| f.bytes.len() as u64);
            self.journal.slots.push(Slot::new(len));
        }
        for (f, _) in found {
            self.journal.slots[source.files[*f].slot as usize].held_commits = true;
        }
        for i in accepted {
            let (f, commit) = &found[*i];
            let slot = source.files[*f].slot;
            if self.journal.order.back() != Some(&slot) {
                self.journal.order.push_back(slot);
                let entry = &mut self.journal.slots[slot as usize];
                entry.state = SlotState::Used;
                entry.first_seq = commit.header.seq;
            }
            self.journal.write_pos = commit.offset + commit.header.padded_bytes();
        }
        // The oldest file began at or before what the checkpoint asks for.
        if let Some(oldest) = self.journal.order.front() {
            let entry = &mut self.journal.slots[*oldest as usize];
            entry.first_seq = entry.first_seq.max(tail_seq);
        }
    }
}

fn candidate(commit: &FoundCommit) -> Candidate {
    Candidate { header: commit.header, whole: commit.body.whole() }
}
