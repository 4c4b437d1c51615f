//! Boot order and shutdown order.

pub mod data_dir;
pub mod limits;
pub mod ports;
pub mod signals;
