//! Real clients against a real broker: the built `floe`, on ports and data of its own for each test (`broker.rs`), and the clients that
//! `tools.sh` gets into `.cache`.
//!
//! `scripts/dev e2e HOST:PORT` points the tests of `exchange.rs` at another broker; against Apache Kafka they show that they ask for
//! nothing but Kafka's behaviour.

mod behaviour;
mod broker;
mod clients;
mod connections;
mod crash;
mod delivery;
mod exactly_once;
mod exchange;
mod groups;
mod hostile;
mod load;
mod moving;
mod restart;
mod storage;
mod transactions;
mod volume;
mod why_slow;
