//! The io_uring driver of the engine: one ring and one thread per shard, no async runtime, and the only `unsafe` of Floe.
//!
//! [`run::start`] starts the threads; [`pump`] is the loop; [`net`], [`disk`] and [`mesh`] are what it carries between. What a ring
//! cannot do without blocking is done by [`helpers`]. Nothing here decides anything about records, topics or clients.

pub mod awake;
mod conn;
mod disk;
mod files;
mod helpers;
mod inbox;
pub mod limits;
mod local;
pub mod memory;
mod mesh;
mod net;
mod pump;
mod ring;
pub mod run;

/// Whether the kernel gives this thread a ring as every shard needs one; the error says why not.
pub fn probe() -> std::io::Result<()> {
    ring::Ring::new().map(drop)
}
