//! The load generator.

mod consumer;
mod meter;
mod producer;
mod queue;
pub mod records;
pub mod schedule;
mod socket;
mod topics;
mod wire;
