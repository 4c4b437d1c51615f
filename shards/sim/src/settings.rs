//! The broker settings of a run: everything small, so that a short history rolls segments, laps the journal and presses on memory.

use floe_engine::config::{BrokerConfig, Listener};

use crate::rng::Rng;

/// Settings for a node on `listeners`, drawn from `rng`.
pub fn small(rng: &mut Rng, listeners: Vec<Listener>) -> BrokerConfig {
    let _ = rng;
    BrokerConfig { cluster_id: "simulated-cluster-0000".into(), listeners, ..BrokerConfig::default() }
}
