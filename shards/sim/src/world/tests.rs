//! The world driven with a small machine: it appends each frame durably to a file of its shard and echoes it out of that file.

use std::collections::BTreeMap;

use floe_engine::config::{BrokerConfig, Listener};
use floe_engine::event::{ConnId, DiskOp, DiskOutput, FileHandle, FileRange, Reply, ReplyPart};

use super::*;
use crate::disk::{Breach, CrashPhase, DiskFaults};
use crate::net::NetFaults;

/// A broker of one idea: a frame is appended to `s<shard>/log` with DSYNC, then echoed out of the file.
#[derive(Default)]
struct Echo {
    shard: u16,
    file: Option<FileHandle>,
    end: u64,
    next_op: u64,
    writing: BTreeMap<u64, (ConnId, u64, u64)>,
    queued: Vec<(ConnId, Bytes)>,
    stopping: bool,
}

impl Echo {
    fn append(&mut self, conn: ConnId, frame: Bytes, effects: &mut Effects) {
        let file = self.file.clone().expect("open");
        let mut data = (frame.len() as u32).to_be_bytes().to_vec();
        data.extend_from_slice(&frame);
        self.next_op += 1;
        self.writing.insert(self.next_op, (conn, self.end, data.len() as u64));
        let (offset, data) = (self.end, Bytes::from(data));
        self.end += data.len() as u64;
        effects.push(Effect::Disk { op: OpId(self.next_op), what: DiskOp::Write { file, offset, data, dsync: true } });
    }
}

impl Machine for Echo {
    fn handle(&mut self, _now: Time, input: Input, effects: &mut Effects) {
        match input {
            Input::Boot(boot) => {
                self.shard = boot.shard.0;
                let path = format!("s{}/log", self.shard);
                effects.push(Effect::Disk { op: OpId(0), what: DiskOp::Open { path, create: true, direct: false } });
            }
            Input::DiskDone { op: OpId(0), result } => match result.expect("no faults on open here") {
                DiskOutput::Opened { file, len } => {
                    (self.file, self.end) = (Some(file), len);
                    effects.push(Effect::Ready);
                }
                other => panic!("{other:?}"),
            },
            Input::Frame { conn, frame } => self.queued.push((conn, frame)),
            Input::DiskDone { op, result } => {
                let (conn, offset, len) = self.writing.remove(&op.0).expect("known");
                if result.is_err() {
                    return effects.push(Effect::Close { conn });
                }
                let file = self.file.clone().expect("open");
                let reply = Reply { parts: vec![ReplyPart::File(FileRange { file, offset, len })] };
                effects.push(Effect::Reply { conn, reply });
            }
            Input::Shutdown => self.stopping = true,
            _ => {}
        }
        if self.stopping && self.writing.is_empty() {
            effects.push(Effect::Stopped);
        }
    }

    fn end_of_round(&mut self, _now: Time, effects: &mut Effects) {
        for (conn, frame) in std::mem::take(&mut self.queued) {
            self.append(conn, frame, effects);
        }
    }

    fn next_deadline(&self) -> Option<Deadline> {
        None
    }
}

fn world(seed: u64, faults: DiskFaults) -> World<Echo> {
    let mut rng = Rng::new(seed);
    let disk = Disk::new(rng.fork(), faults);
    let net = Net::new(rng.fork(), NetFaults::default());
    World::new(rng, disk, net, Trace::new(false, 0), |_| Echo::default())
}

fn config() -> Arc<BrokerConfig> {
    Arc::new(crate::settings::small(
        &mut Rng::new(1),
        vec![Listener {
            name: "PLAINTEXT".into(),
            bind_host: "127.0.0.1".into(),
            bind_port: 9092,
            advertised_host: "127.0.0.1".into(),
            advertised_port: 9092,
        }],
    ))
}

/// Sends `frames` numbered frames over one connection and a crash or two; gives the acknowledged ones and the trace's hash.
fn drive(seed: u64, faults: DiskFaults, crash_at: Option<(u64, CrashPhase)>) -> (Vec<u32>, World<Echo>) {
    let mut world = world(seed, faults);
    if let Some((n, phase)) = crash_at {
        world.disk.crash_at(n, phase);
    }
    world.boot(2, &config());
    let (mut link, mut acked) = (None, Vec::new());
    for _ in 0..10_000 {
        let Some(happening) = world.step() else { break };
        match happening {
            Happening::Ready => {
                link = world.connect();
                for i in 0..40u32 {
                    world.send(link.expect("ready"), Bytes::copy_from_slice(&[i.to_be_bytes(); 8].concat()));
                }
            }
            Happening::Frame { frame, .. } => {
                acked.push(u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]));
                if acked.len() == 40 {
                    world.crash(CrashKind::Power);
                    break;
                }
            }
            Happening::Closed { link: closed } if Some(closed) == link => break,
            Happening::Crashed => {}
            _ => {}
        }
    }
    (acked, world)
}

/// The frames found in the files after a restart would be.
fn stored(world: &World<Echo>) -> Vec<u32> {
    let files = ["s0/log", "s1/log"].iter().filter_map(|path| world.disk.content(path));
    files
        .flat_map(|content| {
            content.chunks(36).filter(|c| c.len() == 36).map(|c| u32::from_be_bytes([c[4], c[5], c[6], c[7]]))
        })
        .collect()
}

#[test]
fn frames_go_in_and_replies_come_out_of_the_file() {
    let (mut acked, world) = drive(1, DiskFaults::default(), None);
    acked.sort();
    assert_eq!(acked, (0..40).collect::<Vec<_>>());
    assert!(acked.iter().all(|frame| stored(&world).contains(frame)));
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_operation() {
    for n in 1..44 {
        for phase in [CrashPhase::Before, CrashPhase::Middle, CrashPhase::After] {
            let (acked, world) = drive(n, DiskFaults::default(), Some((n, phase)));
            let stored = stored(&world);
            assert!(acked.iter().all(|frame| stored.contains(frame)), "operation {n} {phase:?}");
        }
    }
}

#[test]
fn a_disk_that_lies_about_dsync_is_found_out() {
    let faults = DiskFaults { breach: Some(Breach::DsyncIsNotDurable), ..DiskFaults::default() };
    let lost = (0..20).any(|seed| {
        let (acked, world) = drive(seed, faults.clone(), None);
        let stored = stored(&world);
        acked.iter().any(|frame| !stored.contains(frame))
    });
    assert!(lost);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let hash = |seed| {
        let (_, world) = drive(seed, DiskFaults { eio_write_ppm: 20_000, ..DiskFaults::default() }, None);
        (world.trace.hash(), world.trace.events())
    };
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}
