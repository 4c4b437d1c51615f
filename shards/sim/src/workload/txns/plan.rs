//! The transactions of a run: how many ids, who has which, how they behave, who reads, and the broker's settings for them, small enough that timeouts come and
//! `__transaction_state` rolls within a second or two.

use floe_engine::config::Values;

use super::reader;
use super::{Copying, Speech, Style};
use crate::rng::Rng;
use crate::workload::fetch::Limits;

/// The shortest and the longest timeout of most producers, in milliseconds.
const TIMEOUT_MS: (u64, u64) = (150, 6_000);
/// Such a timeout does not come while its producer works.
const LONG_TIMEOUT_MS: u64 = 30_000;
/// Long enough after everybody has stopped that every timeout has come, also of a transaction that began when the wall clock was wrong (by up to twenty
/// seconds, either way).
pub const QUIET_NS: u64 = 80_000_000_000;

/// The transactions of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who sends.
    pub producers: Vec<Style>,
    /// Who reads.
    pub readers: Vec<reader::Style>,
    /// The broker's settings.
    pub settings: Values,
    /// Whether requests come a second time.
    pub ghosts: bool,
    /// Who copies the first topic to the others; nobody: there is no such group.
    pub copiers: Vec<Style>,
}

impl Plan {
    /// Draws them.
    pub fn draw(rng: &mut Rng) -> Plan {
        let mut producers = Vec::new();
        let ghosts = rng.percent(60);
        for id in 0..rng.range(1, 5) {
            // Some have another one of their id.
            let sharers = *rng.pick(&[1, 1, 1, 2, 3]);
            let alone = sharers == 1 && rng.percent(60);
            for _ in 0..sharers {
                producers.push(draw_producer(rng, id, alone, ghosts));
            }
        }
        let readers = (0..rng.range(1, 2)).map(|_| draw_reader(rng)).collect();
        let mut settings = settings(rng);
        let copiers = draw_copiers(rng, &mut settings);
        Plan { producers, readers, settings, ghosts, copiers }
    }

    /// One of a new id that must succeed.
    pub fn probe() -> Style {
        Style {
            id: "txn-probe".into(),
            speech: Speech::Implicit,
            produce_version: 13,
            timeout_ms: LONG_TIMEOUT_MS,
            alone: true,
            steps: 0,
            batches_max: 4,
            partitions_max: 3,
            records_max: 3,
            pause_ns: 2_000_000,
            abort_percent: 0,
            silent_percent: 0,
            restart_percent: 0,
            hang_up_percent: 0,
            ghost_percent: 0,
            must_succeed: true,
            copies: None,
        }
    }

    /// One that takes over from the copiers and must come to the end of what there is to copy.
    pub fn last_copier(&self) -> Option<Style> {
        let copies = self.copiers.first()?.copies.clone();
        Some(Style { id: "copier-probe".into(), copies, ..Plan::probe() })
    }

    /// One who reads everything that there is.
    pub fn last_reader() -> reader::Style {
        reader::Style {
            version: 16,
            limits: Limits {
                max_wait_ms: 5,
                min_bytes: 1,
                max_bytes: 1 << 20,
                partition_max_bytes: 1 << 20,
                read_committed: true,
            },
            polls: None,
            pause_ns: 20_000_000,
            hang_up_percent: 0,
        }
    }
}

fn draw_producer(rng: &mut Rng, id: u64, alone: bool, ghosts: bool) -> Style {
    let speech = *rng.pick(&[Speech::Implicit, Speech::Implicit, Speech::Named]);
    let some = |rng: &mut Rng, percent: u32| if rng.percent(40) { percent } else { 0 };
    Style {
        id: format!("txn-{id}"),
        speech,
        produce_version: if speech == Speech::Implicit { rng.range(12, 13) } else { rng.range(3, 11) } as i16,
        timeout_ms: if alone { LONG_TIMEOUT_MS } else { rng.log_range(TIMEOUT_MS.0, TIMEOUT_MS.1) },
        alone,
        steps: rng.log_range(3, 60) as u32,
        batches_max: rng.log_range(1, 12),
        partitions_max: rng.log_range(1, 6),
        records_max: rng.log_range(1, 12),
        pause_ns: rng.log_range(100_000, 60_000_000),
        abort_percent: *rng.pick(&[0, 10, 30, 60]),
        silent_percent: if alone { 0 } else { some(rng, 2) },
        restart_percent: some(rng, 1),
        hang_up_percent: some(rng, 3),
        ghost_percent: if ghosts { *rng.pick(&[0, 10, 40]) } else { 0 },
        must_succeed: false,
        copies: None,
    }
}

/// The members of the group of copiers, in half of the runs. Each has an id of its own: only its generation tells that another one has its partitions.
fn draw_copiers(rng: &mut Rng, settings: &mut Values) -> Vec<Style> {
    if rng.percent(50) {
        return Vec::new();
    }
    let mut set = |name: &str, value: u64| settings.insert(name.into(), value.to_string());
    set("group.initial.rebalance.delay.ms", *rng.pick(&[0, 0, 30]));
    set("group.min.session.timeout.ms", 1);
    set("offsets.topic.num.partitions", rng.range(1, 4));
    set("offsets.topic.segment.bytes", rng.log_range(4_096, 65_536));
    let copies = Copying {
        session_ms: rng.range(150, 2_000),
        rebalance_ms: rng.range(50, 1_000),
        records_max: rng.log_range(1, 12),
    };
    let one = |n: u64, rng: &mut Rng| Style {
        id: format!("copier-{n}"),
        timeout_ms: if rng.percent(70) { LONG_TIMEOUT_MS } else { rng.log_range(TIMEOUT_MS.0, TIMEOUT_MS.1) },
        steps: rng.log_range(5, 60) as u32,
        abort_percent: *rng.pick(&[0, 10, 30]),
        silent_percent: *rng.pick(&[0, 3, 10]),
        restart_percent: *rng.pick(&[0, 1]),
        copies: Some(copies.clone()),
        ..draw_producer(rng, n, false, false)
    };
    (0..rng.range(1, 3)).map(|n| one(n, rng)).collect()
}

fn draw_reader(rng: &mut Rng) -> reader::Style {
    let limits = Limits { read_committed: true, ..Limits::draw(rng, 5_000) };
    reader::Style {
        version: rng.range(4, 18) as i16,
        limits,
        polls: Some(rng.log_range(20, 400) as u32),
        pause_ns: rng.log_range(10_000, 50_000_000),
        hang_up_percent: if rng.percent(20) { 3 } else { 0 },
    }
}

/// The broker's settings for transactions.
fn settings(rng: &mut Rng) -> Values {
    let mut values = Values::new();
    let mut set = |name: &str, value: u64| values.insert(name.into(), value.to_string());
    set("transaction.abort.timed.out.transaction.cleanup.interval.ms", rng.log_range(5, 500));
    set("transaction.state.log.num.partitions", rng.range(1, 5));
    set("transaction.state.log.segment.bytes", rng.log_range(4_096, 65_536));
    set("log.cleaner.backoff.ms", rng.log_range(10, 1_000));
    set("log.cleaner.dedupe.buffer.size", rng.log_range(2_000, 1 << 20));
    values
}
