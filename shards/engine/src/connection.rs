//! One client's connection: the requests read and not yet answered, the answers not yet sent. Lives on the shard that accepted it.
//!
//! Invariants: replies leave in the order of requests, whatever order they are made in; at most [`REQUESTS_IN_FLIGHT_MAX`] requests are at work,
//! one Fetch among them (its answer may be large), and none is begun while [`UNSENT_BYTES_MAX`] of answers wait to be sent. What was
//! read beyond that waits its turn, and nothing more is read. Once it is to move to another shard nothing is begun either, except beside a Fetch,
//! which may wait long; it leaves when nothing is at work and all answers are sent, with what was read and not begun.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::addresses::Standing;
use crate::event::{ConnId, Effect, Effects, Reply, ReplyPart, ShardId};
use crate::limits::{REQUESTS_IN_FLIGHT_MAX, UNSENT_BYTES_MAX};
use crate::metrics::{RequestKind, ShardMetrics};
use crate::moves::Traffic;
use crate::pressure::Pressure;
use crate::requests::Pauser;
use crate::time::{Deadline, Time};

/// What a request came to.
#[derive(Debug)]
pub enum Ending {
    /// This goes out.
    Reply(Reply),
    /// Nothing goes out (Produce with `acks=0`).
    Silence,
    /// The connection ends here.
    Close,
}

/// A request at work.
#[derive(Debug)]
struct Slot {
    bytes: u64,
    kind: RequestKind,
    since_ns: u64,
    /// By which the shard finds what it waits for.
    token: Option<u64>,
    /// What it came to, while it waits for those before it.
    ending: Option<Ending>,
}

/// An answer on its way to the kernel.
#[derive(Debug)]
struct Unsent {
    /// Bytes of it that lie in memory, not in files.
    memory: u64,
    since_ns: u64,
}

/// Where a connection is on its way to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// It stays.
    No,
    /// It leaves as soon as nothing is at work.
    Soon(ShardId),
    /// The driver lets it come to rest.
    Now(ShardId),
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Who, for log lines.
    pub peer: SocketAddr,
    /// On which listener it came in.
    pub listener: u16,
    /// Whether shard 0 counts it.
    pub standing: Standing,
    /// Whether requests are begun: not before it is known that it may stay.
    pub is_admitted: bool,
    /// When it is looked at for idleness.
    pub idle_check: Option<Deadline>,
    /// When something last came in or went out, in nanoseconds.
    active_ns: u64,
    /// The shard that accepted it, of whose share of `max.connections` it is one wherever it goes.
    pub home: ShardId,
    /// What it asks for.
    pub traffic: Traffic,
    /// Nothing is begun before the shard shows an image of this version: its client may have seen that one on the shard it came from.
    pub image_version_min: u64,
    /// Its client, where that is one that pauses while its group changes ([`crate::requests::Holds`]).
    pub pauser: Option<Arc<Pauser>>,
    /// A member on it has been told of a change and has not said anything since; for how long that counts.
    pub takes_in_change: Option<Deadline>,
    /// It reads a partition as it is written ([`crate::requests`], shares); for how long that counts.
    pub follows_until: Option<Deadline>,
    /// A member on it was last given partitions.
    pub consumes: bool,
    going: Going,
    /// Requests at work, in their order.
    slots: VecDeque<Slot>,
    /// Number of the request at the front.
    front: u64,
    /// Requests that have been read and not begun, and when they came.
    backlog: VecDeque<(Bytes, u64)>,
    unsent: VecDeque<Unsent>,
    unsent_bytes: u64,
    /// Tokens of requests that were at work when it closed.
    abandoned: Vec<u64>,
    fetching: bool,
    paused: bool,
    paused_since_ns: u64,
    /// Requests at work that are no Fetch, and since when there have been any.
    working: usize,
    working_since_ns: u64,
    closed: bool,
}

impl Connection {
    /// A new one.
    pub fn new(now: Time, peer: SocketAddr, listener: u16, home: ShardId) -> Connection {
        Connection {
            peer,
            listener,
            standing: Standing::Asked,
            is_admitted: true,
            idle_check: None,
            active_ns: now.mono_ns,
            home,
            traffic: Traffic::default(),
            image_version_min: 0,
            pauser: None,
            takes_in_change: None,
            follows_until: None,
            consumes: false,
            going: Going::No,
            slots: VecDeque::new(),
            front: 0,
            backlog: VecDeque::new(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            abandoned: Vec::new(),
            fetching: false,
            paused: false,
            paused_since_ns: 0,
            working: 0,
            working_since_ns: 0,
            closed: false,
        }
    }

    /// Whether it takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// When its oldest unsent answer was made, in nanoseconds.
    pub fn unsent_since_ns(&self) -> Option<u64> {
        self.unsent.front().map(|unsent| unsent.since_ns)
    }

    /// When something last came in or went out, in nanoseconds.
    pub fn active_ns(&self) -> u64 {
        self.active_ns
    }

    /// The same, where requests at work and answers unsent are something that goes on now.
    pub fn active_ns_at(&self, now: Time) -> u64 {
        let works = !self.slots.is_empty() || !self.backlog.is_empty() || !self.unsent.is_empty();
        if works { now.mono_ns } else { self.active_ns }
    }

    /// Whether [`Connection::next`] may have something to do since a request ended or an answer was sent.
    pub fn wants_turn(&self) -> bool {
        !self.closed && (self.paused || !self.backlog.is_empty() || self.going != Going::No)
    }

    /// It is to move to another shard.
    pub fn go(&mut self, to: ShardId) {
        if self.going == Going::No {
            self.going = Going::Soon(to);
        }
    }

    /// Lets it come to rest once nothing is at work.
    pub fn may_go(&mut self, conn: ConnId, fx: &mut Effects) {
        if let Going::Soon(to) = self.going
            && !self.closed
            && self.standing == Standing::Counted
            && self.slots.is_empty()
            && self.unsent.is_empty()
        {
            self.going = Going::Now(to);
            fx.push(Effect::Detach { conn });
        }
    }

    /// Whether the driver lets it come to rest: then it is left to its next shard.
    pub fn is_going(&self) -> bool {
        matches!(self.going, Going::Now(_))
    }

    /// It is at rest: where it goes. What it holds is no more this shard's.
    pub fn leave(&mut self, pressure: &mut Pressure) -> ShardId {
        let Going::Now(to) = self.going else { panic!("only what was to leave comes to rest") };
        // Nothing was begun since it was let come to rest, so nothing can have closed it.
        assert!(!self.closed && !self.fetching && self.slots.is_empty() && self.unsent.is_empty(), "it is at rest");
        self.backlog.iter().for_each(|(frame, _)| pressure.request_went(frame.len() as u64));
        to
    }

    /// It has come to this shard, which reads from it from now on.
    pub fn arrive(&mut self, pressure: &mut Pressure) {
        self.going = Going::No;
        self.paused = false;
        self.backlog.iter().for_each(|(frame, _)| pressure.request_came(frame.len() as u64));
    }

    /// A request was read. It is begun with [`Connection::next`].
    pub fn take(&mut self, now: Time, frame: Bytes, pressure: &mut Pressure) {
        pressure.request_came(frame.len() as u64);
        self.active_ns = now.mono_ns;
        self.traffic.bytes(frame.len() as u64);
        self.backlog.push_back((frame, now.mono_ns));
    }

    /// The next request to begin, with its number, if one may be; else nothing more is read until one may. The shard shows an image of
    /// `image_version`.
    pub fn next(
        &mut self,
        conn: ConnId,
        (now, image_version): (Time, u64),
        metrics: &mut ShardMetrics,
        fx: &mut Effects,
    ) -> Option<(u64, Bytes)> {
        if self.closed {
            return None;
        }
        let kind = self.backlog.front().map_or(RequestKind::Other, |(frame, _)| kind_of(frame));
        let fetch = kind == RequestKind::Fetch;
        let held = self.going != Going::No && !self.fetching || self.image_version_min > image_version;
        let full = held
            || !self.is_admitted
            || self.slots.len() >= REQUESTS_IN_FLIGHT_MAX
            || self.unsent_bytes >= UNSENT_BYTES_MAX;
        let next = if full || fetch && self.fetching { None } else { self.backlog.pop_front() };
        let pauses = full || !self.backlog.is_empty();
        // Half of what stops the reading may be left when it goes on.
        let room = self.slots.len() <= REQUESTS_IN_FLIGHT_MAX / 2 && self.unsent_bytes <= UNSENT_BYTES_MAX / 2;
        if pauses && next.is_none() && !self.paused {
            self.paused = true;
            self.paused_since_ns = now.mono_ns;
            fx.push(Effect::PauseReads { conn });
        } else if self.paused && room && !pauses && next.is_none() {
            self.paused = false;
            metrics.paused_ns += now.mono_ns.saturating_sub(self.paused_since_ns);
            fx.push(Effect::ResumeReads { conn });
        }
        let (frame, since_ns) = next?;
        metrics.turn_ns.record(now.mono_ns.saturating_sub(since_ns));
        self.fetching |= fetch;
        if !fetch {
            if self.working == 0 {
                self.working_since_ns = now.mono_ns;
            }
            self.working += 1;
        }
        self.slots.push_back(Slot { bytes: frame.len() as u64, kind, since_ns, token: None, ending: None });
        Some((self.front + self.slots.len() as u64 - 1, frame))
    }

    /// A request waits, and is found by this token.
    pub fn waits(&mut self, request: u64, token: u64) {
        if let Some(slot) = request.checked_sub(self.front).and_then(|at| self.slots.get_mut(at as usize)) {
            slot.token = Some(token);
        }
    }

    /// The tokens of its requests at work, in their order.
    pub fn tokens(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().filter_map(|slot| slot.token)
    }

    /// A request has come to its end: whatever is in turn goes out.
    pub fn end(
        &mut self,
        (conn, request): (ConnId, u64),
        now: Time,
        ending: Ending,
        (pressure, metrics): (&mut Pressure, &mut ShardMetrics),
        fx: &mut Effects,
    ) {
        let Some(slot) = request.checked_sub(self.front).and_then(|at| self.slots.get_mut(at as usize)) else {
            return;
        };
        if slot.ending.replace(ending).is_none() {
            pressure.request_went(slot.bytes);
            if slot.kind == RequestKind::Fetch {
                self.fetching = false;
            } else {
                self.working -= 1;
                if self.working == 0 {
                    metrics.working_ns += now.mono_ns.saturating_sub(self.working_since_ns);
                }
            }
        }
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.ending.is_some()) {
            self.front += 1;
            metrics.request_ns[slot.kind as usize].record(now.mono_ns.saturating_sub(slot.since_ns));
            match slot.ending {
                Some(Ending::Reply(reply)) => {
                    let memory = memory_bytes(&reply);
                    pressure.answer_came(memory);
                    self.unsent_bytes += memory;
                    self.unsent.push_back(Unsent { memory, since_ns: now.mono_ns });
                    metrics.bytes_out += reply.len();
                    self.traffic.bytes(reply.len());
                    fx.push(Effect::Reply { conn, reply });
                }
                Some(Ending::Close) => {
                    self.close(pressure);
                    fx.push(Effect::Close { conn });
                }
                Some(Ending::Silence) | None => {}
            }
        }
    }

    /// The oldest unsent answer was sent.
    pub fn sent(&mut self, now: Time, pressure: &mut Pressure, metrics: &mut ShardMetrics) {
        if let Some(sent) = self.unsent.pop_front() {
            self.active_ns = now.mono_ns;
            metrics.send_ns.record(now.mono_ns.saturating_sub(sent.since_ns));
            self.unsent_bytes -= sent.memory;
            pressure.answer_went(sent.memory);
        }
    }

    /// Nothing more is begun; what is at work has nobody to answer to.
    pub fn close(&mut self, pressure: &mut Pressure) {
        self.closed = true;
        self.front += self.slots.len() as u64;
        for slot in self.slots.drain(..).filter(|slot| slot.ending.is_none()) {
            pressure.request_went(slot.bytes);
            self.abandoned.extend(slot.token);
        }
        for (frame, _) in self.backlog.drain(..) {
            pressure.request_went(frame.len() as u64);
        }
    }

    /// It is gone, with all that it held. Gives the tokens of what nobody waits for any more.
    pub fn gone(mut self, pressure: &mut Pressure) -> Vec<u64> {
        self.close(pressure);
        pressure.answer_went(self.unsent_bytes);
        self.abandoned
    }
}

fn kind_of(frame: &[u8]) -> RequestKind {
    frame.first_chunk().map_or(RequestKind::Other, |key| RequestKind::of(i16::from_be_bytes(*key)))
}

fn memory_bytes(reply: &Reply) -> u64 {
    let of = |part: &ReplyPart| match part {
        ReplyPart::Mem(bytes) => bytes.len() as u64,
        ReplyPart::File(_) => 0,
    };
    reply.parts.iter().map(of).sum()
}

#[cfg(test)]
mod tests;
