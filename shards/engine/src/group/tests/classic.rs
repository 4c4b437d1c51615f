//! The classic protocol's APIs, one table for each: what is asked in which state, and Kafka's error code for it.

use super::*;
use crate::group::api::GroupRequest::{Delete, Describe, Heartbeat, Join as Joins, Leave, List};

/// Groups in every state: `vacant` (never seen), `empty`, `preparing`, `completing`, `stable`; the last three with a leader and one more, a static one.
struct Groups {
    world: World,
    /// The leader of each.
    leaders: BTreeMap<&'static str, MemberRef>,
}

/// What a leader asks.
type Ask = fn(&MemberRef) -> GroupRequest;
type AskWith = Box<dyn Fn(&MemberRef) -> GroupRequest>;

/// The rule, the group, what is asked in it, and the error code.
type Row<A> = (&'static str, &'static str, A, i16);

impl Groups {
    fn new() -> Groups {
        let mut world = World::new();
        let mut leaders = BTreeMap::new();
        let joins = ["empty", "preparing", "completing", "stable"].map(|group| {
            (group, world.ask(group, Joins(old_join(""))), world.ask(group, Joins(static_join("one", ""))))
        });
        world.pass(9_000);
        for (group, first, second) in joins {
            let joined = [world.joined(first).expect("generation"), world.joined(second).expect("generation")];
            leaders.insert(group, who(&joined[0].leader, 1));
            if group == "completing" {
                continue;
            }
            world.sync_all(group, &joined);
            if group == "preparing" {
                let GroupAnswer::Joined(answer) = world.answer(group, Joins(join(""))) else { panic!("joined") };
                world.ask(group, Joins(join(&answer.member)));
            }
            if group == "empty" {
                let all = joined.iter().map(|joined| leaver(&joined.member)).collect();
                assert_eq!(code_of(&world.answer(group, Leave(all))), codes::NONE);
            }
        }
        for (group, state) in [
            ("vacant", "Dead"),
            ("empty", "Empty"),
            ("preparing", "PreparingRebalance"),
            ("completing", "CompletingRebalance"),
            ("stable", "Stable"),
        ] {
            assert_eq!(world.state(group), state, "{group}");
        }
        Groups { world, leaders }
    }

    fn leader(&self, group: &str) -> MemberRef {
        self.leaders.get(group).cloned().unwrap_or_else(|| who("nobody", 1))
    }

    /// Asks each row of a fresh set of groups and compares the code.
    fn check(rows: &[Row<Ask>]) {
        for (rule, group, request, code) in rows {
            let mut groups = Groups::new();
            let request = request(&groups.leader(group));
            let answer = groups.world.answer(group, request);
            assert_eq!(code_of(&answer), *code, "{rule}: {answer:?}");
        }
    }
}

/// Brings a group of this name into the state of this name; its leader.
pub(super) fn in_state(world: &mut World, group: &str) -> MemberRef {
    let mut groups = Groups::new();
    std::mem::swap(world, &mut groups.world);
    groups.leader(group)
}

const ALL: [&str; 5] = ["vacant", "empty", "preparing", "completing", "stable"];

#[test]
fn joins() {
    Groups::check(&[
        ("a session below the minimum", "vacant", |_| Joins(Join { session_timeout_ms: 5_999, ..join("") }), 26),
        ("a session above the maximum", "stable", |_| Joins(Join { session_timeout_ms: 1_800_001, ..join("") }), 26),
        ("a negative session", "vacant", |_| Joins(Join { session_timeout_ms: -1, ..join("") }), 26),
        ("a new member gets its id first (KIP-394)", "vacant", |_| Joins(join("")), 79),
        ("also in a group with members", "stable", |_| Joins(join("")), 79),
        ("an id that nobody gave", "vacant", |_| Joins(join("me")), 25),
        ("the same in an empty group", "empty", |_| Joins(join("me")), 25),
        ("the same in a stable one", "stable", |_| Joins(join("me")), 25),
        ("no protocol", "vacant", |_| Joins(Join { protocols: vec![], ..join("") }), 23),
        ("no protocol type", "vacant", |_| Joins(Join { protocol_type: "".into(), ..join("") }), 23),
        ("another protocol type", "stable", |_| Joins(Join { protocol_type: "connect".into(), ..join("") }), 23),
        (
            "no protocol that all support",
            "stable",
            |_| Joins(Join { protocols: vec![("sticky".into(), Bytes::new())], ..join("") }),
            23,
        ),
        (
            "an empty group takes another protocol type",
            "empty",
            |_| Joins(Join { protocol_type: "connect".into(), ..join("") }),
            79,
        ),
        ("an instance that nobody has, with an id", "stable", |who| Joins(static_join("two", &who.member)), 25),
        ("an instance of another", "stable", |_| Joins(static_join("one", "not-one")), 82),
        ("a leader whose answer was lost gets it again", "completing", |who| Joins(old_join(&who.member)), 0),
    ]);
}

#[test]
fn syncs() {
    let with = |who: &MemberRef, change: fn(&mut Sync)| {
        let GroupRequest::Sync(mut asked) = sync(who, vec![]) else { unreachable!() };
        change(&mut asked);
        GroupRequest::Sync(asked)
    };
    let mut rows: Vec<Row<AskWith>> = vec![
        ("during the joins", "preparing", Box::new(|who| sync(who, vec![])), 27),
        ("the leader's", "completing", Box::new(|who| sync(who, vec![])), 0),
        ("again, when stable", "stable", Box::new(|who| sync(who, vec![])), 0),
        ("an old generation", "stable", Box::new(move |who| with(who, |sync| sync.who.generation = 0)), 22),
        ("a generation to come", "completing", Box::new(move |who| with(who, |sync| sync.who.generation = 2)), 22),
        (
            "another protocol type",
            "completing",
            Box::new(move |who| with(who, |sync| sync.protocol_type = Some("connect".into()))),
            23,
        ),
        (
            "another protocol",
            "stable",
            Box::new(move |who| with(who, |sync| sync.protocol = Some("sticky".into()))),
            23,
        ),
        (
            "before version 5 nothing is said of protocols",
            "stable",
            Box::new(move |who| with(who, |sync| (sync.protocol_type, sync.protocol) = (None, None))),
            0,
        ),
        (
            "an instance that is not known",
            "stable",
            Box::new(move |who| with(who, |sync| sync.who.instance = Some("two".into()))),
            25,
        ),
        (
            "the id of another instance",
            "stable",
            Box::new(move |who| with(who, |sync| sync.who.instance = Some("one".into()))),
            82,
        ),
    ];
    for group in ALL {
        rows.push(("a member that is not there", group, Box::new(|_| sync(&who("me", 1), vec![])), 25));
    }
    for (rule, group, request, code) in rows {
        let mut groups = Groups::new();
        let request = request(&groups.leader(group));
        assert_eq!(code_of(&groups.world.answer(group, request)), code, "{rule} ({group})");
    }
}

#[test]
fn heartbeats() {
    Groups::check(&[
        ("no group", "vacant", |_| Heartbeat(who("me", 1)), 25),
        ("no members", "empty", |who| Heartbeat(who.clone()), 25),
        ("a rebalance has begun", "preparing", |who| Heartbeat(who.clone()), 27),
        ("the assignment is being computed", "completing", |who| Heartbeat(who.clone()), 0),
        ("all is well", "stable", |who| Heartbeat(who.clone()), 0),
        ("another member", "stable", |_| Heartbeat(who("me", 1)), 25),
        ("another generation", "stable", |who| Heartbeat(MemberRef { generation: 0, ..who.clone() }), 22),
        (
            "an instance that is not known",
            "stable",
            |who| Heartbeat(MemberRef { instance: Some("two".into()), ..who.clone() }),
            25,
        ),
        (
            "another holds the instance",
            "stable",
            |who| Heartbeat(MemberRef { instance: Some("one".into()), ..who.clone() }),
            82,
        ),
    ]);
}

#[test]
fn leaving() {
    let by = |instance: &str, member: &str| Leaver { instance: Some(instance.into()), ..leaver(member) };
    for group in ALL {
        let mut groups = Groups::new();
        let leader = groups.leader(group).member;
        let all = vec![
            leaver("me"),
            leaver(""),
            by("two", ""),
            by("one", &leader),
            by("one", ""),
            leaver(&leader),
            leaver(&leader),
        ];
        let GroupAnswer::Left(Ok(left)) = groups.world.answer(group, Leave(all)) else { panic!("left") };
        let expected: &[i16] = match group {
            // Who is not there cannot leave; an instance without an id is how administrators remove static members.
            "vacant" | "empty" => &[25, 25, 25, 25, 25, 25, 25],
            _ => &[25, 25, 25, 82, 0, 0, 25],
        };
        assert_eq!(left, expected, "{group}");
    }
}

#[test]
fn a_member_with_an_id_that_it_never_used_may_leave() {
    let mut world = World::new();
    let GroupAnswer::Joined(joined) = world.answer("g", Joins(join(""))) else { panic!("joined") };
    assert_eq!(code_of(&world.answer("g", Leave(vec![leaver(&joined.member)]))), codes::NONE);
    assert_eq!(world.state("g"), "Dead", "no trace is left");
}

#[test]
fn describing() {
    let mut groups = Groups::new();
    for (group, code, state, protocol, members, protocol_type) in [
        ("vacant", 69, "Dead", "", 0, ""),
        ("empty", 0, "Empty", "", 0, "consumer"),
        ("preparing", 0, "PreparingRebalance", "", 3, "consumer"),
        ("completing", 0, "CompletingRebalance", "", 2, "consumer"),
        ("stable", 0, "Stable", "range", 2, "consumer"),
    ] {
        let described = groups.world.describe(group);
        assert_eq!((described.error_code, described.state), (code, state), "{group}");
        assert_eq!((&*described.protocol, described.members.len()), (protocol, members), "{group}");
        assert_eq!(&*described.protocol_type, protocol_type, "{group}");
        for member in described.members {
            let said = (!member.subscription.is_empty(), !member.assignment.is_empty());
            assert_eq!(said, (group == "stable", group == "stable"), "metadata and assignment of {group}");
            assert_eq!((&*member.client_id, &*member.client_host), ("client", "/127.0.0.1"));
        }
    }
    assert_eq!(groups.world.answer("vacant", Describe).described_message(), "Group vacant not found.");
}

impl GroupAnswer {
    fn described_message(self) -> String {
        let GroupAnswer::Described(described) = self else { panic!("described") };
        described.error_message.unwrap_or_default()
    }
}

#[test]
fn listing() {
    let mut groups = Groups::new();
    let rows: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &[], &["completing", "empty", "preparing", "stable"]),
        (&["Stable"], &[], &["stable"]),
        (&["stable", "EMPTY"], &[], &["empty", "stable"]),
        (&["Assigning"], &[], &[]),
        (&[], &["Classic"], &["completing", "empty", "preparing", "stable"]),
        (&[], &["consumer"], &[]),
        (&["PreparingRebalance", "CompletingRebalance"], &["classic"], &["completing", "preparing"]),
    ];
    for (states, types, expected) in rows {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let filter = ListFilter { states: own(states), types: own(types) };
        let GroupAnswer::Listed(Ok(listed)) = groups.world.answer("", List(filter)) else { panic!("listed") };
        let names: Vec<_> = listed.iter().map(|listed| &*listed.group).collect();
        assert_eq!(names, *expected, "{states:?} {types:?}");
        assert!(listed.iter().all(|listed| (listed.kind, &*listed.protocol_type) == ("classic", "consumer")));
    }
}

#[test]
fn deleting() {
    Groups::check(&[
        ("no group", "vacant", |_| Delete, 69),
        ("nobody is in it", "empty", |_| Delete, 0),
        ("members are joining", "preparing", |_| Delete, 68),
        ("members wait for their assignment", "completing", |_| Delete, 68),
        ("members", "stable", |_| Delete, 68),
    ]);
    let mut groups = Groups::new();
    assert_eq!(code_of(&groups.world.answer("empty", Joins(join("")))), codes::MEMBER_ID_REQUIRED);
    assert_eq!(code_of(&groups.world.answer("empty", Delete)), codes::NONE, "an id given out does not keep a group");
    groups.world.restart();
    assert_eq!(groups.world.state("empty"), "Dead", "and a restart does not bring it back");
}

#[test]
fn a_group_without_a_name_and_partitions_that_are_not_here() {
    let mut world = World::new();
    let rows: [(fn() -> GroupRequest, i16); 8] = [
        (|| Joins(join("")), 24),
        (|| sync(&who("me", 1), vec![]), 24),
        (|| Heartbeat(who("me", 1)), 24),
        (|| Leave(vec![leaver("me")]), 24),
        // Kafka keeps these for groups that committed under the empty name long ago.
        (|| GroupRequest::Commit(commit(who("", -1), 5)), 0),
        (|| GroupRequest::Fetch(FetchOffsets { who: None, topics: None, require_stable: false }), 0),
        (|| Describe, 0),
        (|| Delete, 0),
    ];
    for (request, code) in rows {
        let request = request();
        assert_eq!(code_of(&world.answer("", request.clone())), code, "{request:?}");
        for (partition, expected) in [(4, 16), (5, 14)] {
            world.coordinator.load(5);
            let call = GroupCall {
                partition,
                group: "g".into(),
                client_id: "".into(),
                client_host: "".into(),
                request: request.clone(),
            };
            let decision = world.coordinator.request(world.now, &world.image, (ShardId(0), 0), call);
            assert_eq!(code_of(&decision.answers[0].1), expected, "{request:?} of partition {partition}");
        }
    }
}
