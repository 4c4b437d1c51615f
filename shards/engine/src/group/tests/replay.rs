//! Whatever happens, a coordinator that reads the log knows what the one that wrote it knew.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::group::api::GroupRequest::{
    Commit as Commits, Delete, DeleteOffsets, Fetch, Heartbeat, Join as Joins, Leave,
};

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    Join { group: usize, member: usize, is_static: bool },
    Sync { group: usize, member: usize },
    Heartbeat { group: usize, member: usize },
    Leave { group: usize, member: usize },
    Commit { group: usize, member: Option<usize>, offset: i64 },
    TxnCommit { group: usize, producer: i64, offset: i64 },
    EndTxn { producer: i64, committed: bool },
    Delete { group: usize },
    DeleteOffset { group: usize },
    Pass { ms: u64 },
    DiskFull(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (group, member) = (0..2_usize, 0..4_usize);
    prop_oneof![
        6 => (group.clone(), member.clone(), any::<bool>())
            .prop_map(|(group, member, is_static)| Step::Join { group, member, is_static }),
        6 => (group.clone(), member.clone()).prop_map(|(group, member)| Step::Sync { group, member }),
        2 => (group.clone(), member.clone()).prop_map(|(group, member)| Step::Heartbeat { group, member }),
        2 => (group.clone(), member.clone()).prop_map(|(group, member)| Step::Leave { group, member }),
        3 => (group.clone(), proptest::option::of(member), 0..100_i64)
            .prop_map(|(group, member, offset)| Step::Commit { group, member, offset }),
        3 => (group.clone(), 0..3_i64, 0..100_i64)
            .prop_map(|(group, producer, offset)| Step::TxnCommit { group, producer, offset }),
        2 => (0..3_i64, any::<bool>()).prop_map(|(producer, committed)| Step::EndTxn { producer, committed }),
        1 => group.clone().prop_map(|group| Step::DeleteOffset { group }),
        1 => group.prop_map(|group| Step::Delete { group }),
        4 => prop_oneof![Just(500_u64), Just(3_000), Just(12_000), Just(700_000)].prop_map(|ms| Step::Pass { ms }),
        1 => any::<bool>().prop_map(Step::DiskFull),
        1 => Just(Step::Restart),
    ]
}

/// A member as its client knows it.
#[derive(Clone, Default)]
struct Client {
    id: String,
    instance: Option<Name>,
    generation: i32,
    leads: bool,
    waits: Option<u64>,
}

#[derive(Default)]
struct Clients {
    all: BTreeMap<(usize, usize), Client>,
}

impl Clients {
    fn of(&mut self, group: usize, member: usize) -> &mut Client {
        self.all.entry((group, member)).or_default()
    }

    /// Takes in what was answered.
    fn hear(&mut self, world: &mut World) {
        for client in self.all.values_mut() {
            let Some(answer) = client.waits.and_then(|asked| world.given(asked)) else { continue };
            client.waits = None;
            let code = code_of(&answer);
            if let GroupAnswer::Joined(joined) = answer {
                client.id = if code == codes::UNKNOWN_MEMBER_ID { String::new() } else { joined.member.to_string() };
                client.leads = code == 0 && joined.leader == joined.member;
                client.generation = joined.generation;
            } else if matches!(code, codes::UNKNOWN_MEMBER_ID | codes::FENCED_INSTANCE_ID) {
                client.id.clear();
            }
        }
    }

    fn who(&mut self, group: usize, member: usize) -> MemberRef {
        let client = self.of(group, member);
        MemberRef { instance: client.instance.clone(), ..who(&client.id, client.generation) }
    }
}

fn take(world: &mut World, clients: &mut Clients, step: Step) {
    let names = ["g", "h"];
    match step {
        Step::Join { group, member, is_static } => {
            let client = clients.of(group, member);
            client.instance = is_static.then(|| format!("i{member}").into());
            let asked = Join { instance: client.instance.clone(), ..join(&client.id) };
            client.waits = Some(world.ask(names[group], Joins(asked)));
        }
        Step::Sync { group, member } => {
            let who = clients.who(group, member);
            let all = if clients.of(group, member).leads { vec![(who.member.clone(), "x".into())] } else { vec![] };
            clients.of(group, member).waits = Some(world.ask(names[group], sync(&who, all)));
        }
        Step::Heartbeat { group, member } => {
            let who = clients.who(group, member);
            world.answer(names[group], Heartbeat(who));
        }
        Step::Leave { group, member } => {
            let who = clients.who(group, member);
            world.answer(names[group], Leave(vec![leaver(&who.member)]));
        }
        Step::Commit { group, member, offset } => {
            let who = member.map_or_else(|| who("", -1), |member| clients.who(group, member));
            world.answer(names[group], Commits(commit(who, offset)));
        }
        Step::TxnCommit { group, producer, offset } => {
            world.answer(names[group], super::transactional::in_txn(commit(who("", -1), offset), producer));
        }
        Step::EndTxn { producer, committed } => world.end(producer, committed),
        Step::DeleteOffset { group } => {
            world.answer(names[group], DeleteOffsets(vec![("orders".into(), vec![0])]));
        }
        Step::Delete { group } => {
            world.answer(names[group], Delete);
        }
        Step::Pass { ms } => world.pass(ms),
        Step::DiskFull(full) => world.disk_full = full.then_some(codes::COORDINATOR_NOT_AVAILABLE),
        Step::Restart => {
            world.restart();
            // Connections went with the process.
            clients.all.values_mut().for_each(|client| client.waits = None);
        }
    }
    world.run();
    clients.hear(world);
}

/// Everything durable of a group that is at rest, as its clients see it.
fn seen(world: &mut World, group: &str) -> String {
    let described = world.describe(group);
    let offsets = world.answer(group, Fetch(FetchOffsets { who: None, topics: None, require_stable: false }));
    let offsets = (offsets, super::transactional::stable(world, group));
    match described.state {
        // Members in the middle of a rebalance are not durable.
        "PreparingRebalance" | "CompletingRebalance" => format!("{offsets:?}"),
        // Ids that were given out and never came back are not durable either; a group that was written down has a protocol type.
        "Empty" | "Dead" if described.protocol_type.is_empty() => format!("{offsets:?}"),
        _ => format!("{described:?} {offsets:?}"),
    }
}

#[test]
fn a_member_is_what_the_last_record_says() {
    let mut world = World::new();
    let member = world.stable("g", 1).remove(0);
    let other = Join { protocols: vec![("range".into(), subscription(&["bills"]))], ..old_join(&member.member) };
    let asked = world.ask("g", Joins(other));
    let joined = world.joined(asked).expect("the next generation: it is alone");
    world.sync_all("g", &[joined]);
    let live = format!("{:?}", world.describe("g"));
    assert!(live.contains("bills"), "{live}");
    world.restart();
    assert_eq!(format!("{:?}", world.describe("g")), live);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replayed_state_is_live_state(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut world, mut clients) = (World::new(), Clients::default());
        for step in steps {
            take(&mut world, &mut clients, step);
        }
        for group in ["g", "h"] {
            let state = world.state(group);
            let live = seen(&mut world, group);
            let (log, settings, now) = (world.log.clone(), world.settings.clone(), world.now);
            let mut other = World::with(settings);
            (other.log, other.now) = (log, now);
            other.restart();
            let offsets = FetchOffsets { who: None, topics: None, require_stable: false };
            match state {
                "PreparingRebalance" | "CompletingRebalance" => {
                    let committed = other.answer(group, Fetch(offsets));
                    let stable = super::transactional::stable(&mut other, group);
                    prop_assert_eq!(live, format!("{:?}", (committed, stable)));
                }
                _ => prop_assert_eq!(live, seen(&mut other, group)),
            }
        }
    }

    #[test]
    fn everybody_who_waits_is_answered_in_the_end(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut world, mut clients) = (World::new(), Clients::default());
        let mut restarted = 0;
        for step in steps {
            let restart = matches!(step, Step::Restart);
            take(&mut world, &mut clients, step);
            if restart {
                restarted = world.asked;
            }
        }
        world.disk_full = None;
        world.pass(400_000);
        clients.hear(&mut world);
        for client in clients.all.values() {
            prop_assert!(client.waits.is_none_or(|asked| asked <= restarted), "question {:?}", client.waits);
        }
    }
}
