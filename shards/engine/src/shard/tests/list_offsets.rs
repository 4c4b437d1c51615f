//! ListOffsets over whole shards: every special timestamp in every version, lookups by time, what is refused.

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::messages::list_offsets::{EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST_TIERED, MAX_TIMESTAMP};

use super::*;

/// Error, timestamp, offset, leader epoch.
type Row = (i16, i64, i64, i32);

const T: i64 = 1_700_000_000_000;

fn ask(node: &mut Node, version: i16, parts: &[(i32, i64, i32)]) -> Vec<Row> {
    let parts = parts.iter().map(|(partition_index, timestamp, current_leader_epoch)| ListOffsetsPartition {
        partition_index: *partition_index,
        timestamp: *timestamp,
        current_leader_epoch: *current_leader_epoch,
    });
    let topic = ListOffsetsTopic { name: "t".into(), partitions: parts.collect() };
    node.send(2, version, &ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() });
    let response = ListOffsetsResponse::decode_all(node.reply(2, version), version).unwrap();
    let all = &response.topics[0].partitions;
    all.iter().map(|p| (p.error_code, p.timestamp, p.offset, p.leader_epoch)).collect()
}

fn produce(node: &mut Node, partition: i32, timestamps: &[i64]) {
    let mut builder = BatchBuilder::new(Codec::None);
    for timestamp in timestamps {
        builder.push(BatchRecord { timestamp: *timestamp, ..BatchRecord::default() });
    }
    node.produce("t", partition, &builder.finish(), 1);
    assert_eq!(node.produced().0, codes::NONE);
}

#[test]
fn special_timestamps_are_kafkas() {
    let too_new = codes::UNSUPPORTED_VERSION;
    for shards in [1, 2] {
        let mut node = Node::start(shards, BTreeMap::new());
        node.create("t", 2, 1);
        produce(&mut node, 1, &[T + 5]);
        produce(&mut node, 1, &[T + 9]);
        produce(&mut node, 1, &[T + 7]);
        let rows: &[(i64, i16, Row, Row)] = &[
            (LATEST, 1, (0, -1, 0, 0), (0, -1, 3, 0)),
            (EARLIEST, 1, (0, -1, 0, 0), (0, -1, 0, 0)),
            (MAX_TIMESTAMP, 7, (0, -1, -1, -1), (0, T + 9, 1, 0)),
            (EARLIEST_LOCAL, 8, (0, -1, 0, 0), (0, -1, 0, 0)),
            (LATEST_TIERED, 9, (0, -1, -1, -1), (0, -1, -1, -1)),
            (EARLIEST_PENDING_UPLOAD, 11, (0, -1, -1, -1), (0, -1, -1, -1)),
            (-7, 99, (0, 0, 0, 0), (0, 0, 0, 0)),
            (T + 6, 1, (0, -1, -1, -1), (0, T + 9, 1, 0)),
            (T + 10, 1, (0, -1, -1, -1), (0, -1, -1, -1)),
            (0, 1, (0, -1, -1, -1), (0, T + 5, 0, 0)),
        ];
        for (timestamp, since, empty, filled) in rows {
            for version in 4..=11 {
                let got = ask(&mut node, version, &[(0, *timestamp, -1), (1, *timestamp, 0)]);
                let refused = (too_new, -1, -1, -1);
                let want = if version >= *since { [*empty, *filled] } else { [refused, refused] };
                assert_eq!(got, want, "{timestamp} in version {version}");
            }
        }
    }
}

#[test]
fn what_makes_no_sense_is_said() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    let rows = ask(&mut node, 7, &[(0, LATEST, 1), (1, LATEST, 0), (2, LATEST, 0), (1, EARLIEST, 0)]);
    let errors: Vec<i16> = rows.iter().map(|row| row.0).collect();
    let invalid = codes::INVALID_REQUEST;
    assert_eq!(errors, [codes::UNKNOWN_LEADER_EPOCH, invalid, codes::UNKNOWN_TOPIC_OR_PARTITION, invalid]);
    assert!(rows.iter().all(|row| (row.1, row.2, row.3) == (-1, -1, -1)));
}
