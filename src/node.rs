//! Boot order and shutdown order of a broker.
//!
//! Up: ports, data directory, admin HTTP, shards, and clients only when every shard has recovered. Down: no new clients, every
//! shard makes its records durable, threads end, the data directory is let go.

pub mod data_dir;
pub mod limits;
pub mod ports;
pub mod signals;

use std::io::IsTerminal;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use floe_engine::event::{AdminReply, AdminRequest};
use floe_engine::shard::Shard;
use floe_reactor::run::{Asker, Event, Plan, Shards};

use self::data_dir::DataDir;
use crate::admin::{self, Admin, Phase};
use crate::config::{Config, cores, listeners};
use crate::problem::{Outcome, Problem, Tried};

/// How long a shard may take to answer the admin thread.
const ASK_PATIENCE: Duration = Duration::from_secs(2);

/// Runs a broker from start to clean shutdown.
pub fn run(mut config: Config) -> Outcome {
    let began = Instant::now();
    say_what_happens();
    let signals = signals::listen()?;
    // Ports before data: a broker that cannot listen must not touch its directory.
    let mut sockets = Vec::new();
    for listener in &mut Arc::make_mut(&mut config.broker).listeners {
        sockets.push(ports::take(listener)?);
    }
    let admin_socket = match &config.admin_listen {
        Some((host, port)) => Some(
            ports::bind(host, *port, "--admin-listen HOST:PORT")
                .map_err(|problem| problem.next("or leave the admin port out with --admin-listen none"))?,
        ),
        None => None,
    };
    let data = DataDir::serve(&config.data_dir)?;
    for note in limits::raise().iter().chain(&config.notes) {
        tracing::warn!("{note}");
    }
    let shards = start(&config, &data, sockets)?;
    let admin = match admin_socket {
        Some(socket) => Some(Admin::start(socket, AskShards(shards.asker()))?),
        None => None,
    };
    let ended = serve(&config, &shards, &signals, admin.as_ref(), began);
    shards.exit();
    if let Some(admin) = admin {
        admin.stop();
    }
    ended
}

/// Log lines go to standard error; `FLOE_LOG` says which (such as `debug` or `floe_reactor=debug,info`).
fn say_what_happens() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FLOE_LOG").unwrap_or_else(|_| "info".into());
    // Set already in tests that run several brokers in one process.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

fn start(config: &Config, data: &DataDir, sockets: Vec<TcpListener>) -> Outcome<Shards> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .tried(|| "cannot get random numbers from the kernel".to_owned())?;
    let allowed = cores::allowed();
    let shares_cpus = config.cpus.len() > allowed.len();
    let plan = Plan {
        data_dir: data.path.clone(),
        config: config.broker.clone(),
        seed,
        // A shard that shares its CPU with another one anyway is better moved about by the kernel.
        pin: !shares_cpus,
        cpus: config.cpus.clone(),
        // One that polls there would take the time from the others that have work.
        spin: if shares_cpus { Duration::ZERO } else { Duration::from_micros(config.spin_us) },
        cpu_latency_us: config.cpu_latency_us,
        listeners: sockets,
    };
    let age = if data.is_new { "new" } else { "found" };
    tracing::info!(
        "data directory {} ({age}), {} shards on CPUs {:?}",
        data.path.display(),
        config.cpus.len(),
        config.cpus
    );
    floe_reactor::run::start(plan, |_| Shard::default()).map_err(|error| {
        Problem::new("cannot start the shards: the kernel refuses an io_uring or a thread")
            .because(error)
            .next("run `floe check`: it says what this machine lacks and the command that mends it")
    })
}

/// From the start of the shards to the end of all of them.
fn serve(
    config: &Config,
    shards: &Shards,
    signals: &flume::Receiver<&'static str>,
    admin: Option<&Admin>,
    began: Instant,
) -> Outcome {
    let mut stopping = false;
    loop {
        enum Came {
            Shards(Event),
            Signal(&'static str),
        }
        let came = flume::Selector::new()
            .recv(shards.events(), |event| event.ok().map(Came::Shards))
            .recv(signals, |signal| signal.ok().map(Came::Signal))
            .wait();
        match came {
            Some(Came::Shards(Event::Ready)) => {
                for listener in &config.broker.listeners {
                    let bound = listeners::shown(&listener.bind_host, listener.bind_port);
                    let told = listeners::shown(&listener.advertised_host, listener.advertised_port);
                    tracing::info!("listener {}: {bound}; clients are told {told}", listener.name);
                }
                if let Some(admin) = admin {
                    admin.set_phase(Phase::Serving);
                    tracing::info!("health and metrics: http://{}", admin.address());
                }
                tracing::info!("ready after {} ms", began.elapsed().as_millis());
            }
            Some(Came::Signal(name)) => {
                tracing::info!("{name}: ending cleanly; again to end at once");
                stopping = true;
                if let Some(admin) = admin {
                    admin.set_phase(Phase::Stopping);
                }
                shards.shutdown();
            }
            Some(Came::Shards(Event::Stopped)) => {
                tracing::info!("stopped: every record is on disk");
                return Ok(());
            }
            Some(Came::Shards(Event::Fatal(message))) => {
                return Err(Problem::new("the broker cannot go on").because_of(message));
            }
            // The signal thread ends only with the process, the shards' senders only after `exit`.
            None if stopping => return Ok(()),
            None => return Err(Problem::new("the shards ended without a word")),
        }
    }
}

/// The admin thread's view of the shards.
struct AskShards(Asker);

impl admin::Shards for AskShards {
    fn not_ready(&self) -> Option<String> {
        (0..self.0.shards()).find_map(|shard| match self.0.ask(shard, AdminRequest::Ready, ASK_PATIENCE) {
            Some(AdminReply::Ready(Ok(()))) => None,
            Some(AdminReply::Ready(Err(why))) => Some(format!("shard {shard}: {why}")),
            _ => Some(format!("shard {shard} does not answer")),
        })
    }

    fn metrics(&self) -> String {
        let answers = (0..self.0.shards()).map(|shard| match self.0.ask(shard, AdminRequest::Metrics, ASK_PATIENCE) {
            Some(AdminReply::Metrics(metrics)) => Some(*metrics),
            _ => None,
        });
        admin::metrics::page(&answers.collect::<Vec<_>>()).text()
    }
}
