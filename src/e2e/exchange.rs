//! Every client writes with every codec, and every client reads what every client wrote: byte by byte, in order, from the start, from
//! an offset and from a timestamp. Keys, headers, nulls, a record of almost 1 MiB, idempotence on wherever the client has it.

use std::thread;

use crate::broker::Broker;
use crate::clients::{CLIENTS, CODECS, Client, reads, started_ms};

/// Runs `work` for every client, two at a time; what failed is told together.
fn every_client(work: impl Fn(&Client) -> Result<(), String> + Sync) {
    let lanes: Vec<Vec<&Client>> =
        vec![CLIENTS.iter().step_by(2).collect(), CLIENTS.iter().skip(1).step_by(2).collect()];
    let work = &work;
    let failures: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                scope.spawn(move || lane.into_iter().filter_map(|client| work(client).err()).collect::<Vec<_>>())
            })
            .collect();
        running.into_iter().flat_map(|lane| lane.join().expect("a lane does not panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// RUN-WRITER-CODEC, as `clients/records.py` reads it.
fn topic(run: &str, writer: &str, codec: &str) -> String {
    format!("{run}-{writer}-{codec}")
}

fn exchange(bootstrap: &str, run: &str) {
    every_client(|writer| {
        let topics: Vec<String> = CODECS.iter().map(|codec| topic(run, writer.name, codec)).collect();
        writer.run(bootstrap, "write", &topics)
    });
    every_client(|reader| {
        let mut topics = Vec::new();
        for writer in CLIENTS {
            let readable = CODECS.iter().filter(|codec| reads(reader.name, writer.name, codec));
            topics.extend(readable.map(|codec| topic(run, writer.name, codec)));
        }
        reader.run(bootstrap, "verify", &topics)
    });
}

#[test]
fn every_client_reads_what_every_client_wrote_on_one_core() {
    let broker = Broker::start(1);
    exchange(&broker.bootstrap(), "one");
}

#[test]
fn every_client_reads_what_every_client_wrote_on_four_cores() {
    let broker = Broker::start(4);
    exchange(&broker.bootstrap(), "four");
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn every_client_reads_what_every_client_wrote_elsewhere() {
    let bootstrap = std::env::var("FLOE_E2E_BOOTSTRAP").expect("FLOE_E2E_BOOTSTRAP=host:port names the broker");
    exchange(&bootstrap, &format!("e2e{}", started_ms()));
}
