//! One partition's place in the log: its offsets, its unsettled and cached batches, its segments, its producers. Lives in the
//! [`crate::log::ShardLog`] of the shard that owns it.

use crate::producers::Producers;

/// A partition. What the rest of the shard may ask stands first; the log alone changes it.
#[derive(Debug, Default)]
pub struct Partition {
    log_start: i64,
    high_watermark: i64,
    log_end: i64,
    size_bytes: u64,
    failed: Option<String>,
    producers: Producers,
}

impl Partition {
    /// Offset of the first record that can be read.
    pub fn log_start(&self) -> i64 {
        self.log_start
    }
    /// Offset behind the last record that can be shown.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }
    /// Offset that the next record gets.
    pub fn log_end(&self) -> i64 {
        self.log_end
    }
    /// Offset behind the last record that no open transaction holds back; the high watermark while there are no transactions.
    pub fn last_stable(&self) -> i64 {
        self.high_watermark
    }
    /// Bytes of all batches from the log start on.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    /// Why the partition cannot be used, if so.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }
    /// Its idempotent producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }
}
