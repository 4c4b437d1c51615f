//! The kinds of runs, and how to do one again.

use crate::bare::{self, Room};
use crate::broker;
use crate::run::{Options, Outcome};

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole broker under Kafka clients.
    Broker,
    /// The broker with consumer groups and compacted topics.
    Groups,
    /// The broker with consumer groups whose members speak both protocols.
    Mixed,
    /// The broker with transactions.
    Txns,
    /// The log alone, with far smaller journals.
    Log,
    /// The log alone, with journals that are full most of the time.
    Tiny,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [Kind::Broker, Kind::Groups, Kind::Mixed, Kind::Txns, Kind::Log, Kind::Tiny];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Broker => "broker",
            Kind::Groups => "groups",
            Kind::Mixed => "mixed",
            Kind::Txns => "txns",
            Kind::Log => "log",
            Kind::Tiny => "tiny",
        }
    }

    /// Reads what [`Kind::name`] gave.
    pub fn of(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Does the run of a seed.
    pub fn run(self, seed: u64, options: Options) -> Outcome {
        match self {
            Kind::Broker => broker::run(seed, options),
            Kind::Groups => broker::run_groups(seed, options),
            Kind::Mixed => broker::run_mixed(seed, options),
            Kind::Txns => broker::run_txns(seed, options),
            Kind::Log => bare::run(seed, Room::Some, options),
            Kind::Tiny => bare::run(seed, Room::Tiny, options),
        }
    }

    /// The command that does the run again.
    pub fn replay(self, seed: u64) -> String {
        format!("scripts/dev sim {seed} --only {}", self.name())
    }
}
