//! Consumer groups: members of both protocols that join, keep alive, commit, leave, vanish and come back, or delete the group; standalone consumers, which only
//! commit.
//!
//! One file per protocol (`classic.rs`, `consumer.rs`), one for what a classic member of a mixed group may count on (`grip.rs`), one for offsets (`offsets.rs`),
//! one for what groups look like from outside (`portrait.rs`).
//! A member has one request on the way at a time, as consumers do on the connection to their coordinator.

pub mod assignment;
pub mod classic;
pub mod consumer;
pub mod grip;
pub mod offsets;
pub mod plan;
pub mod portrait;

use std::collections::BTreeSet;

use super::footing::{Footing, Told, send};
use super::{Actor, Cx};
use crate::oracle::groups::GroupIx;
use crate::oracle::{TopicIx, Tp};
use crate::rng::Rng;

/// What a member, or each member of a group, speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// The classic protocol, all partitions given up at each rebalance.
    Eager,
    /// The classic protocol, only partitions that move given up (KIP-429).
    Cooperative,
    /// The next-generation protocol (KIP-848).
    Consumer,
    /// None: offsets alone.
    Standalone,
    /// Of a group: some of its members speak the classic protocol, some the next-generation one. It changes its own protocol with them.
    Mixed,
}

/// The actor of a style.
pub fn member(style: Style) -> Box<dyn Actor> {
    match style.speech {
        Speech::Consumer => Box::new(consumer::Member::new(style)),
        _ => Box::new(classic::Member::new(style)),
    }
}

/// How a member behaves.
#[derive(Clone, Debug)]
pub struct Style {
    /// Its group.
    pub group: GroupIx,
    /// What is spoken there.
    pub speech: Speech,
    /// A static member's name.
    pub instance: Option<String>,
    /// Its session timeout in milliseconds; of a consumer group it is the broker's.
    pub session_ms: u64,
    /// How long it may take to give up partitions, in milliseconds.
    pub rebalance_ms: u64,
    /// Topics it subscribes to, at most.
    pub topics_max: u64,
    /// What it does, how often.
    pub steps: u32,
    /// Longest pause between two steps in nanoseconds.
    pub pause_ns: u64,
    /// Percent of steps before which its connection ends.
    pub hang_up_percent: u32,
    /// Percent of its commits that expire soon.
    pub expiring_percent: u32,
    /// How often, in percent, it deletes the whole group where it would join it; that fails while others are in it.
    pub deletes_percent: u32,
    /// Others of its group speak the other protocol.
    pub is_mixed: bool,
    /// Percent of steps that are to leave the group, beyond those of everybody.
    pub leaves_percent: u32,
    /// How long it stays away at most when it has left or vanished, in nanoseconds.
    pub away_ns: u64,
    /// It must succeed: it goes on until it has read what it has committed.
    pub must_succeed: bool,
}

impl Style {
    /// One of the calmest: it has a name of its own each time, keeps its connection and its group, and what it commits stays.
    fn calm(group: GroupIx, speech: Speech) -> Style {
        Style {
            group,
            speech,
            instance: None,
            session_ms: 3_000,
            rebalance_ms: 1_000,
            topics_max: 2,
            steps: 20,
            pause_ns: 20_000_000,
            hang_up_percent: 0,
            expiring_percent: 0,
            deletes_percent: 0,
            is_mixed: false,
            leaves_percent: 0,
            away_ns: 0,
            must_succeed: false,
        }
    }

    /// Whether it deletes the group now. Nothing is drawn where nobody does.
    pub fn deletes(&self, rng: &mut Rng) -> bool {
        self.deletes_percent > 0 && rng.percent(self.deletes_percent)
    }

    /// Whether it leaves now. Nothing is drawn where nobody does beyond what everybody does.
    pub fn leaves(&self, rng: &mut Rng) -> bool {
        self.leaves_percent > 0 && rng.percent(self.leaves_percent)
    }

    /// Keeps whoever left away for a while, if it stays away.
    pub fn stay_away(&self, cx: &mut Cx<'_>, footing: &mut Footing) {
        if self.away_ns > 0 {
            let until_ns = cx.world.now_ns() + cx.rng.below(self.away_ns);
            footing.not_before_ns = footing.not_before_ns.max(until_ns);
        }
    }

    /// The name by which the judge knows this member: it stays the same when a static one comes back.
    pub fn identity(&self, me: u32, member: &str) -> String {
        self.instance.clone().unwrap_or_else(|| format!("{me}:{member}"))
    }
}

/// Topics to subscribe to: some that are there, with their ids known.
pub fn draw_topics(cx: &mut Cx<'_>, most: u64) -> Vec<TopicIx> {
    let known: Vec<TopicIx> = cx.topics.live().into_iter().filter(|ix| !cx.topics.get(*ix).id.is_zero()).collect();
    let mut drawn = BTreeSet::new();
    if !known.is_empty() {
        for _ in 0..cx.rng.range(1, most.max(1)) {
            drawn.insert(*cx.rng.pick(&known));
        }
    }
    drawn.into_iter().collect()
}

/// Some of these partitions, at least one if there is one.
pub fn draw_some(rng: &mut Rng, all: &BTreeSet<Tp>) -> Vec<Tp> {
    let all: Vec<Tp> = all.iter().copied().collect();
    let mut some: Vec<Tp> = all.iter().copied().filter(|_| rng.percent(50)).collect();
    if some.is_empty() && !all.is_empty() {
        some.push(*rng.pick(&all));
    }
    some
}
