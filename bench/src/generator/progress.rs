//! What a run shows while it runs, and the broker's memory seen meanwhile: a thread beside the load that looks ten times a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::proc;

/// Written by the load's thread, read by the one that shows it.
#[derive(Default)]
pub struct Gauge {
    /// Value bytes acknowledged.
    pub produced_bytes: AtomicU64,
    /// Value bytes read.
    pub consumed_bytes: AtomicU64,
    /// What is being done, see [`Stage`].
    pub stage: AtomicU64,
    /// Seconds that the stage takes, as the bits of an f64; 0 when it is not known.
    pub stage_s: AtomicU64,
    /// The largest resident memory of the broker since [`Gauge::watch_rss`] was set.
    pub rss_max: AtomicU64,
    /// Is memory to be noted?
    pub watch_rss: AtomicBool,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Topics and connections.
    SetUp,
    /// Data to be read later.
    Backlog,
    /// The highest rate is looked for.
    Rate,
    /// Load that does not count.
    WarmUp,
    /// What counts.
    Measure,
    /// What is still on its way.
    Drain,
}

const WORDS: [&str; 6] = ["setting up", "producing backlog", "finding the rate", "warming up", "measuring", "draining"];

impl Gauge {
    /// A stage begins, of so many seconds if that is known.
    pub fn begin(&self, stage: Stage, seconds: Option<f64>) {
        self.stage_s.store(seconds.unwrap_or(0.0).to_bits(), Ordering::Relaxed);
        self.stage.store(stage as u64, Ordering::Relaxed);
    }
}

/// Shows the run (when `shown`) and notes the memory of process `pid`, until `over`.
pub fn watch(gauge: &Gauge, name: &str, pid: Option<u32>, shown: bool, over: &AtomicBool) {
    let target = if shown { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(1000), target);
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}").expect("a template that was tried");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(name.to_owned());
    let (mut stage, mut stage_began) = (u64::MAX, Instant::now());
    let mut rates = [Rate::new(&gauge.produced_bytes), Rate::new(&gauge.consumed_bytes)];
    while !over.load(Ordering::Relaxed) {
        if let Some(pid) = pid.filter(|_| gauge.watch_rss.load(Ordering::Relaxed)) {
            gauge.rss_max.fetch_max(proc::rss_bytes(pid).unwrap_or(0), Ordering::Relaxed);
        }
        let now = gauge.stage.load(Ordering::Relaxed);
        if now != stage {
            (stage, stage_began) = (now, Instant::now());
        }
        let stage_s = f64::from_bits(gauge.stage_s.load(Ordering::Relaxed));
        let share = if stage_s > 0.0 { stage_began.elapsed().as_secs_f64() / stage_s } else { 0.0 };
        bar.set_position((share.min(1.0) * 1000.0) as u64);
        let [produced, consumed] = rates.each_mut().map(Rate::mb_per_s);
        let word = WORDS.get(stage as usize).unwrap_or(&"");
        bar.set_message(format!("{word}: in {produced:.1} MB/s, out {consumed:.1} MB/s"));
        sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

/// How fast a counter grows, over about a second.
struct Rate<'a> {
    counter: &'a AtomicU64,
    last: u64,
    at: Instant,
    mb_per_s: f64,
}

impl Rate<'_> {
    fn new(counter: &AtomicU64) -> Rate<'_> {
        Rate { counter, last: counter.load(Ordering::Relaxed), at: Instant::now(), mb_per_s: 0.0 }
    }

    fn mb_per_s(&mut self) -> f64 {
        let elapsed = self.at.elapsed().as_secs_f64();
        if elapsed >= 0.5 {
            let now = self.counter.load(Ordering::Relaxed);
            self.mb_per_s = now.saturating_sub(self.last) as f64 / elapsed / 1e6;
            (self.last, self.at) = (now, Instant::now());
        }
        self.mb_per_s
    }
}
