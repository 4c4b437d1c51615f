//! A workload: what the load generator does to a broker, read from a TOML file in `bench/workloads`.
//!
//! Plain data. Sizes are bytes of record values, rates are records a second over all producers together. [`Workload::parse`] refuses what
//! cannot be done, so that whoever holds a `Workload` need not check it again.

use std::fs;
use std::path::Path;

use floe_wire::compression;
use serde::{Deserialize, Serialize};

/// The stamp at the beginning of each value: producer, sequence, intended time of sending and a checksum.
pub const STAMP_BYTES: usize = 24;

/// The shape of one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// How tables and files call it; the file's name without its ending when not given.
    #[serde(default)]
    pub name: String,
    /// One sentence about what it shows.
    #[serde(default)]
    pub about: String,
    /// What is done and measured.
    pub kind: Kind,
    /// Topics, each with `partitions` partitions.
    #[serde(default = "one")]
    pub topics: u32,
    /// Partitions of each topic.
    #[serde(default = "one")]
    pub partitions: u32,
    /// Connections that produce.
    #[serde(default = "one")]
    pub producers: u32,
    /// Connections that consume; they share the partitions evenly. `produce` has none.
    #[serde(default)]
    pub consumers: u32,
    /// Connections that only stand there, opened before the warm-up.
    #[serde(default)]
    pub idle_connections: u32,
    /// Which key a record has.
    #[serde(default)]
    pub keys: Keys,
    /// How many different keys there are, for [`Keys::Uniform`] and [`Keys::Zipf`].
    #[serde(default = "default_key_count")]
    pub key_count: u64,
    /// Which partition a record goes to. With keys it is always the key that decides.
    #[serde(default)]
    pub partitioning: Partitioning,
    /// Bytes of each value, its stamp of [`STAMP_BYTES`] included.
    #[serde(default = "default_record_bytes")]
    pub record_bytes: usize,
    /// Compression of the batches.
    #[serde(default)]
    pub codec: Codec,
    /// Share of each value that is the same byte over and over; the rest is random. 0 does not compress, 1 compresses to nearly nothing.
    #[serde(default)]
    pub compressibility: f64,
    /// Whom an acknowledgement waits for: 0 nobody, 1 the leader, -1 all in-sync replicas.
    #[serde(default = "default_acks")]
    pub acks: i16,
    /// A batch leaves when another record would make it larger than this (before compression).
    #[serde(default = "default_batch_bytes_max")]
    pub batch_bytes_max: usize,
    /// A batch leaves when it has so many records; not given: only bytes count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_records_max: Option<u32>,
    /// Batches of different partitions that share one request: 1 is librdkafka's way.
    #[serde(default = "one")]
    pub batches_per_request_max: u32,
    /// How long a batch waits for further records when `rate` is given, in milliseconds. Without a rate batches are always full.
    #[serde(default)]
    pub linger_ms: f64,
    /// Requests of one producer that may be without an answer; without a rate this bounds the load.
    #[serde(default = "default_in_flight_max")]
    pub in_flight_max: u32,
    /// Records a second, on an absolute schedule; not given: as fast as the broker takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Instead of `rate`: this share of the highest rate, which is found first by running without a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_share: Option<f64>,
    /// Seconds of load before anything is counted.
    #[serde(default = "default_warm_up_s")]
    pub warm_up_s: f64,
    /// Seconds that count. `backlog` counts until everything is read.
    #[serde(default = "default_duration_s")]
    pub duration_s: f64,
    /// Bytes to produce before reading begins, for `consume` and `backlog`.
    #[serde(default = "default_backlog_bytes")]
    pub backlog_bytes: u64,
    /// Empty the page cache before reading (needs root), so that the data comes from the disk.
    #[serde(default)]
    pub cold: bool,
    /// Most bytes of one fetch answer.
    #[serde(default = "default_fetch_bytes_max")]
    pub fetch_bytes_max: u32,
    /// Most bytes of one partition in a fetch answer.
    #[serde(default = "default_fetch_bytes_max")]
    pub fetch_partition_bytes_max: u32,
    /// How long the broker may hold a fetch that finds nothing, in milliseconds.
    #[serde(default = "default_fetch_wait_ms_max")]
    pub fetch_wait_ms_max: u32,
}

/// What a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Producers only.
    Produce,
    /// A backlog is produced, not counted; then the consumers read it again and again until the time is over.
    Consume,
    /// Producers and consumers at once; what is produced is read as it comes.
    EndToEnd,
    /// A backlog is produced, not counted; then it is read once, to its end. With a `rate` a producer works beside it.
    Backlog,
}

/// Keys of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// No key.
    #[default]
    None,
    /// Each of `key_count` keys equally often, at random.
    Uniform,
    /// A few of `key_count` keys very often (Zipf, exponent 0.99).
    Zipf,
    /// A new key for every record.
    Sequential,
}

/// Partitions of records without keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioning {
    /// Batch by batch, one partition after the other.
    #[default]
    RoundRobin,
    /// A partition at random for every batch.
    Random,
}

/// Compression of batches; the numbers are those of the batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Not compressed.
    #[default]
    None = 0,
    /// gzip.
    Gzip = 1,
    /// Snappy, in the frames of the Java client.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

impl Codec {
    /// The same in floe-wire.
    pub fn wire(self) -> compression::Codec {
        compression::Codec::from_number(self as u8).expect("the numbers are the protocol's")
    }
}

impl Workload {
    /// Reads a file; its name stands in when the workload has none.
    pub fn load(path: &Path) -> Result<Workload, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Workload::parse(&text, &stem).map_err(|problem| format!("{}: {problem}", path.display()))
    }

    /// Reads and checks a workload; `name` stands in when it has none.
    pub fn parse(text: &str, name: &str) -> Result<Workload, String> {
        let mut workload: Workload = toml::from_str(text).map_err(|error| error.to_string())?;
        if workload.name.is_empty() {
            workload.name = name.to_owned();
        }
        workload.check()?;
        Ok(workload)
    }

    /// Partitions of all topics together.
    pub fn partitions_total(&self) -> u32 {
        self.topics * self.partitions
    }

    /// Does it produce while it is measured?
    pub fn produces(&self) -> bool {
        match self.kind {
            Kind::Produce | Kind::EndToEnd => true,
            Kind::Consume | Kind::Backlog => self.rate.is_some(),
        }
    }

    /// Does it consume while it is measured?
    pub fn consumes(&self) -> bool {
        self.kind != Kind::Produce
    }

    /// Says what cannot be done.
    pub fn check(&self) -> Result<(), String> {
        let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        must((1..=10_000).contains(&self.topics), "topics: 1 to 10000")?;
        must((1..=100_000).contains(&self.partitions), "partitions: 1 to 100000")?;
        must(u64::from(self.topics) * u64::from(self.partitions) <= 200_000, "at most 200000 partitions in all")?;
        must((1..=10_000).contains(&self.producers), "producers: 1 to 10000")?;
        must(self.consumers <= 10_000, "consumers: at most 10000")?;
        must(self.consumes() == (self.consumers > 0), "consumers: produce has none, every other kind at least one")?;
        must(self.idle_connections <= 100_000, "idle_connections: at most 100000")?;
        must((1..=10_000_000).contains(&self.key_count), "key_count: 1 to 10000000")?;
        must((STAMP_BYTES..=16 << 20).contains(&self.record_bytes), "record_bytes: 24 (the stamp) to 16777216")?;
        must((0.0..=1.0).contains(&self.compressibility), "compressibility: 0 to 1")?;
        must((-1..=1).contains(&self.acks), "acks: 0, 1 or -1")?;
        must(self.acks != 0 || self.rate.is_some(), "acks = 0 has no answers to bound the load: give a rate")?;
        must((1..=64 << 20).contains(&self.batch_bytes_max), "batch_bytes_max: 1 to 67108864")?;
        must(self.batch_records_max != Some(0), "batch_records_max: at least 1")?;
        must((1..=10_000).contains(&self.batches_per_request_max), "batches_per_request_max: 1 to 10000")?;
        must((0.0..=60_000.0).contains(&self.linger_ms), "linger_ms: 0 to 60000")?;
        must((1..=100_000).contains(&self.in_flight_max), "in_flight_max: 1 to 100000")?;
        must(self.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e9), "rate: more than 0, at most 10^9")?;
        must(self.rate_share.is_none_or(|share| share > 0.0 && share <= 1.0), "rate_share: more than 0, at most 1")?;
        must(self.rate.is_none() || self.rate_share.is_none(), "rate and rate_share: one of them")?;
        must(
            self.rate_share.is_none() || self.kind == Kind::EndToEnd || self.kind == Kind::Produce,
            "rate_share: for produce and end-to-end",
        )?;
        must((0.0..=3600.0).contains(&self.warm_up_s), "warm_up_s: 0 to 3600")?;
        must(self.duration_s > 0.0 && self.duration_s <= 86_400.0, "duration_s: more than 0, at most a day")?;
        must(self.fetch_bytes_max >= 1024 && self.fetch_partition_bytes_max >= 1024, "fetch bytes: at least 1024")?;
        must(self.fetch_bytes_max <= 1 << 30, "fetch_bytes_max: at most 1073741824")
    }
}

fn one() -> u32 {
    1
}

fn default_key_count() -> u64 {
    100_000
}

fn default_record_bytes() -> usize {
    1024
}

fn default_acks() -> i16 {
    1
}

fn default_batch_bytes_max() -> usize {
    1_000_000
}

fn default_in_flight_max() -> u32 {
    5
}

fn default_warm_up_s() -> f64 {
    5.0
}

fn default_duration_s() -> f64 {
    10.0
}

fn default_backlog_bytes() -> u64 {
    256_000_000
}

fn default_fetch_bytes_max() -> u32 {
    4 << 20
}

fn default_fetch_wait_ms_max() -> u32 {
    500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_enough() {
        let workload = Workload::parse("kind = 'produce'", "some-file").expect("parses");
        assert_eq!(workload.name, "some-file");
        assert_eq!((workload.topics, workload.partitions, workload.record_bytes, workload.acks), (1, 1, 1024, 1));
        assert_eq!((workload.rate, workload.codec, workload.keys), (None, Codec::None, Keys::None));
        assert!(workload.produces() && !workload.consumes());
    }

    #[test]
    fn every_word_is_known() {
        let text = "name = 'n'\nkind = 'end-to-end'\nkeys = 'zipf'\npartitioning = 'random'\ncodec = 'lz4'\nconsumers = 2\nrate = 5\nacks = -1";
        let workload = Workload::parse(text, "").expect("parses");
        assert_eq!(
            (workload.kind, workload.keys, workload.partitioning, workload.codec, workload.rate),
            (Kind::EndToEnd, Keys::Zipf, Partitioning::Random, Codec::Lz4, Some(5.0))
        );
        // What is written into results can be read again.
        let again = toml::to_string(&workload).expect("serializes");
        assert_eq!(Workload::parse(&again, ""), Ok(workload));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (text, names) in [
            ("kind = 'produce'\nconsumers = 1", "consumers"),
            ("kind = 'backlog'", "consumers"),
            ("kind = 'produce'\nrecord_bytes = 23", "record_bytes"),
            ("kind = 'produce'\nacks = 2", "acks"),
            ("kind = 'produce'\nacks = 0", "rate"),
            ("kind = 'produce'\nrate = 1\nrate_share = 0.5", "rate_share"),
            ("kind = 'produce'\ntopics = 10000\npartitions = 100", "200000"),
            ("kind = 'produce'\nduration_s = 0", "duration_s"),
            ("kind = 'produce'\nrates = 1", "rates"),
            ("kind = 'sing'", "sing"),
        ] {
            let problem = Workload::parse(text, "").expect_err(text);
            assert!(problem.contains(names), "{text}: {problem}");
        }
    }

    #[test]
    fn every_file_in_workloads_parses() {
        let mut seen = 0;
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/workloads")).expect("bench/workloads") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                Workload::load(&path).expect("parses");
                seen += 1;
            }
        }
        assert!(seen > 0);
    }
}
