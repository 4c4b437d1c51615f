//! One life of the node: how long it is, which faults it has, how it ends, what is damaged after it.

use crate::disk::{CrashKind, CrashPhase, Disk, FileKind};
use crate::rng::Rng;

/// One life of the node.
#[derive(Clone, Debug)]
pub struct Life {
    /// Shards it runs with.
    pub shards: u16,
    /// How long it is, from boot, in nanoseconds of virtual time.
    pub length_ns: u64,
    /// How it ends.
    pub end: LifeEnd,
    /// How long the node is down after it, in nanoseconds.
    pub down_ns: u64,
    /// Faults of the disk while it runs.
    pub storm: Storm,
    /// What is damaged after it.
    pub damage: Vec<(FileKind, bool)>,
    /// Whether everything is audited while clients work.
    pub audit: bool,
    /// How far the host's wall clock is off, in milliseconds.
    pub wall_skew_ms: i64,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeEnd {
    /// The process is killed.
    Kill,
    /// Power is lost at some moment.
    Power,
    /// It ends this way at the n-th changing disk operation of this life (or when its time is over).
    AtOperation(u64, CrashPhase, CrashKind),
    /// It is asked to stop.
    Clean,
}

/// Faults of the disk in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storm {
    /// None.
    Calm,
    /// Errors at these rates per million: read, write, sync, directory.
    Errors(u32, u32, u32, u32),
    /// The disk is full up to this many bytes, for a while.
    Full(u64),
    /// Writes go astray at this rate per million.
    Astray(u32),
    /// Some operations take very long.
    Slow,
}

/// A chain of lives that leads to one kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Again and again: the process is killed at some operation and a checkpoint is damaged, so that the next start must build on what segments show,
    /// whether it is on the disk or not; soon after that start the power is lost.
    RescanThenPower,
}

impl Scene {
    /// The lives of a run.
    pub fn lives(self, rng: &mut Rng) -> Vec<Life> {
        let shards = rng.range(1, 2) as u16;
        let life = |rng: &mut Rng, end, length_ns, damage| Life {
            shards,
            length_ns,
            end,
            down_ns: rng.log_range(1_000, 1_000_000),
            storm: Storm::Calm,
            damage,
            audit: rng.percent(50),
            wall_skew_ms: 0,
        };
        let Scene::RescanThenPower = self;
        let mut lives = Vec::new();
        for _ in 0..rng.range(1, 3) {
            let at = LifeEnd::AtOperation(rng.range(100, 1_500), CrashPhase::After, CrashKind::Process);
            lives.push(life(rng, at, 5_000_000_000, vec![(FileKind::Checkpoint, false)]));
            let at = LifeEnd::AtOperation(rng.log_range(1, 60), CrashPhase::After, CrashKind::Power);
            lives.push(life(rng, at, 1_000_000_000, Vec::new()));
        }
        lives
    }
}

impl Life {
    /// A life of a run with this theme (0..100: what kind of fault it is about).
    pub fn draw(rng: &mut Rng, theme: u64, shards: u16) -> Life {
        let phase = *rng.pick(&[CrashPhase::Before, CrashPhase::Middle, CrashPhase::Middle, CrashPhase::After]);
        let end = match rng.below(10) {
            0..=1 => LifeEnd::Kill,
            2..=4 => LifeEnd::Power,
            5..=7 => {
                let n = if rng.percent(40) { rng.log_range(1, 60) } else { rng.range(10, 400) };
                LifeEnd::AtOperation(n, phase, if rng.percent(30) { CrashKind::Process } else { CrashKind::Power })
            }
            _ => LifeEnd::Clean,
        };
        // Four runs in ten have no fault but the crashes: what fails there is plainly wrong.
        let storm = match theme {
            40..=54 if rng.percent(60) => {
                let rate = |rng: &mut Rng| if rng.percent(50) { rng.log_range(300, 100_000) as u32 } else { 0 };
                // Syncs are few.
                let sync = if rng.percent(50) { rng.log_range(10_000, 300_000) as u32 } else { 0 };
                Storm::Errors(rate(rng), rate(rng), sync, rate(rng))
            }
            55..=64 => Storm::Full(rng.log_range(4_096, 4 << 20)),
            65..=74 => Storm::Slow,
            75..=81 if rng.percent(60) => Storm::Astray(rng.log_range(500, 20_000) as u32),
            _ => Storm::Calm,
        };
        let kinds = [FileKind::Journal, FileKind::Segment, FileKind::Segment, FileKind::Checkpoint, FileKind::Index];
        let damage = match theme {
            82..=99 if rng.percent(60) => (0..rng.range(1, 3))
                .map(|_| {
                    let kind = if rng.percent(8) { FileKind::Metadata } else { *rng.pick(&kinds) };
                    (kind, rng.percent(30))
                })
                .collect(),
            _ => Vec::new(),
        };
        Life {
            shards,
            // Some end while it starts, most while it works.
            length_ns: if rng.percent(30) {
                rng.log_range(1_000_000, 40_000_000)
            } else {
                rng.range(40_000_000, 2_000_000_000)
            },
            end,
            down_ns: rng.log_range(1_000, 100_000_000),
            storm,
            damage,
            audit: rng.percent(50),
            wall_skew_ms: if rng.percent(10) { rng.below(40_000) as i64 - 20_000 } else { 0 },
        }
    }
}

impl Storm {
    /// Lets the storm begin.
    pub fn begin(self, disk: &mut Disk) {
        let used = disk.used_bytes();
        let faults = &mut disk.faults;
        match self {
            Storm::Calm => {}
            Storm::Errors(read, write, sync, directory) => {
                (faults.eio_read_ppm, faults.eio_write_ppm) = (read, write);
                (faults.eio_sync_ppm, faults.eio_directory_ppm) = (sync, directory);
            }
            Storm::Full(free) => faults.capacity_bytes = used + free,
            Storm::Astray(ppm) => faults.misdirect_ppm = ppm,
            Storm::Slow => (faults.spike_ppm, faults.spike_ns) = (20_000, 500_000_000),
        }
    }
}
