//! WriteTxnMarkers (27): transactions end in partitions. What coordinators send, and tools that end a hanging transaction.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// The markers.
    struct WriteTxnMarkersRequest['a] flexible 1 {
        /// They.
        markers: Vec<WritableTxnMarker<'a>>, 0;
    }
}

message! {
    /// The end of a transaction.
    struct WritableTxnMarker['a] {
        /// The producer's id.
        producer_id: i64, 0;
        /// The epoch that ends with it.
        producer_epoch: i16, 0;
        /// Whether it commits.
        transaction_result: bool, 0;
        /// Where.
        topics: Vec<WritableTxnMarkerTopic<'a>>, 0;
        /// Epoch of the coordinator; -1 from tools.
        coordinator_epoch: i32, 0;
        /// Level of `transaction.version` that the transaction follows (KIP-1228).
        transaction_version: i8, 2..;
    }
}

message! {
    /// A topic.
    struct WritableTxnMarkerTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partition_indexes: Vec<i32>, 0;
    }
}

message! {
    /// What was written.
    struct WriteTxnMarkersResponse['a] flexible 1 {
        /// By marker.
        markers: Vec<WritableTxnMarkerResult<'a>>, 0;
    }
}

message! {
    /// A marker.
    struct WritableTxnMarkerResult['a] {
        /// The producer's id.
        producer_id: i64, 0;
        /// By topic.
        topics: Vec<WritableTxnMarkerTopicResult<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct WritableTxnMarkerTopicResult['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<WritableTxnMarkerPartitionResult>, 0;
    }
}

message! {
    /// A partition.
    struct WritableTxnMarkerPartitionResult[] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
