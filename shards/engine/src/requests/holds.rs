//! Fetches whose answers wait while their client takes in a change of its group (docs/decisions/0017-answers-during-a-rebalance.md).
//!
//! librdkafka pauses all its partitions around the callback that tells the application of a change. A fetch that is answered in that moment finds
//! nothing to fetch next, and is followed by another one only when a second is over, though partitions that stay were to go on all the time. So from
//! the answer that brings a member another assignment its client's fetches are not answered, until the member says something that it says only
//! after the callback, or for `rebalance.fetch.hold.ms`. What a fetch finds in the meantime the client would throw away.
//!
//! An answer to a fetch that is on its way when the pause begins does the same harm. So the answer with the assignment itself goes out a moment later than
//! the fetches begin to wait.
//!
//! A fetch does not say of which member it is: it is known by address and client id. Where several share them, all wait, for a moment.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Caller;
use crate::connection::Ending;
use crate::event::{ConnId, Effect, Effects};
use crate::limits::{HOLD_COMMITS, HOLD_LEAD, HOLDS_MAX};
use crate::mesh::MeshMsg;
use crate::shard::Shard;
use crate::time::{Deadline, Time};

/// A client that pauses.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    holds: BTreeMap<Arc<Pauser>, Hold>,
    /// Answers with assignments, in the order in which they go out.
    later: VecDeque<(Deadline, Caller, Ending)>,
}

#[derive(Debug)]
struct Hold {
    until: Deadline,
    /// Members that take in a change.
    members: usize,
    /// Fetches that could be answered.
    held: Vec<u64>,
}

impl Holds {
    /// None that waits.
    pub fn new(longest_ms: u64) -> Holds {
        Holds { longest: Duration::from_millis(longest_ms), ..Holds::default() }
    }

    /// When the next answer with an assignment goes out.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.later.front().map(|(deadline, ..)| *deadline)
    }

    /// A member takes in a change until then, at most.
    fn begin(&mut self, now: Time, client: &Arc<Pauser>, until: Deadline) {
        self.forget_over(now);
        if let Some(hold) = self.holds.get_mut(client) {
            (hold.until, hold.members) = (hold.until.max(until), hold.members + 1);
        } else if self.holds.len() < HOLDS_MAX {
            self.holds.insert(client.clone(), Hold { until, members: 1, held: Vec::new() });
        }
    }

    /// Lets go of what nobody said the end of, so that fetches need not look whether it is theirs.
    fn forget_over(&mut self, now: Time) {
        self.holds.retain(|_, hold| !now.reached(hold.until));
    }

    /// It takes until then. The fetches that wait.
    fn extend(&mut self, client: &Arc<Pauser>, until: Deadline) -> Vec<u64> {
        let Some(hold) = self.holds.get_mut(client) else { return Vec::new() };
        hold.until = until;
        hold.held.clone()
    }

    /// A member has taken it in. The fetches that need not wait any more.
    fn end(&mut self, client: &Arc<Pauser>) -> Vec<u64> {
        let Some(hold) = self.holds.get_mut(client) else { return Vec::new() };
        hold.members -= 1;
        if hold.members > 0 {
            return Vec::new();
        }
        self.holds.remove(client).map_or_else(Vec::new, |hold| hold.held)
    }

    /// Until when a fetch of this client waits, if it does.
    fn hold(&mut self, now: Time, client: &Arc<Pauser>, token: u64) -> Option<Deadline> {
        let hold = self.holds.get_mut(client).filter(|hold| !now.reached(hold.until))?;
        hold.held.push(token);
        Some(hold.until.min(now.after(HOLD_LEAD + self.longest)))
    }
}

impl Shard {
    /// A member on this connection is about to hear of its assignment; whether it `has` partitions then. Who had none before has nothing to pause.
    /// Says whether fetches wait from now on: then the answer is one of [`Shard::answer_later`].
    pub(super) fn hold_begins(&mut self, now: Time, conn: ConnId, has: bool, fx: &mut Effects) -> bool {
        if self.holds.longest.is_zero() {
            return false;
        }
        let until = now.after(HOLD_LEAD + self.holds.longest);
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        let had = std::mem::replace(&mut connection.consumes, has);
        let Some(client) = connection.pauser.clone().filter(|_| had) else { return false };
        // Who has not said that the one before is over is counted once more until that is over by itself.
        connection.takes_in_change = Some(until);
        self.metrics.fetch_holds += 1;
        self.holds.begin(now, &client, until);
        for to in self.others() {
            fx.push(Effect::Mesh { to, msg: MeshMsg::HoldFetches { client: client.clone(), until } });
        }
        true
    }

    /// The answer with the assignment goes out when what was sent to the client before has been read, most likely.
    pub(super) fn answer_later(&mut self, now: Time, caller: Caller, ending: Ending) {
        self.holds.later.push_back((now.after(HOLD_LEAD), caller, ending));
    }

    /// Answers whose time has come go out.
    pub(crate) fn hold_timer(&mut self, now: Time, fx: &mut Effects) {
        while let Some((_, caller, ending)) = self.holds.later.pop_front_if(|(deadline, ..)| now.reached(*deadline)) {
            self.finish(caller, ending, fx);
        }
        self.holds.forget_over(now);
    }

    /// A member on this connection commits, or has committed, what it is to give up: only then it goes on taking in its change.
    pub(super) fn hold_goes_on(&mut self, now: Time, conn: ConnId, is_committed: bool, fx: &mut Effects) {
        let longest = if is_committed { self.holds.longest } else { self.holds.longest * HOLD_COMMITS };
        let until = now.after(longest);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.takes_in_change.is_none_or(|until| now.reached(until)) {
            return;
        }
        connection.takes_in_change = Some(until);
        let Some(client) = connection.pauser.clone() else { return };
        for to in self.others() {
            fx.push(Effect::Mesh { to, msg: MeshMsg::HoldLonger { client: client.clone(), until } });
        }
        self.hold_longer(&client, until);
    }

    /// The same on another shard, see [`Shard::hold_goes_on`].
    pub(crate) fn hold_longer(&mut self, client: &Arc<Pauser>, until: Deadline) {
        for token in self.holds.extend(client, until) {
            self.fetch_waits_until(token, until);
        }
    }

    /// A member on this connection has said something that it says after having taken in what it heard.
    pub(super) fn hold_ends(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let takes_in = connection.takes_in_change.take().is_some_and(|until| !now.reached(until));
        let Some(client) = connection.pauser.clone().filter(|_| takes_in) else { return };
        for to in self.others() {
            fx.push(Effect::Mesh { to, msg: MeshMsg::AnswerFetches { client: client.clone() } });
        }
        self.answer_fetches(now, &client, fx);
    }

    /// The same on another shard, see [`Shard::hold_begins`].
    pub(crate) fn hold_fetches(&mut self, now: Time, client: &Arc<Pauser>, until: Deadline) {
        self.holds.begin(now, client, until);
    }

    /// A member of this client goes on: fetches that waited for nobody else do so, too.
    pub(crate) fn answer_fetches(&mut self, now: Time, client: &Arc<Pauser>, fx: &mut Effects) {
        for token in self.holds.end(client) {
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
        let until = |ms: u64| Deadline(ms * 1_000_000);
        let mut holds = Holds::new(25 - HOLD_LEAD.as_millis() as u64);
        assert_eq!(holds.hold(at(0), &me, 1), None);
        holds.begin(at(0), &me, until(25));
        holds.begin(at(5), &me, until(30));
        assert_eq!(holds.hold(at(6), &other, 1), None);
        assert_eq!(holds.hold(at(6), &me, 1), Some(until(30)));
        assert!(holds.end(&other).is_empty());
        assert!(holds.end(&me).is_empty(), "another member has not taken it in");
        assert_eq!(holds.end(&me), [1]);
        assert_eq!(holds.hold(at(7), &me, 2), None);
        // It commits in between.
        holds.begin(at(8), &me, until(33));
        assert_eq!(holds.hold(at(9), &me, 5), Some(until(33)));
        assert_eq!(holds.extend(&me, until(258)), [5]);
        assert!(holds.extend(&other, until(258)).is_empty());
        assert_eq!(holds.end(&me), [5]);
        // One member after the other: a fetch waits no longer than for one.
        holds.begin(at(8), &me, until(33));
        holds.begin(at(30), &me, until(55));
        assert_eq!(holds.hold(at(20), &me, 2), Some(until(45)));
        assert!(holds.end(&me).is_empty());
        assert_eq!(holds.end(&me), [2]);
        // Nobody says that it is over.
        holds.begin(at(30), &me, until(55));
        assert_eq!(holds.hold(at(54), &me, 3), Some(until(55)));
        assert_eq!(holds.hold(at(55), &me, 3), None);
        assert_eq!(holds.end(&me), [3], "late, and harmless");
        for id in 0..2 * HOLDS_MAX {
            holds.begin(at(60), &pauser(&id.to_string()), until(85));
        }
        assert_eq!(holds.holds.len(), HOLDS_MAX);
    }
}
