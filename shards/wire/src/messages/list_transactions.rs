//! ListTransactions (66): the transactional ids of a coordinator, filtered (KIP-664, KIP-994, KIP-1152).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which.
    struct ListTransactionsRequest['a] flexible 0 {
        /// Names of states; none is all.
        state_filters: Vec<Cow<'a, str>>, 0;
        /// Producers' ids; none is all.
        producer_id_filters: Vec<i64>, 0;
        /// Those that have been open for longer than this, in milliseconds; -1 is all.
        duration_filter: i64, 1.., = -1;
        /// Those whose id fits this regular expression; null or empty is all.
        transactional_id_pattern: Option<Cow<'a, str>>, 2..;
    }
}

message! {
    /// They.
    struct ListTransactionsResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// Names among the filters that are no states.
        unknown_state_filters: Vec<Cow<'a, str>>, 0;
        /// The transactional ids.
        transaction_states: Vec<TransactionState<'a>>, 0;
    }
}

message! {
    /// A transactional id.
    struct TransactionState['a] {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 0;
        /// The producer's id.
        producer_id: i64, 0;
        /// Its state's name.
        transaction_state: Cow<'a, str>, 0;
    }
}
