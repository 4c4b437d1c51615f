//! A broker that plays one part: it answers every request with what the test wrote down for it, and keeps what it was asked to commit.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use floe_wire::api::Api;
use floe_wire::frame::{RequestHeader, encode_response_header};
use floe_wire::messages::Message;
use floe_wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use floe_wire::messages::find_coordinator::{Coordinator, FindCoordinatorResponse};
use floe_wire::messages::metadata::*;
use floe_wire::messages::offset_commit::OffsetCommitRequest;
use floe_wire::primitives::{Reader, Writer};

/// Partitions of each topic: `ice` has two, `snow` one; the others are not there.
const TOPICS: [(&str, i32); 2] = [("ice", 2), ("snow", 1)];

/// What is answered: by key of the API and in its version. `None` closes the connection.
pub type Part = dyn Fn(i16, i16, &Bytes) -> Option<Bytes> + Send + Sync;

/// The running peer; its threads end with the test.
pub struct Peer {
    /// Where it listens.
    pub address: String,
    /// Offsets that it was asked to commit: `topic-partition@offset`.
    pub committed: Arc<Mutex<Vec<String>>>,
}

/// A message in a version, as an answer's body.
pub fn body<'a>(message: &impl Message<'a>, version: i16) -> Option<Bytes> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    Some(writer.finish_contiguous())
}

impl Peer {
    /// `apis`: key and newest version of what it knows beside the metadata. The first `moving` times its coordinator is not there.
    pub fn start(apis: &'static [(i16, i16)], moving: u32, part: Arc<Part>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let committed = Arc::new(Mutex::new(Vec::new()));
        let (kept, left) = (Arc::clone(&committed), Arc::new(Mutex::new(moving)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (part, kept, left) = (Arc::clone(&part), Arc::clone(&kept), Arc::clone(&left));
                std::thread::spawn(move || {
                    serve(stream, |key, version, request| match key {
                        3 => body(&metadata(address.port(), request, version), version),
                        10 => body(&coordinator(&left), version),
                        18 => body(&versions(apis), version),
                        _ => {
                            if key == 8 {
                                keep(&kept, request, version);
                            }
                            part(key, version, request)
                        }
                    })
                });
            }
        });
        Peer { address: address.to_string(), committed }
    }
}

fn serve(mut stream: TcpStream, answer: impl Fn(i16, i16, &Bytes) -> Option<Bytes>) {
    let mut size = [0; 4];
    while stream.read_exact(&mut size).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).unwrap();
        let frame = Bytes::from(frame);
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let request = frame.slice(frame.len() - reader.remaining()..);
        let api = Api::of(header.api_key).unwrap();
        let Some(body) = answer(header.api_key, header.api_version, &request) else { return };
        let mut writer = Writer::new();
        encode_response_header(&mut writer, api, header.api_version, header.correlation_id);
        writer.put(&body);
        let answer = writer.finish_contiguous();
        stream.write_all(&(answer.len() as u32).to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    }
}

fn versions(apis: &[(i16, i16)]) -> ApiVersionsResponse<'static> {
    // What is not said otherwise.
    let own = [(3, 12), (10, 6), (18, 3)].into_iter().filter(|(key, _)| !apis.iter().any(|(other, _)| other == key));
    let row = |(api_key, max_version)| ApiVersion { api_key, min_version: 0, max_version };
    ApiVersionsResponse {
        api_keys: own.chain(apis.iter().copied()).map(row).collect(),
        ..ApiVersionsResponse::default()
    }
}

fn metadata<'a>(port: u16, request: &'a Bytes, version: i16) -> MetadataResponse<'a> {
    let request = MetadataRequest::decode_all(request, version).unwrap();
    let topic = |asked: &MetadataRequestTopic<'a>| {
        let count = TOPICS.iter().find(|(name, _)| Some(*name) == asked.name.as_deref()).map(|(_, count)| *count);
        let partition =
            |partition_index| MetadataResponsePartition { partition_index, leader_id: 7, ..Default::default() };
        MetadataResponseTopic {
            error_code: if count.is_some() { 0 } else { 3 },
            name: asked.name.clone(),
            partitions: (0..count.unwrap_or_default()).map(partition).collect(),
            ..MetadataResponseTopic::default()
        }
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 7,
            host: "127.0.0.1".into(),
            port: i32::from(port),
            rack: None,
        }],
        topics: request.topics.unwrap_or_default().iter().map(topic).collect(),
        ..MetadataResponse::default()
    }
}

/// Broker 7, once it is not moving any more.
fn coordinator(moving: &Mutex<u32>) -> FindCoordinatorResponse<'static> {
    let mut left = moving.lock().unwrap();
    let error_code = if *left > 0 { 15 } else { 0 };
    *left = left.saturating_sub(1);
    let coordinator = Coordinator { error_code, node_id: 7, ..Coordinator::default() };
    let coordinators = vec![coordinator];
    FindCoordinatorResponse { error_code, node_id: 7, coordinators, ..FindCoordinatorResponse::default() }
}

fn keep(committed: &Mutex<Vec<String>>, request: &Bytes, version: i16) {
    let request = OffsetCommitRequest::decode_all(request, version).unwrap();
    assert_eq!((request.generation_id_or_member_epoch, &*request.member_id), (-1, ""), "of no member");
    for topic in &request.topics {
        let partitions = topic.partitions.iter();
        let shown = partitions.map(|p| format!("{}-{}@{}", topic.name, p.partition_index, p.committed_offset));
        committed.lock().unwrap().extend(shown);
    }
}
