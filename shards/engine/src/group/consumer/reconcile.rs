//! The way of one member from what it owns to what it shall own. A pure function of both; KIP-848's state machine.
//!
//! Invariants: a member gets a partition only when nobody else holds it, and holds what it must give up until it says that it has; its epoch reaches the
//! target's only when it has given up all that the target does not have. What stays is never touched.

use floe_wire::ids::TopicId;

use super::partitions::{Partitions, common, disjoint, joined, push, without};
use crate::group::records::{CurrentAssignment, MemberState};

/// What a member is measured against.
pub(super) struct Goal<'a, F> {
    /// Epoch of the target.
    pub epoch: i32,
    /// What it shall own.
    pub target: &'a [(TopicId, Vec<i32>)],
    /// What it says it owns, in order; `None`: it does not say.
    pub owned: Option<&'a [(TopicId, Vec<i32>)]>,
    /// Whether no other member holds the partition.
    pub is_free: F,
}

/// Where the member stands after this heartbeat; `None`: where it stood.
pub(super) fn reconcile<F: Fn(TopicId, i32) -> bool>(
    current: &CurrentAssignment,
    goal: &Goal<'_, F>,
) -> Option<CurrentAssignment> {
    match current.state {
        MemberState::Stable if current.member_epoch == goal.epoch => None,
        MemberState::UnrevokedPartitions | MemberState::Unknown if still_holds(&current.revoking, goal) => None,
        // A newer broker's state: what the member keeps is measured against the target anew.
        MemberState::Unknown => advance(current, goal.epoch, goal),
        // After it has given up what it had to, the target may have moved on: it may have to give up more, at the same epoch (Kafka since 4.3).
        _ => advance(current, current.member_epoch, goal),
    }
}

/// Whether the member may hold some of these: it says so, or it does not say.
fn still_holds<F>(these: &[(TopicId, Vec<i32>)], goal: &Goal<'_, F>) -> bool {
    goal.owned.is_none_or(|owned| !disjoint(these, owned))
}

/// The next step to the target, at `epoch` while something must be given up first.
fn advance<F: Fn(TopicId, i32) -> bool>(
    current: &CurrentAssignment,
    epoch: i32,
    goal: &Goal<'_, F>,
) -> Option<CurrentAssignment> {
    let kept = common(&current.assigned, goal.target);
    let revoking = without(&current.assigned, goal.target);
    if !revoking.is_empty() && still_holds(&revoking, goal) {
        return moved(current, epoch, MemberState::UnrevokedPartitions, kept, revoking);
    }
    let (mut gained, mut all) = (Partitions::new(), true);
    for (topic, partitions) in without(goal.target, &kept) {
        for partition in partitions {
            if (goal.is_free)(topic, partition) {
                push(&mut gained, topic, partition);
            } else {
                all = false;
            }
        }
    }
    let state = if all { MemberState::Stable } else { MemberState::UnreleasedPartitions };
    let assigned = if gained.is_empty() { kept } else { joined(&kept, &gained) };
    moved(current, goal.epoch, state, assigned, Partitions::new())
}

/// The member's next assignment. The epoch before is remembered as long as nothing else changes: repeating a heartbeat changes nothing.
fn moved(
    current: &CurrentAssignment,
    member_epoch: i32,
    state: MemberState,
    assigned: Partitions,
    revoking: Partitions,
) -> Option<CurrentAssignment> {
    if (current.member_epoch, current.state) == (member_epoch, state)
        && current.assigned == assigned
        && current.revoking == revoking
    {
        return None;
    }
    Some(CurrentAssignment { member_epoch, previous_epoch: current.member_epoch, state, assigned, revoking })
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberState::{Stable, Unknown, UnreleasedPartitions, UnrevokedPartitions};

    fn set(partitions: &[i32]) -> Partitions {
        let all: Partitions = partitions.iter().map(|partition| (TopicId([1; 16]), vec![*partition])).collect();
        super::super::partitions::sorted(&all)
    }

    /// State, epoch, assigned, revoking.
    type At<'a> = (MemberState, i32, &'a [i32], &'a [i32]);

    type Row<'a> = (&'a str, At<'a>, (i32, &'a [i32]), Option<&'a [i32]>, &'a [i32], At<'a>);

    #[test]
    fn members_reach_their_target_step_by_step() {
        #[rustfmt::skip]
        let rows: &[Row] = &[
            // What happens, where it stands, target (epoch, partitions), what it says it owns, what others hold, where it stands then.
            ("stable stays",                      (Stable, 5, &[1, 2], &[]), (5, &[1, 2]), None, &[], (Stable, 5, &[1, 2], &[])),
            ("a new epoch with the same target",  (Stable, 5, &[1, 2], &[]), (6, &[1, 2]), None, &[], (Stable, 6, &[1, 2], &[])),
            ("more, and it is free",              (Stable, 5, &[1], &[]), (6, &[1, 2]), None, &[], (Stable, 6, &[1, 2], &[])),
            ("more, and it is held",              (Stable, 5, &[1], &[]), (6, &[1, 2]), None, &[2], (UnreleasedPartitions, 6, &[1], &[])),
            ("more, and some of it is held",      (Stable, 5, &[1], &[]), (6, &[1, 2, 3]), None, &[2], (UnreleasedPartitions, 6, &[1, 3], &[])),
            ("less: it keeps its epoch",          (Stable, 5, &[1, 2], &[]), (6, &[1]), None, &[], (UnrevokedPartitions, 5, &[1], &[2])),
            ("less, and it says it owns it",      (Stable, 5, &[1, 2], &[]), (6, &[1]), Some(&[1, 2]), &[], (UnrevokedPartitions, 5, &[1], &[2])),
            ("less, which it never had in hand",  (Stable, 5, &[1, 2], &[]), (6, &[1]), Some(&[1]), &[], (Stable, 6, &[1], &[])),
            ("other ones: first the old go",      (Stable, 5, &[1, 2], &[]), (6, &[1, 3]), None, &[], (UnrevokedPartitions, 5, &[1], &[2])),
            ("it does not say",                   (UnrevokedPartitions, 5, &[1], &[2]), (6, &[1, 3]), None, &[], (UnrevokedPartitions, 5, &[1], &[2])),
            ("not given up yet",                  (UnrevokedPartitions, 5, &[1], &[2]), (6, &[1, 3]), Some(&[1, 2]), &[], (UnrevokedPartitions, 5, &[1], &[2])),
            ("given up",                          (UnrevokedPartitions, 5, &[1], &[2]), (6, &[1, 3]), Some(&[1]), &[], (Stable, 6, &[1, 3], &[])),
            ("given up, the next is held",        (UnrevokedPartitions, 5, &[1], &[2]), (6, &[1, 3]), Some(&[1]), &[3], (UnreleasedPartitions, 6, &[1], &[])),
            ("given up, but the target moved on", (UnrevokedPartitions, 5, &[1], &[2]), (8, &[3]), Some(&[1]), &[], (UnrevokedPartitions, 5, &[], &[1])),
            ("given up, and it shall have it",    (UnrevokedPartitions, 5, &[1], &[2]), (8, &[1, 2]), Some(&[1]), &[], (Stable, 8, &[1, 2], &[])),
            ("what was held is free",             (UnreleasedPartitions, 6, &[1], &[]), (6, &[1, 2]), None, &[], (Stable, 6, &[1, 2], &[])),
            ("it is still held",                  (UnreleasedPartitions, 6, &[1], &[]), (6, &[1, 2]), None, &[2], (UnreleasedPartitions, 6, &[1], &[])),
            ("waiting, and now less",             (UnreleasedPartitions, 6, &[1, 2], &[]), (7, &[1]), None, &[], (UnrevokedPartitions, 6, &[1], &[2])),
            ("a state of a newer broker",         (Unknown, 6, &[1], &[2]), (7, &[1]), Some(&[1]), &[], (Stable, 7, &[1], &[])),
            ("the same, not given up",            (Unknown, 6, &[1], &[2]), (7, &[1]), Some(&[2]), &[], (Unknown, 6, &[1], &[2])),
        ];
        for (what, (state, epoch, assigned, revoking), (target_epoch, target), owned, held, after) in rows {
            let current = CurrentAssignment {
                member_epoch: *epoch,
                previous_epoch: 4,
                state: *state,
                assigned: set(assigned),
                revoking: set(revoking),
            };
            let (target, owned) = (set(target), owned.map(set));
            let is_free = |_, partition| !held.contains(&partition);
            let next =
                reconcile(&current, &Goal { epoch: *target_epoch, target: &target, owned: owned.as_deref(), is_free });
            let (changed, next) = (next.is_some(), next.unwrap_or(current.clone()));
            let (state, epoch, assigned, revoking) = after;
            assert_eq!((next.state, next.member_epoch), (*state, *epoch), "{what}");
            assert_eq!((&next.assigned, &next.revoking), (&set(assigned), &set(revoking)), "{what}");
            assert_eq!(next.previous_epoch, if changed { current.member_epoch } else { 4 }, "{what}");
        }
    }
}
