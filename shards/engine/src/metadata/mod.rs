//! The cluster's state: an image on every shard, and on shard 0 the controller that changes it, one change at a time, through
//! `metadata/log`, which a snapshot keeps short.

mod configs;
mod controller;
mod image;
mod records;
mod snapshot;

pub use configs::{ConfigChange, ConfigOp, Resource};
pub use controller::{Change, ChangeDone, Controller, NewTopic, OP_TAG, Refusal, Told};
pub use image::{Image, Topic};
pub use records::{Frame, Record, decode as decode_change, decode_within as decode_change_within};
