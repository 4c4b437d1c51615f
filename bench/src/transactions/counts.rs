//! What is counted: in a span, and over all.

use hdrhistogram::Histogram;

/// Of a span.
pub struct Counts {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Times that somebody was told CONCURRENT_TRANSACTIONS.
    pub concurrent: u64,
    /// Value bytes acknowledged.
    pub bytes: u64,
    /// From sending EndTxn to its answer, in microseconds.
    pub commit_us: Histogram<u64>,
    /// From first sending what a transaction writes until all of it was taken: with the wait for the markers of the one before.
    pub produce_us: Histogram<u64>,
    /// From first sending what it writes to the answer of EndTxn.
    pub whole_us: Histogram<u64>,
}

/// Over all, by partition: what must be read in the end.
pub struct Totals {
    /// Records acknowledged.
    pub records: Vec<u64>,
    /// Transactions that wrote to the partition and were committed.
    pub markers: Vec<u64>,
    /// Transactions.
    pub transactions: u64,
}

impl Counts {
    /// None.
    pub fn new() -> Counts {
        let histogram = || Histogram::new_with_bounds(1, 120_000_000, 3).expect("bounds in order");
        Counts {
            transactions: 0,
            concurrent: 0,
            bytes: 0,
            commit_us: histogram(),
            produce_us: histogram(),
            whole_us: histogram(),
        }
    }
}

impl Totals {
    /// None, of so many partitions.
    pub fn new(partitions: usize) -> Totals {
        Totals { records: vec![0; partitions], markers: vec![0; partitions], transactions: 0 }
    }
}
