//! Whatever members of both protocols, time and restarts do to one group: a partition has one owner that may commit for it, nothing is lost by a restart,
//! and when it is quiet every partition is consumed, whichever kind of group it has become.

use bytes::Bytes;
use floe_wire::consumer_protocol::{Assignment, Subscription, TopicPartition};
use proptest::prelude::*;

use super::*;
use crate::group::api::GroupRequest::{Commit as Commits, Join as Joins, Leave};

const CLIENTS: usize = 4;
const PARTITIONS: i32 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A client does what is next; the answer of a KIP-848 one may be lost.
    Speak {
        client: usize,
        lost: bool,
    },
    Leave(usize),
    /// It says no more; another one comes in its place.
    Crash(usize),
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        16 => (client(), prop::bool::weighted(0.1)).prop_map(|(client, lost)| Step::Speak { client, lost }),
        1 => client().prop_map(Step::Leave),
        1 => client().prop_map(Step::Crash),
        3 => prop::sample::select(vec![100, 3_000, 12_000, 50_000]).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// What a client of the classic protocol waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Doing {
    /// It is to join.
    #[default]
    Out,
    Joining(u64),
    Syncing(u64),
    /// It has its assignment.
    In,
}

#[derive(Clone, Debug, Default)]
struct Client {
    is_classic: bool,
    /// Of a classic one: empty until it is given one.
    id: String,
    /// Generation or epoch.
    epoch: i32,
    owned: Vec<i32>,
    doing: Doing,
}

struct Group {
    world: World,
    clients: Vec<Client>,
    names: usize,
}

fn subscribed(owned: &[i32]) -> Bytes {
    let of_topic = TopicPartition { topic: "orders".into(), partitions: owned.to_vec() };
    Subscription { topics: vec!["orders".into()], owned_partitions: vec![of_topic], ..Subscription::default() }
        .to_bytes(1)
}

fn assigned(partitions: Vec<i32>) -> Bytes {
    let assigned_partitions = vec![TopicPartition { topic: "orders".into(), partitions }];
    Assignment { assigned_partitions, user_data: None }.to_bytes(1)
}

impl Group {
    fn new() -> Group {
        let clients = (0..CLIENTS).map(|at| Client { is_classic: at % 2 == 0, ..Client::default() });
        let mut group = Group { world: World::new(), clients: clients.collect(), names: 0 };
        (0..CLIENTS).for_each(|at| group.replace(at));
        group
    }

    fn replace(&mut self, at: usize) {
        self.names += 1;
        let is_classic = self.clients[at].is_classic;
        let id = if is_classic { String::new() } else { format!("n{}", self.names) };
        self.clients[at] = Client { is_classic, id, ..Client::default() };
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Speak { client, .. } if self.clients[client].is_classic => self.speak_classic(client),
            Step::Speak { client, lost } => self.speak(client, lost),
            Step::Leave(at) => {
                let client = self.clients[at].clone();
                if client.is_classic {
                    self.world.answer("g", Leave(vec![leaver(&client.id)]));
                } else {
                    self.world.answer("g", leaves(&client.id));
                }
                self.replace(at);
            }
            Step::Crash(at) => self.replace(at),
            Step::Pass(ms) => self.world.pass(ms),
            Step::Restart => {
                self.world.restart();
                // Connections went with the process.
                self.clients
                    .iter_mut()
                    .filter(|it| it.is_classic && it.doing != Doing::In)
                    .for_each(|it| it.doing = Doing::Out);
            }
        }
        self.world.run();
        self.check();
    }

    fn speak(&mut self, at: usize, lost: bool) {
        let client = &mut self.clients[at];
        let GroupAnswer::ConsumerHeartbeat(answer) =
            self.world.answer("g", full(&client.id, client.epoch, &client.owned))
        else {
            panic!("a heartbeat")
        };
        match answer.error_code {
            _ if lost => {}
            codes::NONE => {
                client.epoch = answer.member_epoch;
                if let Some(told) = answer.assignment {
                    client.owned = told.into_iter().flat_map(|(_, partitions)| partitions).collect();
                }
            }
            codes::UNKNOWN_MEMBER_ID | codes::FENCED_MEMBER_EPOCH | codes::GROUP_ID_NOT_FOUND => {
                (client.epoch, client.owned) = (0, Vec::new());
            }
            code => panic!("error {code}"),
        }
    }

    /// It gives up what it has when it has lost its place, or when the group is a classic one, whose leader may give it to another.
    fn speak_classic(&mut self, at: usize) {
        let client = &mut self.clients[at];
        match client.doing {
            Doing::Out => {
                let protocols = vec![("range".into(), subscribed(&client.owned))];
                client.doing = Doing::Joining(self.world.ask("g", Joins(Join { protocols, ..join(&client.id) })));
            }
            Doing::Joining(asked) => {
                let Some(joined) = self.world.joined(asked) else { return };
                client.doing = Doing::Out;
                match joined.error_code {
                    codes::NONE => {
                        client.epoch = joined.generation;
                        if !joined.leader.is_empty() {
                            client.owned.clear();
                        }
                        let count = joined.members.len() as i32;
                        let share = |at: i32| assigned((0..PARTITIONS).filter(|one| one % count == at).collect());
                        let all = joined.members.iter().zip(0..).map(|((id, ..), at)| (id.clone(), share(at)));
                        let sync = sync(&who(&client.id, client.epoch), all.collect());
                        client.doing = Doing::Syncing(self.world.ask("g", sync));
                    }
                    codes::MEMBER_ID_REQUIRED => client.id = joined.member.to_string(),
                    codes::REBALANCE_IN_PROGRESS => {}
                    codes::UNKNOWN_MEMBER_ID => (client.id, client.owned) = Default::default(),
                    code => panic!("error {code}"),
                }
            }
            Doing::Syncing(asked) => {
                let Some(synced) = self.world.synced(asked) else { return };
                self.hear(at, synced.error_code);
                if synced.error_code == codes::NONE {
                    let (_, given) = Assignment::from_bytes(&synced.assignment).expect("an assignment");
                    let given: Vec<i32> = given.assigned_partitions.into_iter().flat_map(|it| it.partitions).collect();
                    let client = &mut self.clients[at];
                    // Who had to give up something joins again at once (KIP-429).
                    let gave_up = client.owned.iter().any(|one| !given.contains(one));
                    (client.owned, client.doing) = (given, if gave_up { Doing::Out } else { Doing::In });
                }
            }
            Doing::In => {
                let code = self.world.heartbeat("g", &who(&client.id, client.epoch));
                self.hear(at, code);
            }
        }
    }

    fn hear(&mut self, at: usize, code: i16) {
        let client = &mut self.clients[at];
        match code {
            codes::NONE => {}
            codes::REBALANCE_IN_PROGRESS => client.doing = Doing::Out,
            codes::ILLEGAL_GENERATION => (client.doing, client.owned) = (Doing::Out, Vec::new()),
            codes::UNKNOWN_MEMBER_ID => (client.doing, client.owned, client.id) = Default::default(),
            code => panic!("error {code}"),
        }
    }

    /// No two may commit for the same partition. The Java client does not commit between its join and its assignment; librdkafka does, at the last
    /// generation it was told, and so does everybody here.
    fn check(&mut self) {
        let mut owners = BTreeMap::new();
        for client in self.clients.clone() {
            for partition in client.owned {
                let commit = commit_of(who(&client.id, client.epoch), "orders", 1, &[(partition, 1)]);
                if code_of(&self.world.answer("g", Commits(commit))) == codes::NONE {
                    let other = owners.insert(partition, client.id.clone());
                    assert_eq!(other, None, "{} owns {partition} as well", client.id);
                }
            }
        }
    }

    /// Everything durable, as clients see it.
    fn seen(world: &mut World) -> String {
        let described = world.describe("g");
        let consumers = world.answer("g", GroupRequest::ConsumerDescribe);
        match described.state {
            "PreparingRebalance" | "CompletingRebalance" => String::new(),
            // Ids that were given out and never came back are not durable either.
            "Empty" | "Dead" if described.protocol_type.is_empty() && code_of(&consumers) != codes::NONE => {
                String::new()
            }
            _ => format!("{described:?} {consumers:?}"),
        }
    }

    fn settle(&mut self) {
        for _ in 0..80 {
            (0..CLIENTS).for_each(|client| self.step(&Step::Speak { client, lost: false }));
            self.world.pass(1_000);
        }
        let mut consumed: Vec<i32> = self.clients.iter().flat_map(|client| client.owned.clone()).collect();
        consumed.sort_unstable();
        assert_eq!(consumed, (0..PARTITIONS).collect::<Vec<_>>(), "{:?}", self.clients);
    }
}

/// It says everything each time, and so is told everything: the answer before may have been lost.
fn full(member: &str, member_epoch: i32, owned: &[i32]) -> GroupRequest {
    let topics = Some(vec!["orders".into()]);
    let beat = beat(member, member_epoch, Some(owned));
    GroupRequest::ConsumerHeartbeat(ConsumerHeartbeat { rebalance_timeout_ms: 30_000, topics, ..beat })
}

fn leaves(member: &str) -> GroupRequest {
    GroupRequest::ConsumerHeartbeat(beat(member, -1, None))
}

/// Nobody disagrees at any time; what a restart reads is what was there; when it is quiet everything is consumed, by both kinds and by classic ones alone.
fn agree(steps: &[Step]) {
    let mut group = Group::new();
    for step in steps {
        group.step(step);
    }
    let live = Group::seen(&mut group.world);
    if !live.is_empty() {
        group.world.restart();
        assert_eq!(live, Group::seen(&mut group.world));
        group.step(&Step::Restart);
    }
    group.settle();
    // The KIP-848 ones go, and those that stay share everything as a classic group.
    group.clients.retain(|client| client.is_classic || client.epoch == 0);
    for name in 1..=group.names {
        group.world.answer("g", leaves(&format!("n{name}")));
        group.world.run();
    }
    assert_eq!(group.clients.len(), CLIENTS / 2);
    for _ in 0..80 {
        (0..CLIENTS / 2).for_each(|client| group.step(&Step::Speak { client, lost: false }));
        group.world.pass(1_000);
    }
    assert_eq!(group.world.state("g"), "Stable");
    let consumed: usize = group.clients.iter().map(|client| client.owned.len()).sum();
    assert_eq!(consumed, PARTITIONS as usize);
}

/// Histories after which a classic member had a generation to commit at for what it still had in hand, and another had been given.
#[test]
fn a_generation_gives_no_say_in_partitions_of_others() {
    let speak = |clients: &[usize]| clients.iter().map(|&client| Step::Speak { client, lost: false }).collect();
    let pass = |ms| vec![Step::Pass(ms)];
    let rows: [(&str, Vec<Vec<Step>>); 2] = [
        (
            "its session ended while it was to join again, and its join takes it in anew",
            vec![
                speak(&[2, 2, 3, 0, 1]),
                vec![Step::Leave(3)],
                speak(&[2, 0, 2, 0, 0, 0, 0, 2, 2]),
                pass(12_000),
                speak(&[0, 0, 0, 0, 0]),
            ],
        ),
        (
            "the group was a classic one for a moment, of which only targets are left as assignments",
            vec![
                speak(&[0, 3]),
                pass(50_000),
                speak(&[2, 2, 2]),
                pass(3_000),
                speak(&[2]),
                vec![Step::Crash(3)],
                speak(&[3, 2, 2]),
                vec![Step::Leave(3)],
            ],
        ),
    ];
    for (what, steps) in rows {
        println!("{what}");
        agree(&steps.concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_of_both_protocols_agree(steps in prop::collection::vec(step(), 1..100)) {
        agree(&steps);
    }
}
