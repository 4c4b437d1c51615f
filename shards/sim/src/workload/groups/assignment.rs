//! What members of the classic protocol write for each other, in the bytes of Kafka's consumers: subscriptions, assignments; and the assignor of the
//! leader: an even share for each, and (cooperative) nothing that somebody else still has.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::{TopicIx, Tp};
use crate::workload::topics::Topics;

/// A member's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topics by name.
    pub topics: Vec<String>,
    /// What it has, by topic name and partition.
    pub owned: Vec<(String, i32)>,
}

impl Subscription {
    /// Its bytes (version 1).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = 1_i16.to_be_bytes().to_vec();
        out.extend((self.topics.len() as i32).to_be_bytes());
        self.topics.iter().for_each(|topic| put_text(&mut out, topic));
        out.extend((-1_i32).to_be_bytes());
        put_partitions(&mut out, &self.owned);
        out
    }

    /// Of these bytes.
    pub fn decode(bytes: &[u8]) -> Option<Subscription> {
        let mut rest = bytes;
        (take::<2>(&mut rest)? == 1_i16.to_be_bytes()).then_some(())?;
        let topics = (0..int(&mut rest)?).map(|_| text(&mut rest)).collect::<Option<Vec<String>>>()?;
        (int(&mut rest)? == -1).then_some(())?;
        let owned = partitions(&mut rest)?;
        rest.is_empty().then_some(Subscription { topics, owned })
    }
}

/// The bytes of an assignment (version 1).
pub fn encode(given: &[(String, i32)]) -> Vec<u8> {
    let mut out = 1_i16.to_be_bytes().to_vec();
    put_partitions(&mut out, given);
    out.extend((-1_i32).to_be_bytes());
    out
}

/// An assignment of these bytes; of none, an empty one.
pub fn decode(bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = bytes;
    (take::<2>(&mut rest)? == 1_i16.to_be_bytes()).then_some(())?;
    let given = partitions(&mut rest)?;
    (int(&mut rest)? == -1 && rest.is_empty()).then_some(given)
}

/// What each member gets. What one has stays with it as long as it is not more than its share; what another one has is nobody's for now if `cooperative`.
pub fn assign(
    topics: &Topics,
    members: &BTreeMap<String, Subscription>,
    cooperative: bool,
) -> BTreeMap<String, Vec<(String, i32)>> {
    let mut given: BTreeMap<String, Vec<(String, i32)>> =
        members.keys().map(|member| (member.clone(), Vec::new())).collect();
    let names: BTreeSet<&String> = members.values().flat_map(|subscription| &subscription.topics).collect();
    let all: Vec<(String, i32)> = names
        .into_iter()
        .filter_map(|name| topics.all().iter().find(|topic| topic.name == *name))
        .flat_map(|topic| (0..topic.partitions).map(|partition| (topic.name.clone(), partition)))
        .collect();
    let share = all.len().div_ceil(members.len().max(1));
    let mut holders: BTreeMap<&(String, i32), Vec<&String>> = BTreeMap::new();
    for (member, subscription) in members.iter().filter(|_| cooperative) {
        subscription.owned.iter().for_each(|one| holders.entry(one).or_default().push(member));
    }
    for one in &all {
        let reads = |member: &&String| members[*member].topics.contains(&one.0);
        let holders = holders.get(one).map_or(&[][..], Vec::as_slice);
        let keeps = match holders {
            [holder] => reads(holder) && given[*holder].len() < share,
            _ => false,
        };
        let to = match holders {
            [holder] if keeps => Some(*holder),
            [] => members.keys().filter(reads).min_by_key(|member| given[*member].len()),
            _ => None,
        };
        if let Some(list) = to.and_then(|member| given.get_mut(member)) {
            list.push(one.clone());
        }
    }
    given
}

/// By names.
pub fn named(topics: &Topics, some: &BTreeSet<Tp>) -> Vec<(String, i32)> {
    some.iter().map(|tp| (topics.get(tp.topic).name.clone(), tp.partition)).collect()
}

/// Of names; `None`: one of a topic that nobody made.
pub fn of_names(topics: &Topics, some: &[(String, i32)]) -> Option<BTreeSet<Tp>> {
    let find = |name: &String| topics.all().iter().find(|topic| topic.name == *name).map(|topic| topic.ix);
    some.iter().map(|(name, partition)| Some(Tp { topic: find(name)?, partition: *partition })).collect()
}

/// The names of topics.
pub fn names(topics: &Topics, some: &[TopicIx]) -> Vec<String> {
    some.iter().map(|ix| topics.get(*ix).name.clone()).collect()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_partitions(out: &mut Vec<u8>, some: &[(String, i32)]) {
    let mut by_topic: BTreeMap<&String, Vec<i32>> = BTreeMap::new();
    some.iter().for_each(|(topic, partition)| by_topic.entry(topic).or_default().push(*partition));
    out.extend((by_topic.len() as i32).to_be_bytes());
    for (topic, partitions) in by_topic {
        put_text(out, topic);
        out.extend((partitions.len() as i32).to_be_bytes());
        partitions.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(take(rest)?))
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = i16::from_be_bytes(take(rest)?) as usize;
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    String::from_utf8(head.to_vec()).ok()
}

fn partitions(rest: &mut &[u8]) -> Option<Vec<(String, i32)>> {
    let mut all = Vec::new();
    for _ in 0..int(rest)? {
        let topic = text(rest)?;
        for _ in 0..int(rest)? {
            all.push((topic.clone(), int(rest)?));
        }
    }
    Some(all)
}
