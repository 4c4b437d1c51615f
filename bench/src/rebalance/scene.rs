//! One run of all scenarios with one group: who is started, left and killed when, and over which spans gaps are looked for.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::feed::Feed;
use super::log::{Log, Span, longest_gap_ns};
use super::member::{ClientKind, Member};
use super::{Measured, PARTITIONS, RebalanceArgs, SESSION_MS};
use crate::broker::{Place, Subject};
use crate::client::Client;

/// In the order in which they happen.
pub const SCENARIOS: [&str; 4] = ["A alone", "B joins", "A leaves", "A crashes"];
/// How long a group may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// For gaps of one who is alone, of a join and of a leave: the change is over after two heartbeats, and a client that then looks for work once a second has
/// looked. A crash takes a session more.
const SPAN: Duration = Duration::from_millis(3500);
/// After a group has come to rest.
const QUIET: Duration = Duration::from_secs(1);

/// A group at work.
pub struct Scene<'a> {
    place: &'a Place,
    subject: Subject,
    client: ClientKind,
    protocol: &'static str,
    how: &'a RebalanceArgs,
    name: String,
    begun: usize,
}

impl Scene<'_> {
    /// All scenarios with this client and protocol, with a topic and a group of their own.
    pub fn run(
        place: &Place,
        subject: Subject,
        client: ClientKind,
        protocol: &'static str,
        how: &RebalanceArgs,
        turn: usize,
    ) -> Result<Vec<Measured>, String> {
        let name = format!("{}-{protocol}-{turn}", client.name());
        let mut scene = Scene { place, subject, client, protocol, how, name, begun: 0 };
        scene.with_topic()
    }

    fn with_topic(&mut self) -> Result<Vec<Measured>, String> {
        let (place, subject, name) = (self.place, self.subject, self.name.clone());
        let text = |error: std::io::Error| error.to_string();
        let mut client = Client::connect(place.port).map_err(text)?;
        // A broker that was stopped may be told by its controller that it is out, and takes a moment to be in again.
        let began = Instant::now();
        while let Err(error) = client.create_topic(&name, PARTITIONS) {
            if began.elapsed() > PATIENCE || error.kind() != std::io::ErrorKind::Other {
                return Err(format!("{}: {error}", subject.name()));
            }
            sleep(Duration::from_millis(200));
        }
        let feed = Feed::start(place.port, &name, PARTITIONS, Duration::from_millis(self.how.every_ms.max(1)))
            .map_err(text)?;
        let found = self.scenarios();
        feed.stop()?;
        client.delete_topics(&[name]).map_err(text)?;
        found
    }

    fn scenarios(&mut self) -> Result<Vec<Measured>, String> {
        let mut found = Vec::new();
        // All programs and clients start before anything is measured: on the load's core that alone would hold up the others.
        let (mut a, mut b) = (self.member()?, self.member()?);
        let mut doomed = Vec::new();
        for _ in 0..self.how.crashes {
            doomed.push(self.member()?);
        }
        // Once for nothing, so that no program does something for its first time when it counts.
        a.join()?;
        self.rest(&[&a])?;
        b.join()?;
        self.rest(&[&a, &b])?;
        b.leave()?;
        self.rest(&[&a])?;
        b.make()?;
        sleep(QUIET);

        for _ in 0..self.how.joins {
            found.push(self.measure(0, &[&a], &[], now_ns(), SPAN)?);

            let from_ns = now_ns();
            b.join()?;
            found.push(self.measure(1, &[&a, &b], &[], from_ns, SPAN)?);
            self.rest(&[&a, &b])?;
            sleep(QUIET);

            let from_ns = now_ns();
            a.leave()?;
            found.push(self.measure(2, &[&b], &[&a], from_ns, SPAN)?);
            self.rest(&[&b])?;
            a.make()?;
            sleep(QUIET);
            // Who has stayed is the next one's A.
            std::mem::swap(&mut a, &mut b);
        }

        // Who is killed has half of the partitions.
        for mut c in doomed {
            c.join()?;
            self.rest(&[&c, &a])?;
            sleep(QUIET);
            let from_ns = now_ns();
            c.kill();
            found.push(self.measure(3, &[&a], &[&c], from_ns, SPAN + Duration::from_millis(SESSION_MS))?);
            self.rest(&[&a])?;
        }
        Ok(found)
    }

    fn member(&mut self) -> Result<Member, String> {
        self.begun += 1;
        Member::start(self.place, self.client, self.protocol, &self.name, self.begun)
    }

    /// Waits until these members have all partitions among them, as many each.
    fn rest(&self, members: &[&Member]) -> Result<(), String> {
        let began = Instant::now();
        let share = PARTITIONS as usize / members.len();
        while !members.iter().all(|member| member.log().has().len() == share) {
            if began.elapsed() > PATIENCE {
                let has: Vec<_> = members.iter().map(|member| member.log().has()).collect();
                let (subject, protocol) = (self.subject.name(), self.protocol);
                return Err(format!("{subject} {protocol}: the group does not come to rest: members have {has:?}"));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Lets time pass, then looks for gaps. `gone`: members that are not there any more at its end.
    fn measure(
        &self,
        scenario: usize,
        members: &[&Member],
        gone: &[&Member],
        from_ns: u64,
        length: Duration,
    ) -> Result<Measured, String> {
        let span = Span { from_ns, until_ns: from_ns + length.as_nanos() as u64 };
        // A little longer, so that what arrived before the end is written down.
        sleep(length.saturating_sub(Duration::from_nanos(now_ns() - from_ns)) + Duration::from_millis(300));
        let logs: Vec<Log> = members.iter().map(|member| member.log()).collect();
        let left: Vec<Log> = gone.iter().map(|member| member.log()).collect();
        let all: Vec<&Log> = logs.iter().chain(&left).collect();
        let ms = |ns: u64| ns as f64 / 1e6;
        let (mut kept, mut kept_ns, mut moved_ns) = (0, 0, None);
        for partition in 0..PARTITIONS {
            match logs.iter().find(|log| log.kept(span).contains(&partition)) {
                Some(log) => {
                    kept += 1;
                    kept_ns = kept_ns.max(longest_gap_ns(&[log], partition, span));
                }
                None => moved_ns = moved_ns.max(Some(longest_gap_ns(&all, partition, span))),
            }
        }
        if kept == 0 {
            return Err(format!("{} {}: no partition stayed where it was", self.subject.name(), self.protocol));
        }
        Ok(Measured {
            subject: self.subject.name(),
            client: self.client,
            protocol: self.protocol,
            scenario: SCENARIOS[scenario],
            kept,
            kept_ms: ms(kept_ns),
            moved_ms: moved_ns.map(ms),
        })
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
