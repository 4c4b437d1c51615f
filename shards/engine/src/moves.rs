//! Which connections should be where: the calls of each connection by owner, the load of every shard, and whether a connection moves.
//! Lives on the shard; [`Traffic`] goes along with its connection.
//!
//! What a hop between cores costs is its message, not the bytes, which go by reference: so calls are counted, not bytes. A connection moves
//! when, over a window of requests, another shard was called for at least half as many requests more often than this one; that it would move
//! back needs the opposite, and some time. Since a busy core is worse than a hop, nothing moves to a shard that would have clearly more to
//! do than this one and the others, unless it has little to do anyway.

use crate::event::ShardId;
use crate::limits::{KIBIBYTE_COST_NS, LOAD_LIGHT_NS, MOVES_PER_SECOND_MAX, REQUEST_COST_NS};
use crate::time::Time;

const SECOND_NS: u64 = 1_000_000_000;

/// What one connection asks for, since the window began.
#[derive(Debug, Default)]
pub struct Traffic {
    /// By owner; empty before the first call.
    calls: Vec<u32>,
    requests: u32,
    bytes: u64,
    /// When the window began.
    since_ns: u64,
    /// Until when it stays where it is.
    stays_until_ns: u64,
}

impl Traffic {
    /// Bytes of a request or an answer.
    pub fn bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// What it costs its shard, in nanoseconds a second.
    fn load(&self, now: Time) -> u64 {
        // What came at once is not a rate.
        let elapsed_ns = now.mono_ns.saturating_sub(self.since_ns).max(SECOND_NS / 1000);
        rate(u64::from(self.requests), self.bytes, elapsed_ns)
    }
}

/// Nanoseconds of work a second.
fn rate(requests: u64, bytes: u64, elapsed_ns: u64) -> u64 {
    let cost_ns = requests * REQUEST_COST_NS + bytes / 1024 * KIBIBYTE_COST_NS;
    (u128::from(cost_ns) * u128::from(SECOND_NS) / u128::from(elapsed_ns.max(1))) as u64
}

/// What a shard knows of all shards.
#[derive(Debug, Default)]
pub struct Moves {
    /// 0: nothing moves.
    window: u32,
    interval_ns: u64,
    own: usize,
    /// By shard, in nanoseconds a second, as last heard.
    loads: Vec<u64>,
    /// As the others were told.
    told: u64,
    /// When the own load was last looked at, and requests and bytes until then.
    looked: (u64, u64, u64),
    /// Since when moves are counted, and how many there were.
    moved: (u64, u32),
}

impl Moves {
    /// Nothing is known yet. A `window` of 0 requests: nothing moves.
    pub fn new(own: ShardId, shards: u16, window: u32, interval_ms: u64) -> Moves {
        Moves {
            window: if shards > 1 { window } else { 0 },
            interval_ns: interval_ms * 1_000_000,
            own: usize::from(own.0),
            loads: vec![0; usize::from(shards)],
            ..Moves::default()
        }
    }

    /// Whether anything ever moves.
    pub fn is_on(&self) -> bool {
        self.window > 0
    }

    /// How another shard is loaded.
    pub fn heard(&mut self, from: ShardId, ns_per_s: u64) {
        self.loads[usize::from(from.0)] = ns_per_s;
    }

    /// Looks at the own load, given requests and bytes in all; `Some` when the others are to be told.
    pub fn look(&mut self, now: Time, requests: u64, bytes: u64) -> Option<u64> {
        let (at_ns, requests_then, bytes_then) = std::mem::replace(&mut self.looked, (now.mono_ns, requests, bytes));
        if !self.is_on() || at_ns == 0 {
            return None;
        }
        let load = rate(requests - requests_then, bytes - bytes_then, now.mono_ns.saturating_sub(at_ns));
        self.loads[self.own] = load;
        (std::mem::replace(&mut self.told, load) != load).then_some(load)
    }

    /// A connection came from another shard.
    pub fn came(&self, now: Time, traffic: &mut Traffic) {
        *traffic = Traffic { stays_until_ns: now.mono_ns + self.interval_ns, ..Traffic::default() };
    }

    /// A request of a connection calls these owners: where it is to move.
    pub fn called(
        &mut self,
        now: Time,
        traffic: &mut Traffic,
        owners: impl Iterator<Item = ShardId>,
    ) -> Option<ShardId> {
        if traffic.requests == 0 {
            traffic.since_ns = now.mono_ns;
            traffic.calls.resize(self.loads.len(), 0);
        }
        traffic.requests += 1;
        owners.for_each(|owner| traffic.calls[usize::from(owner.0)] += 1);
        if traffic.requests < self.window {
            return None;
        }
        let to = self.judge(now, traffic);
        traffic.calls.fill(0);
        (traffic.requests, traffic.bytes) = (0, 0);
        to
    }

    fn judge(&mut self, now: Time, traffic: &Traffic) -> Option<ShardId> {
        let (to, most) = traffic.calls.iter().enumerate().max_by_key(|(_, calls)| **calls)?;
        if most.saturating_sub(traffic.calls[self.own]) < self.window.div_ceil(2)
            || now.mono_ns < traffic.stays_until_ns
        {
            return None;
        }
        if now.mono_ns.saturating_sub(self.moved.0) >= SECOND_NS {
            self.moved = (now.mono_ns, 0);
        }
        // What the connection did within its window cannot be more than what its shard did.
        let (own, load) = (self.loads[self.own], traffic.load(now));
        let mean = self.loads.iter().sum::<u64>() / self.loads.len() as u64;
        let load = if own > 0 { load.min(own) } else { load };
        let bound = (own.max(mean) / 4 * 5).max(LOAD_LIGHT_NS);
        if self.moved.1 >= MOVES_PER_SECOND_MAX || self.loads[to] + load > bound {
            return None;
        }
        self.moved.1 += 1;
        // Until they are heard of again: others that move in between shall see this one.
        self.loads[to] += load;
        self.loads[self.own] = own.saturating_sub(load);
        Some(ShardId(to as u16))
    }
}

#[cfg(test)]
mod tests;
