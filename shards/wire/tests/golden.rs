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

use std::fmt::Debug;

use floe_wire::messages::Message;
use floe_wire::messages::describe_log_dirs::*;
use floe_wire::messages::list_offsets::*;
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
