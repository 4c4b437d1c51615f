//! A client of the log: what it has asked, what it has sent and not yet seen acknowledged, and how it judges what it reads.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use super::node::{Ask, Status};
use super::{BATCH_BYTES_MAX, Machine, REFUSALS_MAX, batch};
use crate::content::{self, RecordId};
use crate::net::Link;
use crate::oracle::{Expectation, Oracle, Seen, Sent, Tp};
use crate::rng::Rng;
use crate::world::World;

/// A writer, a reader or an auditor with one connection to one partition at a time.
pub(super) struct Client {
    pub(super) part: usize,
    pub(super) role: Role,
    pub(super) link: Option<Link>,
    pub(super) waiting: BTreeMap<u32, Waiting>,
    pub(super) correlation: u32,
    pub(super) generation: u64,
    pub(super) not_before_ns: u64,
}

/// What a client does.
pub(super) enum Role {
    Writer(Writer),
    Reader { left: u32, position: i64 },
    Audit { left: Vec<usize>, at: Option<(i64, i64)>, attempts: u32 },
}

/// Appends batches, several on the way, each until it is taken.
pub(super) struct Writer {
    pub(super) idempotent: bool,
    pub(super) producer: i64,
    pub(super) sequence: i32,
    pub(super) place: u64,
    pub(super) left: u32,
    pub(super) records_max: u64,
    pub(super) pause_ns: u64,
    pub(super) open: VecDeque<Batch>,
    /// Answers that the storage refuses (and may).
    pub(super) refusals: u32,
}

/// A batch that has not been acknowledged.
pub(super) struct Batch {
    pub(super) records: Vec<RecordId>,
    pub(super) bytes: Bytes,
    pub(super) sent: Option<u32>,
}

/// A request that has not been answered.
pub(super) struct Waiting {
    pub(super) what: Question,
    pub(super) part: usize,
    pub(super) expected: Expectation,
    pub(super) sent_ns: u64,
}

/// What a request asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Append,
    Read { from: i64 },
    Offsets,
    Delete { before: i64 },
    Lookup { timestamp_ms: i64 },
}

impl Client {
    pub(super) fn is_done(&self) -> bool {
        match &self.role {
            Role::Writer(writer) => writer.left == 0 && writer.open.is_empty(),
            Role::Reader { left, .. } => *left == 0,
            Role::Audit { left, at, .. } => left.is_empty() && at.is_none() && self.waiting.is_empty(),
        }
    }

    pub(super) fn ask(
        &mut self,
        part: usize,
        what: Question,
        body: &[u8],
        world: &mut World<Machine>,
        oracle: &mut Oracle,
        tp: Tp,
    ) -> u32 {
        self.correlation += 1;
        let kind = match what {
            Question::Append => Ask::Append,
            Question::Read { .. } => Ask::Read,
            Question::Offsets => Ask::Offsets,
            Question::Delete { .. } => Ask::Delete,
            Question::Lookup { .. } => Ask::Lookup,
        };
        let mut frame = BytesMut::new();
        frame.put_u32(self.correlation);
        frame.put_u8(kind as u8);
        frame.put_u32(part as u32);
        frame.put_slice(body);
        let expected = oracle.expect(tp);
        self.waiting.insert(self.correlation, Waiting { what, part, expected, sent_ns: world.now_ns() });
        if let Some(link) = self.link {
            let (now_ns, correlation) = (world.now_ns(), self.correlation);
            world.trace.event(now_ns, 20, &[link.0, u64::from(correlation)], || {
                format!("{link:?} asks #{correlation}: {what:?} of {tp}, {} bytes", body.len())
            });
            world.send(link, frame.freeze());
        }
        self.correlation
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn appended(
        &mut self,
        tp: Tp,
        correlation: u32,
        status: Status,
        base_offset: i64,
        append_time_ms: i64,
        winding_down: bool,
        oracle: &mut Oracle,
        me: usize,
    ) {
        let Role::Writer(writer) = &mut self.role else { return };
        let Some(at) = writer.open.iter().position(|b| b.sent == Some(correlation)) else { return };
        match status {
            Status::Ok => {
                let batch = writer.open.remove(at).expect("found");
                oracle.acked(tp, base_offset, &batch.records, (append_time_ms >= 0).then_some(append_time_ms));
            }
            Status::Storage if winding_down || writer.refusals >= REFUSALS_MAX => writer.open.clear(),
            Status::Storage => {
                writer.refusals += 1;
                writer.open[at].sent = None;
            }
            Status::Full => writer.open[at].sent = None,
            Status::OutOfOrder if at > 0 => writer.open[at].sent = None,
            Status::OutOfOrder if oracle.may_have_lost(tp) => {
                writer.open.clear();
                writer.producer += 1000;
                writer.sequence = 0;
            }
            _ => {
                let producer = writer.producer;
                oracle.fail(format!("{tp}: client {me}, producer {producer}: append answered {status:?}"));
            }
        }
    }
}

impl Writer {
    pub(super) fn make(&mut self, tp: Tp, me: u64, rng: &mut Rng, world: &World<Machine>, oracle: &mut Oracle) {
        let n = rng.log_range(1, self.records_max);
        let now_ms = world.wall_ms();
        let mut records = Vec::new();
        let mut bytes = 0;
        for _ in 0..n {
            let jitter = if rng.percent(10) { rng.below(2_000) as i64 - 1_000 } else { 0 };
            let order = self.idempotent.then_some((me << 32 | self.producer as u64, self.place));
            self.place += 1;
            let sent = Sent { tp, timestamp_ms: now_ms + jitter, keyed: false, once: self.idempotent, order };
            records.push((oracle.sending(sent), now_ms + jitter));
            let made = content::content(records[records.len() - 1].0);
            bytes += made.value.map_or(0, |v| v.len()) + 100;
            // What never fits a journal file is not what is tested here.
            if bytes + content::VALUE_BYTES_MAX as usize > BATCH_BYTES_MAX {
                break;
            }
        }
        let n = records.len();
        let producer = self.idempotent.then_some((self.producer, 0, self.sequence));
        let bytes = batch::build(&records, producer).into();
        if self.idempotent {
            // Sequences wrap to 0 behind i32::MAX.
            self.sequence = ((i64::from(self.sequence) + n as i64) % (1 << 31)) as i32;
        }
        self.open.push_back(Batch { records: records.into_iter().map(|r| r.0).collect(), bytes, sent: None });
    }
}

/// Checks what was read; gives the offset after it.
pub(super) fn judge(tp: Tp, from: i64, end: i64, bytes: &[u8], oracle: &mut Oracle) -> Result<i64, String> {
    let mut next = None;
    let compacted = oracle.is_compacted(tp);
    for batch in batch::read(bytes, compacted)? {
        let (base, last) = (batch.base, batch.last);
        match next {
            None if last < from || (base > from && !compacted) => {
                return Err(format!("the first batch has offsets {base} to {last}"));
            }
            Some(next) if base < next || (base > next && !compacted) => {
                return Err(format!("after {} comes {base}", next - 1));
            }
            _ => {}
        }
        if last >= end {
            return Err(format!("offset {last} is shown, the high watermark is {end}"));
        }
        if compacted {
            let shown: Vec<i64> = batch.records.iter().map(|r| r.offset).collect();
            oracle.compacted(tp, next.unwrap_or(from), last + 1, &shown);
        }
        next = Some(last + 1);
        for record in &batch.records {
            let made = &record.content;
            let (key, value) = (made.key.as_deref(), made.value.as_deref());
            let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
            oracle.seen(tp, Seen { offset, timestamp_ms, key, value, headers: &made.headers });
        }
    }
    Ok(next.unwrap_or(from))
}
