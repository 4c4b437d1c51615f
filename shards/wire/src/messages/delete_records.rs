//! DeleteRecords (21): moves the start of partitions.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// What to delete.
    struct DeleteRecordsRequest['a] flexible 2 {
        /// By topic.
        topics: Vec<DeleteRecordsTopic<'a>>, 0;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, 0;
    }
}

message! {
    /// A topic to delete from.
    struct DeleteRecordsTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<DeleteRecordsPartition>, 0;
    }
}

message! {
    /// A partition to delete from.
    struct DeleteRecordsPartition[] {
        /// The partition.
        partition_index: i32, 0;
        /// First offset that stays; -1 is the high watermark.
        offset: i64, 0;
    }
}

message! {
    /// What became of it.
    struct DeleteRecordsResponse['a] flexible 2 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By topic.
        topics: Vec<DeleteRecordsTopicResult<'a>>, 0;
    }
}

message! {
    /// What became of a topic.
    struct DeleteRecordsTopicResult['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// By partition.
        partitions: Vec<DeleteRecordsPartitionResult>, 0;
    }
}

message! {
    /// What became of a partition.
    struct DeleteRecordsPartitionResult[] {
        /// The partition.
        partition_index: i32, 0;
        /// Its first offset now.
        low_watermark: i64, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
