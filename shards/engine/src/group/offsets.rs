//! The committed offsets of one group, and the auditor's eye on them: whatever takes a committed offset back or away leaves a line with its cause.
//!
//! Invariant: decisions read, only [`Offsets::apply`] writes. Who may commit is the group's to say.

use std::collections::BTreeMap;

use floe_wire::ids::TopicId;

use super::api::{Commit, FetchedTopic, GroupAnswer};
use super::records::{CommittedOffset, GroupRecord};
use super::{Caller, Context, Decision, Name};
use crate::event::LogLevel;
use crate::limits::OFFSETS_EXPIRED_AT_ONCE;
use crate::metadata::Image;
use crate::requests::codes;

/// From when `offsets.retention.minutes` count (KIP-211). Topics that are subscribed to are kept in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// From the commit: standalone consumers, and topics that a group no longer reads.
    SinceCommit,
    /// From when the group became empty, in ms since the epoch.
    Since(i64),
    /// Not at all: a group in the middle of a rebalance, or one whose subscriptions cannot be read.
    Never,
}

/// Offsets by topic and partition.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: BTreeMap<Name, BTreeMap<i32, CommittedOffset>>,
    len: usize,
    /// Most offsets come without metadata; those share this.
    no_metadata: Option<Name>,
}

impl Offsets {
    /// Number of partitions with an offset.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What there is, `None` for what is asked and not there.
    pub fn fetch(&self, topics: Option<Vec<(Name, Vec<i32>)>>) -> Vec<FetchedTopic> {
        let Some(topics) = topics else {
            let all = self.topics.iter().map(|(name, partitions)| FetchedTopic {
                name: name.clone(),
                partitions: partitions.iter().map(|(partition, offset)| (*partition, Some(offset.clone()))).collect(),
            });
            return all.collect();
        };
        let asked = topics.into_iter().map(|(name, partitions)| {
            let known = self.topics.get(&name);
            let offset = |partition: i32| known.and_then(|known| known.get(&partition)).cloned();
            let partitions = partitions.into_iter().map(|partition| (partition, offset(partition))).collect();
            FetchedTopic { name, partitions }
        });
        asked.collect()
    }

    /// Takes offsets of somebody who may commit.
    pub fn commit(&self, cx: &mut Context<'_>, group: &Name, caller: &Caller, commit: Commit) -> Decision {
        let (now_ms, metadata_max) = (cx.now.wall_ms, cx.settings.offset_metadata_bytes_max);
        let expire_ms = if commit.retention_ms < 0 { -1 } else { now_ms.saturating_add(commit.retention_ms) };
        let who = if commit.who.member.is_empty() { &caller.client_id } else { &commit.who.member };
        let mut records = Vec::with_capacity(commit.topics.iter().map(|topic| topic.partitions.len()).sum());
        let mut all = Vec::with_capacity(commit.topics.len());
        for topic in &commit.topics {
            let known = self.topics.get(&topic.name);
            let mut answered = Vec::with_capacity(topic.partitions.len());
            for (partition, offset, leader_epoch, metadata) in &topic.partitions {
                if metadata.len() > metadata_max {
                    answered.push(codes::OFFSET_METADATA_TOO_LARGE);
                    continue;
                }
                if let Some(before) = known.and_then(|known| known.get(partition))
                    && *offset < before.offset
                {
                    cx.audit.rewinds += 1;
                    cx.audit.line(LogLevel::Info, || {
                        let (topic, from) = (&topic.name, before.offset);
                        format!("group {group}: offset of {topic}-{partition} rewound from {from} to {offset} by a commit of {who}")
                    });
                }
                let value = CommittedOffset {
                    offset: *offset,
                    leader_epoch: *leader_epoch,
                    metadata: metadata.clone(),
                    commit_ms: now_ms,
                    expire_ms,
                    topic_id: topic.id,
                };
                records.push(GroupRecord::Offset {
                    group: group.clone(),
                    topic: topic.name.clone(),
                    partition: *partition,
                    value: Some(value),
                });
                answered.push(codes::NONE);
            }
            all.push(answered);
        }
        Decision { records, ..Decision::answer(caller.asker, GroupAnswer::Committed(all)) }
    }

    /// Deletes what is asked, except of topics that the group reads.
    pub fn delete(
        &self,
        cx: &mut Context<'_>,
        group: &Name,
        caller: &Caller,
        topics: &[(Name, Vec<i32>)],
        is_subscribed: impl Fn(&str) -> bool,
    ) -> Decision {
        let (mut records, mut all) = (Vec::new(), Vec::with_capacity(topics.len()));
        for (topic, partitions) in topics {
            if is_subscribed(topic) {
                all.push(vec![codes::GROUP_SUBSCRIBED_TO_TOPIC; partitions.len()]);
                continue;
            }
            let known = self.topics.get(topic);
            for partition in partitions {
                if let Some(offset) = known.and_then(|known| known.get(partition)) {
                    let why = format!("deleted by {} at {}", caller.client_id, caller.client_host);
                    records.push(taken(cx, group, topic, *partition, offset, &why));
                }
            }
            all.push(vec![codes::NONE; partitions.len()]);
        }
        cx.audit.deleted += records.len() as u64;
        Decision { records, ..Decision::answer(caller.asker, GroupAnswer::OffsetsDeleted(Ok(all))) }
    }

    /// Everything goes with its group.
    pub fn delete_all(&self, cx: &mut Context<'_>, group: &Name) -> Vec<GroupRecord> {
        let all = self
            .all()
            .map(|(topic, partition, offset)| taken(cx, group, topic, partition, offset, "deleted with its group"));
        let records: Vec<_> = all.collect();
        cx.audit.deleted += records.len() as u64;
        records
    }

    /// Whether there are offsets of topics that are no more.
    pub fn has_gone(&self, image: &Image) -> bool {
        self.topics.iter().any(|(name, partitions)| {
            let topic = image.topic(name).map(|topic| topic.id);
            partitions.values().any(|offset| is_gone(topic, offset))
        })
    }

    /// Takes the offsets of topics that are no more.
    pub fn gone(&self, cx: &mut Context<'_>, group: &Name) -> Vec<GroupRecord> {
        let image = cx.image;
        let gone = self.topics.iter().flat_map(|(name, partitions)| {
            let topic = image.topic(name).map(|topic| topic.id);
            let gone = partitions.iter().filter(move |(_, offset)| is_gone(topic, offset));
            gone.map(move |(partition, offset)| (name, *partition, offset))
        });
        let gone = gone.map(|(topic, partition, offset)| {
            taken(cx, group, topic, partition, offset, "dropped: its topic was deleted")
        });
        let records: Vec<_> = gone.collect();
        cx.audit.deleted += records.len() as u64;
        records
    }

    /// Takes what has expired, a bounded number at once.
    pub fn expired(
        &self,
        cx: &mut Context<'_>,
        group: &Name,
        retention: Retention,
        is_subscribed: impl Fn(&str) -> bool,
    ) -> Vec<GroupRecord> {
        if retention == Retention::Never {
            return Vec::new();
        }
        let (now_ms, keep_ms) = (cx.now.wall_ms, cx.settings.offsets_retention_ms);
        let is_over = |offset: &CommittedOffset| {
            if offset.expire_ms >= 0 {
                return now_ms >= offset.expire_ms;
            }
            let since = match retention {
                Retention::Since(since) => since,
                _ => offset.commit_ms,
            };
            now_ms.saturating_sub(since) >= keep_ms
        };
        // Whether a topic is read is asked only where something is old: the answer takes reading the subscriptions.
        let unread =
            self.topics.iter().filter(|(topic, partitions)| partitions.values().any(is_over) && !is_subscribed(topic));
        let over = unread.flat_map(|(topic, partitions)| {
            let over = partitions.iter().filter(|(_, offset)| is_over(offset));
            over.map(move |(partition, offset)| (topic, *partition, offset))
        });
        let over = over.take(OFFSETS_EXPIRED_AT_ONCE);
        let records: Vec<_> =
            over.map(|(topic, partition, offset)| taken(cx, group, topic, partition, offset, "expired")).collect();
        cx.audit.expired += records.len() as u64;
        records
    }

    /// A record holds.
    pub fn apply(&mut self, topic: &Name, partition: i32, value: Option<&CommittedOffset>) {
        let Some(value) = value else {
            let Some(partitions) = self.topics.get_mut(topic) else { return };
            self.len -= usize::from(partitions.remove(&partition).is_some());
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
            return;
        };
        let mut value = value.clone();
        if value.metadata.is_empty() {
            value.metadata = self.no_metadata.get_or_insert(value.metadata).clone();
        }
        let partitions = self.topics.entry(topic.clone()).or_default();
        self.len += usize::from(partitions.insert(partition, value).is_none());
    }

    /// All of them, in order.
    fn all(&self) -> impl Iterator<Item = (&Name, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
        })
    }
}

/// Whether the topic that was read is not there any more; one created anew under its name is another one.
fn is_gone(topic: Option<TopicId>, offset: &CommittedOffset) -> bool {
    topic.is_none_or(|id| !offset.topic_id.is_zero() && id != offset.topic_id)
}

/// A tombstone with its line.
fn taken(
    cx: &mut Context<'_>,
    group: &Name,
    topic: &Name,
    partition: i32,
    offset: &CommittedOffset,
    why: &str,
) -> GroupRecord {
    cx.audit.line(LogLevel::Info, || format!("group {group}: offset {} of {topic}-{partition} {why}", offset.offset));
    GroupRecord::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}
