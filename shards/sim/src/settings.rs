//! The broker settings of a run: everything small, so that a short history rolls segments, laps the journal and presses on memory. They are put
//! where the checked values of a configuration stand, past the lower bounds that protect operators.

use floe_engine::config::{BrokerConfig, Listener, Values};

use crate::rng::Rng;

/// Settings for a node on `listeners`, drawn from `rng`.
pub fn small(rng: &mut Rng, listeners: Vec<Listener>) -> BrokerConfig {
    // Three files of this size make the journal; the smallest holds two of the largest batches that clients make.
    let journal_file_bytes = *rng.pick(&[131_072, 262_144, 1 << 20]);
    let journal_bytes = journal_file_bytes * 3;
    let cache_bytes = (*rng.pick(&[262_144, 1 << 20, 8 << 20])).max(journal_file_bytes * 2);
    let mut values = Values::new();
    let mut set = |name: &str, value: u64| values.insert(name.into(), value.to_string());
    set("journal.bytes", journal_bytes);
    set("cache.bytes", cache_bytes);
    set("settle.bytes", rng.log_range(8_192, journal_bytes / 2));
    set("commit.bytes", rng.log_range(16_384, journal_file_bytes / 2));
    set("commit.wait.us", *rng.pick(&[0, 0, 0, 200]));
    if rng.percent(60) {
        set("direct.bytes", rng.log_range(200, 32_768));
    }
    set("log.retention.check.interval.ms", rng.range(100, 2_000));
    set("log.segment.bytes", rng.log_range(16_384, 1 << 20));
    if rng.percent(30) {
        set("log.roll.ms", rng.range(200, 5_000));
    }
    let fetch_max_bytes = rng.log_range(1_024, 55 << 20);
    set("fetch.max.bytes", fetch_max_bytes);
    set("fetch.lagging.partition.bytes", [0, 1, 2_000, 65_536][(fetch_max_bytes % 4) as usize]);
    set("max.incremental.fetch.session.cache.slots", *rng.pick(&[0, 1, 2, 1_000]));
    if rng.percent(60) {
        set("metadata.log.max.record.bytes.between.snapshots", rng.log_range(1, 4_000));
    }
    // Connections ask for random partitions: with a window this short every few requests move one.
    set("connections.move.requests", *rng.pick(&[1, 2, 2, 4, 16]));
    set("connections.move.interval.ms", *rng.pick(&[0, 0, 1, 50]));
    values.insert("connections.move".into(), rng.percent(80).to_string());
    BrokerConfig { cluster_id: "simulated-cluster-0000".into(), listeners, values, ..BrokerConfig::default() }
}
