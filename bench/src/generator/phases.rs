//! One run from its topics to its outcome: set up, backlog, warm-up, measured span, drain.

use std::fs;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use super::Target;
use super::consumer::{Consumer, Ledger, Reading};
use super::meter::Meter;
use super::producer::{Account, Producer};
use super::progress::{Gauge, Stage};
use super::schedule::Schedule;
use super::settle::still_rising;
use super::socket::Socket;
use super::topics::Topics;
use super::turns::{Clock, Turns};
use crate::client::Client;
use crate::outcome::{BrokerCost, CLIENT_LIMIT_SHARE, Check, ClientCost, Latency, Outcome};
use crate::proc;
use crate::workload::{Kind, Workload};

/// How long the end waits for what is still on its way, and how long nothing may come before reading is given up.
const DRAIN_S_MAX: u64 = 60;
const SILENCE_S_MAX: u64 = 15;
/// Whoever writes or reads a backlog more slowly than this is given up, after a minute at least.
const SLOWEST_BYTES_PER_S: f64 = 2e7;
/// Full batches of a backlog that may be without an answer, of each producer.
const BACKLOG_IN_FLIGHT_MAX: u32 = 8;
/// The longest look for the highest rate, in seconds.
const RATE_S_MAX: f64 = 5.0;
/// A broker at rest uses no more than this share of a core, looked at for so long, waited for at most so long.
const REST_SHARE_MAX: f64 = 0.1;
const REST_LOOK: Duration = Duration::from_millis(200);
const REST_S_MAX: u64 = 20;
/// The broker's rate is looked at in slices of this.
const SETTLE_SLICE_NS: u64 = 1_300_000_000;
const S: u64 = 1_000_000_000;

/// A run in progress.
pub struct Phases<'a> {
    workload: Workload,
    target: &'a Target,
    gauge: &'a Gauge,
    clock: Clock,
    admin: Client,
    made: Vec<Rc<Topics>>,
    prefix: String,
    /// Records acknowledged before the load that is measured.
    settled: u64,
}

/// Resources at one moment.
struct Mark {
    at_ns: u64,
    client_cpu_s: f64,
    broker_cpu_s: f64,
}

/// What a load gave.
struct Measured<'a> {
    turns: Turns<'a>,
    begin: Mark,
    end: Mark,
    abandoned: u64,
}

impl<'a> Phases<'a> {
    /// Connects.
    pub fn new(workload: &Workload, target: &'a Target, gauge: &'a Gauge) -> Result<Phases<'a>, String> {
        let clock = Clock::new();
        let admin = Client::connect_to(target.address).map_err(|error| format!("{}: {error}", target.address))?;
        let plain: String =
            workload.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        let prefix = format!("bench-{plain}-{:x}", clock.now_ns() / 1_000_000);
        Ok(Phases { workload: workload.clone(), target, gauge, clock, admin, made: vec![], prefix, settled: 0 })
    }

    /// Does everything, and deletes the topics whatever came of it.
    pub fn run(mut self) -> Result<Outcome, String> {
        let outcome = self.measure();
        for topics in std::mem::take(&mut self.made) {
            // A broker that is gone cannot delete; what it was doing when it went is the more interesting error.
            if let Err(error) = topics.delete(&mut self.admin)
                && outcome.is_ok()
            {
                return Err(format!("deleting the topics: {error}"));
            }
        }
        outcome
    }

    fn measure(&mut self) -> Result<Outcome, String> {
        self.gauge.begin(Stage::SetUp, None);
        let rss_idle = self.rss();
        let topics = self.topics("")?;
        let idle = self.idle_connections()?;
        let rss_connected = self.rss();
        self.find_rate()?;
        let ends = self.backlog(&topics)?;
        self.settled = self.settle(&topics)?;
        self.gauge.watch_rss.store(true, Ordering::Relaxed);
        let measured = self.load(&topics, &ends, Stage::WarmUp)?;
        let rss_max = self.gauge.rss_max.load(Ordering::Relaxed).max(self.rss());
        drop(idle);
        Ok(self.outcome(
            measured,
            BrokerCost { cpu_s: 0.0, rss_idle, rss_connected, rss_max, start_up_s: self.target.start_up_s },
        ))
    }

    fn topics(&mut self, kind: &str) -> Result<Rc<Topics>, String> {
        let topics =
            Rc::new(Topics::new(&format!("{}{kind}", self.prefix), self.workload.topics, self.workload.partitions));
        self.made.push(Rc::clone(&topics));
        topics.create(&mut self.admin, &self.target.topic_configs)?;
        // Consumers count what they read from the first record on; there the warm-up, or the backlog, is the first to write.
        if self.workload.kind == Kind::Produce {
            topics.touch(&mut self.admin)?;
            self.rest();
        }
        Ok(topics)
    }

    /// Waits until the broker has done what the new partitions made it do: Kafka writes and syncs a few files for each, some of them later.
    fn rest(&self) {
        let Some(pid) = self.target.pid else { return };
        rustix::fs::sync();
        let began_ns = self.clock.now_ns();
        while self.clock.now_ns() - began_ns < REST_S_MAX * S {
            let cpu_s = || proc::process_cpu_s(pid).unwrap_or(0.0);
            let before_s = cpu_s();
            sleep(REST_LOOK);
            if cpu_s() - before_s <= REST_LOOK.as_secs_f64() * REST_SHARE_MAX {
                return;
            }
        }
    }

    /// Lets a load without a rate run until the broker has stopped getting faster with it; tells how many records that took.
    fn settle(&mut self, topics: &Rc<Topics>) -> Result<u64, String> {
        let workload = self.workload.clone();
        if workload.kind != Kind::Produce || workload.rate.is_some() || self.target.settle_s_max <= 0.0 {
            return Ok(0);
        }
        self.gauge.begin(Stage::WarmUp, None);
        let producers = (0..workload.producers)
            .map(|at| Ok(Producer::new(&workload, topics, self.socket()?, at)))
            .collect::<Result<_, String>>()?;
        let mut turns = self.turns(topics, producers, vec![], Meter::off(), Meter::off())?;
        turns.pump_all()?;
        let (mut slices, limit_ns) = (vec![], self.clock.now_ns() + (self.target.settle_s_max * 1e9) as u64);
        while still_rising(&slices) && self.clock.now_ns() < limit_ns {
            let before = turns.account.total;
            turns.work(self.clock.now_ns() + SETTLE_SLICE_NS, |_| false)?;
            slices.push((turns.account.total - before) as f64);
        }
        let now_ns = self.clock.now_ns();
        let abandoned = self.drain(&mut turns, now_ns)?;
        if abandoned > 0 {
            return Err(format!("{abandoned} records of the warm-up were not answered within {DRAIN_S_MAX} s"));
        }
        Ok(turns.account.total)
    }

    /// Connections that say hello and then nothing more.
    fn idle_connections(&self) -> Result<Vec<Client>, String> {
        let open = || -> std::io::Result<Client> {
            let mut client = Client::connect_to(self.target.address)?;
            client.api_versions()?;
            Ok(client)
        };
        (0..self.workload.idle_connections)
            .map(|at| open().map_err(|error| format!("idle connection {at}: {error}")))
            .collect()
    }

    /// Turns `rate_share` into a rate: runs without one for a while, on topics of its own.
    fn find_rate(&mut self) -> Result<(), String> {
        let Some(share) = self.workload.rate_share.take() else { return Ok(()) };
        let wanted = self.workload.clone();
        self.workload.warm_up_s = wanted.warm_up_s.min(RATE_S_MAX);
        self.workload.duration_s = wanted.duration_s.min(RATE_S_MAX);
        let topics = self.topics("-rate")?;
        let measured = self.load(&topics, &[], Stage::Rate);
        self.workload = wanted;
        let mut turns = measured?.turns;
        let rate_of = |meter: &mut Meter| std::mem::replace(meter, Meter::off()).finish().0.records_per_s();
        let mut highest = rate_of(&mut turns.account.meter);
        if self.workload.consumes() {
            highest = highest.min(rate_of(&mut turns.ledger.meter));
        }
        if highest <= 0.0 {
            return Err("no record went through without a rate, so no share of it can be taken".to_owned());
        }
        self.workload.rate = Some(highest * share);
        Ok(())
    }

    /// Produces what is to be read later; tells where each partition ends.
    fn backlog(&mut self, topics: &Rc<Topics>) -> Result<Vec<u64>, String> {
        if !matches!(self.workload.kind, Kind::Consume | Kind::Backlog) {
            return Ok(vec![]);
        }
        self.gauge.begin(Stage::Backlog, None);
        let mut workload = self.workload.clone();
        (workload.rate, workload.acks) = (None, workload.acks.max(1));
        // A bound on a batch's records shapes the producer beside the readers. In single records 4 GB would take a broker minutes.
        workload.batch_records_max = None;
        workload.in_flight_max = workload.in_flight_max.min(BACKLOG_IN_FLIGHT_MAX);
        let records = (workload.backlog_bytes / workload.record_bytes as u64).max(1);
        let of_each = records.div_ceil(u64::from(workload.producers));
        let producers = (0..workload.producers)
            .map(|at| Ok(Producer::new(&workload, topics, self.socket()?, at).limited(of_each)))
            .collect::<Result<_, String>>()?;
        let mut turns = self.turns(topics, producers, vec![], Meter::off(), Meter::off())?;
        turns.pump_all()?;
        let all_done = |turns: &Turns| turns.producers.iter().all(Producer::is_done);
        let of_all = records.max(u64::from(workload.producers));
        self.work_until("producing the backlog", of_all, &mut turns, |turns| turns.account.total, all_done)?;
        // A broker short of room refuses some; the backlog is what it took.
        if let Some(code) = turns.account.first_error {
            let refused = turns.account.errors;
            eprintln!("{}: {refused} batches of the backlog were refused, the first with error {code}", workload.name);
        }
        if turns.account.total == 0 {
            return Err("the broker took nothing of the backlog".to_owned());
        }
        let ends = turns.account.acknowledged;
        if self.workload.cold {
            // Everything settled and written back, so that the cache can be given up.
            sleep(Duration::from_secs(3));
            rustix::fs::sync();
            fs::write("/proc/sys/vm/drop_caches", "3")
                .map_err(|error| format!("cannot empty the page cache, so nothing is cold: {error} (needs root)"))?;
        }
        Ok(ends)
    }

    fn load(&mut self, topics: &Rc<Topics>, ends: &[u64], stage: Stage) -> Result<Measured<'a>, String> {
        let workload = self.workload.clone();
        let reading = match workload.kind {
            Kind::Produce | Kind::EndToEnd => Reading::Following,
            Kind::Consume => Reading::AgainAndAgain,
            Kind::Backlog => Reading::Once,
        };
        // A producer beside the readers of a backlog must not lengthen it.
        let produce_to = if reading == Reading::Following || !workload.produces() {
            Rc::clone(topics)
        } else {
            self.topics("-beside")?
        };
        let until_read = workload.kind == Kind::Backlog;
        // Connections and batches first: with thousands of them that takes longer than anything is late later.
        let producers = (0..if workload.produces() { workload.producers } else { 0 })
            .map(|at| Ok(Producer::new(&workload, &produce_to, self.socket()?, at)))
            .collect::<Result<Vec<_>, String>>()?;
        let consumers = (0..workload.consumers)
            .map(|at| Ok(Consumer::new(&workload, topics, self.socket()?, at, reading, ends)))
            .collect::<Result<_, String>>()?;
        let start_ns = self.clock.now_ns() + S / 50;
        let begin_ns = start_ns + (workload.warm_up_s * 1e9) as u64;
        let end_ns = if until_read { u64::MAX } else { begin_ns + (workload.duration_s * 1e9) as u64 };
        let schedule = |at| workload.rate.map(|rate| Schedule::new(start_ns, rate, at, workload.producers));
        let producers = (0..).zip(producers).map(|(at, producer)| producer.scheduled(schedule(at))).collect();
        let meter = || Meter::new(begin_ns, end_ns);
        let mut turns = self.turns(&produce_to, producers, consumers, meter(), meter())?;

        self.gauge.begin(stage, Some(workload.warm_up_s));
        if !until_read {
            turns.consumers.iter_mut().for_each(|consumer| consumer.pause(false));
        }
        turns.pump_all()?;
        turns.work(begin_ns, |_| false)?;
        let begin = self.mark();
        let stage = if stage == Stage::Rate { stage } else { Stage::Measure };
        self.gauge.begin(stage, (!until_read).then_some(workload.duration_s));
        if until_read {
            turns.consumers.iter_mut().for_each(|consumer| consumer.pause(false));
            turns.pump_all()?;
            let all_read = |turns: &Turns| turns.consumers.iter().all(Consumer::is_done);
            self.work_until(
                "reading the backlog",
                ends.iter().sum(),
                &mut turns,
                |turns| turns.ledger.total,
                all_read,
            )?;
            let now_ns = self.clock.now_ns();
            turns.account.meter.end_at(now_ns);
            turns.ledger.meter.end_at(now_ns);
        } else {
            turns.work(end_ns, |_| false)?;
        }
        let end = self.mark();
        let abandoned = self.drain(&mut turns, if until_read { end.at_ns } else { end_ns })?;
        Ok(Measured { turns, begin, end, abandoned })
    }

    /// Waits for what is still on its way; tells how many records never had an answer.
    fn drain(&self, turns: &mut Turns, end_ns: u64) -> Result<u64, String> {
        self.gauge.begin(Stage::Drain, None);
        turns.producers.iter_mut().for_each(|producer| producer.end_at(end_ns));
        turns.pump_all()?;
        let limit_ns = self.clock.now_ns() + DRAIN_S_MAX * S;
        turns.work(limit_ns, |turns| turns.producers.iter().all(Producer::is_done))?;
        let now_ns = self.clock.now_ns();
        let mut abandoned = 0;
        let Turns { producers, account, .. } = turns;
        for producer in producers.iter_mut().filter(|producer| !producer.is_done()) {
            abandoned += producer.give_up(now_ns, account);
        }
        if self.workload.kind == Kind::EndToEnd {
            // What does not come is told by the outcome's check: as missing.
            let all_read = |turns: &Turns| turns.ledger.total >= turns.account.total;
            self.work_on(turns, DRAIN_S_MAX as f64, |turns| turns.ledger.total, all_read)?;
        }
        Ok(abandoned)
    }

    /// Works until `over` holds. An error says how far it came when nothing comes any more, or when it would take too long for a benchmark.
    fn work_until(
        &self,
        what: &str,
        records: u64,
        turns: &mut Turns,
        progress: impl Fn(&Turns) -> u64,
        over: impl Fn(&Turns) -> bool,
    ) -> Result<(), String> {
        let bytes = records * self.workload.record_bytes as u64;
        let seconds_max = (bytes as f64 / SLOWEST_BYTES_PER_S).max(DRAIN_S_MAX as f64);
        let (began_ns, before) = (self.clock.now_ns(), progress(turns));
        if self.work_on(turns, seconds_max, &progress, over)? {
            return Ok(());
        }
        let seconds = (self.clock.now_ns() - began_ns) / S;
        let done = progress(turns) - before;
        Err(format!("{what}: ended after {seconds} s with {done} of {records} records"))
    }

    /// Works until `over` holds, `progress` stands still for a while, or the time is over; tells whether `over` holds.
    fn work_on(
        &self,
        turns: &mut Turns,
        seconds_max: f64,
        progress: impl Fn(&Turns) -> u64,
        over: impl Fn(&Turns) -> bool,
    ) -> Result<bool, String> {
        let limit_ns = self.clock.now_ns() + (seconds_max * 1e9) as u64;
        loop {
            let before = progress(turns);
            if turns.work(limit_ns.min(self.clock.now_ns() + SILENCE_S_MAX * S), &over)? {
                return Ok(true);
            }
            if progress(turns) == before || self.clock.now_ns() >= limit_ns {
                return Ok(false);
            }
        }
    }

    fn turns(
        &self,
        topics: &Topics,
        producers: Vec<Producer>,
        consumers: Vec<Consumer>,
        produced: Meter,
        consumed: Meter,
    ) -> Result<Turns<'a>, String> {
        let account = Account::new(topics.total(), produced);
        let ledger = Ledger { meter: consumed, check: Check::default(), total: 0, errors: 0, first_error: None };
        let bytes = self.workload.record_bytes;
        Turns::new(self.clock, self.gauge, bytes, producers, consumers, account, ledger)
            .map_err(|error| error.to_string())
    }

    fn socket(&self) -> Result<Socket, String> {
        Socket::connect(self.target.address).map_err(|error| format!("{}: {error}", self.target.address))
    }

    fn rss(&self) -> u64 {
        self.target.pid.and_then(|pid| proc::rss_bytes(pid).ok()).unwrap_or(0)
    }

    fn mark(&self) -> Mark {
        Mark {
            at_ns: self.clock.now_ns(),
            client_cpu_s: proc::thread_cpu().as_secs_f64(),
            broker_cpu_s: self.target.pid.and_then(|pid| proc::process_cpu_s(pid).ok()).unwrap_or(0.0),
        }
    }

    fn outcome(&self, measured: Measured, mut cost: BrokerCost) -> Outcome {
        let Measured { turns, begin, end, abandoned } = measured;
        let (account, ledger) = (turns.account, turns.ledger);
        let seconds = (end.at_ns - begin.at_ns) as f64 / 1e9;
        let (mut produced, produce_latency) = account.meter.finish();
        let (mut consumed, end_to_end_latency) = ledger.meter.finish();
        produced.errors += abandoned;
        consumed.errors += ledger.errors;
        if let Some(code) = account.first_error {
            eprintln!("{}: {} batches were refused, the first with error {code}", self.workload.name, account.errors);
        }
        if let Some(problem) = &ledger.first_error {
            eprintln!("{}: {problem}", self.workload.name);
        }
        let mut check = ledger.check;
        check.acknowledged = account.total + self.settled;
        if self.workload.kind == Kind::EndToEnd {
            check.missing = account.total.saturating_sub(check.read);
        }
        let cpu_s = end.client_cpu_s - begin.client_cpu_s;
        cost.cpu_s = end.broker_cpu_s - begin.broker_cpu_s;
        Outcome {
            workload: self.workload.clone(),
            broker: self.target.name.clone(),
            unix_seconds: begin.at_ns / S,
            seconds,
            produced,
            consumed,
            produce_latency: Latency::of(&produce_latency),
            end_to_end_latency: Latency::of(&end_to_end_latency),
            send_delay: Latency::of(&account.send_delay),
            client: ClientCost {
                cpu_s,
                busy_share: cpu_s / seconds,
                was_the_limit: cpu_s / seconds > CLIENT_LIMIT_SHARE,
            },
            broker_cost: self.target.pid.map(|_| cost),
            check,
        }
    }
}
