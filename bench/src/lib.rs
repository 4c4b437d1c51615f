//! What the benchmarks' command line is made of: brokers under measurement, loads, results.

pub mod asking;
pub mod broker;
pub mod children;
pub mod client;
pub mod compare;
pub mod disk;
pub mod figures;
pub mod fuzz;
pub mod generator;
pub mod groups;
pub mod instructions;
pub mod latency;
pub mod load;
pub mod outcome;
pub mod plot;
pub mod proc;
pub mod rebalance;
pub mod report;
pub mod restart;
pub mod run;
pub mod runtimes;
pub mod sweep;
pub mod transactions;
pub mod workload;
