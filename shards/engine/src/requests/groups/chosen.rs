//! Which of the partitions that a commit names are asked of the group, whether it commits in a transaction or not: what is not there is answered at once, the
//! rest when the group has answered.

use std::sync::Arc;

use super::super::codes;
use crate::group::api::{CommitTopic, GroupAnswer};
use crate::metadata::Topic;

/// A partition as a client names it: its number, offset, leader epoch and metadata.
pub(super) type AskedPartition<'a> = (i32, i64, i32, Option<&'a str>);

/// What is asked of the group, topic by topic in the order of the request.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    topics: Vec<CommitTopic>,
    places: Places,
    /// Topics of the answer so far.
    answered: usize,
}

/// For each topic that was asked of the group: its place in the answer, and its partitions' places in that.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<(usize, Vec<usize>)>);

impl Chosen {
    /// The next topic that the client names, as it was found or why not. Gives its partitions' codes: NONE for those that the group is to answer.
    pub(super) fn take<'a>(
        &mut self,
        found: Result<Arc<Topic>, i16>,
        named: impl ExactSizeIterator<Item = AskedPartition<'a>>,
    ) -> Vec<i16> {
        let (mut partitions, mut places) = (Vec::new(), Vec::new());
        let mut codes = Vec::with_capacity(named.len());
        for (partition, offset, leader_epoch, metadata) in named {
            codes.push(match &found {
                Ok(topic) if topic.has(partition) => {
                    places.push(codes.len());
                    partitions.push((partition, offset, leader_epoch, metadata.unwrap_or_default().into()));
                    codes::NONE
                }
                Ok(_) => codes::UNKNOWN_TOPIC_OR_PARTITION,
                Err(code) => *code,
            });
        }
        if let (Ok(topic), false) = (found, partitions.is_empty()) {
            self.places.0.push((self.answered, places));
            self.topics.push(CommitTopic { name: topic.name.as_str().into(), id: topic.id, partitions });
        }
        self.answered += 1;
        codes
    }

    /// What the group is asked, and where its codes go. `None`: topics were named, and nothing of them is there.
    pub(super) fn asked(self) -> Option<(Vec<CommitTopic>, Places)> {
        (!self.topics.is_empty() || self.answered == 0).then_some((self.topics, self.places))
    }
}

impl Places {
    /// Puts the group's codes into the answer: topic, partition, code.
    pub(super) fn fill(&self, answer: GroupAnswer, mut put: impl FnMut(usize, usize, i16)) {
        let GroupAnswer::Committed(committed) = answer else { unreachable!("{answer:?} to a commit") };
        for ((topic, places), codes) in self.0.iter().zip(committed) {
            places.iter().zip(codes).for_each(|(place, code)| put(*topic, *place, code));
        }
    }
}
