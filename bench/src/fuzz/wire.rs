//! The targets that read bytes from the network: requests, record batches, compressed records.

use floe_wire::api::{APIS, Api};
use floe_wire::batch::{self, BatchBuilder, BatchRecord};
use floe_wire::compression::{Codec, compress, decompress};
use floe_wire::frame::RequestHeader;
use floe_wire::messages::*;
use floe_wire::primitives::{Reader, Writer};

use super::targets::{Target, repair_batch};

/// What records may become when decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;
/// That, doubled by a vector on its way, and the block of at most 8 MiB that an LZ4 frame may ask for, twice.
const CODEC_BYTES: usize = 20 << 20;

/// All of them.
pub fn all() -> Vec<Target> {
    vec![
        Target { name: "request", corpus: requests(), repair: |_| (), read: read_request, bytes_flat: 256 << 10 },
        Target { name: "batch", corpus: batches(), repair: repair_batch, read: read_batch, bytes_flat: CODEC_BYTES },
        Target { name: "codec", corpus: packed(), repair: |_| (), read: read_packed, bytes_flat: CODEC_BYTES },
    ]
}

macro_rules! requests {
    ($($key:literal $module:ident $request:ident;)*) => {
        /// Decodes a body; what is taken must come out of its own encoding again.
        fn decode(reader: &mut Reader<'_>, api: &Api, version: i16) {
            match api.key {
                $($key => if let Ok(request) = $module::$request::decode(reader, version) {
                    let mut writer = Writer::new();
                    request.encode(&mut writer, version);
                    let bytes = writer.finish_contiguous();
                    let again = $module::$request::decode_all(&bytes, version);
                    assert_eq!(again.as_ref(), Ok(&request), "{} {version}", api.name);
                })*
                key => panic!("API {key} is not fuzzed"),
            }
        }

        /// One request of each API in each version, all fields at their defaults.
        fn requests() -> Vec<Vec<u8>> {
            let mut corpus = Vec::new();
            for api in APIS {
                for version in api.min..=api.max {
                    let mut writer = Writer::new();
                    let client_id = Some("fuzz".into());
                    RequestHeader { api_key: api.key, api_version: version, correlation_id: 7, client_id }.encode(&mut writer);
                    match api.key {
                        $($key => $module::$request::default().encode(&mut writer, version),)*
                        key => panic!("API {key} is not fuzzed"),
                    }
                    corpus.push(writer.finish_contiguous().to_vec());
                }
            }
            corpus.extend(full());
            corpus
        }
    };
}
requests! {
    0 produce ProduceRequest;
    1 fetch FetchRequest;
    2 list_offsets ListOffsetsRequest;
    3 metadata MetadataRequest;
    8 offset_commit OffsetCommitRequest;
    9 offset_fetch OffsetFetchRequest;
    10 find_coordinator FindCoordinatorRequest;
    11 join_group JoinGroupRequest;
    12 heartbeat HeartbeatRequest;
    13 leave_group LeaveGroupRequest;
    14 sync_group SyncGroupRequest;
    15 describe_groups DescribeGroupsRequest;
    16 list_groups ListGroupsRequest;
    18 api_versions ApiVersionsRequest;
    19 create_topics CreateTopicsRequest;
    20 delete_topics DeleteTopicsRequest;
    21 delete_records DeleteRecordsRequest;
    22 init_producer_id InitProducerIdRequest;
    23 offset_for_leader_epoch OffsetForLeaderEpochRequest;
    24 add_partitions_to_txn AddPartitionsToTxnRequest;
    25 add_offsets_to_txn AddOffsetsToTxnRequest;
    26 end_txn EndTxnRequest;
    27 write_txn_markers WriteTxnMarkersRequest;
    28 txn_offset_commit TxnOffsetCommitRequest;
    32 describe_configs DescribeConfigsRequest;
    33 alter_configs AlterConfigsRequest;
    35 describe_log_dirs DescribeLogDirsRequest;
    37 create_partitions CreatePartitionsRequest;
    42 delete_groups DeleteGroupsRequest;
    44 incremental_alter_configs IncrementalAlterConfigsRequest;
    46 list_partition_reassignments ListPartitionReassignmentsRequest;
    47 offset_delete OffsetDeleteRequest;
    60 describe_cluster DescribeClusterRequest;
    61 describe_producers DescribeProducersRequest;
    65 describe_transactions DescribeTransactionsRequest;
    66 list_transactions ListTransactionsRequest;
    68 consumer_group_heartbeat ConsumerGroupHeartbeatRequest;
    69 consumer_group_describe ConsumerGroupDescribeRequest;
    74 list_config_resources ListConfigResourcesRequest;
    75 describe_topic_partitions DescribeTopicPartitionsRequest;
}

/// Requests with something in their arrays: where lengths stand inside lengths.
fn full() -> Vec<Vec<u8>> {
    let body = batches().remove(0);
    let mut corpus = Vec::new();
    for version in [3, 9, 13] {
        let partition = || produce::PartitionProduceData {
            records: floe_wire::primitives::Records::Borrowed(&body),
            ..Default::default()
        };
        let topic = produce::TopicProduceData {
            name: "ice".into(),
            partition_data: vec![partition(), partition()],
            ..Default::default()
        };
        corpus.push(framed(0, version, &produce::ProduceRequest { topic_data: vec![topic], ..Default::default() }));
    }
    for version in [4, 12, 18] {
        let partitions = vec![fetch::FetchPartition::default(); 3];
        let topic = fetch::FetchTopic { topic: "ice".into(), partitions, ..Default::default() };
        corpus.push(framed(
            1,
            version,
            &fetch::FetchRequest { topics: vec![topic.clone(), topic], ..Default::default() },
        ));
    }
    for version in [1, 13] {
        let topic = || metadata::MetadataRequestTopic { name: Some("ice".into()), ..Default::default() };
        corpus.push(framed(
            3,
            version,
            &metadata::MetadataRequest { topics: Some(vec![topic(), topic()]), ..Default::default() },
        ));
    }
    for version in [0, 3, 4, 5] {
        let topics =
            || vec![add_partitions_to_txn::AddPartitionsToTxnTopic { name: "ice".into(), partitions: vec![0, 7] }; 2];
        let transaction =
            add_partitions_to_txn::AddPartitionsToTxnTransaction { topics: topics(), ..Default::default() };
        let request = match version {
            0..=3 => {
                add_partitions_to_txn::AddPartitionsToTxnRequest { v3_and_below_topics: topics(), ..Default::default() }
            }
            _ => add_partitions_to_txn::AddPartitionsToTxnRequest {
                transactions: vec![transaction; 2],
                ..Default::default()
            },
        };
        corpus.push(framed(24, version, &request));
    }
    for version in [1, 2] {
        let topic = write_txn_markers::WritableTxnMarkerTopic { name: "ice".into(), partition_indexes: vec![0, 7] };
        let marker = write_txn_markers::WritableTxnMarker { topics: vec![topic; 2], ..Default::default() };
        corpus.push(framed(27, version, &write_txn_markers::WriteTxnMarkersRequest { markers: vec![marker; 2] }));
    }
    for version in [0, 3, 5] {
        let partitions = vec![txn_offset_commit::TxnOffsetCommitRequestPartition::default(); 3];
        let topic = txn_offset_commit::TxnOffsetCommitRequestTopic { name: "ice".into(), partitions };
        corpus.push(framed(
            28,
            version,
            &txn_offset_commit::TxnOffsetCommitRequest { topics: vec![topic; 2], ..Default::default() },
        ));
    }
    corpus
}

fn framed<'a>(api_key: i16, api_version: i16, body: &impl Message<'a>) -> Vec<u8> {
    let mut writer = Writer::new();
    RequestHeader { api_key, api_version, correlation_id: 7, client_id: None }.encode(&mut writer);
    body.encode(&mut writer, api_version);
    writer.finish_contiguous().to_vec()
}

fn read_request(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let Some(api) = Api::of(header.api_key) else { return };
    if (api.min..=api.max).contains(&header.api_version) {
        decode(&mut reader, api, header.api_version);
    }
}

fn batches() -> Vec<Vec<u8>> {
    let records = |codec| {
        let mut builder = BatchBuilder::new(codec);
        builder.producer(5, 0, 0);
        for i in 0..20_i64 {
            let headers = [("trace", Some(&b"1"[..])), ("none", None)];
            let headers = &headers[..i as usize % 3];
            let value = vec![b'v'; i as usize * 10];
            builder.push(BatchRecord {
                timestamp: 1_000 + i,
                key: (i % 2 == 0).then_some(b"key"),
                value: Some(&value),
                headers,
            });
        }
        builder.finish().to_vec()
    };
    Codec::ALL.into_iter().map(records).collect()
}

fn read_batch(bytes: &[u8]) {
    // What a produce does: judge, and only then look into it.
    let valid = batch::validate(bytes, 1 << 20);
    let mut scratch = Vec::new();
    let read = batch::records_capped(bytes, &mut scratch, DECOMPRESSED_BYTES_MAX)
        .map(|records| records.filter(Result::is_ok).count());
    if let (Ok(valid), Ok(count)) = (valid, read) {
        assert!(count <= valid.header.records_count as usize, "more records than the header says");
    }
    let _ = batch::recompress(bytes, Codec::Lz4, DECOMPRESSED_BYTES_MAX);
    for found in batch::batches(bytes).flatten() {
        assert_eq!(found.header.total_bytes(), found.bytes.len());
    }
}

/// Compressed bytes, each behind its codec's number.
fn packed() -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
    let pack =
        |codec| [vec![codec as u8], compress(codec, &text).expect("compressing into memory does not fail")].concat();
    Codec::ALL.into_iter().map(pack).collect()
}

fn read_packed(bytes: &[u8]) {
    let Some((number, packed)) = bytes.split_first() else { return };
    let Some(codec) = Codec::from_number(*number % 5) else { return };
    let mut out = Vec::new();
    let _ = decompress(codec, packed, DECOMPRESSED_BYTES_MAX, &mut out);
    assert!(out.len() <= DECOMPRESSED_BYTES_MAX + 1, "{} bytes held", out.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A corpus that is not valid fuzzes nothing but the first check.
    #[test]
    fn the_corpus_is_valid() {
        for request in requests() {
            let mut reader = Reader::new(&request);
            let header = RequestHeader::decode(&mut reader).unwrap();
            assert!(Api::of(header.api_key).is_some());
            read_request(&request);
        }
        for bytes in batches() {
            assert_eq!(batch::validate(&bytes, 1 << 20).unwrap().header.records_count, 20);
        }
        for bytes in packed() {
            let mut out = Vec::new();
            decompress(Codec::from_number(bytes[0]).unwrap(), &bytes[1..], 40_000, &mut out).unwrap();
            assert_eq!(out.len(), 40_000);
        }
    }
}
