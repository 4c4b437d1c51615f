//! KIP-848 groups in virtual time. `cases.rs`: Kafka's rules one by one. `scenarios.rs`: whole stories. `laws.rs`: what holds whatever happens.

mod cases;
mod laws;
mod scenarios;

use floe_wire::ids::TopicId;

use super::ConsumerGroup;
use super::partitions::{Partitions, each};
use crate::event::ShardId;
use crate::group::api::{ConsumerHeartbeat, ConsumerHeartbeatAnswer, GroupAnswer};
use crate::group::audit::{Audit, Audited};
use crate::group::records::{GroupRecord, MemberState};
use crate::group::{Caller, Context, Decision, GroupSettings};
use crate::metadata::{Image, Record};
use crate::time::Time;
use crate::uuids::Uuids;

/// Topics with their partitions; the nth has the id of n + 1 in each byte.
pub(crate) fn image(topics: &[(&str, i32)]) -> Image {
    let mut image = Image::default();
    for (at, (name, partitions)) in topics.iter().enumerate() {
        create(&mut image, at as u8 + 1, name, *partitions);
    }
    image
}

fn create(image: &mut Image, id: u8, name: &str, partitions: i32) {
    let (id, name) = (TopicId([id; 16]), name.to_string());
    let record = Record::CreateTopic { id, name, partitions, placement: 0, configs: Default::default() };
    image.apply(&record).unwrap();
    image.version += 1;
}

/// Partitions of the topic with this number.
fn of(topic: u8, partitions: &[i32]) -> Partitions {
    if partitions.is_empty() { Vec::new() } else { vec![(TopicId([topic; 16]), partitions.to_vec())] }
}

/// A heartbeat in which the member joins, subscribed to `topics`.
fn join(member: &str, topics: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member: member.into(),
        member_epoch: 0,
        instance: None,
        rack: None,
        rebalance_timeout_ms: 60_000,
        topics: Some(topics.iter().map(|topic| (*topic).into()).collect()),
        expression: None,
        assignor: None,
        owned: Some(Vec::new()),
    }
}

/// A heartbeat in which nothing is said beside the epoch.
fn at(member: &str, member_epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat { member_epoch, rebalance_timeout_ms: -1, topics: None, owned: None, ..join(member, &[]) }
}

/// The same, with what it owns.
fn owning(member: &str, member_epoch: i32, owned: Partitions) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: Some(owned), ..at(member, member_epoch) }
}

/// A static member's.
fn as_instance(instance: &str, call: ConsumerHeartbeat) -> ConsumerHeartbeat {
    ConsumerHeartbeat { instance: Some(instance.into()), ..call }
}

/// A group, the world it sees, and what it wrote down.
struct Bed {
    now: Time,
    image: Image,
    settings: GroupSettings,
    ids: Uuids,
    group: ConsumerGroup,
    log: Vec<GroupRecord>,
    audited: Audited,
}

impl Bed {
    fn new(topics: &[(&str, i32)]) -> Bed {
        Bed {
            now: Time { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 },
            image: image(topics),
            settings: GroupSettings::default(),
            ids: Uuids::new(&[1; 32], 0),
            group: ConsumerGroup::new("g".into()),
            log: Vec::new(),
            audited: Audited::default(),
        }
    }

    fn with<T>(&mut self, decide: impl FnOnce(&mut ConsumerGroup, &mut Context<'_>) -> T) -> T {
        let mut audit = Audit::default();
        let (now, image, settings, ids) = (self.now, &self.image, &self.settings, &mut self.ids);
        let mut cx = Context { now, image, settings, ids, audit: &mut audit };
        let decided = decide(&mut self.group, &mut cx);
        audit.keep(&mut self.audited);
        decided
    }

    fn decide(&mut self, call: ConsumerHeartbeat) -> Decision {
        let caller = Caller { asker: (ShardId(0), 7), client_id: "client".into(), client_host: "/127.0.0.1".into() };
        self.with(|group, cx| group.heartbeat(cx, &caller, call))
    }

    /// A heartbeat, whose records hold.
    fn ask(&mut self, call: ConsumerHeartbeat) -> ConsumerHeartbeatAnswer {
        let decision = self.decide(call);
        let answer = answer(&decision);
        self.take(decision.records);
        self.run_due();
        answer
    }

    /// The same; the error code.
    fn code(&mut self, call: ConsumerHeartbeat) -> i16 {
        self.ask(call).error_code
    }

    fn take(&mut self, records: Vec<GroupRecord>) {
        for record in records {
            self.group.apply(Some(self.now), &record, &mut self.audited.counts);
            self.log.push(record);
        }
        self.check();
    }

    /// Time goes on, and what becomes due happens.
    fn pass(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.wall_ms += ms as i64;
        self.run_due();
    }

    fn run_due(&mut self) {
        for _ in 0..1000 {
            let Some(decision) = self.with(|group, cx| group.due(cx)) else {
                assert!(self.group.next_deadline().is_none_or(|at| !self.now.reached(at)), "something stays due");
                return;
            };
            self.take(decision.records);
        }
        panic!("there is always something due");
    }

    fn change_topics(&mut self, change: impl FnOnce(&mut Image)) {
        change(&mut self.image);
        self.image.version += 1;
        self.group.image_changed(&self.image);
        self.run_due();
    }

    /// The broker dies and starts again.
    fn restart(&mut self) {
        let before = durable(&self.group);
        self.group = ConsumerGroup::new("g".into());
        for record in &self.log {
            self.group.apply(None, record, &mut self.audited.counts);
        }
        assert_eq!(durable(&self.group), before, "replayed state equals live state");
        self.group.loaded(self.now);
        self.run_due();
    }

    /// What holds at any time.
    fn check(&self) {
        let mut owners = 0;
        for (name, member) in &self.group.members {
            for partition in each(&member.current.assigned).chain(each(&member.current.revoking)) {
                assert_eq!(self.group.owners.get(&partition), Some(name), "{partition:?} has one owner");
                owners += 1;
            }
            assert!(!member.current.revoking.is_empty() || member.current.state != MemberState::UnrevokedPartitions);
            assert!(member.current.member_epoch <= self.group.epoch.epoch);
        }
        assert_eq!(self.group.owners.len(), owners, "nobody owns what no member has");
        assert!(self.group.target_epoch.epoch <= self.group.epoch.epoch);
    }

    fn assigned(&self, member: &str) -> Partitions {
        self.group.members[member].current.assigned.clone()
    }
}

fn answer(decision: &Decision) -> ConsumerHeartbeatAnswer {
    let [(_, GroupAnswer::ConsumerHeartbeat(answer))] = &decision.answers[..] else { panic!("{decision:?}") };
    answer.clone()
}

/// All that must survive a restart, and what follows from it.
fn durable(group: &ConsumerGroup) -> String {
    let members: Vec<_> =
        group.members.iter().map(|(name, member)| (name, &member.metadata, &member.current)).collect();
    let mut owners: Vec<_> = group.owners.iter().collect();
    owners.sort();
    let rest = (&group.targets, &group.expressions, &group.instances, group.epoch, group.target_epoch);
    format!("{members:#?} {owners:?} {rest:#?}")
}
