//! A whole Floe node in one thread: the broker's engine under virtual time, a faulty disk and a faulty network, with clients that know what they
//! may expect. One 64-bit seed decides everything; the same seed is the same run.
#![forbid(unsafe_code)]

pub mod bare;
pub mod broker;
pub mod content;
pub mod disk;
pub mod kind;
pub mod life;
pub mod mutant;
pub mod net;
pub mod oracle;
pub mod rng;
pub mod run;
pub mod settings;
pub mod trace;
pub mod workload;
pub mod world;
