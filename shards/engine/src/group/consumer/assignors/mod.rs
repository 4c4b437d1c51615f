//! Server-side assignors (KIP-848): who shall own which partition. Pure functions of who subscribes to what, and of the target before.
//!
//! What all of them give: every partition of a topic that somebody subscribes to has exactly one owner, who subscribes to it. The same input gives the
//! same output. Cost: about linear in members, partitions, and topics times *different* subscriptions; members with the same one share it.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use floe_wire::ids::TopicId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::partitions::Partitions;

/// Names of the assignors there are, as `group.consumer.assignors` takes them.
pub const NAMES: [&str; 2] = [UNIFORM, RANGE];

/// Spreads partitions evenly over members and moves as few as that takes.
pub const UNIFORM: &str = "uniform";

/// Gives each member a range of each topic, so that topics with as many partitions are owned alike (joins of streams need it).
pub const RANGE: &str = "range";

/// What is to be assigned, and to whom.
#[derive(Debug, Default)]
pub struct Assignable<'a> {
    /// Subscribed topics that exist, ids rising.
    pub topics: Vec<AssignableTopic>,
    /// The different subscriptions: positions in `topics`, rising.
    pub subscriptions: Vec<Vec<usize>>,
    /// The members.
    pub members: Vec<AssignableMember<'a>>,
}

/// A topic.
#[derive(Clone, Copy, Debug)]
pub struct AssignableTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

/// A member.
#[derive(Clone, Copy, Debug)]
pub struct AssignableMember<'a> {
    /// Its id.
    pub id: &'a str,
    /// Of a static member.
    pub instance: Option<&'a str>,
    /// Position in [`Assignable::subscriptions`].
    pub subscription: usize,
    /// What it was to own before.
    pub before: &'a [(TopicId, Vec<i32>)],
}

/// What each member shall own, in their order. A name that is none of [`NAMES`] gives what [`UNIFORM`] gives.
pub fn assign(assignor: &str, given: &Assignable<'_>) -> Vec<Partitions> {
    match assignor {
        RANGE => range::assign(given),
        _ => uniform::assign(given),
    }
}

/// Topics that the same members subscribe to.
#[derive(Debug)]
struct Bundle {
    /// Positions of the topics, rising.
    topics: Vec<usize>,
    /// Positions of the members, rising.
    members: Vec<usize>,
}

/// Sorts topics by who subscribes to them; those without subscribers are left out. Those with the fewest subscribers come first.
fn bundles(given: &Assignable<'_>) -> Vec<Bundle> {
    let mut subscribers: Vec<Vec<usize>> = vec![Vec::new(); given.subscriptions.len()];
    for (at, member) in given.members.iter().enumerate() {
        subscribers[member.subscription].push(at);
    }
    let mut wanted_by: Vec<Vec<usize>> = vec![Vec::new(); given.topics.len()];
    for (at, topics) in given.subscriptions.iter().enumerate().filter(|(at, _)| !subscribers[*at].is_empty()) {
        for topic in topics {
            wanted_by[*topic].push(at);
        }
    }
    let mut position: HashMap<Vec<usize>, usize, FxBuildHasher> = HashMap::default();
    let mut all: Vec<Bundle> = Vec::new();
    for (topic, subscriptions) in wanted_by.into_iter().enumerate().filter(|(_, by)| !by.is_empty()) {
        let at = *position.entry(subscriptions).or_insert_with_key(|subscriptions| {
            let mut members: Vec<usize> =
                subscriptions.iter().flat_map(|at| subscribers[*at].iter().copied()).collect();
            members.sort_unstable();
            all.push(Bundle { topics: Vec::new(), members });
            all.len() - 1
        });
        all[at].topics.push(topic);
    }
    all.sort_by_key(|bundle| (bundle.members.len(), bundle.topics[0]));
    all
}
