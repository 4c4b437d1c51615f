//! One run: a history of lives, and the verdict on it. The same for every kind of clients and machines.
//!
//! First the lives of the plan, each with its faults and its end. Then faults heal, the node starts once more, and everything must come to rest: clients
//! finish, new clients succeed, every partition is audited. Last a clean stop, a start and another audit.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use floe_engine::config::{BrokerConfig, Listener, Values};
use floe_engine::event::{AdminRequest, Machine, ShardId};

use crate::disk::{Breach, CrashKind, Disk, DiskFaults, FileKind, InjectedKind};
use crate::life::{Life, LifeEnd, Scene, Storm};
use crate::mutant::Fault;
use crate::net::{Net, NetFaults};
use crate::oracle::{Ending, Oracle, Tally};
use crate::rng::Rng;
use crate::settings;
use crate::trace::Trace;
use crate::world::{Happening, World};

/// The run's own wake-ups go to this actor number.
const CONTROL: u32 = u32::MAX;
/// How often the run looks at itself, in nanoseconds.
const TICK_NS: u64 = 20_000_000;
/// A start takes at most this long in virtual time, on the slowest simulated disk.
const BOOT_NS_MAX: u64 = 120_000_000_000;
/// A clean stop takes at most this long.
const STOP_NS_MAX: u64 = 120_000_000_000;
/// The admin thread waits this long for a shard's answer.
const ADMIN_NS_MAX: u64 = 5_000_000_000;
/// Clients come to rest within this time once faults have healed.
const REST_NS_MAX: u64 = 600_000_000_000;
/// No shard reads nothing from its clients for as long as this: what it waits for comes in a second or two on the slowest simulated disk, and what
/// does not come by itself (space on a full disk) is not waited for.
const DEAF_NS_MAX: u64 = 10_000_000_000;

/// How to do a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Print every event.
    pub print: bool,
    /// Otherwise keep so many of the last.
    pub keep_events: usize,
    /// Let the disk break its contract (tests of the oracle).
    pub breach: Option<Breach>,
    /// Put a bug into the machine (tests of the oracle).
    pub fault: Option<Fault>,
    /// Lives of one kind instead of drawn ones: for what chance brings about too rarely.
    pub scene: Option<Scene>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which run.
    pub seed: u64,
    /// Why it failed; `None`: it did not.
    pub failure: Option<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Virtual time in milliseconds.
    pub virtual_ms: u64,
    /// How much was judged.
    pub tally: Tally,
    /// The broker refused to start, with an excuse: the run ended there.
    pub refused_to_start: bool,
    /// What the run was made of.
    pub plan: String,
    /// The last events, as many as were asked for.
    pub last_events: Vec<String>,
    /// The broker's last log lines and the faults injected, for people.
    pub notes: Vec<String>,
}

/// What happens to the node in a run, whoever its clients are.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The lives of the node in the first part of the run; then faults heal and everything must come to rest.
    pub lives: Vec<Life>,
    /// Shards of the last lives (the one in which everything comes to rest, and the one after a clean stop).
    pub last_shards: [u16; 2],
    /// Disk latency and contract breaches, in force for the whole run.
    pub disk: DiskFaults,
    /// The network.
    pub net: NetFaults,
}

impl Fate {
    /// The fate of a run whose generator this is.
    pub fn draw(rng: &mut Rng, options: &Options) -> Fate {
        let theme = rng.below(100);
        let shards = |rng: &mut Rng| *rng.pick(&[1, 1, 2, 2, 3, 4]);
        let fixed = rng.percent(60).then(|| shards(rng));
        let lives = (0..rng.range(1, 5)).map(|_| {
            let shards = fixed.unwrap_or_else(|| shards(rng));
            Life::draw(rng, theme, shards)
        });
        let lives: Vec<Life> = lives.collect();
        let lives = options.scene.map_or(lives, |scene| scene.lives(rng));
        let disk = DiskFaults {
            latency_ns_min: 10_000,
            latency_ns_max: *rng.pick(&[60_000, 300_000, 1_000_000, 10_000_000]),
            breach: options.breach,
            ..DiskFaults::default()
        };
        let net = NetFaults {
            delay_ns_max: *rng.pick(&[50_000, 200_000, 5_000_000]),
            slow_ppm: *rng.pick(&[0, 0, 10_000]),
            slow_ns_max: 200_000_000,
            break_ppm: *rng.pick(&[0, 0, 2_000, 20_000]),
        };
        Fate { lives, last_shards: std::array::from_fn(|_| fixed.unwrap_or_else(|| shards(rng))), disk, net }
    }
}

/// The clients of a run, and the kind of machine they talk to.
pub trait Clientele {
    /// What runs on each shard.
    type Machine: Machine + 'static;
    /// The machine of a shard.
    fn machine(&self) -> Box<dyn FnMut(ShardId) -> Self::Machine>;
    /// Who the clients are and what they talk to, for people.
    fn describe_plan(&self, config: &BrokerConfig) -> String;
    /// The clients come.
    fn begin(&mut self, world: &mut World<Self::Machine>, oracle: &mut Oracle);
    /// Something concerns them. `excused`: injected faults explain that a partition refuses to work.
    fn happened(&mut self, what: Happening, excused: bool, world: &mut World<Self::Machine>, oracle: &mut Oracle);
    /// Called now and then: finds what waits for too long.
    fn check(&mut self, world: &mut World<Self::Machine>, oracle: &mut Oracle);
    /// The node is about to start.
    fn booting(&mut self);
    /// No new work (or new work again).
    fn wind_down(&mut self, winding_down: bool);
    /// New clients that must succeed, as the faults have healed.
    fn probe(&mut self, world: &mut World<Self::Machine>);
    /// Settings of the broker that these clients want otherwise.
    fn configure(&self, _values: &mut Values) {}
    /// How long nothing is to be done before [`Clientele::look`], so that all that is due has happened, in nanoseconds.
    fn quiet_ns(&self) -> u64 {
        0
    }
    /// Somebody who looks at what a restart must not change, before it (`false`) and after it (`true`).
    fn look(&mut self, _world: &mut World<Self::Machine>, _after: bool) {}
    /// Somebody who reads everything from start to end.
    fn audit(&mut self, world: &mut World<Self::Machine>);
    /// Whether everybody is done.
    fn all_done(&self) -> bool;
    /// What those who are not done are at.
    fn describe_open(&self) -> Vec<String>;
    /// The run is over and good so far: a last look at the disk.
    fn farewell(&mut self, world: &mut World<Self::Machine>, damaged: bool, oracle: &mut Oracle);
}

/// Does the run of a seed with these clients.
pub fn run<C: Clientele>(seed: u64, mut rng: Rng, fate: Fate, clients: C, options: Options) -> Outcome {
    let mut trace = Trace::new(options.print, options.keep_events);
    trace.event(0, 0, &[seed], || format!("seed {seed}"));
    let disk = Disk::new(rng.fork(), fate.disk.clone());
    let net = Net::new(rng.fork(), fate.net.clone());
    let mut config = settings::small(&mut rng.fork(), vec![listener()]);
    clients.configure(&mut config.values);
    let config = Arc::new(config);
    let plan = if trace.prints() { format!("{fate:#?}\n{}", clients.describe_plan(&config)) } else { String::new() };
    if options.print {
        println!("{plan}");
    }
    let world = World::new(rng.fork(), disk, net, trace, clients.machine());
    let mut run = Run {
        fate,
        config,
        world,
        clients,
        oracle: Oracle::new(),
        damaged: false,
        forgotten: false,
        injected_before: 0,
        refused_to_start: false,
        questions: BTreeMap::new(),
        next_question: 0,
        rng,
    };
    let panic = catch_unwind(AssertUnwindSafe(|| run.play())).err().map(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_else(|| "panic".into())
    });
    let failure = run.oracle.violations().first().cloned().or(panic.map(|text| format!("panic: {text}")));
    let mut notes: Vec<String> = run.world.trace.last_log_lines().to_vec();
    let injected = run.world.disk.injected();
    notes.extend(injected.iter().rev().take(20).rev().map(|i| format!("injected: {i:?}")));
    Outcome {
        seed,
        failure,
        hash: run.world.trace.hash(),
        events: run.world.trace.events(),
        virtual_ms: run.world.now_ns() / 1_000_000,
        tally: Tally {
            moved: run.world.moved,
            assigned: run.oracle.groups.assigned,
            migrated: run.oracle.groups.migrated,
            committed: run.oracle.groups.committed,
            fetched: run.oracle.groups.fetched,
            txns_committed: run.oracle.txns.committed,
            txns_aborted: run.oracle.txns.aborted,
            txns_unknown: run.oracle.txns.unknown,
            txns_read: run.oracle.txns.read,
            copied: run.oracle.txns.copies.committed,
            copies_fenced: run.oracle.txns.copies.refused,
            ..run.oracle.tally
        },
        refused_to_start: run.refused_to_start,
        plan,
        last_events: run.world.trace.take_last_events(),
        notes,
    }
}

fn ending_of(kind: CrashKind) -> Ending {
    match kind {
        CrashKind::Process => Ending::Process,
        CrashKind::Power => Ending::Power,
    }
}

fn listener() -> Listener {
    Listener {
        name: "PLAINTEXT".into(),
        bind_host: "127.0.0.1".into(),
        bind_port: 9092,
        advertised_host: "127.0.0.1".into(),
        advertised_port: 9092,
    }
}

struct Run<C: Clientele> {
    fate: Fate,
    config: Arc<BrokerConfig>,
    world: World<C::Machine>,
    clients: C,
    oracle: Oracle,
    /// Content was damaged or went astray: refusals are excused from then on.
    damaged: bool,
    /// A journal's sync failed: the disk may forget what the cache shows.
    forgotten: bool,
    /// Faults injected before the present life.
    injected_before: usize,
    refused_to_start: bool,
    /// Questions of the admin thread that wait for their answer: token to when it was asked.
    questions: BTreeMap<u64, u64>,
    next_question: u64,
    rng: Rng,
}

/// Why [`Run::until`] came back.
#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    /// Its condition holds.
    Reached,
    /// Time is over.
    Timeout,
    /// The node is down: the disk stopped it.
    Crashed,
    /// The node is down: the engine gave up.
    Fatal(String),
    /// The node is down: it ended cleanly.
    Clean,
    /// A rule was broken.
    Violation,
}

impl<C: Clientele> Run<C> {
    fn play(&mut self) {
        self.world.wake(CONTROL, 0, TICK_NS);
        self.clients.begin(&mut self.world, &mut self.oracle);
        for life in self.fate.lives.clone() {
            if !self.live(&life) {
                return;
            }
        }
        self.come_to_rest();
    }

    /// One life of the plan. `false`: the run is over.
    fn live(&mut self, life: &Life) -> bool {
        life.storm.begin(&mut self.world.disk);
        self.world.wall_skew_ms = life.wall_skew_ms;
        self.world.crash_kind = CrashKind::Power;
        if let LifeEnd::AtOperation(n, phase, kind) = life.end {
            self.world.crash_kind = kind;
            let at = self.world.disk.changing_ops() + n;
            self.world.disk.crash_at(at, phase);
        }
        self.boot(life.shards);
        if life.audit {
            self.clients.audit(&mut self.world);
        }
        let half = life.length_ns / 2;
        let mut stopped = self.until(half, |_| false);
        if stopped == Stopped::Timeout {
            // A full disk is emptied in the middle of the life.
            if matches!(life.storm, Storm::Full(_)) {
                self.world.disk.faults.capacity_bytes = 1 << 40;
            }
            stopped = self.until(life.length_ns - half, |_| false);
        }
        let ending = match stopped {
            Stopped::Violation => return false,
            Stopped::Crashed => ending_of(self.world.crash_kind),
            Stopped::Fatal(message) => {
                if !self.excused() {
                    self.oracle.fail(format!("the broker gave up without a fault: {message}"));
                    return false;
                }
                Ending::Process
            }
            Stopped::Timeout | Stopped::Reached | Stopped::Clean => match life.end {
                LifeEnd::Kill => {
                    self.world.crash(CrashKind::Process);
                    Ending::Process
                }
                LifeEnd::Power => {
                    self.world.crash(CrashKind::Power);
                    Ending::Power
                }
                LifeEnd::AtOperation(.., kind) => {
                    self.world.crash(kind);
                    ending_of(kind)
                }
                LifeEnd::Clean => match self.stop() {
                    Some(ending) => ending,
                    None => return false,
                },
            },
        };
        self.end_storm();
        let ending = self.damage(life, ending);
        self.oracle.crashed(ending);
        // Clients live on while the node is down.
        self.until(life.down_ns, |_| false) != Stopped::Violation
    }

    /// Stops the node cleanly. `None`: a rule was broken.
    fn stop(&mut self) -> Option<Ending> {
        // It may not have finished booting: it must stop all the same, but then it cannot have made durable what a life before left in the cache.
        let was_ready = self.world.is_ready();
        self.world.shut_down();
        match self.until(STOP_NS_MAX, |_| false) {
            Stopped::Clean => {
                let in_doubt = !was_ready || self.injected_now() || self.forgotten;
                Some(if in_doubt { Ending::Power } else { Ending::Clean })
            }
            Stopped::Crashed => Some(ending_of(self.world.crash_kind)),
            Stopped::Fatal(_) if self.excused() => Some(Ending::Process),
            Stopped::Violation => None,
            other => {
                self.oracle.fail(format!("a clean stop did not come to its end: {other:?}"));
                None
            }
        }
    }

    /// Everything heals; everything must come to rest.
    fn come_to_rest(&mut self) {
        self.world.net.faults = NetFaults::default();
        if !self.boot_to_ready(self.fate.last_shards[0]) {
            return;
        }
        self.clients.wind_down(true);
        if !self.rest("after the faults") {
            return;
        }
        self.clients.wind_down(false);
        self.clients.probe(&mut self.world);
        self.clients.audit(&mut self.world);
        if !self.rest("a new producer, a new consumer and an audit") {
            return;
        }
        if self.until(self.clients.quiet_ns(), |_| false) != Stopped::Timeout {
            return;
        }
        self.clients.look(&mut self.world, false);
        if !self.rest("a look at what a restart must not change") {
            return;
        }
        let Some(ending) = self.stop() else { return };
        self.oracle.crashed(ending);
        if !self.boot_to_ready(self.fate.last_shards[1]) {
            return;
        }
        self.clients.look(&mut self.world, true);
        self.clients.audit(&mut self.world);
        if self.rest("the last audit") {
            self.clients.farewell(&mut self.world, self.damaged, &mut self.oracle);
        }
    }

    fn boot(&mut self, shards: u16) {
        self.questions.clear();
        self.clients.booting();
        self.injected_before = self.world.disk.injected().len();
        self.world.boot(shards, &self.config);
    }

    /// Starts the node; it must become ready. `false`: the run is over.
    fn boot_to_ready(&mut self, shards: u16) -> bool {
        self.boot(shards);
        match self.until(BOOT_NS_MAX, |run| run.world.is_ready()) {
            Stopped::Reached => true,
            Stopped::Violation => false,
            Stopped::Fatal(_) if self.damaged => {
                self.refused_to_start = true;
                false
            }
            other => {
                self.oracle.fail(format!("the broker does not start: {other:?}"));
                false
            }
        }
    }

    fn rest(&mut self, what: &str) -> bool {
        match self.until(REST_NS_MAX, |run| run.clients.all_done()) {
            Stopped::Reached => true,
            Stopped::Violation => false,
            other => {
                let open = self.clients.describe_open().join("; ");
                self.oracle.fail(format!("liveness: {what}: not at rest ({other:?}): {open}"));
                false
            }
        }
    }

    /// Lets the world go on for `for_ns`, or until a condition holds (looked at whenever something happened).
    fn until(&mut self, for_ns: u64, condition: impl Fn(&Run<C>) -> bool) -> Stopped {
        let end_ns = self.world.now_ns() + for_ns;
        loop {
            if !self.oracle.violations().is_empty() {
                return Stopped::Violation;
            }
            if condition(self) {
                return Stopped::Reached;
            }
            if self.world.now_ns() >= end_ns {
                return Stopped::Timeout;
            }
            let Some(happening) = self.world.step() else {
                self.oracle.fail("nothing will ever happen again".into());
                return Stopped::Violation;
            };
            match happening {
                Happening::Wake { actor: CONTROL, .. } => {
                    self.world.wake(CONTROL, 0, TICK_NS);
                    self.clients.check(&mut self.world, &mut self.oracle);
                    self.listen();
                    self.ask();
                }
                Happening::Admin { token, .. } => {
                    if self.questions.remove(&token).is_none() {
                        self.oracle.fail(format!("the admin thread got an answer to no question ({token})"));
                    }
                }
                Happening::Crashed => return Stopped::Crashed,
                Happening::Fatal { message } => return Stopped::Fatal(message),
                Happening::Stopped => return Stopped::Clean,
                Happening::Ready => {}
                other => {
                    let excused = self.excused();
                    self.clients.happened(other, excused, &mut self.world, &mut self.oracle);
                }
            }
        }
    }

    /// Now and then the admin thread asks a shard; it must be answered, in every state of the node.
    fn ask(&mut self) {
        let now_ns = self.world.now_ns();
        if let Some((token, asked_ns)) = self.questions.iter().next()
            && now_ns - asked_ns > ADMIN_NS_MAX
        {
            self.oracle.fail(format!("deadlock: question {token} of the admin thread is not answered"));
        }
        if self.world.shards() > 0 && self.rng.percent(3) {
            let shard = ShardId(self.rng.below(u64::from(self.world.shards())) as u16);
            let request = if self.rng.percent(50) { AdminRequest::Metrics } else { AdminRequest::Ready };
            self.next_question += 1;
            self.questions.insert(self.next_question, now_ns);
            self.world.admin(shard, self.next_question, request);
        }
    }

    /// Whether every shard hears its clients.
    fn listen(&mut self) {
        let now_ns = self.world.now_ns();
        if let Some((shard, since_ns)) = self.world.net.deaf_since_ns()
            && now_ns - since_ns > DEAF_NS_MAX
        {
            let ms = (now_ns - since_ns) / 1_000_000;
            self.oracle.fail(format!("liveness: shard {} has read nothing from its clients for {ms} ms", shard.0));
        }
    }

    fn end_storm(&mut self) {
        self.world.disk.faults = self.fate.disk.clone();
    }

    /// Damages what the plan says, and tells what may have been lost by it.
    fn damage(&mut self, life: &Life, ending: Ending) -> Ending {
        let mut tail = false;
        for &(kind, allow_recent) in &life.damage {
            if let Some(injected) = self.world.disk.damage(kind, allow_recent) {
                self.world.trace.log(self.world.now_ns(), format_args!("damage at rest: {injected:?}"));
            }
        }
        for injected in &self.world.disk.injected()[self.injected_before..] {
            let content =
                matches!(injected.kind, InjectedKind::Misdirected | InjectedKind::Damaged | InjectedKind::BadSector);
            // A sync that failed left the journal as it was in the cache, but not on the disk: a killed process reads it, syncs it for good, and a later
            // loss of power takes it all the same. Nobody can know, so partitions may find records missing.
            let forgotten =
                injected.kind == InjectedKind::SyncError && FileKind::of(&injected.path) == FileKind::Journal;
            // Checkpoints and indexes are made up for, as one of each pair of checkpoints stays good: nothing may be refused because of them.
            let made_up_for = matches!(FileKind::of(&injected.path), FileKind::Checkpoint | FileKind::Index);
            self.damaged |= (content && !made_up_for) || forgotten;
            self.forgotten |= forgotten;
            tail |= content && injected.recent && FileKind::of(&injected.path) == FileKind::Journal;
        }
        if tail { Ending::TailDamaged } else { ending }
    }

    fn injected_now(&self) -> bool {
        self.world.disk.injected().len() > self.injected_before
    }

    /// Whether a refusal of service has an excuse now.
    fn excused(&self) -> bool {
        self.damaged || self.injected_now() || self.world.disk.faults.capacity_bytes < 1 << 39
    }
}
