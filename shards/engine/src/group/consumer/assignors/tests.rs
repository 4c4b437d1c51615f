//! What the assignors give: cases by hand, and laws over random groups.

use std::collections::BTreeMap;

use floe_wire::ids::TopicId;
use proptest::prelude::*;

use super::{Assignable, AssignableMember, AssignableTopic, RANGE, UNIFORM, assign};
use crate::group::consumer::partitions::{self, Partitions};

/// A group in owned values. Topics are numbered from 1 (their ids); members are named `m0`, ...
#[derive(Clone, Debug, Default)]
struct Case {
    partitions: Vec<i32>,
    /// By member: topics (positions) it subscribes to, rising; and its instance.
    members: Vec<(Vec<usize>, Option<&'static str>)>,
    before: Vec<Partitions>,
}

fn topic(at: usize) -> TopicId {
    TopicId([at as u8 + 1; 16])
}

fn run(assignor: &str, case: &Case) -> Vec<Partitions> {
    let names: Vec<String> = (0..case.members.len()).map(|at| format!("m{at}")).collect();
    let mut subscriptions: Vec<Vec<usize>> = case.members.iter().map(|(topics, _)| topics.clone()).collect();
    subscriptions.sort();
    subscriptions.dedup();
    let given = Assignable {
        topics: (0..case.partitions.len())
            .map(|at| AssignableTopic { id: topic(at), partitions: case.partitions[at] })
            .collect(),
        members: (0..names.len())
            .map(|at| AssignableMember {
                id: &names[at],
                instance: case.members[at].1,
                subscription: subscriptions.iter().position(|topics| *topics == case.members[at].0).unwrap(),
                before: case.before.get(at).map_or(&[], Vec::as_slice),
            })
            .collect(),
        subscriptions,
    };
    assign(assignor, &given)
}

fn given(topics: &[(usize, &[i32])]) -> Partitions {
    topics.iter().map(|(at, partitions)| (topic(*at), partitions.to_vec())).collect()
}

fn subscribers(topics: &[&[usize]]) -> Vec<(Vec<usize>, Option<&'static str>)> {
    topics.iter().map(|topics| (topics.to_vec(), None)).collect()
}

#[test]
fn range_cuts_topics_alike() {
    let mut case = Case { partitions: vec![3, 3], members: subscribers(&[&[0, 1], &[0, 1]]), before: Vec::new() };
    assert_eq!(run(RANGE, &case), [given(&[(0, &[0, 1]), (1, &[0, 1])]), given(&[(0, &[2]), (1, &[2])])]);
    case.members = subscribers(&[&[0], &[0, 1]]);
    assert_eq!(run(RANGE, &case), [given(&[(0, &[0, 1])]), given(&[(0, &[2]), (1, &[0, 1, 2])])]);
    case = Case { partitions: vec![2], members: subscribers(&[&[0], &[0], &[0]]), before: Vec::new() };
    assert_eq!(run(RANGE, &case), [given(&[(0, &[0])]), given(&[(0, &[1])]), given(&[])]);
    // Static members first, by instance.
    case.members = vec![(vec![0], None), (vec![0], Some("z")), (vec![0], Some("a"))];
    assert_eq!(run(RANGE, &case), [given(&[]), given(&[(0, &[1])]), given(&[(0, &[0])])]);
    assert_eq!(run(RANGE, &Case::default()), Vec::<Partitions>::new());
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    let mut case = Case { partitions: vec![6], members: subscribers(&[&[0], &[0]]), before: Vec::new() };
    let two = run(UNIFORM, &case);
    assert_eq!(two, [given(&[(0, &[0, 2, 4])]), given(&[(0, &[1, 3, 5])])]);
    case.before = two;
    case.members = subscribers(&[&[0], &[0], &[0]]);
    let three = run(UNIFORM, &case);
    assert_eq!(three, [given(&[(0, &[0, 2])]), given(&[(0, &[1, 3])]), given(&[(0, &[4, 5])])], "one of each moves");
    case.before = three;
    case.partitions = vec![9];
    let wider = run(UNIFORM, &case);
    assert!(case.before.iter().zip(&wider).all(|(before, after)| partitions::within(before, after)), "{wider:?}");
    case.members[0].0.clear();
    case.before = wider.clone();
    let left = run(UNIFORM, &case);
    assert!(left[0].is_empty() && partitions::within(&wider[1], &left[1]) && partitions::within(&wider[2], &left[2]));
    // What two believed to have goes to the first; what is not there goes to nobody.
    case = Case { partitions: vec![2], members: subscribers(&[&[0], &[0]]), before: vec![given(&[(0, &[0])]); 2] };
    case.before[1].push((topic(7), vec![0]));
    case.before[1][0].1.push(-1);
    case.before[1][0].1.push(9);
    assert_eq!(run(UNIFORM, &case), [given(&[(0, &[0])]), given(&[(0, &[1])])]);
}

#[test]
fn uniform_evens_out_different_subscriptions() {
    // m0 alone takes topic 1; topic 0 makes up for it.
    let case = Case {
        partitions: vec![6, 2],
        members: subscribers(&[&[0, 1], &[0]]),
        before: vec![given(&[(0, &[0, 1, 2, 3])])],
    };
    let shares = run(UNIFORM, &case);
    assert_eq!(shares.iter().map(|set| partitions::count(set)).collect::<Vec<_>>(), [4, 4]);
    assert!(partitions::within(&given(&[(0, &[0, 1]), (1, &[0, 1])]), &shares[0]), "{shares:?}");
}

fn cases() -> impl Strategy<Value = Case> {
    (prop::collection::vec(0..12_i32, 1..6), 1..7_usize, any::<bool>()).prop_flat_map(|(partitions, members, alike)| {
        let topics = partitions.len();
        let subscription = prop::collection::vec(any::<bool>(), topics);
        let before = prop::collection::vec((0..topics, 0..12_i32), 0..12);
        prop::collection::vec((subscription, before), members).prop_map(move |given| Case {
            partitions: partitions.clone(),
            members: given
                .iter()
                .map(|(wanted, _)| ((0..topics).filter(|at| alike || wanted[*at]).collect(), None))
                .collect(),
            before: given
                .iter()
                .map(|(_, before)| {
                    let all: Partitions = before.iter().map(|(at, partition)| (topic(*at), vec![*partition])).collect();
                    partitions::sorted(&all)
                })
                .collect(),
        })
    })
}

/// Owner by partition; panics when there are two.
fn owners(shares: &[Partitions]) -> BTreeMap<(TopicId, i32), usize> {
    let mut owners = BTreeMap::new();
    for (at, share) in shares.iter().enumerate() {
        assert_eq!(partitions::sorted(share), *share, "in order");
        for partition in partitions::each(share) {
            assert_eq!(owners.insert(partition, at), None, "{partition:?} has two owners");
        }
    }
    owners
}

proptest! {
    #[test]
    fn every_partition_has_one_subscribed_owner(case in cases(), assignor in prop::sample::select(vec![UNIFORM, RANGE])) {
        let owners = owners(&run(assignor, &case));
        for (at, count) in case.partitions.iter().enumerate() {
            let wanted = case.members.iter().any(|(topics, _)| topics.contains(&at));
            for partition in 0..*count {
                let owner = owners.get(&(topic(at), partition));
                prop_assert_eq!(owner.is_some(), wanted);
                prop_assert!(owner.is_none_or(|owner| case.members[*owner].0.contains(&at)));
            }
        }
        let all: i32 = case.partitions.iter().enumerate().filter(|(at, _)| case.members.iter().any(|(topics, _)| topics.contains(at))).map(|(_, count)| count).sum();
        prop_assert_eq!(owners.len(), all as usize, "nothing that does not exist");
    }

    #[test]
    fn uniform_is_even_and_stays(case in cases()) {
        let shares = run(UNIFORM, &case);
        let load: Vec<usize> = shares.iter().map(|share| partitions::count(share)).collect();
        for ((id, _), owner) in owners(&shares) {
            let at = usize::from(id.0[0]) - 1;
            for (other, (topics, _)) in case.members.iter().enumerate() {
                prop_assert!(!topics.contains(&at) || load[owner] < load[other] + 2, "{:?}", shares);
            }
        }
        let again = run(UNIFORM, &Case { before: shares.clone(), ..case.clone() });
        prop_assert_eq!(&again, &shares, "nothing moves when nothing changed");
    }

    #[test]
    fn uniform_moves_the_least_among_equals(count in 0..40_i32, from in 1..8_usize, to in 1..8_usize) {
        let members = |n: usize| vec![(vec![0], None); n];
        let mut case = Case { partitions: vec![count], members: members(from), before: Vec::new() };
        case.before = run(UNIFORM, &case);
        case.members = members(to);
        case.before.truncate(to);
        let kept: usize = case.before.iter().map(|share| partitions::count(share)).sum();
        let before = case.before.clone();
        let after = run(UNIFORM, &case);
        let stayed: usize = before.iter().zip(&after).map(|(before, after)| partitions::count(&partitions::common(before, after))).sum();
        // Those who were there lose only what newcomers must get.
        let newcomers: usize = after.iter().skip(from).map(|share| partitions::count(share)).sum();
        prop_assert_eq!(kept - stayed, newcomers);
    }
}

#[test]
fn ten_thousand_partitions_among_a_thousand_members_cost_about_that() {
    // Not timed: with work that grows by members times topics this would not end in any reasonable time under the test profile.
    let topics = 250;
    let alike =
        Case { partitions: vec![40; topics], members: vec![((0..topics).collect(), None); 1000], before: Vec::new() };
    let differ = Case {
        members: (0..1000).map(|at| ((0..topics).filter(|topic| (topic + at) % 5 != 0).collect(), None)).collect(),
        ..alike.clone()
    };
    for case in [alike, differ] {
        for assignor in [UNIFORM, RANGE] {
            let shares = run(assignor, &case);
            assert_eq!(shares.iter().map(|share| partitions::count(share)).sum::<usize>(), 10_000);
        }
        let shares = run(UNIFORM, &case);
        assert!(shares.iter().all(|share| partitions::count(share) == 10));
        let fewer = Case { members: case.members[..900].to_vec(), before: shares.clone(), ..case };
        let after = run(UNIFORM, &fewer);
        let stayed = |at: usize| partitions::within(&shares[at], &after[at]);
        assert!((0..900).filter(|at| !stayed(*at)).count() <= 10, "only what leavers had moves");
    }
}
