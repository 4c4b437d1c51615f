//! DescribeTransactions (65): what a coordinator knows of transactional ids (KIP-664).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which.
    struct DescribeTransactionsRequest['a] flexible 0 {
        /// The transactional ids.
        transactional_ids: Vec<Cow<'a, str>>, 0;
    }
}

message! {
    /// What is known.
    struct DescribeTransactionsResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By transactional id.
        transaction_states: Vec<TransactionState<'a>>, 0;
    }
}

message! {
    /// A transactional id.
    struct TransactionState['a] {
        /// Error code.
        error_code: i16, 0;
        /// The transactional id.
        transactional_id: Cow<'a, str>, 0;
        /// Its state's name.
        transaction_state: Cow<'a, str>, 0;
        /// How long a transaction may take, in milliseconds.
        transaction_timeout_ms: i32, 0;
        /// When the transaction began, in milliseconds since 1970; -1 is none.
        transaction_start_time_ms: i64, 0;
        /// The producer's id.
        producer_id: i64, 0;
        /// The producer's epoch.
        producer_epoch: i16, 0;
        /// The partitions of the transaction.
        topics: Vec<TopicData<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct TopicData['a] {
        /// Its name.
        topic: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<i32>, 0;
    }
}
