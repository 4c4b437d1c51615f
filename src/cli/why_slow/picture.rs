//! What happened between two metrics pages: stages, shards, device, clients. Plain numbers; the verdict and the screen are made of them.

use super::page::{Page, Spread};
use super::verdict::{Shard, Signs};
use crate::problem::{Outcome, Problem};

/// A stage on the way of a request.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Its name.
    pub(super) name: &'static str,
    /// What happens there.
    pub(super) what: &'static str,
    /// Durations, in seconds.
    pub(super) spread: Spread,
    /// Share of the mean request's time.
    pub(super) share: f64,
}

/// A shard's part in it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// How it spent its time.
    pub(super) time: Shard,
    /// Share of its time that it looked for work instead of sleeping.
    pub(super) polled: f64,
    /// Requests a second.
    pub(super) requests: f64,
    /// Bytes of requests a second.
    pub(super) bytes_in: f64,
    /// Bytes of answers a second.
    pub(super) bytes_out: f64,
    /// Connections at the end.
    pub(super) connections: f64,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    /// Seconds between the pages.
    pub(super) seconds: f64,
    /// In the order of a request's way.
    pub(super) stages: Vec<Stage>,
    /// By number.
    pub(super) shards: Vec<Load>,
    /// Journal commits on the device.
    pub(super) device: Spread,
    /// Share of connections' time for which they were not read for what they had at work or unread.
    pub(super) paused: f64,
    /// Share of connections' time without any request at work.
    pub(super) clients_idle: f64,
    /// Reads a second: from memory, from files by sendfile, after waiting for the disk.
    pub(super) reads: [f64; 3],
}

/// Metric, name and meaning of each stage, in the order of a request's way.
const STAGES: [(&str, &str, &str); 8] = [
    ("floe_receive_seconds", "receive", "first bytes of a request until all of it"),
    ("floe_turn_seconds", "turn", "waits for requests before it on its connection"),
    ("floe_round_seconds", "decode, decide", "the round of a shard in which it is worked on"),
    ("floe_mesh_hop_seconds", "shard hop", "on its way to another shard, and back"),
    ("floe_journal_wait_seconds", "journal queue", "waits for its journal write"),
    ("floe_journal_commit_seconds", "device", "its journal write"),
    ("floe_produce_acknowledge_seconds", "acknowledge", "durable, until all its shards have said so"),
    ("floe_send_seconds", "send", "its answer, until the kernel has taken it"),
];

/// Places in [`STAGES`] of those that there is one of for each round or commit, not for each request.
const ROUND: usize = 2;
const JOURNAL_QUEUE: usize = 4;
const DEVICE: usize = 5;

impl Picture {
    /// What happened from `before` to `after`.
    pub(super) fn between(before: &Page, after: &Page) -> Outcome<Picture> {
        let seconds = after.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let names = after.shards();
        let grown = |name: &str, shard: &str| after.value(name, shard) - before.value(name, shard);
        let count = |shard: &String| grown("floe_request_seconds_count", shard);
        let all = |name: &str| names.iter().map(|shard| grown(name, shard)).sum::<f64>();
        if names.len() != before.shards().len() || names.iter().any(|shard| count(shard) < 0.0) {
            return Err(
                Problem::new("the broker was started anew while it was being looked at").next("run the command again")
            );
        }
        let spread = |name: &str| {
            let one = |shard: &String| after.spread(name, shard).since(&before.spread(name, shard));
            names.iter().fold(Spread::default(), |sum, shard| sum.and(&one(shard)))
        };
        let requests: f64 = names.iter().map(count).sum();
        let produces: f64 = {
            let of =
                |page: &Page, shard: &String| page.value_with("floe_request_seconds_count", shard, ("kind", "produce"));
            names.iter().map(|shard| of(after, shard) - of(before, shard)).sum()
        };
        let spreads = STAGES.map(|(metric, _, _)| spread(metric));
        // The mean request's time: what each has one of by its sum; rounds and commits are shared, and everybody in one waits for all of it.
        let times: Vec<f64> = spreads
            .iter()
            .enumerate()
            .map(|(at, spread)| match at {
                _ if requests <= 0.0 => 0.0,
                ROUND => spread.mean(),
                JOURNAL_QUEUE | DEVICE => spread.mean() * produces / requests,
                _ => spread.sum / requests,
            })
            .collect();
        let whole: f64 = times.iter().sum();
        let device = spreads[DEVICE].clone();
        let stages = STAGES
            .iter()
            .zip(spreads)
            .zip(&times)
            .map(|(((_, name, what), spread), time)| {
                let share = if whole > 0.0 { time / whole } else { 0.0 };
                Stage { name, what, spread, share }
            })
            .collect();
        let per_second = |name: &str, shard: &str| grown(name, shard) / seconds;
        let load = |shard: &String| {
            let polled = per_second("floe_shard_polled_seconds_total", shard);
            let time = Shard {
                busy: (per_second("floe_shard_cpu_seconds_total", shard) - polled).clamp(0.0, 1.0),
                starved: per_second("floe_shard_cpu_wait_seconds_total", shard).clamp(0.0, 1.0),
                closed: per_second("floe_admission_closed_seconds_total", shard).clamp(0.0, 1.0),
                depth: per_second("floe_journal_commit_seconds_sum", shard),
                answers: after.value("floe_shard_up", shard) > 0.0 && before.value("floe_shard_up", shard) > 0.0,
            };
            Load {
                time,
                polled: polled.clamp(0.0, 1.0),
                requests: count(shard) / seconds,
                bytes_in: per_second("floe_request_bytes_total", shard),
                bytes_out: per_second("floe_reply_bytes_total", shard),
                connections: after.value("floe_connections", shard),
            }
        };
        let now = |page: &Page| names.iter().map(|shard| page.value("floe_connections", shard)).sum::<f64>();
        let connection_seconds = (now(before) + now(after)) / 2.0 * seconds;
        let of_connections = |name: &str| {
            if connection_seconds > 0.0 { (all(name) / connection_seconds).clamp(0.0, 1.0) } else { 0.0 }
        };
        Ok(Picture {
            seconds,
            stages,
            shards: names.iter().map(load).collect(),
            device,
            paused: of_connections("floe_connections_paused_seconds_total"),
            clients_idle: 1.0 - of_connections("floe_connections_working_seconds_total"),
            reads: ["floe_reads_hot_total", "floe_reads_file_total", "floe_reads_cold_total"]
                .map(|name| all(name) / seconds),
        })
    }

    /// What the rules look at.
    pub(super) fn signs(&self) -> Signs {
        Signs {
            requests: self.shards.iter().map(|load| load.requests).sum(),
            device_share: self.stages[JOURNAL_QUEUE].share + self.stages[DEVICE].share,
            clients_idle: self.clients_idle,
            shards: self.shards.iter().map(|load| load.time).collect(),
        }
    }

    /// How many times the mean the busiest shard is busy; 1 when all are alike.
    pub(super) fn imbalance(&self) -> f64 {
        let busy = || self.shards.iter().map(|load| load.time.busy);
        let mean = busy().sum::<f64>() / self.shards.len().max(1) as f64;
        if mean > 0.0 { busy().fold(0.0, f64::max) / mean } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Two shards; every number times `factor`.
    fn page(factor: f64, at: Instant) -> Page {
        let mut text = String::new();
        for shard in 0..2 {
            let mut row = |name: &str, labels: &str, value: f64| {
                text.push_str(&format!("{name}{{shard=\"{shard}\"{labels}}} {}\n", value * factor));
            };
            let of = f64::from(shard) + 1.0;
            row("floe_request_seconds_count", ",kind=\"produce\"", 50.0);
            row("floe_request_seconds_count", ",kind=\"other\"", 50.0);
            for (metric, _, _) in STAGES {
                let (count, sum) = match metric {
                    "floe_journal_commit_seconds" => (10.0, 0.010 * of),
                    "floe_round_seconds" => (40.0, 0.004),
                    "floe_send_seconds" => (100.0, 0.010),
                    _ => (0.0, 0.0),
                };
                row(&format!("{metric}_sum"), "", sum);
                row(&format!("{metric}_bucket"), ",le=\"0.001\"", count / 2.0);
                row(&format!("{metric}_bucket"), ",le=\"+Inf\"", count);
            }
            row("floe_shard_cpu_seconds_total", "", 0.1 * of);
            row("floe_shard_polled_seconds_total", "", 0.05);
            row("floe_shard_cpu_wait_seconds_total", "", 0.02);
            row("floe_connections_working_seconds_total", "", 0.5);
            text.push_str(&format!("floe_shard_up{{shard=\"{shard}\"}} 1\nfloe_connections{{shard=\"{shard}\"}} 4\n"));
        }
        Page::read(&text, at)
    }

    #[test]
    fn two_pages_make_a_picture() {
        let began = Instant::now();
        let picture = Picture::between(&page(1.0, began), &page(3.0, began + Duration::from_secs(2))).unwrap();
        assert_eq!((picture.seconds, picture.shards.len()), (2.0, 2));
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got} is not {want}");
        close(picture.shards[1].time.busy, 0.15);
        close(picture.shards[1].time.starved, 0.02);
        close(picture.shards[1].polled, 0.05);
        close(picture.shards[0].requests, 100.0);
        close(picture.shards[1].time.depth, 0.02);
        close(picture.imbalance(), 1.5);
        close(picture.clients_idle, 1.0 - 0.125);
        // Half of the requests wait for a commit of 1.5 ms on average, all for a round of 0.1 ms, and for 0.1 ms of sending.
        close(picture.stages[DEVICE].spread.mean(), 0.0015);
        close(picture.stages[DEVICE].share, 0.75 / 0.95);
        close(picture.stages[ROUND].share, 0.1 / 0.95);
        close(picture.signs().device_share, 0.75 / 0.95);
        close(picture.signs().requests, 200.0);
        assert!(picture.signs().shards.iter().all(|shard| shard.answers));
    }

    #[test]
    fn nothing_happening_and_a_restart_are_no_divisions_by_nothing() {
        let began = Instant::now();
        let picture = Picture::between(&page(1.0, began), &page(1.0, began)).unwrap();
        assert_eq!((picture.signs().requests, picture.signs().device_share, picture.imbalance()), (0.0, 0.0, 1.0));
        let restarted = Picture::between(&page(3.0, began), &page(1.0, began + Duration::from_secs(1)));
        assert!(restarted.unwrap_err().to_string().contains("started anew"));
    }
}
