//! The bounds of decoding.

/// Elements for which an array takes memory before any has been read. Above, memory grows with what really comes.
pub const ARRAY_CAPACITY_FIRST: usize = 64;

/// What the records of one batch may become when decompressed, unless the caller says otherwise.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
