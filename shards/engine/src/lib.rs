//! Every decision a Floe broker takes, as synchronous state machines: no I/O, no clock, no randomness, no thread.
//!
//! Two drivers run this one engine: the reactor (io_uring, real time) and the simulator (virtual time, faulty disk and
//! network). Read [`event`] first.
#![forbid(unsafe_code)]

mod addresses;
mod batch;
pub mod config;
mod connection;
pub mod event;
mod expressions;
pub mod group;
pub mod hosted;
mod idle;
pub mod limits;
pub mod log;
pub mod mesh;
pub mod metadata;
pub mod metrics;
mod moves;
mod owner;
pub mod partition;
mod pressure;
pub mod producers;
mod requests;
pub mod shard;
pub mod space;
pub mod time;
pub mod txn;
pub mod uuids;

pub use requests::ANSWERED;
