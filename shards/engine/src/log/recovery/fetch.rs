//! Batches that went straight to their segment come back: what the journal tells of them is put together with what the segment holds. Lives
//! in recovery.
//!
//! A commit was written only when all that it tells of was stable in the segments: a batch that is not there whole was damaged. What had been
//! settled when the newest checkpoint was written is not read.

use bytes::Bytes;

use super::rebuild::{FoundDirect, FoundRest, Gathered, Place, Replayed};
use super::rescan::Journaled;
use super::{ShardLog, Stage, Task};
use crate::event::{DiskError, DiskOp, Effects, FileHandle};
use crate::log::buffer::{block_down, block_up};
use crate::log::journal::Journal;
use crate::log::{BatchInfo, PartitionIx, batch};
use crate::time::Time;

/// A batch to be read.
#[derive(Debug)]
pub(super) struct Fetch {
    ix: PartitionIx,
    found: FoundDirect,
    /// What of it is not in the segment.
    rest: Bytes,
    path: String,
    /// Reading it failed once.
    failed: bool,
}

impl Fetch {
    /// Bytes of the batch in the segment.
    fn in_segment(&self) -> usize {
        self.found.body.length as usize - self.rest.len()
    }

    /// The batch, from the blocks it lies in; `None`: it is not there whole.
    fn put_together(&self, blocks: &[u8]) -> Option<(BatchInfo, Bytes)> {
        let body = &self.found.body;
        let from = (body.position - block_down(body.position)) as usize;
        let inside = match self.in_segment() {
            0 => &[],
            len => blocks.get(from..from + len)?,
        };
        let bytes = [inside, &self.rest].concat();
        let info = batch::whole(&bytes)?;
        let same = info.base_offset == body.base_offset
            && info.leader_epoch == body.leader_epoch
            && info.last_offset_delta == body.last_offset_delta
            && batch::crc(&bytes) == body.batch_crc;
        same.then(|| (info, bytes.into()))
    }
}

impl Gathered {
    /// What of the partition counts in the journal.
    pub(super) fn journaled(&self, journal: &Journal) -> Journaled {
        let directs = self.directs.iter().map(|d| (d.body.base_offset, (u64::from(d.body.length), d.body.batch_crc)));
        let entries = self.entries.iter().filter_map(|e| {
            let bytes = match &e.place {
                Place::Own { ring, at, .. } => journal.commit(*ring)?.bytes.slice(*at as usize..),
                Place::Old(bytes) => bytes.clone(),
            };
            Some((e.info.base_offset, (e.info.bytes, batch::crc(&bytes))))
        });
        let last_offsets = self.directs.iter().map(|d| d.body.last_offset());
        let last_offsets = last_offsets.chain(self.entries.iter().map(|e| e.info.last_offset()));
        let last = last_offsets.chain(self.damaged.iter().map(|(base, _)| *base)).max();
        // An older journal may have ended before what this one has forgotten.
        let appended = self.last_appended.iter().any(|(source, _)| *source == 0);
        Journaled { batches: directs.chain(entries).collect(), end: last.filter(|_| appended).map(|last| last + 1) }
    }

    /// What of this batch is not in the segment: it is in the first piece of its commit that reaches behind it.
    fn rest_of(&self, found: &FoundDirect) -> Bytes {
        let end = found.body.position + u64::from(found.body.length);
        let reaches = |r: &&FoundRest| {
            (r.source, r.seq, r.segment) == (found.source, found.seq, found.body.segment)
                && r.written + r.stream.len() as u64 >= end
        };
        let Some(rest) = self.rests.iter().filter(reaches).min_by_key(|r| r.written) else { return Bytes::new() };
        let inside = end.saturating_sub(rest.written).min(u64::from(found.body.length));
        let until = (end - rest.written.min(end)) as usize;
        rest.stream.slice(until - inside as usize..until)
    }
}

impl ShardLog {
    /// Reads from the segments what went there straight and is not settled.
    pub(super) fn fetch_direct(&mut self, now: Time, fx: &mut Effects) {
        let mut recovery = self.recovery.take().expect("recovery runs");
        for (i, g) in recovery.gathered.iter().enumerate() {
            let settled_end = g.state.as_ref().map_or(0, |s| s.settled_end);
            for found in g.directs.iter().filter(|d| d.body.base_offset >= settled_end) {
                let p = self.partitions[i].as_ref().expect("nothing is removed before recovery is over");
                let path = p.segment_path(found.body.segment) + ".log";
                let fetch = Fetch {
                    ix: PartitionIx(i as u32),
                    found: found.clone(),
                    rest: g.rest_of(found),
                    path,
                    failed: false,
                };
                recovery.fetches.push(fetch);
            }
        }
        recovery.stage = Stage::Fetching;
        let paths: Vec<String> = recovery.fetches.iter().map(|fetch| fetch.path.clone()).collect();
        self.recovery = Some(recovery);
        for (i, path) in paths.into_iter().enumerate() {
            let fetch = &self.recovery.as_ref().expect("recovery runs").fetches[i];
            if fetch.in_segment() == 0 {
                self.fetched(i, Some(&Bytes::new()));
                continue;
            }
            self.ask(Task::OpenFetch(i), DiskOp::Open { path, create: false, direct: true }, fx);
        }
        if self.recovery.as_ref().is_some_and(|r| r.tasks.is_empty()) {
            self.finish_rebuild(now, fx);
        }
    }

    /// The device could not read it: once more, then the operator decides, as with the journal itself. `false`: the start is refused.
    pub(super) fn fetch_failed(&mut self, i: usize, error: DiskError, fx: &mut Effects) -> bool {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        let fetch = &mut recovery.fetches[i];
        let (path, position) = (fetch.path.clone(), fetch.found.body.position);
        if !std::mem::replace(&mut fetch.failed, true) {
            self.ask(Task::OpenFetch(i), DiskOp::Open { path, create: false, direct: true }, fx);
            return true;
        }
        let name =
            &self.partitions[fetch.ix.0 as usize].as_ref().expect("nothing is removed before recovery is over").name;
        if recovery.accepted.iter().any(|line| line == name || line == "*") {
            self.fetched(i, None);
            return true;
        }
        let reason = format!(
            "{path} cannot be read at byte {position}: {}. An acknowledged batch is there. Check the device (dmesg, smartctl) and start again from a copy \
             of the data directory on a good one (ddrescue); or give it up: write the line {name} into the file {} in the data directory and start \
             again (see accept-loss in docs/OPERATIONS.md)",
            error.message,
            super::ACCEPT_LOSS
        );
        self.recovery_failed(reason, fx);
        false
    }

    pub(super) fn read_fetch(&mut self, i: usize, file: FileHandle, fx: &mut Effects) {
        let fetch = &self.recovery.as_ref().expect("recovery runs").fetches[i];
        let position = fetch.found.body.position;
        let offset = block_down(position);
        let len = block_up(position + fetch.in_segment() as u64) - offset;
        self.ask(Task::ReadFetch(i), DiskOp::Read { file, offset, len, piece: DiskOp::WHOLE }, fx);
    }

    /// A batch was read from its segment, or could not be.
    pub(super) fn fetched(&mut self, i: usize, blocks: Option<&Bytes>) {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        let fetch = &recovery.fetches[i];
        let g = &mut recovery.gathered[fetch.ix.0 as usize];
        let found = &fetch.found;
        let Some((info, bytes)) = blocks.and_then(|blocks| fetch.put_together(blocks)) else {
            g.damaged.push((found.body.base_offset, format!("{} at byte {}", fetch.path, found.body.position)));
            return;
        };
        let own = found.source == 0;
        let place = if own {
            self.journal.memory_bytes += bytes.len() as u64;
            let commit = self.journal.commit_mut(found.ring).expect("it was read from there");
            commit.regions.push(bytes);
            Place::Own { ring: found.ring, part: commit.regions.len() as u32, at: 0 }
        } else {
            Place::Old(bytes)
        };
        let age = (if own { usize::MAX } else { found.source }, found.seq);
        g.entries.push(Replayed { info, age, place });
    }
}
