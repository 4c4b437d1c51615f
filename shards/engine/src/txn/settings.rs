//! The broker's settings that transactions follow, under Kafka's names, resolved.

/// As `config` has resolved them; names are those of the fields with dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnSettings {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub timeout_check_ms: u64,
    /// `transactional.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_check_ms: u64,
}

impl Default for TxnSettings {
    fn default() -> TxnSettings {
        TxnSettings {
            timeout_ms_max: 900_000,
            timeout_check_ms: 10_000,
            expiration_ms: 604_800_000,
            expiration_check_ms: 3_600_000,
        }
    }
}
