//! Requests of groups as bytes and back, and a blocking connection for what is asked before and after the load.
//!
//! In the versions that clients of today use, which are flexible: here the declarations of `floe-wire` do it. That the same bytes mean the same to Apache
//! Kafka is seen by measuring it with them.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use floe_wire::api::Api;
use floe_wire::errors::ErrorCode;
use floe_wire::frame::{RequestHeader, decode_response_header};
use floe_wire::messages::Message;
use floe_wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse, GROUP};
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use floe_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};
use floe_wire::primitives::{Reader, Writer};

use crate::client::read_frame;

/// FindCoordinator.
pub const FIND_COORDINATOR: (i16, i16) = (10, 4);
/// OffsetCommit.
pub const OFFSET_COMMIT: (i16, i16) = (8, 9);
/// OffsetFetch.
pub const OFFSET_FETCH: (i16, i16) = (9, 9);
/// Groups in one OffsetFetch.
const GROUPS_A_FETCH: usize = 50;
/// How long the broker may say that it is not ready.
const READY_MAX: Duration = Duration::from_secs(120);

/// A whole request with its size.
pub fn frame<'m>((key, version): (i16, i16), correlation_id: i32, request: &impl Message<'m>) -> Vec<u8> {
    let mut writer = Writer::new();
    let header =
        RequestHeader { api_key: key, api_version: version, correlation_id, client_id: Some("floe-bench".into()) };
    header.encode(&mut writer);
    request.encode(&mut writer, version);
    let body = writer.finish_contiguous();
    let mut framed = (body.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(&body);
    framed
}

/// Reads an answer to the request that was sent with this id.
pub fn answer<'a, M: Message<'a>>((key, version): (i16, i16), correlation_id: i32, bytes: &'a [u8]) -> io::Result<M> {
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(format!("answer to API {key}: {error}"));
    let mut reader = Reader::new(bytes);
    let api = Api::of(key).ok_or_else(|| wrong(&"unknown"))?;
    let answered = decode_response_header(&mut reader, api, version).map_err(|error| wrong(&error))?;
    if answered != correlation_id {
        return Err(wrong(&format!("it answers request {answered}, not {correlation_id}")));
    }
    M::decode(&mut reader, version).map_err(|error| wrong(&error))
}

/// Whether a coordinator that says this will soon say something else.
pub fn is_moving(code: i16) -> bool {
    let moving =
        [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR];
    moving.iter().any(|moving| moving.code() == code)
}

/// Offsets of one topic from one partition on, all the same.
pub fn commit<'a>(
    group: &'a str,
    member: (&'a str, i32),
    topic: &'a str,
    partitions: std::ops::Range<i32>,
    offset: i64,
) -> OffsetCommitRequest<'a> {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: partitions.map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.0.into(),
        generation_id_or_member_epoch: member.1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

/// The first error of a commit; zero when all was taken.
pub fn refusal(response: &OffsetCommitResponse<'_>) -> i16 {
    let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    codes.find(|code| *code != 0).unwrap_or(0)
}

/// A blocking connection.
pub struct Asking {
    stream: TcpStream,
    correlation: i32,
}

impl Asking {
    /// Connects to a broker on this machine.
    pub fn connect(port: u16) -> io::Result<Asking> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Asking { stream, correlation: 0 })
    }

    fn ask<'m>(&mut self, api: (i16, i16), request: &impl Message<'m>) -> io::Result<Vec<u8>> {
        self.correlation += 1;
        self.stream.write_all(&frame(api, self.correlation, request))?;
        read_frame(&mut self.stream)
    }

    /// Lets the broker make the topic of groups, and waits until a coordinator answers.
    pub fn find_coordinator(&mut self, group: &str) -> io::Result<()> {
        let request =
            FindCoordinatorRequest { key: group.into(), key_type: GROUP, coordinator_keys: vec![group.into()] };
        let began = Instant::now();
        loop {
            let bytes = self.ask(FIND_COORDINATOR, &request)?;
            let response: FindCoordinatorResponse<'_> = answer(FIND_COORDINATOR, self.correlation, &bytes)?;
            match response.coordinators.first().map(|found| found.error_code) {
                Some(0) => return Ok(()),
                Some(code) if is_moving(code) && began.elapsed() < READY_MAX => sleep(Duration::from_millis(50)),
                code => return Err(io::Error::other(format!("FindCoordinator: error {code:?}"))),
            }
        }
    }

    /// Commits for a group without members.
    pub fn commit(&mut self, group: &str, topic: &str, partitions: i32, offset: i64) -> io::Result<()> {
        let request = commit(group, ("", -1), topic, 0..partitions, offset);
        let began = Instant::now();
        loop {
            let bytes = self.ask(OFFSET_COMMIT, &request)?;
            match refusal(&answer(OFFSET_COMMIT, self.correlation, &bytes)?) {
                0 => return Ok(()),
                code if is_moving(code) && began.elapsed() < READY_MAX => sleep(Duration::from_millis(20)),
                code => return Err(io::Error::other(format!("OffsetCommit of {group}: error {code}"))),
            }
        }
    }

    /// Fetches all offsets of all groups, asking again until each of them answers; gives how many offsets there are.
    pub fn all_offsets(&mut self, groups: &[String]) -> io::Result<usize> {
        let began = Instant::now();
        let mut offsets = 0;
        for groups in groups.chunks(GROUPS_A_FETCH) {
            let of = |group: &String| OffsetFetchRequestGroup {
                group_id: group.clone().into(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            };
            let request =
                OffsetFetchRequest { groups: groups.iter().map(of).collect(), ..OffsetFetchRequest::default() };
            loop {
                let bytes = self.ask(OFFSET_FETCH, &request)?;
                let response: OffsetFetchResponse<'_> = answer(OFFSET_FETCH, self.correlation, &bytes)?;
                match response.groups.iter().map(|group| group.error_code).find(|code| *code != 0) {
                    Some(code) if is_moving(code) && began.elapsed() < READY_MAX => {
                        sleep(Duration::from_millis(1));
                        continue;
                    }
                    Some(code) => return Err(io::Error::other(format!("OffsetFetch: error {code}"))),
                    None => {}
                }
                let partitions = response.groups.iter().flat_map(|group| &group.topics).flat_map(|t| &t.partitions);
                offsets += partitions.filter(|partition| partition.committed_offset >= 0).count();
                break;
            }
        }
        Ok(offsets)
    }
}
