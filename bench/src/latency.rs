//! Latency at a fixed rate: an open-loop producer of single records. One sending and one receiving thread on one connection.
//!
//! The schedule is absolute: record n is due at start + n/rate whatever happened before, and its latency counts from when it was *due*
//! to when its acknowledgement was read. A broker that stalls is charged for every record that had to wait (no coordinated omission).

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::{self, Client};
use crate::proc;

/// Quantiles of produce latency, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// Sends `rate` records of `value_bytes` a second for `seconds`, each in a request of its own; the first `settle_s` are not counted.
pub fn measure(
    port: u16,
    core: usize,
    topic: &str,
    rate: u32,
    value_bytes: usize,
    seconds: u32,
    settle_s: u32,
) -> Result<Quantiles, String> {
    let (mut sending, mut receiving) =
        Client::connect(port).and_then(Client::split).map_err(|error| format!("connect: {error}"))?;
    let request = client::produce_body(topic, 0, &client::batch(1, value_bytes));
    let (total, skip) = (rate * (seconds + settle_s), rate * settle_s);
    let (due_sender, due_receiver) = mpsc::channel::<Instant>();

    let receiver = thread::spawn(move || -> Result<Histogram<u64>, String> {
        proc::pin_self(core).map_err(|error| error.to_string())?;
        let mut latency = Histogram::<u64>::new(3).expect("three digits is a legal precision");
        for (at, due) in due_receiver.iter().enumerate() {
            let answer = client::read_frame(&mut receiving).map_err(|error| format!("answer {at}: {error}"))?;
            let waited = due.elapsed();
            client::check_produced(answer.get(4..).unwrap_or_default()).map_err(|error| error.to_string())?;
            if at as u32 >= skip {
                latency.record(waited.as_micros() as u64).expect("the histogram grows as needed");
            }
        }
        Ok(latency)
    });
    let sender = thread::spawn(move || -> Result<(), String> {
        proc::pin_self(core).map_err(|error| error.to_string())?;
        let start = Instant::now() + Duration::from_millis(10);
        for at in 0..total {
            let due = start + Duration::from_secs(1) * at / rate;
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                thread::sleep(early);
            }
            if due_sender.send(due).is_err() {
                return Ok(()); // the receiver has its own error to tell
            }
            sending
                .write_all(&client::frame(0, 3, at as i32, &request))
                .map_err(|error| format!("send {at}: {error}"))?;
        }
        Ok(())
    });
    sender.join().map_err(|_| "the sender panicked")??;
    let latency = receiver.join().map_err(|_| "the receiver panicked")??;
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Quantiles { p50_ms: ms(0.5), p99_ms: ms(0.99), p999_ms: ms(0.999), max_ms: latency.max() as f64 / 1e3 })
}
