//! What decoding takes in memory, whatever the bytes: at its peak no more than a small multiple of them.
//!
//! A binary and a single test of its own, because the count is the whole process's.

use floe_wire::api::{APIS, Api};
use floe_wire::batch::{self, BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::frame::RequestHeader;
use floe_wire::messages::*;
use floe_wire::primitives::Reader;
use peak_alloc::PeakAlloc;
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory for each byte of a frame. The worst are arrays of structures that hold little but empty arrays and strings: a byte each
/// in the frame, 24 in memory, up to three times that while the vector moves.
const BYTES_PER_INPUT_BYTE: usize = 64;
/// Beside that: first capacities of arrays inside each other.
const BYTES_FLAT: usize = 64 << 10;

/// The peak of what `run` takes, in bytes.
fn peak(run: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    run();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

macro_rules! decoders {
    ($($key:literal $module:ident $request:ident $response:ident;)*) => {
        /// Decodes as a request and as a response of one API; what comes out is dropped at once.
        fn decode(api: &Api, bytes: &[u8], version: i16) {
            match api.key {
                $($key => {
                    drop($module::$request::decode(&mut Reader::new(bytes), version));
                    drop($module::$response::decode(&mut Reader::new(bytes), version));
                })*
                key => panic!("API {key} is not decoded here"),
            }
        }
    };
}
decoders! {
    0 produce ProduceRequest ProduceResponse;
    1 fetch FetchRequest FetchResponse;
    2 list_offsets ListOffsetsRequest ListOffsetsResponse;
    3 metadata MetadataRequest MetadataResponse;
    8 offset_commit OffsetCommitRequest OffsetCommitResponse;
    9 offset_fetch OffsetFetchRequest OffsetFetchResponse;
    10 find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
    11 join_group JoinGroupRequest JoinGroupResponse;
    12 heartbeat HeartbeatRequest HeartbeatResponse;
    13 leave_group LeaveGroupRequest LeaveGroupResponse;
    14 sync_group SyncGroupRequest SyncGroupResponse;
    15 describe_groups DescribeGroupsRequest DescribeGroupsResponse;
    16 list_groups ListGroupsRequest ListGroupsResponse;
    18 api_versions ApiVersionsRequest ApiVersionsResponse;
    19 create_topics CreateTopicsRequest CreateTopicsResponse;
    20 delete_topics DeleteTopicsRequest DeleteTopicsResponse;
    21 delete_records DeleteRecordsRequest DeleteRecordsResponse;
    22 init_producer_id InitProducerIdRequest InitProducerIdResponse;
    23 offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
    24 add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse;
    25 add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse;
    26 end_txn EndTxnRequest EndTxnResponse;
    27 write_txn_markers WriteTxnMarkersRequest WriteTxnMarkersResponse;
    28 txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse;
    32 describe_configs DescribeConfigsRequest DescribeConfigsResponse;
    33 alter_configs AlterConfigsRequest AlterConfigsResponse;
    35 describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse;
    37 create_partitions CreatePartitionsRequest CreatePartitionsResponse;
    42 delete_groups DeleteGroupsRequest DeleteGroupsResponse;
    44 incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
    46 list_partition_reassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse;
    47 offset_delete OffsetDeleteRequest OffsetDeleteResponse;
    60 describe_cluster DescribeClusterRequest DescribeClusterResponse;
    61 describe_producers DescribeProducersRequest DescribeProducersResponse;
    65 describe_transactions DescribeTransactionsRequest DescribeTransactionsResponse;
    66 list_transactions ListTransactionsRequest ListTransactionsResponse;
    68 consumer_group_heartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse;
    69 consumer_group_describe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse;
    74 list_config_resources ListConfigResourcesRequest ListConfigResourcesResponse;
    75 describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse;
}

fn check(bytes: &[u8]) {
    let bound = BYTES_FLAT + bytes.len() * BYTES_PER_INPUT_BYTE;
    for api in APIS {
        for version in api.min..=api.max {
            let used = peak(|| decode(api, bytes, version));
            assert!(used <= bound, "{} {version}: {used} bytes for a frame of {}", api.name, bytes.len());
        }
    }
    let used = peak(|| drop(RequestHeader::decode(&mut Reader::new(bytes))));
    assert!(used <= bound, "a header took {used} bytes");
}

/// Frames that claim much: a plausible start, then a filling that makes as many elements as fit.
fn greedy_frames() -> impl Iterator<Item = Vec<u8>> {
    let starts: [&[u8]; 6] = [&[], &[0], &[0; 4], &[1; 4], &[0; 9], &[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]];
    let counts: [&[u8]; 4] =
        [&[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0x20, 0], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x81, 0x40]];
    let fillings: [&[u8]; 7] = [&[0], &[1], &[2], &[0, 0, 0, 1], &[0, 0, 0x10, 0], &[1, 0], &[0xff]];
    starts.into_iter().flat_map(move |start| {
        counts.into_iter().flat_map(move |count| {
            fillings.into_iter().map(move |filling| {
                let mut frame = [start, count].concat();
                frame.extend(filling.iter().copied().cycle().take(24 << 10));
                frame
            })
        })
    })
}

/// Batches too: the records of one that is not compressed are borrowed, compressed ones are held once and never beyond the cap.
fn check_batches() {
    const CAP: usize = 1 << 20;
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        let zeros = vec![0; 8 << 20];
        builder.push(BatchRecord { value: Some(&zeros), ..Default::default() });
        let batch = builder.finish();
        let used = peak(|| {
            let mut scratch = Vec::new();
            let read = batch::records_capped(&batch, &mut scratch, CAP).map(Iterator::count);
            assert_eq!(read.is_err(), codec != Codec::None, "{codec:?}");
        });
        // A decoder's own window and tables come beside what it gives out; the vector doubles.
        assert!(used <= 4 * CAP + (9 << 20), "{codec:?}: {used} bytes for a cap of {CAP}");
    }
}

#[test]
fn memory_follows_the_frame_and_never_what_it_claims() {
    for frame in greedy_frames() {
        check(&frame);
    }
    check_batches();
    proptest!(ProptestConfig::with_cases(256), |(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..600))| {
        check(&bytes);
    });
}
