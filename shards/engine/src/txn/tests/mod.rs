//! Coordinators in virtual time, each rule of Kafka a row or a scenario.
//!
//! [`World`] is the host: it appends what a decision asks for to a log in memory, applies it, makes it durable at once unless told otherwise, and lets
//! partitions answer to markers.

mod ends;
mod life;
mod records;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use super::api::*;
use super::records::{State, TxnRecord};
use super::{Coordinator, Decision, Ending, Key, TxnSettings};
use crate::event::ShardId;
use crate::group::Name;
use crate::requests::codes;
use crate::time::Time;

/// The partition that the ids of these tests lie in.
const PARTITION: i32 = 3;
/// The transactional id of most of them.
const ID: &str = "pay";

pub(super) struct World {
    coordinator: Coordinator,
    now: Time,
    log: Vec<TxnRecord>,
    /// Every answer that was given, once, by its question.
    answers: BTreeMap<u64, TxnAnswer>,
    asked: u64,
    /// Ends that wait for being durable, while they are held back.
    held: Option<Vec<Key>>,
    /// With this code the host refuses what is to be appended.
    disk_full: Option<i16>,
    /// Producer ids given out.
    fresh: i64,
}

impl World {
    fn new() -> World {
        World::after(Vec::new(), Time { mono_ns: 1_000_000, wall_ms: 1_700_000_000_000 })
    }

    /// A coordinator that has read this log, as after a crash.
    fn after(log: Vec<TxnRecord>, now: Time) -> World {
        let mut world = World {
            coordinator: Coordinator::new(TxnSettings::default()),
            now,
            log: Vec::new(),
            answers: BTreeMap::new(),
            asked: 0,
            held: None,
            disk_full: None,
            fresh: 1000,
        };
        world.coordinator.load(PARTITION);
        for record in &log {
            world.coordinator.replay(PARTITION, record.clone());
        }
        world.log = log;
        world.coordinator.loaded(now, PARTITION);
        world
    }

    /// The broker is killed and started again.
    fn crash(self) -> World {
        let fresh = self.fresh;
        World { fresh, ..World::after(self.log, self.now) }
    }

    /// Asks; the question's number.
    fn ask(&mut self, id: &str, request: TxnRequest) -> u64 {
        self.asked += 1;
        let call = TxnCall { partition: PARTITION, id: id.into(), request };
        let decision = self.coordinator.request(self.now, (ShardId(0), self.asked), call);
        self.carry_out(decision);
        self.asked
    }

    /// Asks, and is answered at once.
    fn call(&mut self, request: TxnRequest) -> TxnAnswer {
        let asked = self.ask(ID, request);
        self.answers.remove(&asked).expect("an answer")
    }

    fn carry_out(&mut self, mut decision: Decision) {
        if !decision.records.is_empty() {
            match self.disk_full {
                Some(code) => decision = self.coordinator.refused(decision, code),
                None => {
                    self.coordinator.apply(self.now, &decision);
                    self.log.append(&mut decision.records);
                }
            }
        }
        for ((_, asked), answer) in decision.answers {
            assert!(self.answers.insert(asked, answer).is_none(), "one answer");
        }
        match (decision.then, &mut self.held) {
            (Some(key), Some(held)) => held.push(key),
            (Some(key), None) => self.coordinator.durable(self.now, key),
            (None, _) => {}
        }
    }

    /// Carries out what is due, until nothing is or it is refused.
    fn pump(&mut self) {
        for _ in 0..100 {
            match self.coordinator.due(self.now) {
                Some(decision) => self.carry_out(decision),
                None => return,
            }
            if self.disk_full.is_some() {
                return;
            }
        }
        panic!("there is always something due");
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono_ns += time.as_nanos() as u64;
        self.now.wall_ms += time.as_millis() as i64;
        self.pump();
    }

    /// Markers that were to go out since the last call.
    fn endings(&mut self) -> Vec<Ending> {
        std::iter::from_fn(|| self.coordinator.next_ending()).collect()
    }

    /// Every partition takes its marker; what they carried.
    fn mark(&mut self) -> Vec<(Producer, bool, i16, usize)> {
        let endings = self.endings();
        for ending in &endings {
            self.answer_markers(ending, codes::NONE);
        }
        self.pump();
        endings.iter().map(|e| (e.producer, e.committed, e.version, e.partitions.len())).collect()
    }

    fn answer_markers(&mut self, ending: &Ending, code: i16) {
        for place in &ending.partitions {
            self.coordinator.marked(self.now, &ending.key, ending.producer, place, code);
        }
    }

    fn init(&mut self, known: Option<Producer>) -> Result<Producer, i16> {
        self.fresh += 1;
        match self.call(TxnRequest::Init { timeout_ms: 60_000, known, fresh: self.fresh }) {
            TxnAnswer::Initialized(result) => result,
            answer => panic!("{answer:?}"),
        }
    }

    fn add(&mut self, producer: Producer, adding: Adding) -> Result<Vec<Vec<i16>>, i16> {
        match self.call(adding_of(producer, adding)) {
            TxnAnswer::Added(result) => result,
            answer => panic!("{answer:?}"),
        }
    }

    fn end(&mut self, producer: Producer, committed: bool, bumps_epoch: bool) -> Result<Producer, i16> {
        self.fresh += 1;
        let fresh = needs_fresh(producer.epoch).then_some(self.fresh);
        match self.call(TxnRequest::End { producer, committed, bumps_epoch, fresh }) {
            TxnAnswer::Ended(result) => result,
            answer => panic!("{answer:?}"),
        }
    }

    fn describe(&mut self) -> Result<DescribedTxn, i16> {
        match self.call(TxnRequest::Describe) {
            TxnAnswer::Described(result) => result,
            answer => panic!("{answer:?}"),
        }
    }

    fn state(&mut self) -> &'static str {
        self.describe().map_or("none", |txn| txn.state)
    }
}

/// Partitions 0 and 2 of `out`, 1 of `__consumer_offsets`.
fn adding_of(producer: Producer, adding: Adding) -> TxnRequest {
    let topics = vec![(Name::from("out"), vec![2, 0]), (Name::from("__consumer_offsets"), vec![1])];
    TxnRequest::AddPartitions { producer, topics, adding, beside: false }
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id, epoch }
}
