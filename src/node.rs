//! Boot order and shutdown order.

pub mod data_dir;
pub mod limits;
pub mod ports;
pub mod signals;

use crate::config::Config;
use crate::problem::{Outcome, Problem};

/// Runs a broker from start to clean shutdown.
pub fn run(config: Config) -> Outcome {
    let _ = config;
    Err(Problem::new("this program cannot serve yet").because_of("the reactor is not joined to the engine"))
}
