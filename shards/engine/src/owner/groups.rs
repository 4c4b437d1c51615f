//! Host of a shard's group coordinators: reads the partitions of `__consumer_offsets` that the shard owns into them, appends what they decide, and lets
//! answers go when nothing that they tell can be taken back by a crash. Part of the [`super::Owner`].
//!
//! Invariants:
//! - A decision's records are one batch: appended whole, then applied at once, or not at all. Nobody decides in between.
//! - An answer leaves when everything that was appended to its group's partition before it has reached its tier.
//! - One partition is read at a time, a step a round ([`GROUP_LOAD_BYTES`]), never more of it in memory than that and a batch.
//! - After a failure of partition or journal its groups are answered NOT_COORDINATOR: what was applied may not be on disk.

mod load;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use floe_wire::batch::{BatchBuilder, BatchHeader, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::ids::TopicId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use self::load::Loading;
use crate::event::{Effect, Effects, ShardId};
use crate::group::api::{Asker, GroupAnswer, GroupCall};
use crate::group::{Coordinator, Decision, GroupMetrics, GroupSettings, OFFSETS_TOPIC, codec};
use crate::limits::{GROUP_BATCH_BYTES_MAX, GROUP_DECISIONS_AT_ONCE, GROUP_RETRY_MS};
use crate::log::{AppendError, BatchInfo, CommitSeq, PartitionIx, ShardLog};
use crate::mesh::Answer;
use crate::metadata::Image;
use crate::metrics::GroupHostMetrics;
use crate::requests::codes;
use crate::time::{Deadline, Time};
use crate::uuids::Uuids;

/// The highest byte of every [`crate::event::OpId`] that the host gives out.
pub const OP_TAG: u8 = 0x03;

/// Where an answer goes: shard of the connection, token there, place in the request.
type Place = (ShardId, u64, u32);

/// A partition of `__consumer_offsets` on this shard.
#[derive(Debug)]
struct Hosted {
    ix: PartitionIx,
    /// The last commit that something of it went with.
    newest: Option<CommitSeq>,
}

/// The host.
#[derive(Debug, Default)]
pub struct GroupHost {
    coordinator: Coordinator,
    codec: Codec,
    image: Arc<Image>,
    /// The log has recovered, so that there is something to read.
    recovered: bool,
    journal_failed: bool,
    topic: Option<TopicId>,
    /// Those that are read or served, by number.
    partitions: BTreeMap<i32, Hosted>,
    loading: Loading,
    /// Who waits for an answer, by the number that the coordinator knows them by.
    askers: HashMap<u64, Place, FxBuildHasher>,
    last_asker: u64,
    /// Answers that wait for commits, in the order of these.
    held: VecDeque<(CommitSeq, Vec<(Asker, GroupAnswer)>)>,
    /// Commits up to this one have completed.
    completed: Option<CommitSeq>,
    ready: VecDeque<(ShardId, u64, Answer)>,
    /// Something due could not be written: when it is tried again.
    not_before: Option<Deadline>,
    metrics: GroupHostMetrics,
}

impl GroupHost {
    /// A host without partitions.
    pub fn new(settings: GroupSettings, ids: Uuids, codec: Codec) -> GroupHost {
        GroupHost { coordinator: Coordinator::new(settings, ids), codec, ..GroupHost::default() }
    }

    /// Counters of the groups, at this moment.
    pub fn group_metrics(&self) -> GroupMetrics {
        self.coordinator.metrics()
    }

    /// Counters of the host, at this moment.
    pub fn metrics(&self) -> GroupHostMetrics {
        let partitions = self.partitions.len() as u64;
        let waiting = self.askers.len() as u64;
        GroupHostMetrics { partitions, loading: self.loading.len(), waiting, ..self.metrics.clone() }
    }

    /// Somebody asks a group.
    pub fn call(&mut self, now: Time, log: &mut ShardLog, place: Place, call: GroupCall, full: bool) {
        self.last_asker += 1;
        let asker = self.last_asker;
        self.askers.insert(asker, place);
        let decision = self.coordinator.request(now, &self.image, (place.0, asker), call);
        self.carry_out(now, log, decision, full);
    }

    /// Carries out what is due, as far as it is written. What is left is due at the next call.
    pub fn pump(&mut self, now: Time, log: &mut ShardLog, full: bool, fx: &mut Effects) {
        for _ in 0..GROUP_DECISIONS_AT_ONCE {
            let due = self.coordinator.next_deadline().is_some_and(|deadline| now.reached(deadline));
            if !due || self.not_before.is_some_and(|deadline| !now.reached(deadline)) {
                break;
            }
            self.not_before = None;
            let Some(decision) = self.coordinator.due(now, &self.image) else { break };
            if !self.carry_out(now, log, decision, full) {
                self.not_before = Some(now.after(Duration::from_millis(GROUP_RETRY_MS)));
            }
        }
        let lines = self.coordinator.take_lines().into_iter();
        fx.extend(lines.map(|(level, line)| Effect::Log { level, line }));
    }

    /// When [`GroupHost::pump`] or a step of loading is wanted at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        let due =
            self.coordinator.next_deadline().map(|deadline| self.not_before.map_or(deadline, |n| n.max(deadline)));
        due.into_iter().chain(self.loading.next_deadline()).min()
    }

    /// The next answer: whose it is, and by which token it is awaited.
    pub fn next_answer(&mut self) -> Option<(ShardId, u64, Answer)> {
        self.ready.pop_front()
    }

    /// Commits up to this one have completed.
    pub fn committed(&mut self, up_to: CommitSeq) {
        self.completed = self.completed.max(Some(up_to));
        while let Some((_, answers)) = self.held.pop_front_if(|(commit, _)| *commit <= up_to) {
            self.send(answers);
        }
    }

    /// A new image: groups see it, and partitions come and go with their topic.
    pub fn show(&mut self, image: Arc<Image>, log: Option<&ShardLog>) {
        self.image = image;
        let topic = self.image.topic(OFFSETS_TOPIC).map(|topic| topic.id);
        if self.topic != topic {
            self.topic = topic;
            self.unload_all();
        }
        self.take_partitions(log);
        self.coordinator.image_changed(&self.image);
    }

    /// The log can be read.
    pub fn recovered(&mut self, log: &ShardLog) {
        self.recovered = true;
        self.take_partitions(Some(log));
    }

    /// A partition of the shard is damaged.
    pub fn partition_failed(&mut self, ix: PartitionIx) {
        let found = self.partitions.iter().find(|(_, hosted)| hosted.ix == ix).map(|(partition, _)| *partition);
        if let Some(partition) = found {
            self.unload(partition);
        }
    }

    /// No commit completes any more: nobody can be told anything.
    pub fn journal_failed(&mut self) {
        self.journal_failed = true;
        for (_, answers) in std::mem::take(&mut self.held) {
            let failed = answers.into_iter().map(|(asker, answer)| (asker, answer.failed(codes::NOT_COORDINATOR)));
            self.send(failed.collect());
        }
        self.unload_all();
    }

    /// Begins with partitions that have come.
    fn take_partitions(&mut self, log: Option<&ShardLog>) {
        let Some((topic, log)) = self.image.topic(OFFSETS_TOPIC).zip(log) else { return };
        if !self.recovered || self.journal_failed {
            return;
        }
        for partition in 0..topic.partitions {
            let Some(ix) = log.find(topic.id, partition) else { continue };
            let failed = log.partition(ix).is_none_or(|p| p.failed().is_some());
            if !failed && !self.partitions.contains_key(&partition) && !self.loading.has_failed(topic.id, partition) {
                self.partitions.insert(partition, Hosted { ix, newest: None });
                self.coordinator.load(partition);
                self.loading.want(partition);
            }
        }
    }

    fn unload_all(&mut self) {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        partitions.into_iter().for_each(|partition| self.unload(partition));
    }

    fn unload(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.loading.forget(partition);
        for decision in self.coordinator.unload(partition, codes::NOT_COORDINATOR) {
            self.send(decision.answers);
        }
    }

    /// Whether the records of a decision, if it has any, were taken.
    fn carry_out(&mut self, now: Time, log: &mut ShardLog, mut decision: Decision, full: bool) -> bool {
        let mut taken = true;
        if !decision.records.is_empty() {
            match self.append(now, log, &decision, full) {
                Ok(()) => self.coordinator.apply(now, &decision),
                Err(code) => {
                    taken = false;
                    self.metrics.refused += 1;
                    decision = self.coordinator.refused(now, decision, code);
                }
            }
        }
        let Decision { partition, answers, .. } = decision;
        if answers.is_empty() {
            return taken;
        }
        let newest = self.partitions.get(&partition).and_then(|hosted| hosted.newest);
        match newest.filter(|newest| self.completed.is_none_or(|completed| *newest > completed)) {
            None => self.send(answers),
            Some(commit) => {
                let at = self.held.partition_point(|(earlier, _)| *earlier <= commit);
                self.held.insert(at, (commit, answers));
            }
        }
        taken
    }

    /// Appends the records as one batch; an error is the code that clients get for it, as Kafka maps those of its log.
    fn append(&mut self, now: Time, log: &mut ShardLog, decision: &Decision, full: bool) -> Result<(), i16> {
        let hosted = self.partitions.get_mut(&decision.partition).ok_or(codes::NOT_COORDINATOR)?;
        if full {
            return Err(codes::COORDINATOR_NOT_AVAILABLE);
        }
        let mut builder = BatchBuilder::new(self.codec);
        for record in &decision.records {
            let (key, value) = codec::encode(record);
            let (key, value) = (Some(&key[..]), value.as_deref());
            builder.push(BatchRecord { timestamp: now.wall_ms, key, value, headers: &[] });
            if builder.records_bytes() > GROUP_BATCH_BYTES_MAX {
                return Err(codes::UNKNOWN_SERVER_ERROR);
            }
        }
        let batch = builder.finish();
        let header = BatchHeader::decode(&batch).expect("it was just made");
        let appended = log.append(now, hosted.ix, &batch, &BatchInfo::of(&header), 0).map_err(|error| match error {
            AppendError::Full => codes::COORDINATOR_NOT_AVAILABLE,
            AppendError::TooLarge { .. } => codes::UNKNOWN_SERVER_ERROR,
            AppendError::Storage(_) | AppendError::Closed => codes::NOT_COORDINATOR,
            error => unreachable!("{error:?} of a batch without a producer"),
        })?;
        hosted.newest = hosted.newest.max(appended.wait);
        self.metrics.records += decision.records.len() as u64;
        self.metrics.record_bytes += batch.len() as u64;
        Ok(())
    }

    fn send(&mut self, answers: Vec<(Asker, GroupAnswer)>) {
        for ((_, asker), answer) in answers {
            let Some((to, token, at)) = self.askers.remove(&asker) else { continue };
            self.ready.push_back((to, token, Answer::Group { at, answer: Box::new(answer) }));
        }
    }
}
