//! DescribeCluster (60).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Asks for the brokers.
    struct DescribeClusterRequest[] flexible 0 {
        /// Whether the answer says what the caller may do.
        include_cluster_authorized_operations: bool, 0;
        /// 1: brokers; 2: controllers.
        endpoint_type: i8, 1.., = 1;
        /// Whether fenced brokers are listed.
        include_fenced_brokers: bool, 2..;
    }
}

message! {
    /// The brokers.
    struct DescribeClusterResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 0;
        /// As asked for.
        endpoint_type: i8, 1.., = 1;
        /// The cluster's id.
        cluster_id: Cow<'a, str>, 0;
        /// The broker that takes changes.
        controller_id: i32, 0, = -1;
        /// The brokers.
        brokers: Vec<DescribeClusterBroker<'a>>, 0;
        /// Bits of what the caller may do.
        cluster_authorized_operations: i32, 0, = i32::MIN;
    }
}

message! {
    /// A broker.
    struct DescribeClusterBroker['a] {
        /// Its id.
        broker_id: i32, 0;
        /// Its host.
        host: Cow<'a, str>, 0;
        /// Its port.
        port: i32, 0;
        /// Its rack.
        rack: Option<Cow<'a, str>>, 0;
        /// Whether it is fenced.
        is_fenced: bool, 2..;
    }
}
