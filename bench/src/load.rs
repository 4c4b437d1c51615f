//! The neutral load: librdkafka's `rdkafka_performance` on its own core.
//!
//! What was produced is counted by the broker: the ends of the logs at the beginning and at the end of a span within the client's run, its CPU over
//! the same span. The client's own count of delivery reports lags as long as its queue is not full, and said a tenth of the truth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::{Broker, Place, pinned};
use crate::children;
use crate::client::Client;

const PROGRAM: &str = ".cache/bench/rdkafka/rdkafka_performance";

/// 1 MB batches that fill before they leave.
pub const STREAM: [&str; 4] =
    ["batch.size=1000000", "batch.num.messages=1000000", "linger.ms=100", "message.max.bytes=1000000"];

/// What one run moved and what it cost the broker.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Records acknowledged (or consumed).
    pub records: u64,
    /// Their value bytes.
    pub bytes: u64,
    /// Time they took, in seconds.
    pub seconds: f64,
    /// The broker's CPU in that time, in seconds.
    pub cpu_s: f64,
    /// The broker's largest resident memory seen, in bytes.
    pub rss_max: u64,
}

impl Moved {
    /// 10^6 value bytes a second.
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e6
    }

    /// Broker CPU seconds for 10^9 value bytes.
    pub fn cpu_per_gb(&self) -> f64 {
        self.cpu_s / (self.bytes as f64 / 1e9)
    }

    /// Records a second.
    pub fn records_per_s(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// Both runs, one after the other.
    pub fn plus(&self, other: &Moved) -> Moved {
        Moved {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            seconds: self.seconds + other.seconds,
            cpu_s: self.cpu_s + other.cpu_s,
            rss_max: self.rss_max.max(other.rss_max),
        }
    }

    /// Broker CPU for each record, in microseconds.
    pub fn cpu_us_per_record(&self) -> f64 {
        self.cpu_s * 1e6 / self.records as f64
    }
}

/// Which partitions of a topic are produced to.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// One.
    One(i32),
    /// So many, each record to any of them at random.
    AnyOf(i32),
}

/// Produces to `topic` for `seconds`; counts after a short start, of a second at most.
pub fn produce(
    broker: &Broker,
    place: &Place,
    topic: &str,
    to: To,
    value_bytes: usize,
    seconds: f64,
    properties: &[&str],
) -> Result<Moved, String> {
    let mut command = program(place);
    command.args(["-P", "-t", topic, "-s", &value_bytes.to_string(), "-a", "1", "-i", "1000", "-u"]);
    let partitions = match to {
        To::One(partition) => {
            command.args(["-p", &partition.to_string()]);
            partition..partition + 1
        }
        To::AnyOf(partitions) => 0..partitions,
    };
    let shared = [
        // Room for a full batch of each of 1,000 partitions and no more: a queue of a gigabyte is filled first and sent later, by the same core.
        "queue.buffering.max.messages=200000",
        "queue.buffering.max.kbytes=1048576",
        // Without a key librdkafka would stay on one partition for a while: here every record goes anywhere.
        "sticky.partitioning.linger.ms=0",
    ];
    for property in shared.iter().chain(properties) {
        command.args(["-X", property]);
    }
    let said = |error: std::io::Error| format!("{topic}: {error}");
    let mut probe = Client::connect(place.port).map_err(said)?;
    let mut client = Running::start(place, command)?;
    let settle_s = (seconds / 5.0).min(1.0);
    let mut rss_max = client.watch(broker, settle_s)?;
    let mut reading = || -> Result<(u64, f64, Instant), String> {
        Ok((probe.log_ends(topic, partitions.clone()).map_err(said)?, broker.cpu_s(), Instant::now()))
    };
    let (records_before, cpu_before, began) = reading()?;
    rss_max = rss_max.max(client.watch(broker, seconds - settle_s)?);
    let (records_after, cpu_after, ended) = reading()?;
    client.end();
    let records = records_after - records_before;
    if records == 0 {
        return Err(format!(
            "nothing was acknowledged: see {} and {}",
            client.output.display(),
            broker.log().display()
        ));
    }
    let (bytes, seconds) = (records * value_bytes as u64, (ended - began).as_secs_f64());
    Ok(Moved { records, bytes, seconds, cpu_s: cpu_after - cpu_before, rss_max })
}

/// Reads of the newest records of a topic, from memory: small enough for every broker's memory, and read several times so that it lasts.
pub const HOT: Reads = Reads { which: Which::Newest, records_max: 100_000, times: 12 };
/// Reads of what was written a second before.
pub const CATCH_UP: Reads = Reads { which: Which::Oldest, records_max: 150_000, times: 6 };

/// The same records of a partition, read several times.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    which: Which,
    records_max: u64,
    times: usize,
}

/// Which records of a partition are consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The oldest.
    Oldest,
    /// Those written last.
    Newest,
}

/// Produces to `topic` for a second and consumes it as `reads` says; the sum of the reads.
pub fn consume_again(broker: &Broker, place: &Place, topic: &str, reads: Reads) -> Result<Moved, String> {
    let written = produce(broker, place, topic, To::One(0), 1024, 1.0, &STREAM)?;
    let records = written.records.min(reads.records_max);
    let read = || consume(broker, place, topic, (reads.which, records), 1024);
    let first = read()?;
    (1..reads.times).try_fold(first, |sum, _| Ok(sum.plus(&read()?)))
}

/// Consumes `records` records of one partition.
pub fn consume(
    broker: &Broker,
    place: &Place,
    topic: &str,
    (which, records): (Which, u64),
    value_bytes: usize,
) -> Result<Moved, String> {
    let from = match which {
        Which::Oldest => "beginning".to_owned(),
        Which::Newest => format!("-{records}"),
    };
    let mut command = program(place);
    command.args(["-C", "-t", topic, "-p", "0", "-o", &from, "-c", &records.to_string(), "-i", "1000", "-u"]);
    // Large fetches and a full local queue: the broker is to be the limit, as far as this client lets it.
    for property in [
        "fetch.message.max.bytes=4194304",
        "queued.max.messages.kbytes=262144",
        "queued.min.messages=1000000",
        "check.crcs=false",
    ] {
        command.args(["-X", property]);
    }
    let cpu_before = broker.cpu_s();
    let mut client = Running::start(place, command)?;
    let rss_max = client.watch_to_end(broker, 120.0);
    let cpu_s = broker.cpu_s() - cpu_before;
    client.end();
    let text = fs::read_to_string(&client.output).map_err(|error| error.to_string())?;
    let (elapsed_ms, records) = last_row(&text, "msgs")
        .filter(|&(_, records)| records > 0)
        .ok_or_else(|| format!("nothing was read: see {} and {}", client.output.display(), broker.log().display()))?;
    let seconds = (elapsed_ms / 1e3).max(1e-3);
    Ok(Moved { records, bytes: records * value_bytes as u64, seconds, cpu_s, rss_max })
}

fn program(place: &Place) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("-b").arg(format!("127.0.0.1:{}", place.port));
    command
}

/// The client at work; ended when this is dropped.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    fn start(place: &Place, command: Command) -> Result<Running, String> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!("{PROGRAM} is missing; get it with: bench/tools.sh rdkafka"));
        }
        let output = place.scratch.join("load.out");
        let file = fs::File::create(&output).map_err(|error| error.to_string())?;
        let mut command = pinned(command, place.load_core);
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(|error| error.to_string())?).stderr(file);
        let child = command.spawn().map_err(|error| format!("{PROGRAM}: {error}"))?;
        children::add(child.id(), None);
        Ok(Running { child, output })
    }

    /// Lets it work for so long; returns the largest memory of the broker seen.
    fn watch(&mut self, broker: &Broker, seconds: f64) -> Result<u64, String> {
        let rss_max = self.watch_to_end(broker, seconds);
        match self.child.try_wait() {
            Ok(None) => Ok(rss_max),
            _ => Err(format!("{PROGRAM} ended early: see {}", self.output.display())),
        }
    }

    fn watch_to_end(&mut self, broker: &Broker, seconds_max: f64) -> u64 {
        let began = Instant::now();
        let limit = Duration::from_secs_f64(seconds_max);
        let mut rss_max = 0;
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < limit {
            rss_max = rss_max.max(broker.rss());
            sleep(Duration::from_millis(20).min(limit.saturating_sub(began.elapsed())));
        }
        rss_max
    }

    /// The signal makes it write its table and end.
    fn end(&mut self) {
        children::end(&mut self.child, Signal::INT, Duration::from_secs(5));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The last data row of the client's table: (elapsed in ms, value of `column`).
fn last_row(text: &str, column: &str) -> Option<(f64, u64)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let header = text.lines().find(|line| line.starts_with('|') && line.contains("elapsed")).map(cells)?;
    let at = |name: &str| header.iter().position(|cell| cell == name);
    let (elapsed, wanted) = (at("elapsed")?, at(column)?);
    text.lines().rev().filter(|line| line.starts_with('|')).find_map(|line| {
        let row = cells(line);
        Some((row.get(elapsed)?.parse().ok()?, row.get(wanted)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::last_row;

    #[test]
    fn the_last_row_of_the_table_counts() {
        let text = "| elapsed | msgs | dr |\n| 1000 | 7 | 5 |\n% noise\n| elapsed | msgs | dr |\n| 2000 | 14 | 11 |\n";
        assert_eq!(last_row(text, "dr"), Some((2000.0, 11)));
        assert_eq!(last_row(text, "msgs"), Some((2000.0, 14)));
        assert_eq!(last_row("% nothing", "dr"), None);
    }
}
