//! The way of batches out while no disk is needed: from the tail in memory by reference, from verified chunks of segments as file ranges; and
//! lookups by timestamp.

use bytes::BytesMut;

use super::cold::{Cold, Want};
use super::{
    Found, LookupOutcome, PartitionIx, ReadData, ReadError, ReadLimits, ReadOutcome, ReadTicket, ShardLog, batch,
};
use crate::event::{Effects, FileRange, ReplyPart};
use crate::partition::Partition;
use crate::time::Time;

/// Batches below this size are copied together rather than sent one by one: an I/O vector costs more than the copy.
const COPY_BYTES_BELOW: u32 = 2048;

impl ShardLog {
    /// Reads whole batches from the one that contains `from`.
    pub fn read(
        &mut self,
        _now: Time,
        ix: PartitionIx,
        from: i64,
        limits: ReadLimits,
        fx: &mut Effects,
    ) -> Result<ReadOutcome, ReadError> {
        let p = self.readable(ix)?;
        if from < p.log_start || from > p.log_end {
            return Err(ReadError::OffsetOutOfRange);
        }
        let limits = ReadLimits { up_to: limits.up_to.min(p.high_watermark), ..limits };
        if from >= limits.up_to {
            return Ok(ReadOutcome::Ready(ReadData::default()));
        }
        let first = p.tail.partition_point(|e| e.last_offset < from);
        // Behind what is settled comes the tail, also where offsets are missing in between.
        if p.tail.get(first).is_some_and(|e| e.base_offset <= from || from >= p.settled_end) {
            self.metrics.reads_hot += 1;
            return Ok(ReadOutcome::Ready(self.read_tail(ix, first, limits)));
        }
        if let Some(data) = verified_range(self.readable(ix)?, from, limits) {
            self.metrics.reads_sent_from_file += 1;
            return Ok(ReadOutcome::Ready(data));
        }
        if limits.most() == 0 && !limits.at_least_one {
            return Ok(ReadOutcome::Ready(ReadData::default()));
        }
        self.metrics.reads_cold += 1;
        Ok(ReadOutcome::Cold(self.begin_cold(Cold::new(ix, Want::Batches { from, limits }), fx)))
    }

    /// The partition, if it can be read from.
    pub(super) fn readable(&self, ix: PartitionIx) -> Result<&Partition, ReadError> {
        let p = self.partition(ix).ok_or(ReadError::Removed)?;
        match &p.failed {
            Some(reason) => Err(ReadError::Storage(reason.clone())),
            None => Ok(p),
        }
    }

    pub(super) fn begin_cold(&mut self, cold: Cold, fx: &mut Effects) -> ReadTicket {
        self.last_ticket += 1;
        let ticket = ReadTicket(self.last_ticket);
        self.cold.insert(ticket, cold);
        self.cold_step(ticket, None, fx);
        ticket
    }

    pub(super) fn read_tail(&self, ix: PartitionIx, first: usize, limits: ReadLimits) -> ReadData {
        let p = self.partitions[ix.0 as usize].as_ref().expect("the caller has it");
        let mut data = ReadData::default();
        let mut small = BytesMut::new();
        for entry in p.tail.range(first..) {
            let over = limits.are_passed(data.bytes, u64::from(entry.len));
            if entry.base_offset >= limits.up_to || (over && !(data.bytes == 0 && limits.at_least_one)) {
                break;
            }
            if entry.len < COPY_BYTES_BELOW {
                small.extend_from_slice(self.journal.peek(entry));
            } else {
                if !small.is_empty() {
                    data.parts.push(ReplyPart::Mem(small.split().freeze()));
                }
                data.parts.push(ReplyPart::Mem(self.journal.slice(entry)));
            }
            data.bytes += u64::from(entry.len);
            data.end = entry.last_offset + 1;
        }
        if !small.is_empty() {
            data.parts.push(ReplyPart::Mem(small.freeze()));
        }
        data
    }

    /// The first record (below the high watermark) whose timestamp is at least this.
    pub fn lookup_timestamp(
        &mut self,
        _now: Time,
        ix: PartitionIx,
        timestamp_ms: i64,
        fx: &mut Effects,
    ) -> Result<LookupOutcome, ReadError> {
        let p = self.readable(ix)?;
        let in_segments = p
            .segments
            .iter()
            .any(|s| s.len > 0 && s.max_timestamp >= timestamp_ms && segment_end(p, s.base) > p.log_start);
        if in_segments {
            let cold = Cold::new(ix, Want::Timestamp { timestamp_ms, not_below: p.log_start });
            return Ok(LookupOutcome::Cold(self.begin_cold(cold, fx)));
        }
        Ok(LookupOutcome::Ready(self.lookup_tail(ix, timestamp_ms, p.settled_end)))
    }

    /// Looks in the tail from `from` on.
    pub(super) fn lookup_tail(&self, ix: PartitionIx, timestamp_ms: i64, from: i64) -> Option<Found> {
        let p = self.partition(ix)?;
        let from = from.max(p.log_start);
        let first = p.tail.partition_point(|e| e.last_offset < from);
        for entry in p.tail.range(first..).filter(|e| e.max_timestamp >= timestamp_ms) {
            if entry.base_offset >= p.high_watermark {
                break;
            }
            if let Some(found) = batch::first_at_or_after(self.journal.peek(entry), timestamp_ms, from) {
                return Some(found);
            }
        }
        None
    }

    /// The first record with the highest timestamp (ListOffsets -3), below the high watermark. Of a segment that the log start cuts in two, what is
    /// left counts only if it holds that segment's highest.
    pub fn max_timestamp(&mut self, now: Time, ix: PartitionIx, fx: &mut Effects) -> Result<LookupOutcome, ReadError> {
        let p = self.readable(ix)?;
        let settled = p.segments.iter().filter(|s| s.len > 0 && s.max_timestamp_offset >= p.log_start);
        let from = p.tail.partition_point(|e| e.last_offset < p.settled_end.max(p.log_start));
        let unsettled = p.tail.range(from..).take_while(|e| e.base_offset < p.high_watermark);
        let highest = settled.map(|s| s.max_timestamp).chain(unsettled.map(|e| e.max_timestamp)).max();
        match highest {
            Some(highest) => self.lookup_timestamp(now, ix, highest, fx),
            None => Ok(LookupOutcome::Ready(None)),
        }
    }
}

/// Offset behind the last settled record of the segment that begins at `base`.
pub(super) fn segment_end(p: &Partition, base: i64) -> i64 {
    let next = p.segments.partition_point(|s| s.base <= base);
    p.segments.get(next).map_or(p.settled_end, |s| s.base)
}

/// A file range that begins exactly at `from` and consists of chunks whose checksums have been looked at.
fn verified_range(p: &Partition, from: i64, limits: ReadLimits) -> Option<ReadData> {
    let segment = p.segments.get(p.segments.partition_point(|s| s.base <= from).checked_sub(1)?)?;
    let file = segment.file.as_ref()?;
    let i = segment.floor(from);
    if segment.index[i].offset != from {
        return None;
    }
    let mut end = i;
    while segment.index[end].verified
        && segment.index.get(end + 1).is_some_and(|next| {
            let so_far = segment.index[end].position - segment.index[i].position;
            next.offset <= limits.up_to && !limits.are_passed(so_far, next.position - segment.index[end].position)
        })
    {
        end += 1;
    }
    let (offset, len) = (segment.index[i].position, segment.index[end].position - segment.index[i].position);
    let part = || ReplyPart::File(FileRange { file: file.clone(), offset, len });
    (len > 0).then(|| ReadData { parts: vec![part()], bytes: len, end: segment.index[end].offset })
}
