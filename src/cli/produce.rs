//! `floe produce`: standard input or files to records, delivered or told about on standard error.

use std::io::{self, BufReader, IsTerminal};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use floe_wire::compression::Codec;

use super::Bootstrap;
use super::client::Cluster;
use super::client::position::moment;
use super::client::producer::{Producer, ProducerOptions};
use super::format::unescape;
use super::input::{self, Shape};
use crate::problem::{Outcome, Problem, Tried};

/// How long a record from a slow input (a person typing) waits for company.
const LINGER: Duration = Duration::from_millis(5);

/// Lines read ahead of the sender.
const LINES_AHEAD: usize = 10_000;

/// Compression, as Kafka calls it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecName {
    /// Not compressed.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Which acknowledgement is waited for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Acks {
    /// None: a record counts as delivered when it was sent.
    #[value(name = "0")]
    Zero,
    /// The leader's.
    #[value(name = "1")]
    One,
    /// That of all replicas in sync.
    #[value(name = "all", alias = "-1")]
    All,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ProduceArgs {
    /// Which topic; a broker with auto.create.topics.enable creates it on first use.
    topic: String,
    /// The key of records that have none of their own.
    #[arg(short, long)]
    key: Option<String>,
    /// What stands between key and value on a line; \t is a tab.
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json")]
    key_separator: Option<String>,
    /// A header of every record; without `=` its value is null. May be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The partition; by key, or in turn, when not given.
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,
    /// A key or value of exactly this text is null.
    #[arg(short = 'Z', long, value_name = "TEXT", conflicts_with = "json")]
    null_value: Option<String>,
    /// The whole file is one record; may be given several times. Standard input is not read then.
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "json")]
    files: Vec<PathBuf>,
    /// Compression of batches.
    #[arg(short = 'z', long, value_enum, default_value = "none")]
    codec: CodecName,
    /// Which acknowledgement to wait for.
    #[arg(short, long, value_enum, default_value = "all")]
    acks: Acks,
    /// Let the broker recognise repeats, so that a broken connection neither loses nor doubles a record.
    #[arg(long)]
    idempotent: bool,
    /// The time of every record: 2026-01-31T12:00:00Z or milliseconds since 1970; now when not given.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    timestamp: Option<i64>,
    /// Each line is a JSON object as `consume --json` prints it: key, value, headers, partition, timestamp; bytes in key_base64, value_base64.
    #[arg(long)]
    json: bool,
    /// Do not say how many records were delivered.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

const EXAMPLES: &str = "Ends with 0 when every record was delivered, else with 1 and the number of those that were.

Examples:
  echo hello | floe produce greetings
  printf 'k1:v1\\nk2:v2\\n' | floe produce pairs --key-separator :
  floe produce images --file a.png --key a --header type=image/png
  floe consume orders --exit --json | floe produce orders-copy --json --idempotent --codec zstd";

pub(super) fn run(args: ProduceArgs) -> Outcome {
    let separator = match &args.key_separator {
        None => None,
        Some(text) if text.is_empty() => {
            return Err(Problem::usage("--key-separator is empty").next("give at least one character"));
        }
        Some(text) => Some(unescape(text).map_err(|wrong| Problem::usage(format!("--key-separator: {wrong}")))?),
    };
    let acks = match args.acks {
        Acks::Zero => 0,
        Acks::One => 1,
        Acks::All => -1,
    };
    if args.idempotent && acks != -1 {
        return Err(Problem::usage("--idempotent needs --acks all: repeats are recognised by what was acknowledged")
            .next("leave --acks out"));
    }
    let shape = Shape {
        json: args.json,
        key_separator: separator,
        null_marker: args.null_value.clone().map(String::into_bytes),
        key: args.key.clone().map(String::into_bytes),
        headers: args.headers.iter().map(|text| input::header(text)).collect(),
        partition: args.partition,
        timestamp_ms: args.timestamp,
    };
    let codec = match args.codec {
        CodecName::None => Codec::None,
        CodecName::Gzip => Codec::Gzip,
        CodecName::Snappy => Codec::Snappy,
        CodecName::Lz4 => Codec::Lz4,
        CodecName::Zstd => Codec::Zstd,
    };
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let options = ProducerOptions { acks, codec, idempotent: args.idempotent };
    let mut producer = Producer::new(&mut cluster, &args.topic, options)?;
    let result = if args.files.is_empty() {
        lines(&mut cluster, &mut producer, &shape)
    } else {
        files(&mut cluster, &mut producer, &shape, &args.files)
    };
    if !args.quiet {
        let delivered = producer.delivered;
        eprintln!("delivered {delivered} {}", if delivered == 1 { "record" } else { "records" });
    }
    result
}

fn files(cluster: &mut Cluster, producer: &mut Producer, shape: &Shape, files: &[PathBuf]) -> Outcome {
    for path in files {
        let content = input::whole_file(path).tried(|| format!("cannot read {}", path.display()))?;
        producer.push(cluster, shape.whole(content))?;
    }
    producer.flush(cluster)
}

fn lines(cluster: &mut Cluster, producer: &mut Producer, shape: &Shape) -> Outcome {
    if io::stdin().is_terminal() {
        eprintln!("one record a line; end with Ctrl-D");
    }
    // Reading on a thread of its own, so that what a person typed leaves after LINGER and not when the next line comes.
    let (to, from) = flume::bounded::<io::Result<Vec<u8>>>(LINES_AHEAD);
    thread::spawn(move || {
        let mut stdin = BufReader::with_capacity(256 << 10, io::stdin().lock());
        let mut line = Vec::new();
        loop {
            let item = match input::next_line(&mut stdin, &mut line) {
                Ok(true) => Ok(std::mem::take(&mut line)),
                Ok(false) => return,
                Err(error) => Err(error),
            };
            let stop = item.is_err();
            if to.send(item).is_err() || stop {
                return;
            }
        }
    });
    let mut number = 0u64;
    let mut first_waiting: Option<Instant> = None;
    loop {
        let received = match first_waiting {
            None => from.recv().map_err(|_| flume::RecvTimeoutError::Disconnected),
            Some(since) => from.recv_deadline(since + LINGER),
        };
        match received {
            Ok(line) => {
                let line = line.map_err(|error| {
                    Problem::new("cannot read standard input")
                        .because(error)
                        .next("use --file FILE for a record that is a whole file")
                })?;
                number += 1;
                let record = shape.line(&line).map_err(|wrong| Problem::new(format!("line {number}: {wrong}")));
                match record {
                    Ok(record) => producer.push(cluster, record)?,
                    Err(problem) => {
                        // What came before the bad line is complete and wanted.
                        producer.flush(cluster)?;
                        return Err(problem.next("the lines before it were delivered; correct it and produce the rest"));
                    }
                }
                if first_waiting.is_none() {
                    first_waiting = Some(Instant::now());
                }
            }
            Err(flume::RecvTimeoutError::Timeout) => {
                producer.flush(cluster)?;
                first_waiting = None;
            }
            Err(flume::RecvTimeoutError::Disconnected) => return producer.flush(cluster),
        }
    }
}
