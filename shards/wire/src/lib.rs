//! The Kafka wire protocol: bytes to types and types to bytes, nothing else.
//!
//! No I/O, no clock, no policy. Decoders borrow from the frame and are bounded by it; encoders give a gather list.
#![forbid(unsafe_code)]

pub mod api;
pub mod batch;
pub mod compression;
pub mod consumer_protocol;
mod declare;
pub mod errors;
pub mod frame;
pub mod group_records;
pub mod ids;
pub mod limits;
pub mod messages;
#[cfg(test)]
mod oracle;
pub mod piece;
pub mod primitives;
pub mod txn_records;
