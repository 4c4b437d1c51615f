//! TxnOffsetCommit (28): offsets of a group that count when the transaction commits. From version 5 the group is added to it implicitly (KIP-890).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// What is committed.
    struct TxnOffsetCommitRequest['a] flexible 3 {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 0;
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The producer's id.
        producer_id: i64, 0;
        /// The producer's epoch.
        producer_epoch: i16, 0;
        /// Generation (classic) or member epoch (KIP-848) of the consumer; -1 is not told.
        generation_id: i32, 3.., = -1;
        /// The consumer's member id; empty is not told.
        member_id: Cow<'a, str>, 3..;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 3..;
        /// By topic.
        topics: Vec<TxnOffsetCommitRequestTopic<'a>>, 0;
    }
}

message! {
    /// A topic's offsets.
    struct TxnOffsetCommitRequestTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<TxnOffsetCommitRequestPartition<'a>>, 0;
    }
}

message! {
    /// A partition's offset.
    struct TxnOffsetCommitRequestPartition['a] {
        /// The partition.
        partition_index: i32, 0;
        /// The next offset to read.
        committed_offset: i64, 0;
        /// Leader epoch of the last record read; -1 is unknown.
        committed_leader_epoch: i32, 2.., = -1;
        /// What the client wants kept beside it.
        committed_metadata: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
    }
}

message! {
    /// What was taken.
    struct TxnOffsetCommitResponse['a] flexible 3 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By topic.
        topics: Vec<TxnOffsetCommitResponseTopic<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct TxnOffsetCommitResponseTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<TxnOffsetCommitResponsePartition>, 0;
    }
}

message! {
    /// A partition.
    struct TxnOffsetCommitResponsePartition[] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
