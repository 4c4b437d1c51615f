//! A metrics page as `/metrics` shows it, read back: rows with labels, and the distributions among them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::problem::{Outcome, Problem};

/// The largest page that is read; one of a thousand shards is smaller.
const PAGE_BYTES_MAX: u64 = 64 << 20;

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All rows of one moment.
#[derive(Clone, Debug)]
pub(super) struct Page {
    rows: Vec<Row>,
    /// When it was asked for and when it had come, in the middle.
    pub(super) at: Instant,
}

/// A distribution: cumulative counts by upper bound in seconds, ascending, and the sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// Bound and how many are below it.
    pub(super) counts: Vec<(f64, f64)>,
    /// Sum of all.
    pub(super) sum: f64,
}

impl Page {
    /// Gets it from a broker's admin port.
    pub(super) fn get(address: &str, patience: Duration) -> Outcome<Page> {
        let began = Instant::now();
        let answer = ask(address, patience).map_err(|error| {
            Problem::new(format!("cannot read the metrics of the broker at http://{address}/metrics"))
                .because(error)
                .next("name its admin port with --admin HOST:PORT: it stands in the broker's log as `health and metrics: http://...`")
                .next("by default it listens on the broker's own loopback only: run this command there, or start the broker with --admin-listen HOST:9644 on a network that you trust")
        })?;
        let at = began + began.elapsed() / 2;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let page = Page { rows: body.lines().filter_map(row).collect(), at };
        let is_floe = page.rows.iter().any(|row| row.name == "floe_shard_up");
        if head.split(' ').nth(1) != Some("200") || !is_floe {
            let status = head.lines().next().unwrap_or("nothing").to_owned();
            return Err(Problem::new(format!("http://{address}/metrics is not the metrics page of a Floe broker"))
                .because_of(format!("it answered: {status}"))
                .next("name the broker's admin port with --admin HOST:PORT"));
        }
        Ok(page)
    }

    #[cfg(test)]
    pub(super) fn read(text: &str, at: Instant) -> Page {
        Page { rows: text.lines().filter_map(row).collect(), at }
    }

    /// Numbers of the shards on the page.
    pub(super) fn shards(&self) -> Vec<String> {
        let of = |row: &Row| (row.name == "floe_shard_up").then(|| row.labels.get("shard").cloned()).flatten();
        self.rows.iter().filter_map(of).collect()
    }

    /// The sum of the rows of this name and shard, whatever other labels they have; 0 when there is none.
    pub(super) fn value(&self, name: &str, shard: &str) -> f64 {
        self.of(name, shard).map(|row| row.value).sum()
    }

    /// The same of the rows with one more label.
    pub(super) fn value_with(&self, name: &str, shard: &str, (label, text): (&str, &str)) -> f64 {
        self.of(name, shard).filter(|row| row.labels.get(label).is_some_and(|l| l == text)).map(|row| row.value).sum()
    }

    /// A distribution without other labels than the shard's.
    pub(super) fn spread(&self, name: &str, shard: &str) -> Spread {
        let buckets = format!("{name}_bucket");
        let bound = |row: &Row| match row.labels.get("le")?.as_str() {
            "+Inf" => Some(f64::INFINITY),
            text => text.parse().ok(),
        };
        let mut counts: Vec<(f64, f64)> =
            self.of(&buckets, shard).filter_map(|row| Some((bound(row)?, row.value))).collect();
        counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        Spread { counts, sum: self.value(&format!("{name}_sum"), shard) }
    }

    fn of<'a>(&'a self, name: &'a str, shard: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.name == name && row.labels.get("shard").is_some_and(|s| s == shard))
    }
}

impl Spread {
    /// What was added since `before`.
    pub(super) fn since(&self, before: &Spread) -> Spread {
        let earlier = |at: usize| before.counts.get(at).map_or(0.0, |(_, count)| *count);
        let counts = self.counts.iter().enumerate().map(|(at, (bound, count))| (*bound, count - earlier(at))).collect();
        Spread { counts, sum: self.sum - before.sum }
    }

    /// Both together.
    pub(super) fn and(mut self, other: &Spread) -> Spread {
        if self.counts.is_empty() {
            return other.clone();
        }
        self.sum += other.sum;
        for ((_, count), (_, more)) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self
    }

    /// How many there are.
    pub(super) fn count(&self) -> f64 {
        self.counts.last().map_or(0.0, |(_, count)| *count)
    }

    /// Their mean in seconds; 0 when there are none.
    pub(super) fn mean(&self) -> f64 {
        if self.count() > 0.0 { self.sum / self.count() } else { 0.0 }
    }

    /// The value in seconds below which this share of them lies, as well as the buckets tell; `None` when there are none.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = self.count() * share;
        let at = self.counts.iter().position(|(_, count)| *count > 0.0 && *count >= wanted)?;
        let (bound, count) = self.counts[at];
        let (below, less) = at.checked_sub(1).map_or((0.0, 0.0), |before| self.counts[before]);
        // The last bucket has no end, and what lies there is at least its beginning.
        if bound.is_infinite() {
            return Some(below);
        }
        Some(below + (bound - below) * ((wanted - less) / (count - less)).clamp(0.0, 1.0))
    }
}

fn ask(address: &str, patience: Duration) -> std::io::Result<String> {
    let mut last = std::io::Error::other("the name has no address");
    for candidate in address.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&candidate, patience) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(PAGE_BYTES_MAX).read_to_end(&mut answer)?;
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    Err(last)
}

/// `name{label="value",...} 1.5`; nothing for comments and what is not understood.
fn row(line: &str) -> Option<Row> {
    let (name, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, labels) = match name.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (name, ""),
    };
    if name.starts_with('#') {
        return None;
    }
    // None of our labels' values holds a comma or a quote.
    let pair = |pair: &str| {
        let (label, text) = pair.split_once('=')?;
        Some((label.to_owned(), text.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    };
    let labels = labels.split(',').filter_map(pair).collect();
    Some(Row { name: name.to_owned(), labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP floe_x_seconds Waits.\n# TYPE floe_x_seconds histogram\n\
        floe_x_seconds_sum{shard=\"0\"} 0.5\nfloe_x_seconds_count{shard=\"0\"} 10\n\
        floe_x_seconds_bucket{le=\"0.001\",shard=\"0\"} 5\nfloe_x_seconds_bucket{le=\"0.01\",shard=\"0\"} 9\n\
        floe_x_seconds_bucket{le=\"+Inf\",shard=\"0\"} 10\nfloe_shard_up{shard=\"0\"} 1.0\n\
        floe_requests_total{shard=\"0\",api=\"Fetch\"} 7\nfloe_requests_total{shard=\"0\",api=\"Produce\"} 5\n\
        floe_requests_total{shard=\"1\",api=\"Produce\"} 99\nnonsense\n# EOF\n";

    #[test]
    fn a_page_is_read_back() {
        let page = Page::read(TEXT, Instant::now());
        assert_eq!(page.shards(), ["0"]);
        assert_eq!(page.value("floe_requests_total", "0"), 12.0);
        assert_eq!(page.value_with("floe_requests_total", "0", ("api", "Fetch")), 7.0);
        assert_eq!(page.value("floe_nothing", "0"), 0.0);
        let spread = page.spread("floe_x_seconds", "0");
        assert_eq!((spread.count(), spread.mean()), (10.0, 0.05));
        let rows = [(0.25, 0.0005), (0.5, 0.001), (0.7, 0.0055), (0.9, 0.01), (0.99, 0.01)];
        for (share, want) in rows {
            let got = spread.quantile(share).unwrap();
            assert!((got - want).abs() < 1e-9, "{share}: {got}");
        }
        let later = spread.clone().and(&spread);
        assert_eq!(later.since(&spread), spread);
        assert_eq!(spread.since(&spread).quantile(0.5), None);
        assert_eq!(Spread::default().and(&spread), spread);
    }
}
