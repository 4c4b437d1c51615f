//! Whatever members, time, topics and restarts do: one owner per partition at any time, nothing is lost by a restart, and when it is quiet everybody gets
//! what is due.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::partitions::{Partitions, count, each, within};
use super::*;
use crate::requests::codes;

/// A consumer as clients are: one heartbeat at a time; it gives up before it takes.
#[derive(Clone, Debug)]
struct Client {
    name: String,
    /// Of a static one.
    instance: Option<&'static str>,
    /// It subscribes by an expression.
    by_expression: bool,
    epoch: i32,
    wants: Vec<&'static str>,
    /// What it consumes.
    owned: Partitions,
    /// What it was told to own.
    told: Partitions,
    /// An answer was lost: it says everything again.
    full: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// A client says something; the answer may be lost.
    Speak {
        client: usize,
        lost: bool,
    },
    /// It does as it was told.
    Obey(usize),
    /// It wants other topics.
    Subscribe {
        client: usize,
        topics: usize,
    },
    Leave(usize),
    /// It says no more; another one comes in its place. (After a leave as well.)
    Crash(usize),
    Pass(u64),
    Restart,
    Widen(usize),
    Recreate(usize),
}

const TOPICS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let step = prop_oneof![
        12 => (client(), prop::bool::weighted(0.2)).prop_map(|(client, lost)| Step::Speak { client, lost }),
        8 => client().prop_map(Step::Obey),
        1 => (client(), 0..7_usize).prop_map(|(client, topics)| Step::Subscribe { client, topics }),
        1 => client().prop_map(Step::Leave),
        1 => client().prop_map(Step::Crash),
        2 => prop::sample::select(vec![100, 5_000, 30_000, 70_000]).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (0..TOPICS.len()).prop_map(Step::Widen),
        1 => (0..TOPICS.len()).prop_map(Step::Recreate),
    ];
    prop::collection::vec(step, 1..120)
}

struct World {
    bed: Bed,
    clients: Vec<Client>,
    names: usize,
    topics: u8,
}

impl World {
    fn new() -> World {
        let clients = (0..CLIENTS).map(|at| Client {
            name: format!("c{at}"),
            instance: (at == 3).then_some("i"),
            by_expression: at == 2,
            epoch: 0,
            wants: TOPICS[..=at.min(2)].to_vec(),
            owned: Vec::new(),
            told: Vec::new(),
            full: false,
        });
        World { bed: Bed::new(&[("a", 4), ("b", 3), ("c", 1)]), clients: clients.collect(), names: CLIENTS, topics: 3 }
    }

    fn speak(&mut self, at: usize, lost: bool) {
        let client = &mut self.clients[at];
        let mut call = if client.epoch == 0 {
            join(&client.name, &[])
        } else {
            let rebalance_timeout_ms = if client.full { 60_000 } else { -1 };
            ConsumerHeartbeat { rebalance_timeout_ms, ..owning(&client.name, client.epoch, client.owned.clone()) }
        };
        if client.by_expression {
            (call.topics, call.expression) = (None, Some(client.wants.join("|").into()));
        } else {
            call.topics = Some(client.wants.iter().map(|topic| (*topic).into()).collect());
        }
        call.instance = client.instance.map(Into::into);
        client.full = lost;
        let answer = self.bed.ask(call);
        if lost {
            return;
        }
        let client = &mut self.clients[at];
        match answer.error_code {
            codes::NONE => {
                client.epoch = answer.member_epoch;
                if let Some(assignment) = answer.assignment {
                    client.told = assignment;
                }
            }
            // Another one of this name was there, and did not say that it goes.
            codes::UNRELEASED_INSTANCE_ID => {}
            codes::FENCED_MEMBER_EPOCH | codes::UNKNOWN_MEMBER_ID | codes::GROUP_ID_NOT_FOUND => {
                (client.epoch, client.owned, client.told) = (0, Vec::new(), Vec::new());
            }
            code => panic!("error {code}"),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Speak { client, lost } => self.speak(client, lost),
            Step::Obey(client) => self.clients[client].owned = self.clients[client].told.clone(),
            Step::Subscribe { client, topics } => {
                let wanted = TOPICS.iter().enumerate().filter(|(at, _)| (topics + 1) >> at & 1 == 1);
                self.clients[client].wants = wanted.map(|(_, topic)| *topic).collect();
            }
            Step::Leave(at) => {
                let client = &self.clients[at];
                if client.epoch > 0 {
                    let call = super::at(&client.name, if client.instance.is_some() { -2 } else { -1 });
                    let call = ConsumerHeartbeat { instance: client.instance.map(Into::into), ..call };
                    self.bed.ask(call);
                    self.replace(at);
                }
            }
            Step::Crash(client) => self.replace(client),
            Step::Pass(ms) => self.bed.pass(ms),
            Step::Restart => self.bed.restart(),
            Step::Widen(topic) => {
                let old = self.bed.image.topic(TOPICS[topic]).unwrap().clone();
                let record = Record::Partitions { id: old.id, partitions: (old.partitions + 1).min(8) };
                if old.partitions < 8 {
                    self.bed.change_topics(|image| image.apply(&record).unwrap());
                }
            }
            Step::Recreate(topic) => {
                let id = self.bed.image.topic(TOPICS[topic]).unwrap().id;
                self.topics += 1;
                let next = self.topics;
                self.bed.change_topics(|image| {
                    image.apply(&Record::DeleteTopic { id }).unwrap();
                    create(image, next, TOPICS[topic], 2);
                });
            }
        }
        self.check();
    }

    /// Another process takes the place of a client.
    fn replace(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.name = format!("c{}", self.names);
        (client.owned, client.told, client.epoch, client.full) = (Vec::new(), Vec::new(), 0, false);
        self.names += 1;
    }

    /// Of all that are members at their epoch, no two consume the same, and the coordinator knows of each. One that is behind (it missed an answer, and
    /// obeys an older one) cannot commit, and learns it with its next heartbeat: that is how far Kafka's protocol goes.
    fn check(&self) {
        let mut consumed = BTreeMap::new();
        for client in &self.clients {
            let member = self.bed.group.members.get(client.name.as_str());
            let Some(member) = member.filter(|member| member.current.member_epoch == client.epoch) else { continue };
            for partition in each(&client.owned) {
                assert_eq!(consumed.insert(partition, &client.name), None, "{partition:?} is consumed twice");
            }
            let held = super::super::partitions::joined(&member.current.assigned, &member.current.revoking);
            assert!(within(&client.owned, &held), "{client:?} consumes what others may get: {member:?}");
        }
    }

    /// Everybody behaves for a while.
    fn settle(&mut self) {
        for _ in 0..40 {
            for client in 0..CLIENTS {
                self.step(&Step::Speak { client, lost: false });
                self.step(&Step::Obey(client));
            }
            self.bed.pass(3_000);
        }
        let before = self.bed.log.len();
        for client in 0..CLIENTS {
            self.step(&Step::Speak { client, lost: false });
        }
        assert_eq!(self.bed.log.len(), before, "nothing is written when nothing changes");
        assert_eq!(self.bed.group.state(), "Stable");
        assert_eq!(self.bed.group.members.len(), CLIENTS);
        let mut expected = 0;
        for topic in TOPICS {
            if self.clients.iter().any(|client| client.wants.contains(&topic)) {
                expected += self.bed.image.topic(topic).unwrap().partitions as usize;
            }
        }
        let consumed: usize = self.clients.iter().map(|client| count(&client.owned)).sum();
        assert_eq!(consumed, expected, "every partition is consumed");
        for client in &self.clients {
            assert_eq!(client.owned, self.bed.group.targets[client.name.as_str()]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn one_owner_at_any_time_and_all_is_consumed_in_the_end(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        world.bed.restart();
        world.settle();
    }
}
