//! Taking over what older generations hold: their unsettled batches are copied into this shard's own journal, and both checkpoints say so.

use bytes::Bytes;

use super::partitions::enter;
use super::{ShardLog, Stage};
use crate::event::Effects;
use crate::log::frame::{EntryHeader, EntryKind};
use crate::log::{BatchInfo, LogEvent, PartitionIx, TailEntry};
use crate::time::Time;

/// A batch of an older generation.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) ix: PartitionIx,
    pub(super) info: BatchInfo,
    pub(super) bytes: Bytes,
}

impl ShardLog {
    /// Goes on copying what older generations hold; ends recovery when all of it is durable and a checkpoint says so.
    pub(in crate::log) fn import_on(&mut self, now: Time, fx: &mut Effects) {
        let Some(mut recovery) = self.recovery.take() else { return };
        if recovery.stage == Stage::Importing {
            while let Some(import) = recovery.imports.front() {
                let p =
                    self.partitions[import.ix.0 as usize].as_ref().expect("nothing is removed before recovery is over");
                let (topic, number) = p.key();
                let ring_and_at = self.import(now, topic, number, import);
                let Some((ring, at)) = ring_and_at else {
                    self.submit(now, fx);
                    self.recovery = Some(recovery);
                    return;
                };
                let info = import.info;
                let last_offset = info.last_offset();
                let entry = TailEntry {
                    base_offset: info.base_offset,
                    last_offset,
                    max_timestamp: info.max_timestamp,
                    ring,
                    part: 0,
                    at,
                    len: info.bytes as u32,
                };
                let p = self.partitions[import.ix.0 as usize].as_mut().expect("as above");
                enter(p, now, &info, entry);
                p.log_end = last_offset + 1;
                self.unsettled_bytes += info.bytes;
                self.journal.note_entry(import.ix, last_offset + 1);
                recovery.imports.pop_front();
            }
            self.submit(now, fx);
            let all_there = self.journal.completed_ring == self.journal.building_ring() && !self.journal.has_unsealed();
            if recovery.drains {
                if !all_there {
                    self.recovery = Some(recovery);
                    return;
                }
                recovery.stage = Stage::Ending;
                self.drained = true;
                self.settle.checkpoint_wanted = true;
                recovery.one_told = true;
                self.recovery = Some(recovery);
                return;
            }
        } else if recovery.stage != Stage::Ending || self.settle.checkpoint_wanted || !self.settle.is_idle() {
            self.recovery = Some(recovery);
            return;
        } else if std::mem::take(&mut recovery.one_told) {
            self.settle.checkpoint_wanted = true;
            self.recovery = Some(recovery);
            return;
        }
        self.next_housekeeping = now.after(std::time::Duration::from_millis(1));
        self.events.push_back(LogEvent::Recovered);
        self.events.push_back(LogEvent::OldGenerationsDrained);
    }

    fn import(
        &mut self,
        now: Time,
        topic: floe_wire::ids::TopicId,
        partition: i32,
        import: &Import,
    ) -> Option<(u64, u32)> {
        self.journal.make_room(now, import.bytes.len(), true).ok()?;
        let header = EntryHeader {
            seq: 0,
            topic,
            partition,
            base_offset: import.info.base_offset,
            length: import.bytes.len() as u32,
            leader_epoch: i32::from_be_bytes(import.bytes[12..16].try_into().expect("4 bytes")),
            kind: EntryKind::Carried,
        };
        let at = self.journal.push(header, &import.bytes, None);
        self.metrics.carried_bytes += import.bytes.len() as u64;
        Some((self.journal.building_ring(), at))
    }
}
