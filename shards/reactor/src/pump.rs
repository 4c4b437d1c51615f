//! One shard's loop: completions and messages become inputs, the machine's effects become submissions. Decides nothing.
//!
//! A round takes everything that has come, hands it to the machine, ends the round there, carries out the effects, and enters
//! the kernel once: to submit all of that and to wait.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use floe_engine::event::{AdminReply, Effect, Effects, Input, LogLevel, Machine, ShardId};
use floe_engine::metrics::DriverMetrics;
use floe_engine::time::Time;
use io_uring::{cqueue, opcode, types};
use rustix::time::{ClockId, clock_gettime};
use slab::Slab;

use crate::awake::Awake;
use crate::disk::Disk;
use crate::inbox::{Inbox, Outside, Sender};
use crate::limits::CLOSE_LINGER_NS;
use crate::local;
use crate::mesh::Mesh;
use crate::net::Net;
use crate::ring::{Completion, Kind, Ring, token};
use crate::run::Together;

/// A shard and all that carries for it.
pub struct Pump<M> {
    /// Which.
    pub shard: ShardId,
    /// The engine.
    pub machine: M,
    /// Its ring.
    pub ring: Ring,
    /// Its connections.
    pub net: Net,
    /// Its disk operations.
    pub disk: Disk,
    /// Its ends of the queues between shards.
    pub mesh: Mesh,
    /// What OS threads tell it.
    pub inbox: Inbox,
    /// How long to look for work before sleeping.
    pub spin: Duration,
    /// Keeps CPUs from resting.
    pub awake: Awake,
    /// What all shards share.
    pub together: Arc<Together>,
    /// Every shard's inbox: new connections are handed round.
    pub shards: Vec<Sender>,
    /// The inputs of the next round.
    pub inputs: VecDeque<Input>,
    /// Where it accepts, from [`Outside::Accept`] on.
    pub accepting: Accepting,
    /// Questions of the admin thread, by token.
    pub asked: Slab<flume::Sender<AdminReply>>,
    /// What only this loop can measure.
    pub measured: DriverMetrics,
    /// From [`Outside::Exit`] on: when to leave whatever is still under way.
    pub leaving_ns: Option<u64>,
}

/// New clients: one shard takes them in and hands them round.
#[derive(Default)]
pub struct Accepting {
    /// Where.
    listeners: Vec<TcpListener>,
    /// Who has the next one.
    next: usize,
    /// Listeners on which no accept is under way.
    idle: Vec<usize>,
    stopped: bool,
}

impl Accepting {
    /// On these, once told to.
    pub fn on(listeners: Vec<TcpListener>) -> Accepting {
        listeners.iter().for_each(local::prepare);
        Accepting { listeners, ..Accepting::default() }
    }
}

/// What the clocks say.
pub fn now() -> Time {
    let wall = clock_gettime(ClockId::Realtime);
    Time { mono_ns: mono_ns(), wall_ms: wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000 }
}

fn mono_ns() -> u64 {
    let mono = clock_gettime(ClockId::Monotonic);
    mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64
}

impl<M: Machine> Pump<M> {
    /// Runs until [`Outside::Exit`].
    pub fn run(mut self) -> io::Result<()> {
        self.inbox.arm(&mut self.ring);
        let mut completions: Vec<Completion> = Vec::new();
        let mut effects = Effects::new();
        loop {
            self.ring.completions(&mut completions);
            for completion in completions.drain(..) {
                self.completed(completion);
            }
            while let Some(what) = self.inbox.next() {
                self.told(what);
            }
            let now = now();
            self.mesh.receive(now.mono_ns, &mut self.measured.hop_ns, &mut self.inputs);
            let before = self.inputs.len();
            self.net.take_inputs(now.mono_ns, &mut self.measured.receive_ns, &mut self.inputs);
            match self.inputs.len() > before {
                true => self.awake.work(now.mono_ns),
                false => self.awake.look(now.mono_ns),
            }
            let has_inputs = !self.inputs.is_empty();

            if self.machine.next_deadline().is_some_and(|deadline| now.reached(deadline)) {
                self.inputs.push_back(Input::Timer);
            }
            while let Some(input) = self.inputs.pop_front() {
                self.machine.handle(now, input, &mut effects);
            }
            self.machine.end_of_round(now, &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(now, effect);
            }
            self.mesh.flush(&mut self.ring);
            self.net.mesh_room(!self.mesh.is_behind());
            self.net.flush(now.mono_ns, &mut self.ring);

            if let Some(until) = self.leaving_ns
                && (now.mono_ns >= until || (self.net.is_empty() && self.disk.is_idle()))
            {
                break;
            }
            let done_ns = mono_ns();
            if has_inputs {
                self.measured.round_ns.record(done_ns.saturating_sub(now.mono_ns));
            }
            self.wait(now)?;
        }
        // The kernel may still hold memory of operations that never end by themselves (the read of the inbox, accepts), and closing a ring
        // cancels them only some time later. The process is about to end: the memory is left to it.
        std::mem::forget(self);
        Ok(())
    }

    /// Submits, and sleeps until something happens or is due.
    fn wait(&mut self, now: Time) -> io::Result<()> {
        let deadline = self.machine.next_deadline().map(|deadline| deadline.0);
        let deadline = deadline.into_iter().chain(self.net.next_deadline_ns()).chain(self.awake.deadline_ns());
        let deadline = deadline.chain(self.leaving_ns).min();
        let wait = deadline.map(|deadline| Duration::from_nanos(deadline.saturating_sub(now.mono_ns)));
        if self.net.has_inputs() || wait == Some(Duration::ZERO) {
            return self.ring.enter(Some(Duration::ZERO));
        }
        if !self.spin.is_zero() {
            let until = now.mono_ns + self.spin.min(wait.unwrap_or(self.spin)).as_nanos() as u64;
            let (began_ns, mut at_ns) = (mono_ns(), 0);
            self.ring.enter(Some(Duration::ZERO))?;
            let has_come = loop {
                if self.ring.is_called() {
                    self.ring.enter(Some(Duration::ZERO))?;
                }
                if self.ring.has_completions() || self.mesh.has_come() || !self.inbox.is_empty() {
                    break true;
                }
                at_ns = mono_ns();
                if at_ns >= until {
                    break false;
                }
                // Whoever else is to run here runs now, not when this thread's slice of some milliseconds is over: the kernel's workers that carry out what
                // the ring could not do at once, first of all.
                std::thread::yield_now();
            };
            self.measured.polled_ns += at_ns.saturating_sub(began_ns);
            if has_come {
                return Ok(());
            }
        }
        let wait = if self.mesh.may_sleep() { wait } else { Some(Duration::ZERO) };
        let entered = self.ring.enter(wait);
        self.mesh.awake();
        entered
    }

    fn completed(&mut self, completion: Completion) {
        match completion.kind {
            Kind::Recv => self.net.received(completion),
            Kind::Send => self.net.sent(completion),
            Kind::Room => self.net.room(completion),
            Kind::Accept => self.accepted(completion),
            Kind::Disk => self.inputs.extend(self.disk.completed(completion, &mut self.ring)),
            // The queue is looked at in every round.
            Kind::Inbox => self.inbox.arm(&mut self.ring),
            Kind::Mesh | Kind::Nothing => {}
        }
    }

    fn told(&mut self, what: Outside) {
        match what {
            Outside::DiskDone { op, result } => self.inputs.push_back(Input::DiskDone { op, result }),
            Outside::FileSent { slot, result } => self.net.file_sent(slot, result),
            Outside::Connected { socket, peer, listener } => self.net.connected(socket, peer, listener),
            Outside::Attached(resting) => self.net.attached(*resting),
            Outside::DiskSpace { free_bytes, total_bytes } => {
                self.inputs.push_back(Input::DiskSpace { free_bytes, total_bytes });
                // Once a second is often enough to try again after running out of descriptors.
                self.accept();
            }
            Outside::Accept => {
                self.accepting.idle = (0..self.accepting.listeners.len()).collect();
                self.accept();
            }
            Outside::Admin(request, answer) => {
                let token = self.asked.insert(answer) as u64;
                self.inputs.push_back(Input::Admin { token, request });
            }
            Outside::Shutdown => {
                self.accepting.stopped = true;
                for listener in &self.accepting.listeners {
                    let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
                }
                self.inputs.push_back(Input::Shutdown);
            }
            Outside::Exit => {
                self.leaving_ns = Some(now().mono_ns + CLOSE_LINGER_NS / 5);
                self.net.abandon();
            }
        }
    }

    fn carry_out(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Reply { conn, reply } => self.net.reply(conn, reply),
            Effect::Close { conn } => self.net.close(conn, now.mono_ns),
            Effect::PauseReads { conn } => self.net.pause(conn, true),
            Effect::ResumeReads { conn } => self.net.pause(conn, false),
            Effect::Detach { conn } => self.net.detach(conn),
            Effect::Attach { conn, to, luggage } => {
                if let Some(resting) = self.net.give_up(conn, luggage) {
                    self.shards[usize::from(to.0)].send(Outside::Attached(Box::new(resting)));
                }
            }
            Effect::Admission { open } => self.net.admission(open),
            Effect::Mesh { to, msg } => self.mesh.send(now.mono_ns, to, msg),
            Effect::Disk { op, what } => self.disk.start(op, what, &mut self.ring),
            Effect::AdminReply { token, mut reply } => {
                if let AdminReply::Metrics(metrics) = &mut reply {
                    metrics.driver.clone_from(&self.measured);
                }
                if let Some(answer) = self.asked.try_remove(token as usize) {
                    // Who asked may have given up.
                    let _ = answer.try_send(reply);
                }
            }
            Effect::Log { level, line } => {
                let shard = self.shard.0;
                match level {
                    LogLevel::Error => tracing::error!(shard, "{line}"),
                    LogLevel::Warn => tracing::warn!(shard, "{line}"),
                    LogLevel::Info => tracing::info!(shard, "{line}"),
                    LogLevel::Debug => tracing::debug!(shard, "{line}"),
                }
            }
            Effect::Ready => self.together.ready(&self.shards),
            Effect::Stopped => self.together.stopped(),
            Effect::Fatal { message } => self.together.fatal(message),
        }
    }

    /// Lets the ring accept on every listener where it does not.
    fn accept(&mut self) {
        if self.accepting.stopped {
            return;
        }
        for index in std::mem::take(&mut self.accepting.idle) {
            let fd = types::Fd(self.accepting.listeners[index].as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
            // SAFETY: no memory is pointed to; the listener is open as long as the pump.
            unsafe { self.ring.push(entry.user_data(token(Kind::Accept, index as u32))) }
        }
    }

    fn accepted(&mut self, completion: Completion) {
        let listener = completion.index as usize;
        let socket = match completion.result() {
            // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
            Ok(fd) => Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            Err(error) => {
                if !self.accepting.stopped {
                    tracing::warn!(
                        "cannot accept a connection: {error}; trying again within a second (open files: ulimit -n)"
                    );
                }
                None
            }
        };
        if !cqueue::more(completion.flags) {
            self.accepting.idle.push(listener);
            if socket.is_some() {
                self.accept();
            }
        }
        let Some(socket) = socket.filter(|_| !self.accepting.stopped) else { return };
        // A client that is gone already has no name any more.
        let Ok(Some(peer)) = rustix::net::getpeername(&socket).map(|address| address.map(SocketAddr::try_from)) else {
            return;
        };
        let Ok(peer) = peer else { return };
        local::met(&socket, peer);
        let to = self.accepting.next % self.shards.len();
        self.accepting.next += 1;
        if to == usize::from(self.shard.0) {
            self.net.connected(socket, peer, listener as u16);
        } else {
            self.shards[to].send(Outside::Connected { socket, peer, listener: listener as u16 });
        }
    }
}
