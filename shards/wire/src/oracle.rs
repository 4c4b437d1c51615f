//! The oracle of the declarations: every API in every version against an independent implementation (`kafka-protocol`).
//!
//! A generated message is encoded here, decoded and encoded again there, and decoded here: bytes must be the same all the way.
//! The versions that the other side lacks are named in the table, so that one added there turns up here.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use proptest::prelude::*;

use crate::api::Api;
use crate::frame::RequestHeader;
use crate::ids::TopicId;
use crate::messages::*;
use crate::primitives::{Reader, Records, Writer};

/// Repeatable draws: splitmix64.
pub(crate) struct Dice {
    state: u64,
    /// Whether what may be null sometimes is.
    nulls: bool,
}

impl Dice {
    /// Draws without nulls for even seeds, with nulls for odd ones.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice { state: seed, nulls: seed % 2 == 1 }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn null(&mut self) -> bool {
        self.nulls && self.draw().is_multiple_of(3)
    }
}

/// A value of a field's type.
pub(crate) trait Sample {
    fn sample(dice: &mut Dice) -> Self;
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl Sample for $ty {
            fn sample(dice: &mut Dice) -> $ty {
                dice.draw() as $ty
            }
        }
    )*};
}
integers!(i8, i16, i32, i64);

impl Sample for bool {
    fn sample(dice: &mut Dice) -> bool {
        dice.draw().is_multiple_of(2)
    }
}

impl Sample for TopicId {
    fn sample(dice: &mut Dice) -> TopicId {
        TopicId([dice.draw().to_be_bytes(), dice.draw().to_be_bytes()].concat().try_into().expect("16 bytes"))
    }
}

impl Sample for Cow<'_, str> {
    fn sample(dice: &mut Dice) -> Self {
        // Long enough at times that a compact length takes two bytes.
        let len = if dice.draw().is_multiple_of(10) { 200 } else { dice.draw() % 9 };
        Cow::Owned((0..len).map(|_| char::from(b'a' + (dice.draw() % 26) as u8)).collect())
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(dice: &mut Dice) -> Self {
        let value = T::sample(dice);
        (!dice.null()).then_some(value)
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(dice: &mut Dice) -> Self {
        (0..dice.draw() % 4).map(|_| T::sample(dice)).collect()
    }
}

impl Sample for Cow<'_, [u8]> {
    fn sample(dice: &mut Dice) -> Self {
        Cow::Owned((0..dice.draw() % 300).map(|_| dice.draw() as u8).collect())
    }
}

impl Sample for Records<'_> {
    fn sample(dice: &mut Dice) -> Self {
        Records::Borrowed(&[7; 300][..(dice.draw() % 300) as usize])
    }
}

fn encode<'a>(message: &impl Message<'a>, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    writer.finish_contiguous()
}

/// Compares one message in the given versions; `lacking` is what the other side does not have.
fn compare<Ours, Theirs>(name: &str, versions: RangeInclusive<i16>, lacking: &[i16])
where
    Ours: Sample + Message<'static> + Debug,
    Theirs: Encodable + Decodable + TheirMessage + Debug,
{
    for version in versions {
        let there = (Theirs::VERSIONS.min..=Theirs::VERSIONS.max).contains(&version);
        assert_eq!(!there, lacking.contains(&version), "{name} {version}: what the oracle has changed");
        let mut accepted_with_nulls = 0;
        for round in 0..60 {
            let nulls = round >= 30;
            let mut dice = Dice { state: (version as u64) << 32 | round, nulls };
            let ours = Ours::sample(&mut dice);
            let bytes = encode(&ours, version);
            // What a version lacks is not in the bytes, so a decoded message is compared by its bytes.
            // Leaked: the decoded message borrows from them for as long as the test knows.
            let kept: &'static [u8] = Box::leak(bytes.to_vec().into_boxed_slice());
            let again = Ours::decode_all(kept, version).unwrap_or_else(|e| panic!("{name} {version}: {e}: {ours:?}"));
            assert_eq!(encode(&again, version), bytes, "{name} {version}: {ours:?}");
            if !there {
                continue;
            }
            let mut rest = bytes.clone();
            let theirs = match Theirs::decode(&mut rest, version) {
                Ok(theirs) => theirs,
                // Null where this version does not allow it: we are more lenient, on purpose.
                Err(_) if nulls => continue,
                Err(e) => panic!("{name} {version}: they cannot decode: {e}: {ours:?}"),
            };
            assert!(rest.is_empty(), "{name} {version}: they leave {} bytes: {ours:?}", rest.len());
            let mut back = BytesMut::new();
            match theirs.encode(&mut back, version) {
                Ok(()) => assert_eq!(back.freeze(), bytes, "{name} {version}: {ours:?}"),
                Err(_) if nulls => continue,
                Err(e) => panic!("{name} {version}: they cannot encode: {e}: {theirs:?}"),
            }
            accepted_with_nulls += u64::from(nulls);
        }
        assert!(!there || accepted_with_nulls > 0, "{name} {version}: no message with nulls was compared");
    }
}

/// What the other side lacks of an answer: the same as of the request, unless the row says otherwise.
macro_rules! lacking_of {
    ($request:expr) => {
        &$request
    };
    ($request:expr, $answer:expr) => {
        &$answer
    };
}

macro_rules! table {
    ($($test:ident: $key:literal $module:ident $request:ident $response:ident, lacking $lacking:expr $(, in the answer $answer:expr)?;)*) => {
        $(
            #[test]
            fn $test() {
                let api = Api::of($key).expect("declared");
                assert_eq!(stringify!($request), format!("{}Request", api.name));
                compare::<$module::$request, theirs::$request>(stringify!($request), api.min..=api.max, &$lacking);
                compare::<$module::$response, theirs::$response>(stringify!($response), api.min..=api.max, lacking_of!($lacking $(, $answer)?));
            }
        )*

        /// Decodes a request or response of every kind from any bytes.
        fn decode_anything(bytes: &[u8], version: i16) {
            $(
                let api = Api::of($key).expect("declared");
                let version = api.min + version.rem_euclid(api.max - api.min + 1);
                let _ = $module::$request::decode(&mut Reader::new(bytes), version);
                let _ = $module::$response::decode(&mut Reader::new(bytes), version);
            )*
        }
    };
}
table! {
    produce_all: 0 produce ProduceRequest ProduceResponse, lacking [];
    fetch_all: 1 fetch FetchRequest FetchResponse, lacking [];
    list_offsets_all: 2 list_offsets ListOffsetsRequest ListOffsetsResponse, lacking [11];
    metadata_all: 3 metadata MetadataRequest MetadataResponse, lacking [];
    offset_commit_all: 8 offset_commit OffsetCommitRequest OffsetCommitResponse, lacking [10], in the answer [];
    offset_fetch_all: 9 offset_fetch OffsetFetchRequest OffsetFetchResponse, lacking [10], in the answer [];
    find_coordinator_all: 10 find_coordinator FindCoordinatorRequest FindCoordinatorResponse, lacking [];
    join_group_all: 11 join_group JoinGroupRequest JoinGroupResponse, lacking [];
    heartbeat_all: 12 heartbeat HeartbeatRequest HeartbeatResponse, lacking [];
    leave_group_all: 13 leave_group LeaveGroupRequest LeaveGroupResponse, lacking [];
    sync_group_all: 14 sync_group SyncGroupRequest SyncGroupResponse, lacking [];
    describe_groups_all: 15 describe_groups DescribeGroupsRequest DescribeGroupsResponse, lacking [];
    list_groups_all: 16 list_groups ListGroupsRequest ListGroupsResponse, lacking [];
    api_versions_all: 18 api_versions ApiVersionsRequest ApiVersionsResponse, lacking [];
    create_topics_all: 19 create_topics CreateTopicsRequest CreateTopicsResponse, lacking [];
    delete_topics_all: 20 delete_topics DeleteTopicsRequest DeleteTopicsResponse, lacking [];
    delete_records_all: 21 delete_records DeleteRecordsRequest DeleteRecordsResponse, lacking [];
    init_producer_id_all: 22 init_producer_id InitProducerIdRequest InitProducerIdResponse, lacking [];
    offset_for_leader_epoch_all: 23 offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse, lacking [];
    add_partitions_to_txn_all: 24 add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse, lacking [];
    add_offsets_to_txn_all: 25 add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse, lacking [];
    end_txn_all: 26 end_txn EndTxnRequest EndTxnResponse, lacking [];
    write_txn_markers_all: 27 write_txn_markers WriteTxnMarkersRequest WriteTxnMarkersResponse, lacking [2];
    txn_offset_commit_all: 28 txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse, lacking [];
    describe_configs_all: 32 describe_configs DescribeConfigsRequest DescribeConfigsResponse, lacking [];
    alter_configs_all: 33 alter_configs AlterConfigsRequest AlterConfigsResponse, lacking [];
    describe_log_dirs_all: 35 describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse, lacking [5];
    create_partitions_all: 37 create_partitions CreatePartitionsRequest CreatePartitionsResponse, lacking [];
    delete_groups_all: 42 delete_groups DeleteGroupsRequest DeleteGroupsResponse, lacking [];
    incremental_alter_configs_all: 44 incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse, lacking [];
    list_partition_reassignments_all: 46 list_partition_reassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse, lacking [];
    offset_delete_all: 47 offset_delete OffsetDeleteRequest OffsetDeleteResponse, lacking [];
    describe_cluster_all: 60 describe_cluster DescribeClusterRequest DescribeClusterResponse, lacking [];
    describe_producers_all: 61 describe_producers DescribeProducersRequest DescribeProducersResponse, lacking [];
    describe_transactions_all: 65 describe_transactions DescribeTransactionsRequest DescribeTransactionsResponse, lacking [];
    list_transactions_all: 66 list_transactions ListTransactionsRequest ListTransactionsResponse, lacking [];
    consumer_group_heartbeat_all: 68 consumer_group_heartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse, lacking [];
    consumer_group_describe_all: 69 consumer_group_describe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse, lacking [];
    list_config_resources_all: 74 list_config_resources ListConfigResourcesRequest ListConfigResourcesResponse, lacking [];
    describe_topic_partitions_all: 75 describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse, lacking [];
}

#[test]
fn a_length_beyond_the_frame_is_an_error_before_any_allocation() {
    // Two billion topics, in a frame of 8 bytes.
    let bytes = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let error = metadata::MetadataRequest::decode(&mut Reader::new(&bytes), 1).expect_err("no such array");
    assert_eq!(error, crate::primitives::DecodeError::Truncated { needed: 0x7fff_ffff, left: 4 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), version in any::<i16>()) {
        decode_anything(&bytes, version);
        let _ = RequestHeader::decode(&mut Reader::new(&bytes));
    }
}
