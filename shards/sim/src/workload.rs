//! The clients of a run: each actor speaks the Kafka protocol over its own connection and knows what the answers must be.
//!
//! One file per simulated operation. An actor never waits: it is called when something concerns it and says when it wants to be called again. The
//! plumbing here matches replies to requests (in order, by correlation id), reconnects, and finds requests that are never answered.

pub mod admin;
pub mod alter_configs;
pub mod api;
pub mod create_partitions;
pub mod create_topic;
pub mod delete_records;
pub mod delete_topic;
pub mod fetch;
pub mod footing;
pub mod groups;
pub mod list_offsets;
pub mod metadata;
pub mod produce;
pub mod sweep;
pub mod topics;
pub mod txns;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use floe_engine::shard::Shard;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::Message;

use crate::mutant::Mutant;
use crate::net::Link;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::world::World;
use api::{ApiKey, encode};
use topics::Topics;

/// A request is answered within this time (its own waits included) while its connection and the node live.
const ANSWER_NS_MAX: u64 = 60_000_000_000;

/// What clients talk to: a shard, in tests of the judge with a bug around it.
pub type Node = Mutant<Shard>;

/// What an actor can reach while it acts.
pub struct Cx<'a> {
    /// The node and everything around it.
    pub world: &'a mut World<Node>,
    /// The judge.
    pub oracle: &'a mut Oracle,
    /// The shadow model of the cluster's topics.
    pub topics: &'a mut Topics,
    /// Draws for the workload.
    pub rng: &'a mut Rng,
    /// The actor's own number.
    pub me: u32,
    /// No new work: finish what is open.
    pub winding_down: bool,
    /// Injected faults explain that a partition refuses to work.
    pub refusals_excused: bool,
    line: &'a mut Line,
}

/// A simulated client.
pub trait Actor {
    /// Does whatever there is to do. Gives when to call again at the latest (nanoseconds from now); replies and losses call as well.
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64>;
    /// The answer to a request sent with `tag`.
    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]);
    /// The connection is gone; these requests will not be answered.
    fn lost(&mut self, cx: &mut Cx<'_>, requests: Vec<Request>);
    /// Whether it has nothing left to do.
    fn is_done(&self) -> bool;
    /// For reports.
    fn describe(&self) -> String;
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The API.
    pub api: ApiKey,
    /// The version it was sent with.
    pub version: i16,
    /// The actor's own mark.
    pub tag: u64,
    /// When it was sent.
    pub sent_ns: u64,
    correlation_id: i32,
}

/// An actor's connection.
#[derive(Debug, Default)]
struct Line {
    link: Option<Link>,
    waiting: VecDeque<Request>,
    /// Connections that this actor gave up: their end needs no notice.
    correlation_id: i32,
}

impl Cx<'_> {
    /// Sends a request. `false`: there is no connection and none to be had now.
    pub fn send(&mut self, api: ApiKey, version: i16, tag: u64, body: Bytes) -> bool {
        self.send_maybe_unanswered(api, version, tag, body, true)
    }

    /// [`Cx::send`] for a request that gets no answer (produce with acks 0).
    pub fn send_unanswered(&mut self, api: ApiKey, version: i16, body: Bytes) -> bool {
        self.send_maybe_unanswered(api, version, 0, body, false)
    }

    fn send_maybe_unanswered(&mut self, api: ApiKey, version: i16, tag: u64, body: Bytes, answered: bool) -> bool {
        let Some(link) = self.connection() else { return false };
        self.line.correlation_id += 1;
        let correlation_id = self.line.correlation_id;
        let client_id = format!("sim-{}", self.me);
        let frame = api::request(api, version, correlation_id, &client_id, &body);
        if answered {
            let sent_ns = self.world.now_ns();
            self.line.waiting.push_back(Request { api, version, tag, correlation_id, sent_ns });
        }
        let (now_ns, me, bytes) = (self.world.now_ns(), self.me, body.len());
        self.world.trace.event(now_ns, 20, &[u64::from(me), api as u64], || {
            format!("client {me} on {link:?} asks {api:?} v{version} #{correlation_id}, {bytes} bytes")
        });
        self.world.send(link, frame);
        true
    }

    /// The connection, opened when there is none.
    pub fn connection(&mut self) -> Option<Link> {
        if self.line.link.is_none() {
            self.line.link = self.world.connect();
        }
        self.line.link
    }

    /// Closes the connection (a client that went away); open requests are forgotten and given back.
    pub fn hang_up(&mut self) -> Vec<Request> {
        if let Some(link) = self.line.link.take() {
            self.world.close(link);
        }
        self.line.waiting.drain(..).collect()
    }

    /// Judges an error code that an operation on a topic or partition may get at any time. `live`: the topic is there for certain.
    pub fn judge(&mut self, code: i16, what: &str, live: bool) -> Verdict {
        let error = error_code(code);
        if error == ErrorCode::NONE {
            return Verdict::Done;
        }
        let refused = error == ErrorCode::KAFKA_STORAGE_ERROR;
        let unknown = error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION || error == ErrorCode::UNKNOWN_TOPIC_ID;
        if refused && !self.refusals_excused {
            self.oracle.fail(format!("{what}: {} although no injected fault explains it", error.name()));
            return Verdict::Gone;
        }
        if unknown {
            if live {
                self.oracle.fail(format!("{what}: {} for a topic whose creation was acknowledged", error.name()));
            }
            return Verdict::Gone;
        }
        if refused {
            return Verdict::Refused;
        }
        if error.retriable() {
            return Verdict::Retry;
        }
        Verdict::Other(error)
    }
}

/// The error code of a number from the wire; one that the table does not have is an unknown error.
fn error_code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR)
}

/// A response's body. One that does not parse, or has bytes left over, is a violation.
fn decode<'a, T: Message<'a>>(cx: &mut Cx<'_>, what: &str, body: &'a [u8], version: i16) -> Option<T> {
    match T::decode_all(body, version) {
        Ok(response) => Some(response),
        Err(error) => {
            cx.oracle.fail(format!("{what}: the response does not parse: {error}"));
            None
        }
    }
}

/// What an error code means for the one who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No error.
    Done,
    /// Try again.
    Retry,
    /// The storage of the partition refuses, and may.
    Refused,
    /// The topic is not there (any more).
    Gone,
    /// Up to the operation.
    Other(ErrorCode),
}

/// All actors of a run.
pub struct Clients {
    slots: Vec<Slot>,
    by_link: BTreeMap<Link, u32>,
    rng: Rng,
    /// No new work: finish what is open.
    pub winding_down: bool,
    /// Injected faults explain that a partition refuses to work.
    pub refusals_excused: bool,
}

struct Slot {
    actor: Box<dyn Actor>,
    line: Line,
    /// Wake-ups older than this are void.
    generation: u64,
}

impl Clients {
    /// Nobody yet.
    pub fn new(rng: Rng) -> Clients {
        Clients { slots: Vec::new(), by_link: BTreeMap::new(), rng, winding_down: false, refusals_excused: false }
    }

    /// Adds an actor and lets it begin.
    pub fn add(&mut self, world: &mut World<Node>, actor: Box<dyn Actor>) {
        self.slots.push(Slot { actor, line: Line::default(), generation: 0 });
        let after = self.rng.below(2_000_000);
        world.wake(self.slots.len() as u32 - 1, 0, after);
    }

    /// Whether everybody is done.
    pub fn all_done(&self) -> bool {
        self.slots.iter().all(|slot| slot.actor.is_done())
    }

    /// What those who are not done are at.
    pub fn describe_open(&self) -> Vec<String> {
        let open = self.slots.iter().enumerate().filter(|(_, slot)| !slot.actor.is_done());
        open.map(|(i, slot)| {
            format!("client {i}: {} ({} requests open)", slot.actor.describe(), slot.line.waiting.len())
        })
        .collect()
    }

    /// A wake-up came.
    pub fn wake(&mut self, me: u32, token: u64, world: &mut World<Node>, oracle: &mut Oracle, topics: &mut Topics) {
        if self.slots[me as usize].generation == token {
            self.with(me, world, oracle, topics, |_, _| {});
        }
    }

    /// A reply came.
    pub fn frame(
        &mut self,
        link: Link,
        frame: &Bytes,
        world: &mut World<Node>,
        oracle: &mut Oracle,
        topics: &mut Topics,
    ) {
        let Some(&me) = self.by_link.get(&link) else { return };
        if self.slots[me as usize].line.link != Some(link) {
            return; // It hung up meanwhile.
        }
        self.with(me, world, oracle, topics, |actor, cx| {
            let Some(request) = cx.line.waiting.pop_front() else {
                return cx.oracle.fail(format!("client {me}: a reply to no request"));
            };
            match api::response(request.api, request.version, frame) {
                Ok((correlation_id, body)) if correlation_id == request.correlation_id => {
                    let now_ns = cx.world.now_ns();
                    cx.world.trace.event(now_ns, 21, &[u64::from(me)], || {
                        let (api, bytes) = (request.api, body.len());
                        format!("client {me} on {link:?} is answered {api:?} #{correlation_id}, {bytes} bytes")
                    });
                    actor.reply(cx, &request, body);
                }
                Ok((correlation_id, _)) => {
                    let awaited = request.correlation_id;
                    cx.oracle.fail(format!(
                        "client {me}: reply {correlation_id} came where {awaited} ({:?}) was next",
                        request.api
                    ));
                }
                Err(error) => {
                    cx.oracle.fail(format!("client {me}: reply to {:?} does not parse: {error}", request.api))
                }
            }
        });
    }

    /// A connection is gone.
    pub fn closed(&mut self, link: Link, world: &mut World<Node>, oracle: &mut Oracle, topics: &mut Topics) {
        let Some(me) = self.by_link.remove(&link) else { return };
        if self.slots[me as usize].line.link != Some(link) {
            return;
        }
        self.with(me, world, oracle, topics, |actor, cx| {
            cx.line.link = None;
            let requests = cx.line.waiting.drain(..).collect();
            actor.lost(cx, requests);
        });
    }

    /// Finds requests that are not answered in time.
    pub fn check_answers(&self, world: &World<Node>, oracle: &mut Oracle) {
        for (me, slot) in self.slots.iter().enumerate() {
            if slot.line.link.is_some()
                && let Some(request) = slot.line.waiting.front()
                && world.now_ns() - request.sent_ns > ANSWER_NS_MAX
            {
                oracle.fail(format!(
                    "deadlock: client {me} ({}) waits for {:?} since {} ms",
                    slot.actor.describe(),
                    request.api,
                    request.sent_ns / 1_000_000
                ));
            }
        }
    }

    fn with(
        &mut self,
        me: u32,
        world: &mut World<Node>,
        oracle: &mut Oracle,
        topics: &mut Topics,
        first: impl FnOnce(&mut dyn Actor, &mut Cx<'_>),
    ) {
        let slot = &mut self.slots[me as usize];
        let mut cx = Cx {
            world,
            oracle,
            topics,
            rng: &mut self.rng,
            me,
            winding_down: self.winding_down,
            refusals_excused: self.refusals_excused,
            line: &mut slot.line,
        };
        first(slot.actor.as_mut(), &mut cx);
        let next = slot.actor.act(&mut cx);
        if let Some(link) = slot.line.link {
            self.by_link.insert(link, me);
        }
        slot.generation += 1;
        if let Some(after_ns) = next {
            world.wake(me, slot.generation, after_ns);
        }
    }
}
