//! The smallest machine around a [`ShardLog`]: requests in a private binary form come in as frames, answers go out. What a broker has around its
//! log (protocol, metadata, sessions) is left out, so that a history stresses storage and nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use floe_engine::event::{AdminReply, Boot, ConnId, Effect, Effects, Input, Machine, Reply, ReplyPart};
use floe_engine::log::{
    AppendError, BatchInfo, CommitSeq, Found, LogConfig, LogEvent, LogSettings, LookupOutcome, PartitionIx, ReadData,
    ReadError, ReadLimits, ReadOutcome, ReadTicket, ShardLog,
};
use floe_engine::time::{Deadline, Time};
use floe_wire::ids::TopicId;

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// Append the batch that follows.
    Append = 1,
    /// Read from an offset, so many bytes.
    Read = 2,
    /// Log start and high watermark.
    Offsets = 3,
    /// Delete records before an offset.
    Delete = 4,
    /// Find the first record at or after a timestamp.
    Lookup = 5,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Well.
    Ok = 0,
    /// The offset is out of range.
    OutOfRange = 1,
    /// Storage refuses.
    Storage = 2,
    /// The sequence is out of order.
    OutOfOrder = 3,
    /// No room now.
    Full = 4,
    /// Anything else.
    Other = 5,
}

impl Status {
    /// Reads what `as u8` wrote.
    pub fn from_u8(n: u8) -> Status {
        [Status::Ok, Status::OutOfRange, Status::Storage, Status::OutOfOrder, Status::Full][..]
            .get(n as usize)
            .copied()
            .unwrap_or(Status::Other)
    }
}

/// The partitions of a run and their settings: the metadata that a broker would keep.
#[derive(Debug, Default)]
pub struct Catalog {
    /// All partitions, by number.
    pub partitions: Vec<(TopicId, i32, LogConfig)>,
    /// Shards that have drained older generations in this life.
    pub drained: BTreeSet<u16>,
}

/// One shard: a log and those who wait for it.
pub struct LogNode {
    catalog: Rc<RefCell<Catalog>>,
    settings: LogSettings,
    /// Every start may have journal files of another size.
    file_sizes_vary: bool,
    shard: u16,
    shards: u16,
    log: Option<ShardLog>,
    /// Answers that wait for a commit.
    committing: Vec<(CommitSeq, ConnId, Bytes)>,
    reading: BTreeMap<ReadTicket, (ConnId, u32, u32)>,
    looking: BTreeMap<ReadTicket, (ConnId, u32)>,
    /// Asked to stop: nothing new is taken.
    stopping: bool,
}

impl LogNode {
    /// A shard of this run.
    pub fn new(catalog: Rc<RefCell<Catalog>>, settings: LogSettings, file_sizes_vary: bool) -> LogNode {
        let (committing, reading, looking) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        LogNode {
            catalog,
            settings,
            file_sizes_vary,
            shard: 0,
            shards: 1,
            log: None,
            committing,
            reading,
            looking,
            stopping: false,
        }
    }

    /// What this start of the log is made with.
    fn settings(&self, boot: &Boot) -> LogSettings {
        let factor = if self.file_sizes_vary { [1, 1, 2, 4][usize::from(boot.seed[0] % 4)] } else { 1 };
        let s = &self.settings;
        LogSettings {
            journal_bytes: s.journal_bytes * factor,
            journal_file_bytes: s.journal_file_bytes * factor,
            commit_bytes_max: s.commit_bytes_max * factor,
            ..s.clone()
        }
    }

    fn request(&mut self, now: Time, conn: ConnId, frame: &Bytes, fx: &mut Effects) {
        let u32_at = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("4 bytes"));
        let i64_at = |at: usize| i64::from_be_bytes(frame[at..at + 8].try_into().expect("8 bytes"));
        let (correlation, kind, number) = (u32_at(0), frame[4], u32_at(5));
        let (topic, partition, _) = self.catalog.borrow().partitions[number as usize].clone();
        if self.stopping {
            return fx.push(answer(conn, correlation, Status::Full, &[]));
        }
        let log = self.log.as_mut().expect("booted");
        let Some(ix) = log.find(topic, partition) else {
            return fx.push(answer(conn, correlation, Status::Other, &[]));
        };
        match kind {
            1 => {
                let batch = &frame[9..];
                let (status, values, wait) = append(log, now, ix, batch);
                let reply = encode(correlation, status, &values, &[]);
                match wait {
                    Some(seq) => self.committing.push((seq, conn, reply)),
                    None => fx.push(send(conn, reply, Vec::new())),
                }
            }
            2 => {
                let (from, bytes_max) = (i64_at(9), u32_at(17));
                let up_to = log.partition(ix).map_or(0, |p| p.high_watermark());
                let limits = ReadLimits { bytes_max: u64::from(bytes_max), share: u64::MAX, at_least_one: true, up_to };
                match log.read(now, ix, from, limits, fx) {
                    Ok(ReadOutcome::Ready(data)) => self.read_done(conn, correlation, number, Ok(data), fx),
                    Ok(ReadOutcome::Cold(ticket)) => {
                        self.reading.insert(ticket, (conn, correlation, number));
                    }
                    Err(error) => self.read_done(conn, correlation, number, Err(error), fx),
                }
            }
            3 => {
                let p = log.partition(ix).expect("found");
                let status = if p.failed().is_some() { Status::Storage } else { Status::Ok };
                fx.push(answer(conn, correlation, status, &[p.log_start(), p.high_watermark()]));
            }
            4 => match log.delete_records(now, ix, i64_at(9)) {
                Ok((start, wait)) => {
                    let reply = encode(correlation, Status::Ok, &[start], &[]);
                    match wait {
                        Some(seq) => self.committing.push((seq, conn, reply)),
                        None => fx.push(send(conn, reply, Vec::new())),
                    }
                }
                Err(error) => fx.push(answer(conn, correlation, read_status(&error), &[])),
            },
            _ => match log.lookup_timestamp(now, ix, i64_at(9), fx) {
                Ok(LookupOutcome::Ready(found)) => fx.push(found_answer(conn, correlation, Ok(found))),
                Ok(LookupOutcome::Cold(ticket)) => {
                    self.looking.insert(ticket, (conn, correlation));
                }
                Err(error) => fx.push(found_answer(conn, correlation, Err(error))),
            },
        }
    }

    fn read_done(
        &self,
        conn: ConnId,
        correlation: u32,
        number: u32,
        result: Result<ReadData, ReadError>,
        fx: &mut Effects,
    ) {
        let (topic, partition, _) = self.catalog.borrow().partitions[number as usize].clone();
        let log = self.log.as_ref().expect("booted");
        let state = log.find(topic, partition).and_then(|ix| log.partition(ix));
        let (start, high) = state.map_or((0, 0), |p| (p.log_start(), p.high_watermark()));
        match result {
            Ok(data) => {
                let head = encode(correlation, Status::Ok, &[start, high], &data.parts);
                fx.push(send(conn, head, data.parts));
            }
            Err(error) => fx.push(answer(conn, correlation, read_status(&error), &[start, high])),
        }
    }

    fn events(&mut self, now: Time, fx: &mut Effects) {
        while let Some(event) = self.log.as_mut().and_then(ShardLog::poll_event) {
            match event {
                LogEvent::Recovered => fx.push(Effect::Ready),
                LogEvent::OldGenerationsDrained => {
                    let mut catalog = self.catalog.borrow_mut();
                    catalog.drained.insert(self.shard);
                    if catalog.drained.len() == self.shards as usize {
                        self.log.as_mut().expect("booted").drop_old_generations(fx);
                    }
                }
                LogEvent::Committed { up_to } => {
                    let (done, waiting) = std::mem::take(&mut self.committing).into_iter().partition(|w| w.0 <= up_to);
                    self.committing = waiting;
                    let done: Vec<(CommitSeq, ConnId, Bytes)> = done;
                    fx.extend(done.into_iter().map(|(_, conn, reply)| send(conn, reply, Vec::new())));
                }
                LogEvent::ReadDone { ticket, result } => {
                    if let Some((conn, correlation, number)) = self.reading.remove(&ticket) {
                        self.read_done(conn, correlation, number, result, fx);
                    }
                }
                LogEvent::LookupDone { ticket, result } => {
                    if let Some((conn, correlation)) = self.looking.remove(&ticket) {
                        fx.push(found_answer(conn, correlation, result));
                    }
                }
                LogEvent::JournalFailed { .. } => {
                    for (_, conn, reply) in std::mem::take(&mut self.committing) {
                        let correlation = u32::from_be_bytes(reply[4..8].try_into().expect("4 bytes"));
                        fx.push(answer(conn, correlation, Status::Storage, &[]));
                    }
                }
                LogEvent::Stopped => fx.push(Effect::Stopped),
                LogEvent::Advanced { .. } | LogEvent::Trimmed { .. } | LogEvent::Failed { .. } => {}
            }
        }
        let _ = now;
    }
}

impl Machine for LogNode {
    fn handle(&mut self, now: Time, input: Input, fx: &mut Effects) {
        match input {
            Input::Boot(boot) => {
                (self.shard, self.shards) = (boot.shard.0, boot.shards);
                let mut log = ShardLog::new(&boot, self.settings(&boot));
                let mine = |n: usize| n % boot.shards as usize == boot.shard.0 as usize;
                let catalog = self.catalog.borrow();
                let partitions = catalog.partitions.iter().enumerate().filter(|(n, _)| mine(*n));
                let partitions = partitions
                    .map(|(n, (topic, partition, config))| (*topic, *partition, format!("p{n}"), config.clone()))
                    .collect();
                log.start(now, partitions, fx);
                self.log = Some(log);
            }
            Input::Frame { conn, frame } => self.request(now, conn, &frame, fx),
            Input::DiskDone { op, result } => self.log.as_mut().expect("booted").handle_disk(now, op, result, fx),
            Input::Timer => {
                if let Some(log) = self.log.as_mut() {
                    log.timer(now, fx);
                }
            }
            Input::Admin { token, .. } => fx.push(Effect::AdminReply { token, reply: AdminReply::Ready(Ok(())) }),
            Input::Shutdown => {
                self.stopping = true;
                self.log.as_mut().expect("booted").shutdown(now, fx);
            }
            _ => {}
        }
        self.events(now, fx);
    }

    fn end_of_round(&mut self, now: Time, fx: &mut Effects) {
        if let Some(log) = self.log.as_mut() {
            log.end_of_round(now, fx);
        }
        self.events(now, fx);
    }

    fn next_deadline(&self) -> Option<Deadline> {
        self.log.as_ref().and_then(ShardLog::next_deadline)
    }
}

fn append(log: &mut ShardLog, now: Time, ix: PartitionIx, batch: &[u8]) -> (Status, Vec<i64>, Option<CommitSeq>) {
    let i64_at = |at: usize| i64::from_be_bytes(batch[at..at + 8].try_into().expect("8 bytes"));
    let i32_at = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().expect("4 bytes"));
    let i16_at = |at: usize| i16::from_be_bytes(batch[at..at + 2].try_into().expect("2 bytes"));
    let info = BatchInfo {
        base_offset: i64_at(0),
        last_offset_delta: i32_at(23),
        record_count: i32_at(57),
        base_timestamp: i64_at(27),
        max_timestamp: i64_at(35),
        leader_epoch: 0,
        producer_id: i64_at(43),
        producer_epoch: i16_at(51),
        base_sequence: i32_at(53),
        attributes: i16_at(21),
        bytes: batch.len() as u64,
        end: None,
    };
    match log.append(now, ix, batch, &info, 0) {
        Ok(done) => (Status::Ok, vec![done.base_offset, done.append_time_ms.unwrap_or(-1)], done.wait),
        Err(AppendError::Duplicate { base_offset, append_time_ms, wait }) => {
            (Status::Ok, vec![base_offset, append_time_ms.unwrap_or(-1)], wait)
        }
        Err(AppendError::Storage(_)) => (Status::Storage, Vec::new(), None),
        Err(
            error @ (AppendError::Unverified { .. }
            | AppendError::NotInTransaction(_)
            | AppendError::CoordinatorFenced { .. }
            | AppendError::TooManyTransactions),
        ) => unreachable!("{error:?} without transactions"),
        Err(AppendError::Full | AppendError::Closed) => (Status::Full, Vec::new(), None),
        Err(AppendError::OutOfOrderSequence { .. }) => (Status::OutOfOrder, Vec::new(), None),
        Err(AppendError::InvalidProducerEpoch { .. } | AppendError::TooLarge { .. }) => {
            (Status::Other, Vec::new(), None)
        }
    }
}

fn read_status(error: &ReadError) -> Status {
    match error {
        ReadError::OffsetOutOfRange => Status::OutOfRange,
        ReadError::Storage(_) => Status::Storage,
        ReadError::Removed => Status::Other,
        ReadError::Full => Status::Full,
    }
}

fn found_answer(conn: ConnId, correlation: u32, result: Result<Option<Found>, ReadError>) -> Effect {
    match result {
        Ok(Some(found)) => answer(conn, correlation, Status::Ok, &[found.offset, found.timestamp_ms]),
        Ok(None) => answer(conn, correlation, Status::Ok, &[-1, -1]),
        Err(error) => answer(conn, correlation, read_status(&error), &[]),
    }
}

/// Size prefix, correlation id, status, values; what follows (`parts`) is counted in the prefix.
fn encode(correlation: u32, status: Status, values: &[i64], parts: &[ReplyPart]) -> Bytes {
    let rest = Reply { parts: parts.to_vec() }.len();
    let mut out = BytesMut::new();
    out.put_u32(5 + values.len() as u32 * 8 + rest as u32);
    out.put_u32(correlation);
    out.put_u8(status as u8);
    values.iter().for_each(|v| out.put_i64(*v));
    out.freeze()
}

fn send(conn: ConnId, head: Bytes, parts: Vec<ReplyPart>) -> Effect {
    let parts = std::iter::once(ReplyPart::Mem(head)).chain(parts).collect();
    Effect::Reply { conn, reply: Reply { parts } }
}

fn answer(conn: ConnId, correlation: u32, status: Status, values: &[i64]) -> Effect {
    send(conn, encode(correlation, status, values, &[]), Vec::new())
}
