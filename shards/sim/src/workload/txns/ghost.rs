//! Requests that come a second time: later, perhaps much later, on another connection. What a network does to requests of a connection that was given up.
//!
//! Nobody waits for the answers, and any error will do. What they did is seen in the records.

use bytes::Bytes;

use crate::workload::api::ApiKey;
use crate::workload::{Actor, Cx, Request};

/// How often it looks for what is due, in nanoseconds.
const LOOK_NS: u64 = 5_000_000;
/// The latest that a request comes, in nanoseconds.
const LATE_NS_MAX: u64 = 4_000_000_000;

/// A request that is to come again.
#[derive(Clone, Debug)]
pub struct Late {
    due_ns: u64,
    api: ApiKey,
    version: i16,
    body: Bytes,
}

impl Late {
    /// This request, at some later moment.
    pub fn draw(cx: &mut Cx<'_>, api: ApiKey, version: i16, body: Bytes) -> Late {
        let due_ns = cx.world.now_ns() + cx.rng.log_range(1_000_000, LATE_NS_MAX);
        Late { due_ns, api, version, body }
    }
}

/// Who sends them.
#[derive(Debug, Default)]
pub struct Ghost {
    sent: u64,
    quiet_since_ns: u64,
    done: bool,
}

impl Actor for Ghost {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let now_ns = cx.world.now_ns();
        // Whoever is still at something may want another one sent.
        self.quiet_since_ns = if cx.topics.late.is_empty() { self.quiet_since_ns } else { now_ns };
        self.done |= cx.winding_down && now_ns - self.quiet_since_ns > LATE_NS_MAX;
        if self.done {
            return None;
        }
        let due: Vec<usize> =
            cx.topics.late.iter().enumerate().filter(|(_, late)| late.due_ns <= now_ns).map(|(at, _)| at).collect();
        for at in due.into_iter().rev() {
            if cx.connection().is_none() {
                break;
            }
            let Late { api, version, body, .. } = cx.topics.late.swap_remove(at);
            cx.send(api, version, 0, body);
            self.sent += 1;
            if cx.rng.percent(10) {
                cx.hang_up();
            }
        }
        Some(LOOK_NS)
    }

    fn reply(&mut self, _cx: &mut Cx<'_>, _request: &Request, _body: &[u8]) {}

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {}

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("late requests, {} sent", self.sent)
    }
}
