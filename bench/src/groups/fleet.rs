//! Thousands of members on few connections, in one thread that never waits for one of them: each asks when it is due, answers come when they come.
//!
//! A broker answers the requests of a connection in their order and Kafka works on one at a time, so members of one group never share a connection: a
//! join that waits for the others would wait for itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::asking;
use super::member::{Member, Protocol};
use crate::generator::socket::Socket;

/// Members of a group, and how many groups share so many connections.
pub const MEMBERS: usize = 10;
/// Partitions that each member commits for.
pub const PARTITIONS: i32 = 10;

/// One connection, and what it was asked and has not answered.
struct Link {
    socket: Socket,
    asked: VecDeque<Asked>,
    unsent: bool,
}

struct Asked {
    member: usize,
    correlation: i32,
    /// `Some`: a commit, due then.
    commit: Option<Instant>,
    calm: bool,
}

/// What is counted; begun anew for each phase.
pub struct Counts {
    /// Answers to heartbeats that left all as it was.
    pub heartbeats: u64,
    /// Commits that were taken.
    pub commits: u64,
    /// Commits that were not.
    pub commits_refused: u64,
    /// From when a commit was due until its answer; in microseconds.
    pub commit_us: Histogram<u64>,
}

/// All members and connections.
pub struct Fleet {
    topic: String,
    address: SocketAddr,
    links: Vec<Link>,
    /// Of group `g` member `m` is at `g * MEMBERS + m`.
    pub members: Vec<Member>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    correlation: i32,
    /// What happened since [`Fleet::count_anew`].
    pub counts: Counts,
}

impl Fleet {
    /// Members for so many groups, half of them of each protocol, on as many connections as there are groups. None is due.
    pub fn new(address: SocketAddr, topic: &str, groups: &[String]) -> Result<Fleet, String> {
        let protocol = |group: usize| if group.is_multiple_of(2) { Protocol::Classic } else { Protocol::Consumer };
        let member = |at: usize| Member::new(groups[at / MEMBERS].clone(), protocol(at / MEMBERS), at);
        let mut fleet = Fleet {
            topic: topic.to_owned(),
            address,
            links: Vec::new(),
            members: (0..groups.len() * MEMBERS).map(member).collect(),
            due: BinaryHeap::new(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| error.to_string())?,
            events: Vec::with_capacity(512),
            correlation: 0,
            counts: Counts::new(),
        };
        fleet.connect(groups.len())?;
        Ok(fleet)
    }

    /// Connects all connections anew; whatever was asked on the old ones is forgotten.
    fn connect(&mut self, count: usize) -> Result<(), String> {
        self.links.clear();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        for at in 0..count {
            let socket = Socket::connect(self.address).map_err(|error| format!("connection {at}: {error}"))?;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(at as u64), flags)
                .map_err(|error| format!("epoll: {error}"))?;
            self.links.push(Link { socket, asked: VecDeque::new(), unsent: false });
        }
        Ok(())
    }

    /// After the broker has ended and come back: all members go on with what they know, each at a moment of its own within `within`.
    pub fn reconnect(&mut self, within: Duration) -> Result<(), String> {
        let count = self.links.len();
        self.connect(count)?;
        self.due.clear();
        self.spread(0..self.members.len(), within);
        Ok(())
    }

    /// Lets members ask for the first time, or anew, spread over some time.
    pub fn spread(&mut self, members: impl Iterator<Item = usize>, within: Duration) {
        let now = Instant::now();
        members.for_each(|at| self.due.push(Reverse((now + within.mul_f64(fastrand::f64()), at))));
    }

    /// The connection of a member: ten groups have ten connections, on each of which every one of them has one member.
    fn link_of(&self, member: usize) -> usize {
        let (group, number) = (member / MEMBERS, member % MEMBERS);
        (group / MEMBERS * MEMBERS + number) % self.links.len()
    }

    /// Members that take part.
    pub fn inside(&self) -> usize {
        self.members.iter().filter(|member| member.is_inside()).count()
    }

    /// Begins to count from nothing.
    pub fn count_anew(&mut self) -> Counts {
        std::mem::replace(&mut self.counts, Counts::new())
    }

    /// Goes on until then, or until `enough`, which is asked after each turn; says whether it was enough.
    pub fn run(&mut self, until: Instant, mut enough: impl FnMut(&Fleet) -> bool) -> Result<bool, String> {
        while Instant::now() < until {
            self.turn(until)?;
            if enough(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on for so long, with so many commits a second beside the heartbeats, one member after the other, at their times whatever is answered.
    /// `offset`: what the first round commits.
    pub fn commit(&mut self, seconds: Duration, per_second: u32, offset: i64) -> Result<(), String> {
        let began = Instant::now();
        let interval = Duration::from_secs(1) / per_second.max(1);
        let mut sent: u32 = 0;
        while began.elapsed() < seconds {
            let due = began + interval * sent;
            if due > Instant::now() {
                self.turn(due)?;
                continue;
            }
            // Neighbours are in different groups and on different connections.
            let at = (sent as usize * 7919) % self.members.len();
            let round = i64::from(sent) / self.members.len() as i64;
            self.send_commit(at, due, offset + round)?;
            sent += 1;
        }
        // The last ones are answered, too.
        let waiting = |fleet: &Fleet| fleet.links.iter().flat_map(|l| &l.asked).any(|asked| asked.commit.is_some());
        self.run(Instant::now() + Duration::from_secs(10), |fleet| !waiting(fleet)).map(drop)
    }

    fn send_commit(&mut self, at: usize, due: Instant, offset: i64) -> Result<(), String> {
        let member = &self.members[at];
        if !member.is_inside() {
            self.counts.commits_refused += 1;
            return Ok(());
        }
        let first = (at % MEMBERS) as i32 * PARTITIONS;
        let request =
            asking::commit(&member.group, (&member.id, member.epoch), &self.topic, first..first + PARTITIONS, offset);
        self.correlation = self.correlation.wrapping_add(1);
        let bytes = asking::frame(asking::OFFSET_COMMIT, self.correlation, &request);
        self.send(at, &bytes, Some(due))
    }

    fn send(&mut self, member: usize, bytes: &[u8], commit: Option<Instant>) -> Result<(), String> {
        let link = self.link_of(member);
        let link = &mut self.links[link];
        let calm = self.members[member].is_inside();
        link.asked.push_back(Asked { member, correlation: self.correlation, commit, calm });
        link.socket.requests.bytes.extend_from_slice(bytes);
        flush(link)
    }

    /// Whoever is due asks; then answers are taken, at least until something happens or it is `until`.
    fn turn(&mut self, until: Instant) -> Result<(), String> {
        let now = Instant::now();
        while let Some(Reverse((due, at))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            self.correlation = self.correlation.wrapping_add(1);
            let bytes = self.members[at].ask(self.correlation, &self.topic);
            self.send(at, &bytes, None)?;
        }
        let next = self.due.peek().map_or(until, |Reverse((due, _))| until.min(*due));
        let wait = next.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("epoll: {error}")),
        }
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let at = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) && self.links[at].unsent {
                flush(&mut self.links[at])?;
            }
            if flags.intersects(!epoll::EventFlags::OUT) {
                self.receive(at)?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<(), String> {
        let Link { socket, asked, .. } = &mut self.links[at];
        let Socket { stream, answers, .. } = socket;
        let (members, due, counts) = (&mut self.members, &mut self.due, &mut self.counts);
        let read = answers.read(stream, |bytes| {
            let now = Instant::now();
            let asked = asked.pop_front().ok_or_else(|| std::io::Error::other("an answer to nothing"))?;
            if let Some(due) = asked.commit {
                match asking::refusal(&asking::answer(asking::OFFSET_COMMIT, asked.correlation, bytes)?) {
                    0 => counts.commits += 1,
                    _ => counts.commits_refused += 1,
                }
                counts.commit_us.saturating_record(now.duration_since(due).as_micros() as u64);
                return Ok(());
            }
            let member = &mut members[asked.member];
            let next = member.answered(asked.correlation, bytes).map_err(std::io::Error::other)?;
            counts.heartbeats += u64::from(next.calm && asked.calm);
            due.push(Reverse((now + next.after, asked.member)));
            Ok(())
        });
        read.map_err(|error| format!("connection {at}: {error}"))
    }
}

fn flush(link: &mut Link) -> Result<(), String> {
    link.socket.requests.flush(&link.socket.stream, &[]).map_err(|error| format!("sending: {error}"))?;
    link.unsent = link.socket.requests.unsent() > 0;
    Ok(())
}

impl Counts {
    fn new() -> Counts {
        let commit_us = Histogram::new_with_bounds(1, 120_000_000, 3).expect("bounds in order");
        Counts { heartbeats: 0, commits: 0, commits_refused: 0, commit_us }
    }
}
