//! Fetch (1): reads record batches, with incremental sessions (KIP-227).

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;
use crate::primitives::Records;

message! {
    /// What to read.
    struct FetchRequest['a] flexible 12 {
        /// The cluster the caller means.
        cluster_id: Option<Cow<'a, str>>, 12.., tag 0;
        /// -1 for consumers.
        replica_id: i32, 0..=14, = -1;
        /// The follower, from version 15 on.
        replica_state: ReplicaState, 15.., tag 1;
        /// How long to wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32, 0;
        /// Bytes worth answering for.
        min_bytes: i32, 0;
        /// Bytes of the whole answer, at the most.
        max_bytes: i32, 3.., = i32::MAX;
        /// 0: all that is committed; 1: only committed transactions.
        isolation_level: i8, 4..;
        /// The fetch session; 0 is none.
        session_id: i32, 7..;
        /// Its epoch; -1 is no session.
        session_epoch: i32, 7.., = -1;
        /// The partitions (in a session: those that changed).
        topics: Vec<FetchTopic<'a>>, 0;
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<ForgottenTopic<'a>>, 7..;
        /// The consumer's rack.
        rack_id: Cow<'a, str>, 11..;
    }
}

message! {
    /// A follower's identity.
    struct ReplicaState[] {
        /// Broker id; -1 for consumers.
        replica_id: i32, 15.., = -1;
        /// Its epoch.
        replica_epoch: i64, 15.., = -1;
    }
}

message! {
    /// A topic to read.
    struct FetchTopic['a] {
        /// The topic, up to version 12.
        topic: Cow<'a, str>, 0..=12;
        /// The topic, from version 13 on.
        topic_id: TopicId, 13..;
        /// Its partitions.
        partitions: Vec<FetchPartition>, 0;
    }
}

message! {
    /// A partition to read.
    struct FetchPartition[] {
        /// The partition.
        partition: i32, 0;
        /// The leader epoch that the caller knows; -1 is unknown.
        current_leader_epoch: i32, 9.., = -1;
        /// First offset.
        fetch_offset: i64, 0;
        /// Epoch of the last record read; -1 is unknown.
        last_fetched_epoch: i32, 12.., = -1;
        /// A follower's first offset; -1 for consumers.
        log_start_offset: i64, 5.., = -1;
        /// Bytes of this partition, at the most.
        partition_max_bytes: i32, 0;
        /// A follower's directory.
        replica_directory_id: TopicId, 17.., tag 0;
        /// A follower's high watermark (KIP-1166).
        high_watermark: i64, 18.., tag 1, = i64::MAX;
    }
}

message! {
    /// Partitions that leave the session.
    struct ForgottenTopic['a] {
        /// The topic, up to version 12.
        topic: Cow<'a, str>, 7..=12;
        /// The topic, from version 13 on.
        topic_id: TopicId, 13..;
        /// Its partitions.
        partitions: Vec<i32>, 7..;
    }
}

message! {
    /// What was read.
    struct FetchResponse['a] flexible 12 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Error of the whole request.
        error_code: i16, 7..;
        /// The session; 0 is none.
        session_id: i32, 7..;
        /// By topic.
        responses: Vec<FetchableTopicResponse<'a>>, 0;
        /// Leaders that the partitions moved to.
        node_endpoints: Vec<NodeEndpoint<'a>>, 16.., tag 0;
    }
}

message! {
    /// What was read of a topic.
    struct FetchableTopicResponse['a] {
        /// The topic, up to version 12.
        topic: Cow<'a, str>, 0..=12;
        /// The topic, from version 13 on.
        topic_id: TopicId, 13..;
        /// By partition.
        partitions: Vec<PartitionData<'a>>, 0;
    }
}

message! {
    /// What was read of a partition.
    struct PartitionData['a] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// End of what consumers may see.
        high_watermark: i64, 0;
        /// End of what consumers of committed transactions may see.
        last_stable_offset: i64, 4.., = -1;
        /// First offset of the partition.
        log_start_offset: i64, 5.., = -1;
        /// Where the caller's log parts from this one.
        diverging_epoch: EpochEndOffset, 12.., tag 0;
        /// The leader, where it is another.
        current_leader: LeaderIdAndEpoch, 12.., tag 1;
        /// The snapshot that a follower needs first.
        snapshot_id: SnapshotId, 12.., tag 2;
        /// Aborted transactions in what was read; null when not asked for.
        aborted_transactions: Option<Vec<AbortedTransaction>>, 4..;
        /// A replica that is nearer; -1 is none.
        preferred_read_replica: i32, 11.., = -1;
        /// The batches.
        records: Records<'a>, 0;
    }
}

message! {
    /// End of an epoch.
    struct EpochEndOffset[] {
        /// The epoch; -1 is none.
        epoch: i32, 12.., = -1;
        /// Its end; -1 is none.
        end_offset: i64, 12.., = -1;
    }
}

message! {
    /// A partition's leader.
    struct LeaderIdAndEpoch[] {
        /// Broker id; -1 is unknown.
        leader_id: i32, 12.., = -1;
        /// Its epoch; -1 is unknown.
        leader_epoch: i32, 12.., = -1;
    }
}

message! {
    /// A snapshot of a metadata log.
    struct SnapshotId[] {
        /// Its end; -1 is none.
        end_offset: i64, 12.., = -1;
        /// Its epoch; -1 is none.
        epoch: i32, 12.., = -1;
    }
}

message! {
    /// An aborted transaction.
    struct AbortedTransaction[] {
        /// Its producer.
        producer_id: i64, 4..;
        /// Its first offset.
        first_offset: i64, 4..;
    }
}

message! {
    /// Where a broker is.
    struct NodeEndpoint['a] {
        /// Its id.
        node_id: i32, 16..;
        /// Its host.
        host: Cow<'a, str>, 16..;
        /// Its port.
        port: i32, 16..;
        /// Its rack.
        rack: Option<Cow<'a, str>>, 16..;
    }
}
