//! What may go wrong with the simulated disk: the rates of faults while it runs, the ways in which it stops, and the record of what really happened.

/// What may go wrong while the node runs. All zero: nothing.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// Shortest time of an operation in nanoseconds.
    pub latency_ns_min: u64,
    /// Longest time of a usual operation in nanoseconds.
    pub latency_ns_max: u64,
    /// Operations per million that take [`DiskFaults::spike_ns`].
    pub spike_ppm: u32,
    /// Longest time of a slow operation in nanoseconds.
    pub spike_ns: u64,
    /// Reads per million that give EIO.
    pub eio_read_ppm: u32,
    /// Writes per million that give EIO.
    pub eio_write_ppm: u32,
    /// Syncs per million that give EIO.
    pub eio_sync_ppm: u32,
    /// Directory operations (open, truncate, replace, remove, list) per million that give EIO.
    pub eio_directory_ppm: u32,
    /// Writes per million that land elsewhere in the same file.
    pub misdirect_ppm: u32,
    /// Size of the file system in bytes.
    pub capacity_bytes: u64,
    /// A breach of the contract, for the oracle's own tests.
    pub breach: Option<Breach>,
}

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        DiskFaults {
            latency_ns_min: 20_000,
            latency_ns_max: 300_000,
            spike_ppm: 0,
            spike_ns: 100_000_000,
            eio_read_ppm: 0,
            eio_write_ppm: 0,
            eio_sync_ppm: 0,
            eio_directory_ppm: 0,
            misdirect_ppm: 0,
            capacity_bytes: 1 << 40,
            breach: None,
        }
    }
}

/// Ways in which the disk can break its contract so that the oracle must find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A write with `dsync` is not durable.
    DsyncIsNotDurable,
    /// A sync does nothing.
    SyncDoesNothing,
    /// Bytes that go out by sendfile have a flipped bit now and then, which no checksum in the broker can see.
    SendfileFlipsBits,
}

/// How the node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// The process is killed: what ended is in the page cache.
    Process,
    /// The machine stops: only durable content is certain.
    Power,
}

/// Where around an operation the node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPhase {
    /// It was asked for, nothing of it happened.
    Before,
    /// A part of it may have happened.
    Middle,
    /// It happened, but its end was not seen.
    After,
}

/// The kinds of file that damage is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A journal file.
    Journal,
    /// A shard's checkpoint.
    Checkpoint,
    /// The metadata log or its snapshot.
    Metadata,
    /// A segment.
    Segment,
    /// A segment's index.
    Index,
    /// Anything else.
    Other,
}

impl FileKind {
    /// The kind of the file at `path`.
    pub fn of(path: &str) -> FileKind {
        if path.starts_with("metadata/") {
            FileKind::Metadata
        } else if path.starts_with("partitions/") {
            if path.ends_with(".log") { FileKind::Segment } else { FileKind::Index }
        } else if path.starts_with("journal/") {
            if path.contains("checkpoint") { FileKind::Checkpoint } else { FileKind::Journal }
        } else {
            FileKind::Other
        }
    }
}

/// A fault that really happened, for the oracle (which excuses only what a fault explains) and for people.
#[derive(Clone, Debug)]
pub struct Injected {
    /// What.
    pub kind: InjectedKind,
    /// Which file, as it was named then.
    pub path: String,
    /// Where, in bytes.
    pub offset: u64,
    /// Whether what was hit is among the last writes to a journal, where no later write vouches for it: nobody can tell it from a torn write.
    pub recent: bool,
}

/// Kinds of [`Injected`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InjectedKind {
    /// EIO on a read.
    ReadError,
    /// EIO on a write.
    WriteError,
    /// EIO on a sync.
    SyncError,
    /// EIO on a directory operation.
    DirectoryError,
    /// ENOSPC.
    NoSpace,
    /// A write landed elsewhere.
    Misdirected,
    /// Content changed at rest.
    Damaged,
    /// A sector became unreadable.
    BadSector,
}
