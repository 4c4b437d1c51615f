//! `floe serve`: flags to settings, then the node's life.

use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use crate::config::{Config, Flags};
use crate::node;
use crate::problem::Outcome;

/// Flags of `floe serve`. Each is a setting; what is given here wins over environment and file.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Read settings from this file. Without it ./floe.toml is read when it is there.
    #[arg(long, value_name = "FILE", env = "FLOE_CONFIG")]
    config: Option<PathBuf>,
    /// Keep data here [default: ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Listen here: HOST:PORT or NAME://HOST:PORT, several separated by commas [default: 127.0.0.1:9092].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// What clients are told to connect to, when it differs from --listen.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// CPUs to run on: a number of them (4), or which (0,2-5). One shard each [default: all that this process may use].
    #[arg(long, value_name = "LIST|N")]
    cores: Option<String>,
    /// Allow more shards than CPUs (for trying things out; several shards then share a CPU).
    #[arg(long)]
    oversubscribe: bool,
    /// Sets the tuning knobs for short waits, for throughput, or between; each knob can still be set alone.
    #[arg(long, value_name = "latency|balanced|bandwidth")]
    profile: Option<String>,
    /// When a write is acknowledged: on stable storage, handed to the file system, or in memory [default: flushed].
    #[arg(long, value_name = "flushed|written|memory")]
    durability: Option<String>,
    /// Health and metrics over HTTP here; `none` for no admin port [default: 127.0.0.1:9644].
    #[arg(long, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// Any setting by its name, such as log.retention.ms=3600000; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the settings in force, where each comes from, and end.
    #[arg(long)]
    print_config: bool,
}

pub(super) fn run(args: ServeArgs) -> Outcome {
    let mut flags = Flags::new(args.config);
    let named = [
        ("data.dir", "--data-dir", args.data_dir),
        ("listeners", "--listen", args.listen),
        ("advertised.listeners", "--advertise", args.advertise),
        ("cores", "--cores", args.cores),
        ("oversubscribe", "--oversubscribe", args.oversubscribe.then(|| "true".to_owned())),
        ("profile", "--profile", args.profile),
        ("durability", "--durability", args.durability),
        ("admin.listen", "--admin-listen", args.admin_listen),
    ];
    for (name, flag, value) in named {
        if let Some(value) = value {
            flags.push(name, value, flag);
        }
    }
    for pair in args.set {
        flags.push_pair(&pair)?;
    }
    let config = Config::load(&flags, std::env::vars_os())?;
    if args.print_config {
        let mut output = Output::new();
        output.bytes(config.print().as_bytes())?;
        return output.flush();
    }
    node::run(config)
}
