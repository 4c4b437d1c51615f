//! The kinds of runs, and how to do one again.

use crate::run::{Options, Outcome};
use crate::{bare, broker};

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole broker under Kafka clients.
    Broker,
    /// The log alone, with far smaller journals.
    Log,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Broker, Kind::Log];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Broker => "broker",
            Kind::Log => "log",
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
            Kind::Log => bare::run(seed, options),
        }
    }

    /// The command that does the run again.
    pub fn replay(self, seed: u64) -> String {
        format!("scripts/dev sim {seed} --only {}", self.name())
    }
}
