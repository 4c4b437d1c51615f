//! `floe serve`: flags to settings, then the node's life.

use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use crate::config::{Config, Flags};
use crate::node;
use crate::problem::Outcome;

/// Each flag is a setting; what is given here wins over environment and file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingArgs,
    /// Print the settings in force, where each comes from, and end.
    #[arg(long)]
    print_config: bool,
}

const EXAMPLES: &str = "Examples:
  floe serve
      on 127.0.0.1:9092, with its data in ./data and a shard on every CPU
  floe serve --data-dir /var/lib/floe --listen 0.0.0.0:9092 --advertise broker1.example:9092
      for clients on other hosts, who are told to connect to broker1.example
  floe serve --cores 2-5 --profile latency --set log.retention.ms=86400000 --set num.partitions=8
      on four CPUs, tuned for short waits, records kept for a day
  floe serve --print-config > floe.toml
      every setting there is, to begin a configuration file with

Stop it with Ctrl-C or SIGTERM: everything accepted is answered and durable then. `floe check` says what this machine lacks.";

/// The settings as a person gives them on the command line.
#[derive(Debug, Args)]
pub(super) struct SettingArgs {
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
    /// Sets the tuning knobs for short waits, for throughput, or between; each knob can still be set alone [default: balanced].
    #[arg(long, value_name = "latency|balanced|bandwidth")]
    profile: Option<String>,
    /// When a write is acknowledged: on stable storage, handed to the file system, or in memory [default: flushed].
    #[arg(long, value_name = "flushed|written|memory")]
    durability: Option<String>,
    /// Health and metrics over HTTP here; `none` for no admin port [default: 127.0.0.1:9644].
    #[arg(long, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// Any setting by its name, such as log.retention.ms=3600000; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl SettingArgs {
    /// These, the environment and the file together.
    pub(super) fn load(self) -> Outcome<Config> {
        let mut flags = Flags::new(self.config);
        let named = [
            ("data.dir", "--data-dir", self.data_dir),
            ("listeners", "--listen", self.listen),
            ("advertised.listeners", "--advertise", self.advertise),
            ("cores", "--cores", self.cores),
            ("oversubscribe", "--oversubscribe", self.oversubscribe.then(|| "true".to_owned())),
            ("profile", "--profile", self.profile),
            ("durability", "--durability", self.durability),
            ("admin.listen", "--admin-listen", self.admin_listen),
        ];
        for (name, flag, value) in named {
            if let Some(value) = value {
                flags.push(name, value, flag);
            }
        }
        for pair in self.set {
            flags.push_pair(&pair)?;
        }
        Config::load(&flags, std::env::vars_os())
    }
}

pub(super) fn run(args: ServeArgs) -> Outcome {
    let config = args.settings.load()?;
    if args.print_config {
        let mut output = Output::new();
        output.bytes(config.print().as_bytes())?;
        return output.flush();
    }
    node::run(config)
}
