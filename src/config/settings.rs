//! The table of settings: Floe's own, and those with Kafka's names from the engine's table; what the profiles set; and the way from
//! settings to the engine's typed [`BrokerConfig`].

use floe_engine::config::{self, BrokerConfig, CONFIGS, ConfigDef, Listener, Values};

use super::keys::Kind;
use super::layers::{Key, Layers, Source};
use crate::problem::{Outcome, Problem};

/// Kafka's other spellings of what exists here, and what to do instead.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("log.dir", "write `data.dir = \"DIR\"`; Floe has one data directory"),
    ("log.dirs", "write `data.dir = \"DIR\"`; Floe has one data directory (join several disks with LVM or md)"),
    ("broker.id", "write `node.id`"),
    (
        "log.flush.interval.messages",
        "write `durability = \"flushed\"` (the default: every acknowledged record is on stable storage)",
    ),
    (
        "log.flush.interval.ms",
        "write `durability = \"flushed\"` (the default: every acknowledged record is on stable storage)",
    ),
    (
        "flush.messages",
        "write `durability = \"flushed\"` (the default: every acknowledged record is on stable storage)",
    ),
    ("flush.ms", "write `durability = \"flushed\"` (the default: every acknowledged record is on stable storage)"),
    ("num.network.threads", "write `cores`; every core reads, decides and writes its own share"),
    ("num.io.threads", "write `cores`; every core reads, decides and writes its own share"),
    ("zookeeper.connect", "remove it; Floe keeps its metadata itself"),
    ("process.roles", "remove it; every Floe process is broker and controller"),
    ("controller.quorum.voters", "remove it; clusters of several nodes are not there yet"),
    ("listener.security.protocol.map", "remove it; TLS and SASL are not there yet, every listener is plain text"),
];

/// What each profile sets. A knob missing here keeps its default under that profile.
const PROFILES: &[(&str, &[(&str, &str)])] = &[
    ("latency", &[("spin.us", "1000"), ("cpu.latency.us", "0")]),
    ("balanced", &[]),
    ("bandwidth", &[("commit.wait.us", "500"), ("cold.read.bytes", "1048576"), ("fetch.lagging.partition.bytes", "0")]),
];

/// Every setting that exists, Floe's own first.
pub fn all() -> Vec<Key> {
    let key = |name: &str, kind: Kind, default: &str, about: &str| Key {
        name: name.to_owned(),
        kind,
        default: default.to_owned(),
        about: about.to_owned(),
        is_alias: false,
    };
    let mut keys = vec![
        key("node.id", Kind::Whole { min: 0, max: i32::MAX as i64 }, "1", "This broker's number in the cluster."),
        key("data.dir", Kind::Text, "./data", "Where the data is. One process at a time may hold it."),
        key(
            "listeners",
            Kind::Text,
            "PLAINTEXT://127.0.0.1:9092",
            "Where clients connect: NAME://HOST:PORT, several separated by commas.",
        ),
        key(
            "advertised.listeners",
            Kind::Text,
            "",
            "What clients are told to connect to, by listener name; empty: what is bound.",
        ),
        key("admin.listen", Kind::Text, "127.0.0.1:9644", "Health and metrics over HTTP; `none` for no admin port."),
        key(
            "cores",
            Kind::Text,
            "all",
            "CPUs to run on: `all`, a number of them, or a list such as 0,2-5. One shard each.",
        ),
        key("oversubscribe", Kind::Switch, "false", "Allow several shards on one CPU."),
        key(
            "profile",
            Kind::Word(&["latency", "balanced", "bandwidth"]),
            "balanced",
            "Sets the tuning knobs; each can still be set alone.",
        ),
        key(
            "spin.us",
            Kind::Whole { min: 0, max: 1_000_000 },
            "0",
            "How long an idle shard polls before it sleeps, in microseconds. Shards that share a CPU (`oversubscribe`) do not poll.",
        ),
        key(
            "cpu.latency.us",
            Kind::Whole { min: -1, max: 1_000_000 },
            "-1",
            "How long any CPU of the machine may take to wake up while clients send requests, in microseconds; 0: none sleeps; -1: as the system has it. Needs write access to /dev/cpu_dma_latency.",
        ),
    ];
    keys.extend(CONFIGS.iter().flat_map(engine_keys));
    keys
}

/// A setting of the engine, and after it its other spellings.
fn engine_keys(def: &'static ConfigDef) -> impl Iterator<Item = Key> {
    let kind = kind(def);
    let alias = {
        let kind = kind.clone();
        move |(alias, _): &(&str, i64)| Key {
            name: (*alias).to_owned(),
            kind: kind.clone(),
            default: String::new(),
            about: format!("Another way to say {}, which wins.", def.name),
            is_alias: true,
        }
    };
    let (name, default, about) = (def.name.to_owned(), def.default.to_owned(), def.about.to_owned());
    std::iter::once(Key { name, kind, default, about, is_alias: false }).chain(def.aliases.iter().map(alias))
}

fn kind(def: &ConfigDef) -> Kind {
    match def.kind {
        config::Kind::Switch => Kind::Switch,
        // Units may be written after what counts bytes.
        config::Kind::Int { min, max } | config::Kind::Long { min, max } if def.name.ends_with(".bytes") => {
            Kind::Size { min, max }
        }
        config::Kind::Int { min, max } | config::Kind::Long { min, max } => Kind::Whole { min, max },
        config::Kind::Word(words) => Kind::Word(words),
        config::Kind::Fraction => Kind::Real,
        config::Kind::Words(words) => Kind::Words(words),
    }
}

/// Lays the values of the chosen profile under everything that a person set.
pub fn apply_profile(layers: &mut Layers) -> Outcome {
    let chosen = layers.get("profile").text;
    for (name, knobs) in PROFILES {
        if *name == chosen {
            for (knob, value) in *knobs {
                layers.set(knob, value, Source::Profile(chosen.clone()))?;
            }
        }
    }
    Ok(())
}

/// The engine's view of the settings: what somebody said, by the names of its table; it knows the defaults itself.
pub fn broker(layers: &Layers, listeners: Vec<Listener>) -> Outcome<BrokerConfig> {
    let mut values = Values::new();
    for key in layers.keys().iter().filter(|key| config::broker_def(&key.name).is_some()) {
        let value = layers.get(&key.name);
        if value.source != Source::Default {
            values.insert(key.name.clone(), value.text);
        }
    }
    let broker = BrokerConfig::from_values(values).map_err(|wrong| {
        Problem::usage(format!("{}: {wrong}", layers.get(&wrong.name).source)).next(format!("correct `{}`", wrong.name))
    })?;
    let node_id = layers.get("node.id").text.parse().expect("checked by its kind");
    // Clients are told the whole path: what is relative depends on where the broker was started.
    let data_dir = &layers.get("data.dir").text;
    let data_dir = std::path::absolute(data_dir).map_or_else(|_| data_dir.clone(), |path| path.display().to_string());
    Ok(BrokerConfig { node_id, data_dir, listeners, ..broker })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");
    const BEGIN: &str = "FLOE_TEST_UPDATE=1 cargo test -p floe --lib reference` writes it anew -->\n";
    const END: &str = "<!-- /settings -->";

    fn reference() -> String {
        let mut out = "| setting | of a topic | default | may be | what for |\n|---|---|---|---|---|\n".to_owned();
        for key in all().iter().filter(|key| !key.is_alias) {
            let topic = config::broker_def(&key.name).and_then(|def| def.topic).map(|name| format!("`{name}`"));
            let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
            let (name, may, about) = (&key.name, key.kind.expects(), &key.about);
            out.push_str(&format!("| `{name}` | {} | {default} | {may} | {about} |\n", topic.unwrap_or_default()));
        }
        let aliases = all().iter().filter(|key| key.is_alias).map(|key| format!("`{}`", key.name)).collect::<Vec<_>>();
        out.push_str(&format!("\nKafka's {} are understood as well.\n", aliases.join(", ")));
        out
    }

    /// docs/OPERATIONS.md is what people read; the table is what is true.
    #[test]
    fn the_reference_says_what_the_table_says() {
        let manual = std::fs::read_to_string(PATH).unwrap();
        let from = manual.find(BEGIN).expect("the mark where the settings begin") + BEGIN.len();
        let to = manual.find(END).expect("the mark where the settings end");
        if std::env::var_os("FLOE_TEST_UPDATE").is_some() {
            std::fs::write(PATH, format!("{}{}{}", &manual[..from], reference(), &manual[to..])).unwrap();
            return;
        }
        assert!(
            manual[from..to] == reference(),
            "docs/OPERATIONS.md is older than the settings; write it anew: FLOE_TEST_UPDATE=1 cargo test -p floe --lib reference"
        );
    }

    #[test]
    fn profiles_set_what_exists_and_defaults_are_in_normal_form() {
        let keys = all();
        for key in keys.iter().filter(|key| !key.is_alias) {
            assert_eq!(key.kind.normal(&key.default).as_deref(), Ok(key.default.as_str()), "{}", key.name);
        }
        for (_, knobs) in PROFILES {
            for (knob, value) in *knobs {
                let key = keys.iter().find(|key| key.name == *knob).unwrap_or_else(|| panic!("no setting {knob}"));
                assert_eq!(key.kind.normal(value).as_deref(), Ok(*value));
            }
        }
        for (name, _) in ELSEWHERE {
            assert!(!keys.iter().any(|key| key.name == *name), "{name} exists");
        }
    }
}
