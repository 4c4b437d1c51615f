//! Every bound of the reactor with its unit, and the assertions that relate them.

/// Submission queue entries of a ring. A full queue is submitted in between, so this bounds nothing but the batch.
pub const SQ_ENTRIES: u32 = 1024;

/// Completion queue entries of a ring: several completions may come per round, and overflow costs a detour through kernel memory.
pub const CQ_ENTRIES: u32 = 8192;

/// The smallest buffer that a connection reads into, in bytes; grown to what the frame under way needs.
pub const RECV_BYTES_MIN: usize = 16 << 10;

/// The largest buffer made ahead of the frames to come, on a connection whose frames are as long: a request of Kafka's default largest
/// batch (1 MiB) and what stands around it.
pub const RECV_BYTES_MAX: usize = (1 << 20) + (4 << 10);

/// What is reserved at once for a frame on its claimed size alone. A longer one grows by doubling, as its bytes arrive.
pub const FRAME_RESERVE_BYTES_MAX: usize = 2 << 20;

/// Parts of a gather list given to one sendmsg (IOV_MAX of the kernel is 1024).
pub const SEND_PARTS_MAX: usize = 256;

/// Bytes sent by one sendfile call of a helper thread before others have their turn.
pub const SENDFILE_BYTES_MAX: u64 = 1 << 20;

/// How long a helper thread waits in one sendfile for a client that does not read, in milliseconds. Then the ring waits for it.
pub const SENDFILE_WAIT_MS: u64 = 20;

/// How long after the last request CPUs are kept from resting, in nanoseconds (`cpu.latency.us`).
pub const AWAKE_NS: u64 = 100_000_000;

/// How long replies still under way keep a connection that is to be closed, in nanoseconds.
pub const CLOSE_LINGER_NS: u64 = 5_000_000_000;

/// Frames of one connection handed to the engine in one round, so that one client's pipeline does not hold up the others.
pub const FRAMES_PER_ROUND_MAX: usize = 64;

/// Messages between a pair of shards in the queue of fixed size; more wait with the sender, which reads nothing from its clients meanwhile.
pub const MESH_QUEUE_LEN: usize = 1024;

/// Bytes of one read or write submission; the kernel takes at most 2 GiB less a page.
pub const IO_BYTES_MAX: usize = 1 << 30;

/// Bytes of zeros written at once when a file is filled.
pub const ZEROS_BYTES: usize = 1 << 20;

/// Threads for file operations that block without a ring's help (open, create, truncate, rename, list).
pub const FILE_THREADS: usize = 4;

/// Threads for sendfile.
pub const SEND_THREADS: usize = 2;

/// More in the page cache than this, of whomever, and files are synced one by one rather than with all that the file system has to write.
pub const SYNCFS_DIRTY_BYTES_MAX: u64 = 256 << 20;

/// Threads that sync many files one by one.
pub const SYNC_THREADS: usize = 8;

const _: () = assert!(RECV_BYTES_MIN < RECV_BYTES_MAX && RECV_BYTES_MAX <= FRAME_RESERVE_BYTES_MAX);
const _: () = assert!(SEND_PARTS_MAX <= 1024);
const _: () = assert!(CQ_ENTRIES >= SQ_ENTRIES);
