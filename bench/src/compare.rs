//! `bench compare`: Floe and Kafka in turns (A B C D A B C D ...) on the same workloads, within one run, on the same cores.
//!
//! The brokers stay up side by side, each waiting without load while another one is measured, so that the turns of a row are seconds apart and
//! what changes on the machine hits all of them. Every run is kept when it ends; an interrupted comparison goes on from there.

pub mod book;
pub mod quiet;
pub mod rows;
pub mod spread;
