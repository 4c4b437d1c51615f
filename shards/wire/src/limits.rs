//! The bounds of decoding.

/// Elements for which an array takes memory before any has been read. Above, memory grows with what really comes.
pub const ARRAY_CAPACITY_FIRST: usize = 64;
