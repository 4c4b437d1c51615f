//! The simulated network of one node: connections that carry whole frames both ways, in order, late, and not for ever.
//!
//! Fault model: each frame takes random time; a slow client takes its replies late; either side closes at any time, and what was on the way is lost.
//! Reads of a connection stop at `PauseReads` and at a closed admission of its shard: frames then wait on the wire.
//!
//! This file owns the state of connections; [`crate::world::World`] owns the clock and moves the frames.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use floe_engine::event::{ConnId, Reply, ShardId};

use crate::rng::Rng;

/// A connection as its client knows it; unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

/// How slow and how broken the network is.
#[derive(Clone, Debug)]
pub struct NetFaults {
    /// Longest time of a frame on the wire in nanoseconds, each way.
    pub delay_ns_max: u64,
    /// Replies per million that a client takes late.
    pub slow_ppm: u32,
    /// Longest such wait in nanoseconds.
    pub slow_ns_max: u64,
    /// Frames per million at which the connection breaks instead.
    pub break_ppm: u32,
}

impl Default for NetFaults {
    fn default() -> NetFaults {
        NetFaults { delay_ns_max: 200_000, slow_ppm: 0, slow_ns_max: 200_000_000, break_ppm: 0 }
    }
}

/// Frames moved to a shard at once from a connection that was paused.
const CATCH_UP_FRAMES: usize = 4;

/// All connections of the node.
#[derive(Debug)]
pub struct Net {
    /// What may go wrong. May be changed while running.
    pub faults: NetFaults,
    links: BTreeMap<Link, Wire>,
    by_conn: BTreeMap<(ShardId, ConnId), Link>,
    /// Shards that read no connection, and since when.
    admission_closed: BTreeMap<ShardId, u64>,
    next_link: u64,
    next_conn: u64,
    rng: Rng,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) shard: ShardId,
    pub(crate) conn: ConnId,
    /// The client has closed: nothing is delivered to it any more.
    pub(crate) client_closed: bool,
    paused: bool,
    /// The shard reads no more of it, as it is to move.
    detached: bool,
    /// It is at rest, or on its way to another shard.
    pub(crate) moving: bool,
    /// It ended on the way: the shard that it comes to learns so.
    pub(crate) ended: bool,
    /// Arrived, not yet read by the shard.
    waiting: VecDeque<Bytes>,
    /// Replies not yet sent, oldest first; `None` closes the connection.
    pub(crate) outgoing: VecDeque<Option<Reply>>,
    to_server_at: u64,
    to_client_at: u64,
    send_at: u64,
}

impl Net {
    /// A network without connections.
    pub fn new(rng: Rng, faults: NetFaults) -> Net {
        Net {
            faults,
            links: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            admission_closed: BTreeMap::new(),
            next_link: 0,
            next_conn: 0,
            rng,
        }
    }

    /// Number of connections that live.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(crate) fn connect(&mut self, shard: ShardId) -> (Link, ConnId) {
        self.next_link += 1;
        self.next_conn += self.rng.range(1, 3);
        let (link, conn) = (Link(self.next_link), ConnId(self.next_conn));
        let wire = Wire {
            shard,
            conn,
            client_closed: false,
            paused: false,
            detached: false,
            moving: false,
            ended: false,
            waiting: VecDeque::new(),
            outgoing: VecDeque::new(),
            to_server_at: 0,
            to_client_at: 0,
            send_at: 0,
        };
        self.links.insert(link, wire);
        self.by_conn.insert((shard, conn), link);
        (link, conn)
    }

    pub(crate) fn get(&mut self, link: Link) -> Option<&mut Wire> {
        self.links.get_mut(&link)
    }

    pub(crate) fn link(&self, shard: ShardId, conn: ConnId) -> Option<Link> {
        self.by_conn.get(&(shard, conn)).copied()
    }

    pub(crate) fn remove(&mut self, link: Link) -> Option<Wire> {
        let wire = self.links.remove(&link)?;
        self.by_conn.remove(&(wire.shard, wire.conn));
        Some(wire)
    }

    /// Forgets everything (the node is down) and names the links whose clients do not know yet.
    pub(crate) fn clear(&mut self) -> Vec<Link> {
        self.by_conn.clear();
        self.admission_closed.clear();
        let links = std::mem::take(&mut self.links);
        links.into_iter().filter(|(_, wire)| !wire.client_closed).map(|(link, _)| link).collect()
    }

    /// When something sent now by the client arrives. `None`: the connection breaks instead.
    pub(crate) fn arrival_at_server(&mut self, link: Link, now_ns: u64) -> Option<u64> {
        let broken = self.rng.ppm(self.faults.break_ppm);
        let delay = self.rng.below(self.faults.delay_ns_max + 1);
        let wire = self.links.get_mut(&link)?;
        wire.to_server_at = wire.to_server_at.max(now_ns + delay);
        (!broken).then_some(wire.to_server_at)
    }

    /// When something sent now by the shard arrives. `None`: the connection breaks instead.
    pub(crate) fn arrival_at_client(&mut self, link: Link, now_ns: u64) -> Option<u64> {
        let broken = self.rng.ppm(self.faults.break_ppm);
        let delay = self.rng.below(self.faults.delay_ns_max + 1);
        let wire = self.links.get_mut(&link)?;
        wire.to_client_at = wire.to_client_at.max(now_ns + delay);
        (!broken).then_some(wire.to_client_at)
    }

    /// When the kernel takes the next reply of this connection.
    pub(crate) fn next_send(&mut self, link: Link, now_ns: u64) -> Option<u64> {
        let slow = self.rng.ppm(self.faults.slow_ppm).then(|| self.rng.below(self.faults.slow_ns_max));
        let delay = slow.unwrap_or_else(|| self.rng.below(30_000));
        let wire = self.links.get_mut(&link)?;
        wire.send_at = wire.send_at.max(now_ns + delay);
        Some(wire.send_at)
    }

    pub(crate) fn pause(&mut self, link: Link, paused: bool) {
        if let Some(wire) = self.links.get_mut(&link) {
            wire.paused = paused;
        }
    }

    /// The shard reads no more of it.
    pub(crate) fn detach(&mut self, link: Link) {
        if let Some(wire) = self.links.get_mut(&link) {
            wire.detached = true;
        }
    }

    /// It leaves for another shard, with a new name.
    pub(crate) fn attach(&mut self, link: Link, to: ShardId) {
        let Some(wire) = self.links.get_mut(&link) else { return };
        assert!(wire.moving && wire.outgoing.is_empty(), "it is at rest");
        self.by_conn.remove(&(wire.shard, wire.conn));
        self.next_conn += 1;
        (wire.shard, wire.conn) = (to, ConnId(self.next_conn));
        self.by_conn.insert((to, wire.conn), link);
    }

    /// It has come there; whether it lives.
    pub(crate) fn attached(&mut self, link: Link) -> bool {
        let Some(wire) = self.links.get_mut(&link) else { return false };
        (wire.paused, wire.detached, wire.moving) = (false, false, false);
        !wire.ended
    }

    pub(crate) fn admission(&mut self, shard: ShardId, open: bool, now_ns: u64) {
        match open {
            true => self.admission_closed.remove(&shard),
            false => self.admission_closed.insert(shard, now_ns),
        };
    }

    /// The shard that has read no connection for the longest time, and since when.
    pub fn deaf_since_ns(&self) -> Option<(ShardId, u64)> {
        self.admission_closed.iter().map(|(shard, since)| (*shard, *since)).min_by_key(|(_, since)| *since)
    }

    pub(crate) fn arrive(&mut self, link: Link, frame: Bytes) {
        if let Some(wire) = self.links.get_mut(&link) {
            wire.waiting.push_back(frame);
        }
    }

    /// Frames that the shard may read from this connection now.
    pub(crate) fn readable(&mut self, link: Link) -> Vec<Bytes> {
        let Some(wire) = self.links.get_mut(&link) else { return Vec::new() };
        if wire.paused || wire.detached || self.admission_closed.contains_key(&wire.shard) {
            return Vec::new();
        }
        let n = wire.waiting.len().min(CATCH_UP_FRAMES);
        wire.waiting.drain(..n).collect()
    }

    /// Links of a shard with frames waiting that may be read.
    pub(crate) fn backlog(&self, shard: ShardId) -> Vec<Link> {
        if self.admission_closed.contains_key(&shard) {
            return Vec::new();
        }
        let waits = |wire: &Wire| wire.shard == shard && !wire.paused && !wire.detached && !wire.waiting.is_empty();
        self.links.iter().filter(|(_, wire)| waits(wire)).map(|(link, _)| *link).collect()
    }
}
