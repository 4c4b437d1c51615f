//! The broker's settings as the engine needs them: typed, validated, the same object on every shard; and how a topic's settings come about.
//!
//! A value comes from the first that has one: the topic, the running broker and then the whole cluster (both set by AlterConfigs, kept in the
//! metadata log), the broker's configuration, the default of [`CONFIGS`].

mod table;

use std::collections::BTreeMap;
use std::fmt;

pub use table::{CONFIGS, ConfigDef, Kind, broker_def, topic_def};

use floe_wire::compression::Codec;

use crate::group::{GroupSettings, MigrationPolicy};
use crate::limits::BLOCK_BYTES;
use crate::log::{Compaction, LogConfig, LogSettings, Tier};
use crate::txn::TxnSettings;

/// Values by name.
pub type Values = BTreeMap<String, String>;

/// Settings changed on the running broker, by the broker's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// For this broker.
    pub broker: Values,
    /// For every broker of the cluster.
    pub cluster: Values,
}

/// The broker's settings. Made by the node from file, environment and flags.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// `cluster.id`-to-be, shown to clients. Chosen at the first start and kept in the metadata log when empty.
    pub cluster_id: String,
    /// Where the data is, as clients are told.
    pub data_dir: String,
    /// Where clients connect, and what they are told to connect to.
    pub listeners: Vec<Listener>,
    /// What was set in file, environment or flags, by the names of [`CONFIGS`]; validated.
    pub values: Values,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A name for people, such as `PLAINTEXT`.
    pub name: String,
    /// Host or address to bind.
    pub bind_host: String,
    /// Port to bind.
    pub bind_port: u16,
    /// Host that clients are told.
    pub advertised_host: String,
    /// Port that clients are told.
    pub advertised_port: u16,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The topic's own.
    Topic,
    /// Set on the running broker.
    DynamicBroker,
    /// Set on the running cluster, for every broker.
    DynamicCluster,
    /// The broker's configuration.
    StaticBroker,
    /// Nobody said anything.
    Default,
}

impl Source {
    /// Kafka's number for it in DescribeConfigs.
    pub fn wire(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicCluster => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A value and everything that stands behind it, the winner first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The setting.
    pub def: &'static ConfigDef,
    /// Name, value and source; never empty: the last one is the default.
    pub synonyms: Vec<(&'static str, String, Source)>,
}

impl Resolved {
    /// The value that counts.
    pub fn value(&self) -> &str {
        &self.synonyms[0].1
    }

    /// Where it came from.
    pub fn source(&self) -> Source {
        self.synonyms[0].2
    }
}

/// What produce and the log need to know of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// For the log.
    pub log: LogConfig,
    /// `max.message.bytes`.
    pub message_bytes_max: u64,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_ms_max: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_ms_max: i64,
    /// `compression.type`; `None`: as the producer sent it.
    pub recompress_to: Option<Codec>,
}

impl Default for BrokerConfig {
    fn default() -> BrokerConfig {
        BrokerConfig {
            node_id: 1,
            cluster_id: String::new(),
            data_dir: String::new(),
            listeners: Vec::new(),
            values: Values::new(),
        }
    }
}

impl BrokerConfig {
    /// The settings of [`CONFIGS`] from what was set; node id, cluster id, data directory and listeners are for the caller to fill in.
    pub fn from_values(values: Values) -> Result<BrokerConfig, ConfigError> {
        for (name, value) in &values {
            let def = broker_def(name)
                .ok_or_else(|| ConfigError { name: name.clone(), message: format!("Unknown configuration {name}") })?;
            def.check(name, value).map_err(|message| ConfigError { name: name.clone(), message })?;
        }
        Ok(BrokerConfig { values, ..BrokerConfig::default() })
    }

    /// A setting of this broker by its name in [`CONFIGS`].
    pub fn resolve(&self, def: &'static ConfigDef, dynamic: &Dynamic) -> Resolved {
        let mut synonyms = Vec::new();
        for (values, source) in [(&dynamic.broker, Source::DynamicBroker), (&dynamic.cluster, Source::DynamicCluster)] {
            if let Some(value) = values.get(def.name) {
                synonyms.push((def.name, value.clone(), source));
            }
        }
        if let Some(value) = self.values.get(def.name) {
            synonyms.push((def.name, value.clone(), Source::StaticBroker));
        }
        for (alias, factor) in def.aliases {
            if let Some(value) = self.values.get(*alias) {
                let scaled = value.trim().parse::<i64>().map(|v| if v < 0 { v } else { v.saturating_mul(*factor) });
                synonyms.push((alias, scaled.map_or_else(|_| value.clone(), |v| v.to_string()), Source::StaticBroker));
            }
        }
        synonyms.push((def.name, def.default.to_owned(), Source::Default));
        Resolved { def, synonyms }
    }

    /// A setting of a topic, by its topic name in [`CONFIGS`].
    pub fn resolve_topic(&self, def: &'static ConfigDef, topic: &Values, dynamic: &Dynamic) -> Resolved {
        let mut resolved = self.resolve(def, dynamic);
        if let Some((name, value)) = def.topic.and_then(|name| Some((name, topic.get(name)?))) {
            resolved.synonyms.insert(0, (name, value.clone(), Source::Topic));
        }
        resolved
    }

    /// Everything a topic's partitions need.
    pub fn topic_settings(&self, topic: &Values, dynamic: &Dynamic) -> TopicSettings {
        let text = |name| {
            let def = topic_def(name).expect("a name of the table");
            self.resolve_topic(def, topic, dynamic).value().to_owned()
        };
        let number = |name| parsed(&text(name));
        let fraction = |name| text(name).trim().parse::<f64>().expect("a checked fraction");
        let policy = text("cleanup.policy");
        let tier = match text("floe.durability").as_str() {
            "memory" => Tier::Memory,
            "written" => Tier::Written,
            _ => Tier::Flushed,
        };
        TopicSettings {
            log: LogConfig {
                tier,
                segment_bytes: number("segment.bytes") as u64,
                segment_ms: number("segment.ms"),
                retention_ms: number("retention.ms"),
                retention_bytes: number("retention.bytes"),
                log_append_time: text("message.timestamp.type") == "LogAppendTime",
                delete: policy.split(',').any(|word| word.trim() == "delete"),
                compact: policy.split(',').any(|word| word.trim() == "compact").then(|| Compaction {
                    dirty_ratio_ppm: (fraction("min.cleanable.dirty.ratio") * 1e6) as u32,
                    lag_ms_min: number("min.compaction.lag.ms"),
                    lag_ms_max: number("max.compaction.lag.ms"),
                    delete_retention_ms: number("delete.retention.ms"),
                }),
            },
            message_bytes_max: number("max.message.bytes") as u64,
            timestamp_before_ms_max: number("message.timestamp.before.max.ms"),
            timestamp_after_ms_max: number("message.timestamp.after.max.ms"),
            recompress_to: match text("compression.type").as_str() {
                "uncompressed" => Some(Codec::None),
                // `producer` is no codec's name.
                name => Codec::from_name(name),
            },
        }
    }

    /// A number of the broker, by its name in [`CONFIGS`].
    pub fn number(&self, name: &str, dynamic: &Dynamic) -> i64 {
        parsed(self.resolve(broker_def(name).expect("a name of the table"), dynamic).value())
    }

    /// A switch of the broker, by its name in [`CONFIGS`].
    pub fn switch(&self, name: &str, dynamic: &Dynamic) -> bool {
        self.resolve(broker_def(name).expect("a name of the table"), dynamic).value() == "true"
    }

    /// What group coordinators follow.
    pub fn group_settings(&self) -> GroupSettings {
        let fixed = Dynamic::default();
        let number = |name| self.number(name, &fixed);
        let text = |name| self.resolve(broker_def(name).expect("a name of the table"), &fixed).value().to_owned();
        GroupSettings {
            session_timeout_ms_min: number("group.min.session.timeout.ms") as i32,
            session_timeout_ms_max: number("group.max.session.timeout.ms") as i32,
            initial_rebalance_delay_ms: number("group.initial.rebalance.delay.ms") as i32,
            group_size_max: number("group.max.size") as usize,
            offset_metadata_bytes_max: number("offset.metadata.max.bytes") as usize,
            offsets_retention_ms: number("offsets.retention.minutes") * 60_000,
            offsets_retention_check_ms: number("offsets.retention.check.interval.ms") as u64,
            consumer_session_timeout_ms: number("group.consumer.session.timeout.ms") as i32,
            consumer_heartbeat_interval_ms: number("group.consumer.heartbeat.interval.ms") as i32,
            consumer_group_size_max: number("group.consumer.max.size") as usize,
            consumer_assignors: text("group.consumer.assignors")
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect(),
            consumer_migration: MigrationPolicy::named(&text("group.consumer.migration.policy")),
        }
    }

    /// What transactions are to be coordinated with.
    pub fn txn_settings(&self) -> TxnSettings {
        let number = |name| self.number(name, &Dynamic::default());
        TxnSettings {
            timeout_ms_max: number("transaction.max.timeout.ms") as i32,
            timeout_check_ms: number("transaction.abort.timed.out.transaction.cleanup.interval.ms") as u64,
            expiration_ms: number("transactional.id.expiration.ms"),
            expiration_check_ms: number("transaction.remove.expired.transaction.cleanup.interval.ms") as u64,
        }
    }

    /// What a shard's log is to be made with.
    pub fn log_settings(&self) -> LogSettings {
        let number = |name| self.number(name, &Dynamic::default()) as u64;
        let defaults = LogSettings::default();
        let journal_bytes = number("journal.bytes");
        LogSettings {
            journal_bytes,
            // The smallest journal has three files.
            journal_file_bytes: defaults.journal_file_bytes.min(journal_bytes / 3 / BLOCK_BYTES * BLOCK_BYTES),
            cache_bytes: number("cache.bytes"),
            settle_bytes: number("settle.bytes"),
            commit_bytes_max: number("commit.bytes"),
            commit_wait_us: number("commit.wait.us"),
            direct_bytes: number("direct.bytes"),
            cold_read_bytes: number("cold.read.bytes"),
            producer_expiration_ms: number("producer.id.expiration.ms") as i64,
            retention_check_ms: number("log.retention.check.interval.ms"),
            compaction: self.switch("log.cleaner.enable", &Dynamic::default()),
            compaction_backoff_ms: number("log.cleaner.backoff.ms"),
            compaction_bytes_max: number("log.cleaner.dedupe.buffer.size"),
        }
    }
}

/// Says what is wrong with a topic's settings taken together, each of which may be right by itself.
pub fn check_topic(topic: &Values) -> Result<(), String> {
    let number = |name: &str| {
        parsed(topic.get(name).map_or_else(|| topic_def(name).expect("a name of the table").default, String::as_str))
    };
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    Ok(())
}

/// Values are checked where they come in.
fn parsed(value: &str) -> i64 {
    value.trim().parse().expect("a checked number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn defaults_are_valid() {
        for def in CONFIGS {
            def.check(def.name, def.default).unwrap();
        }
        assert_eq!(
            BrokerConfig::default().topic_settings(&Values::new(), &Dynamic::default()).log,
            LogConfig::default()
        );
        assert_eq!(BrokerConfig::default().log_settings(), LogSettings::default());
        assert_eq!(BrokerConfig::default().group_settings(), GroupSettings::default());
        assert_eq!(BrokerConfig::default().txn_settings(), TxnSettings::default());
    }

    #[test]
    fn the_nearest_value_wins() {
        let rows: &[(&[_], &[_], &[_], &[_], i64, Source)] = &[
            (&[], &[], &[], &[], 604_800_000, Source::Default),
            (&[("log.retention.hours", "2")], &[], &[], &[], 7_200_000, Source::StaticBroker),
            (&[("log.retention.hours", "-1")], &[], &[], &[], -1, Source::StaticBroker),
            (
                &[("log.retention.hours", "2"), ("log.retention.minutes", "3")],
                &[],
                &[],
                &[],
                180_000,
                Source::StaticBroker,
            ),
            (&[("log.retention.hours", "2"), ("log.retention.ms", "5")], &[], &[], &[], 5, Source::StaticBroker),
            (&[("log.retention.ms", "5")], &[], &[("log.retention.ms", "6")], &[], 6, Source::DynamicBroker),
            (
                &[("log.retention.ms", "5")],
                &[],
                &[("log.retention.ms", "6")],
                &[("retention.ms", "7")],
                7,
                Source::Topic,
            ),
            (&[("log.retention.ms", "5")], &[("log.retention.ms", "4")], &[], &[], 4, Source::DynamicCluster),
            (&[], &[("log.retention.ms", "4")], &[("log.retention.ms", "6")], &[], 6, Source::DynamicBroker),
        ];
        for (fixed, cluster, broker, topic, want, source) in rows {
            let config = BrokerConfig::from_values(values(fixed)).unwrap();
            let dynamic = Dynamic { broker: values(broker), cluster: values(cluster) };
            let resolved = config.resolve_topic(topic_def("retention.ms").unwrap(), &values(topic), &dynamic);
            assert_eq!((resolved.value(), resolved.source()), (want.to_string().as_str(), *source));
            assert_eq!(config.topic_settings(&values(topic), &dynamic).log.retention_ms, *want);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (name, value) in [
            ("log.retention.ms", "-2"),
            ("log.retention.ms", "soon"),
            ("log.segment.bytes", "1000"),
            ("log.cleanup.policy", "squash"),
            ("log.cleaner.min.cleanable.ratio", "NaN"),
            ("durability", "maybe"),
            ("auto.create.topics.enable", "yes"),
            ("no.such.setting", "1"),
        ] {
            assert_eq!(BrokerConfig::from_values(values(&[(name, value)])).unwrap_err().name, name);
        }
    }
}
