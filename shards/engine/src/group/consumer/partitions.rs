//! Sets of partitions as group records hold them: by topic, topics rising, partitions rising, no topic without partitions. Pure functions.

use std::cmp::Ordering;

use floe_wire::ids::TopicId;

/// Partitions by topic, in the order that the header of this file tells.
pub type Partitions = Vec<(TopicId, Vec<i32>)>;

/// Brings what a client sent into that order.
pub fn sorted(given: &[(TopicId, Vec<i32>)]) -> Partitions {
    let mut all: Vec<(TopicId, i32)> =
        given.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition))).collect();
    all.sort_unstable();
    all.dedup();
    let mut set = Partitions::new();
    for (topic, partition) in all {
        push(&mut set, topic, partition);
    }
    set
}

/// How many there are.
pub fn count(set: &[(TopicId, Vec<i32>)]) -> usize {
    set.iter().map(|(_, partitions)| partitions.len()).sum()
}

/// All of them, one by one.
pub fn each(set: &[(TopicId, Vec<i32>)]) -> impl Iterator<Item = (TopicId, i32)> {
    set.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}

/// What is in both.
pub fn common(one: &[(TopicId, Vec<i32>)], other: &[(TopicId, Vec<i32>)]) -> Partitions {
    keep(one, other, true)
}

/// What is in `one` alone.
pub fn without(one: &[(TopicId, Vec<i32>)], other: &[(TopicId, Vec<i32>)]) -> Partitions {
    keep(one, other, false)
}

/// What is in either.
pub fn joined(one: &[(TopicId, Vec<i32>)], other: &[(TopicId, Vec<i32>)]) -> Partitions {
    sorted(&[one, other].concat())
}

/// Whether nothing is in both.
pub fn disjoint(one: &[(TopicId, Vec<i32>)], other: &[(TopicId, Vec<i32>)]) -> bool {
    common(one, other).is_empty()
}

/// Whether all of `one` is in `other`.
pub fn within(one: &[(TopicId, Vec<i32>)], other: &[(TopicId, Vec<i32>)]) -> bool {
    without(one, other).is_empty()
}

/// Adds one that is not less than all there are.
pub(super) fn push(set: &mut Partitions, topic: TopicId, partition: i32) {
    match set.last_mut() {
        Some((last, partitions)) if *last == topic => partitions.push(partition),
        _ => set.push((topic, vec![partition])),
    }
}

/// Goes through both in order, and keeps those of `one` that are (`inside`), or are not, in `other`.
fn keep(one: &[(TopicId, Vec<i32>)], other: &[(TopicId, Vec<i32>)], inside: bool) -> Partitions {
    let mut kept = Partitions::new();
    let mut others = each(other).peekable();
    for (topic, partition) in each(one) {
        while others.peek().is_some_and(|next| *next < (topic, partition)) {
            others.next();
        }
        let found = others.peek().is_some_and(|next| next.cmp(&(topic, partition)) == Ordering::Equal);
        if found == inside {
            push(&mut kept, topic, partition);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[(u8, &[i32])]) -> Partitions {
        partitions.iter().map(|(topic, partitions)| (TopicId([*topic; 16]), partitions.to_vec())).collect()
    }

    #[test]
    fn sets_are_what_their_names_say() {
        let one = set(&[(1, &[0, 1, 2]), (3, &[5])]);
        let other = set(&[(1, &[1, 7]), (2, &[0]), (3, &[5])]);
        assert_eq!(common(&one, &other), set(&[(1, &[1]), (3, &[5])]));
        assert_eq!(without(&one, &other), set(&[(1, &[0, 2])]));
        assert_eq!(joined(&one, &other), set(&[(1, &[0, 1, 2, 7]), (2, &[0]), (3, &[5])]));
        assert_eq!(count(&one), 4);
        assert!(within(&common(&one, &other), &one) && !within(&other, &one));
        assert!(disjoint(&without(&one, &other), &other) && !disjoint(&one, &other));
        assert_eq!(sorted(&set(&[(3, &[5]), (1, &[2, 0, 2]), (2, &[]), (1, &[1])])), one);
    }
}
