//! The closed set of things that can happen to a shard ([`Input`]) and of things a shard can ask for ([`Effect`]).
//!
//! The contract between the engine and its drivers (`floe-reactor`, `floe-sim`):
//! - A driver calls [`Machine::handle`] for each input, any number of times, then [`Machine::end_of_round`] once, then
//!   carries out the effects in order. The journal commit of a round is made in `end_of_round`.
//! - Nothing waits inside `handle`. What must wait is a struct of the engine, resumed by a later input.
//! - Disk operations complete in any order. The engine orders by issuing an operation only after the one it depends on.
//! - Replies on one connection leave in the order of the [`Effect::Reply`]s for it.
//! - A connection is named by its [`ConnId`] until `Disconnected` went in (whoever closed); ids are not reused while
//!   effects for the old one may be under way, and effects for an unknown id are dropped by the driver.
//! - A connection changes shards in four steps: [`Effect::Detach`], [`Input::Detached`], [`Effect::Attach`], [`Input::Attached`]. From
//!   `Detach` on the driver reads no more of it; frames read before come in before `Detached`. When it ends before `Detached`,
//!   `Disconnected` comes instead. `Detached` is answered by `Attach` in the same round; until it has come to the other shard nobody looks whether it
//!   lives, so `Attached` always comes, under a new id.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::BrokerConfig;
use crate::mesh::MeshMsg;
use crate::metrics::ShardMetrics;
use crate::time::{Deadline, Time};

/// What a driver drives: [`crate::shard::Shard`] in production, small machines in the drivers' own tests.
pub trait Machine {
    /// Takes one input in and appends the effects it calls for.
    fn handle(&mut self, now: Time, input: Input, effects: &mut Effects);
    /// Ends a round of inputs: whatever gains from being done once for many inputs (the journal commit) happens here.
    fn end_of_round(&mut self, now: Time, effects: &mut Effects);
    /// When the machine wants an [`Input::Timer`] at the latest; `None` when only other inputs can move it.
    fn next_deadline(&self) -> Option<Deadline>;
}

/// The effects of a round, in the order in which they are to be carried out.
pub type Effects = Vec<Effect>;

/// Index of a shard (a core) in this process, from 0. Shard 0 is also the controller (owner of the metadata log).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A client connection, unique on its shard for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// An operation that the engine awaits, unique on its shard for the life of the process; chosen by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The first input of a shard: who it is. It recovers by disk effects and says [`Effect::Ready`] when it can serve.
    Boot(Boot),
    /// A client connected on listener `listener` (index into [`BrokerConfig::listeners`]).
    Connected {
        /// The new connection.
        conn: ConnId,
        /// The client's address.
        peer: SocketAddr,
        /// Which listener it came in on: it is told that listener's advertised addresses.
        listener: u16,
    },
    /// One whole request: the bytes after the 4-byte size, at least 4 and at most `socket.request.max.bytes`.
    Frame {
        /// On which connection.
        conn: ConnId,
        /// The request; dropping every slice of it frees the receive buffer.
        frame: Bytes,
    },
    /// The bytes of one earlier [`Effect::Reply`] have all been handed to the kernel (its buffers are free again).
    ReplySent {
        /// On which connection.
        conn: ConnId,
        /// How many bytes that reply had.
        bytes: u64,
    },
    /// The connection is gone (closed by the client, by an error, or after [`Effect::Close`]).
    Disconnected {
        /// Which.
        conn: ConnId,
    },
    /// The answer to [`Effect::Detach`]: nothing of the connection is under way, and all frames that were read of it have come in.
    Detached {
        /// Which.
        conn: ConnId,
    },
    /// Another shard gave a connection up with [`Effect::Attach`]; what was read of it and was no whole frame yet has come along.
    Attached {
        /// Its name here.
        conn: ConnId,
        /// As it was given.
        luggage: Luggage,
    },
    /// A message from another shard of this process. Messages from one shard arrive in the order sent.
    Mesh {
        /// The sender.
        from: ShardId,
        /// What it says.
        msg: MeshMsg,
    },
    /// A disk operation ended.
    DiskDone {
        /// The id given with [`Effect::Disk`].
        op: OpId,
        /// How.
        result: Result<DiskOutput, DiskError>,
    },
    /// Space on the data directory's file system; comes once before `Boot` and about once a second after.
    DiskSpace {
        /// Bytes an unprivileged process could still write.
        free_bytes: u64,
        /// Size of the file system in bytes.
        total_bytes: u64,
    },
    /// A deadline may have come. Harmless when none has.
    Timer,
    /// A question from the admin thread.
    Admin {
        /// Comes back with [`Effect::AdminReply`].
        token: u64,
        /// The question.
        request: AdminRequest,
    },
    /// End cleanly: answer what can be answered, make everything durable, then say [`Effect::Stopped`].
    Shutdown,
}

/// Who a shard is.
#[derive(Clone, Debug)]
pub struct Boot {
    /// This shard.
    pub shard: ShardId,
    /// How many shards this process runs; at least 1.
    pub shards: u16,
    /// The broker's settings, the same on every shard.
    pub config: Arc<BrokerConfig>,
    /// Different in every start of the process and impossible to guess: seeds topic ids and hash maps of client-chosen keys.
    pub seed: [u8; 32],
}

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Recovery is over; the driver may accept connections (once every shard has said so).
    Ready,
    /// Send `reply` on `conn`, after the replies before it. The 4-byte size prefix is part of it.
    Reply {
        /// On which connection.
        conn: ConnId,
        /// What.
        reply: Reply,
    },
    /// Close the connection; what was to be sent before is sent first, as far as the socket takes it.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Stop reading from the connection until [`Effect::ResumeReads`] (TCP pushes back on the client).
    PauseReads {
        /// Which.
        conn: ConnId,
    },
    /// Read from the connection again.
    ResumeReads {
        /// Which.
        conn: ConnId,
    },
    /// Let the connection come to rest: stop reading from it, and say [`Input::Detached`] when nothing of it is under way. Asked only
    /// when every reply has been sent.
    Detach {
        /// Which.
        conn: ConnId,
    },
    /// Hand the connection, which is at rest after [`Input::Detached`], to another shard.
    Attach {
        /// Which; the name ends here.
        conn: ConnId,
        /// The receiver. Never this shard itself.
        to: ShardId,
        /// Comes out with [`Input::Attached`].
        luggage: Luggage,
    },
    /// Stop (`open: false`) or go on (`open: true`) reading from every connection of this shard: its memory budget is spent.
    Admission {
        /// Whether sockets are read.
        open: bool,
    },
    /// Hand a message to another shard. Never to itself.
    Mesh {
        /// The receiver.
        to: ShardId,
        /// What.
        msg: MeshMsg,
    },
    /// Do a disk operation and answer with [`Input::DiskDone`].
    Disk {
        /// Comes back with the result.
        op: OpId,
        /// What.
        what: DiskOp,
    },
    /// The answer to [`Input::Admin`].
    AdminReply {
        /// As it came.
        token: u64,
        /// The answer.
        reply: AdminReply,
    },
    /// Write a line to the log. The engine has no clock and no I/O, so its words go through the driver.
    Log {
        /// How important.
        level: LogLevel,
        /// The line, complete in itself (topic-partition, offset, what the operator can do).
        line: String,
    },
    /// The broker cannot go on (its metadata log failed, its data directory is of a newer format): end the process with this message.
    Fatal {
        /// What happened and what the operator can do.
        message: String,
    },
    /// The answer to [`Input::Shutdown`]: everything is durable.
    Stopped,
}

/// Importance of an [`Effect::Log`] line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is broken and needs the operator.
    Error,
    /// Something is odd or will become a problem.
    Warn,
    /// A normal event that an operator wants to see.
    Info,
    /// For those who look for a fault.
    Debug,
}

/// A gather list: sent part by part, in order.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The parts.
    pub parts: Vec<ReplyPart>,
}

impl Reply {
    /// Length of all parts in bytes.
    pub fn len(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| match part {
                ReplyPart::Mem(bytes) => bytes.len() as u64,
                ReplyPart::File(range) => range.len,
            })
            .sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One part of a [`Reply`].
#[derive(Clone, Debug)]
pub enum ReplyPart {
    /// Bytes in memory, sent by reference.
    Mem(Bytes),
    /// Bytes of a file, sent without passing through user space. If they cannot be read in full the driver closes the
    /// connection: the length has been promised already.
    File(FileRange),
}

/// A range of bytes of an open file. Holding it keeps the file open (even when it was removed meanwhile).
#[derive(Clone, Debug)]
pub struct FileRange {
    /// Which file.
    pub file: FileHandle,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; never 0.
    pub len: u64,
}

/// An open file, as the driver gave it out in [`DiskOutput::Opened`]. Opaque to the engine; dropping the last clone closes it.
/// It may travel to another shard inside a mesh message and be used in effects there.
#[derive(Clone)]
pub struct FileHandle(Arc<dyn Any + Send + Sync>);

impl FileHandle {
    /// For drivers: wraps whatever the driver means by an open file.
    pub fn new<T: Any + Send + Sync>(file: T) -> FileHandle {
        FileHandle(Arc::new(file))
    }

    /// For drivers: what [`FileHandle::new`] wrapped, `None` when it was another type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// Whether both are the same opening of the same file.
    pub fn same(&self, other: &FileHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHandle({:p})", Arc::as_ptr(&self.0))
    }
}

/// What a machine keeps of a connection, on its way to another shard. Opaque to drivers.
pub struct Luggage(Box<dyn Any + Send>);

impl Luggage {
    /// Packs.
    pub fn new<T: Any + Send>(what: T) -> Luggage {
        Luggage(Box::new(what))
    }

    /// Unpacks what [`Luggage::new`] packed.
    ///
    /// # Panics
    /// When it was another type: all shards run the same machine.
    pub fn open<T: Any>(self) -> T {
        *self.0.downcast().expect("every shard packs the same")
    }
}

impl fmt::Debug for Luggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Luggage")
    }
}

/// A disk operation. Paths are relative to the data directory, with `/`, without `..`.
#[derive(Clone, Debug)]
pub enum DiskOp {
    /// Opens a file for reading and writing. Gives [`DiskOutput::Opened`].
    Open {
        /// Which.
        path: String,
        /// Create it (and the folders above it) when it is not there. Its name is durable when the operation ends, also if it was
        /// there and a process that was killed had made it.
        create: bool,
        /// Open with O_DIRECT: every read and write has offset, length and memory in multiples of [`crate::limits::BLOCK_BYTES`].
        /// Without: through the page cache (what sendfile needs).
        direct: bool,
    },
    /// Reserves `len` bytes from `offset` on disk (fallocate(2)). Fails when there is no space. A hint otherwise: where the file system cannot
    /// reserve, nothing happens. Not durable before the next sync. Gives [`DiskOutput::Done`].
    Preallocate {
        /// Which.
        file: FileHandle,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// Also make the file that long; what was not written reads as zeros. Writes there are no changes of the file's size, which io_uring leaves to a
        /// thread of its own: for many small ones.
        grow: bool,
    },
    /// Writes `len` zero bytes from `offset` and makes them durable, so that later writes there change no file metadata. Gives [`DiskOutput::Done`].
    WriteZeros {
        /// Which.
        file: FileHandle,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Writes all of `data`. Gives [`DiskOutput::Done`]; a short write is completed by the driver or ends in an error.
    Write {
        /// Which.
        file: FileHandle,
        /// Where.
        offset: u64,
        /// What. For a direct file its memory is aligned ([`crate::limits::BLOCK_BYTES`]).
        data: Bytes,
        /// Durable when the operation ends (`RWF_DSYNC`). Says nothing about earlier writes without it.
        dsync: bool,
    },
    /// Makes all writes that ended before durable (fdatasync). Gives [`DiskOutput::Done`].
    Sync {
        /// Which.
        file: FileHandle,
    },
    /// The same for many files; cheaper than one after the other. When it fails, none of them can be trusted, nor perhaps is it one of them
    /// that failed. Gives [`DiskOutput::Done`].
    SyncAll {
        /// Which; at least one.
        files: Vec<FileHandle>,
    },
    /// Reads up to `len` bytes; fewer only at the end of the file. Gives [`DiskOutput::Data`].
    Read {
        /// Which.
        file: FileHandle,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// What the device is asked for at once, in bytes, whole blocks: the next piece follows when the last one has come, so that the writes of
        /// others get between. [`DiskOp::WHOLE`]: all.
        piece: u64,
    },
    /// Sets the file's size, durably. Gives [`DiskOutput::Done`].
    Truncate {
        /// Which.
        file: FileHandle,
        /// New size in bytes.
        len: u64,
    },
    /// Reads a small file whole. Gives [`DiskOutput::Data`], an error of kind `NotFound`, or `TooLarge` past `bytes_max`.
    ReadFile {
        /// Which.
        path: String,
        /// Bound.
        bytes_max: u64,
    },
    /// Replaces a small file as one step: after a crash there is the old content or the new, whole; when the operation has ended, the new. Folders above
    /// it are created. Gives [`DiskOutput::Done`].
    ReplaceFile {
        /// Which.
        path: String,
        /// New content.
        data: Bytes,
    },
    /// Removes a file or a folder with all in it, durably; not there is no error. Gives [`DiskOutput::Done`].
    Remove {
        /// Which.
        path: String,
    },
    /// Lists a folder; not there is an empty list. Gives [`DiskOutput::Entries`].
    List {
        /// Which.
        path: String,
    },
}

impl DiskOp {
    /// [`DiskOp::Read::piece`] of a read that asks for everything at once.
    pub const WHOLE: u64 = u64::MAX;
}

/// What a disk operation gave.
#[derive(Clone, Debug)]
pub enum DiskOutput {
    /// It was done.
    Done,
    /// The file is open.
    Opened {
        /// The file.
        file: FileHandle,
        /// Its size in bytes.
        len: u64,
    },
    /// What was read. From a direct file the memory is aligned.
    Data(Bytes),
    /// What is in the folder, in the order of names.
    Entries(Vec<DirEntry>),
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, without the folder's.
    pub name: String,
    /// Size in bytes (0 for a folder).
    pub len: u64,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// Why a disk operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What the engine may decide by.
    pub kind: DiskErrorKind,
    /// For people: the operation, the path where known, the system's words.
    pub message: String,
}

/// The kinds of disk failure that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// No such file.
    NotFound,
    /// The file system (or a quota) is full.
    NoSpace,
    /// Larger than the caller's bound.
    TooLarge,
    /// Everything else: the data can no longer be trusted to be where it should be.
    Io,
}

/// What the admin thread may ask a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// All counters and histograms.
    Metrics,
    /// Whether recovery is over and the journal is trusted.
    Ready,
}

/// A shard's answer to the admin thread.
#[derive(Debug)]
pub enum AdminReply {
    /// All counters and histograms, at this moment.
    Metrics(Box<ShardMetrics>),
    /// Whether the shard serves; the reason when not.
    Ready(Result<(), String>),
}
