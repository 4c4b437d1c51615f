//! A broker, a producer of inputs, copiers under a supervisor and a verifier, each a process that writes its history down (`clients/eos.py` says how).
//!
//! The supervisor does what an application's would: a copier that ended by itself or stands still is started again under its name. How often that was
//! is told, and is no failure: the proof is about what is in the topics.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::judge;
use crate::broker::Broker;
use crate::clients::{finish, java, kill_limited, limited, node, python};

pub const PARTITIONS: i32 = 4;
/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// A look at how things stand.
const TURN: Duration = Duration::from_millis(50);
/// Looks until something has to have come: several session and transaction timeouts. Counted, as a machine that stops for minutes stops all of them.
const TURNS_MAX: usize = 2400;
/// Of a copier whose loop does not come round.
const STANDS_STILL: Duration = Duration::from_secs(15);
/// Inputs that may be without a result before no more are written.
const AHEAD_MAX: u64 = 600;
/// Lines of each process that a failure tells.
const SAID_LINES_MAX: usize = 8;
/// Results that make a step of a run.
const STEP: u64 = 200;

/// A client library, and how its copiers begin.
#[derive(Clone, Copy)]
pub struct Kind {
    name: &'static str,
    /// Of the copiers' group.
    protocol: &'static str,
    copier: fn() -> Command,
    verifier: fn() -> Command,
}

pub const CONFLUENT_CLASSIC: Kind = Kind {
    name: "confluent",
    protocol: "classic",
    copier: || python("eos_copy.py"),
    verifier: || python("eos_verify.py"),
};
pub const CONFLUENT_CONSUMER: Kind = Kind { protocol: "consumer", ..CONFLUENT_CLASSIC };
pub const JAVA_CLASSIC: Kind =
    Kind { name: "java", protocol: "classic", copier: || java("JavaEos"), verifier: || java("JavaEos") };
pub const JAVA_CONSUMER: Kind = Kind { protocol: "consumer", ..JAVA_CLASSIC };
pub const KAFKAJS: Kind = Kind {
    name: "kafkajs",
    protocol: "classic",
    copier: || node("kafkajs_eos.js"),
    verifier: || python("eos_verify.py"),
};

/// One process, with a history of its own.
struct Process {
    /// Its transactional id, for copiers.
    name: String,
    child: Option<Child>,
    log: PathBuf,
    began: Instant,
}

pub struct Scene {
    kind: Kind,
    shards: usize,
    feed: Process,
    verifier: Process,
    /// By the place in which they were started first; one that is started again has its place.
    copiers: Vec<Process>,
    /// Processes begun, of any kind.
    begun: usize,
    started_again: usize,
    /// The last to go.
    broker: Broker,
}

impl Scene {
    pub fn new(kind: &Kind, shards: usize) -> Scene {
        let settings = [
            "group.initial.rebalance.delay.ms=300".to_owned(),
            "group.consumer.heartbeat.interval.ms=500".to_owned(),
            "group.consumer.session.timeout.ms=6000".to_owned(),
            format!("num.partitions={PARTITIONS}"),
        ];
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let broker = Broker::start_with(shards, &arguments);
        for topic in ["in", "out"] {
            // The first look makes the topic.
            finish(limited("kcat").args(["-b", &broker.bootstrap(), "-L", "-t", topic]))
                .expect("kcat asks for a topic");
        }
        let feed = begin(&broker, python("eos_feed.py"), 0, "feed", "");
        let verifier = begin(&broker, (kind.verifier)(), 1, "verifier", "");
        Scene { kind: *kind, shards, feed, verifier, copiers: vec![], begun: 2, started_again: 0, broker }
    }

    /// One more copier under a transactional id, or again one; the answer names it from now on.
    pub fn copier(&mut self, name: &str) -> usize {
        let process = begin(&self.broker, (self.kind.copier)(), self.begun, name, self.kind.protocol);
        self.begun += 1;
        self.copiers.push(process);
        self.copiers.len() - 1
    }

    /// Records that it has copied since it was started the last time.
    pub fn copied(&self, copier: usize) -> u64 {
        self.copiers[copier].count()
    }

    /// kill -9 of a copier; it is not started again.
    pub fn kill(&mut self, copier: usize) {
        self.copiers[copier].kill();
    }

    /// A copier ends what it is at, closes its consumer and goes; one that stands still is killed.
    pub fn leave(&mut self, copier: usize) {
        if !self.copiers[copier].leave(STANDS_STILL) {
            println!("{}: the copier {} did not leave", self.describe(), self.copiers[copier].name);
            self.started_again += 1;
            self.copiers[copier].kill();
        }
    }

    /// kill -9 of the broker, and back: a little later each time, so that transactions are met in every state.
    pub fn kill_broker(&mut self, kill: usize) {
        thread::sleep(Duration::from_millis(13 * kill as u64));
        self.broker.kill();
        // Long enough for clients to meet nobody once in a while.
        thread::sleep(Duration::from_millis(150 * (kill as u64 % 2)));
        self.broker.resume(self.shards);
    }

    /// Goes on writing inputs until something has come to be.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Scene) -> bool) {
        let mut turns = 0;
        while !done(self) {
            turns += 1;
            self.supervise();
            let (fed, seen) = (self.feed.count(), self.verifier.count());
            assert!(
                turns < TURNS_MAX,
                "{}: {what} did not come, {seen} of {fed} seen\n{}",
                self.describe(),
                self.told()
            );
            if fed < seen + AHEAD_MAX {
                let input = self.feed.child.as_mut().expect("the feed runs").stdin.as_mut();
                input.expect("its input").write_all(b"20\n").expect("the feed reads");
            }
            thread::sleep(TURN);
        }
    }

    /// Goes on until the verifier has seen a step more.
    pub fn until_more_is_seen(&mut self, what: &str) {
        let before = self.verifier.count();
        self.until(what, |scene| scene.verifier.count() >= before + STEP);
    }

    /// Nothing more is written; when every input has its result all end, and what they saw is judged.
    pub fn judge(mut self) {
        assert!(self.feed.leave(PATIENCE), "the feed does not end\n{}", self.told());
        let (fed, mut turns) = (self.feed.count(), 0);
        while self.verifier.count() < fed {
            let seen = self.verifier.count();
            turns += 1;
            assert!(turns < TURNS_MAX, "{}: only {seen} of {fed} results\n{}", self.describe(), self.told());
            self.supervise();
            thread::sleep(TURN);
        }
        for copier in 0..self.copiers.len() {
            self.leave(copier);
        }
        assert!(self.verifier.leave(PATIENCE), "the verifier does not end\n{}", self.told());
        let histories: Vec<PathBuf> = (0..self.begun).map(|process| history(&self.broker, process)).collect();
        match judge::judge(&histories, fed) {
            Ok(said) => println!("{}: {said}; {} started again", self.describe(), self.started_again),
            Err(wrong) => panic!("{}: {wrong}\n{}", self.describe(), self.told()),
        }
    }

    /// Starts again what ended or stands still.
    fn supervise(&mut self) {
        self.broker.assert_alive();
        for place in 0..self.copiers.len() {
            let Some(why) = self.copiers[place].trouble() else { continue };
            let said = self.copiers[place].said();
            println!("{}: the copier {} {why}: {said}", self.describe(), self.copiers[place].name);
            self.started_again += 1;
            self.copiers[place].kill();
            let name = self.copiers[place].name.clone();
            let again = begin(&self.broker, (self.kind.copier)(), self.begun, &name, self.kind.protocol);
            self.begun += 1;
            self.copiers[place] = again;
        }
    }

    fn describe(&self) -> String {
        format!("{} {}, {} shards", self.kind.name, self.kind.protocol, self.shards)
    }

    /// The last of what each of them said.
    fn told(&self) -> String {
        (0..self.begun).map(|it| format!("process {it}: {}\n", said(&history(&self.broker, it)))).collect()
    }
}

fn history(broker: &Broker, process: usize) -> PathBuf {
    broker.dir.join(format!("history-{process}"))
}

fn said(history: &Path) -> String {
    let all = fs::read_to_string(history.with_extension("said")).unwrap_or_default();
    let lines: Vec<&str> = all.lines().collect();
    lines[lines.len().saturating_sub(SAID_LINES_MAX)..].join("\n")
}

fn begin(broker: &Broker, mut command: Command, process: usize, name: &str, protocol: &str) -> Process {
    let log = history(broker, process);
    fs::write(&log, "").expect("a history");
    let said = fs::File::create(log.with_extension("said")).expect("a log of what it says");
    let again = said.try_clone().expect("a second handle");
    command.args([&broker.bootstrap(), name, &process.to_string(), log.to_str().expect("a readable path"), protocol]);
    let child = command.stdin(Stdio::piped()).stdout(said).stderr(again).spawn().expect("the client starts");
    Process { name: name.to_owned(), child: Some(child), log, began: Instant::now() }
}

impl Process {
    fn count_path(&self) -> PathBuf {
        let mut path = self.log.clone().into_os_string();
        path.push(".count");
        path.into()
    }

    /// As it says itself; 0 before it says so.
    fn count(&self) -> u64 {
        fs::read_to_string(self.count_path()).ok().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    fn said(&self) -> String {
        said(&self.log)
    }

    /// Why it has to be started again.
    fn trouble(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().expect("it can be waited for");
        if let Some(status) = status {
            return Some(format!("ended with {status}"));
        }
        let touched = fs::metadata(self.count_path()).and_then(|file| file.modified()).ok();
        let since = touched.and_then(|at| at.elapsed().ok()).unwrap_or_else(|| self.began.elapsed());
        (since > STANDS_STILL).then(|| format!("stands still for {since:?}"))
    }

    /// Its input is closed; whether it ended well in time.
    fn leave(&mut self, patience: Duration) -> bool {
        let Some(child) = self.child.as_mut() else { return true };
        drop(child.stdin.take());
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                self.child = None;
                return status.success();
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            kill_limited(child);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
