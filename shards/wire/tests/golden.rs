//! Bytes that the Java client made, for the versions that `kafka-protocol` lacks (`src/oracle.rs` names them).
//!
//! They come from kafka-clients 4.3.1's own message classes; each message `m` of the tests below was filled there with the same values
//! and written with
//!
//! ```text
//! var cache = new ObjectSerializationCache();
//! var buffer = ByteBuffer.allocate(m.size(cache, version));
//! m.write(new ByteBufferAccessor(buffer), cache, version);
//! System.out.println(HexFormat.of().formatHex(buffer.array()));
//! ```
//! by `java -cp "$(cat .cache/java/classpath)" Golden.java` (`src/e2e/tools.sh` gets the class path).

use std::borrow::Cow;
use std::fmt::Debug;

use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::describe_log_dirs::*;
use floe_wire::messages::list_offsets::*;
use floe_wire::messages::offset_commit::*;
use floe_wire::messages::offset_fetch::*;
use floe_wire::primitives::Writer;

fn check<'a, M: Message<'a> + PartialEq + Debug>(message: M, version: i16, hex: &str) {
    let golden: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect();
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    assert_eq!(writer.finish_contiguous(), golden, "{message:?} in version {version}");
    // Leaked: the message borrows from its bytes.
    let decoded = M::decode_all(Box::leak(golden.into_boxed_slice()), version).expect("what Java wrote");
    assert_eq!(decoded, message, "version {version}");
}

#[test]
fn list_offsets_as_java_writes_it() {
    for (version, timestamp, hex) in [
        (10, LATEST_TIERED, "ffffffff010204696365020000000300000005fffffffffffffffb00000000753000"),
        (11, EARLIEST_PENDING_UPLOAD, "ffffffff010204696365020000000300000005fffffffffffffffa00000000753000"),
    ] {
        let partition = ListOffsetsPartition { partition_index: 3, current_leader_epoch: 5, timestamp };
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: 1,
            topics: vec![ListOffsetsTopic { name: "ice".into(), partitions: vec![partition] }],
            timeout_ms: 30_000,
        };
        check(request, version, hex);
        let partition = ListOffsetsPartitionResponse {
            partition_index: 3,
            error_code: 6,
            timestamp: 1_234_567_890_123,
            offset: 42,
            leader_epoch: 5,
        };
        let response = ListOffsetsResponse {
            throttle_time_ms: 7,
            topics: vec![ListOffsetsTopicResponse { name: "ice".into(), partitions: vec![partition] }],
        };
        let hex = "000000070204696365020000000300060000011f71fb04cb000000000000002a00000005000000";
        check(response, version, hex);
    }
}

#[test]
fn describe_log_dirs_as_java_writes_it() {
    // Up to the field that version 5 adds.
    const FIRST: &str = concat!(
        "000000070039020038062f646174610204696365020000000300000000000010",
        "00000000000000000b01000000000100000000000000008000000000"
    );
    for version in [4, 5] {
        let topic = DescribableLogDirTopic { topic: "ice".into(), partitions: vec![3, 9] };
        let request = DescribeLogDirsRequest { topics: Some(vec![topic]) };
        check(request, version, "02046963650300000003000000090000");
        let partition =
            DescribeLogDirsPartition { partition_index: 3, partition_size: 4096, offset_lag: 11, is_future_key: true };
        let directory = DescribeLogDirsResult {
            error_code: 56,
            log_dir: "/data".into(),
            topics: vec![DescribeLogDirsTopic { name: "ice".into(), partitions: vec![partition] }],
            total_bytes: 1 << 40,
            usable_bytes: 1 << 39,
            is_cordoned: version >= 5,
        };
        let response = DescribeLogDirsResponse { throttle_time_ms: 7, error_code: 57, results: vec![directory] };
        let last = if version >= 5 { "010000" } else { "0000" };
        check(response, version, &format!("{FIRST}{last}"));
    }
}

const ID: TopicId = TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

/// The topic as a version names it: by id from version 10.
fn named(version: i16) -> (Cow<'static, str>, TopicId) {
    if version >= 10 { ("".into(), ID) } else { ("ice".into(), TopicId::ZERO) }
}

#[test]
fn offset_commit_as_java_writes_it() {
    for (version, hex) in [
        (9, "0666726f737400000007046d2d31026902046963650200000003000000000000002a00000005056e6f7465000000"),
        (
            10,
            concat!(
                "0666726f737400000007046d2d310269020102030405060708090a0b0c0d0e0f10",
                "0200000003000000000000002a00000005056e6f7465000000"
            ),
        ),
    ] {
        let partition = OffsetCommitRequestPartition {
            partition_index: 3,
            committed_offset: 42,
            committed_leader_epoch: 5,
            committed_metadata: Some("note".into()),
        };
        let (name, topic_id) = named(version);
        let request = OffsetCommitRequest {
            group_id: "frost".into(),
            generation_id_or_member_epoch: 7,
            member_id: "m-1".into(),
            group_instance_id: Some("i".into()),
            topics: vec![OffsetCommitRequestTopic { name, topic_id, partitions: vec![partition] }],
            ..OffsetCommitRequest::default()
        };
        check(request, version, hex);
    }
}

#[test]
fn offset_fetch_as_java_writes_it() {
    for (version, hex) in [
        (9, "030666726f7374046d2d3100000007020469636503000000030000000900000572696d6500ffffffff00000100"),
        (
            10,
            concat!(
                "030666726f7374046d2d3100000007020102030405060708090a0b0c0d0e0f10",
                "03000000030000000900000572696d6500ffffffff00000100"
            ),
        ),
    ] {
        let (name, topic_id) = named(version);
        let one = OffsetFetchRequestGroup {
            group_id: "frost".into(),
            member_id: Some("m-1".into()),
            member_epoch: 7,
            topics: Some(vec![OffsetFetchRequestTopics { name, topic_id, partition_indexes: vec![3, 9] }]),
        };
        let all =
            OffsetFetchRequestGroup { group_id: "rime".into(), topics: None, ..OffsetFetchRequestGroup::default() };
        let request =
            OffsetFetchRequest { groups: vec![one, all], require_stable: true, ..OffsetFetchRequest::default() };
        check(request, version, hex);
    }
}
