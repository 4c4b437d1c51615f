//! A shard's counters and histograms: plain numbers, read by the admin thread through [`crate::event::AdminRequest::Metrics`].

/// All counters of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardMetrics {}
