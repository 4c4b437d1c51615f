//! Coordinators in virtual time, each rule of Kafka a row or a scenario.
//!
//! [`World`] is the host: it appends what a decision asks for to a log in memory, applies it, and keeps the answers by the number of their question.

mod classic;
mod consumer;
mod migration;
mod mixed;
mod offsets;
mod rebalance;
mod replay;
mod static_members;
mod transactional;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use floe_wire::ids::TopicId;

use super::api::*;
use super::records::GroupRecord;
use super::{Coordinator, Decision, GroupSettings, Name, partition_of};
use crate::event::ShardId;
use crate::hosted::Position;
use crate::metadata::{Image, Record};
use crate::requests::codes;
use crate::time::{Deadline, Time};
use crate::uuids::Uuids;

/// The partition that the groups of these tests lie in.
const PARTITION: i32 = 3;

/// What stands in the log at one offset.
#[derive(Clone, Debug)]
enum Entry {
    /// A record, and whose transaction it belongs to.
    Record(GroupRecord, Option<i64>),
    /// The end of a producer's transaction.
    End { producer: i64, committed: bool },
}

struct World {
    coordinator: Coordinator,
    settings: GroupSettings,
    now: Time,
    image: Image,
    /// Records with their place, and ends of transactions.
    log: Vec<Entry>,
    /// Every answer that was given, once.
    answers: BTreeMap<u64, GroupAnswer>,
    lines: Vec<String>,
    asked: u64,
    /// Processes so far: each gives other ids.
    restarts: u8,
    /// With this code the host refuses what is to be appended.
    disk_full: Option<i16>,
}

impl World {
    fn new() -> World {
        World::with(GroupSettings::default())
    }

    fn with(settings: GroupSettings) -> World {
        let coordinator = Coordinator::new(settings.clone(), Uuids::new(&[1; 32], 0));
        let mut world = World {
            coordinator,
            settings,
            now: Time { mono_ns: 1_000_000, wall_ms: 1_700_000_000_000 },
            image: Image::default(),
            log: Vec::new(),
            answers: BTreeMap::new(),
            lines: Vec::new(),
            asked: 0,
            restarts: 1,
            disk_full: None,
        };
        world.coordinator.load(PARTITION);
        world.coordinator.loaded(world.now, PARTITION);
        for (at, name) in ["orders", "bills"].into_iter().enumerate() {
            world.create(name, at as u8 + 1);
        }
        world
    }

    fn create(&mut self, name: &str, id: u8) {
        let (id, name) = (TopicId([id; 16]), name.to_owned());
        let record = Record::CreateTopic { id, name, partitions: 4, placement: 0, configs: Default::default() };
        self.image.apply(&record).expect("a new topic");
        self.image.version += 1;
        self.coordinator.image_changed(&self.image);
    }

    fn drop_topic(&mut self, id: u8) {
        self.image.apply(&Record::DeleteTopic { id: TopicId([id; 16]) }).expect("a topic");
        self.image.version += 1;
        self.coordinator.image_changed(&self.image);
        self.run();
    }

    /// Asks; the answer may come later.
    fn ask(&mut self, group: &str, request: GroupRequest) -> u64 {
        self.asked += 1;
        let call = GroupCall {
            partition: PARTITION,
            group: group.into(),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            request,
        };
        let decision = self.coordinator.request(self.now, &self.image, (ShardId(0), self.asked), call);
        self.take(decision);
        self.asked
    }

    /// Asks and has the answer at once.
    fn answer(&mut self, group: &str, request: GroupRequest) -> GroupAnswer {
        let asked = self.ask(group, request);
        self.given(asked).expect("an answer at once")
    }

    fn given(&mut self, asked: u64) -> Option<GroupAnswer> {
        self.answers.remove(&asked)
    }

    fn take(&mut self, decision: Decision) {
        let decision = match self.disk_full {
            Some(code) if !decision.records.is_empty() => self.coordinator.refused(self.now, decision, code),
            _ => {
                self.coordinator.apply(self.now, &decision, self.log.len() as i64);
                let producer = decision.txn.map(|txn| txn.producer.id);
                self.log.extend(decision.records.iter().map(|record| Entry::Record(record.clone(), producer)));
                decision
            }
        };
        for ((_, asked), answer) in decision.answers {
            assert!(self.answers.insert(asked, answer).is_none(), "question {asked} was answered twice");
        }
        self.lines.extend(self.coordinator.take_lines().into_iter().map(|(_, line)| line));
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            let Some(decision) = self.coordinator.due(self.now, &self.image) else {
                let next = self.coordinator.next_deadline();
                assert!(next.is_none_or(|next| !self.now.reached(next)), "nothing is due and yet it is");
                self.lines.extend(self.coordinator.take_lines().into_iter().map(|(_, line)| line));
                return;
            };
            self.take(decision);
        }
        panic!("there is no end to what is due");
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, ms: u64) {
        let end = self.now.after(Duration::from_millis(ms));
        while let Some(next) = self.coordinator.next_deadline().filter(|next| *next <= end) {
            self.at(next.max(Deadline(self.now.mono_ns)));
            self.run();
        }
        self.at(end);
    }

    fn at(&mut self, moment: Deadline) {
        self.now.wall_ms += ((moment.0 - self.now.mono_ns) / 1_000_000) as i64;
        self.now.mono_ns = moment.0;
    }

    /// Another process: everything from the log.
    fn restart(&mut self) {
        self.restarts += 1;
        let mut seed = [0; 32];
        seed[0] = self.restarts;
        self.coordinator = Coordinator::new(self.settings.clone(), Uuids::new(&seed, 0));
        self.coordinator.load(PARTITION);
        for (entry, offset) in self.log.clone().into_iter().zip(0..) {
            self.replay(entry, offset);
        }
        self.coordinator.loaded(self.now, PARTITION);
    }

    /// What stands there is read.
    fn replay(&mut self, entry: Entry, offset: i64) {
        match entry {
            Entry::Record(record, producer) => {
                self.coordinator.replay(PARTITION, record, Position { offset, producer });
            }
            Entry::End { producer, committed } => self.coordinator.end_txn(None, PARTITION, producer, committed),
        }
    }

    /// The marker of a producer's transaction is written.
    fn end(&mut self, producer: i64, committed: bool) {
        self.coordinator.end_txn(Some(self.now), PARTITION, producer, committed);
        self.log.push(Entry::End { producer, committed });
        self.lines.extend(self.coordinator.take_lines().into_iter().map(|(_, line)| line));
    }

    fn describe(&mut self, group: &str) -> Described {
        let GroupAnswer::Described(described) = self.answer(group, GroupRequest::Describe) else { panic!("described") };
        described
    }

    fn state(&mut self, group: &str) -> &'static str {
        self.describe(group).state
    }

    fn joined(&mut self, asked: u64) -> Option<Joined> {
        self.given(asked).map(|answer| match answer {
            GroupAnswer::Joined(joined) => joined,
            other => panic!("not a join: {other:?}"),
        })
    }

    fn synced(&mut self, asked: u64) -> Option<Synced> {
        self.given(asked).map(|answer| match answer {
            GroupAnswer::Synced(synced) => synced,
            other => panic!("not a sync: {other:?}"),
        })
    }

    fn heartbeat(&mut self, group: &str, who: &MemberRef) -> i16 {
        code_of(&self.answer(group, GroupRequest::Heartbeat(who.clone())))
    }

    /// A stable group of so many dynamic members, with the member refs, the leader first.
    fn stable(&mut self, group: &str, members: usize) -> Vec<MemberRef> {
        let joins: Vec<_> = (0..members).map(|_| self.ask(group, GroupRequest::Join(old_join("")))).collect();
        self.pass(self.settings.initial_rebalance_delay_ms as u64 * (members as u64 + 1));
        let joined: Vec<_> = joins.into_iter().map(|join| self.joined(join).expect("the generation")).collect();
        self.sync_all(group, &joined)
    }

    /// All of a generation sync, the leader last; each gets its own id as assignment. The leader first.
    fn sync_all(&mut self, group: &str, joined: &[Joined]) -> Vec<MemberRef> {
        let mut who: Vec<_> = joined.iter().map(|joined| who(&joined.member, joined.generation)).collect();
        who.sort_by_key(|who| who.member != joined[0].leader);
        let all: Vec<_> = who.iter().map(|who| (who.member.clone(), Bytes::from(who.member.to_string()))).collect();
        let syncs: Vec<_> = who.iter().rev().map(|who| self.ask(group, sync(who, all.clone()))).collect();
        for (sync, who) in syncs.into_iter().zip(who.iter().rev()) {
            let synced = self.synced(sync).expect("the assignment");
            assert_eq!((synced.error_code, &*synced.assignment), (codes::NONE, who.member.as_bytes()));
        }
        who
    }
}

/// The metadata of a consumer that subscribes to `topics`.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// A join as JoinGroup 9 makes it.
fn join(member: &str) -> Join {
    Join {
        member: member.into(),
        instance: None,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["orders"]))],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        needs_member_id: true,
        may_skip_assignment: true,
        reason: None,
    }
}

/// A join as JoinGroup 3 makes it: no id is asked for first.
fn old_join(member: &str) -> Join {
    Join { needs_member_id: false, may_skip_assignment: false, ..join(member) }
}

fn static_join(instance: &str, member: &str) -> Join {
    Join { instance: Some(instance.into()), ..join(member) }
}

fn sync(who: &MemberRef, assignments: Vec<(Name, Bytes)>) -> GroupRequest {
    GroupRequest::Sync(Sync {
        who: who.clone(),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignments,
    })
}

fn who(member: &str, generation: i32) -> MemberRef {
    MemberRef { member: member.into(), instance: None, generation }
}

fn leaver(member: &str) -> Leaver {
    Leaver { member: member.into(), instance: None, reason: None }
}

/// A heartbeat of a KIP-848 member that subscribes to `orders`. Who joins says everything, everybody else only what it owns, if that is given.
fn beat(member: &str, member_epoch: i32, owned: Option<&[i32]>) -> ConsumerHeartbeat {
    let joins = member_epoch == 0;
    let of_topic = |owned: &[i32]| {
        if owned.is_empty() { Vec::new() } else { vec![(TopicId([1; 16]), owned.to_vec())] }
    };
    ConsumerHeartbeat {
        member: member.into(),
        member_epoch,
        instance: None,
        rack: None,
        rebalance_timeout_ms: if joins { 30_000 } else { -1 },
        topics: joins.then(|| vec!["orders".into()]),
        expression: None,
        assignor: None,
        owned: if joins { Some(Vec::new()) } else { owned.map(of_topic) },
    }
}

/// A commit of `offset` for orders-0.
fn commit(who: MemberRef, offset: i64) -> Commit {
    commit_of(who, "orders", 1, &[(0, offset)])
}

fn commit_of(who: MemberRef, topic: &str, id: u8, offsets: &[(i32, i64)]) -> Commit {
    let partitions = offsets.iter().map(|(partition, offset)| (*partition, *offset, -1, "".into())).collect();
    let topics = vec![CommitTopic { name: topic.into(), id: TopicId([id; 16]), partitions }];
    Commit { who, knows_epochs: true, retention_ms: -1, topics }
}

/// The first error code of an answer.
fn code_of(answer: &GroupAnswer) -> i16 {
    match answer {
        GroupAnswer::Joined(joined) => joined.error_code,
        GroupAnswer::Synced(synced) => synced.error_code,
        GroupAnswer::Heartbeat(code) | GroupAnswer::Deleted(code) => *code,
        GroupAnswer::Left(left) => left.as_ref().map_or_else(|code| *code, |codes| codes[0]),
        GroupAnswer::Committed(codes) => codes[0][0],
        GroupAnswer::Unverified { .. } => panic!("no world asks for a voucher"),
        GroupAnswer::Fetched(fetched) => fetched.as_ref().err().copied().unwrap_or(codes::NONE),
        GroupAnswer::OffsetsDeleted(deleted) => deleted.as_ref().map_or_else(|code| *code, |codes| codes[0][0]),
        GroupAnswer::ConsumerHeartbeat(answer) => answer.error_code,
        GroupAnswer::Listed(listed) => listed.as_ref().err().copied().unwrap_or(codes::NONE),
        GroupAnswer::Described(described) => described.error_code,
        GroupAnswer::ConsumerDescribed(described) => described.error_code,
    }
}

#[test]
fn groups_lie_where_kafka_puts_them() {
    // Java: "hello".hashCode() is 99162322, "polygenelubricants".hashCode() is Integer.MIN_VALUE, "\u{1f980}" is two units.
    for (group, partitions, expected) in [
        ("hello", 50, 22),
        ("polygenelubricants", 50, 0),
        ("", 50, 0),
        ("hello", 1, 0),
        ("\u{1f980}", 50, (55358 * 31 + 56704) % 50),
    ] {
        assert_eq!(partition_of(group, partitions), expected, "{group}");
    }
}
