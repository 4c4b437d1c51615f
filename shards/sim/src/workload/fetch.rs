//! Fetch: consumers that follow the end or read from anywhere, with and without sessions, with every limit; and the judgement of what they get.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use floe_wire::batch::{self, BatchHeader};
use floe_wire::errors::ErrorCode;
use floe_wire::ids::TopicId;
use floe_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData,
};
use floe_wire::primitives::Records;

use super::api::ApiKey;
use super::list_offsets::{self, Answer, EARLIEST};
use super::{Actor, Cx, Request, Verdict, decode, encode, error_code};
use crate::oracle::{Expectation, Seen, TopicIx, Tp};
use crate::rng::Rng;

/// The largest batch that a consumer takes; no producer of a run makes one near it.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A fetch's limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Milliseconds to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Bytes to wait for.
    pub min_bytes: i32,
    /// Bytes in all.
    pub max_bytes: i32,
    /// Bytes per partition.
    pub partition_max_bytes: i32,
    /// Records of committed transactions only.
    pub read_committed: bool,
}

impl Limits {
    /// Any, of a reader of everything.
    pub fn draw(rng: &mut Rng, min_bytes_max: u64) -> Limits {
        Limits {
            max_wait_ms: *rng.pick(&[0, 10, 100, 500]),
            min_bytes: rng.log_range(1, min_bytes_max) as i32,
            max_bytes: rng.log_range(1, 4 << 20) as i32,
            partition_max_bytes: rng.log_range(1, 1 << 20) as i32,
            read_committed: false,
        }
    }
}

/// How a consumer consumes.
#[derive(Clone, Debug)]
pub struct Style {
    /// The version of Fetch.
    pub version: i16,
    /// Incremental fetch sessions (KIP-227).
    pub session: bool,
    /// Limits.
    pub limits: Limits,
    /// Percent of fetches before which it jumps to another offset.
    pub seek_percent: u32,
    /// Percent of fetches before which it goes away and comes back.
    pub hang_up_percent: u32,
    /// Longest pause between two fetches in nanoseconds.
    pub pause_ns: u64,
    /// Fetches in all.
    pub fetches: u32,
}

/// What is asked of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// The partition.
    pub tp: Tp,
    /// From which offset.
    pub offset: i64,
    /// What the broker was committed to when it was asked.
    pub expected: Expectation,
}

/// How one partition's part of an answer is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Records up to (not including) this offset; the same offset as asked for: none.
    Next(i64),
    /// The offset is out of range.
    OutOfRange,
    /// Not now.
    Again,
    /// The storage refuses, and may.
    Refused,
    /// The topic is gone.
    Gone,
}

/// A consumer of all partitions of one topic.
pub struct Consumer {
    style: Style,
    topic: Option<TopicIx>,
    positions: Vec<Position>,
    /// Session id and the epoch of the next request; id 0: none yet.
    session: (i32, i32),
    /// Partitions the session has, with the offset it knows.
    in_session: BTreeMap<i32, i64>,
    asked: Vec<Want>,
    in_flight: bool,
    resetting: Option<(Tp, Expectation)>,
    left: u32,
    not_before_ns: u64,
    shown: u64,
}

struct Position {
    tp: Tp,
    offset: i64,
    reset: bool,
}

impl Consumer {
    /// A consumer that picks its topic when one is there.
    pub fn new(style: Style) -> Consumer {
        Consumer {
            left: style.fetches,
            style,
            topic: None,
            positions: Vec::new(),
            session: (0, 0),
            in_session: BTreeMap::new(),
            asked: Vec::new(),
            in_flight: false,
            resetting: None,
            not_before_ns: 0,
            shown: 0,
        }
    }

    fn choose_topic(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.topic.is_some_and(|ix| !cx.topics.is_live(ix)) {
            self.topic = None;
        }
        if self.topic.is_none() {
            let live = cx.topics.live();
            let usable: Vec<TopicIx> =
                live.into_iter().filter(|ix| self.style.version < 13 || !cx.topics.get(*ix).id.is_zero()).collect();
            if usable.is_empty() {
                return false;
            }
            self.topic = Some(*cx.rng.pick(&usable));
            self.positions.clear();
            self.drop_session();
        }
        let Some(ix) = self.topic else { return false };
        for partition in self.positions.len() as i32..cx.topics.get(ix).partitions {
            self.positions.push(Position { tp: Tp { topic: ix, partition }, offset: 0, reset: false });
        }
        true
    }

    fn drop_session(&mut self) {
        self.session = (0, 0);
        self.in_session.clear();
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) -> bool {
        self.asked = self
            .positions
            .iter()
            .map(|p| Want { tp: p.tp, offset: p.offset, expected: cx.oracle.expect(p.tp) })
            .collect();
        let incremental = self.style.session && self.session.0 != 0;
        let in_session = &self.in_session;
        let named: Vec<Want> = self
            .asked
            .iter()
            .filter(|want| !incremental || in_session.get(&want.tp.partition) != Some(&want.offset))
            .copied()
            .collect();
        let session = if self.style.session { self.session } else { (0, -1) };
        let (api, version, body) = request(cx, self.style.version, &named, &self.style.limits, session);
        if !cx.send(api, version, 0, body) {
            return false;
        }
        for want in named {
            self.in_session.insert(want.tp.partition, want.offset);
        }
        true
    }

    /// Checks that the answer as a whole keeps the limits, and that it is not empty where it must not be.
    fn judge_whole(&mut self, cx: &mut Cx<'_>, response: &FetchResponse<'_>) {
        let limits = self.style.limits;
        let sizes = response.responses.iter().flat_map(|t| &t.partitions).map(|p| batch_sizes(&p.records));
        let sizes: Vec<Vec<usize>> = sizes.filter(|sizes| !sizes.is_empty()).collect();
        let total: usize = sizes.iter().flatten().sum();
        let batches: usize = sizes.iter().map(Vec::len).sum();
        if total > limits.max_bytes as usize && batches > 1 {
            cx.oracle.fail(format!("Fetch: {total} bytes in {batches} batches, at most {} asked", limits.max_bytes));
        }
        for partition in &sizes {
            // A single batch may be larger, so that every partition can be read to its end.
            let bytes: usize = partition.iter().sum();
            if bytes > limits.partition_max_bytes as usize && partition.len() > 1 {
                let asked = limits.partition_max_bytes;
                cx.oracle.fail(format!("Fetch: {bytes} bytes of a partition, at most {asked} asked"));
            }
        }
        let error = response.responses.iter().flat_map(|t| &t.partitions).any(|p| p.error_code != 0);
        if total == 0 && !error {
            let there = |w: &&Want| {
                let lost = cx.oracle.has_lost_since(w.tp, &w.expected) || cx.oracle.may_end_in_a_gap(w.tp);
                w.expected.high_watermark > w.offset && !lost
            };
            if let Some(want) = self.asked.iter().find(there) {
                let (tp, offset, end) = (want.tp, want.offset, want.expected.high_watermark);
                cx.oracle.fail(format!("{tp}: nothing fetched from {offset}, although {end} is the high watermark"));
            }
        }
    }
}

impl Actor for Consumer {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if cx.winding_down {
            self.left = 0;
        }
        if self.in_flight || self.is_done() {
            return None;
        }
        let now_ns = cx.world.now_ns();
        if now_ns < self.not_before_ns {
            return Some(self.not_before_ns - now_ns);
        }
        if !self.choose_topic(cx) {
            return Some(20_000_000);
        }
        if cx.rng.percent(self.style.hang_up_percent) {
            let requests = cx.hang_up();
            self.lost(cx, requests);
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        if let Some(position) = self.positions.iter().find(|p| p.reset) {
            let tp = position.tp;
            let expected = cx.oracle.expect(tp);
            let (api, version, body) = list_offsets::request(cx, tp, EARLIEST);
            self.in_flight = cx.send(api, version, 0, body);
            self.resetting = Some((tp, expected));
            return Some(5_000_000);
        }
        self.left = self.left.saturating_sub(1);
        if cx.rng.percent(self.style.seek_percent) && !self.positions.is_empty() {
            let which = cx.rng.index(self.positions.len());
            let tp = self.positions[which].tp;
            let (low, high) = (cx.oracle.log_start_allowed(tp), cx.oracle.known_high_watermark(tp));
            if low < high {
                self.positions[which].offset = cx.rng.range(low as u64, high as u64) as i64;
            }
        }
        self.in_flight = self.fetch(cx);
        if self.in_flight { None } else { Some(5_000_000) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.in_flight = false;
        self.not_before_ns = cx.world.now_ns() + cx.rng.below(self.style.pause_ns + 1);
        let version = request.version;
        if request.api == ApiKey::ListOffsets {
            let Some((tp, expected)) = self.resetting.take() else { return };
            match list_offsets::judge(cx, tp, EARLIEST, &expected, version, body) {
                Answer::Offset(offset) => {
                    if let Some(position) = self.positions.get_mut(tp.partition as usize) {
                        position.offset = offset.max(0);
                        position.reset = false;
                    }
                }
                Answer::Again => self.not_before_ns += 20_000_000,
                // It may refuse for good: the other partitions are read on.
                Answer::Refused => {
                    if let Some(position) = self.positions.get_mut(tp.partition as usize) {
                        position.reset = false;
                    }
                    self.not_before_ns += 20_000_000;
                }
                Answer::Over => self.topic = None,
            }
            return;
        }
        let Some(response) = decode::<FetchResponse>(cx, "Fetch", body, version) else { return };
        match error_code(response.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND | ErrorCode::INVALID_FETCH_SESSION_EPOCH => {
                return self.drop_session();
            }
            ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR | ErrorCode::UNKNOWN_TOPIC_ID => {
                self.drop_session();
                self.not_before_ns += 5_000_000;
                return;
            }
            error => return cx.oracle.fail(format!("Fetch of client {}: {}", cx.me, error.name())),
        }
        if self.style.session {
            if response.session_id == 0 {
                self.drop_session();
            } else {
                let epoch = if self.session.1 == i32::MAX { 1 } else { self.session.1 + 1 };
                self.session = (response.session_id, epoch);
            }
        }
        self.judge_whole(cx, &response);
        let Some(ix) = self.topic else { return };
        for topic in &response.responses {
            if cx.topics.find(&topic.topic, topic.topic_id).is_none_or(|t| t.ix != ix) {
                cx.oracle.fail(format!("Fetch: answered with topic {} {}, not asked", topic.topic, topic.topic_id));
                continue;
            }
            for data in &topic.partitions {
                let Some(want) = self.asked.iter().find(|w| w.tp.partition == data.partition_index).copied() else {
                    let index = data.partition_index;
                    cx.oracle.fail(format!("Fetch: answered with partition {index}, not asked"));
                    continue;
                };
                let taken = judge(cx, &want, data);
                let position = &mut self.positions[want.tp.partition as usize];
                match taken {
                    Taken::Next(offset) => {
                        self.shown += (offset - want.offset) as u64;
                        position.offset = offset;
                    }
                    Taken::OutOfRange => position.reset = true,
                    Taken::Again | Taken::Refused => self.not_before_ns += 10_000_000,
                    Taken::Gone => self.not_before_ns += 5_000_000,
                }
            }
        }
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.in_flight = false;
        self.resetting = None;
        self.drop_session();
    }

    fn is_done(&self) -> bool {
        self.left == 0 && !self.in_flight
    }

    fn describe(&self) -> String {
        format!(
            "consumer of {:?} ({:?}), {} records shown, {} fetches to go",
            self.topic, self.style, self.shown, self.left
        )
    }
}

/// A fetch of `wants`, all of one topic, with `session` = (id, epoch).
pub fn request(
    cx: &mut Cx<'_>,
    version: i16,
    wants: &[Want],
    limits: &Limits,
    session: (i32, i32),
) -> (ApiKey, i16, Bytes) {
    let by_id = version >= 13;
    let topics = wants.first().map(|first| {
        let topic = cx.topics.get(first.tp.topic);
        FetchTopic {
            topic: if by_id { Cow::Borrowed("") } else { Cow::Borrowed(topic.name.as_str()) },
            topic_id: if by_id { topic.id } else { TopicId::ZERO },
            partitions: wants
                .iter()
                .map(|want| FetchPartition {
                    partition: want.tp.partition,
                    current_leader_epoch: -1,
                    fetch_offset: want.offset,
                    partition_max_bytes: limits.partition_max_bytes,
                    ..Default::default()
                })
                .collect(),
        }
    });
    let request = FetchRequest {
        max_wait_ms: limits.max_wait_ms,
        min_bytes: limits.min_bytes,
        max_bytes: limits.max_bytes,
        isolation_level: i8::from(limits.read_committed),
        session_id: session.0,
        session_epoch: session.1,
        topics: topics.into_iter().collect(),
        forgotten_topics_data: Vec::<ForgottenTopic<'_>>::new(),
        ..Default::default()
    };
    (ApiKey::Fetch, version, encode(&request, version))
}

/// Judges one partition's part of an answer, to the last byte.
pub fn judge(cx: &mut Cx<'_>, want: &Want, data: &PartitionData<'_>) -> Taken {
    let tp = want.tp;
    cx.oracle.shown_last.clear();
    let live = cx.topics.is_live(tp.topic);
    match cx.judge(data.error_code, &format!("{tp}: Fetch from {}", want.offset), live) {
        Verdict::Done => {}
        Verdict::Retry => return Taken::Again,
        Verdict::Refused => return Taken::Refused,
        Verdict::Gone => return Taken::Gone,
        Verdict::Other(ErrorCode::OFFSET_OUT_OF_RANGE) => {
            cx.oracle.out_of_range(tp, &want.expected, want.offset);
            return Taken::OutOfRange;
        }
        Verdict::Other(error) => {
            cx.oracle.fail(format!("{tp}: Fetch from {}: {}", want.offset, error.name()));
            return Taken::Gone;
        }
    }
    cx.oracle.high_watermark(tp, &want.expected, data.high_watermark);
    if data.log_start_offset >= 0 {
        cx.oracle.log_start(tp, &want.expected, data.log_start_offset);
    }
    let (stable, high) = (data.last_stable_offset, data.high_watermark);
    if stable > high || (stable >= 0 && stable != high && cx.oracle.txns.is_empty()) {
        cx.oracle.fail(format!("{tp}: last stable offset {stable} with a high watermark of {high}"));
    }
    match judge_records(cx, want, data) {
        Ok(next) => Taken::Next(next),
        Err(text) => {
            cx.oracle.fail(format!("{tp}: Fetch from {}: {text}", want.offset));
            Taken::Gone
        }
    }
}

/// Checks batches and records; gives the offset after the last.
fn judge_records(cx: &mut Cx<'_>, want: &Want, data: &PartitionData<'_>) -> Result<i64, String> {
    let Some(bytes) = record_bytes(&data.records) else { return Ok(want.offset) };
    let mut rest = bytes;
    let mut next: Option<i64> = None;
    let mut scratch = Vec::new();
    let compacted = cx.oracle.is_compacted(want.tp);
    while !rest.is_empty() {
        let judged = match BatchHeader::decode(rest) {
            // Of a compacted batch records may be missing, up to all of them.
            Ok(header) if compacted && header.crc_holds(rest) => Ok(header),
            _ => batch::validate_prefix(rest, BATCH_BYTES_MAX),
        };
        let info = judged.map_err(|error| format!("a bad batch was served: {error} ({} bytes left)", rest.len()))?;
        let (this, after) = rest.split_at(info.total_bytes());
        rest = after;
        let (base, last) = (info.base_offset, info.last_offset());
        match next {
            None if last < want.offset || (base > want.offset && !compacted) => {
                return Err(format!("the first batch has offsets {base} to {last}"));
            }
            Some(next) if base < next || (base > next && !compacted) => {
                return Err(format!("after offset {} comes {base}", next - 1));
            }
            _ => {}
        }
        if last >= data.high_watermark {
            return Err(format!("offset {last} is shown, the high watermark is {}", data.high_watermark));
        }
        let (now_ns, tp) = (cx.world.now_ns(), want.tp);
        cx.world.trace.event(now_ns, 23, &[base as u64, last as u64], || {
            let what = match (info.is_control(), info.is_transactional()) {
                (true, _) => ", an end",
                (false, true) => ", in a transaction",
                _ => "",
            };
            let (id, epoch) = (info.producer_id, info.producer_epoch);
            format!("{tp}: offsets {base} to {last} of producer {id} epoch {epoch}{what} are shown")
        });
        if info.is_control() {
            // The end of a transaction: no record of anybody.
            next = Some(last + 1);
            continue;
        }
        let mut offset = base;
        let mut shown = Vec::new();
        for record in batch::records(this, &mut scratch).map_err(|error| format!("batch at {base}: {error}"))? {
            let record = record.map_err(|error| format!("batch at {base}: {error}"))?;
            if record.offset < offset || record.offset > last || (record.offset > offset && !compacted) {
                return Err(format!("batch at {base} has offset {} where {offset} is next", record.offset));
            }
            offset = record.offset + 1;
            shown.push(record.offset);
            let headers: Vec<(String, Option<Vec<u8>>)> =
                record.headers.iter().map(|h| (h.key.to_string(), h.value.map(<[u8]>::to_vec))).collect();
            let (timestamp_ms, key, value) = (record.timestamp, record.key, record.value);
            cx.oracle.seen(want.tp, Seen { offset: record.offset, timestamp_ms, key, value, headers: &headers });
        }
        if offset != last + 1 && !compacted {
            return Err(format!("batch at {base} says it ends at {last}, its records at {}", offset - 1));
        }
        if compacted {
            cx.oracle.shown_last.extend(shown);
        }
        next = Some(last + 1);
    }
    Ok(next.unwrap_or(want.offset))
}

fn record_bytes<'a>(records: &'a Records<'a>) -> Option<&'a [u8]> {
    match records {
        Records::Borrowed(bytes) => Some(bytes),
        _ => None,
    }
}

/// Sizes of the batches in a partition's part of an answer.
fn batch_sizes(records: &Records<'_>) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut rest = record_bytes(records).unwrap_or(&[]);
    while let Some(length) = rest.get(8..12) {
        let size = 12 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        sizes.push(size.min(rest.len()));
        rest = rest.get(size..).unwrap_or(&[]);
    }
    sizes
}
