//! The assignor `range`: each topic is cut into as many ranges as it has subscribers, in the order of their names. Topics with as many partitions and
//! the same subscribers are cut alike.
//!
//! Static members come first, by instance id: a restart under another member id leaves the order as it was.

use super::{Assignable, bundles};
use crate::group::consumer::partitions::Partitions;

pub(super) fn assign(given: &Assignable<'_>) -> Vec<Partitions> {
    let mut given_to = vec![Partitions::new(); given.members.len()];
    for bundle in bundles(given) {
        let mut members = bundle.members;
        members.sort_by_key(|at| {
            let member = &given.members[*at];
            (member.instance.is_none(), member.instance, member.id)
        });
        for topic in bundle.topics {
            let (id, partitions) = (given.topics[topic].id, given.topics[topic].partitions.max(0) as usize);
            let (each, more) = (partitions / members.len(), partitions % members.len());
            let mut from = 0;
            for (at, member) in members.iter().enumerate().take(partitions) {
                let to = from + each + usize::from(at < more);
                given_to[*member].push((id, (from as i32..to as i32).collect()));
                from = to;
            }
        }
    }
    for partitions in &mut given_to {
        partitions.sort_unstable_by_key(|(topic, _)| *topic);
    }
    given_to
}
