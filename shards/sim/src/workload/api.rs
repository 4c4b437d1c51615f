//! The APIs that the simulated clients use, and the frames of their requests and responses.

use bytes::Bytes;
use floe_wire::api::Api;
use floe_wire::frame::{RequestHeader, decode_response_header};
use floe_wire::messages::Message;
use floe_wire::primitives::{DecodeError, Reader, Writer};

/// An API, by Kafka's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
#[allow(missing_docs)] // Kafka's names say it.
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
    CreatePartitions = 37,
    DeleteGroups = 42,
    IncrementalAlterConfigs = 44,
    OffsetDelete = 47,
    DescribeProducers = 61,
    ListTransactions = 66,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
}

impl ApiKey {
    fn row(self) -> &'static Api {
        Api::of(self as i16).expect("the wire declares every API that clients use")
    }
}

/// A request, with its header, without the size ahead of it.
pub fn request(api: ApiKey, version: i16, correlation_id: i32, client_id: &str, body: &[u8]) -> Bytes {
    let mut writer = Writer::new();
    let header =
        RequestHeader { api_key: api as i16, api_version: version, correlation_id, client_id: Some(client_id.into()) };
    header.encode(&mut writer);
    writer.put(body);
    writer.finish_contiguous()
}

/// Correlation id and body of a response.
pub fn response(api: ApiKey, version: i16, frame: &[u8]) -> Result<(i32, &[u8]), DecodeError> {
    let mut reader = Reader::new(frame);
    let correlation_id = decode_response_header(&mut reader, api.row(), version)?;
    Ok((correlation_id, &frame[frame.len() - reader.remaining()..]))
}

/// A request's body.
pub fn encode<'a>(message: &impl Message<'a>, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    writer.finish_contiguous()
}
