//! One client's connection: the requests read and not yet answered. Lives on the shard that accepted it.
//!
//! Invariants: replies leave in the order of requests, whatever order they are made in; at most
//! [`REQUESTS_IN_FLIGHT_MAX`] requests wait, then nothing is read.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::event::{ConnId, Effect, Effects, Reply};
use crate::limits::REQUESTS_IN_FLIGHT_MAX;

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

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Who, for log lines.
    pub peer: SocketAddr,
    /// On which listener it came in.
    pub listener: u16,
    /// What the requests came to, in their order; `None` while one is at work.
    endings: VecDeque<Option<Ending>>,
    /// Number of the request at the front.
    front: u64,
    paused: bool,
    closed: bool,
}

impl Connection {
    /// A new one.
    pub fn new(peer: SocketAddr, listener: u16) -> Connection {
        Connection { peer, listener, endings: VecDeque::new(), front: 0, paused: false, closed: false }
    }

    /// Whether it takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes a request in: its number.
    pub fn begin(&mut self, conn: ConnId, fx: &mut Effects) -> u64 {
        self.endings.push_back(None);
        if self.endings.len() >= REQUESTS_IN_FLIGHT_MAX && !self.paused {
            self.paused = true;
            fx.push(Effect::PauseReads { conn });
        }
        self.front + self.endings.len() as u64 - 1
    }

    /// A request has come to its end: whatever is in turn goes out. Gives the bytes sent.
    pub fn end(&mut self, conn: ConnId, request: u64, ending: Ending, fx: &mut Effects) -> u64 {
        let Some(slot) = request.checked_sub(self.front).and_then(|at| self.endings.get_mut(at as usize)) else {
            return 0;
        };
        *slot = Some(ending);
        let mut bytes = 0;
        while let Some(Some(_)) = self.endings.front() {
            self.front += 1;
            match self.endings.pop_front().flatten() {
                Some(Ending::Reply(reply)) => {
                    bytes += reply.len();
                    fx.push(Effect::Reply { conn, reply });
                }
                Some(Ending::Close) => {
                    self.closed = true;
                    self.front += self.endings.len() as u64;
                    self.endings.clear();
                    fx.push(Effect::Close { conn });
                }
                Some(Ending::Silence) | None => {}
            }
        }
        if self.paused && !self.closed && self.endings.len() <= REQUESTS_IN_FLIGHT_MAX / 2 {
            self.paused = false;
            fx.push(Effect::ResumeReads { conn });
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_keep_the_order_of_requests() {
        let (conn, mut fx) = (ConnId(1), Effects::new());
        let mut connection = Connection::new("127.0.0.1:1".parse().unwrap(), 0);
        let requests: Vec<u64> = (0..3).map(|_| connection.begin(conn, &mut fx)).collect();
        let reply = || Ending::Reply(Reply::default());
        connection.end(conn, requests[1], reply(), &mut fx);
        assert!(fx.is_empty());
        connection.end(conn, requests[0], Ending::Silence, &mut fx);
        assert!(matches!(fx[..], [Effect::Reply { .. }]));
        connection.end(conn, requests[2], Ending::Close, &mut fx);
        assert!(matches!(fx[..], [Effect::Reply { .. }, Effect::Close { .. }]) && connection.is_closed());
    }

    #[test]
    fn too_many_at_once_stop_the_reading() {
        let (conn, mut fx) = (ConnId(1), Effects::new());
        let mut connection = Connection::new("127.0.0.1:1".parse().unwrap(), 0);
        for _ in 0..REQUESTS_IN_FLIGHT_MAX {
            connection.begin(conn, &mut fx);
        }
        assert!(matches!(fx[..], [Effect::PauseReads { .. }]));
        for request in 0..REQUESTS_IN_FLIGHT_MAX as u64 {
            connection.end(conn, request, Ending::Silence, &mut fx);
        }
        assert!(matches!(fx[..], [Effect::PauseReads { .. }, Effect::ResumeReads { .. }]));
    }
}
