//! What a transactional producer has sent of its transaction: batches by partition until each has a certain answer, and where records came to stand.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::ids::TopicId;
use floe_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_wire::primitives::Records;

use super::Style;
use crate::content::{self, RecordId};
use crate::oracle::txns::Part;
use crate::oracle::{Sent, Tp};
use crate::workload::{Cx, encode};

/// Batches of one partition on the way at once (Kafka's bound for idempotent producers).
const IN_FLIGHT_MAX: usize = 5;
/// Bytes of values at which a batch takes no further record; with the largest record it still fits twice into the smallest journal file.
const BATCH_BYTES: usize = 16_000;

/// A partition that a producer has written to.
#[derive(Debug, Default)]
struct Lane {
    next_sequence: i32,
    /// Place of the next record in this producer's order.
    next_place: u64,
    /// Batches without a certain answer, oldest first.
    open: VecDeque<Batch>,
    /// Refused: not before this.
    not_before_ns: u64,
}

#[derive(Debug)]
struct Batch {
    records: Vec<RecordId>,
    bytes: Bytes,
    /// The request it is on the way in.
    tag: Option<u64>,
}

/// Where a batch stands that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It was the oldest without an answer.
    First,
    /// One before it has no answer.
    Behind,
}

/// All of a producer's.
#[derive(Debug, Default)]
pub struct Batches {
    lanes: BTreeMap<Tp, Lane>,
    /// Records of the transaction, in the order in which they were made.
    parts: Vec<Part>,
    /// Grows with each identity: the order of records holds within one.
    identities: u64,
    /// Batches of the transaction that were acknowledged.
    pub acked: u32,
    /// Something was given up without an answer: it may still come to stand.
    pub unresolved: bool,
}

impl Batches {
    /// The producer has another identity: sequences begin anew, what was open is not sent again.
    pub fn renew(&mut self) {
        self.give_up();
        self.identities += 1;
        self.unresolved = false;
        self.lanes.values_mut().for_each(|lane| lane.next_sequence = 0);
    }

    /// What is open is not sent again.
    pub fn give_up(&mut self) {
        for lane in self.lanes.values_mut() {
            self.unresolved |= !lane.open.is_empty();
            lane.open.clear();
        }
    }

    /// The transaction's records. There are none of it afterwards.
    pub fn take_parts(&mut self) -> Vec<Part> {
        self.acked = 0;
        std::mem::take(&mut self.parts)
    }

    /// The transaction's records.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether every batch has a certain answer.
    pub fn all_answered(&self) -> bool {
        self.lanes.values().all(|lane| lane.open.is_empty())
    }

    /// Makes another batch of up to so many records for a partition, if there is room. Gives how many, which are the last of [`Batches::parts`].
    pub fn make(&mut self, cx: &mut Cx<'_>, style: &Style, identity: (i64, i16), tp: Tp, records_max: u64) -> usize {
        let lane = self.lanes.entry(tp).or_default();
        if lane.open.len() >= IN_FLIGHT_MAX {
            return 0;
        }
        let now_ms = cx.world.wall_ms();
        let order_key = u64::from(cx.me) << 40 | self.identities;
        let mut builder = BatchBuilder::new(Codec::None);
        builder.producer(identity.0, identity.1, lane.next_sequence);
        builder.transactional();
        let (mut records, mut bytes) = (Vec::new(), 0);
        for _ in 0..cx.rng.log_range(1, style.records_max.min(records_max)) {
            let order = Some((order_key, lane.next_place));
            lane.next_place += 1;
            let record = cx.oracle.sending(Sent { tp, timestamp_ms: now_ms, keyed: false, once: true, order });
            cx.oracle.txns.sending(record);
            let made = content::content(record);
            let headers: Vec<(&str, Option<&[u8]>)> =
                made.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let (key, value) = (made.key.as_deref(), made.value.as_deref());
            builder.push(BatchRecord { timestamp: now_ms, key, value, headers: &headers });
            records.push(record);
            self.parts.push((tp, record, None));
            bytes += made.value.as_ref().map_or(0, Vec::len);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        lane.next_sequence += records.len() as i32;
        let made = records.len();
        lane.open.push_back(Batch { records, bytes: builder.finish(), tag: None });
        made
    }

    /// Partitions whose next batch may go out now: what failed in the middle goes again only when everything behind it has been refused as well.
    pub fn ready(&self, now_ns: u64) -> Vec<Tp> {
        let may = |lane: &Lane| {
            let unsent = lane.open.iter().position(|batch| batch.tag.is_none());
            now_ns >= lane.not_before_ns
                && unsent.is_some_and(|at| lane.open.iter().skip(at).all(|batch| batch.tag.is_none()))
        };
        self.lanes.iter().filter(|(_, lane)| may(lane)).map(|(tp, _)| *tp).collect()
    }

    /// A request with the next unsent batch of each of these partitions. Also whether all of them are the oldest of their partitions: then it may come
    /// a second time at any moment, as it can pass nothing.
    pub fn request(&mut self, cx: &Cx<'_>, style: &Style, tps: &[Tp], tag: u64) -> (Bytes, bool) {
        let by_id = style.produce_version >= 13;
        let mut oldest = true;
        let mut topics: BTreeMap<_, Vec<(i32, Bytes)>> = BTreeMap::new();
        for tp in tps {
            let lane = self.lanes.get_mut(tp).expect("it is ready");
            let at = lane.open.iter().position(|batch| batch.tag.is_none()).expect("it is ready");
            lane.open[at].tag = Some(tag);
            oldest &= at == 0;
            topics.entry(tp.topic).or_default().push((tp.partition, lane.open[at].bytes.clone()));
        }
        let data = topics.iter().map(|(ix, partitions)| {
            let topic = cx.topics.get(*ix);
            let data = partitions.iter().map(|(index, bytes)| (*index, Records::Borrowed(bytes)));
            TopicProduceData {
                name: if by_id { Cow::Borrowed("") } else { Cow::Borrowed(topic.name.as_str()) },
                topic_id: if by_id { topic.id } else { TopicId::ZERO },
                partition_data: data.map(|(index, records)| PartitionProduceData { index, records }).collect(),
            }
        });
        let request = ProduceRequest {
            transactional_id: Some(Cow::Borrowed(&style.id)),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: data.collect(),
        };
        (encode(&request, style.produce_version), oldest)
    }

    /// Where the batch stands that went to this partition with this request. `None`: it was given up.
    pub fn place(&self, tp: Tp, tag: u64) -> Option<Place> {
        let at = self.lanes.get(&tp)?.open.iter().position(|batch| batch.tag == Some(tag))?;
        Some(if at == 0 { Place::First } else { Place::Behind })
    }

    /// It is acknowledged: its records.
    pub fn acknowledge(&mut self, tp: Tp, tag: u64, base_offset: i64) -> Vec<RecordId> {
        let lane = self.lanes.get_mut(&tp).expect("it has a place");
        let at = lane.open.iter().position(|batch| batch.tag == Some(tag)).expect("it has a place");
        let records = lane.open.remove(at).expect("found").records;
        let offsets: BTreeMap<RecordId, i64> = records.iter().copied().zip(base_offset..).collect();
        for (_, record, offset) in &mut self.parts {
            *offset = offsets.get(record).copied().or(*offset);
        }
        self.acked += 1;
        records
    }

    /// It is to be sent again.
    pub fn again(&mut self, tp: Tp, tag: u64, not_before_ns: u64) {
        let Some(lane) = self.lanes.get_mut(&tp) else { return };
        lane.not_before_ns = not_before_ns;
        lane.open.iter_mut().filter(|batch| batch.tag == Some(tag)).for_each(|batch| batch.tag = None);
    }

    /// No request on the way will be answered.
    pub fn lost(&mut self) {
        self.lanes.values_mut().flat_map(|lane| &mut lane.open).for_each(|batch| batch.tag = None);
    }

    /// A partition that is still waited for in the answer to this request.
    pub fn unanswered(&self, tag: u64) -> Option<Tp> {
        let waits = |lane: &Lane| lane.open.iter().any(|batch| batch.tag == Some(tag));
        self.lanes.iter().find(|(_, lane)| waits(lane)).map(|(tp, _)| *tp)
    }
}
