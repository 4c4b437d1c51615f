//! The node's configuration: floe.toml, `FLOE_*` variables and flags in, one validated [`Config`] out. Read once, at the start.
//!
//! Flags win over the environment, the environment over the file, the file over the profile, the profile over the defaults. A name that
//! does not exist or a value that cannot be refuses the start: a typing slip must not silently become a default.

pub mod cores;
pub mod document;
pub mod keys;
pub mod layers;
pub mod listeners;
pub mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use floe_engine::config::BrokerConfig;

use self::layers::{Layers, Source};
use crate::problem::{Outcome, Problem};

/// The file that is read when nobody names one.
const FILE_DEFAULT: &str = "floe.toml";

/// What the command line of `floe serve` says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config_file: Option<PathBuf>,
    values: Vec<(String, String, String)>,
}

impl Flags {
    /// No settings yet, and perhaps a file to read.
    pub fn new(config_file: Option<PathBuf>) -> Flags {
        Flags { config_file, values: Vec::new() }
    }

    /// A setting given by a flag of its own.
    pub fn push(&mut self, name: &str, value: String, flag: &str) {
        self.values.push((name.to_owned(), value, flag.to_owned()));
    }

    /// A setting given as `--set name=value`.
    pub fn push_pair(&mut self, pair: &str) -> Outcome {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(
                Problem::usage(format!("flag --set: `{pair}` has no `=`")).next("write --set log.retention.ms=3600000")
            );
        };
        self.push(name.trim(), value.trim().to_owned(), "--set");
        Ok(())
    }
}

/// Everything that the node and the engine are told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every shard is told.
    pub broker: Arc<BrokerConfig>,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// Host and port of the admin HTTP; `None` for no admin port.
    pub admin_listen: Option<(String, u16)>,
    /// The CPU of each shard; its length is the number of shards.
    pub cpus: Vec<usize>,
    /// How long a shard polls before it sleeps, in microseconds.
    pub spin_us: u64,
    /// How long a CPU may take to wake up while there are requests, in microseconds; `None`: as the system has it.
    pub cpu_latency_us: Option<u32>,
    /// Choices made for the operator that are worth a line in the log.
    pub notes: Vec<String>,
    layers: Layers,
}

impl Config {
    /// Reads file, environment and flags.
    pub fn load(flags: &Flags, environment: impl Iterator<Item = (OsString, OsString)>) -> Outcome<Config> {
        let mut layers = Layers::new(settings::all(), settings::ELSEWHERE);
        if let Some((path, text)) = read_file(flags.config_file.as_deref())? {
            layers.file(&path, document::read(&path, &text)?)?;
        }
        let text = |text: OsString| text.to_string_lossy().into_owned();
        layers.environment(environment.map(|(name, value)| (text(name), text(value))))?;
        for (name, value, flag) in &flags.values {
            layers.set(name, value, Source::Flag(flag.clone()))?;
        }
        settings::apply_profile(&mut layers)?;
        Config::resolve(layers)
    }

    fn resolve(layers: Layers) -> Outcome<Config> {
        let mut notes = Vec::new();
        let host_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let listen = listeners::endpoints(&layers.get("listeners").text)
            .map_err(|wrong| refuse(&layers, "listeners", &wrong))?;
        let told = listeners::endpoints(&layers.get("advertised.listeners").text)
            .map_err(|wrong| refuse(&layers, "advertised.listeners", &wrong))?;
        let told = name_single(&listen, told);
        let (listeners, listener_notes) = listeners::resolve(&listen, &told, host_name).map_err(|wrong| {
            refuse(&layers, if told.is_empty() { "listeners" } else { "advertised.listeners" }, &wrong)
        })?;
        notes.extend(listener_notes);

        let cpus =
            cores::choose(&layers.get("cores").text, layers.get("oversubscribe").text == "true", &cores::allowed())
                .map_err(|wrong| refuse(&layers, "cores", &wrong))?;

        let admin = layers.get("admin.listen").text;
        let admin_listen = match admin.as_str() {
            "" | "none" => None,
            address => {
                let (host, port) =
                    listeners::host_port(address).map_err(|wrong| refuse(&layers, "admin.listen", &wrong))?;
                Some((host, port))
            }
        };
        let broker = settings::broker(&layers, listeners)?;
        Ok(Config {
            broker: Arc::new(broker),
            data_dir: PathBuf::from(layers.get("data.dir").text),
            admin_listen,
            cpus,
            spin_us: layers.get("spin.us").text.parse().unwrap_or(0),
            // -1 is none.
            cpu_latency_us: layers.get("cpu.latency.us").text.parse().ok(),
            notes,
            layers,
        })
    }

    /// The settings in force as a floe.toml, each with its source; at the end what was chosen for the operator, as comments.
    pub fn print(&self) -> String {
        let mut out = self.layers.print();
        for note in &self.notes {
            out.push_str(&format!("# {note}\n"));
        }
        out
    }
}

/// One listener and one advertised address without a name belong together, whatever the listener is called.
fn name_single(listen: &[listeners::Endpoint], mut told: Vec<listeners::Endpoint>) -> Vec<listeners::Endpoint> {
    if let ([bound], [only]) = (listen, told.as_mut_slice())
        && only.name == listeners::PLAIN
    {
        only.name.clone_from(&bound.name);
    }
    told
}

fn refuse(layers: &Layers, name: &str, wrong: &str) -> Problem {
    Problem::usage(format!("{}: `{name}`: {wrong}", layers.get(name).source))
        .next(format!("correct `{name}`; docs/OPERATIONS.md describes it"))
}

fn read_file(named: Option<&Path>) -> Outcome<Option<(String, String)>> {
    let path = named.unwrap_or(Path::new(FILE_DEFAULT));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.display().to_string(), text))),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::usage(format!("cannot read the configuration file {}", path.display()))
            .because(error)
            .next("give an existing file with --config FILE (or FLOE_CONFIG), or leave it out to run with defaults")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Setting, value, flag.
    type Given<'a> = (&'a str, &'a str, &'a str);

    fn load(flags: &[Given<'_>], environment: &[(&str, &str)]) -> Outcome<Config> {
        let mut given = Flags::default();
        for (name, value, flag) in flags {
            given.push(name, (*value).to_owned(), flag);
        }
        let environment: Vec<(OsString, OsString)> = environment.iter().map(|(n, v)| (n.into(), v.into())).collect();
        Config::load(&given, environment.into_iter())
    }

    #[test]
    fn defaults_are_a_broker_on_this_machine_only() {
        let config = load(&[], &[]).unwrap();
        assert_eq!(config.data_dir, Path::new("./data"));
        assert_eq!(config.admin_listen, Some(("127.0.0.1".to_owned(), 9644)));
        assert_eq!(config.broker.listeners.len(), 1);
        assert_eq!(config.broker.listeners[0].bind_host, "127.0.0.1");
        assert_eq!(config.broker.listeners[0].advertised_port, 9092);
        assert!(!config.cpus.is_empty());
        assert!(config.broker.values.is_empty(), "the engine knows the defaults: {:?}", config.broker.values);
    }

    #[test]
    fn what_was_set_reaches_the_engine_by_its_names() {
        let flags: &[Given<'_>] = &[
            ("log.retention.hours", "2", "--set"),
            ("cache.bytes", "32MiB", "--set"),
            ("durability", "Written", "--durability"),
            ("node.id", "7", "--set"),
            ("profile", "bandwidth", "--profile"),
        ];
        let config = load(flags, &[]).unwrap();
        let nothing = floe_engine::config::Values::new();
        let topic = config.broker.topic_settings(&nothing, &floe_engine::config::Dynamic::default());
        assert_eq!(topic.log.retention_ms, 7_200_000);
        assert_eq!(topic.log.tier, floe_engine::log::Tier::Written);
        assert_eq!(config.broker.log_settings().cache_bytes, 32 << 20);
        assert_eq!(config.broker.log_settings().commit_wait_us, 500);
        assert_eq!(config.broker.node_id, 7);
    }

    #[test]
    fn every_interface_without_advertise_takes_the_hosts_name_and_says_so() {
        let config = load(&[("listeners", "0.0.0.0:9092", "--listen")], &[]).unwrap();
        assert!(!config.broker.listeners[0].advertised_host.is_empty());
        assert!(config.notes.iter().any(|note| note.contains("every interface")), "{:?}", config.notes);
        let config = load(
            &[("listeners", "IN://0.0.0.0:9092", "--listen"), ("advertised.listeners", "b:1", "--advertise")],
            &[],
        )
        .unwrap();
        assert_eq!(config.broker.listeners[0].advertised_host, "b");
        assert!(config.notes.is_empty());
    }

    #[test]
    fn a_profile_sets_knobs_and_each_can_be_set_alone() {
        let config = load(&[("profile", "latency", "--profile")], &[]).unwrap();
        assert!(config.print().contains("# profile latency"), "{}", config.print());
        assert!(config.spin_us > 0);
        assert_eq!(config.cpu_latency_us, Some(0));
        assert_eq!(load(&[], &[]).unwrap().cpu_latency_us, None);
        let config = load(&[("profile", "latency", "--profile")], &[("FLOE_SPIN_US", "7")]).unwrap();
        assert_eq!(config.spin_us, 7);
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there() {
        let flags = Flags { config_file: Some("/nowhere/floe.toml".into()), ..Flags::default() };
        let problem = Config::load(&flags, std::iter::empty()).unwrap_err();
        assert_eq!(problem.exit(), crate::problem::Exit::Usage);
        assert!(problem.to_string().contains("/nowhere/floe.toml"));
    }

    #[test]
    fn what_is_printed_is_read_back_the_same() {
        let config =
            load(&[("cores", "1", "--cores"), ("listeners", "A://127.0.0.1:1,B://127.0.0.1:2", "--listen")], &[])
                .unwrap();
        let printed = config.print();
        let mut layers = Layers::new(settings::all(), settings::ELSEWHERE);
        layers.file("printed", document::read("printed", &printed).unwrap()).unwrap();
        for key in layers.keys() {
            assert_eq!(layers.get(&key.name).text, config.layers.get(&key.name).text, "{}", key.name);
        }
    }

    #[test]
    fn refusals_name_the_setting_and_where_it_was_set() {
        let rows: &[(&[Given<'_>], &str)] = &[
            (&[("listeners", "nonsense", "--listen")], "flag --listen: `listeners`"),
            (&[("advertised.listeners", "0.0.0.0:1", "--advertise")], "flag --advertise: `advertised.listeners`"),
            (&[("cores", "0-100000", "--cores")], "flag --cores: `cores`"),
            (&[("admin.listen", "9644", "--admin-listen")], "flag --admin-listen: `admin.listen`"),
            (&[("durability", "perhaps", "--durability")], "not one of flushed"),
            (&[("durabilty", "flushed", "--set")], "did you mean"),
        ];
        for (flags, expect) in rows {
            let problem = load(flags, &[]).unwrap_err();
            assert_eq!(problem.exit(), crate::problem::Exit::Usage);
            assert!(problem.to_string().contains(expect), "{flags:?}: {problem}");
        }
    }
}
