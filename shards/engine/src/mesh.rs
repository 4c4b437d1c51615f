//! The messages that shards send each other.

/// A message between shards.
#[derive(Debug)]
pub enum MeshMsg {}
