//! The neutral load: librdkafka's `rdkafka_performance` on its own core, ended after a time, its own count of what was delivered.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::{Broker, Place, pinned};

const PROGRAM: &str = ".cache/bench/rdkafka/rdkafka_performance";

/// What one run moved and what it cost the broker.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Records delivered (or consumed).
    pub records: u64,
    /// Their value bytes.
    pub bytes: u64,
    /// From the client's start to its end, in seconds.
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

    /// Broker CPU for each record, in microseconds.
    pub fn cpu_us_per_record(&self) -> f64 {
        self.cpu_s * 1e6 / self.records as f64
    }
}

/// Produces to `topic` for `seconds`: to one partition, or to all at random.
pub fn produce(
    broker: &Broker,
    place: &Place,
    topic: &str,
    partition: Option<i32>,
    value_bytes: usize,
    seconds: f64,
    properties: &[&str],
) -> Result<Moved, String> {
    let mut command = program(place);
    command.args(["-P", "-t", topic, "-s", &value_bytes.to_string(), "-a", "1", "-i", "1000", "-u"]);
    if let Some(partition) = partition {
        command.args(["-p", &partition.to_string()]);
    }
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
    run(broker, place, command, value_bytes as u64, Some(seconds), "dr")
}

/// Consumes `records` records of one partition from its beginning.
pub fn consume(broker: &Broker, place: &Place, topic: &str, records: u64, value_bytes: usize) -> Result<Moved, String> {
    let mut command = program(place);
    command.args(["-C", "-t", topic, "-p", "0", "-o", "beginning", "-c", &records.to_string(), "-i", "1000", "-u"]);
    // Large fetches and a full local queue: the broker is to be the limit, as far as this client lets it.
    for property in [
        "fetch.message.max.bytes=4194304",
        "queued.max.messages.kbytes=262144",
        "queued.min.messages=1000000",
        "check.crcs=false",
    ] {
        command.args(["-X", property]);
    }
    run(broker, place, command, value_bytes as u64, None, "msgs")
}

fn program(place: &Place) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("-b").arg(format!("127.0.0.1:{}", place.port));
    command
}

/// Runs the client until it ends or its time is over, then reads its table: the last row counts.
fn run(
    broker: &Broker,
    place: &Place,
    command: Command,
    value_bytes: u64,
    seconds: Option<f64>,
    column: &str,
) -> Result<Moved, String> {
    if !Path::new(PROGRAM).exists() {
        return Err(format!("{PROGRAM} is missing; get it with: bench/tools.sh rdkafka"));
    }
    let output = place.scratch.join("load.out");
    let file = fs::File::create(&output).map_err(|error| error.to_string())?;
    let mut command = pinned(command, place.load_core);
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(|error| error.to_string())?).stderr(file);
    let cpu_before = broker.cpu_s();
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{PROGRAM}: {error}"))?;
    let limit = Duration::from_secs_f64(seconds.unwrap_or(120.0));
    let mut rss_max = 0;
    while matches!(child.try_wait(), Ok(None)) && began.elapsed() < limit {
        rss_max = rss_max.max(broker.rss());
        sleep(Duration::from_millis(20));
    }
    // The table's last row is written about once a second; the signal makes the client write its sum and end.
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process(pid, Signal::INT);
    }
    let wall = began.elapsed().as_secs_f64();
    let cpu_s = broker.cpu_s() - cpu_before;
    await_end(&mut child);
    let text = fs::read_to_string(&output).map_err(|error| error.to_string())?;
    let (elapsed_ms, records) = last_row(&text, column)
        .ok_or_else(|| format!("no figures from {PROGRAM}: see {} and {}", output.display(), broker.log().display()))?;
    if records == 0 {
        return Err(format!("nothing was moved: see {} and {}", output.display(), broker.log().display()));
    }
    // CPU was taken at the signal; the client's last row may be a little earlier: scale to the time that row covers.
    let seconds = (elapsed_ms / 1e3).max(1e-3);
    let share = (seconds / wall).min(1.0);
    let cpu_s = if column == "dr" { cpu_s * share } else { cpu_s };
    Ok(Moved { records, bytes: records * value_bytes, seconds, cpu_s, rss_max })
}

fn await_end(child: &mut std::process::Child) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
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
