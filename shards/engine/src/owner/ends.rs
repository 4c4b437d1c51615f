//! Committed offsets and the ends of their partitions: the auditor asks the owners, all of a second together, and nobody waits for it. Part of the
//! [`super::Owner`].
//!
//! What is committed and then reached by the partition within that second is not noticed; nothing is told that is not so.

use std::time::Duration;

use super::calls::{ByOwner, Calls};
use super::hosts::GroupHost;
use crate::event::ShardId;
use crate::group::Look;
use crate::limits::{OFFSET_LOOKS_MAX, OFFSET_LOOKS_MS};
use crate::mesh::{Errand, Seen, Visit, Visited};
use crate::metadata::Image;
use crate::time::{Deadline, Time};

/// Looks under way, and those of the next round.
#[derive(Debug, Default)]
pub struct Ends {
    next: Vec<Look>,
    /// When that begins; there is one exactly while something waits for it.
    at: Option<Deadline>,
    calls: Calls<Look>,
}

impl Ends {
    /// Takes what was committed, and gives the calls of a round that is due: receiver, token and visits.
    pub fn calls(
        &mut self,
        now: Time,
        host: &mut GroupHost,
        image: &Image,
        shards: u16,
    ) -> Vec<(ShardId, u64, Vec<Visit>)> {
        self.next.extend(host.coordinator.take_looks());
        self.next.truncate(OFFSET_LOOKS_MAX);
        if self.next.is_empty() {
            return Vec::new();
        }
        let at = *self.at.get_or_insert_with(|| now.after(Duration::from_millis(OFFSET_LOOKS_MS)));
        if !now.reached(at) {
            return Vec::new();
        }
        self.at = None;
        let mut by_owner: ByOwner<Visit, Look> = ByOwner::new();
        for look in self.next.drain(..) {
            let topic = image.topic_by_id(look.topic_id).filter(|topic| topic.has(look.partition));
            let Some(topic) = topic else { continue };
            let (visits, looks) = by_owner.entry(topic.shard_of(look.partition, shards)).or_default();
            let at = visits.len() as u32;
            visits.push(Visit { at, topic: topic.id, partition: look.partition, errand: Errand::End });
            looks.push(look);
        }
        self.calls.begin(by_owner)
    }

    /// An owner has answered. What is not there any more, or failed, has no end to compare with.
    pub fn visited(&mut self, host: &mut GroupHost, token: u64, visited: &[Visited]) {
        let looks = self.calls.end(token);
        let seen = visited.iter().filter_map(|Visited { at, result }| match result {
            Ok(Seen::End(end)) => Some((&looks[*at as usize], *end)),
            _ => None,
        });
        host.coordinator.looked(seen);
    }

    /// When the next round begins.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.at
    }
}
