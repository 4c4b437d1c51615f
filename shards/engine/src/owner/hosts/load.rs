//! Reading partitions of the coordinators' topic into them, one after the other, a step a round. Part of the [`super::Host`].

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use floe_wire::batch::{batches, records};
use floe_wire::ids::TopicId;

use super::Host;
use crate::event::{DiskError, DiskOp, DiskOutput, Effect, Effects, LogLevel, OpId, ReplyPart};
use crate::hosted::{Hosted, Position};
use crate::limits::{GROUP_LOAD_BYTES, GROUP_LOADS_AT_ONCE};
use crate::log::{ReadData, ReadError, ReadLimits, ReadOutcome, ReadTicket, ShardLog, end_of_txn};
use crate::time::{Deadline, Time};

/// What the read under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Ticket(ReadTicket),
    Op(OpId),
}

/// Partitions to read.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// The first one is being read.
    wanted: VecDeque<i32>,
    /// Of the first: the offset to read from, once it has been begun, and when that was.
    next: Option<i64>,
    begun_ns: u64,
    passed_over: u64,
    /// Of the first: what was read and not looked at yet.
    parts: VecDeque<ReplyPart>,
    awaited: Option<Awaited>,
    last_op: u64,
    /// Ends of transactions that were written to partitions that are wanted: in order, by partition, producer, and whether it was committed.
    ends: Vec<(i32, i64, bool)>,
    /// Those that could not be read are not tried again before a restart.
    failed: BTreeSet<(TopicId, i32)>,
}

impl Loading {
    pub(super) fn want(&mut self, partition: i32) {
        self.wanted.push_back(partition);
    }

    pub(super) fn has_failed(&self, topic: TopicId, partition: i32) -> bool {
        self.failed.contains(&(topic, partition))
    }

    pub(super) fn len(&self) -> u64 {
        self.wanted.len() as u64
    }

    /// Keeps the end of a transaction for when its partition has been read; `false` when it has been.
    pub(super) fn keep_end(&mut self, partition: i32, producer: i64, committed: bool) -> bool {
        let is_wanted = self.wanted.contains(&partition);
        if is_wanted {
            self.ends.push((partition, producer, committed));
        }
        is_wanted
    }

    pub(super) fn forget(&mut self, partition: i32) {
        self.ends.retain(|(of, ..)| *of != partition);
        if self.wanted.front() == Some(&partition) {
            self.end();
        } else {
            self.wanted.retain(|wanted| *wanted != partition);
        }
    }

    /// At once, while there is something to do that waits for nothing.
    pub(super) fn next_deadline(&self) -> Option<Deadline> {
        (!self.wanted.is_empty() && self.awaited.is_none()).then_some(Deadline(0))
    }

    /// The first one is done with.
    fn end(&mut self) {
        self.wanted.pop_front();
        (self.next, self.awaited) = (None, None);
        self.parts.clear();
        self.passed_over = 0;
    }
}

impl<C: Hosted> Host<C> {
    /// Goes on with loading, for a step of bounded size.
    pub fn load(&mut self, now: Time, log: &mut ShardLog, fx: &mut Effects) {
        // Most partitions are empty: their turns cost next to nothing.
        for _ in 0..GROUP_LOADS_AT_ONCE {
            let Some(partition) = self.loading.wanted.front().copied() else { return };
            if self.loading.awaited.is_some() {
                return;
            }
            if let Some(part) = self.loading.parts.pop_front() {
                return self.take_part(partition, part, fx);
            }
            let Some((ix, p)) = self.partitions.get(&partition).and_then(|h| Some((h.ix, log.partition(h.ix)?))) else {
                self.loading.end();
                continue;
            };
            let from = *self.loading.next.get_or_insert_with(|| {
                self.loading.begun_ns = now.mono_ns;
                p.log_start()
            });
            let from = from.max(p.log_start());
            if from >= p.high_watermark() {
                self.loaded(now, partition, fx);
                continue;
            }
            let limits = ReadLimits {
                bytes_max: GROUP_LOAD_BYTES,
                share: u64::MAX,
                at_least_one: true,
                up_to: p.high_watermark(),
            };
            match log.read(now, ix, from, limits, fx) {
                // Nothing is left between there and the end.
                Ok(ReadOutcome::Ready(data)) if data.bytes == 0 => self.loaded(now, partition, fx),
                Ok(ReadOutcome::Ready(data)) => return self.take_parts(partition, data, fx),
                Ok(ReadOutcome::Cold(ticket)) => self.loading.awaited = Some(Awaited::Ticket(ticket)),
                Err(error) => self.cannot_load(partition, &read_error(&error), fx),
            }
        }
    }

    /// A cold read ended. Gives it back when it was not the host's.
    pub fn read_done(
        &mut self,
        ticket: ReadTicket,
        result: Result<ReadData, ReadError>,
        fx: &mut Effects,
    ) -> Option<Result<ReadData, ReadError>> {
        if self.loading.awaited != Some(Awaited::Ticket(ticket)) {
            return Some(result);
        }
        self.loading.awaited = None;
        let partition = *self.loading.wanted.front().expect("somebody waits for it");
        match result {
            Ok(data) => self.take_parts(partition, data, fx),
            Err(error) => self.cannot_load(partition, &read_error(&error), fx),
        }
        None
    }

    /// A disk operation tagged [`Hosted::OP_TAG`] ended.
    pub fn handle_disk(&mut self, op: OpId, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
        if self.loading.awaited != Some(Awaited::Op(op)) {
            return;
        }
        self.loading.awaited = None;
        let partition = *self.loading.wanted.front().expect("somebody waits for it");
        match result {
            Ok(DiskOutput::Data(bytes)) => self.take_bytes(partition, &bytes, fx),
            Ok(output) => unreachable!("{output:?} of a read"),
            Err(error) => self.cannot_load(partition, &error.message, fx),
        }
    }

    fn take_parts(&mut self, partition: i32, data: ReadData, fx: &mut Effects) {
        self.loading.parts.extend(data.parts);
        if let Some(part) = self.loading.parts.pop_front() {
            self.take_part(partition, part, fx);
        }
    }

    fn take_part(&mut self, partition: i32, part: ReplyPart, fx: &mut Effects) {
        match part {
            ReplyPart::Mem(bytes) => self.take_bytes(partition, &bytes, fx),
            ReplyPart::File(range) => {
                self.loading.last_op += 1;
                let op = OpId(u64::from(C::OP_TAG) << 56 | self.loading.last_op);
                self.loading.awaited = Some(Awaited::Op(op));
                let what =
                    DiskOp::Read { file: range.file, offset: range.offset, len: range.len, piece: DiskOp::WHOLE };
                fx.push(Effect::Disk { op, what });
            }
        }
    }

    /// Whole batches, in the order of the log.
    fn take_bytes(&mut self, partition: i32, bytes: &Bytes, fx: &mut Effects) {
        if let Err(what) = self.replay(partition, bytes) {
            self.cannot_load(partition, &what, fx);
        }
    }

    fn replay(&mut self, partition: i32, bytes: &[u8]) -> Result<(), String> {
        let mut scratch = Vec::new();
        for batch in batches(bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            let from = self.loading.next.expect("it was begun");
            let at = batch.header.base_offset;
            self.loading.next = Some(batch.header.last_offset() + 1);
            if batch.header.is_control() {
                if let Some(end) = end_of_txn(batch.bytes) {
                    self.coordinator.end_txn(None, partition, batch.header.producer_id, end.committed);
                }
                continue;
            }
            let producer = batch.header.is_transactional().then_some(batch.header.producer_id);
            let all =
                records(batch.bytes, &mut scratch).map_err(|error| format!("the batch at offset {at}: {error}"))?;
            for record in all {
                let record = record.map_err(|error| format!("the batch at offset {at}: {error}"))?;
                if record.offset < from {
                    continue;
                }
                let wrong = |what: String| format!("the record at offset {}: {what}", record.offset);
                let key = record.key.ok_or_else(|| wrong("it has no key".into()))?;
                match C::decode(key, record.value).map_err(|error| wrong(error.to_string()))? {
                    Some(kept) => self.replay_one(partition, kept, Position { offset: record.offset, producer }),
                    None => self.loading.passed_over += 1,
                }
            }
        }
        Ok(())
    }

    fn replay_one(&mut self, partition: i32, record: C::Record, position: Position) {
        self.metrics.replayed += 1;
        self.coordinator.replay(partition, record, position);
    }

    fn loaded(&mut self, now: Time, partition: i32, fx: &mut Effects) {
        let took_ns = now.mono_ns.saturating_sub(self.loading.begun_ns);
        self.metrics.load_ns.record(took_ns);
        if self.loading.passed_over > 0 {
            let line = format!(
                "partition {} has {} records of kinds that this version does not know: they are passed over",
                name::<C>(partition),
                self.loading.passed_over
            );
            fx.push(Effect::Log { level: LogLevel::Warn, line });
        }
        self.loading.end();
        // Those that were read as well do nothing again: no transaction can have begun meanwhile.
        for (_, producer, committed) in self.loading.ends.extract_if(.., |(of, ..)| *of == partition) {
            self.coordinator.end_txn(None, partition, producer, committed);
        }
        self.coordinator.loaded(now, partition);
    }

    fn cannot_load(&mut self, partition: i32, what: &str, fx: &mut Effects) {
        let line = format!(
            "the {0} of partition {1} cannot be read: {what}. They are answered NOT_COORDINATOR until the broker is restarted with a partition that can be read; other {0} are served",
            C::SUBJECTS,
            name::<C>(partition)
        );
        fx.push(Effect::Log { level: LogLevel::Error, line });
        self.loading.failed.extend(self.topic.map(|topic| (topic, partition)));
        self.unload(partition);
    }
}

fn name<C: Hosted>(partition: i32) -> String {
    format!("{}-{partition}", C::TOPIC)
}

fn read_error(error: &ReadError) -> String {
    match error {
        ReadError::Storage(reason) => reason.clone(),
        error => format!("reading it gave {error:?}"),
    }
}
