//! The metrics page as plain data, and its encoding as OpenMetrics text. Knows no metric; [`super::metrics`] fills it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use prometheus_client::encoding::EncodeMetric;

/// Labels of one row.
pub type Labels = Vec<(&'static str, String)>;

/// Upper bounds and how many values lie in each bucket (not cumulative); the last bound is infinite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Sum of all values.
    pub sum: f64,
    /// Bound and count, ascending.
    pub counts: Vec<(f64, u64)>,
}

/// The value of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// Only grows: events, bytes.
    Count(u64),
    /// Only grows: seconds.
    Seconds(f64),
    /// Goes up and down.
    Level(f64),
    /// A distribution.
    Spread(Buckets),
}

/// One metric: its rows differ in labels.
#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    rows: Vec<(Labels, Number)>,
}

/// All metrics of one moment.
#[derive(Clone, Debug, Default)]
pub struct Page {
    families: Vec<Family>,
}

impl Page {
    /// Adds a row. Rows of one name stand together on the page, in the order in which names came first.
    pub fn add(&mut self, name: &'static str, help: &'static str, labels: Labels, number: Number) {
        match self.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.rows.push((labels, number)),
            None => self.families.push(Family { name, help, rows: vec![(labels, number)] }),
        }
    }

    /// The page as OpenMetrics text. Counters get `_total` behind their name.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.families {
            let kind = match family.rows.first() {
                Some((_, Number::Count(_) | Number::Seconds(_))) => MetricType::Counter,
                Some((_, Number::Level(_))) => MetricType::Gauge,
                Some((_, Number::Spread(_))) => MetricType::Histogram,
                None => continue,
            };
            let mut rows = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, number) in &family.rows {
                let mut row = rows.encode_family(labels)?;
                match number {
                    Number::Count(count) => ConstCounter::new(*count).encode(row)?,
                    Number::Seconds(seconds) => ConstCounter::new(*seconds).encode(row)?,
                    Number::Level(level) => ConstGauge::new(*level).encode(row)?,
                    Number::Spread(buckets) => {
                        let count = buckets.counts.iter().map(|(_, count)| count).sum();
                        row.encode_histogram::<Labels>(buckets.sum, count, &buckets.counts, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_name_stand_together_and_buckets_add_up() {
        let mut page = Page::default();
        let shard = |shard: u16| vec![("shard", shard.to_string())];
        page.add("floe_requests", "Requests", shard(0), Number::Count(3));
        page.add("floe_connections", "Connections", shard(0), Number::Level(1.0));
        page.add("floe_requests", "Requests", shard(1), Number::Count(4));
        let counts = vec![(0.001, 2), (0.01, 3), (f64::INFINITY, 1)];
        page.add("floe_wait_seconds", "Waits", Vec::new(), Number::Spread(Buckets { sum: 1.5, counts }));
        page.add("process_cpu_seconds", "CPU", Vec::new(), Number::Seconds(2.5));
        let text = page.text();
        for line in [
            "# TYPE floe_requests counter",
            "floe_requests_total{shard=\"0\"} 3\nfloe_requests_total{shard=\"1\"} 4",
            "floe_connections{shard=\"0\"} 1.0",
            "floe_wait_seconds_sum{} 1.5",
            "floe_wait_seconds_count{} 6",
            "floe_wait_seconds_bucket{le=\"0.001\"} 2",
            "floe_wait_seconds_bucket{le=\"0.01\"} 5",
            "floe_wait_seconds_bucket{le=\"+Inf\"} 6",
            "process_cpu_seconds_total{} 2.5",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
