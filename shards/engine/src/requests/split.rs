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
    shards: u16,
    /// The owner met first: nearly always the only one, and then nothing is needed for the others.
    first: Option<(ShardId, Vec<T>)>,
    /// Indexed by shard, from the second owner on. What has no part takes no memory of its own.
    others: Vec<Vec<T>>,
}

impl<T> Split<T> {
    /// No parts, among so many shards.
    pub fn new(shards: u16) -> Split<T> {
        Split { shards, first: None, others: Vec::new() }
    }

    /// Adds a part.
    pub fn push(&mut self, owner: ShardId, part: T) {
        match &mut self.first {
            None => self.first = Some((owner, vec![part])),
            Some((first, parts)) if *first == owner => parts.push(part),
            Some(_) => {
                if self.others.is_empty() {
                    self.others.resize_with(usize::from(self.shards), Vec::new);
                }
                self.others[usize::from(owner.0)].push(part);
            }
        }
    }

    /// The shards that own parts.
    pub fn owners(&self) -> impl Iterator<Item = ShardId> {
        let others = self.others.iter().zip(0..).filter(|(parts, _)| !parts.is_empty());
        self.first.iter().map(|(owner, _)| *owner).chain(others.map(|(_, shard)| ShardId(shard)))
    }

    /// The parts of each owner that has some.
    pub fn into_calls(self) -> impl Iterator<Item = (ShardId, Vec<T>)> {
        let others = self.others.into_iter().zip(0..).map(|(parts, shard)| (ShardId(shard), parts));
        self.first.into_iter().chain(others.filter(|(_, parts)| !parts.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_to_their_owners_in_order() {
        let mut split = Split::new(3);
        assert_eq!(split.owners().count(), 0);
        for (owner, part) in [(2, 'a'), (0, 'b'), (2, 'c'), (0, 'd')] {
            split.push(ShardId(owner), part);
        }
        assert!(split.owners().eq([ShardId(2), ShardId(0)]));
        let calls: Vec<_> = split.into_calls().collect();
        assert_eq!(calls, [(ShardId(2), vec!['a', 'c']), (ShardId(0), vec!['b', 'd'])]);
    }
}
