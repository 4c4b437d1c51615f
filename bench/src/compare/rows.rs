//! What is compared: the rows of the speed table, each with the figures that matter in it, and the pairs whose ratios are formed.

use crate::broker::Subject;
use crate::outcome::{Latency, Outcome};

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What `--only` matches, and the name in files.
    pub name: &'static str,
    /// What is done, as a reader sees it.
    pub about: &'static str,
    /// What Floe is to reach in it.
    pub aim: &'static str,
    /// How.
    pub source: Source,
    /// Keys of the figures that are shown; all are kept.
    pub figures: &'static [&'static str],
    /// Subjects that do it.
    pub subjects: &'static [Subject],
    /// Further settings of Floe, for a fresh one.
    pub settings: &'static [&'static str],
    /// Floe gets a new broker for it: memory that it has taken before would hide what this row takes.
    pub fresh: bool,
}

/// How a row's figures come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The load generator with this file of `bench/workloads`.
    Workload(&'static str),
    /// `rdkafka_performance`: a check on the instrument, by a client that belongs to neither broker.
    Rdkafka(Rdkafka),
    /// A broker started on an empty directory.
    StartUp,
    /// kill -9 under load, and back.
    Restart,
}

/// The shapes of load that `rdkafka_performance` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rdkafka {
    /// 1 KiB records to one partition in batches of 1 MB.
    Stream,
    /// 256 B records to 1,000 partitions at random, ten a batch.
    Scatter,
    /// The newest of what `Stream` wrote, read again: from memory.
    Hot,
    /// The oldest of it, a second old: from the page cache, or from the disk.
    CatchUp,
}

/// All four.
pub const ALL: &[Subject] = &[Subject::Floe, Subject::FloeWritten, Subject::Kafka, Subject::KafkaDurable];
/// Reading, memory and starting do not depend on when a write is acknowledged.
const AS_SHIPPED: &[Subject] = &[Subject::Floe, Subject::Kafka];
const FLOE: &[Subject] = &[Subject::Floe];

const BANDWIDTH_PROFILE: &[&str] = &["profile=bandwidth"];
const TWO_SHARDS: &[&str] = &["cores=2", "oversubscribe=true"];
const FOUR_SHARDS: &[&str] = &["cores=4", "oversubscribe=true"];

/// The figure that is the disk's own sequential rate, in MB/s.
pub const DISK_RATE: &str = "disk_mb_s";

/// Pairs of subjects whose ratio is formed, left by right.
pub const PAIRS: &[(Subject, Subject)] =
    &[(Subject::Floe, Subject::Kafka), (Subject::Floe, Subject::KafkaDurable), (Subject::FloeWritten, Subject::Kafka)];

const fn load(
    name: &'static str,
    about: &'static str,
    aim: &'static str,
    figures: &'static [&'static str],
    subjects: &'static [Subject],
) -> Row {
    Row { name, about, aim, source: Source::Workload(name), figures, subjects, settings: &[], fresh: false }
}

/// A row that a Floe of its own does, with these settings.
const fn floe(
    name: &'static str,
    about: &'static str,
    aim: &'static str,
    workload: &'static str,
    figures: &'static [&'static str],
    settings: &'static [&'static str],
) -> Row {
    Row { name, about, aim, source: Source::Workload(workload), figures, subjects: FLOE, settings, fresh: true }
}

/// What a message costs at another scale.
const SCALE: &[&str] = &["cpu_us_msg", "k_msg_s", "cpu_us_req", "rss_max_mb", "client_busy"];
const BANDWIDTH: &[&str] = &["mb_s", "cpu_s_gb", "cpu_us_msg", "device_bytes", "client_busy"];
/// Beside a row that shows [`DISK_RATE`] the disk's own rate is measured.
const DISK: &[&str] = &["mb_s", DISK_RATE, "disk_share", "cpu_s_gb", "device_bytes", "client_busy"];
const REQUESTS: &[&str] = &["k_msg_s", "cpu_us_msg", "cpu_us_req", "client_busy"];
const ACKNOWLEDGE: &[&str] = &["p50_ms", "p99_ms", "p999_ms", "max_ms", "cpu_us_msg"];

/// The rows, in the order in which they are measured and shown.
pub const ROWS: &[Row] = &[
    load(
        "produce-1k-1p",
        "produce 1 KiB, 1 partition, batches of 1 MB, acks=1",
        "4x Kafka's MB/s or client-limited; 0.6 CPU s/GB",
        BANDWIDTH,
        ALL,
    ),
    load(
        "produce-100b-8p",
        "produce 100 B, 8 partitions, batches of 1 MB, acks=1",
        "2x Kafka's MB/s or client-limited; 0.8 CPU s/GB",
        BANDWIDTH,
        ALL,
    ),
    load(
        "scatter-1",
        "256 B to 1,000 partitions at random, 1 record a batch, a request each",
        "4 us CPU a request, 100x Kafka durable, or client-limited",
        REQUESTS,
        ALL,
    ),
    load(
        "scatter-10",
        "256 B to 1,000 partitions at random, 10 records a batch",
        "0.6 us CPU a message or client-limited",
        REQUESTS,
        ALL,
    ),
    load(
        "scatter-100",
        "256 B to 1,000 partitions at random, 100 records a batch",
        "0.2 us CPU a message or client-limited",
        REQUESTS,
        ALL,
    ),
    load(
        "scatter-10k-partitions",
        "256 B to 10,000 partitions at random, 10 records a batch",
        "within 2x of 1,000 partitions; memory bounded",
        SCALE,
        FLOE,
    ),
    load(
        "latency-1k",
        "produce 1 KiB at 2,000 msg/s, no linger",
        "p50 131 us, p99 400 us, p99.9 1 ms",
        ACKNOWLEDGE,
        ALL,
    ),
    load(
        "end-to-end-half",
        "produce to consume, 1 KiB, at half of each broker's highest rate",
        "p99 2 ms, and a tenth of Kafka's",
        &["e2e_p50_ms", "e2e_p99_ms", "e2e_p999_ms", "k_msg_s", "cpu_us_msg"],
        ALL,
    ),
    load(
        "consume-hot",
        "consume 1 KiB from memory",
        "0.30 CPU s/GB",
        &["mb_s", "cpu_s_gb", "cpu_us_msg", "client_busy"],
        AS_SHIPPED,
    ),
    load(
        "consume-cold",
        "consume 1 KiB from the disk (page cache emptied), a producer beside it",
        "at the disk's speed; the producer's p99 does not double",
        &["mb_s", "cpu_s_gb", "p50_ms", "p99_ms"],
        AS_SHIPPED,
    ),
    Row {
        name: "idle-5000",
        about: "latency of 2,000 msg/s beside 5,000 idle connections",
        aim: "16 KiB of RSS a connection; p99 unchanged",
        source: Source::Workload("idle-5000"),
        figures: &["rss_connection_kib", "p50_ms", "p99_ms", "p999_ms"],
        subjects: AS_SHIPPED,
        settings: &[],
        fresh: true,
    },
    Row {
        name: "start-up",
        about: "start on an empty directory, both cores",
        aim: "RSS idle 40 MB; first answer after 150 ms",
        source: Source::StartUp,
        figures: &["start_ms", "rss_idle_mb"],
        subjects: AS_SHIPPED,
        settings: &[],
        fresh: false,
    },
    floe(
        "bandwidth-profile",
        "produce 1 KiB, 1 partition, batches of 1 MB, profile `bandwidth`",
        "device writes 1.1x what is produced; 80 % of the disk's sequential rate",
        "produce-1k-1p",
        DISK,
        BANDWIDTH_PROFILE,
    ),
    floe(
        "bandwidth-profile-4p",
        "the same, 4 partitions and producers",
        "as with one",
        "produce-1k-4p",
        DISK,
        BANDWIDTH_PROFILE,
    ),
    floe(
        "latency-profile",
        "produce 1 KiB at 2,000 msg/s, no linger, profile `latency`",
        "p50 131 us, p99 400 us, p99.9 1 ms",
        "latency-1k",
        ACKNOWLEDGE,
        &["profile=latency"],
    ),
    floe(
        "scale-1-shard",
        "cost with scale: 256 B to 1,000 partitions, 10 a batch, one shard on the one core",
        "CPU a message flat from 1 to 4 shards",
        "scatter-10",
        SCALE,
        &[],
    ),
    floe("scale-2-shards", "the same, two shards on the one core", "as with one", "scatter-10", SCALE, TWO_SHARDS),
    floe("scale-4-shards", "the same, four shards on the one core", "as with one", "scatter-10", SCALE, FOUR_SHARDS),
    floe(
        "scale-1-partition",
        "cost with scale: 256 B to 1 partition, 10 a batch (1,000 partitions: scale-1-shard)",
        "CPU a message flat from 1 to 10,000 partitions",
        "scatter-1-partition",
        SCALE,
        &[],
    ),
    floe(
        "scale-1-connection",
        "cost with scale: 1 KiB at 20,000 msg/s, one a request, over 1 connection",
        "CPU a message flat from 1 to 1,000 connections",
        "connections-1",
        SCALE,
        &[],
    ),
    floe("scale-100-connections", "the same over 100 connections", "as over one", "connections-100", SCALE, &[]),
    floe("scale-1000-connections", "the same over 1,000 connections", "as over one", "connections-1000", SCALE, &[]),
    Row {
        name: "rdkafka-stream",
        about: "check: produce 1 KiB, 1 partition, batches of 1 MB, by librdkafka",
        aim: "",
        source: Source::Rdkafka(Rdkafka::Stream),
        figures: &["mb_s", "cpu_s_gb"],
        subjects: ALL,
        settings: &[],
        fresh: false,
    },
    Row {
        name: "rdkafka-scatter-10",
        about: "check: 256 B to 1,000 partitions at random, 10 records a batch, by librdkafka",
        aim: "",
        source: Source::Rdkafka(Rdkafka::Scatter),
        figures: &["k_msg_s", "cpu_us_msg"],
        subjects: ALL,
        settings: &[],
        fresh: false,
    },
    Row {
        name: "rdkafka-consume",
        about: "check: consume the newest 100 MB, from memory, by librdkafka",
        aim: "",
        source: Source::Rdkafka(Rdkafka::Hot),
        figures: &["mb_s", "cpu_s_gb"],
        subjects: AS_SHIPPED,
        settings: &[],
        fresh: false,
    },
    Row {
        name: "rdkafka-catch-up",
        about: "check: consume what was written a second ago, a gigabyte behind the end, six times, by librdkafka",
        aim: "",
        source: Source::Rdkafka(Rdkafka::CatchUp),
        figures: &["mb_s", "cpu_s_gb"],
        subjects: AS_SHIPPED,
        settings: &[],
        fresh: false,
    },
    Row {
        name: "restart",
        about: "kill -9 under load with 2,000 partitions, start again",
        aim: "first acknowledged produce after 1 s",
        source: Source::Restart,
        figures: &["data_gb", "first_answer_s", "first_produce_s"],
        subjects: AS_SHIPPED,
        settings: &[],
        fresh: false,
    },
];

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
    /// Neither: it explains others.
    Neither,
}

/// A kind of figure.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// In files.
    pub key: &'static str,
    /// In tables.
    pub label: &'static str,
    /// Which way is better.
    pub better: Better,
}

const fn kind(key: &'static str, label: &'static str, better: Better) -> Kind {
    Kind { key, label, better }
}

/// All kinds of figures.
pub const KINDS: &[Kind] = &[
    kind("mb_s", "MB/s", Better::Higher),
    kind("k_msg_s", "thousand msg/s", Better::Higher),
    kind("k_req_s", "thousand requests/s", Better::Higher),
    kind("cpu_s_gb", "broker CPU s/GB", Better::Lower),
    kind("cpu_us_msg", "broker CPU us/msg", Better::Lower),
    kind("cpu_us_req", "broker CPU us/request", Better::Lower),
    kind("p50_ms", "p50 ms", Better::Lower),
    kind("p99_ms", "p99 ms", Better::Lower),
    kind("p999_ms", "p99.9 ms", Better::Lower),
    kind("max_ms", "largest ms", Better::Lower),
    kind("e2e_p50_ms", "end to end p50 ms", Better::Lower),
    kind("e2e_p99_ms", "end to end p99 ms", Better::Lower),
    kind("e2e_p999_ms", "end to end p99.9 ms", Better::Lower),
    kind("e2e_max_ms", "end to end largest ms", Better::Lower),
    kind("device_bytes", "device bytes written a byte produced", Better::Lower),
    kind("disk_mb_s", "disk's own sequential O_DIRECT MB/s", Better::Neither),
    kind("disk_share", "share of the disk's own rate", Better::Higher),
    kind("rss_idle_mb", "RSS idle MB", Better::Lower),
    kind("rss_max_mb", "RSS loaded MB", Better::Lower),
    kind("rss_connection_kib", "RSS a connection KiB", Better::Lower),
    kind("start_ms", "start to first answer ms", Better::Lower),
    kind("first_answer_s", "restart to first answer s", Better::Lower),
    kind("first_produce_s", "restart to first acknowledged produce s", Better::Lower),
    kind("data_gb", "data GB", Better::Neither),
    kind("client_busy", "client's core busy", Better::Neither),
];

/// The kind with this key.
pub fn kind_of(key: &str) -> Kind {
    KINDS.iter().copied().find(|kind| kind.key == key).expect("every row names figures that exist")
}

/// All figures of a run of the load generator.
pub fn figures(outcome: &Outcome) -> Vec<(String, f64)> {
    let flow = outcome.main_flow();
    let mut found = vec![
        ("mb_s", Some(flow.mb_per_s())),
        ("k_msg_s", Some(flow.records_per_s() / 1e3)),
        ("k_req_s", Some(flow.requests_per_s() / 1e3)),
        ("cpu_s_gb", outcome.broker_cpu_s_per_gb()),
        ("cpu_us_msg", outcome.broker_cpu_us_per_record()),
        ("cpu_us_req", outcome.broker_cpu_us_per_request()),
        ("client_busy", Some(outcome.client.busy_share)),
    ];
    let ms = |latency: &Latency| [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(|us| us / 1e3);
    if let Some([p50, p99, p999, max]) = outcome.produce_latency.as_ref().map(ms) {
        found.extend([("p50_ms", Some(p50)), ("p99_ms", Some(p99)), ("p999_ms", Some(p999)), ("max_ms", Some(max))]);
    }
    if let Some([p50, p99, p999, max]) = outcome.end_to_end_latency.as_ref().map(ms) {
        found.extend([("e2e_p50_ms", Some(p50)), ("e2e_p99_ms", Some(p99)), ("e2e_p999_ms", Some(p999))]);
        found.push(("e2e_max_ms", Some(max)));
    }
    if let Some(cost) = &outcome.broker_cost {
        found.push(("rss_idle_mb", Some(cost.rss_idle as f64 / 1e6)));
        found.push(("rss_max_mb", Some(cost.rss_max as f64 / 1e6)));
        let connections = outcome.workload.idle_connections;
        let grown = cost.rss_connected.saturating_sub(cost.rss_idle) as f64 / 1024.0;
        found.push(("rss_connection_kib", (connections > 0).then(|| grown / f64::from(connections))));
    }
    found
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.filter(|value| value.is_finite())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_what_exists() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            assert!(!row.figures.is_empty() && !row.subjects.is_empty(), "{}", row.name);
            for key in row.figures {
                assert_eq!(kind_of(key).key, *key);
            }
            if let Source::Workload(file) = row.source {
                let path =
                    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads").join(format!("{file}.toml"));
                crate::workload::Workload::load(&path).unwrap_or_else(|problem| panic!("{}: {problem}", row.name));
            }
        }
    }

    #[test]
    fn pairs_are_subjects_of_some_row() {
        for (left, right) in PAIRS {
            assert!(ROWS.iter().any(|row| row.subjects.contains(left) && row.subjects.contains(right)));
        }
    }
}
