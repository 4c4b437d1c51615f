//! A request's parts by the shard that owns them: what Produce, Fetch, ListOffsets and others hand to the owners.

use floe_wire::primitives::DecodeError;

use crate::event::ShardId;
use crate::limits::REQUEST_PARTITIONS_MAX;

/// Holds a request to the bound on what it may name; `partitions` are the numbers of partitions of its topics.
pub fn bounded(partitions: impl Iterator<Item = usize>) -> Result<(), DecodeError> {
    let (count, count_max) = (partitions.map(|count| count + 1).sum(), REQUEST_PARTITIONS_MAX);
    if count > count_max { Err(DecodeError::TooMany { count, count_max }) } else { Ok(()) }
}

/// Parts by owner; the parts of one owner stay in the order of the request.
#[derive(Debug)]
pub struct Split<T> {
    /// Indexed by shard. What has no part takes no memory of its own.
    by_owner: Vec<Vec<T>>,
}

impl<T> Split<T> {
    /// No parts, among so many shards.
    pub fn new(shards: u16) -> Split<T> {
        Split { by_owner: (0..shards).map(|_| Vec::new()).collect() }
    }

    /// Adds a part.
    pub fn push(&mut self, owner: ShardId, part: T) {
        self.by_owner[usize::from(owner.0)].push(part);
    }

    /// The shards that own parts.
    pub fn owners(&self) -> impl Iterator<Item = ShardId> {
        let numbered = self.by_owner.iter().zip(0..);
        numbered.filter(|(parts, _)| !parts.is_empty()).map(|(_, shard)| ShardId(shard))
    }

    /// The parts of each owner that has some.
    pub fn into_calls(self) -> impl Iterator<Item = (ShardId, Vec<T>)> {
        let numbered = self.by_owner.into_iter().zip(0..);
        numbered.filter(|(parts, _)| !parts.is_empty()).map(|(parts, shard)| (ShardId(shard), parts))
    }
}
