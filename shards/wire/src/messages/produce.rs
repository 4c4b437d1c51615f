//! Produce (0): appends record batches. Advertised from version 0, answered from 3 on (KAFKA-18659).

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;
use crate::primitives::Records;

message! {
    /// Batches for partitions.
    struct ProduceRequest['a] flexible 9 {
        /// The producer's transactional id.
        transactional_id: Option<Cow<'a, str>>, 3..;
        /// 0: no answer; 1: the leader has it; -1: all replicas in sync have it.
        acks: i16, 0;
        /// How long the broker may wait for replicas, in milliseconds.
        timeout_ms: i32, 0;
        /// The batches.
        topic_data: Vec<TopicProduceData<'a>>, 0;
    }
}

message! {
    /// Batches for a topic.
    struct TopicProduceData['a] {
        /// The topic, up to version 12.
        name: Cow<'a, str>, 0..=12;
        /// The topic, from version 13 on.
        topic_id: TopicId, 13..;
        /// Its partitions.
        partition_data: Vec<PartitionProduceData<'a>>, 0;
    }
}

message! {
    /// Batches for a partition.
    struct PartitionProduceData['a] {
        /// The partition.
        index: i32, 0;
        /// The batches.
        records: Records<'a>, 0;
    }
}

message! {
    /// What became of the batches.
    struct ProduceResponse['a] flexible 9 {
        /// By topic.
        responses: Vec<TopicProduceResponse<'a>>, 0;
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Leaders that the partitions moved to.
        node_endpoints: Vec<NodeEndpoint<'a>>, 10.., tag 0;
    }
}

message! {
    /// A topic's answers.
    struct TopicProduceResponse['a] {
        /// The topic, up to version 12.
        name: Cow<'a, str>, 0..=12;
        /// The topic, from version 13 on.
        topic_id: TopicId, 13..;
        /// By partition.
        partition_responses: Vec<PartitionProduceResponse<'a>>, 0;
    }
}

message! {
    /// A partition's answer.
    struct PartitionProduceResponse['a] {
        /// The partition.
        index: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// Offset of the first record; -1 when there is none.
        base_offset: i64, 0;
        /// When the broker appended it, in milliseconds; -1 when records keep their own timestamps.
        log_append_time_ms: i64, 2.., = -1;
        /// First offset of the partition.
        log_start_offset: i64, 5.., = -1;
        /// The records that made the batch fail.
        record_errors: Vec<BatchIndexAndErrorMessage<'a>>, 8..;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 8..;
        /// The leader, where it is another.
        current_leader: LeaderIdAndEpoch, 10.., tag 0;
    }
}

message! {
    /// A record that made its batch fail.
    struct BatchIndexAndErrorMessage['a] {
        /// Its place in the batch.
        batch_index: i32, 8..;
        /// Why.
        batch_index_error_message: Option<Cow<'a, str>>, 8..;
    }
}

message! {
    /// A partition's leader.
    struct LeaderIdAndEpoch[] {
        /// Broker id; -1 is unknown.
        leader_id: i32, 10.., = -1;
        /// Its epoch; -1 is unknown.
        leader_epoch: i32, 10.., = -1;
    }
}

message! {
    /// Where a broker is.
    struct NodeEndpoint['a] {
        /// Its id.
        node_id: i32, 10..;
        /// Its host.
        host: Cow<'a, str>, 10..;
        /// Its port.
        port: i32, 10..;
        /// Its rack.
        rack: Option<Cow<'a, str>>, 10..;
    }
}
