//! The load generator.

pub mod records;
pub mod schedule;
