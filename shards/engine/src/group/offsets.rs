//! The committed offsets of one group, and the auditor's eye on them: whatever takes a committed offset back or away leaves a line with its cause.
//!
//! Invariant: decisions read, only [`Offsets::apply`] and [`Offsets::end`] write. Who may commit is the group's to say.

use std::collections::{BTreeMap, BTreeSet};

use floe_wire::ids::TopicId;

use super::api::{Commit, FetchedTopic, GroupAnswer, TxnWrite};
use super::audit::Look;
use super::pending::Pending;
use super::records::{CommittedOffset, GroupRecord};
use super::{Caller, Context, Decision, Name};
use crate::event::LogLevel;
use crate::hosted::Position;
use crate::limits::{GROUP_BATCH_BYTES_MAX, OFFSETS_EXPIRED_AT_ONCE};
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

/// An offset with its place in the log: of two commits the later one counts, also when the earlier one was made in a transaction that ended last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was committed.
    pub value: CommittedOffset,
    /// Offset of its record.
    pub at: i64,
}

/// How offsets are committed.
#[derive(Clone, Copy, Debug)]
pub struct Committer {
    /// With a transaction.
    pub txn: Option<TxnWrite>,
    /// By somebody who is no member, in a group whose members commit.
    pub by_hand: bool,
}

/// Offsets by topic and partition.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: BTreeMap<Name, BTreeMap<i32, Stored>>,
    len: usize,
    /// Of transactions that are open.
    pending: Pending,
    /// Most offsets come without metadata; those share this.
    no_metadata: Option<Name>,
}

impl Offsets {
    /// Number of partitions with an offset.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is neither an offset nor one that may become one.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.pending.is_empty()
    }

    /// Whether there would be none without so many of them.
    pub fn would_be_empty_without(&self, taken: usize) -> bool {
        self.len + self.pending.all().filter(|(topic, at, _)| !self.is_committed(topic, *at)).count() == taken
    }

    /// What there is, `None` for what is asked and not there. Whoever asks for what is stable is told UNSTABLE_OFFSET_COMMIT where an open transaction
    /// may change it, and asks again (KIP-447).
    pub fn fetch(&self, topics: Option<Vec<(Name, Vec<i32>)>>, require_stable: bool) -> Vec<FetchedTopic> {
        let look = |name: &Name, partition: i32, stored: Option<&Stored>| {
            if require_stable && self.pending.has(name, partition) {
                return Err(codes::UNSTABLE_OFFSET_COMMIT);
            }
            Ok(stored.map(|stored| stored.value.clone()))
        };
        let Some(topics) = topics else {
            let all = self.topics.iter().map(|(name, partitions)| {
                let partitions = partitions.iter().map(|(at, stored)| (*at, look(name, *at, Some(stored)))).collect();
                FetchedTopic { name: name.clone(), partitions }
            });
            return all.collect();
        };
        let asked = topics.into_iter().map(|(name, partitions)| {
            let known = self.topics.get(&name);
            let stored = |partition: i32| known.and_then(|known| known.get(&partition));
            let partitions = partitions.into_iter().map(|at| (at, look(&name, at, stored(at)))).collect();
            FetchedTopic { name, partitions }
        });
        asked.collect()
    }

    /// Takes offsets of somebody who may commit, at once or with a transaction; not of partitions that another member has.
    pub fn commit(
        &self,
        cx: &mut Context<'_>,
        group: &Name,
        caller: &Caller,
        commit: Commit,
        committer: Committer,
        is_anothers: impl Fn(TopicId, i32) -> bool,
    ) -> Decision {
        let Committer { txn, by_hand } = committer;
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
                if is_anothers(topic.id, *partition) {
                    // Either makes clients join again; in a transaction they do not know the first, and abort with the second.
                    answered.push(if txn.is_none() { codes::REBALANCE_IN_PROGRESS } else { codes::ILLEGAL_GENERATION });
                    continue;
                }
                let before = known.and_then(|known| known.get(partition)).map(|stored| stored.value.offset);
                // What is committed in a transaction takes nothing back before its end.
                if let Some(from) = before.filter(|before| txn.is_none() && offset < before) {
                    cx.audit.rewinds += 1;
                    cx.audit.line(LogLevel::Info, || {
                        let topic = &topic.name;
                        format!("group {group}: offset of {topic}-{partition} rewound from {from} to {offset} by a commit of {who}")
                    });
                }
                if let Some(from) = before.filter(|before| by_hand && offset > before) {
                    cx.audit.skips += 1;
                    cx.audit.line(LogLevel::Info, || {
                        let (topic, host) = (&topic.name, &caller.client_host);
                        format!("group {group}: offset of {topic}-{partition} moved ahead from {from} to {offset} by {who} at {host}, while the group has no members")
                    });
                }
                // No partition ends before 0, and the same again is no news.
                if *offset > 0 && before != Some(*offset) {
                    cx.audit.look(|| Look {
                        group: group.clone(),
                        topic: topic.name.clone(),
                        topic_id: topic.id,
                        partition: *partition,
                        offset: *offset,
                        who: who.clone(),
                        host: caller.client_host.clone(),
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
        Decision { records, txn, ..Decision::answer(caller.asker, GroupAnswer::Committed(all)) }
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
                let stored = known.and_then(|known| known.get(partition));
                if stored.is_some() || self.pending.has(topic, *partition) {
                    let why = format!("deleted by {} at {}", caller.client_id, caller.client_host);
                    records.push(taken(cx, group, topic, *partition, stored, &why));
                }
            }
            all.push(vec![codes::NONE; partitions.len()]);
        }
        cx.audit.deleted += records.len() as u64;
        Decision { records, ..Decision::answer(caller.asker, GroupAnswer::OffsetsDeleted(Ok(all))) }
    }

    /// Everything goes with its group, a bounded number at once.
    pub fn delete_some(&self, cx: &mut Context<'_>, group: &Name) -> Vec<GroupRecord> {
        let why = "deleted with its group";
        let mut bytes_left = GROUP_BATCH_BYTES_MAX / 2;
        let some = self.all().take(OFFSETS_EXPIRED_AT_ONCE).take_while(|(topic, ..)| {
            // Names can be long: what is taken fits into a batch, with the rest of the group.
            let left = bytes_left.checked_sub(group.len() + topic.len() + 32);
            bytes_left = left.unwrap_or(0);
            left.is_some()
        });
        let all = some.map(|(topic, partition, stored)| taken(cx, group, topic, partition, stored, why));
        let records: Vec<_> = all.collect();
        cx.audit.deleted += records.len() as u64;
        records
    }

    /// Whether there are offsets of topics that are no more.
    pub fn has_gone(&self, image: &Image) -> bool {
        let committed = self.topics.iter().any(|(name, partitions)| {
            let id = image.topic(name).map(|topic| topic.id);
            partitions.values().any(|stored| is_gone(id, &stored.value))
        });
        committed || self.pending.all().any(|(name, _, it)| is_gone(image.topic(name).map(|topic| topic.id), &it.value))
    }

    /// Takes the offsets of topics that are no more.
    pub fn gone(&self, cx: &mut Context<'_>, group: &Name) -> Vec<GroupRecord> {
        let image = cx.image;
        let gone: BTreeSet<_> = self
            .values()
            .filter(|(topic, _, value)| is_gone(image.topic(topic).map(|topic| topic.id), value))
            .map(|(topic, partition, _)| (topic, partition))
            .collect();
        let why = "dropped: its topic was deleted";
        let gone = gone.into_iter().map(|(topic, partition)| {
            let stored = self.topics.get(topic).and_then(|partitions| partitions.get(&partition));
            taken(cx, group, topic, partition, stored, why)
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
        let unread = self
            .topics
            .iter()
            .filter(|(topic, partitions)| partitions.values().any(|it| is_over(&it.value)) && !is_subscribed(topic));
        // Nor does anything expire that a transaction is about to renew.
        let over = unread.flat_map(|(topic, partitions)| {
            let over = partitions.iter().filter(|(at, it)| is_over(&it.value) && !self.pending.has(topic, **at));
            over.map(move |(partition, stored)| (topic, *partition, stored))
        });
        let over = over.take(OFFSETS_EXPIRED_AT_ONCE);
        let records: Vec<_> =
            over.map(|(topic, partition, it)| taken(cx, group, topic, partition, Some(it), "expired")).collect();
        cx.audit.expired += records.len() as u64;
        records
    }

    /// A record holds that stands at this place of the log: for good, or until the end of a producer's transaction.
    pub fn apply(&mut self, topic: &Name, partition: i32, value: Option<&CommittedOffset>, position: Position) {
        let Some(value) = value else {
            self.pending.delete(topic, partition);
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
        let stored = Stored { value, at: position.offset };
        match position.producer {
            Some(producer) => self.pending.put(producer, topic, partition, stored),
            None => self.put(topic, partition, stored),
        }
    }

    /// A transaction has ended. Offsets that it took back are told: topic, partition, from, to.
    pub fn end(&mut self, producer: i64, committed: bool, mut rewound: impl FnMut(&Name, i32, i64, i64)) {
        for (topic, partition, stored) in self.pending.end(producer) {
            let before = self.topics.get(&topic).and_then(|partitions| partitions.get(&partition));
            if !committed || before.is_some_and(|before| before.at > stored.at) {
                continue;
            }
            if let Some(before) = before.filter(|before| stored.value.offset < before.value.offset) {
                rewound(&topic, partition, before.value.offset, stored.value.offset);
            }
            self.put(&topic, partition, stored);
        }
    }

    fn put(&mut self, topic: &Name, partition: i32, stored: Stored) {
        let partitions = self.topics.entry(topic.clone()).or_default();
        self.len += usize::from(partitions.insert(partition, stored).is_none());
    }

    /// All partitions with a committed offset, in order; then those with none but a pending one.
    fn all(&self) -> impl Iterator<Item = (&Name, i32, Option<&Stored>)> {
        let committed = self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, stored)| (topic, *partition, Some(stored)))
        });
        let pending = self.pending.all().filter(|(topic, partition, _)| !self.is_committed(topic, *partition));
        committed.chain(pending.map(|(topic, partition, _)| (topic, partition, None)))
    }

    fn is_committed(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Whatever is kept, committed or pending.
    fn values(&self) -> impl Iterator<Item = (&Name, i32, &CommittedOffset)> {
        let committed = self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, stored)| (topic, *partition, &stored.value))
        });
        committed.chain(self.pending.all().map(|(topic, partition, stored)| (topic, partition, &stored.value)))
    }
}

/// Whether the topic that was read is not there any more; one created anew under its name is another one.
fn is_gone(topic: Option<TopicId>, offset: &CommittedOffset) -> bool {
    topic.is_none_or(|id| !offset.topic_id.is_zero() && id != offset.topic_id)
}

/// A tombstone with its line; without an offset it is of a pending one.
fn taken(
    cx: &mut Context<'_>,
    group: &Name,
    topic: &Name,
    partition: i32,
    stored: Option<&Stored>,
    why: &str,
) -> GroupRecord {
    cx.audit.line(LogLevel::Info, || match stored {
        Some(stored) => format!("group {group}: offset {} of {topic}-{partition} {why}", stored.value.offset),
        None => format!("group {group}: pending offset of {topic}-{partition} {why}"),
    });
    GroupRecord::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}
