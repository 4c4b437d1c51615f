//! AddPartitionsToTxn (24): partitions that a transaction writes to. From version 4 for brokers among themselves, several transactions at once (KIP-890).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which partitions, of which transactions.
    struct AddPartitionsToTxnRequest['a] flexible 3 {
        /// The transactions.
        transactions: Vec<AddPartitionsToTxnTransaction<'a>>, 4..;
        /// The transactional id.
        v3_and_below_transactional_id: Cow<'a, str>, 0..=3;
        /// Its producer's id.
        v3_and_below_producer_id: i64, 0..=3;
        /// Its producer's epoch.
        v3_and_below_producer_epoch: i16, 0..=3;
        /// By topic.
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic<'a>>, 0..=3;
    }
}

message! {
    /// A transaction.
    struct AddPartitionsToTxnTransaction['a] {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 4..;
        /// Its producer's id.
        producer_id: i64, 4..;
        /// Its producer's epoch.
        producer_epoch: i16, 4..;
        /// Adds nothing: asks whether they are there.
        verify_only: bool, 4..;
        /// By topic.
        topics: Vec<AddPartitionsToTxnTopic<'a>>, 4..;
    }
}

message! {
    /// A topic.
    struct AddPartitionsToTxnTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<i32>, 0;
    }
}

message! {
    /// What was added.
    struct AddPartitionsToTxnResponse['a] flexible 3 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code of the whole.
        error_code: i16, 4..;
        /// By transaction.
        results_by_transaction: Vec<AddPartitionsToTxnResult<'a>>, 4..;
        /// By topic.
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult<'a>>, 0..=3;
    }
}

message! {
    /// A transaction.
    struct AddPartitionsToTxnResult['a] {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 4..;
        /// By topic.
        topic_results: Vec<AddPartitionsToTxnTopicResult<'a>>, 4..;
    }
}

message! {
    /// A topic.
    struct AddPartitionsToTxnTopicResult['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, 0;
    }
}

message! {
    /// A partition.
    struct AddPartitionsToTxnPartitionResult[] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        partition_error_code: i16, 0;
    }
}
