//! Reads that need the disk: open the segment, look at its index, read a window, check every batch in it, answer. Lives in the
//! [`ShardLog`] from the question to the answer.
//!
//! Nothing is answered from a segment whose checksum has not been looked at since the start of the process. What has just been read and
//! checked is answered from that memory; whole chunks checked this way are answered as file ranges from then on.

mod answer;
mod reads;

use bytes::Bytes;

use super::checkpoint::CHECKPOINT_BYTES_MAX;
use super::ops::Op;
use super::read::segment_end;
use super::segment::{INDEX_BYTES, Segment, Summed};
use super::{BatchInfo, Found, LogEvent, PartitionIx, ReadData, ReadError, ReadLimits, ReadTicket, ShardLog, batch};
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, LogLevel};
use crate::limits::{BLOCK_BYTES, COLD_READ_BYTES_MAX};
use crate::partition::Partition;
use answer::Answer;
use reads::Range;

pub(super) use reads::Reads;

/// Bytes read around what is wanted: the chunk of the index that it begins in, and one to end with.
const MARGIN_BYTES: u64 = 2 * INDEX_BYTES;
/// Windows read ahead for who reads on: one for the device while the other one is on its way to the client.
const WINDOWS_AHEAD: usize = 2;
/// Segments held open for reading.
const OPEN_SEGMENTS_MAX: usize = 512;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    Batches { from: i64, limits: ReadLimits },
    Timestamp { timestamp_ms: i64, not_below: i64 },
}

impl Want {
    /// Whether the batch that holds `seek` is too large for the answer, as its header has it: then the rest of it is not worth reading.
    fn is_too_large(&self, seek: i64, info: &BatchInfo) -> bool {
        let Want::Batches { limits, .. } = self else { return false };
        let last_offset = info.last_offset();
        !limits.at_least_one && limits.are_passed(0, info.bytes) && (info.base_offset..=last_offset).contains(&seek)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open { direct: bool },
    Index,
    Read { from: Place, asked: u64 },
}

/// A batch boundary in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: u64,
    /// Offset of the batch that begins here.
    offset: i64,
    /// Highest timestamp of all batches before.
    max_timestamp: i64,
}

/// One cold read or lookup.
#[derive(Debug)]
pub(super) struct Cold {
    ix: PartitionIx,
    want: Want,
    /// The segment being looked at, by base; the offset searched from (a lookup goes on behind what it has seen).
    segment: i64,
    /// The version of that segment: another one may take its place meanwhile, and what has been read of the old one is void.
    version: u32,
    seek: i64,
    window: u64,
    step: Option<Step>,
    /// Where to go on in this segment; `None`: where the index says.
    place: Option<Place>,
    /// The index was found stale once.
    index_dropped: bool,
}

impl Cold {
    pub(super) fn new(ix: PartitionIx, want: Want) -> Cold {
        let (seek, window) = match want {
            // A client that takes little at a time would otherwise have everything read many times over.
            Want::Batches { from, limits } => {
                (from, limits.most().saturating_add(MARGIN_BYTES).min(COLD_READ_BYTES_MAX))
            }
            Want::Timestamp { not_below, .. } => (not_below, COLD_READ_BYTES_MAX),
        };
        Cold { ix, want, segment: -1, version: 0, seek, window, step: None, place: None, index_dropped: false }
    }
}

/// What a step came to.
enum Outcome {
    /// Another operation is needed.
    More,
    /// What is to be read has been read already.
    Here(Bytes),
    Batches(ReadData),
    Found(Option<Found>),
    Failed(ReadError),
    /// The segment is damaged here: the partition fails with this reason, unless its loss is accepted.
    Damaged(Damage),
}

struct Damage {
    position: u64,
    reason: String,
    /// Where the next whole batch begins, if that can be told.
    next: Option<Place>,
}

impl ShardLog {
    /// Goes one step on with a cold read; `result` is what the last one gave.
    pub(super) fn cold_step(
        &mut self,
        ticket: ReadTicket,
        result: Option<Result<DiskOutput, DiskError>>,
        fx: &mut Effects,
    ) {
        let Some(mut cold) = self.cold.remove(&ticket) else { return };
        let mut outcome = match result {
            None => Outcome::More,
            Some(result) => self.cold_take(&mut cold, result),
        };
        let ix = cold.ix;
        let is_read = matches!(cold.want, Want::Batches { .. });
        let error = loop {
            outcome = match outcome {
                Outcome::More => match self.cold_ask(ticket, &mut cold, fx) {
                    Outcome::More => {
                        self.cold.insert(ticket, cold);
                        return;
                    }
                    other => other,
                },
                Outcome::Here(bytes) => self.cold_take(&mut cold, Ok(DiskOutput::Data(bytes))),
                Outcome::Damaged(damage) if self.partition(ix).is_some_and(|p| p.accept_loss) => {
                    self.pass_over(&mut cold, damage, fx)
                }
                Outcome::Damaged(damage) => {
                    self.partition_failed(ix, damage.reason.clone(), fx);
                    break ReadError::Storage(damage.reason);
                }
                Outcome::Failed(error) => break error,
                Outcome::Batches(data) => {
                    self.read_on(&cold, &data, fx);
                    return self.events.push_back(LogEvent::ReadDone { ticket, result: Ok(data) });
                }
                Outcome::Found(found) => {
                    return self.events.push_back(LogEvent::LookupDone { ticket, result: Ok(found) });
                }
            };
        };
        self.events.push_back(match is_read {
            true => LogEvent::ReadDone { ticket, result: Err(error) },
            false => LogEvent::LookupDone { ticket, result: Err(error) },
        });
    }

    /// Asks for what is missing.
    fn cold_ask(&mut self, ticket: ReadTicket, cold: &mut Cold, fx: &mut Effects) -> Outcome {
        let p = match self.readable(cold.ix) {
            Ok(p) => p,
            Err(e) => return Outcome::Failed(e),
        };
        if cold.seek < p.log_start && matches!(cold.want, Want::Batches { .. }) {
            return Outcome::Failed(ReadError::OffsetOutOfRange);
        }
        if let Want::Timestamp { timestamp_ms, .. } = cold.want {
            // On to the next segment that can have it; then the tail.
            let next = p
                .segments
                .iter()
                .find(|s| s.len > 0 && s.max_timestamp >= timestamp_ms && segment_end(p, s.base) > cold.seek);
            match next {
                Some(segment) => cold.seek = cold.seek.max(segment.base),
                None => return Outcome::Found(self.lookup_tail(cold.ix, timestamp_ms, cold.seek.max(p.settled_end))),
            }
        }
        let Some(at) = p.segments.partition_point(|s| s.base <= cold.seek).checked_sub(1) else {
            return Outcome::Failed(ReadError::OffsetOutOfRange);
        };
        // Compaction may have left nothing of a segment.
        let is_empty = |s: &&Segment| s.version > 0 && s.len == 0;
        let at = at + p.segments.range(at..).take_while(is_empty).count();
        let Some(segment) = p.segments.get(at).filter(|s| cold.seek.max(s.base) < p.settled_end) else {
            cold.seek = cold.seek.max(p.settled_end);
            return self.on_to_tail(cold);
        };
        cold.seek = cold.seek.max(segment.base);
        if (cold.segment, cold.version) != (segment.base, segment.version) {
            (cold.segment, cold.version) = (segment.base, segment.version);
            cold.place = None;
        }
        let path = p.segment_path_of(segment);
        let open =
            |direct| (Step::Open { direct }, DiskOp::Open { path: path.clone() + ".log", create: false, direct });
        let (step, what) = match &segment.reader {
            None => open(true),
            Some(_) if segment.file.is_none() => open(false),
            Some(_) if !segment.index_loaded => {
                (Step::Index, DiskOp::ReadFile { path: path.clone() + ".idx", bytes_max: CHECKPOINT_BYTES_MAX })
            }
            Some(file) => {
                let from = cold.place.take().unwrap_or_else(|| {
                    let mut i = segment.floor(cold.seek);
                    if let Want::Timestamp { timestamp_ms, .. } = cold.want {
                        let by_time =
                            segment.index.partition_point(|e| e.max_timestamp_before < timestamp_ms).saturating_sub(1);
                        i = i.max(by_time);
                    }
                    let entry = &segment.index[i];
                    Place { position: entry.position, offset: entry.offset, max_timestamp: entry.max_timestamp_before }
                });
                let asked = cold.window.min(segment.len.saturating_sub(from.position));
                if asked == 0 {
                    return damaged(p, segment.base, from.position, "the index points to its end");
                }
                let range = blocks(file, from.position, asked);
                cold.step = Some(Step::Read { from, asked });
                return self.reads.ask(ticket, range, &mut self.ops, fx).map_or(Outcome::More, Outcome::Here);
            }
        };
        cold.step = Some(step);
        self.ops.issue(Op::Cold(ticket), what, fx);
        Outcome::More
    }

    /// Reads what one who goes on reading as before will ask for next.
    fn read_on(&mut self, cold: &Cold, data: &ReadData, fx: &mut Effects) {
        let Want::Batches { from, limits } = cold.want else { return };
        let Some(p) = self.partitions[cold.ix.0 as usize].as_mut().filter(|_| data.bytes > 0) else { return };
        let goes_on = std::mem::replace(&mut p.cold_end, data.end) == from;
        let segment = p.segments.iter().find(|s| (s.base, s.version) == (cold.segment, cold.version));
        let Some(segment) = segment.filter(|s| goes_on && data.end < segment_end(p, s.base)) else {
            return;
        };
        let Some(file) = segment.reader.as_ref() else { return };
        let mut at = segment.floor(data.end);
        for _ in 0..WINDOWS_AHEAD {
            let entry = &segment.index[at];
            let asked = cold.window.min(segment.len.saturating_sub(entry.position));
            // What has been checked goes to the client from the file.
            if entry.verified || !(1..=COLD_READ_BYTES_MAX).contains(&asked) {
                return;
            }
            self.reads.ask_ahead(blocks(file, entry.position, asked), &mut self.ops, fx);
            // The next answer will end with the last chunk that it can have whole. Where its limits are narrower than what is read the chunks are not
            // known well enough: they get finer by being read.
            let next = segment.index.partition_point(|e| e.position <= entry.position + asked) - 1;
            if next == at || limits.most() < COLD_READ_BYTES_MAX || self.reads.are_crowded() {
                return;
            }
            at = next;
        }
    }

    /// Takes in what the disk gave.
    fn cold_take(&mut self, cold: &mut Cold, result: Result<DiskOutput, DiskError>) -> Outcome {
        let ix = cold.ix;
        let base = cold.segment;
        let Some(p) = self.partition_mut(ix) else { return Outcome::Failed(ReadError::Removed) };
        let path = p.segment_path_at(base, cold.version);
        let Some(segment) = p.segments.iter_mut().find(|s| (s.base, s.version) == (base, cold.version)) else {
            // Removed by retention, or compacted: what is there now is asked.
            (cold.step, cold.place, cold.segment) = (None, None, -1);
            return Outcome::More;
        };
        match (cold.step.take(), result) {
            (Some(Step::Open { direct: true }), Ok(DiskOutput::Opened { file, .. })) => {
                segment.reader = Some(file);
                Outcome::More
            }
            (Some(Step::Open { direct: false }), Ok(DiskOutput::Opened { file, .. })) => {
                segment.file = Some(file);
                self.open_segments.push_back((ix, base));
                self.close_oldest();
                Outcome::More
            }
            (Some(Step::Index), Ok(DiskOutput::Data(bytes))) => {
                segment.load_index(&bytes);
                Outcome::More
            }
            (Some(Step::Index), Err(_)) => {
                // Lost or not written yet: found again while reading.
                segment.index_loaded = true;
                segment.index_saved_len = 0;
                Outcome::More
            }
            (Some(Step::Read { from, asked }), Ok(DiskOutput::Data(blocks))) => {
                let skip = (from.position % BLOCK_BYTES) as usize;
                let end = blocks.len().min(skip + asked as usize);
                let bytes = blocks.slice(skip.min(end)..end);
                self.cold_window(cold, from, asked, &bytes)
            }
            (Some(Step::Open { .. }), Err(e)) if e.kind == DiskErrorKind::NotFound => {
                let reason = format!("segment {path}.log is gone. {HELP}");
                Outcome::Damaged(Damage { position: u64::MAX, reason, next: None })
            }
            (_, Err(e)) => Outcome::Failed(ReadError::Storage(format!("reading {path}.log: {}", e.message))),
            (step, Ok(output)) => unreachable!("{step:?} gave {output:?}"),
        }
    }

    /// The operator accepts what is lost: goes on behind the damage, at the next place where a batch is known to begin.
    fn pass_over(&mut self, cold: &mut Cold, damage: Damage, fx: &mut Effects) -> Outcome {
        let Damage { position, reason, next } = damage;
        let Some(p) = self.partition_mut(cold.ix) else { return Outcome::Failed(ReadError::Removed) };
        let Some(at) = p.segments.iter().position(|s| s.base == cold.segment) else {
            return Outcome::Failed(ReadError::OffsetOutOfRange);
        };
        let by_index = p.segments[at].index.iter().find(|e| e.position > position);
        let by_index =
            by_index.map(|e| Place { position: e.position, offset: e.offset, max_timestamp: e.max_timestamp_before });
        let place = next.or(by_index);
        let resume = place.map_or_else(|| segment_end(p, cold.segment), |place| place.offset);
        cold.seek = cold.seek.max(resume);
        cold.place = place;
        if p.passed_over.insert((cold.segment, position)) {
            let line = format!(
                "partition {}: passes over damage, as accepted, and goes on at offset {resume}: {reason}",
                p.name
            );
            fx.push(Effect::Log { level: LogLevel::Warn, line });
        }
        self.on_to_tail(cold)
    }

    /// Nothing more comes in this segment: on with the next one, or the tail.
    fn on_to_tail(&self, cold: &Cold) -> Outcome {
        let Want::Batches { limits, .. } = cold.want else { return Outcome::More };
        let p = self.partition(cold.ix).expect("looked at just now");
        if cold.seek < p.settled_end {
            return Outcome::More;
        }
        let first = p.tail.partition_point(|e| e.last_offset < cold.seek);
        Outcome::Batches(self.read_tail(cold.ix, first, limits))
    }

    fn close_oldest(&mut self) {
        while self.open_segments.len() > OPEN_SEGMENTS_MAX {
            let (ix, base) = self.open_segments.pop_front().expect("there are many");
            if let Some(p) = self.partition_mut(ix)
                && let Some(at) = p.segments.iter().position(|s| s.base == base)
            {
                let is_last = at + 1 == p.segments.len();
                p.segments[at].close(is_last);
            }
        }
    }

    /// Checks every batch in what was read, and answers if it holds what is wanted.
    fn cold_window(&mut self, cold: &mut Cold, start: Place, asked: u64, bytes: &Bytes) -> Outcome {
        let base = cold.segment;
        let p = self.partition_mut(cold.ix).expect("looked at just now");
        let at = p.segments.iter().position(|s| s.base == base).expect("looked at just now");
        let end = segment_end(p, base);
        let segment = &mut p.segments[at];
        if segment.version > 0 && !segment.index_loaded {
            // Let go of while this read was under way, and its sums with it.
            return Outcome::More;
        }
        let mut entry = segment.index.partition_point(|e| e.position <= start.position) - 1;
        let from_index = segment.index[entry].position == start.position;
        // Only whole chunks show that their batches are in their places.
        let bytes = match (segment.summed && from_index).then(|| segment.look_at_sums(entry, bytes)) {
            // On behind damage in a chunk whose sum was looked at before.
            None if segment.summed => {
                bytes.slice(..bytes.len().min((segment.chunk_end(entry) - start.position) as usize))
            }
            None => bytes.clone(),
            Some(Summed::Held(held)) => bytes.slice(..held),
            Some(Summed::Short(chunk)) if asked < chunk && bytes.len() as u64 >= asked => {
                cold.window = chunk;
                cold.place = Some(start);
                return Outcome::More;
            }
            Some(Summed::Short(_)) => {
                return damaged(p, base, start.position, "the file ends before the batches it should hold");
            }
            Some(Summed::Broken) => {
                return damaged(
                    p,
                    base,
                    start.position,
                    "the batches from here on do not hold the checksum of their offsets",
                );
            }
        };
        let bytes = &bytes;
        let mut place = start;
        let mut answer = Answer::default();
        let mut damage = None;
        let mut behind = None;
        while place.position < segment.len {
            let seen = (place.position - start.position) as usize;
            let rest = &bytes[seen.min(bytes.len())..];
            if rest.len() < batch::HEADER_BYTES {
                break;
            }
            let Some(info) = batch::header(rest).filter(|i| place.position + i.bytes <= segment.len) else {
                damage = Some("no batch begins here".to_string());
                break;
            };
            if info.bytes > rest.len() as u64 {
                if cold.want.is_too_large(cold.seek, &info) {
                    return Outcome::Batches(ReadData::default());
                }
                if seen == 0 && cold.window < info.bytes {
                    cold.window = info.bytes;
                    cold.place = Some(start);
                    return Outcome::More;
                }
                break;
            }
            let one = &rest[..info.bytes as usize];
            let follows = match segment.version {
                0 => info.base_offset == place.offset || p.gaps.contains(&(place.offset, info.base_offset)),
                // Compaction leaves gaps; what it leaves stands in order, and nothing belongs behind the segment. The checksum does not cover the offset.
                _ => {
                    let last_offset = info.last_offset();
                    (place.offset..=last_offset).contains(&info.base_offset) && last_offset < end
                }
            };
            // The checksum does not cover the epoch.
            let possible =
                p.leader_epochs.is_some_and(|(lowest, highest)| (lowest..=highest).contains(&info.leader_epoch));
            if batch::whole(one).is_none() || !follows || !possible {
                damage =
                    Some(format!("the batch with offset {} does not hold its checksum or its place", place.offset));
                behind = batch::header(&rest[one.len()..])
                    .filter(|next| next.base_offset > place.offset)
                    .filter(|next| {
                        rest.get(one.len()..)
                            .and_then(|r| r.get(..next.bytes as usize))
                            .and_then(batch::whole)
                            .is_some()
                    })
                    .map(|next| Place { position: place.position + info.bytes, offset: next.base_offset, ..place });
                break;
            }
            entry = segment.refine(entry, place.offset, place.position, place.max_timestamp);
            answer.boundary(place.position == segment.index[entry].position, seen, place.offset);
            let last_offset = info.last_offset();
            answer.look(cold.want, cold.seek, &info, last_offset, one, seen);
            place = Place {
                position: place.position + info.bytes,
                offset: last_offset + 1,
                max_timestamp: place.max_timestamp.max(info.max_timestamp),
            };
        }
        let progress = place.position > start.position;
        // Where the window ends in a batch, the next read is to begin with it.
        if progress && place.position < segment.len {
            segment.refine(entry, place.offset, place.position, place.max_timestamp);
        }
        if segment.index.get(entry + 1).is_some_and(|next| next.position == place.position) {
            answer.boundary(true, (place.position - start.position) as usize, place.offset);
        }
        // What is checked and not given stays unchecked: who reads on would have it from the file, and the page cache would read it (and much behind
        // it, ahead) from the disk once more.
        let checked = match cold.want {
            Want::Batches { .. } => answer.end().0,
            Want::Timestamp { .. } => (place.position - start.position) as usize,
        };
        segment.verified(start.position, start.position + checked as u64);
        // As much was asked for as the batch here needs, unless none is here.
        if !progress && damage.is_none() {
            damage = Some("the file ends before the batches it should hold".to_string());
        }
        if let (Some(what), false) = (damage, progress) {
            if from_index && start.position > 0 && !cold.index_dropped && !p.accept_loss && !p.segments[at].summed {
                // The index may be stale. Without it the segment is read from its start, and decides.
                p.segments[at].index.truncate(1);
                cold.index_dropped = true;
                return Outcome::More;
            }
            let reason = damage_reason(p, base, start.position, &what);
            return Outcome::Damaged(Damage { position: start.position, reason, next: behind });
        }
        // What lies behind (also damage) is met when it is asked for.
        cold.place = (place.position < segment.len).then_some(place);
        let is_cleaned = segment.version > 0;
        match cold.want {
            Want::Batches { .. } => match answer.batches(bytes) {
                Some(data) => Outcome::Batches(data),
                None if cold.place.is_none() && is_cleaned => {
                    cold.seek = cold.seek.max(end);
                    self.on_to_tail(cold)
                }
                None if cold.place.is_none() => {
                    damaged(p, base, place.position, "the segment ends before the offsets it should hold")
                }
                None => Outcome::More,
            },
            Want::Timestamp { .. } => match answer.found {
                Some(found) => Outcome::Found(Some(found)),
                None => {
                    cold.seek = cold.seek.max(if cold.place.is_none() { end } else { place.offset });
                    Outcome::More
                }
            },
        }
    }
}

/// The blocks that hold these bytes of a segment.
fn blocks(file: &FileHandle, position: u64, bytes: u64) -> Range {
    let offset = position - position % BLOCK_BYTES;
    Range { file: file.clone(), offset, len: (position + bytes).next_multiple_of(BLOCK_BYTES) - offset }
}

const HELP: &str = "Nothing of this partition is served until the file has been restored from a copy and the broker restarted, or the loss is accepted (see \
                    accept-loss in docs/OPERATIONS.md), or the topic has been deleted; `floe dump-log` shows what is left";

fn damaged(p: &Partition, base: i64, position: u64, what: &str) -> Outcome {
    let reason = damage_reason(p, base, position, what);
    Outcome::Damaged(Damage { position, reason, next: None })
}

fn damage_reason(p: &Partition, base: i64, position: u64, what: &str) -> String {
    let version = p.segments.iter().find(|s| s.base == base).map_or(0, |s| s.version);
    format!("segment {}.log is damaged at byte {position}: {what}. {HELP}", p.segment_path_at(base, version))
}
