//! The last look at transactions, when faults have healed and every timeout has passed: no coordinator has one that is open or ending, no partition a producer
//! with an open one, and the last stable offset is the high watermark everywhere.

use std::borrow::Cow;

use floe_wire::messages::describe_producers::{DescribeProducersRequest, DescribeProducersResponse, TopicRequest};
use floe_wire::messages::list_offsets::{
    LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use floe_wire::messages::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use floe_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse};

use crate::oracle::{TopicIx, Tp};
use crate::workload::api::ApiKey;
use crate::workload::footing::{Footing, Told, send};
use crate::workload::txns::copier::GROUP;
use crate::workload::{Actor, Cx, Request, decode};

/// States in which an id is at rest.
const AT_REST: [&str; 4] = ["Empty", "CompleteCommit", "CompleteAbort", "Dead"];

/// What it looks at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Coordinators,
    Producers(usize),
    /// The end that readers of everything have, then the end that readers of committed records have.
    Ends(usize),
    StableEnds(usize),
    /// The offsets of the copiers.
    Offsets,
    Done,
}

/// Who looks.
#[derive(Debug)]
pub struct Inspector {
    footing: Footing,
    stage: Stage,
    topics: Option<Vec<TopicIx>>,
    /// Of the topic at which it is.
    ends: Vec<(i32, i64)>,
}

impl Default for Inspector {
    fn default() -> Inspector {
        Inspector { footing: Footing::default(), stage: Stage::Coordinators, topics: None, ends: Vec::new() }
    }
}

impl Inspector {
    fn topic(&mut self, cx: &Cx<'_>, at: usize) -> Option<TopicIx> {
        self.topics.get_or_insert_with(|| cx.topics.live()).get(at).copied()
    }

    /// Something is open that should not be.
    fn hangs(&self, cx: &mut Cx<'_>, text: String) {
        if cx.oracle.txns.abandoned == 0 && !cx.refusals_excused {
            cx.oracle.fail(text);
        }
    }

    fn listed(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) {
        let what = "ListTransactions";
        let Some(response) = decode::<ListTransactionsResponse>(cx, what, body, version) else { return };
        match self.footing.told(cx, response.error_code, what) {
            Told::Fine => {}
            Told::Later => return,
            Told::Other(error) => return cx.oracle.fail(format!("{what}: {}", error.name())),
        }
        for one in &response.transaction_states {
            if !AT_REST.contains(&&*one.transaction_state) {
                let (id, state) = (&one.transactional_id, &one.transaction_state);
                self.hangs(cx, format!("transactional id {id} is {state} when everything should be at rest"));
            }
        }
        self.stage = Stage::Producers(0);
    }

    fn described(&mut self, cx: &mut Cx<'_>, at: usize, version: i16, body: &[u8]) {
        let what = "DescribeProducers";
        let Some(response) = decode::<DescribeProducersResponse>(cx, what, body, version) else { return };
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            match self.footing.told(cx, partition.error_code, what) {
                Told::Fine => {}
                Told::Later => return,
                Told::Other(_) if cx.refusals_excused => {}
                Told::Other(error) => cx.oracle.fail(format!("{what}: {}", error.name())),
            }
            for producer in partition.active_producers.iter().filter(|one| one.current_txn_start_offset >= 0) {
                let (index, id, start) =
                    (partition.partition_index, producer.producer_id, producer.current_txn_start_offset);
                self.hangs(cx, format!("{at}-{index}: producer {id} has a transaction open since offset {start}"));
            }
        }
        self.stage = Stage::Producers(at + 1);
    }

    fn offsets(&mut self, cx: &mut Cx<'_>, at: usize, version: i16, body: &[u8]) {
        let what = "ListOffsets";
        let Some(response) = decode::<ListOffsetsResponse>(cx, what, body, version) else { return };
        let mut ends = Vec::new();
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != 0 && !cx.refusals_excused {
                cx.oracle.fail(format!("{what} of committed records: error {}", partition.error_code));
            }
            ends.push((partition.partition_index, partition.offset));
        }
        if self.stage == Stage::Ends(at) {
            (self.ends, self.stage) = (ends, Stage::StableEnds(at));
            return;
        }
        if ends != self.ends {
            let (all, topic) = (std::mem::take(&mut self.ends), self.topic(cx, at));
            self.hangs(
                cx,
                format!("{topic:?} ends at {ends:?} for readers of committed records, at {all:?} for others"),
            );
        }
        self.stage = Stage::Ends(at + 1);
    }
}

impl Inspector {
    /// Where the copiers have come to.
    fn committed(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) {
        let what = "OffsetFetch";
        let Some(response) = decode::<OffsetFetchResponse>(cx, what, body, version) else { return };
        let source = cx.oracle.txns.copies.source;
        let parts = response.topics.iter().flat_map(|topic| &topic.partitions);
        let codes = parts.clone().map(|part| part.error_code);
        let code = codes.chain([response.error_code]).find(|code| *code != 0).unwrap_or(0);
        match self.footing.told(cx, code, what) {
            Told::Fine => {}
            Told::Later => return,
            // A transaction that holds offsets is open: when everything should be at rest.
            Told::Other(error) => self.hangs(cx, format!("{what} of the copiers: {}", error.name())),
        }
        for (part, topic) in parts.filter(|part| part.error_code == 0).zip(source.into_iter().cycle()) {
            let tp = Tp { topic, partition: part.partition_index };
            cx.oracle.txns.copies.stands(tp, (part.committed_offset >= 0).then_some(part.committed_offset));
        }
        self.stage = Stage::Done;
    }
}

impl Actor for Inspector {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.is_done() {
            return None;
        }
        if self.footing.gives_up() {
            self.stage = Stage::Done;
            return None;
        }
        if let Err(wait) = self.footing.ready(cx) {
            return wait;
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        match self.stage {
            Stage::Coordinators => {
                let version = cx.rng.range(0, 2) as i16;
                let request = ListTransactionsRequest::default();
                send(cx, &mut self.footing, ApiKey::ListTransactions, version, &request);
            }
            Stage::Producers(at) => match self.topic(cx, at) {
                None => self.stage = Stage::Ends(0),
                Some(ix) => {
                    let topic = cx.topics.get(ix);
                    let (name, partition_indexes) = (topic.name.clone(), (0..topic.partitions).collect());
                    let topics = vec![TopicRequest { name: Cow::Owned(name), partition_indexes }];
                    let request = DescribeProducersRequest { topics };
                    send(cx, &mut self.footing, ApiKey::DescribeProducers, 0, &request);
                }
            },
            Stage::Ends(at) | Stage::StableEnds(at) => match self.topic(cx, at) {
                None => self.stage = Stage::Offsets,
                Some(ix) => {
                    let topic = cx.topics.get(ix);
                    let one = |partition_index| ListOffsetsPartition {
                        partition_index,
                        current_leader_epoch: -1,
                        timestamp: LATEST,
                    };
                    let partitions = (0..topic.partitions).map(one).collect();
                    let request = ListOffsetsRequest {
                        replica_id: -1,
                        isolation_level: i8::from(matches!(self.stage, Stage::StableEnds(_))),
                        topics: vec![ListOffsetsTopic { name: Cow::Owned(topic.name.clone()), partitions }],
                        timeout_ms: 30_000,
                    };
                    send(cx, &mut self.footing, ApiKey::ListOffsets, 5, &request);
                }
            },
            Stage::Offsets => match cx.oracle.txns.copies.source.filter(|ix| cx.topics.is_live(*ix)) {
                None => self.stage = Stage::Done,
                Some(ix) => {
                    let topic = cx.topics.get(ix);
                    let (name, partition_indexes) = (topic.name.clone(), (0..topic.partitions).collect());
                    let topics = vec![OffsetFetchRequestTopic { name: Cow::Owned(name), partition_indexes }];
                    let request = OffsetFetchRequest {
                        group_id: Cow::Borrowed(GROUP),
                        topics: Some(topics),
                        require_stable: true,
                        ..OffsetFetchRequest::default()
                    };
                    send(cx, &mut self.footing, ApiKey::OffsetFetch, 7, &request);
                }
            },
            Stage::Done => {}
        }
        if self.footing.in_flight { None } else { Some(1_000_000) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.footing.in_flight = false;
        match self.stage {
            Stage::Coordinators => self.listed(cx, request.version, body),
            Stage::Producers(at) => self.described(cx, at, request.version, body),
            Stage::Ends(at) | Stage::StableEnds(at) => self.offsets(cx, at, request.version, body),
            Stage::Offsets => self.committed(cx, request.version, body),
            Stage::Done => {}
        }
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.footing.in_flight = false;
    }

    fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    fn describe(&self) -> String {
        format!("a last look at transactions, {:?}", self.stage)
    }
}
