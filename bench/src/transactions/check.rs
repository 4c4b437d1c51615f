//! What is asked of a broker beside the load: identities before it, and after it whether everything that was acknowledged is there, once, and stable.

use std::collections::BTreeMap;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use floe_wire::batch::batches;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use floe_wire::messages::find_coordinator::TRANSACTION;
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::messages::list_offsets::{
    LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use floe_wire::primitives::Records;

use super::counts::Totals;
use super::wire::Identity;
use crate::asking::{Asking, READY_MAX, is_moving};

const INIT_PRODUCER_ID: (i16, i16) = (22, 5);
const LIST_OFFSETS: (i16, i16) = (2, 6);
const FETCH: (i16, i16) = (1, 12);
/// How long the last markers may be on their way.
const STABLE_MAX: Duration = Duration::from_secs(30);
/// When an open transaction is aborted.
const TIMEOUT_MS: i32 = 60_000;
/// `isolation_level`.
const COMMITTED: i8 = 1;

/// A new identity; with a transactional id its coordinator must have woken up.
pub fn identity(asking: &mut Asking, id: Option<&str>) -> io::Result<Identity> {
    if let Some(id) = id {
        asking.find_coordinator(id, TRANSACTION)?;
    }
    let request = InitProducerIdRequest {
        transactional_id: id.map(Into::into),
        transaction_timeout_ms: TIMEOUT_MS,
        ..InitProducerIdRequest::default()
    };
    let began = Instant::now();
    loop {
        let bytes = asking.ask(INIT_PRODUCER_ID, &request)?;
        let answer: InitProducerIdResponse = asking.read(INIT_PRODUCER_ID, &bytes)?;
        let later = |code| is_moving(code) || code == ErrorCode::CONCURRENT_TRANSACTIONS.code();
        match answer.error_code {
            0 => return Ok((answer.producer_id, answer.producer_epoch)),
            code if later(code) && began.elapsed() < READY_MAX => sleep(Duration::from_millis(20)),
            code => return Err(io::Error::other(format!("InitProducerId: error {code}"))),
        }
    }
}

/// Whether logs hold what was acknowledged, a marker for each transaction, and `before` of an earlier time in each partition; all of it stable.
pub fn stable(asking: &mut Asking, topic: &str, totals: &Totals, before: u64) -> io::Result<()> {
    let wanted: Vec<u64> =
        totals.records.iter().zip(&totals.markers).map(|(records, ends)| before + records + ends).collect();
    let began = Instant::now();
    loop {
        let found = ends(asking, topic, wanted.len())?;
        if found == wanted {
            return Ok(());
        }
        if began.elapsed() > STABLE_MAX {
            let at = (0..wanted.len()).find(|at| found[*at] != wanted[*at]).expect("they differ");
            let (found, wanted) = (found[at], wanted[at]);
            return Err(io::Error::other(format!("{topic}-{at}: the last stable offset is {found}, not {wanted}")));
        }
        sleep(Duration::from_millis(10));
    }
}

/// Last stable offsets.
fn ends(asking: &mut Asking, topic: &str, partitions: usize) -> io::Result<Vec<u64>> {
    let of = |partition_index| ListOffsetsPartition { partition_index, timestamp: LATEST, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: (0..partitions as i32).map(of).collect() };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: COMMITTED,
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    };
    let bytes = asking.ask(LIST_OFFSETS, &request)?;
    let answer: ListOffsetsResponse<'_> = asking.read(LIST_OFFSETS, &bytes)?;
    let mut ends = vec![0; partitions];
    for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        if found.error_code != 0 {
            return Err(io::Error::other(format!("ListOffsets: error {}", found.error_code)));
        }
        ends[found.partition_index as usize] = found.offset as u64;
    }
    Ok(ends)
}

/// Reads everything under read_committed and counts: exactly what was acknowledged, and nothing aborted. Gives how many records.
pub fn read_back(asking: &mut Asking, topic: &str, totals: &Totals, before: u64) -> io::Result<u64> {
    let ends = ends(asking, topic, totals.records.len())?;
    let mut next: BTreeMap<i32, (u64, u64)> = (0..ends.len() as i32).map(|partition| (partition, (0, 0))).collect();
    loop {
        let left = next.iter().filter(|(partition, (offset, _))| *offset < ends[**partition as usize]);
        let partitions: Vec<FetchPartition> =
            left.map(|(partition, (offset, _))| wanted(*partition, *offset)).collect();
        if partitions.is_empty() {
            break;
        }
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 1000,
            min_bytes: 1,
            max_bytes: 16 << 20,
            isolation_level: COMMITTED,
            session_epoch: -1,
            topics: vec![FetchTopic { topic: topic.into(), partitions, ..FetchTopic::default() }],
            ..FetchRequest::default()
        };
        let bytes = asking.ask(FETCH, &request)?;
        let answer: FetchResponse<'_> = asking.read(FETCH, &bytes)?;
        let mut moved = false;
        for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let wrong = |what: String| io::Error::other(format!("{topic}-{}: {what}", part.partition_index));
            if part.error_code != 0 || answer.error_code != 0 {
                return Err(wrong(format!("Fetch: error {}", part.error_code.max(answer.error_code))));
            }
            if part.aborted_transactions.as_ref().is_some_and(|aborted| !aborted.is_empty()) {
                return Err(wrong("a transaction was aborted".into()));
            }
            let Records::Borrowed(bytes) = part.records else { continue };
            let (offset, records) = next.get_mut(&part.partition_index).expect("it was asked for");
            // The last one may be cut off.
            for batch in batches(bytes).map_while(Result::ok) {
                if batch.header.base_offset as u64 != *offset {
                    return Err(wrong(format!("offset {} follows {offset}", batch.header.base_offset)));
                }
                *offset = batch.header.last_offset() as u64 + 1;
                *records += if batch.header.is_control() { 0 } else { batch.header.records_count as u64 };
                moved = true;
            }
        }
        if !moved {
            return Err(io::Error::other(format!("{topic}: nothing more is read before the end")));
        }
    }
    for (partition, (_, records)) in &next {
        let wanted = before + totals.records[*partition as usize];
        if *records != wanted {
            let what = format!("{topic}-{partition}: {records} records are read, {wanted} were acknowledged");
            return Err(io::Error::other(what));
        }
    }
    Ok(next.values().map(|(_, records)| records).sum())
}

fn wanted(partition: i32, offset: u64) -> FetchPartition {
    FetchPartition { partition, fetch_offset: offset as i64, partition_max_bytes: 1 << 20, ..FetchPartition::default() }
}
