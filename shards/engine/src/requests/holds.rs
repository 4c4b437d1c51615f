//! Fetches whose answers wait while their client takes in a change of its group (docs/decisions/0017-answers-during-a-rebalance.md).
//!
//! librdkafka pauses all its partitions around the callback that tells the application of a change. A fetch that is answered in that moment finds
//! nothing to fetch next, and is followed by another one only when a second is over, though partitions that stay were to go on all the time. So from
//! the answer that brings a member another assignment its client's fetches are not answered, until the member says something that it says only
//! after the callback, or for `rebalance.fetch.hold.ms`. What a fetch finds in the meantime the client would throw away.
//!
//! A fetch does not say of which member it is: it is known by address and client id. Where several share them, all wait, for a moment.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{ConnId, Effect, Effects, ShardId};
use crate::limits::HOLDS_MAX;
use crate::mesh::MeshMsg;
use crate::shard::Shard;
use crate::time::{Deadline, Time};

/// A client that pauses.
#[derive(Debug, PartialEq, Eq)]
pub struct Pauser {
    ip: IpAddr,
    id: Box<str>,
}

impl Pauser {
    /// `None` unless the software that ApiVersions names is librdkafka, or something around it: Confluent's clients but Java's, and others that say so in name or version.
    pub fn of(ip: IpAddr, client_id: Option<&str>, (name, version): (&str, &str)) -> Option<Arc<Pauser>> {
        let pauses = name.contains("rdkafka") || name.starts_with("confluent-kafka-") || version.contains("rdkafka");
        pauses.then(|| Arc::new(Pauser { ip, id: client_id.unwrap_or_default().into() }))
    }
}

/// The clients of one shard's connections whose fetches wait.
#[derive(Debug, Default)]
pub struct Holds {
    /// `rebalance.fetch.hold.ms`.
    longest: Duration,
    /// Few, and for moments.
    holds: Vec<Hold>,
}

#[derive(Debug)]
struct Hold {
    client: Arc<Pauser>,
    until: Deadline,
    /// Connections whose members take in a change.
    members: Vec<ConnId>,
    /// Fetches that could be answered.
    held: Vec<u64>,
}

impl Holds {
    /// None that waits.
    pub fn new(longest_ms: u64) -> Holds {
        Holds { longest: Duration::from_millis(longest_ms), holds: Vec::new() }
    }

    fn begin(&mut self, now: Time, client: &Arc<Pauser>, member: ConnId) {
        let until = now.after(self.longest);
        self.holds.retain(|hold| !now.reached(hold.until));
        if let Some(hold) = self.holds.iter_mut().find(|hold| hold.client == *client) {
            hold.until = until;
            hold.members.push(member);
        } else if self.holds.len() < HOLDS_MAX {
            self.holds.push(Hold { client: client.clone(), until, members: vec![member], held: Vec::new() });
        }
    }

    /// The fetches that need not wait any more.
    fn end(&mut self, client: &Pauser, member: ConnId) -> Vec<u64> {
        let Some(at) = self.holds.iter().position(|hold| *hold.client == *client) else { return Vec::new() };
        self.holds[at].members.retain(|other| *other != member);
        if self.holds[at].members.is_empty() { self.holds.swap_remove(at).held } else { Vec::new() }
    }

    /// Until when a fetch of this client waits, if it does.
    fn hold(&mut self, now: Time, client: &Pauser, token: u64) -> Option<Deadline> {
        let hold = self.holds.iter_mut().find(|hold| *hold.client == *client && !now.reached(hold.until))?;
        hold.held.push(token);
        Some(hold.until)
    }
}

impl Shard {
    /// A member on this connection is about to hear of another assignment.
    pub(super) fn hold_begins(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        if self.holds.longest.is_zero() {
            return;
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Some(client) = connection.pauser.clone() else { return };
        connection.takes_in_change = true;
        self.metrics.fetch_holds += 1;
        self.holds.begin(now, &client, conn);
        for to in (0..self.shards).map(ShardId).filter(|to| *to != self.shard) {
            fx.push(Effect::Mesh { to, msg: MeshMsg::HoldFetches { client: client.clone(), member: conn } });
        }
    }

    /// A member on this connection has said something that it says after having taken in what it heard.
    pub(super) fn hold_ends(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&conn).filter(|connection| connection.takes_in_change) else {
            return;
        };
        connection.takes_in_change = false;
        let Some(client) = connection.pauser.clone() else { return };
        for to in (0..self.shards).map(ShardId).filter(|to| *to != self.shard) {
            fx.push(Effect::Mesh { to, msg: MeshMsg::AnswerFetches { client: client.clone(), member: conn } });
        }
        self.answer_fetches(now, &client, conn, fx);
    }

    /// The same on another shard, see [`Shard::hold_begins`].
    pub(crate) fn hold_fetches(&mut self, now: Time, client: &Arc<Pauser>, member: ConnId) {
        self.holds.begin(now, client, member);
    }

    /// Fetches that waited for this member go on.
    pub(crate) fn answer_fetches(&mut self, now: Time, client: &Pauser, member: ConnId, fx: &mut Effects) {
        for token in self.holds.end(client, member) {
            self.fetch_due(now, token, fx);
        }
    }

    /// Whether the fetch, which could be answered, has to wait: until when.
    pub(super) fn held(&mut self, now: Time, conn: ConnId, token: u64) -> Option<Deadline> {
        if self.holds.holds.is_empty() {
            return None;
        }
        let client = self.connections.get(&conn)?.pauser.clone()?;
        self.holds.hold(now, &client, token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_pauses_says_so() {
        for (software, pauses) in [
            (("librdkafka", "2.16.0"), true),
            (("confluent-kafka-python", "2.16.1-librdkafka-2.16.0"), true),
            (("confluent-kafka-dotnet", "2.11.0"), true),
            (("rust-rdkafka", "0.38.0"), true),
            (("apache-kafka-java", "4.3.1"), false),
            (("kafkajs", "2.2.4"), false),
            (("", ""), false),
        ] {
            assert_eq!(Pauser::of(IP, Some("me"), software).is_some(), pauses, "{software:?}");
        }
    }

    #[test]
    fn holds_end_with_their_last_member_or_their_time_and_are_bounded() {
        let pauser = |id: &str| Pauser::of(IP, Some(id), ("librdkafka", "")).unwrap();
        let (me, other) = (pauser("me"), pauser("other"));
        let at = |ms: u64| Time { mono_ns: ms * 1_000_000, wall_ms: 0 };
        let mut holds = Holds::new(25);
        assert_eq!(holds.hold(at(0), &me, 1), None);
        holds.begin(at(0), &me, ConnId(1));
        holds.begin(at(5), &me, ConnId(2));
        assert_eq!(holds.hold(at(6), &other, 1), None);
        assert_eq!(holds.hold(at(6), &me, 1), Some(Deadline(30_000_000)));
        assert!(holds.end(&other, ConnId(1)).is_empty());
        assert!(holds.end(&me, ConnId(1)).is_empty(), "another one has not ended");
        assert_eq!(holds.end(&me, ConnId(2)), [1]);
        assert_eq!(holds.hold(at(7), &me, 2), None);
        // Nobody says that it is over.
        holds.begin(at(10), &me, ConnId(1));
        assert!(holds.hold(at(34), &me, 3).is_some());
        assert_eq!(holds.hold(at(35), &me, 3), None);
        for id in 0..2 * HOLDS_MAX {
            holds.begin(at(40), &pauser(&id.to_string()), ConnId(3));
        }
        assert_eq!(holds.holds.len(), HOLDS_MAX);
    }
}
