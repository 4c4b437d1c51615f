//! `bench restart`: how long a broker with much data needs from its start after kill -9 to its first acknowledged produce.
//!
//! Fills 2,000 partitions up to a given size, kills the broker under load, starts it on the same data and produces until one record is taken.

use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::broker::{Broker, Place, Subject, free_bytes};
use crate::client::{self, Client};
use crate::load::{self, To};
use crate::report;

/// One restart.
#[derive(Clone, Debug, Serialize)]
pub struct Restart {
    /// Subject.
    pub subject: &'static str,
    /// Partitions filled.
    pub partitions: i32,
    /// Bytes in the data directory when it was killed.
    pub data_bytes: u64,
    /// From the start of the process to its first answer, in seconds.
    pub first_answer_s: f64,
    /// From the start of the process to the first acknowledged produce, in seconds.
    pub first_produce_s: f64,
}

/// Fills, kills, restarts each subject in turn.
pub fn run(place: &Place, subjects: &[Subject], partitions: i32, gb: u64) -> Result<(), String> {
    std::fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for &subject in subjects {
        found.push(one(place, subject, partitions, gb * 1_000_000_000)?);
    }
    report::restarts(&found)
}

/// Fills, kills and restarts one.
pub fn one(place: &Place, subject: Subject, partitions: i32, bytes: u64) -> Result<Restart, String> {
    let free = free_bytes(&place.scratch).map_err(|error| error.to_string())?;
    if free < bytes * 2 {
        return Err(format!(
            "{} has only {} GB free: choose --gb or --scratch",
            place.scratch.display(),
            free / 1_000_000_000
        ));
    }
    let broker = Broker::start(place, subject)?;
    let topic = "restart";
    Client::connect(place.port)
        .and_then(|mut client| client.create_topic(topic, partitions))
        .map_err(|error| format!("topic: {error}"))?;
    let began = Instant::now();
    let properties = ["batch.num.messages=64", "linger.ms=1000", "batch.size=1000000"];
    let mut filled = 0;
    // About as long as it takes at 200 MB/s; a slower broker gets another slice.
    let slice_s = (bytes as f64 / 2e8).clamp(2.0, 20.0);
    while filled < bytes {
        filled += load::produce(&broker, place, topic, To::AnyOf(partitions), 1024, slice_s, &properties)?.bytes;
        println!("  {}: {:.1} GB after {:.0} s", subject.name(), filled as f64 / 1e9, began.elapsed().as_secs_f64());
        if began.elapsed() > Duration::from_secs(900) {
            println!("  {}: stopped filling after 15 minutes", subject.name());
            break;
        }
    }
    // Killed under load: a producer is at work when the process goes.
    let data_bytes = folder_bytes(broker.data());
    let restarted = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let Ok(mut client) = Client::connect(place.port) else { return };
            let batch = client::batch(64, 1024);
            for at in 0.. {
                if client.produce(topic, at % partitions, &batch).is_err() {
                    return;
                }
            }
        });
        thread::sleep(Duration::from_secs(2));
        let began = Instant::now();
        let restarted = broker.kill_and_restart().map(|broker| (broker, began));
        let _ = worker.join();
        restarted
    });
    let (broker, began) = restarted?;
    let batch = client::batch(1, 100);
    let limit = Duration::from_secs(300);
    loop {
        let taken = Client::connect(place.port).and_then(|mut client| client.produce(topic, partitions - 1, &batch));
        if taken.is_ok() {
            break;
        }
        if began.elapsed() > limit {
            return Err(format!(
                "{} takes no record after the restart: see {}",
                subject.name(),
                broker.log().display()
            ));
        }
        thread::sleep(Duration::from_millis(5));
    }
    // The kill itself is part of `began`: what counts is the time since the new process was started.
    let first_produce_s = broker.started.elapsed().as_secs_f64();
    Ok(Restart {
        subject: subject.name(),
        partitions,
        data_bytes,
        first_answer_s: broker.start_up.as_secs_f64(),
        first_produce_s,
    })
}

fn folder_bytes(path: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
            // What is on the disk: Kafka's indexes are files of 10 MB each with next to nothing in them.
            Ok(data) => data.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
