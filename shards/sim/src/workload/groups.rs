//! Consumer groups: members of both protocols that join, keep alive, commit, leave, vanish and come back, and standalone consumers that only commit.
//!
//! One file per protocol (`classic.rs`, `consumer.rs`), one for offsets (`offsets.rs`), one for what groups look like from outside (`portrait.rs`).
//! A member has one request on the way at a time, as consumers do on the connection to their coordinator.

pub mod assignment;
pub mod classic;
pub mod consumer;
pub mod offsets;
pub mod plan;
pub mod portrait;

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::api::ApiKey;
use super::{Actor, Cx, decode, encode, error_code};
use crate::oracle::groups::GroupIx;
use crate::oracle::{TopicIx, Tp};
use crate::rng::Rng;

/// Refusals by the storage, each with an excuse, after which a member gives up: its group's partition may be damaged for good.
const REFUSALS_MAX: u32 = 100;

/// What a group's members speak.
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
    /// It must succeed: it goes on until it has read what it has committed.
    pub must_succeed: bool,
}

impl Style {
    /// The name by which the judge knows this member: it stays the same when a static one comes back.
    pub fn identity(&self, me: u32, member: &str) -> String {
        self.instance.clone().unwrap_or_else(|| format!("{me}:{member}"))
    }
}

/// What follows from an error code for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// No error.
    Fine,
    /// The coordinator is not there now: again later.
    Later,
    /// Up to the operation.
    Other(ErrorCode),
}

/// What members of all kinds share.
#[derive(Debug, Default)]
pub struct Footing {
    /// The coordinator was asked for.
    pub found: bool,
    /// Nothing is done before this moment.
    pub not_before_ns: u64,
    /// A request is on the way.
    pub in_flight: bool,
    refusals: u32,
}

impl Footing {
    /// Asks for the coordinator, which has the offsets topic made when there is none.
    pub fn find(&mut self, cx: &mut Cx<'_>, group: GroupIx) {
        let version = cx.rng.range(0, 6) as i16;
        let name = group.name();
        let mut request = FindCoordinatorRequest::default();
        if version < 4 {
            request.key = Cow::Borrowed(&name);
        } else {
            request.coordinator_keys = vec![Cow::Borrowed(&name)];
        }
        self.in_flight = cx.send(ApiKey::FindCoordinator, version, 0, encode(&request, version));
    }

    /// Takes the answer.
    pub fn found(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) {
        let decoded = decode::<FindCoordinatorResponse>(cx, "FindCoordinator", body, version);
        let Some(response) = decoded else { return };
        let code = response.coordinators.first().map_or(response.error_code, |found| found.error_code);
        match self.told(cx, code, "FindCoordinator") {
            Told::Fine => self.found = true,
            Told::Later => {}
            Told::Other(error) => cx.oracle.fail(format!("FindCoordinator: {}", error.name())),
        }
    }

    /// What an error code of a group's coordinator means.
    pub fn told(&mut self, cx: &mut Cx<'_>, code: i16, what: &str) -> Told {
        let error = error_code(code);
        match error {
            ErrorCode::NONE => {
                self.refusals = 0;
                Told::Fine
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR => {
                self.refusals += u32::from(cx.refusals_excused);
                self.not_before_ns = cx.world.now_ns() + cx.rng.range(5_000_000, 50_000_000);
                Told::Later
            }
            ErrorCode::UNKNOWN_SERVER_ERROR | ErrorCode::INVALID_REQUEST | ErrorCode::UNSUPPORTED_VERSION => {
                cx.oracle.fail(format!("{what}: {}", error.name()));
                Told::Other(error)
            }
            error => Told::Other(error),
        }
    }

    /// It was refused too often, with an excuse.
    pub fn gives_up(&self) -> bool {
        self.refusals >= REFUSALS_MAX
    }

    /// Whether something may be done now; else when.
    pub fn ready(&self, cx: &Cx<'_>) -> Result<(), Option<u64>> {
        let now_ns = cx.world.now_ns();
        if self.in_flight {
            return Err(None);
        }
        if now_ns < self.not_before_ns {
            return Err(Some(self.not_before_ns - now_ns));
        }
        Ok(())
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

/// Encodes a request and sends it. `false`: there is no connection.
fn send<'a>(
    cx: &mut Cx<'_>,
    footing: &mut Footing,
    api: ApiKey,
    version: i16,
    message: &impl floe_wire::messages::Message<'a>,
) {
    let body: Bytes = encode(message, version);
    footing.in_flight = cx.send(api, version, 0, body);
}
