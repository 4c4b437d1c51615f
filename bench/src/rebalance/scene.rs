//! One run of all scenarios with one group: who is started, left and killed when, and over which spans gaps are looked for.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use super::feed::Feed;
use super::log::{Log, Span, longest_gap_ns};
use super::{HEARTBEAT_MS, INTERVAL_MS, Measured, PARTITIONS, SESSION_MS};
use crate::broker::{Place, Subject, pinned};
use crate::children;
use crate::client::Client;

/// In the order in which they happen.
pub const SCENARIOS: [&str; 4] = ["A alone", "B joins", "A leaves", "A crashes"];
/// How long a group may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// For gaps of one who is alone, of a join and of a leave; a crash takes a session more. Long enough for the change and for what comes after it.
const SPAN: Duration = Duration::from_secs(8);

struct Member {
    child: Child,
    path: PathBuf,
}

/// A group at work.
pub struct Scene<'a> {
    place: &'a Place,
    subject: Subject,
    protocol: &'static str,
    name: String,
    begun: usize,
}

impl Scene<'_> {
    /// All scenarios, with a topic and a group of this name.
    pub fn run(place: &Place, subject: Subject, protocol: &'static str, name: &str) -> Result<Vec<Measured>, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut client = Client::connect(place.port).map_err(text)?;
        // A broker that was stopped may be told by its controller that it is out, and takes a moment to be in again.
        let began = Instant::now();
        while let Err(error) = client.create_topic(name, PARTITIONS) {
            if began.elapsed() > PATIENCE || error.kind() != std::io::ErrorKind::Other {
                return Err(format!("{}: {error}", subject.name()));
            }
            sleep(Duration::from_millis(200));
        }
        let feed = Feed::start(place.port, name, PARTITIONS, Duration::from_millis(INTERVAL_MS)).map_err(text)?;
        let mut scene = Scene { place, subject, protocol, name: name.to_owned(), begun: 0 };
        let found = scene.scenarios();
        feed.stop()?;
        client.delete_topics(&[name.to_owned()]).map_err(text)?;
        found
    }

    fn scenarios(&mut self) -> Result<Vec<Measured>, String> {
        let mut found = Vec::new();
        // All programs start before anything is measured: on the load's core that alone would hold up the others.
        let (mut a, mut b, mut c) = (self.member()?, self.member()?, self.member()?);
        a.join()?;
        self.rest(&[&a])?;
        let from_ns = now_ns();
        found.push(self.measure(0, &[&a], &[], from_ns, SPAN)?);

        let from_ns = now_ns();
        b.join()?;
        found.push(self.measure(1, &[&a, &b], &[], from_ns, SPAN)?);
        self.rest(&[&a, &b])?;

        let from_ns = now_ns();
        let gone = a.end(Signal::TERM);
        found.push(self.measure(2, &[&b], &[gone], from_ns, SPAN)?);
        self.rest(&[&b])?;

        // Another A: it has half of the partitions and is killed.
        c.join()?;
        self.rest(&[&c, &b])?;
        let from_ns = now_ns();
        let gone = c.end(Signal::KILL);
        found.push(self.measure(3, &[&b], &[gone], from_ns, SPAN + Duration::from_millis(SESSION_MS))?);
        self.rest(&[&b])?;
        b.end(Signal::KILL);
        Ok(found)
    }

    fn member(&mut self) -> Result<Member, String> {
        self.begun += 1;
        let path = self.place.scratch.join(format!("rebalance-{}-{}.log", self.name, self.begun));
        fs::write(&path, "").map_err(|error| format!("{}: {error}", path.display()))?;
        let said = fs::File::create(path.with_extension("said")).map_err(|error| error.to_string())?;
        let mut command = Command::new(".cache/venv/bin/python");
        let bootstrap = format!("127.0.0.1:{}", self.place.port);
        command.args(["bench/clients/rebalance_member.py", &bootstrap, &self.name, &self.name]).arg(&path);
        command.args([self.protocol, &HEARTBEAT_MS.to_string(), &SESSION_MS.to_string()]);
        let mut command = pinned(command, self.place.load_core);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said).spawn();
        let child = child.map_err(|error| format!("python: {error}"))?;
        children::add(child.id(), None);
        Ok(Member { child, path })
    }

    /// Waits until these members have all partitions among them, as many each, and two seconds more.
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
        sleep(Duration::from_secs(2));
        Ok(())
    }

    /// Lets time pass, then looks for gaps. `gone`: what a member that is not there any more wrote down.
    fn measure(
        &self,
        scenario: usize,
        members: &[&Member],
        gone: &[Log],
        from_ns: u64,
        length: Duration,
    ) -> Result<Measured, String> {
        let span = Span { from_ns, until_ns: from_ns + length.as_nanos() as u64 };
        // A little longer, so that what arrived before the end is written down.
        sleep(length.saturating_sub(Duration::from_nanos(now_ns() - from_ns)) + Duration::from_millis(300));
        let logs: Vec<Log> = members.iter().map(|member| member.log()).collect();
        let all: Vec<&Log> = logs.iter().chain(gone).collect();
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
            protocol: self.protocol,
            scenario: SCENARIOS[scenario],
            kept,
            kept_ms: ms(kept_ns),
            moved_ms: moved_ns.map(ms),
        })
    }
}

impl Member {
    fn join(&mut self) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("a member has no input")?;
        input.write_all(b"\n").map_err(|error| format!("a member has ended: {error}"))
    }

    fn log(&self) -> Log {
        Log::parse(&fs::read_to_string(&self.path).unwrap_or_default())
    }

    /// SIGTERM stands for leaving in order: its input is closed. What it wrote down comes back.
    fn end(mut self, signal: Signal) -> Log {
        if signal == Signal::TERM {
            drop(self.child.stdin.take());
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(10) && matches!(self.child.try_wait(), Ok(None)) {
                sleep(Duration::from_millis(5));
            }
        }
        children::end(&mut self.child, Signal::KILL, Duration::from_secs(5));
        self.log()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        children::end(&mut self.child, Signal::KILL, Duration::from_secs(5));
        for file in [&self.path, &self.path.with_extension("said")] {
            let _ = fs::remove_file(file);
        }
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
