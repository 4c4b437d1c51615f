//! DescribeLogDirs (35): what lies on the broker's disks.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which partitions.
    struct DescribeLogDirsRequest['a] flexible 2 {
        /// By topic; null is all.
        topics: Option<Vec<DescribableLogDirTopic<'a>>>, 0, = Some(Vec::new());
    }
}

message! {
    /// A topic.
    struct DescribableLogDirTopic['a] {
        /// Its name.
        topic: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<i32>, 0;
    }
}

message! {
    /// The directories.
    struct DescribeLogDirsResponse['a] flexible 2 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error of the whole request.
        error_code: i16, 3..;
        /// By directory.
        results: Vec<DescribeLogDirsResult<'a>>, 0;
    }
}

message! {
    /// A directory.
    struct DescribeLogDirsResult['a] {
        /// Error code.
        error_code: i16, 0;
        /// Its path.
        log_dir: Cow<'a, str>, 0;
        /// What is in it.
        topics: Vec<DescribeLogDirsTopic<'a>>, 0;
        /// Size of its file system; -1 is unknown.
        total_bytes: i64, 4.., = -1;
        /// What is free; -1 is unknown.
        usable_bytes: i64, 4.., = -1;
        /// Whether it is closed for new partitions.
        is_cordoned: bool, 5..;
    }
}

message! {
    /// A topic.
    struct DescribeLogDirsTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<DescribeLogDirsPartition>, 0;
    }
}

message! {
    /// A partition.
    struct DescribeLogDirsPartition[] {
        /// The partition.
        partition_index: i32, 0;
        /// Its size in bytes.
        partition_size: i64, 0;
        /// How far it is behind.
        offset_lag: i64, 0;
        /// Whether it is on its way to another directory.
        is_future_key: bool, 0;
    }
}
