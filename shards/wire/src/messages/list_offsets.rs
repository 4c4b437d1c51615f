//! ListOffsets (2): offsets by timestamp, with negative timestamps for places in the log.

use std::borrow::Cow;

use crate::declare::message;

/// Timestamp that asks for the log's end.
pub const LATEST: i64 = -1;
/// Timestamp that asks for the log's start.
pub const EARLIEST: i64 = -2;
/// Timestamp that asks for the record with the largest timestamp (KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// Timestamp that asks for the start of what is on this broker's disk (KIP-405).
pub const EARLIEST_LOCAL: i64 = -4;
/// Timestamp that asks for the end of what is in remote storage (KIP-1005).
pub const LATEST_TIERED: i64 = -5;
/// Timestamp that asks for the start of what is still to be copied to remote storage (KIP-1023, version 11).
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// First version that knows each constant; -1 and -2 are older than all versions there are.
pub const SINCE: [(i64, i16); 4] =
    [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11)];

message! {
    /// What to look for.
    struct ListOffsetsRequest['a] flexible 6 {
        /// -1 for consumers.
        replica_id: i32, 0;
        /// 0: all that is committed; 1: only committed transactions.
        isolation_level: i8, 2..;
        /// By topic.
        topics: Vec<ListOffsetsTopic<'a>>, 0;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, 10..;
    }
}

message! {
    /// A topic to look in.
    struct ListOffsetsTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<ListOffsetsPartition>, 0;
    }
}

message! {
    /// A partition to look in.
    struct ListOffsetsPartition[] {
        /// The partition.
        partition_index: i32, 0;
        /// The leader epoch that the caller knows; -1 is unknown.
        current_leader_epoch: i32, 4.., = -1;
        /// In milliseconds, or one of the constants.
        timestamp: i64, 0;
    }
}

message! {
    /// What was found.
    struct ListOffsetsResponse['a] flexible 6 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// By topic.
        topics: Vec<ListOffsetsTopicResponse<'a>>, 0;
    }
}

message! {
    /// What was found in a topic.
    struct ListOffsetsTopicResponse['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// By partition.
        partitions: Vec<ListOffsetsPartitionResponse>, 0;
    }
}

message! {
    /// What was found in a partition.
    struct ListOffsetsPartitionResponse[] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// The record's timestamp; -1 when there is none.
        timestamp: i64, 1.., = -1;
        /// The offset; -1 when there is none.
        offset: i64, 1.., = -1;
        /// Its leader epoch.
        leader_epoch: i32, 4.., = -1;
    }
}
