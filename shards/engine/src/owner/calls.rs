//! Calls that a shard makes to owners of partitions of its own accord, not for a client's request: what stands where in each, until its answer comes.
//! Part of the [`super::Owner`].

use std::collections::BTreeMap;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::event::ShardId;

/// The highest bit of a token tells these calls from those of requests, which never have it.
const TOKEN_TAG: u64 = 1 << 63;

/// Whether an answer is to such a call.
pub fn is_own(token: u64) -> bool {
    token & TOKEN_TAG != 0
}

/// What goes to each owner, and what is remembered of each part.
pub(super) type ByOwner<P, T> = BTreeMap<ShardId, (Vec<P>, Vec<T>)>;

/// Calls under way.
#[derive(Debug)]
pub(super) struct Calls<T> {
    last_token: u64,
    /// By token: what stands where in the call.
    sent: HashMap<u64, Vec<T>, FxBuildHasher>,
}

impl<T> Default for Calls<T> {
    fn default() -> Calls<T> {
        Calls { last_token: 0, sent: HashMap::default() }
    }
}

impl<T> Calls<T> {
    /// A call to each owner: receiver, token and parts.
    pub(super) fn begin<P>(&mut self, by_owner: ByOwner<P, T>) -> Vec<(ShardId, u64, Vec<P>)> {
        let calls = by_owner.into_iter().map(|(owner, (parts, sent))| {
            self.last_token += 1;
            let token = self.last_token | TOKEN_TAG;
            self.sent.insert(token, sent);
            (owner, token, parts)
        });
        calls.collect()
    }

    /// An owner has answered: what stood where.
    pub(super) fn end(&mut self, token: u64) -> Vec<T> {
        self.sent.remove(&token).expect("a call has one answer")
    }
}
