//! What one run of a workload gave: plain data that goes to JSON and comes back, with the raw histograms inside.
//!
//! Everything counts from the end of the warm-up to the end of the measured span, unless a field says otherwise. Rates and costs that follow
//! from the fields are methods, so that they cannot disagree with them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// A client whose thread used more than this share of its core was the limit, not the broker.
pub const CLIENT_LIMIT_SHARE: f64 = 0.95;

/// The result of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What was done; with `rate_share`, `rate` is the rate that was found and used.
    pub workload: Workload,
    /// Which broker: a name like `floe`, or its address when nothing else is known.
    pub broker: String,
    /// When the measured span began, in seconds since 1970.
    pub unix_seconds: u64,
    /// Length of the measured span, in seconds.
    pub seconds: f64,
    /// What the broker acknowledged; with acks=0 what was sent.
    pub produced: Flow,
    /// What was read.
    pub consumed: Flow,
    /// From when a record was due until its acknowledgement was read, without a rate from when its request was made. Nanoseconds.
    pub produce_latency: Option<Latency>,
    /// From when a record was due until a consumer had it. Nanoseconds.
    pub end_to_end_latency: Option<Latency>,
    /// How late the client itself handed a due request to the kernel; it is contained in the latencies. Nanoseconds.
    pub send_delay: Option<Latency>,
    /// What the client used.
    pub client: ClientCost,
    /// What the broker used, when it runs on this machine.
    pub broker_cost: Option<BrokerCost>,
    /// Is what was read what was written?
    pub check: Check,
}

/// One direction of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Records.
    pub records: u64,
    /// Bytes of their values, before compression.
    pub bytes: u64,
    /// Requests that had an answer.
    pub requests: u64,
    /// Requests, or partitions in them, that were answered with an error.
    pub errors: u64,
    /// Time that these records took, in seconds: the span, or less when everything was read before its end.
    pub seconds: f64,
    /// Records in each whole second of the span, for a line over time.
    pub records_per_second: Vec<u64>,
}

impl Flow {
    /// 10^6 value bytes a second.
    pub fn mb_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.bytes as f64 / self.seconds / 1e6 } else { 0.0 }
    }

    /// Records a second.
    pub fn records_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.records as f64 / self.seconds } else { 0.0 }
    }

    /// Requests a second.
    pub fn requests_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.requests as f64 / self.seconds } else { 0.0 }
    }
}

/// CPU of the load generator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientCost {
    /// CPU seconds of its thread, user and system.
    pub cpu_s: f64,
    /// Share of its core that its thread used.
    pub busy_share: f64,
    /// Was the client the limit (see [`CLIENT_LIMIT_SHARE`])? Then the broker could do more than the figures say.
    pub was_the_limit: bool,
}

/// Resources of the broker's process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerCost {
    /// CPU seconds, all threads, user and system.
    pub cpu_s: f64,
    /// Resident memory before the load, in bytes.
    pub rss_idle: u64,
    /// Resident memory with the idle connections and topics in place and no load yet, in bytes.
    pub rss_connected: u64,
    /// The largest resident memory seen, sampled ten times a second, in bytes.
    pub rss_max: u64,
    /// From the start of the process to its first answer, in seconds, when it was started for this run.
    pub start_up_s: Option<f64>,
}

/// Over the whole run, warm-up included: every record that was read is looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read and found whole and in order.
    pub read: u64,
    /// Acknowledged records that should have been read by the end and were not.
    pub missing: u64,
    /// Records whose sequence came before one already seen in their partition: twice or in the wrong order.
    pub out_of_order: u64,
    /// Records, or batches, with a wrong checksum or a value that is not ours.
    pub corrupt: u64,
}

impl Check {
    /// Nothing wrong?
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.out_of_order == 0 && self.corrupt == 0
    }
}

impl Outcome {
    /// The direction that the workload is about: what is read if anything is, else what is written.
    pub fn main_flow(&self) -> &Flow {
        if self.workload.consumes() { &self.consumed } else { &self.produced }
    }

    /// Broker CPU seconds for 10^9 value bytes of the main flow.
    pub fn broker_cpu_s_per_gb(&self) -> Option<f64> {
        let bytes = self.main_flow().bytes;
        self.broker_cost.as_ref().filter(|_| bytes > 0).map(|cost| cost.cpu_s / (bytes as f64 / 1e9))
    }

    /// Broker CPU for one record of the main flow, in microseconds.
    pub fn broker_cpu_us_per_record(&self) -> Option<f64> {
        let records = self.main_flow().records;
        self.broker_cost.as_ref().filter(|_| records > 0).map(|cost| cost.cpu_s * 1e6 / records as f64)
    }

    /// Broker CPU for one request of the main flow, in microseconds.
    pub fn broker_cpu_us_per_request(&self) -> Option<f64> {
        let requests = self.main_flow().requests;
        self.broker_cost.as_ref().filter(|_| requests > 0).map(|cost| cost.cpu_s * 1e6 / requests as f64)
    }
}

/// A histogram of nanoseconds: whole, as HdrHistogram's V2 encoding in base64, and the quantiles one usually asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many values.
    pub count: u64,
    /// Mean, in microseconds; so are the others.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// 99.99th percentile.
    pub p9999_us: f64,
    /// Largest.
    pub max_us: f64,
    /// The histogram itself, in nanoseconds.
    pub hdr_v2_base64: String,
}

impl Latency {
    /// Of a histogram of nanoseconds; none when it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        if histogram.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(histogram, &mut bytes).expect("a vector takes everything");
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Some(Latency {
            count: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            p9999_us: us(0.9999),
            max_us: histogram.max() as f64 / 1e3,
            hdr_v2_base64: STANDARD.encode(bytes),
        })
    }

    /// The histogram, for plots and for adding runs up.
    pub fn histogram(&self) -> Result<Histogram<u64>, String> {
        let bytes = STANDARD.decode(&self.hdr_v2_base64).map_err(|error| error.to_string())?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())
    }
}

/// An empty histogram as all latencies here use it: nanoseconds, three digits, growing.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits is a legal precision")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_comes_back_whole() {
        let mut filled = histogram();
        for at in 1..=10_000u64 {
            filled.record(at * 1000).expect("grows");
        }
        let latency = Latency::of(&filled).expect("not empty");
        assert_eq!(latency.count, 10_000);
        assert!((latency.p99_us / 9900.0 - 1.0).abs() < 1e-3, "{}", latency.p99_us);
        let text = serde_json::to_string(&latency).expect("serializes");
        let again: Latency = serde_json::from_str(&text).expect("parses");
        assert_eq!(again, latency);
        assert_eq!(again.histogram().expect("decodes"), filled);
        assert_eq!(Latency::of(&histogram()), None);
    }

    #[test]
    fn rates_of_an_empty_flow_are_zero() {
        let flow = Flow::default();
        assert_eq!((flow.mb_per_s(), flow.records_per_s(), flow.requests_per_s()), (0.0, 0.0, 0.0));
    }
}
