//! Transactions as an operator sees them: which there are, what one holds, who has one open in a partition, and its end by force.

use std::borrow::Cow;

use floe_wire::errors::ErrorCode;
use floe_wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerState, TopicRequest,
};
use floe_wire::messages::describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use floe_wire::messages::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use floe_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use super::Cluster;
use super::connection::error_of;
use super::groups::Partitions;
use super::keys::ApiKey;
use crate::problem::{Outcome, Problem};

/// A transactional id in a list.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Listed {
    /// The transactional id.
    pub(in crate::cli) id: String,
    /// Its producer's id.
    pub(in crate::cli) producer_id: i64,
    /// Its state.
    pub(in crate::cli) state: String,
    /// Node id of its coordinator.
    pub(in crate::cli) coordinator: i32,
}

/// A transactional id with its transaction.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Described {
    /// Its state.
    pub(in crate::cli) state: String,
    /// Its producer's id.
    pub(in crate::cli) producer_id: i64,
    /// Its producer's epoch.
    pub(in crate::cli) producer_epoch: i16,
    /// In milliseconds.
    pub(in crate::cli) timeout_ms: i32,
    /// When the transaction began, in milliseconds since 1970; -1 is none.
    pub(in crate::cli) start_ms: i64,
    /// Node id of its coordinator.
    pub(in crate::cli) coordinator: i32,
    /// What it writes to.
    pub(in crate::cli) partitions: Partitions,
}

/// All transactional ids, by name: of a state, and open for longer than so many milliseconds, where that is given.
pub(in crate::cli) fn list(
    cluster: &mut Cluster,
    state: Option<&str>,
    longer_than_ms: Option<i64>,
) -> Outcome<Vec<Listed>> {
    let mut found = Vec::new();
    for node in nodes(cluster)? {
        let connection = cluster.broker(node)?;
        let oldest = i16::from(longer_than_ms.is_some());
        let version = connection.version(ApiKey::ListTransactions, oldest, 2)?;
        let request = ListTransactionsRequest {
            state_filters: state.map(Cow::Borrowed).into_iter().collect(),
            duration_filter: longer_than_ms.unwrap_or(-1),
            ..ListTransactionsRequest::default()
        };
        let answer = connection.ask(ApiKey::ListTransactions, version, &request)?;
        let response: ListTransactionsResponse = answer.decode()?;
        if response.error_code != 0 {
            return Err(answer.refused(response.error_code, None));
        }
        if let Some(unknown) = response.unknown_state_filters.first() {
            return Err(Problem::new(format!("there is no state `{unknown}`"))
                .next("states are Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort"));
        }
        found.extend(response.transaction_states.iter().map(|listed| Listed {
            id: listed.transactional_id.to_string(),
            producer_id: listed.producer_id,
            state: listed.transaction_state.to_string(),
            coordinator: node,
        }));
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// A transactional id; its coordinator is whichever broker says that it is.
pub(in crate::cli) fn describe(cluster: &mut Cluster, id: &str) -> Outcome<Described> {
    let mut last = None;
    for node in nodes(cluster)? {
        let connection = cluster.broker(node)?;
        let version = connection.version(ApiKey::DescribeTransactions, 0, 0)?;
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
        let answer = connection.ask(ApiKey::DescribeTransactions, version, &request)?;
        let response: DescribeTransactionsResponse = answer.decode()?;
        let Some(txn) = response.transaction_states.first() else {
            return Err(connection.nonsense(ApiKey::DescribeTransactions, "it leaves out the id that was asked for"));
        };
        match error_of(txn.error_code) {
            ErrorCode::NONE => {
                let topics = txn.topics.iter();
                return Ok(Described {
                    state: txn.transaction_state.to_string(),
                    producer_id: txn.producer_id,
                    producer_epoch: txn.producer_epoch,
                    timeout_ms: txn.transaction_timeout_ms,
                    start_ms: txn.transaction_start_time_ms,
                    coordinator: node,
                    partitions: topics.map(|topic| (topic.topic.to_string(), topic.partitions.clone())).collect(),
                });
            }
            ErrorCode::NOT_COORDINATOR => last = Some(answer.refused(txn.error_code, None)),
            ErrorCode::TRANSACTIONAL_ID_NOT_FOUND => {}
            _ => return Err(answer.refused(txn.error_code, None)),
        }
    }
    let none = || Problem::new(format!("there is no transactional id `{id}`")).next("see what there is: floe txn list");
    Err(last.unwrap_or_else(none))
}

/// Aborts the transaction that has been open in a partition since this offset, past its coordinator. Gives whose it was.
pub(in crate::cli) fn abort(cluster: &mut Cluster, topic: &str, partition: i32, start: i64) -> Outcome<ProducerState> {
    let leader = cluster.topic(topic, false)?.partitions.iter().find(|p| p.index == partition).map(|p| p.leader);
    let leader = leader.ok_or_else(|| Problem::new(format!("topic `{topic}` has no partition {partition}")))?;
    let connection = cluster.broker(leader)?;
    let version = connection.version(ApiKey::DescribeProducers, 0, 0)?;
    let topics = vec![TopicRequest { name: topic.into(), partition_indexes: vec![partition] }];
    let answer = connection.ask(ApiKey::DescribeProducers, version, &DescribeProducersRequest { topics })?;
    let response: DescribeProducersResponse = answer.decode()?;
    let described = response.topics.first().and_then(|topic| topic.partitions.first());
    let Some(described) = described else {
        return Err(connection.nonsense(ApiKey::DescribeProducers, "it leaves out the partition that was asked for"));
    };
    if described.error_code != 0 {
        return Err(answer.refused(described.error_code, described.error_message.as_deref()));
    }
    let open = described.active_producers.iter().find(|p| start >= 0 && p.current_txn_start_offset == start);
    let producer = open.cloned().ok_or_else(|| {
        let starts: Vec<String> = described
            .active_producers
            .iter()
            .filter(|p| p.current_txn_start_offset >= 0)
            .map(|p| format!("{} (producer {})", p.current_txn_start_offset, p.producer_id))
            .collect();
        let problem = Problem::new(format!("no transaction has been open in {topic}-{partition} since offset {start}"));
        if starts.is_empty() { problem } else { problem.next(format!("open since: {}", starts.join(", "))) }
    })?;
    let version = connection.version(ApiKey::WriteTxnMarkers, 1, 1)?;
    let marker = WritableTxnMarker {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch as i16,
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic { name: topic.into(), partition_indexes: vec![partition] }],
        coordinator_epoch: producer.coordinator_epoch.max(0),
        transaction_version: 0,
    };
    let answer = connection.ask(ApiKey::WriteTxnMarkers, version, &WriteTxnMarkersRequest { markers: vec![marker] })?;
    let response: WriteTxnMarkersResponse = answer.decode()?;
    let written = response.markers.iter().flat_map(|marker| &marker.topics).flat_map(|topic| &topic.partitions);
    match written.map(|partition| partition.error_code).max_by_key(|code| *code != 0) {
        Some(0) => Ok(producer),
        Some(code) => Err(answer.refused(code, None)),
        None => Err(connection.nonsense(ApiKey::WriteTxnMarkers, "it leaves out the marker")),
    }
}

fn nodes(cluster: &mut Cluster) -> Outcome<Vec<i32>> {
    cluster.refresh()?;
    let mut nodes: Vec<i32> = cluster.brokers.keys().copied().collect();
    nodes.sort_unstable();
    Ok(nodes)
}
