//! The process around the engine: configuration, boot and shutdown order, admin HTTP and the command line.
//!
//! Exists once per node. The data path is not here: it runs in `floe-reactor`, which drives `floe-engine`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod node;
pub mod problem;
