//! `bench rebalance`: does consumption stop when a group changes? A real client (confluent-kafka, or Java's) consumes a topic that is written to steadily;
//! a second member joins and the first one leaves, a number of times; one is killed. Measured is the longest time without a record of a partition that did
//! not move, and of one that did; for cooperative groups of the classic protocol and for KIP-848, with the same settings on every broker.

pub mod feed;
pub mod log;
pub mod member;
mod scene;

use clap::Args;
use serde::Serialize;

use self::member::ClientKind;
use self::scene::Scene;
use crate::broker::{Broker, Place, Subject};
use crate::proc;
use crate::report;

/// Partitions of the topic, two members' share of which is a half.
pub const PARTITIONS: i32 = 8;
/// How often members say that they live, and after how long without that they are gone.
pub const HEARTBEAT_MS: u64 = 1000;
/// See [`HEARTBEAT_MS`].
pub const SESSION_MS: u64 = 6000;

/// Group protocols by the names that the members know.
pub const PROTOCOLS: [&str; 2] = ["cooperative", "consumer"];

/// What happened in one scenario of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Which broker.
    pub subject: &'static str,
    /// Which client.
    pub client: ClientKind,
    /// Which protocol.
    pub protocol: &'static str,
    /// Which scenario.
    pub scenario: &'static str,
    /// Partitions that stayed where they were.
    pub kept: usize,
    /// The longest gap of one of them, in milliseconds.
    pub kept_ms: f64,
    /// The longest gap of one that moved, in milliseconds; `None` where none did.
    pub moved_ms: Option<f64>,
}

/// With what and how often.
#[derive(Debug, Args)]
pub struct RebalanceArgs {
    /// With which clients. librdkafka's pauses all it has while its assignment changes, Java's does not.
    #[arg(long, value_delimiter = ',', default_value = "confluent,java")]
    clients: Vec<ClientKind>,
    /// Turns of all brokers and clients.
    #[arg(long, default_value_t = 1)]
    turns: usize,
    /// How often one joins and the other leaves, in each turn.
    #[arg(long, default_value_t = 6)]
    joins: usize,
    /// How many members are killed in each turn, one after the other.
    #[arg(long, default_value_t = 4)]
    crashes: usize,
    /// Between two records of a partition, in milliseconds: no gap can be seen that is shorter.
    #[arg(long, default_value_t = 2)]
    every_ms: u64,
}

/// Runs all, in turns; prints and keeps.
pub fn run(place: &Place, subjects: &[Subject], how: &RebalanceArgs) -> Result<(), String> {
    how.clients.iter().try_for_each(|client| client.check())?;
    std::fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    proc::pin_self(place.load_core).map_err(|error| error.to_string())?;
    let mut brokers = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        let place = with_settings(Place { port: place.port + 2 * at as u16, ..place.clone() });
        let broker = Broker::start(&place, *subject)?;
        broker.stop();
        brokers.push((broker, place));
    }
    let mut all = Vec::new();
    for turn in 0..how.turns {
        for (client, protocol) in combinations(&how.clients) {
            for (broker, place) in &brokers {
                broker.go_on();
                let found = Scene::run(place, broker.subject(), client, protocol, how, turn);
                broker.stop();
                for found in found? {
                    let moved = found.moved_ms.map_or(String::new(), |ms| format!(", moved {ms:.0} ms"));
                    let (subject, scenario, kept) = (found.subject, found.scenario, found.kept_ms);
                    println!("  {turn} {subject}, {} {protocol} {scenario}: kept {kept:.1} ms{moved}", client.name());
                    all.push(found);
                }
            }
        }
    }
    print(subjects, &how.clients, &all)
}

fn combinations(clients: &[ClientKind]) -> impl Iterator<Item = (ClientKind, &'static str)> {
    clients.iter().flat_map(|client| PROTOCOLS.map(|protocol| (*client, protocol)))
}

/// The same times for both: those of KIP-848 are the broker's to say.
fn with_settings(mut place: Place) -> Place {
    let times = [format!("heartbeat.interval.ms={HEARTBEAT_MS}"), format!("session.timeout.ms={SESSION_MS}")];
    for time in &times {
        place.settings.push(format!("group.consumer.{time}"));
        place.kafka_settings.push(format!("group.consumer.{time}"));
        // Kafka's smallest ones are above.
        place.kafka_settings.push(format!("group.consumer.min.{time}"));
    }
    place
}

fn print(subjects: &[Subject], clients: &[ClientKind], all: &[Measured]) -> Result<(), String> {
    let mut header = vec!["client, protocol, scenario".to_owned()];
    for subject in subjects {
        header.push(format!("{}: kept, ms", subject.name()));
        header.push(format!("{}: moved, ms", subject.name()));
    }
    let mut rows = Vec::new();
    for (client, protocol) in combinations(clients) {
        for scenario in scene::SCENARIOS {
            let mut row = vec![format!("{}, {protocol}, {scenario}", client.name())];
            for subject in subjects {
                let of = |m: &&Measured| {
                    (m.subject, m.client, m.protocol, m.scenario) == (subject.name(), client, protocol, scenario)
                };
                row.push(spread(all.iter().filter(of).map(|m| m.kept_ms).collect()));
                row.push(spread(all.iter().filter(of).filter_map(|m| m.moved_ms).collect()));
            }
            rows.push(row);
        }
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    println!("{}", report::table(&header, rows));
    println!("kept in {}", report::keep("rebalance", all)?);
    Ok(())
}

/// Median (smallest..largest).
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => "-".to_owned(),
        [first, .., last] => format!("{:.0} ({first:.0}..{last:.0})", values[values.len() / 2]),
        [one] => format!("{one:.0}"),
    }
}
