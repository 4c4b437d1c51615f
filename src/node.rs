//! Boot order and shutdown order.

pub mod data_dir;
pub mod limits;
pub mod ports;
pub mod signals;

use std::sync::Arc;

use self::data_dir::DataDir;
use crate::config::{Config, listeners};
use crate::problem::{Outcome, Problem};

/// Runs a broker from start to clean shutdown.
pub fn run(mut config: Config) -> Outcome {
    // Ports before data: a broker that cannot listen must not touch its directory.
    for listener in &mut Arc::make_mut(&mut config.broker).listeners {
        ports::check(listener)?;
    }
    if let Some((host, port)) = &config.admin_listen {
        ports::bind(host, *port, "--admin-listen HOST:PORT")
            .map_err(|problem| problem.next("or leave the admin port out with --admin-listen none"))?;
    }
    for note in &config.notes {
        eprintln!("{note}");
    }
    for listener in &config.broker.listeners {
        let told = listeners::shown(&listener.advertised_host, listener.advertised_port);
        eprintln!("listener {}: clients are told {told}", listener.name);
    }
    let _data = DataDir::serve(&config.data_dir)?;
    Err(Problem::new("this program cannot serve yet").because_of("the reactor is not joined to the engine"))
}
