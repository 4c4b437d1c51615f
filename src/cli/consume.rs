//! `floe consume`: records to standard output, as values, as JSON or in a format of the person's own.

mod in_group;

use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Bootstrap;
use super::client::Cluster;
use super::client::consumer::Consumer;
use super::client::position::Position;
use super::client::record::ReadRecord;
use super::format::Format;
use super::output::Output;
use crate::problem::{Outcome, Problem};

/// How long a fetch waits for records that are not there yet.
const WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConsumeArgs {
    /// Which topic.
    topic: String,
    /// Where to begin: beginning, end, offset:N, time:2026-01-31T12:00:00Z, time:MILLISECONDS, or -N for the last N of each partition.
    #[arg(short, long, value_name = "PLACE", default_value = "beginning", allow_hyphen_values = true)]
    from: Position,
    /// Which partitions, such as 0,2-4; all when not given.
    #[arg(short, long, value_name = "LIST")]
    partitions: Option<String>,
    /// End after this many records.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// End where the partitions ended when reading began, instead of waiting for more.
    #[arg(short, long, conflicts_with = "follow")]
    exit: bool,
    /// Wait for more at the end (this is the default; say it in scripts that mean it).
    #[arg(long)]
    follow: bool,
    /// Print a JSON object a line: topic, partition, offset, timestamp, key, value, headers; bytes that are no text in key_base64, value_base64.
    #[arg(short, long, conflicts_with = "format")]
    json: bool,
    /// Print in this format: %t topic %p partition %o offset %T timestamp %k key %K its length %s value %S its length %h headers \n \t \xHH.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Leave records of aborted and open transactions out.
    #[arg(long)]
    read_committed: bool,
    /// Read as a member of this consumer group: its share of the partitions, from where the group has come to (--from where it has committed nothing).
    #[arg(short, long, value_name = "NAME", conflicts_with = "partitions")]
    group: Option<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

const EXAMPLES: &str = "Without --exit or --count it waits for more; Ctrl-C ends it.

With --group, what was printed is committed every five seconds, when the group changes, and at the end; Ctrl-C (or SIGTERM) commits and leaves the
group, so that the others go on at once. Killed, or when the broker goes away, it may print the last seconds again the next time. Members of other clients
may be in the group if they have the assignor `range`; --exit looks at its own share only.

Examples:
  floe consume orders --exit                                 everything there is
  floe consume orders --from end                             only what comes from now on
  floe consume orders --from -10 --exit                      the last ten of each partition
  floe consume orders --from time:2026-01-31T12:00:00Z --count 5
  floe consume orders --group billing                        share the topic with whoever is in the group
  floe consume orders --group billing --count 100            the next hundred for this group
  floe consume orders --exit --json | jq -r .key
  floe consume orders --exit --format '%p/%o %T %k=%s %h\\n'";

pub(super) fn run(args: ConsumeArgs) -> Outcome {
    let format = args.format.as_deref().unwrap_or("%s\\n");
    let format = Format::parse(format).map_err(|wrong| Problem::usage(format!("--format: {wrong}")))?;
    let partitions = args.partitions.as_deref().map(partition_list).transpose()?;
    let left = args.count.unwrap_or(u64::MAX);
    let mut printer = Printer { topic: &args.topic, json: args.json, format, left, line: Vec::new() };
    if let Some(group) = &args.group {
        return in_group::run(&args, group, &mut printer);
    }
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let mut consumer = Consumer::new(&mut cluster, &args.topic, partitions.as_deref(), args.from, args.read_committed)?;
    let mut output = Output::new();
    let progress = progress(&args, &consumer);
    let mut last_flush = Instant::now();
    // A person who sees nothing happen wants to know why; a program does not.
    let mut tell_waiting = !args.exit && !args.follow && stdout().is_terminal() && stderr().is_terminal();
    while printer.left > 0 && !(args.exit && consumer.at_end()) {
        let more = consumer.poll(&mut cluster, WAIT, args.exit, |record| printer.print(&record, &mut output))?;
        progress.set_position(progress.length().unwrap_or(0).saturating_sub(consumer.remaining()));
        // What was read is shown before waiting again: a person follows a topic live.
        if args.exit && last_flush.elapsed() < Duration::from_millis(50) {
            continue;
        }
        output.flush()?;
        last_flush = Instant::now();
        if !more {
            break;
        }
        if tell_waiting && consumer.at_end() {
            eprintln!("everything was read; waiting for more, Ctrl-C ends");
            tell_waiting = false;
        }
    }
    progress.finish_and_clear();
    output.flush()
}

/// Writes records as they are wanted, as many as are wanted.
struct Printer<'a> {
    topic: &'a str,
    json: bool,
    format: Format,
    left: u64,
    line: Vec<u8>,
}

impl Printer<'_> {
    /// Writes one; whether more are wanted.
    fn print(&mut self, record: &ReadRecord, output: &mut Output) -> Outcome<bool> {
        if self.json {
            output.json(&record.to_json(self.topic))?;
        } else {
            self.line.clear();
            self.format.write(self.topic, record, &mut self.line);
            output.bytes(&self.line)?;
        }
        self.left -= 1;
        Ok(self.left > 0)
    }
}

/// A bar on the terminal when the records themselves go elsewhere and there is an end to reach.
fn progress(args: &ConsumeArgs, consumer: &Consumer) -> ProgressBar {
    if !args.exit || stdout().is_terminal() || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(consumer.remaining()), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} offsets, {per_sec}, {eta} left");
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// Reads `0,2-4`.
pub(super) fn partition_list(text: &str) -> Outcome<Vec<i32>> {
    let bad = |item: &str| {
        Problem::usage(format!("--partitions: `{item}` is neither a partition nor a range"))
            .next("write --partitions 0,2-4")
    };
    let mut list = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        let (from, to): (i32, i32) = (from.parse().map_err(|_| bad(item))?, to.parse().map_err(|_| bad(item))?);
        if from > to || to - from > 1_000_000 {
            return Err(bad(item));
        }
        list.extend(from..=to);
    }
    list.sort_unstable();
    list.dedup();
    if list.is_empty() { Err(bad(text)) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_lists() {
        assert_eq!(partition_list("3,0-1, 1").unwrap(), [0, 1, 3]);
        for wrong in ["", "a", "2-1", "0-99999999"] {
            assert!(partition_list(wrong).is_err(), "{wrong}");
        }
    }
}
