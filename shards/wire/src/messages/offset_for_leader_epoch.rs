//! OffsetForLeaderEpoch (23): where an epoch ends (KIP-320).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Epochs to look up.
    struct OffsetForLeaderEpochRequest['a] flexible 4 {
        /// -2 for consumers.
        replica_id: i32, 3.., = -2;
        /// By topic.
        topics: Vec<OffsetForLeaderTopic<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct OffsetForLeaderTopic['a] {
        /// Its name.
        topic: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<OffsetForLeaderPartition>, 0;
    }
}

message! {
    /// A partition.
    struct OffsetForLeaderPartition[] {
        /// The partition.
        partition: i32, 0;
        /// The leader epoch that the caller knows; -1 is unknown.
        current_leader_epoch: i32, 2.., = -1;
        /// The epoch to look up.
        leader_epoch: i32, 0;
    }
}

message! {
    /// Ends of epochs.
    struct OffsetForLeaderEpochResponse['a] flexible 4 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// By topic.
        topics: Vec<OffsetForLeaderTopicResult<'a>>, 0;
    }
}

message! {
    /// A topic's.
    struct OffsetForLeaderTopicResult['a] {
        /// Its name.
        topic: Cow<'a, str>, 0;
        /// By partition.
        partitions: Vec<EpochEndOffset>, 0;
    }
}

message! {
    /// A partition's.
    struct EpochEndOffset[] {
        /// Error code.
        error_code: i16, 0;
        /// The partition.
        partition: i32, 0;
        /// The largest epoch up to the one asked for; -1 is none.
        leader_epoch: i32, 1.., = -1;
        /// Its end; -1 is none.
        end_offset: i64, 0, = -1;
    }
}
