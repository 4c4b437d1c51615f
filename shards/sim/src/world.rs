//! One node in virtual time: its shards, its disk, its network, and the queue of everything that is going to happen.
//!
//! Events are ordered by (virtual time, order of making), so a run is a function of its seed. Inputs gather at a shard and are taken in rounds
//! of random size; messages between two shards arrive in order, late. The owner of the world (the run, or a test) calls [`World::step`] and
//! is told of what concerns it as [`Happening`]s.
//!
//! Invariants: nothing of an earlier life of the node reaches a later one; virtual time moves: too many events at one moment, or too many in
//! all, are a livelock and fail the run.

mod links;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use floe_engine::config::BrokerConfig;
use floe_engine::event::{
    AdminReply, AdminRequest, Boot, Effect, Effects, Input, LogLevel, Luggage, Machine, OpId, ShardId,
};
use floe_engine::mesh::MeshMsg;
use floe_engine::time::{Deadline, Time};

use crate::disk::{CrashKind, Disk, Ended, Ticket};
use crate::net::{Link, Net};
use crate::rng::Rng;
use crate::trace::Trace;

/// Events at one moment of virtual time before the world calls it a livelock.
const EVENTS_AT_ONCE_MAX: u64 = 200_000;

/// How shards are driven.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Longest time from an input to the round that takes it, in nanoseconds.
    pub round_delay_ns_max: u64,
    /// Longest time of a message between shards in nanoseconds.
    pub mesh_delay_ns_max: u64,
    /// How much a timer may be late, in nanoseconds.
    pub timer_late_ns_max: u64,
    /// Percent of rounds that take only some of the inputs.
    pub partial_round_percent: u32,
    /// Timer inputs per million rounds that nobody asked for.
    pub spurious_timer_ppm: u32,
    /// Events in all before the run is called a livelock.
    pub events_max: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            round_delay_ns_max: 20_000,
            mesh_delay_ns_max: 50_000,
            timer_late_ns_max: 1_000_000,
            partial_round_percent: 20,
            spurious_timer_ppm: 10_000,
            events_max: 3_000_000,
        }
    }
}

/// What the owner of the world is told.
#[derive(Debug)]
pub enum Happening {
    /// A reply came in, without its size prefix.
    Frame {
        /// On which connection.
        link: Link,
        /// The reply.
        frame: Bytes,
    },
    /// The connection is gone; not told when the client itself closed it.
    Closed {
        /// Which.
        link: Link,
    },
    /// A wake-up asked for with [`World::wake`].
    Wake {
        /// Whose.
        actor: u32,
        /// As it was given.
        token: u64,
    },
    /// Every shard can serve.
    Ready,
    /// Every shard has ended cleanly; the node is down.
    Stopped,
    /// The disk stopped the node where it was told to; the node is down.
    Crashed,
    /// The engine gave up; the node is down.
    Fatal {
        /// Its words.
        message: String,
    },
    /// A shard answered the admin thread.
    Admin {
        /// Which shard.
        shard: ShardId,
        /// As it was given.
        token: u64,
        /// Its answer.
        reply: AdminReply,
    },
}

/// One node and all that is around it. `M` is [`floe_engine::shard::Shard`], or a small machine in tests.
pub struct World<M> {
    /// The data directory.
    pub disk: Disk,
    /// The connections.
    pub net: Net,
    /// What happened.
    pub trace: Trace,
    /// How shards are driven.
    pub pace: Pace,
    /// How the node ends where the disk was told to stop it.
    pub crash_kind: CrashKind,
    /// Added to the wall clock in milliseconds (a host whose clock was wrong).
    pub wall_skew_ms: i64,
    /// Connections that came from one shard to another.
    pub moved: u64,
    rng: Rng,
    make: Box<dyn FnMut(ShardId) -> M>,
    shards: Vec<Slot<M>>,
    life: u64,
    /// Virtual time at which this life began, and the value of its monotonic clock then.
    life_began: (u64, u64),
    now_ns: u64,
    events_at_now: u64,
    events: u64,
    seq: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    mesh_at: BTreeMap<(ShardId, ShardId), u64>,
    happened: VecDeque<Happening>,
    effects: Effects,
}

struct Slot<M> {
    machine: M,
    inbox: VecDeque<Input>,
    round_at: Option<u64>,
    timer_at: Option<u64>,
    ready: bool,
    stopped: bool,
}

struct Scheduled {
    at_ns: u64,
    seq: u64,
    life: u64,
    event: Event,
}

enum Event {
    Round { shard: ShardId },
    Timer { shard: ShardId },
    DiskEnds { shard: ShardId, op: OpId, ticket: Ticket },
    DiskSpace,
    Mesh { from: ShardId, to: ShardId, msg: MeshMsg },
    FrameArrives { link: Link, frame: Bytes },
    ClientCloses { link: Link },
    Detached { link: Link },
    Attached { link: Link, luggage: Luggage },
    SendNext { link: Link },
    ReplyArrives { link: Link, frame: Bytes },
    ClosedArrives { link: Link },
    Wake { actor: u32, token: u64 },
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.seq == other.seq
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at_ns, self.seq).cmp(&(other.at_ns, other.seq))
    }
}

/// The wall clock at virtual time 0: an ordinary day in 2026.
pub const WALL_START_MS: i64 = 1_770_000_000_000;

impl<M: Machine> World<M> {
    /// A world whose node has never been started. `make` makes the machine of each shard at each start.
    pub fn new(mut rng: Rng, disk: Disk, net: Net, trace: Trace, make: impl FnMut(ShardId) -> M + 'static) -> World<M> {
        World {
            disk,
            net,
            trace,
            pace: Pace::default(),
            crash_kind: CrashKind::Power,
            wall_skew_ms: 0,
            moved: 0,
            rng: rng.fork(),
            make: Box::new(make),
            shards: Vec::new(),
            life: 0,
            life_began: (0, 0),
            now_ns: 0,
            events_at_now: 0,
            events: 0,
            seq: 0,
            queue: BinaryHeap::new(),
            mesh_at: BTreeMap::new(),
            happened: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// Virtual time in nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The wall clock in milliseconds, as the node sees it.
    pub fn wall_ms(&self) -> i64 {
        WALL_START_MS + (self.now_ns / 1_000_000) as i64 + self.wall_skew_ms
    }

    /// How many shards the node runs; 0 while it is down.
    pub fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    /// Whether the node accepts connections.
    pub fn is_ready(&self) -> bool {
        !self.shards.is_empty() && self.shards.iter().all(|slot| slot.ready)
    }

    /// Which life of the node this is (grows with every start).
    pub fn life(&self) -> u64 {
        self.life
    }

    /// The machine of a shard.
    pub fn machine(&self, shard: ShardId) -> Option<&M> {
        self.shards.get(shard.0 as usize).map(|slot| &slot.machine)
    }

    /// Starts the node with `shards` shards.
    pub fn boot(&mut self, shards: u16, config: &Arc<BrokerConfig>) {
        assert!(self.shards.is_empty(), "the node runs already");
        assert!(shards > 0);
        self.life += 1;
        self.life_began = (self.now_ns, self.rng.below(1 << 50));
        self.note(1, &[u64::from(shards), self.life], || format!("boot, {shards} shards"));
        let seed = self.rng.bytes32();
        for i in 0..shards {
            let machine = (self.make)(ShardId(i));
            let inbox = VecDeque::new();
            self.shards.push(Slot { machine, inbox, round_at: None, timer_at: None, ready: false, stopped: false });
        }
        for i in 0..shards {
            let shard = ShardId(i);
            self.input(shard, self.space());
            let config = config.clone();
            self.input(shard, Input::Boot(Boot { shard, shards, config, seed }));
        }
        let at = self.now_ns + 1_000_000_000;
        self.schedule(at, Event::DiskSpace);
    }

    /// Asks every shard to end cleanly; [`Happening::Stopped`] follows.
    pub fn shut_down(&mut self) {
        self.note(2, &[], || "shutdown asked for".into());
        for i in 0..self.shards() {
            self.input(ShardId(i), Input::Shutdown);
        }
    }

    /// Stops the node at once.
    pub fn crash(&mut self, kind: CrashKind) {
        let under_way = self.disk.under_way() as u64;
        self.note(3, &[kind as u64, under_way], || {
            format!("crash ({kind:?}) with {under_way} disk operations under way")
        });
        // What was on its way within this life never arrives.
        self.life += 1;
        self.shards.clear();
        self.mesh_at.clear();
        self.effects.clear();
        self.disk.crash(kind);
        for link in self.net.clear() {
            let at = self.now_ns + self.rng.below(1_000_000);
            self.schedule_any_life(at, Event::ClosedArrives { link });
        }
        // Happenings of the node that are not yet told are void, those of clients stay.
        self.happened
            .retain(|h| matches!(h, Happening::Frame { .. } | Happening::Closed { .. } | Happening::Wake { .. }));
    }

    /// Asks a shard as the admin thread does; [`Happening::Admin`] follows.
    pub fn admin(&mut self, shard: ShardId, token: u64, request: AdminRequest) {
        if !self.shards.is_empty() {
            self.input(shard, Input::Admin { token, request });
        }
    }

    /// Makes a [`Happening::Wake`] `after_ns` from now.
    pub fn wake(&mut self, actor: u32, token: u64, after_ns: u64) {
        self.schedule_any_life(self.now_ns + after_ns, Event::Wake { actor, token });
    }

    /// Lets time pass until something concerns the owner. `None`: nothing will ever happen again.
    ///
    /// # Panics
    /// On a livelock, and wherever the engine panics.
    pub fn step(&mut self) -> Option<Happening> {
        loop {
            if let Some(happening) = self.happened.pop_front() {
                return Some(happening);
            }
            let Reverse(scheduled) = self.queue.pop()?;
            if scheduled.life != self.life && scheduled.life != 0 {
                continue;
            }
            if scheduled.at_ns > self.now_ns {
                self.now_ns = scheduled.at_ns;
                self.events_at_now = 0;
            }
            self.events += 1;
            self.events_at_now += 1;
            assert!(self.events_at_now < EVENTS_AT_ONCE_MAX, "livelock: time stands still at {} ns", self.now_ns);
            assert!(self.events < self.pace.events_max, "livelock: {} events and no end", self.events);
            self.carry_out(scheduled.event);
        }
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Round { shard } => self.round(shard),
            Event::Timer { shard } => {
                if let Some(slot) = self.shards.get_mut(shard.0 as usize) {
                    slot.timer_at = None;
                    self.input(shard, Input::Timer);
                }
            }
            Event::DiskEnds { shard, op, ticket } => match self.disk.end(ticket) {
                Ended::Done(result) => {
                    self.note(10, &[u64::from(shard.0), op.0, u64::from(result.is_ok())], || match &result {
                        Ok(_) => format!("shard {} op {:x} done", shard.0, op.0),
                        Err(error) => format!("shard {} op {:x} failed: {}", shard.0, op.0, error.message),
                    });
                    self.input(shard, Input::DiskDone { op, result });
                }
                Ended::Crash => {
                    self.crash(self.crash_kind);
                    self.happened.push_back(Happening::Crashed);
                }
            },
            Event::DiskSpace => {
                if self.shards.is_empty() {
                    return;
                }
                for i in 0..self.shards() {
                    self.input(ShardId(i), self.space());
                }
                self.schedule(self.now_ns + 1_000_000_000, Event::DiskSpace);
            }
            Event::Mesh { from, to, msg } => self.input(to, Input::Mesh { from, msg }),
            Event::FrameArrives { link, frame } => {
                self.net.arrive(link, frame);
                self.read_frames(link);
            }
            Event::ClientCloses { link } => self.end_link(link),
            Event::Detached { link } => {
                if let Some(wire) = self.net.get(link) {
                    wire.moving = true;
                    let (shard, conn) = (wire.shard, wire.conn);
                    self.input(shard, Input::Detached { conn });
                }
            }
            Event::Attached { link, luggage } => {
                let alive = self.net.attached(link);
                self.moved += 1;
                let Some(wire) = self.net.get(link) else { return };
                let (shard, conn) = (wire.shard, wire.conn);
                self.note(12, &[link.0, u64::from(shard.0)], || format!("{link:?} came to shard {}", shard.0));
                self.input(shard, Input::Attached { conn, luggage });
                if alive {
                    self.read_frames(link);
                } else {
                    self.end_link(link);
                }
            }
            Event::SendNext { link } => self.send_next(link),
            Event::ReplyArrives { link, frame } => {
                if self.net.get(link).is_some_and(|wire| !wire.client_closed) {
                    self.trace.bytes(&frame);
                    self.happened.push_back(Happening::Frame { link, frame });
                }
            }
            Event::ClosedArrives { link } => {
                self.note(5, &[link.0], || format!("{link:?} closed"));
                self.happened.push_back(Happening::Closed { link });
            }
            Event::Wake { actor, token } => self.happened.push_back(Happening::Wake { actor, token }),
        }
    }

    /// One round of a shard: some of its inputs, the end of the round, then the effects in order.
    fn round(&mut self, shard: ShardId) {
        let now = self.time();
        let partial = self.rng.percent(self.pace.partial_round_percent);
        let spurious = self.rng.ppm(self.pace.spurious_timer_ppm);
        let mut effects = std::mem::take(&mut self.effects);
        let Some(slot) = self.shards.get_mut(shard.0 as usize) else { return };
        slot.round_at = None;
        let n = if partial { self.rng.index(slot.inbox.len() + 1) } else { slot.inbox.len() };
        for input in slot.inbox.drain(..n) {
            slot.machine.handle(now, input, &mut effects);
        }
        if spurious {
            slot.machine.handle(now, Input::Timer, &mut effects);
        }
        slot.machine.end_of_round(now, &mut effects);
        let more = !slot.inbox.is_empty();
        self.note(6, &[u64::from(shard.0), n as u64, effects.len() as u64], || {
            format!("shard {} round of {n}, {} effects", shard.0, effects.len())
        });
        for effect in effects.drain(..) {
            self.effect(shard, effect);
            if self.shards.is_empty() {
                break; // Fatal: what it asked for after that is not done.
            }
        }
        effects.clear();
        self.effects = effects;
        if more {
            self.plan_round(shard);
        }
        for link in self.net.backlog(shard) {
            self.read_frames(link);
        }
        self.plan_timer(shard);
    }

    fn effect(&mut self, shard: ShardId, effect: Effect) {
        match effect {
            Effect::Ready => {
                let slot = &mut self.shards[shard.0 as usize];
                assert!(!slot.ready, "shard {} said Ready twice", shard.0);
                slot.ready = true;
                self.note(7, &[u64::from(shard.0)], || format!("shard {} ready", shard.0));
                if self.is_ready() {
                    self.happened.push_back(Happening::Ready);
                }
            }
            Effect::Reply { conn, reply } => self.queue_out(shard, conn, Some(reply)),
            Effect::Close { conn } => self.queue_out(shard, conn, None),
            Effect::PauseReads { conn } => {
                if let Some(link) = self.net.link(shard, conn) {
                    self.net.pause(link, true);
                }
            }
            Effect::ResumeReads { conn } => {
                if let Some(link) = self.net.link(shard, conn) {
                    self.net.pause(link, false);
                }
            }
            Effect::Detach { conn } => {
                if let Some(link) = self.net.link(shard, conn) {
                    self.net.detach(link);
                    let at = self.now_ns + self.rng.below(self.pace.mesh_delay_ns_max + 1);
                    self.schedule(at, Event::Detached { link });
                }
            }
            Effect::Attach { conn, to, luggage } => {
                assert!(to != shard && to.0 < self.shards(), "connection from {} to {}", shard.0, to.0);
                let link = self.net.link(shard, conn).expect("what is at rest is there");
                self.net.attach(link, to);
                let at = self.now_ns + self.rng.below(self.pace.mesh_delay_ns_max + 1);
                self.schedule(at, Event::Attached { link, luggage });
            }
            Effect::Admission { open } => {
                self.note(8, &[u64::from(shard.0), u64::from(open)], || format!("shard {} admission {open}", shard.0));
                self.net.admission(shard, open, self.now_ns);
            }
            Effect::Mesh { to, msg } => {
                assert!(to != shard && to.0 < self.shards(), "mesh message from {} to {}", shard.0, to.0);
                let delay = self.rng.below(self.pace.mesh_delay_ns_max + 1);
                let at = self.mesh_at.entry((shard, to)).or_insert(0);
                *at = (*at).max(self.now_ns + delay);
                let at = *at;
                self.schedule(at, Event::Mesh { from: shard, to, msg });
            }
            Effect::Disk { op, what } => {
                self.note(9, &[u64::from(shard.0), op.0], || {
                    format!("shard {} op {:x} {}", shard.0, op.0, brief(&what))
                });
                let (ticket, latency) = self.disk.begin(what);
                self.schedule(self.now_ns + latency, Event::DiskEnds { shard, op, ticket });
            }
            Effect::AdminReply { token, reply } => self.happened.push_back(Happening::Admin { shard, token, reply }),
            Effect::Log { level, line } => {
                if level != LogLevel::Debug || self.trace.prints() {
                    self.trace.log(self.now_ns, format_args!("shard {} {level:?}: {line}", shard.0));
                }
            }
            Effect::Fatal { message } => {
                self.trace.log(self.now_ns, format_args!("shard {} FATAL: {message}", shard.0));
                self.crash(CrashKind::Process);
                self.happened.push_back(Happening::Fatal { message });
            }
            Effect::Stopped => {
                self.shards[shard.0 as usize].stopped = true;
                self.note(11, &[u64::from(shard.0)], || format!("shard {} stopped", shard.0));
                if self.shards.iter().all(|slot| slot.stopped) {
                    // "Everything is durable", they said: so the machine may lose power right now.
                    self.crash(CrashKind::Power);
                    self.happened.push_back(Happening::Stopped);
                }
            }
        }
    }

    fn input(&mut self, shard: ShardId, input: Input) {
        let Some(slot) = self.shards.get_mut(shard.0 as usize) else { return };
        slot.inbox.push_back(input);
        self.plan_round(shard);
    }

    fn plan_round(&mut self, shard: ShardId) {
        let delay = self.rng.below(self.pace.round_delay_ns_max + 1);
        let at = self.now_ns + delay;
        let Some(slot) = self.shards.get_mut(shard.0 as usize) else { return };
        if slot.round_at.is_none() {
            slot.round_at = Some(at);
            self.schedule(at, Event::Round { shard });
        }
    }

    fn plan_timer(&mut self, shard: ShardId) {
        let late = self.rng.below(self.pace.timer_late_ns_max + 1);
        let base = self.time().mono_ns;
        let now_ns = self.now_ns;
        let Some(slot) = self.shards.get_mut(shard.0 as usize) else { return };
        let Some(Deadline(deadline)) = slot.machine.next_deadline() else { return };
        let at = now_ns.saturating_add(deadline.saturating_sub(base)).saturating_add(late);
        if slot.timer_at.is_none_or(|planned| at < planned) {
            slot.timer_at = Some(at);
            self.schedule(at, Event::Timer { shard });
        }
    }

    fn space(&self) -> Input {
        let (free_bytes, total_bytes) = (self.disk.free_bytes(), self.disk.faults.capacity_bytes);
        Input::DiskSpace { free_bytes, total_bytes }
    }

    fn time(&self) -> Time {
        Time { mono_ns: self.now_ns - self.life_began.0 + self.life_began.1, wall_ms: self.wall_ms() }
    }

    fn schedule(&mut self, at_ns: u64, event: Event) {
        self.push(at_ns, self.life, event);
    }

    /// For what happens to clients: the node's death does not stop it.
    fn schedule_any_life(&mut self, at_ns: u64, event: Event) {
        self.push(at_ns, 0, event);
    }

    fn push(&mut self, at_ns: u64, life: u64, event: Event) {
        self.seq += 1;
        self.queue.push(Reverse(Scheduled { at_ns, seq: self.seq, life, event }));
    }

    fn note(&mut self, code: u8, values: &[u64], line: impl FnOnce() -> String) {
        self.trace.event(self.now_ns, code, values, line);
    }
}

/// A disk operation in a few words.
fn brief(op: &floe_engine::event::DiskOp) -> String {
    use floe_engine::event::DiskOp::*;
    match op {
        Open { path, create, direct } => format!("open {path} create={create} direct={direct}"),
        Preallocate { offset, len, .. } => format!("preallocate {offset}+{len}"),
        WriteZeros { offset, len, .. } => format!("zero {offset}+{len}"),
        Write { file, offset, data, dsync } => {
            format!("write {} {offset}+{} dsync={dsync}", crate::disk::path_of(file), data.len())
        }
        Sync { file } => format!("sync {}", crate::disk::path_of(file)),
        SyncAll { files } => format!("sync {} and others, {} in all", crate::disk::path_of(&files[0]), files.len()),
        Read { file, offset, len, .. } => format!("read {} {offset}+{len}", crate::disk::path_of(file)),
        Truncate { file, len } => format!("truncate {} to {len}", crate::disk::path_of(file)),
        ReadFile { path, .. } => format!("read whole {path}"),
        ReplaceFile { path, data } => format!("replace {path} with {} bytes", data.len()),
        Remove { path } => format!("remove {path}"),
        List { path } => format!("list {path}"),
    }
}

#[cfg(test)]
mod tests;
