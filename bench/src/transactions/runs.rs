//! The single runs: transactions in a closed loop, one client alone beside the journal's counter, and the stream with and without transactions.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::check;
use super::counts::Counts;
use super::crowd::Crowd;
use super::producer::{Ends, Manner, Producer};
use super::wire::Batch;
use crate::asking::Asking;
use crate::broker::Broker;
use crate::client::Client;
use crate::proc;

/// Partitions of the topic of the closed loop: enough for the largest transactions.
const PARTITIONS: i32 = 100;
/// Bytes of the value of each record there.
const SMALL_BYTES: usize = 100;
/// Producers of a stream, and partitions of each.
const STREAMS: usize = 4;
const PARTITIONS_A_STREAM: usize = 4;
/// Bytes of the value of each record there.
const RECORD_BYTES: usize = 1024;
/// What does not count, before what does.
const SETTLE: Duration = Duration::from_millis(700);
/// What `touch` wrote into each partition.
const TOUCHED: u64 = 1;

/// Transactions in a closed loop.
#[derive(Clone, Debug, Serialize)]
pub struct Closed {
    /// Which broker.
    pub subject: &'static str,
    /// Which turn.
    pub turn: usize,
    /// Producers.
    pub producers: usize,
    /// Partitions of a transaction.
    pub partitions: usize,
    /// Committed a second.
    pub per_s: f64,
    /// EndTxn to its answer, in microseconds: p50, p99, most.
    pub commit_us: [u64; 3],
    /// From first sending what a transaction writes until all was taken, the same: with the wait for the markers of the one before.
    pub produce_us: [u64; 3],
    /// From first sending what it writes to the answer of EndTxn, the same.
    pub whole_us: [u64; 3],
    /// CONCURRENT_TRANSACTIONS told, for each transaction.
    pub concurrent: f64,
    /// Broker CPU of a transaction, in microseconds.
    pub cpu_us: f64,
    /// Share of its core that the load used.
    pub client_share: f64,
    /// Journal commits of a transaction, and how many of them were made durable: of Floe, with one producer alone.
    pub journal_writes: Option<[f64; 2]>,
}

/// A stream.
#[derive(Clone, Debug, Serialize)]
pub struct Streamed {
    /// Which broker.
    pub subject: &'static str,
    /// Which turn.
    pub turn: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Whether in transactions.
    pub transactional: bool,
    /// 10^6 value bytes a second.
    pub mb_per_s: f64,
    /// Broker CPU seconds for 10^9 value bytes.
    pub cpu_s_per_gb: f64,
    /// Share of its core that the load used.
    pub client_share: f64,
    /// Transactions committed.
    pub transactions: u64,
}

/// Where a run is.
pub struct At<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// Its port.
    pub port: u16,
    /// The port of its /metrics, if it is a Floe.
    pub admin: u16,
    /// Which turn.
    pub turn: usize,
    /// What counts.
    pub span: Duration,
}

/// What happened in the span that counts.
struct Spanned {
    counts: Counts,
    seconds: f64,
    cpu_s: f64,
    client_share: f64,
}

impl At<'_> {
    /// Producers that each write one small record to each of so many partitions, commit, and begin again.
    pub fn closed(&self, producers: usize, partitions: usize) -> io::Result<Closed> {
        let name = format!("closed-{partitions}-{producers}-{}", self.turn);
        let manner = Manner {
            topic: name.as_str().into(),
            batch: Rc::new(Batch::new(1, SMALL_BYTES, true)),
            partitions_a_request: partitions,
            in_flight_max: 1,
            ends: Ends::AtOnce,
        };
        let places = |producer: usize| {
            let first = producer * partitions;
            (0..partitions).map(|at| ((first + at) % PARTITIONS as usize) as i32).collect()
        };
        let mut journal = [0.0; 2];
        let (spanned, all) = self.run(&manner, PARTITIONS, producers, places, |begins| {
            let found = self.journal_commits()?;
            journal = if begins { found } else { [found[0] - journal[0], found[1] - journal[1]] };
            Ok(())
        })?;
        let Spanned { counts, seconds, cpu_s, client_share } = spanned;
        let transactions = counts.transactions as f64;
        if all == 0 || counts.transactions == 0 {
            return Err(io::Error::other("no transaction was committed"));
        }
        let alone = producers == 1 && self.broker.subject().is_floe();
        Ok(Closed {
            subject: self.broker.subject().name(),
            turn: self.turn,
            producers,
            partitions,
            per_s: transactions / seconds,
            commit_us: quantiles(&counts.commit_us),
            produce_us: quantiles(&counts.produce_us),
            whole_us: quantiles(&counts.whole_us),
            concurrent: counts.concurrent as f64 / transactions,
            cpu_us: cpu_s * 1e6 / transactions,
            client_share,
            journal_writes: alone.then(|| journal.map(|commits| commits / transactions)),
        })
    }

    /// 1 KiB records in batches of about so many bytes; `interval`: in transactions that are committed so often.
    pub fn stream(&self, batch_bytes: usize, interval: Option<Duration>) -> io::Result<Streamed> {
        let transactional = interval.is_some();
        let records = ((batch_bytes - 1024) / (RECORD_BYTES + 12)).max(1) as i32;
        let kind = if transactional { "txn" } else { "idempotent" };
        let name = format!("stream-{batch_bytes}-{kind}-{}", self.turn);
        let manner = Manner {
            topic: name.as_str().into(),
            batch: Rc::new(Batch::new(records, RECORD_BYTES, transactional)),
            partitions_a_request: 1,
            in_flight_max: PARTITIONS_A_STREAM,
            ends: interval.map_or(Ends::Never, Ends::After),
        };
        let places = |producer: usize| {
            let first = producer * PARTITIONS_A_STREAM;
            (first..first + PARTITIONS_A_STREAM).map(|partition| partition as i32).collect()
        };
        let partitions = (STREAMS * PARTITIONS_A_STREAM) as i32;
        // What an earlier run left in the page cache is written back before, not beside this one.
        rustix::fs::sync();
        let (Spanned { counts, seconds, cpu_s, client_share }, _) =
            self.run(&manner, partitions, STREAMS, places, |_| Ok(()))?;
        let gb = counts.bytes as f64 / 1e9;
        Ok(Streamed {
            subject: self.broker.subject().name(),
            turn: self.turn,
            batch_bytes,
            transactional,
            mb_per_s: gb * 1e3 / seconds,
            cpu_s_per_gb: cpu_s / gb,
            client_share,
            transactions: counts.transactions,
        })
    }

    /// On a topic of its own, which is removed: settles, measures a span (`edge` is called at its beginning and its end), ends, checks. Gives the
    /// transactions of the whole run as well.
    fn run(
        &self,
        manner: &Manner,
        partitions: i32,
        producers: usize,
        places: impl Fn(usize) -> Vec<i32>,
        mut edge: impl FnMut(bool) -> io::Result<()>,
    ) -> io::Result<(Spanned, u64)> {
        let topic: &str = &manner.topic;
        let names = [topic.to_owned()];
        let mut client = Client::connect(self.port)?;
        client.create_topics(&names, partitions, &[])?;
        client.touch(topic, partitions)?;
        let mut asking = Asking::connect(self.port)?;
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let one = |at: usize| {
            let id = (manner.ends != Ends::Never).then(|| format!("{topic}-{at}"));
            let identity = check::identity(&mut asking, id.as_deref())?;
            Producer::new(address, manner.clone(), id, identity, places(at))
        };
        let all: Vec<Producer> = (0..producers).map(one).collect::<io::Result<_>>()?;
        let mut crowd = Crowd::new(all, partitions as usize)?;
        crowd.run(SETTLE)?;
        edge(true)?;
        crowd.count_anew();
        let (cpu, thread, began) = (self.broker.cpu_s(), proc::thread_cpu(), Instant::now());
        crowd.run(self.span)?;
        let seconds = began.elapsed().as_secs_f64();
        let counts = crowd.count_anew();
        let spanned = Spanned {
            counts,
            seconds,
            cpu_s: self.broker.cpu_s() - cpu,
            client_share: (proc::thread_cpu() - thread).as_secs_f64() / seconds,
        };
        edge(false)?;
        crowd.finish()?;
        check::stable(&mut asking, topic, &crowd.totals, TOUCHED)?;
        // Of a stream the ends of the logs are enough: reading gigabytes would only heat the machine.
        if manner.ends == Ends::AtOnce {
            check::read_back(&mut asking, topic, &crowd.totals, TOUCHED)?;
        }
        client.delete_topics(&names)?;
        Ok((spanned, crowd.totals.transactions))
    }

    /// Journal commits of a Floe so far, and how many of them were made durable.
    fn journal_commits(&self) -> io::Result<[f64; 2]> {
        if !self.broker.subject().is_floe() {
            return Ok([0.0; 2]);
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let sum = |name: &str| {
            let of = page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' ')?.1.parse::<f64>().ok());
            let found: Vec<f64> = of.collect();
            if found.is_empty() {
                Err(io::Error::other(format!("/metrics has no {name}")))
            } else {
                Ok(found.iter().sum())
            }
        };
        Ok([sum("floe_journal_commits_total")?, sum("floe_journal_commits_flushed_total")?])
    }
}

fn quantiles(of: &Histogram<u64>) -> [u64; 3] {
    [of.value_at_quantile(0.5), of.value_at_quantile(0.99), of.max()]
}
