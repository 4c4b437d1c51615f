//! Host of a shard's coordinators, of groups or of transactions: reads the partitions of their topic that the shard owns into them, appends what they
//! decide, and lets answers go when nothing that they tell can be taken back by a crash. Part of the [`super::Owner`].
//!
//! Invariants:
//! - A decision's records are one batch: appended whole, then applied at once, or not at all. Nobody decides in between.
//! - An answer leaves when everything that was appended to its subject's partition before it has reached its tier; at once only to somebody who appends
//!   behind it in the same journal ([`Decision::at_once`]).
//! - One partition is read at a time, a step a round ([`GROUP_LOAD_BYTES`]), never more of it in memory than that and a batch.
//! - After a failure of partition or journal its subjects are answered NOT_COORDINATOR: what was applied may not be on disk.

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
use crate::group;
use crate::hosted::{Asker, Decision, Hosted, TxnWrite};
use crate::limits::{GROUP_BATCH_BYTES_MAX, GROUP_DECISIONS_AT_ONCE, GROUP_RETRY_MS};
use crate::log::{AppendError, BatchInfo, CommitSeq, PartitionIx, ShardLog};
use crate::mesh::Answer;
use crate::metadata::Image;
use crate::metrics::HostMetrics;
use crate::requests::codes;
use crate::time::{Deadline, Time};

/// The host of groups.
pub type GroupHost = Host<group::Coordinator>;

/// Where an answer goes: shard of the connection, token there, place in the request.
type Place = (ShardId, u64, u32);

/// Why records were not appended.
enum Refusal {
    /// What clients get for it.
    Code(i16),
    /// They would open a transaction here that nobody has vouched for: they may come back with this guard.
    Unverified(u64),
}

/// A partition of the topic on this shard.
#[derive(Debug)]
struct Home {
    ix: PartitionIx,
    /// The last commit that something of it went with.
    newest: Option<CommitSeq>,
}

/// The host of a coordinator `C`.
#[derive(Debug)]
pub struct Host<C: Hosted> {
    /// Its state changes by [`Host::call`] and what follows from that.
    pub coordinator: C,
    codec: Codec,
    image: Arc<Image>,
    /// The log has recovered, so that there is something to read.
    recovered: bool,
    journal_failed: bool,
    topic: Option<TopicId>,
    /// Those that are read or served, by number.
    partitions: BTreeMap<i32, Home>,
    loading: Loading,
    /// Who waits for an answer, by the number that the coordinator knows them by.
    askers: HashMap<u64, Place, FxBuildHasher>,
    last_asker: u64,
    /// Answers that wait for commits, in the order of these.
    held: VecDeque<(CommitSeq, Held<C>)>,
    /// Commits up to this one have completed.
    completed: Option<CommitSeq>,
    ready: VecDeque<(ShardId, u64, Answer)>,
    /// Something due could not be written: when it is tried again.
    not_before: Option<Deadline>,
    metrics: HostMetrics,
}

/// Answers, and what their coordinator does then.
type Held<C> = (Vec<(Asker, <C as Hosted>::Answer)>, Option<<C as Hosted>::Then>);

impl<C: Hosted> Default for Host<C> {
    fn default() -> Host<C> {
        Host::new(C::default(), Codec::None)
    }
}

impl<C: Hosted> Host<C> {
    /// A host without partitions.
    pub fn new(coordinator: C, codec: Codec) -> Host<C> {
        Host {
            coordinator,
            codec,
            image: Arc::default(),
            recovered: false,
            journal_failed: false,
            topic: None,
            partitions: BTreeMap::new(),
            loading: Loading::default(),
            askers: HashMap::default(),
            last_asker: 0,
            held: VecDeque::new(),
            completed: None,
            ready: VecDeque::new(),
            not_before: None,
            metrics: HostMetrics::default(),
        }
    }

    /// Counters of the host, at this moment.
    pub fn metrics(&self) -> HostMetrics {
        let partitions = self.partitions.len() as u64;
        let waiting = self.askers.len() as u64;
        HostMetrics { partitions, loading: self.loading.len(), waiting, ..self.metrics.clone() }
    }

    /// Somebody asks.
    pub fn call(&mut self, now: Time, log: &mut ShardLog, place: Place, call: C::Call, full: bool) {
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

    /// When [`Host::pump`] or a step of loading is wanted at the latest.
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
    pub fn committed(&mut self, now: Time, up_to: CommitSeq) {
        self.completed = self.completed.max(Some(up_to));
        while let Some((_, held)) = self.held.pop_front_if(|(commit, _)| *commit <= up_to) {
            self.let_go(now, held);
        }
    }

    /// A new image: groups see it, and partitions come and go with their topic.
    pub fn show(&mut self, image: Arc<Image>, log: Option<&ShardLog>) {
        self.image = image;
        let topic = self.image.topic(C::TOPIC).map(|topic| topic.id);
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

    /// The marker of a producer's transaction was appended to a partition of the shard, and is durable with this commit.
    pub fn ended(&mut self, now: Time, ix: PartitionIx, (producer, committed): (i64, bool), commit: Option<CommitSeq>) {
        let Some((partition, home)) = self.partitions.iter_mut().find(|(_, home)| home.ix == ix) else { return };
        home.newest = home.newest.max(commit);
        // What is being read may end before it.
        if !self.loading.keep_end(*partition, producer, committed) {
            self.coordinator.end_txn(Some(now), *partition, producer, committed);
        }
    }

    /// No commit completes any more: nobody can be told anything.
    pub fn journal_failed(&mut self) {
        self.journal_failed = true;
        for (_, (answers, _)) in std::mem::take(&mut self.held) {
            let failed = answers.into_iter().map(|(asker, answer)| (asker, C::failed(answer, codes::NOT_COORDINATOR)));
            self.send(failed.collect());
        }
        self.unload_all();
    }

    /// Begins with partitions that have come.
    fn take_partitions(&mut self, log: Option<&ShardLog>) {
        let Some((topic, log)) = self.image.topic(C::TOPIC).zip(log) else { return };
        if !self.recovered || self.journal_failed {
            return;
        }
        for partition in 0..topic.partitions {
            let Some(ix) = log.find(topic.id, partition) else { continue };
            let failed = log.partition(ix).is_none_or(|p| p.failed().is_some());
            if !failed && !self.partitions.contains_key(&partition) && !self.loading.has_failed(topic.id, partition) {
                self.partitions.insert(partition, Home { ix, newest: None });
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
    fn carry_out(&mut self, now: Time, log: &mut ShardLog, mut decision: Decision<C>, full: bool) -> bool {
        let mut taken = true;
        if !decision.records.is_empty() {
            match self.append(now, log, &decision, full) {
                Ok(base_offset) => self.coordinator.apply(now, &decision, base_offset),
                Err(Refusal::Unverified(guard)) => {
                    taken = false;
                    let answers = std::mem::take(&mut decision.answers);
                    let answers =
                        answers.into_iter().map(|(asker, answer)| (asker, C::unverified(answer, guard))).collect();
                    decision = self.coordinator.refused(now, decision, codes::NONE);
                    decision.answers = answers;
                }
                Err(Refusal::Code(code)) => {
                    taken = false;
                    self.metrics.refused += 1;
                    decision = self.coordinator.refused(now, decision, code);
                }
            }
        }
        let Decision { partition, answers, then, at_once, .. } = decision;
        if answers.is_empty() && then.is_none() {
            return taken;
        }
        if at_once {
            assert!(then.is_none(), "what follows a decision waits for it");
            self.send(answers);
            return taken;
        }
        let newest = self.partitions.get(&partition).and_then(|hosted| hosted.newest);
        match newest.filter(|newest| self.completed.is_none_or(|completed| *newest > completed)) {
            None => self.let_go(now, (answers, then)),
            Some(commit) => {
                let at = self.held.partition_point(|(earlier, _)| *earlier <= commit);
                self.held.insert(at, (commit, (answers, then)));
            }
        }
        taken
    }

    /// Appends the records as one batch; an error is the code that clients get for it, as Kafka maps those of its log.
    fn append(&mut self, now: Time, log: &mut ShardLog, decision: &Decision<C>, full: bool) -> Result<i64, Refusal> {
        let hosted = self.partitions.get_mut(&decision.partition).ok_or(Refusal::Code(codes::NOT_COORDINATOR))?;
        if full {
            return Err(Refusal::Code(codes::COORDINATOR_NOT_AVAILABLE));
        }
        let mut builder = BatchBuilder::new(self.codec);
        if let Some(TxnWrite { producer, .. }) = decision.txn {
            // Without a sequence: nobody repeats what a coordinator writes.
            builder.producer(producer.id, producer.epoch, -1);
            builder.transactional();
        }
        for record in &decision.records {
            let (key, value) = C::encode(record);
            let (key, value) = (Some(&key[..]), value.as_deref());
            builder.push(BatchRecord { timestamp: now.wall_ms, key, value, headers: &[] });
            if builder.records_bytes() > GROUP_BATCH_BYTES_MAX {
                return Err(Refusal::Code(codes::UNKNOWN_SERVER_ERROR));
            }
        }
        let batch = builder.finish();
        let header = BatchHeader::decode(&batch).expect("it was just made");
        let verified = decision.txn.and_then(|txn| txn.verified);
        let info = BatchInfo::of(&header);
        let appended = log.append_verified(now, hosted.ix, &batch, &info, 0, verified).map_err(refusal)?;
        hosted.newest = hosted.newest.max(appended.wait);
        self.metrics.records += decision.records.len() as u64;
        self.metrics.record_bytes += batch.len() as u64;
        Ok(appended.base_offset)
    }

    fn let_go(&mut self, now: Time, (answers, then): Held<C>) {
        self.send(answers);
        if let Some(then) = then {
            self.coordinator.durable(now, then);
        }
    }

    fn send(&mut self, answers: Vec<(Asker, C::Answer)>) {
        for ((_, asker), answer) in answers {
            let Some((to, token, at)) = self.askers.remove(&asker) else { continue };
            self.ready.push_back((to, token, C::wrap(at, answer)));
        }
    }
}

/// What clients get for an error of the log, as Kafka maps those of its own.
fn refusal(error: AppendError) -> Refusal {
    Refusal::Code(match error {
        AppendError::Full => codes::COORDINATOR_NOT_AVAILABLE,
        AppendError::TooLarge { .. } => codes::UNKNOWN_SERVER_ERROR,
        AppendError::Storage(_) | AppendError::Closed => codes::NOT_COORDINATOR,
        AppendError::InvalidProducerEpoch { .. } => codes::INVALID_PRODUCER_EPOCH,
        AppendError::OutOfOrderSequence { .. } => codes::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::NotInTransaction(_) => codes::INVALID_TXN_STATE,
        AppendError::TooManyTransactions => codes::COORDINATOR_NOT_AVAILABLE,
        AppendError::Unverified { guard } => return Refusal::Unverified(guard),
        error => unreachable!("{error:?} of a batch without a sequence"),
    })
}
