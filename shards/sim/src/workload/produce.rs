//! Produce: the producer, with every way of producing: acks 0, 1 and all; idempotent or not; up to five batches on the way; the same sequences
//! again after a broken connection or a crash, until each batch has a certain answer.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::errors::ErrorCode;
use floe_wire::ids::TopicId;
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use floe_wire::primitives::Records;

use super::api::ApiKey;
use super::{Actor, Cx, Request, Verdict, decode, encode};
use crate::content::{self, RecordId};
use crate::oracle::{Sent, TopicIx, Tp};

/// Requests on the way at once, and batches of one partition (Kafka's bound for idempotent producers).
const IN_FLIGHT_MAX: usize = 5;
/// Bytes of values at which a batch takes no further record; with the largest record it still fits twice into the smallest journal file.
const BATCH_BYTES: usize = 16_000;
/// Refusals after which a producer leaves a partition alone.
const REFUSALS_MAX: u32 = 200;
/// The tag of InitProducerId; produce requests count from 1.
const INIT: u64 = 0;

/// How a producer produces.
#[derive(Clone, Debug)]
pub struct Style {
    /// 0, 1 or -1 (all).
    pub acks: i16,
    /// Sequences, so that each record is there exactly once. Needs acks -1.
    pub idempotent: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// The version of Produce.
    pub version: i16,
    /// Batches to make in all.
    pub batches: u32,
    /// Records per batch at most.
    pub records_max: u64,
    /// Longest pause between two bursts in nanoseconds.
    pub pause_ns: u64,
    /// Percent of wake-ups at which the client goes away and comes back.
    pub hang_up_percent: u32,
}

/// A producer of one topic.
pub struct Producer {
    style: Style,
    topic: Option<TopicIx>,
    parts: Vec<Part>,
    /// Producer id and epoch.
    identity: Option<(i64, i16)>,
    initializing: bool,
    /// Grows with each new identity: the order of records holds within one.
    identities: u64,
    left: u32,
    next_tag: u64,
    requests_in_flight: usize,
    not_before_ns: u64,
    acked_batches: u32,
    /// Batches given up because their outcome will never be known.
    abandoned: u32,
}

struct Part {
    tp: Tp,
    next_sequence: i32,
    /// Place of the next record in this producer's order.
    next_place: u64,
    /// Batches without a certain answer, oldest first.
    open: VecDeque<Batch>,
    /// Refused: not before this.
    not_before_ns: u64,
    /// Refusals by the storage, one after the other, each with an excuse.
    refusals: u32,
}

impl Part {
    /// It has refused too often: its files may be damaged for good.
    fn is_given_up(&self) -> bool {
        self.refusals >= REFUSALS_MAX
    }
}

struct Batch {
    base_sequence: i32,
    records: Vec<RecordId>,
    bytes: Bytes,
    /// The request it is on the way in.
    tag: Option<u64>,
}

impl Producer {
    /// A producer that picks its topic when one is there.
    pub fn new(style: Style) -> Producer {
        Producer {
            left: style.batches,
            style,
            topic: None,
            parts: Vec::new(),
            identity: None,
            initializing: false,
            identities: 0,
            next_tag: INIT + 1,
            requests_in_flight: 0,
            not_before_ns: 0,
            acked_batches: 0,
            abandoned: 0,
        }
    }

    /// Picks a topic when there is none (any more), and notices new partitions.
    fn choose_topic(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.topic.is_some_and(|ix| !cx.topics.is_live(ix)) {
            self.topic = None;
            self.abandon();
        }
        if self.topic.is_none() {
            let live = cx.topics.live();
            let usable: Vec<TopicIx> =
                live.into_iter().filter(|ix| self.style.version < 13 || !cx.topics.get(*ix).id.is_zero()).collect();
            if usable.is_empty() {
                return false;
            }
            self.topic = Some(*cx.rng.pick(&usable));
            self.parts.clear();
        }
        let Some(ix) = self.topic else { return false };
        for partition in self.parts.len() as i32..cx.topics.get(ix).partitions {
            self.parts.push(Part {
                tp: Tp { topic: ix, partition },
                next_sequence: 0,
                next_place: 0,
                open: VecDeque::new(),
                not_before_ns: 0,
                refusals: 0,
            });
        }
        true
    }

    /// Nobody will ever know what became of the open batches: they are not sent again.
    fn abandon(&mut self) {
        for part in &mut self.parts {
            self.abandoned += part.open.len() as u32;
            part.open.clear();
        }
    }

    /// Starts over with a new producer id.
    fn new_identity(&mut self) {
        self.abandon();
        self.identity = None;
        self.identities += 1;
        for part in &mut self.parts {
            part.next_sequence = 0;
        }
    }

    /// Makes the next batch of a partition.
    fn make_batch(&mut self, cx: &mut Cx<'_>, part: usize) {
        let n = cx.rng.log_range(1, self.style.records_max);
        let tp = self.parts[part].tp;
        // Acks 0 is never sent again, so it is at most once; its order holds on one connection only.
        let link = cx.connection().map_or(0, |link| link.0);
        let order_key = match (self.style.idempotent, self.style.acks) {
            (true, _) => Some(u64::from(cx.me) << 40 | self.identities),
            (false, 0) => Some(u64::from(cx.me) << 40 | 1 << 39 | link),
            _ => None,
        };
        let once = self.style.idempotent || self.style.acks == 0;
        let keyed = cx.oracle.is_compacted(tp);
        let now_ms = cx.world.wall_ms();
        let mut records = Vec::new();
        let mut contents = Vec::new();
        let mut bytes = 0;
        while (records.len() as u64) < n && bytes < BATCH_BYTES {
            let jitter = if cx.rng.percent(10) { cx.rng.below(2_000) as i64 - 1_000 } else { 0 };
            let timestamp_ms = now_ms + jitter;
            let place = self.parts[part].next_place;
            self.parts[part].next_place += 1;
            let order = order_key.map(|key| (key, place));
            let record = cx.oracle.sending(Sent { tp, timestamp_ms, keyed, once, order });
            records.push(record);
            let made = content::content(record);
            bytes += made.value.as_ref().map_or(0, Vec::len);
            contents.push((timestamp_ms, made));
        }
        let n = records.len();
        let base_sequence = self.parts[part].next_sequence;
        let mut builder = BatchBuilder::new(self.style.codec);
        if let (true, Some((id, epoch))) = (self.style.idempotent, self.identity) {
            builder.producer(id, epoch, base_sequence);
            self.parts[part].next_sequence = base_sequence.wrapping_add(n as i32) & i32::MAX;
        }
        for (timestamp_ms, made) in &contents {
            let headers: Vec<(&str, Option<&[u8]>)> =
                made.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            builder.push(BatchRecord {
                timestamp: *timestamp_ms,
                key: made.key.as_deref(),
                value: made.value.as_deref(),
                headers: &headers,
            });
        }
        let bytes = builder.finish();
        self.parts[part].open.push_back(Batch { base_sequence, records, bytes, tag: None });
    }

    /// Sends one request with the next unsent batch of each of `parts`.
    fn send(&mut self, cx: &mut Cx<'_>, parts: &[usize]) -> bool {
        let Some(ix) = self.topic else { return false };
        let topic = cx.topics.get(ix);
        let version = self.style.version;
        let tag = self.next_tag;
        let mut partition_data = Vec::new();
        let mut chosen = Vec::new();
        for &p in parts {
            let part = &self.parts[p];
            if let Some((b, batch)) = part.open.iter().enumerate().find(|(_, batch)| batch.tag.is_none()) {
                partition_data
                    .push(PartitionProduceData { index: part.tp.partition, records: Records::Borrowed(&batch.bytes) });
                chosen.push((p, b));
            }
        }
        if chosen.is_empty() {
            return false;
        }
        let by_id = version >= 13;
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.style.acks,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: if by_id { Cow::Borrowed("") } else { Cow::Borrowed(topic.name.as_str()) },
                topic_id: if by_id { topic.id } else { TopicId::ZERO },
                partition_data,
            }],
        };
        let body = encode(&request, version);
        if self.style.acks == 0 {
            if cx.send_unanswered(ApiKey::Produce, version, body) {
                for (p, _) in chosen {
                    self.parts[p].open.pop_front();
                }
                return true;
            }
            return false;
        }
        if !cx.send(ApiKey::Produce, version, tag, body) {
            return false;
        }
        self.next_tag += 1;
        self.requests_in_flight += 1;
        for (p, b) in chosen {
            self.parts[p].open[b].tag = Some(tag);
        }
        true
    }

    /// Whether the next unsent batch of this partition may go out now.
    fn may_send(&self, part: &Part, now_ns: u64) -> bool {
        if now_ns < part.not_before_ns {
            return false;
        }
        let Some(unsent) = part.open.iter().position(|batch| batch.tag.is_none()) else { return false };
        // What failed in the middle goes again only when everything behind it has been refused as well: sequences must arrive in order.
        !self.style.idempotent || part.open.iter().skip(unsent).all(|batch| batch.tag.is_none())
    }

    fn answered(&mut self, cx: &mut Cx<'_>, tag: u64, partition: i32, result: &Outcome) {
        let now_ns = cx.world.now_ns();
        let Some(part) = self.parts.get_mut(partition as usize) else {
            return cx.oracle.fail(format!("Produce: an answer for partition {partition}, which was not asked"));
        };
        let tp = part.tp;
        let Some(at) = part.open.iter().position(|batch| batch.tag == Some(tag)) else {
            return; // Abandoned meanwhile.
        };
        let what = format!("{tp}: Produce of client {}", cx.me);
        let live = cx.topics.is_live(tp.topic);
        match cx.judge(result.error_code, &what, live) {
            Verdict::Done => {
                let batch = part.open.remove(at).expect("found");
                let append_time_ms = (result.append_time_ms >= 0).then_some(result.append_time_ms);
                cx.world.trace.event(now_ns, 22, &[result.base_offset as u64], || {
                    let (first, n) = (batch.records[0].0, batch.records.len());
                    format!("{tp}: {n} records from {first} on are acknowledged from offset {} on", result.base_offset)
                });
                cx.oracle.acked(tp, result.base_offset, &batch.records, append_time_ms);
                self.acked_batches += 1;
                part.refusals = 0;
            }
            verdict @ (Verdict::Retry | Verdict::Refused) => {
                part.open[at].tag = None;
                part.refusals += u32::from(verdict == Verdict::Refused);
                if part.is_given_up() {
                    self.abandoned += part.open.len() as u32;
                    part.open.clear();
                }
                part.not_before_ns = now_ns + cx.rng.range(1_000_000, 50_000_000);
            }
            Verdict::Gone => {
                part.open[at].tag = None;
                part.not_before_ns = now_ns + 5_000_000;
            }
            Verdict::Other(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) if at > 0 => {
                // The one before it failed; both go again.
                part.open[at].tag = None;
            }
            Verdict::Other(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID)
                if cx.oracle.may_have_lost(tp) =>
            {
                self.new_identity();
            }
            Verdict::Other(error) => {
                let (sequence, n) = (part.open[at].base_sequence, part.open[at].records.len());
                cx.oracle.fail(format!(
                    "{what}: {} for {n} records from sequence {sequence}, {at} batches before it open ({:?})",
                    error.name(),
                    self.identity,
                ));
                self.new_identity();
            }
        }
    }
}

/// One partition's part of an answer.
struct Outcome {
    error_code: i16,
    base_offset: i64,
    append_time_ms: i64,
}

impl Actor for Producer {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.is_done() {
            return None;
        }
        if cx.winding_down {
            self.left = 0;
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
        if self.style.idempotent && self.identity.is_none() {
            if !self.initializing {
                let version = cx.rng.range(0, 5) as i16;
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: 60_000,
                    producer_id: -1,
                    producer_epoch: -1,
                };
                let body = encode(&request, version);
                self.initializing = cx.send(ApiKey::InitProducerId, version, INIT, body);
            }
            return Some(50_000_000);
        }
        let now_ns = cx.world.now_ns();
        if now_ns >= self.not_before_ns && self.left > 0 {
            for part in 0..self.parts.len() {
                let all_sent = self.parts[part].open.iter().all(|batch| batch.tag.is_some());
                let room = self.parts[part].open.len() < IN_FLIGHT_MAX;
                if self.left > 0 && room && all_sent && cx.rng.percent(50) {
                    self.left -= 1;
                    if !self.parts[part].is_given_up() {
                        self.make_batch(cx, part);
                    }
                }
            }
            self.not_before_ns = now_ns + cx.rng.below(self.style.pause_ns + 1);
        }
        while self.requests_in_flight < IN_FLIGHT_MAX {
            let mut ready: Vec<usize> =
                (0..self.parts.len()).filter(|p| self.may_send(&self.parts[*p], now_ns)).collect();
            if cx.rng.percent(60) {
                ready.truncate(1);
            }
            if ready.is_empty() || !self.send(cx, &ready) {
                break;
            }
        }
        Some(cx.rng.range(200_000, self.style.pause_ns.max(1_000_000)))
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        let version = request.version;
        if request.api == ApiKey::InitProducerId {
            self.initializing = false;
            let decoded = decode::<InitProducerIdResponse>(cx, "InitProducerId", body, version);
            let Some(response) = decoded else { return };
            match cx.judge(response.error_code, "InitProducerId", false) {
                Verdict::Done => {
                    let identity = (response.producer_id, response.producer_epoch);
                    cx.topics.take_producer_id(identity, cx.oracle);
                    self.identity = Some(identity);
                }
                Verdict::Retry | Verdict::Refused => {}
                other => cx.oracle.fail(format!("InitProducerId: {other:?}")),
            }
            return;
        }
        self.requests_in_flight -= 1;
        let Some(response) = decode::<ProduceResponse>(cx, "Produce", body, version) else { return };
        let Some(ix) = self.topic else { return };
        for topic in &response.responses {
            if cx.topics.find(&topic.name, topic.topic_id).is_none_or(|t| t.ix != ix) {
                continue; // The answer of a topic left behind.
            }
            for partition in &topic.partition_responses {
                let outcome = Outcome {
                    error_code: partition.error_code,
                    base_offset: partition.base_offset,
                    append_time_ms: partition.log_append_time_ms,
                };
                self.answered(cx, request.tag, partition.index, &outcome);
            }
        }
        let forgotten = self.parts.iter().find(|part| part.open.iter().any(|batch| batch.tag == Some(request.tag)));
        if let Some(part) = forgotten {
            cx.oracle.fail(format!("{}: Produce was answered without this partition", part.tp));
        }
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.requests_in_flight = 0;
        self.initializing = false;
        for batch in self.parts.iter_mut().flat_map(|part| &mut part.open) {
            batch.tag = None;
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.parts.iter().all(|part| part.open.is_empty())
    }

    fn describe(&self) -> String {
        let open: usize = self.parts.iter().map(|part| part.open.len()).sum();
        format!(
            "producer of {:?} ({:?}), {} batches acknowledged, {open} open, {} abandoned, {} to go",
            self.topic, self.style, self.acked_batches, self.abandoned, self.left
        )
    }
}
