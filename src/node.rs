//! Boot order and shutdown order.

pub mod data_dir;
