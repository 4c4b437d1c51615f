//! Metadata (3): brokers, topics, partitions and their leaders.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Asks for topics.
    struct MetadataRequest['a] flexible 9 {
        /// Which topics; null is all (version 0: empty is all).
        topics: Option<Vec<MetadataRequestTopic<'a>>>, 0;
        /// Whether topics that are not there are made.
        allow_auto_topic_creation: bool, 4.., = true;
        /// Unused since version 11.
        include_cluster_authorized_operations: bool, 8..=10;
        /// Whether the answer says what the caller may do with each topic.
        include_topic_authorized_operations: bool, 8..;
    }
}

message! {
    /// One topic asked for.
    struct MetadataRequestTopic['a] {
        /// By id.
        topic_id: TopicId, 10..;
        /// By name.
        name: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
    }
}

message! {
    /// The cluster as the broker knows it.
    struct MetadataResponse['a] flexible 9 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 3..;
        /// The brokers.
        brokers: Vec<MetadataResponseBroker<'a>>, 0;
        /// The cluster's id.
        cluster_id: Option<Cow<'a, str>>, 2..;
        /// The broker that takes changes; -1 is unknown.
        controller_id: i32, 1.., = -1;
        /// The topics.
        topics: Vec<MetadataResponseTopic<'a>>, 0;
        /// Bits of what the caller may do with the cluster.
        cluster_authorized_operations: i32, 8..=10, = i32::MIN;
        /// Error of the whole request.
        error_code: i16, 13..;
    }
}

message! {
    /// One broker.
    struct MetadataResponseBroker['a] {
        /// Its id.
        node_id: i32, 0;
        /// Its host.
        host: Cow<'a, str>, 0;
        /// Its port.
        port: i32, 0;
        /// Its rack.
        rack: Option<Cow<'a, str>>, 1..;
    }
}

message! {
    /// One topic.
    struct MetadataResponseTopic['a] {
        /// Error code.
        error_code: i16, 0;
        /// Its name.
        name: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// Its id.
        topic_id: TopicId, 10..;
        /// Whether it is the broker's own.
        is_internal: bool, 1..;
        /// Its partitions.
        partitions: Vec<MetadataResponsePartition>, 0;
        /// Bits of what the caller may do with it.
        topic_authorized_operations: i32, 8.., = i32::MIN;
    }
}

message! {
    /// One partition.
    struct MetadataResponsePartition[] {
        /// Error code.
        error_code: i16, 0;
        /// Its number.
        partition_index: i32, 0;
        /// Its leader's broker id.
        leader_id: i32, 0;
        /// The leader's epoch.
        leader_epoch: i32, 7.., = -1;
        /// All replicas.
        replica_nodes: Vec<i32>, 0;
        /// Replicas in sync.
        isr_nodes: Vec<i32>, 0;
        /// Replicas that are down.
        offline_replicas: Vec<i32>, 5..;
    }
}
