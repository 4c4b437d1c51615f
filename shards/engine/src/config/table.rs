//! The table of settings with Kafka's names and meaning, and Floe's own beside them. A setting that Floe does not carry out is not in it.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number of 32 bits, within bounds.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A whole number of 64 bits, within bounds.
    Long {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A fraction from 0 to 1.
    Fraction,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several of these words, separated by commas.
    Words(&'static [&'static str]),
}

/// One setting of the broker, and of topics where it has a topic's name as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigDef {
    /// The broker's name for it.
    pub name: &'static str,
    /// Its name on a topic, where a topic can have its own value.
    pub topic: Option<&'static str>,
    /// Other spellings on the broker, with the factor that makes the value of it. The name itself counts first, then these in order.
    pub aliases: &'static [(&'static str, i64)],
    /// What a value may be.
    pub kind: Kind,
    /// When nobody says anything.
    pub default: &'static str,
    /// Whether it can be changed on the running broker.
    pub dynamic: bool,
    /// One sentence for people.
    pub about: &'static str,
}

const NO_ALIAS: &[(&str, i64)] = &[];

const fn both(
    name: &'static str,
    topic: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> ConfigDef {
    ConfigDef { name, topic: Some(topic), aliases: NO_ALIAS, kind, default, dynamic: true, about }
}

const fn broker(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> ConfigDef {
    ConfigDef { name, topic: None, aliases: NO_ALIAS, kind, default, dynamic: false, about }
}

const fn aliased(def: ConfigDef, aliases: &'static [(&'static str, i64)]) -> ConfigDef {
    ConfigDef { aliases, ..def }
}

const fn dynamic(def: ConfigDef) -> ConfigDef {
    ConfigDef { dynamic: true, ..def }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

const fn long(min: i64, max: i64) -> Kind {
    Kind::Long { min, max }
}

const INT_MAX: i64 = i32::MAX as i64;
const HOUR_MS: i64 = 3_600_000;
const MIB: i64 = 1 << 20;

/// Every setting of the engine, in the order of names within each group: topics', the broker's, Floe's own.
pub const CONFIGS: &[ConfigDef] = &[
    both(
        "compression.type",
        "compression.type",
        Kind::Word(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer",
        "The codec in which batches are kept; producer: the one they came with.",
    ),
    both(
        "log.cleanup.policy",
        "cleanup.policy",
        Kind::Words(&["delete", "compact"]),
        "delete",
        "What happens to old records: they are deleted; or compacted: the last of each key stays; or both.",
    ),
    both(
        "log.cleaner.delete.retention.ms",
        "delete.retention.ms",
        long(0, i64::MAX),
        "86400000",
        "How long compaction keeps a record that deletes its key, from when it was first compacted.",
    ),
    both(
        "log.cleaner.max.compaction.lag.ms",
        "max.compaction.lag.ms",
        long(1, i64::MAX),
        "9223372036854775807",
        "How long a record may stay before it is compacted, at most.",
    ),
    both(
        "log.cleaner.min.cleanable.ratio",
        "min.cleanable.dirty.ratio",
        Kind::Fraction,
        "0.5",
        "Share of a partition's bytes not compacted yet, from which it is compacted.",
    ),
    both(
        "log.cleaner.min.compaction.lag.ms",
        "min.compaction.lag.ms",
        long(0, i64::MAX),
        "0",
        "How long a record stays before it may be compacted, at least.",
    ),
    both(
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
        long(0, i64::MAX),
        "3600000",
        "How far a record's timestamp may lie ahead of the broker's clock.",
    ),
    both(
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
        long(0, i64::MAX),
        "9223372036854775807",
        "How far a record's timestamp may lie behind the broker's clock.",
    ),
    both(
        "log.message.timestamp.type",
        "message.timestamp.type",
        Kind::Word(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Whether records keep the producer's timestamp or get the broker's.",
    ),
    both("log.retention.bytes", "retention.bytes", long(-1, i64::MAX), "-1", "Bytes a partition keeps; -1: no limit."),
    aliased(
        both(
            "log.retention.ms",
            "retention.ms",
            long(-1, i64::MAX),
            "604800000",
            "How long a partition keeps records; -1: no limit.",
        ),
        &[("log.retention.minutes", 60_000), ("log.retention.hours", HOUR_MS)],
    ),
    aliased(
        both("log.roll.ms", "segment.ms", long(1, i64::MAX), "604800000", "Age at which a segment is closed."),
        &[("log.roll.hours", HOUR_MS)],
    ),
    both("log.segment.bytes", "segment.bytes", int(MIB, INT_MAX), "1073741824", "Size at which a segment is closed."),
    both("message.max.bytes", "max.message.bytes", int(0, INT_MAX), "1048588", "The largest record batch taken."),
    broker("auto.create.topics.enable", Kind::Switch, "true", "Whether a topic asked for by name is created."),
    broker(
        "connections.max.idle.ms",
        long(-1, i64::MAX),
        "600000",
        "How long a connection may be idle before it is closed; -1: for ever.",
    ),
    broker("delete.topic.enable", Kind::Switch, "true", "Whether topics can be deleted."),
    dynamic(broker("fetch.max.bytes", int(1024, INT_MAX), "57671680", "Bytes of one fetch answer, at most.")),
    broker(
        "group.consumer.assignors",
        Kind::Words(&["uniform", "range"]),
        "uniform,range",
        "The assignors of groups with the consumer protocol; the first is the default.",
    ),
    broker(
        "group.consumer.heartbeat.interval.ms",
        int(1, INT_MAX),
        "5000",
        "How often members with the consumer protocol are to be heard of.",
    ),
    broker(
        "group.consumer.max.size",
        int(1, INT_MAX),
        "2147483647",
        "Members of one group with the consumer protocol, at most.",
    ),
    broker(
        "group.consumer.migration.policy",
        Kind::Word(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        "bidirectional",
        "Which way a group with members may go between the classic and the consumer protocol.",
    ),
    broker(
        "group.consumer.session.timeout.ms",
        int(1, INT_MAX),
        "45000",
        "How long a member with the consumer protocol may be silent before it is out.",
    ),
    broker(
        "group.initial.rebalance.delay.ms",
        int(0, INT_MAX),
        "3000",
        "How long a new classic group waits for more members.",
    ),
    broker(
        "group.max.session.timeout.ms",
        int(1, INT_MAX),
        "1800000",
        "The longest session timeout that a classic member may ask for.",
    ),
    broker("group.max.size", int(1, INT_MAX), "2147483647", "Members of one classic group, at most."),
    broker(
        "group.min.session.timeout.ms",
        int(1, INT_MAX),
        "6000",
        "The shortest session timeout that a classic member may ask for.",
    ),
    broker(
        "log.retention.check.interval.ms",
        long(1, i64::MAX),
        "300000",
        "How often partitions are looked at for what is too old or too much.",
    ),
    broker("log.cleaner.enable", Kind::Switch, "true", "Whether topics with cleanup.policy=compact are compacted."),
    broker(
        "log.cleaner.backoff.ms",
        long(1, i64::MAX),
        "15000",
        "How long the cleaner sleeps when there is nothing to compact.",
    ),
    broker(
        "log.cleaner.dedupe.buffer.size",
        long(MIB, i64::MAX),
        "134217728",
        "Memory for the keys that are being compacted, at most; each core takes its share.",
    ),
    broker("max.connections", int(1, INT_MAX), "2147483647", "Clients connected, at most; each core takes its share."),
    dynamic(broker(
        "max.connections.per.ip",
        int(0, INT_MAX),
        "2147483647",
        "Clients connected from one address, at most.",
    )),
    broker("max.incremental.fetch.session.cache.slots", int(0, 1_000_000), "1000", "Fetch sessions kept per shard."),
    broker(
        "metadata.log.max.record.bytes.between.snapshots",
        long(1, i64::MAX),
        "20971520",
        "Bytes of the metadata log from which a snapshot takes its place.",
    ),
    broker("num.partitions", int(1, 10_000), "1", "Partitions of a topic whose creator does not say."),
    broker("offset.metadata.max.bytes", int(0, INT_MAX), "4096", "Bytes that a client may keep with an offset."),
    broker(
        "offsets.retention.check.interval.ms",
        long(1, i64::MAX),
        "600000",
        "How often committed offsets are looked at for those that expired.",
    ),
    broker(
        "offsets.retention.minutes",
        int(1, INT_MAX),
        "10080",
        "How long offsets of a group without members are kept.",
    ),
    broker(
        "offsets.topic.compression.codec",
        int(0, 4),
        "0",
        "The codec of what group coordinators write: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
    ),
    broker("offsets.topic.num.partitions", int(1, 10_000), "50", "Partitions of __consumer_offsets when it is made."),
    broker(
        "offsets.topic.segment.bytes",
        int(MIB, INT_MAX),
        "104857600",
        "Segment size of __consumer_offsets when it is made.",
    ),
    broker(
        "producer.id.expiration.ms",
        int(1, INT_MAX),
        "86400000",
        "How long an idle producer is remembered by a partition.",
    ),
    broker("socket.request.max.bytes", int(1024, INT_MAX), "104857600", "The largest request taken."),
    broker(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        int(1, INT_MAX),
        "10000",
        "How often open transactions are looked at for those that took too long.",
    ),
    broker(
        "transaction.max.timeout.ms",
        int(1, INT_MAX),
        "900000",
        "The longest time a client may give a transaction.",
    ),
    dynamic(broker(
        "transaction.partition.verification.enable",
        Kind::Switch,
        "true",
        "Whether a produce of an older client (Produce 11, TxnOffsetCommit 4 and below) is checked to be of an open transaction.",
    )),
    broker(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        int(1, INT_MAX),
        "3600000",
        "How often transactional ids are looked at for those that expired.",
    ),
    broker(
        "transaction.state.log.num.partitions",
        int(1, 10_000),
        "50",
        "Partitions of __transaction_state when it is made.",
    ),
    broker(
        "transaction.state.log.segment.bytes",
        int(MIB, INT_MAX),
        "104857600",
        "Segment size of __transaction_state when it is made.",
    ),
    broker(
        "transactional.id.expiration.ms",
        int(1, INT_MAX),
        "604800000",
        "How long a transactional id without a transaction is remembered.",
    ),
    both(
        "durability",
        "floe.durability",
        Kind::Word(&["flushed", "written", "memory"]),
        "flushed",
        "When a write is acknowledged: on stable storage, handed to the kernel, or in memory.",
    ),
    broker("cache.bytes", long(16 * MIB, i64::MAX), "134217728", "Memory per shard for the newest records."),
    broker(
        "cold.read.bytes",
        long(4096, 64 * MIB),
        "131072",
        "Bytes that each of a shard's two reads of old records asks of the device at once; more goes in pieces, between which commits get their turn.",
    ),
    broker("commit.bytes", long(4096, 64 * MIB), "1048576", "Bytes of one journal commit, at most."),
    broker("commit.wait.us", long(0, 1_000_000), "0", "How long a commit waits for more batches, in microseconds."),
    broker(
        "connections.move",
        Kind::Switch,
        "false",
        "Whether connections move to the core whose partitions they use.",
    ),
    broker(
        "connections.move.interval.ms",
        long(0, HOUR_MS),
        "10000",
        "How long a connection that has moved stays where it is, at least.",
    ),
    broker(
        "connections.move.requests",
        int(2, 10_000),
        "256",
        "Produce and Fetch requests after which it is decided whether a connection moves.",
    ),
    broker(
        "fetch.lagging.partition.bytes",
        long(0, i64::MAX),
        "65536",
        "What one partition may have of an answer to a client that follows others closely, lest they wait behind it; 0: as much as is asked for.",
    ),
    broker(
        "rebalance.fetch.hold.ms",
        long(0, 1000),
        "10",
        "How long, at most, fetches of librdkafka's clients wait while a member takes in a new assignment; 0: they do not.",
    ),
    broker(
        "direct.bytes",
        long(0, i64::MAX),
        "786432",
        "Batches from this size on are written straight to their segment, the journal holds their commit only. 0: none.",
    ),
    broker("journal.bytes", long(48 * MIB, i64::MAX), "268435456", "Space of one shard's journal on disk."),
    broker("memory.bytes", long(16 * MIB, i64::MAX), "268435456", "Memory per shard for requests and their answers."),
    broker("settle.bytes", long(MIB, i64::MAX), "50331648", "Unsettled bytes per shard at which segments are written."),
];

/// The setting with this name, or alias, on the broker.
pub fn broker_def(name: &str) -> Option<&'static ConfigDef> {
    CONFIGS.iter().find(|def| def.name == name || def.aliases.iter().any(|(alias, _)| *alias == name))
}

/// The setting with this name on a topic.
pub fn topic_def(name: &str) -> Option<&'static ConfigDef> {
    CONFIGS.iter().find(|def| def.topic == Some(name))
}

impl ConfigDef {
    /// Says what is wrong with a value, if something is. `name` is the spelling it came with.
    pub fn check(&self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |want: String| Err(format!("Invalid value {value} for configuration {name}: {want}"));
        match self.kind {
            Kind::Switch if value == "true" || value == "false" => Ok(()),
            Kind::Switch => wrong("it must be true or false".into()),
            Kind::Int { min, max } | Kind::Long { min, max } => match value.trim().parse::<i64>() {
                Err(_) => wrong("it must be a whole number".into()),
                Ok(number) if number < min => wrong(format!("it must be at least {min}")),
                Ok(number) if number > max => wrong(format!("it must be at most {max}")),
                Ok(_) => Ok(()),
            },
            Kind::Fraction => match value.trim().parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
                Ok(_) => wrong("it must lie between 0 and 1".into()),
                Err(_) => wrong("it must be a number".into()),
            },
            Kind::Word(words) if words.contains(&value) => Ok(()),
            Kind::Word(words) => wrong(format!("it must be one of {}", words.join(", "))),
            Kind::Words(words) if value.split(',').all(|word| words.contains(&word.trim())) => Ok(()),
            Kind::Words(words) => wrong(format!("it must be made of {}", words.join(", "))),
        }
    }
}
