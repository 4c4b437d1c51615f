//! The assignor `uniform`: as even as subscriptions allow, moving as few partitions as that takes.
//!
//! First everybody keeps what it had and may still have. Then partitions without an owner go to whoever of their subscribers has the least, topics with
//! few subscribers first. Then, as long as somebody has at least two more than another who could take one of its partitions, one moves.
//!
//! With equal subscriptions this gives everybody the same number, give or take one, with the least number of moves that does. With different ones no
//! single move can make it more even; a chain of moves sometimes could, and is not looked for (neither does Kafka).

use std::collections::BTreeSet;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{Assignable, Bundle, bundles};
use crate::group::consumer::partitions::{Partitions, push};
use crate::limits::UNIFORM_ROUNDS_MAX;

/// No owner yet.
const NOBODY: u32 = u32::MAX;

pub(super) fn assign(given: &Assignable<'_>) -> Vec<Partitions> {
    let bundles = bundles(given);
    let mut shares = Shares::keep(given, &bundles);
    for bundle in &bundles {
        shares.hand_out(bundle);
    }
    for _ in 0..UNIFORM_ROUNDS_MAX {
        // Evening out one bundle can unsettle another that shares members with it; each move brings the whole nearer to even, so this ends.
        let moved = bundles.iter().filter(|bundle| shares.even_out(bundle)).count();
        if moved == 0 || bundles.len() == 1 {
            break;
        }
    }
    shares.given_to(given)
}

/// Who owns what while it is being worked out.
struct Shares {
    /// Owner by topic and partition: a position of a member, or [`NOBODY`].
    owners: Vec<Vec<u32>>,
    /// How many partitions each member has.
    load: Vec<usize>,
}

impl Shares {
    /// What members had before, as far as it exists, is subscribed to, and is nobody else's.
    fn keep(given: &Assignable<'_>, bundles: &[Bundle]) -> Shares {
        let mut bundle_of: Vec<Option<&Bundle>> = vec![None; given.topics.len()];
        for bundle in bundles {
            for topic in &bundle.topics {
                bundle_of[*topic] = Some(bundle);
            }
        }
        let owners = given.topics.iter().map(|topic| vec![NOBODY; topic.partitions.max(0) as usize]).collect();
        let mut shares = Shares { owners, load: vec![0; given.members.len()] };
        for (at, member) in given.members.iter().enumerate() {
            for (id, partitions) in member.before {
                let Ok(topic) = given.topics.binary_search_by_key(id, |topic| topic.id) else { continue };
                if bundle_of[topic].is_none_or(|bundle| bundle.members.binary_search(&at).is_err()) {
                    continue;
                }
                for partition in partitions {
                    let owner = usize::try_from(*partition).ok().and_then(|at| shares.owners[topic].get_mut(at));
                    if let Some(owner) = owner.filter(|owner| **owner == NOBODY) {
                        *owner = at as u32;
                        shares.load[at] += 1;
                    }
                }
            }
        }
        shares
    }

    /// Gives partitions without an owner to those who have least.
    fn hand_out(&mut self, bundle: &Bundle) {
        let mut takers: BTreeSet<(usize, usize)> =
            bundle.members.iter().map(|member| (self.load[*member], *member)).collect();
        for topic in &bundle.topics {
            for owner in self.owners[*topic].iter_mut().filter(|owner| **owner == NOBODY) {
                let (load, member) = takers.pop_first().expect("a bundle has members");
                *owner = member as u32;
                self.load[member] = load + 1;
                takers.insert((load + 1, member));
            }
        }
    }

    /// Moves partitions of the bundle from those who have most to those who have least. Whether any moved.
    fn even_out(&mut self, bundle: &Bundle) -> bool {
        let loads = || bundle.members.iter().map(|member| self.load[*member]);
        if loads().max().unwrap_or(0) < loads().min().unwrap_or(0) + 2 {
            return false;
        }
        let mut owned: HashMap<usize, Vec<(usize, usize)>, FxBuildHasher> = HashMap::default();
        for topic in &bundle.topics {
            for (partition, owner) in self.owners[*topic].iter().enumerate() {
                owned.entry(*owner as usize).or_default().push((*topic, partition));
            }
        }
        let mut givers: BTreeSet<(usize, usize)> = owned.keys().map(|member| (self.load[*member], *member)).collect();
        let mut takers: BTreeSet<(usize, usize)> =
            bundle.members.iter().map(|member| (self.load[*member], *member)).collect();
        let mut moved = false;
        while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), takers.first()) {
            if most < least + 2 {
                break;
            }
            let (topic, partition) = owned.get_mut(&giver).and_then(Vec::pop).expect("givers have some");
            self.owners[topic][partition] = taker as u32;
            self.load[giver] -= 1;
            self.load[taker] += 1;
            givers.remove(&(most, giver));
            takers.remove(&(most, giver));
            takers.remove(&(least, taker));
            givers.remove(&(least, taker));
            takers.insert((most - 1, giver));
            takers.insert((least + 1, taker));
            if !owned[&giver].is_empty() {
                givers.insert((most - 1, giver));
            }
            // It never gives on what it just took: it has at most as much as the one with most, less one.
            if owned.get(&taker).is_some_and(|owned| !owned.is_empty()) {
                givers.insert((least + 1, taker));
            }
            moved = true;
        }
        moved
    }

    fn given_to(&self, given: &Assignable<'_>) -> Vec<Partitions> {
        let mut given_to = vec![Partitions::new(); given.members.len()];
        for (topic, owners) in given.topics.iter().zip(&self.owners) {
            for (partition, owner) in owners.iter().enumerate().filter(|(_, owner)| **owner != NOBODY) {
                push(&mut given_to[*owner as usize], topic.id, partition as i32);
            }
        }
        given_to
    }
}
