//! Starts one thread per shard and holds them together: ready when all are, ended when all have stopped.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use floe_engine::config::{BrokerConfig, Dynamic};
use floe_engine::event::{AdminReply, AdminRequest, Boot, Input, Machine, ShardId};
use floe_engine::metrics::DriverMetrics;
use slab::Slab;

use crate::awake::Awake;
use crate::disk::Disk;
use crate::helpers::Helpers;
use crate::inbox::{self, Inbox, Outside, Sender};
use crate::memory;
use crate::mesh::{self, Mesh};
use crate::net::Net;
use crate::pump::{Accepting, Pump};
use crate::ring::Ring;

/// What to start.
#[derive(Debug)]
pub struct Plan {
    /// Where the data is; held by this process already.
    pub data_dir: PathBuf,
    /// The broker's settings.
    pub config: Arc<BrokerConfig>,
    /// See [`Boot::seed`].
    pub seed: [u8; 32],
    /// A CPU for each shard.
    pub cpus: Vec<usize>,
    /// Whether each shard's thread is bound to its CPU.
    pub pin: bool,
    /// How long a shard looks for work before it sleeps.
    pub spin: Duration,
    /// How long a CPU may take to wake up while there are requests, in microseconds; `None`: as the system has it.
    pub cpu_latency_us: Option<u32>,
    /// Bound and listening, in the order of [`BrokerConfig::listeners`].
    pub listeners: Vec<TcpListener>,
}

/// What the shards have to say to the node.
#[derive(Debug)]
pub enum Event {
    /// Every shard is ready; clients are accepted.
    Ready,
    /// Every shard has stopped after [`Shards::shutdown`].
    Stopped,
    /// The broker cannot go on.
    Fatal(String),
}

/// What all shards share: counts of how far they are.
#[derive(Debug)]
pub struct Together {
    not_ready: AtomicUsize,
    not_stopped: AtomicUsize,
    events: flume::Sender<Event>,
}

impl Together {
    pub(crate) fn ready(&self, shards: &[Sender]) {
        if self.not_ready.fetch_sub(1, Ordering::AcqRel) == 1 {
            shards[0].send(Outside::Accept);
            let _ = self.events.send(Event::Ready);
        }
    }

    pub(crate) fn stopped(&self) {
        if self.not_stopped.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.events.send(Event::Stopped);
        }
    }

    pub(crate) fn fatal(&self, message: String) {
        let _ = self.events.send(Event::Fatal(message));
    }
}

/// The running shards.
pub struct Shards {
    inboxes: Vec<Sender>,
    events: flume::Receiver<Event>,
    threads: Vec<JoinHandle<()>>,
    space: Option<(flume::Sender<()>, JoinHandle<()>)>,
}

/// A way for other threads to ask shards.
#[derive(Clone)]
pub struct Asker {
    inboxes: Vec<Sender>,
}

impl Asker {
    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// Asks a shard and waits for its answer; `None` when it has none within `patience`.
    pub fn ask(&self, shard: usize, request: AdminRequest, patience: Duration) -> Option<AdminReply> {
        let (to, from) = flume::bounded(1);
        self.inboxes[shard].send(Outside::Admin(request, to));
        from.recv_timeout(patience).ok()
    }
}

/// Starts the shards; `make` gives each its machine, on the shard's own thread.
pub fn start<M, F>(plan: Plan, make: F) -> io::Result<Shards>
where
    M: Machine + 'static,
    F: Fn(ShardId) -> M + Clone + Send + 'static,
{
    memory::keep_what_is_freed();
    let count = plan.cpus.len();
    let (events_to, events) = flume::unbounded();
    let together = Arc::new(Together {
        not_ready: AtomicUsize::new(count),
        not_stopped: AtomicUsize::new(count),
        events: events_to,
    });
    let helpers = Arc::new(Helpers::start(plan.data_dir.clone())?);
    let channels: Vec<(Sender, Inbox)> = (0..count).map(|_| inbox::channel()).collect::<io::Result<_>>()?;
    let (inboxes, receivers): (Vec<Sender>, Vec<Inbox>) = channels.into_iter().unzip();
    let (free_bytes, total_bytes) = disk_space(&plan.data_dir)?;
    let mut listeners = plan.listeners;
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let (made_to, made) = flume::bounded(count);
    for (index, (mesh, inbox)) in mesh::mesh(count).into_iter().zip(receivers).enumerate() {
        let shard = ShardId(index as u16);
        let boot = Boot { shard, shards: count as u16, config: plan.config.clone(), seed: plan.seed };
        let inputs = [Input::DiskSpace { free_bytes, total_bytes }, Input::Boot(boot)];
        let start = Start {
            shard,
            mesh,
            inbox,
            inputs: inputs.into(),
            helpers: helpers.clone(),
            witness: File::open(&plan.data_dir)?,
            inboxes: inboxes.clone(),
            together: together.clone(),
            listeners: if index == 0 { std::mem::take(&mut listeners) } else { Vec::new() },
            frame_bytes_max: plan.config.number("socket.request.max.bytes", &Dynamic::default()) as usize,
            spin: plan.spin,
            cpu_latency_us: plan.cpu_latency_us,
            cpu: plan.pin.then_some(plan.cpus[index]),
        };
        let (make, made) = (make.clone(), made_to.clone());
        let work = move || start.run(make, &made);
        threads.push(thread::Builder::new().name(format!("floe-shard-{index}")).spawn(work)?);
    }
    drop(made_to);
    for _ in 0..count {
        made.recv().expect("each thread says how making its ring went")?;
    }
    let space = watch_space(plan.data_dir, inboxes.clone())?;
    Ok(Shards { inboxes, events, threads, space: Some(space) })
}

/// What a shard's thread begins with.
struct Start {
    shard: ShardId,
    mesh: Mesh,
    inbox: Inbox,
    inputs: std::collections::VecDeque<Input>,
    helpers: Arc<Helpers>,
    witness: File,
    inboxes: Vec<Sender>,
    together: Arc<Together>,
    listeners: Vec<TcpListener>,
    frame_bytes_max: usize,
    spin: Duration,
    cpu_latency_us: Option<u32>,
    cpu: Option<usize>,
}

impl Start {
    fn run<M: Machine>(self, make: impl Fn(ShardId) -> M, made: &flume::Sender<io::Result<()>>) {
        let _end = EndTogether;
        let ring = match self.pin().and_then(|()| Ring::new()) {
            Ok(ring) => ring,
            Err(error) => {
                let _ = made.send(Err(error));
                return;
            }
        };
        self.mesh.open(&ring);
        let _ = made.send(Ok(()));
        let (awake, asked) = Awake::new(self.cpu_latency_us);
        if let (0, Err(error)) = (self.shard.0, asked) {
            tracing::warn!(
                "CPUs rest between requests, as `cpu.latency.us` cannot be asked for: {error}; `floe check` says what to do"
            );
        }
        let own = self.inboxes[usize::from(self.shard.0)].clone();
        let together = self.together.clone();
        let pump = Pump {
            shard: self.shard,
            machine: make(self.shard),
            ring,
            net: Net::new(self.frame_bytes_max, self.helpers.clone(), own.clone()),
            disk: Disk::new(self.helpers, self.witness, own),
            mesh: self.mesh,
            inbox: self.inbox,
            spin: self.spin,
            awake,
            together: self.together,
            shards: self.inboxes,
            inputs: self.inputs,
            accepting: Accepting::on(self.listeners),
            asked: Slab::new(),
            measured: DriverMetrics::default(),
            leaving_ns: None,
        };
        if let Err(error) = pump.run() {
            together.fatal(format!("shard {}: the kernel refuses to run its io_uring: {error}", self.shard.0));
        }
    }

    fn pin(&self) -> io::Result<()> {
        let Some(cpu) = self.cpu else { return Ok(()) };
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        Ok(rustix::thread::sched_setaffinity(None, &set)?)
    }
}

/// A shard that panics takes the process down at once: half a broker is worse than none.
struct EndTogether;

impl Drop for EndTogether {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

impl Shards {
    /// What the shards have to say.
    pub fn events(&self) -> &flume::Receiver<Event> {
        &self.events
    }

    /// For the admin thread.
    pub fn asker(&self) -> Asker {
        Asker { inboxes: self.inboxes.clone() }
    }

    /// Asks all shards to end cleanly; [`Event::Stopped`] comes when they have.
    pub fn shutdown(&self) {
        for inbox in &self.inboxes {
            inbox.send(Outside::Shutdown);
        }
    }

    /// Ends the threads, after [`Event::Stopped`] or without.
    pub fn exit(mut self) {
        if let Some((stop, thread)) = self.space.take() {
            drop(stop);
            let _ = thread.join();
        }
        for inbox in &self.inboxes {
            inbox.send(Outside::Exit);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Free and total bytes of the data directory's file system.
fn disk_space(path: &std::path::Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}

/// Tells every shard once a second how much space there is. A thread of its own: statvfs may hang where the disk does.
fn watch_space(path: PathBuf, inboxes: Vec<Sender>) -> io::Result<(flume::Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = flume::bounded::<()>(0);
    let work = move || {
        while stopped.recv_timeout(Duration::from_secs(1)) == Err(flume::RecvTimeoutError::Timeout) {
            let Ok((free_bytes, total_bytes)) = disk_space(&path) else { continue };
            for inbox in &inboxes {
                inbox.send(Outside::DiskSpace { free_bytes, total_bytes });
            }
        }
    };
    Ok((stop, thread::Builder::new().name("floe-space".to_owned()).spawn(work)?))
}
