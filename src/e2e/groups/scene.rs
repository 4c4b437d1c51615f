//! What the tests of groups have in common: a broker, a producer that goes on and on, consumer processes that write down what they process, and
//! what can be asked of all that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::Broker;
use crate::clients::{finish, java, kill_limited, limited, node, python};

pub const GROUP: &str = "group";
pub const TOPIC: &str = "work";
pub const PARTITIONS: i32 = 4;
/// How long anything may take: several session timeouts.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client library, and how a member of it begins.
#[derive(Clone, Copy)]
pub struct Kind {
    name: &'static str,
    protocol: &'static str,
    program: fn() -> Command,
}

impl Kind {
    /// Whether it stops all it has while its assignment changes.
    pub fn pauses(&self) -> bool {
        self.name == CONFLUENT_EAGER.name
    }
}

pub const CONFLUENT_EAGER: Kind =
    Kind { name: "confluent", protocol: "eager", program: || python("confluent_member.py") };
pub const CONFLUENT_COOPERATIVE: Kind = Kind { protocol: "cooperative", ..CONFLUENT_EAGER };
pub const CONFLUENT_CONSUMER: Kind = Kind { protocol: "consumer", ..CONFLUENT_EAGER };
pub const JAVA_EAGER: Kind = Kind { name: "java", protocol: "eager", program: || java("JavaMember") };
pub const JAVA_COOPERATIVE: Kind = Kind { protocol: "cooperative", ..JAVA_EAGER };
pub const JAVA_CONSUMER: Kind = Kind { protocol: "consumer", ..JAVA_EAGER };
pub const KAFKA_PYTHON: Kind =
    Kind { name: "kafka-python", protocol: "eager", program: || python("kafka_python_member.py") };
pub const AIOKAFKA: Kind = Kind { name: "aiokafka", protocol: "eager", program: || python("aiokafka_member.py") };
pub const KAFKAJS: Kind = Kind { name: "kafkajs", protocol: "eager", program: || node("kafkajs_member.js") };
pub const PLATFORMATIC: Kind =
    Kind { name: "platformatic", protocol: "eager", program: || node("platformatic_member.js") };
pub const PLATFORMATIC_CONSUMER: Kind = Kind { protocol: "consumer", ..PLATFORMATIC };

/// One consumer process.
pub struct Member {
    child: Child,
    pub log: PathBuf,
}

/// A broker, a producer that goes on and on, and the members of a group.
pub struct Scene {
    pub broker: Broker,
    cores: usize,
    /// It ends with its input.
    producer: Option<Child>,
    written: usize,
    /// As failures name it.
    name: String,
    pub begun: usize,
}

impl Scene {
    /// `session_ms`: after how many milliseconds a member of the next generation that is not heard of is gone.
    pub fn new(kind: &Kind, cores: usize, session_ms: u32) -> Scene {
        let settings = [
            "group.initial.rebalance.delay.ms=300".to_owned(),
            "group.consumer.heartbeat.interval.ms=500".to_owned(),
            format!("group.consumer.session.timeout.ms={session_ms}"),
            format!("num.partitions={PARTITIONS}"),
        ];
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let broker = Broker::start_with(cores, &arguments);
        // The first look makes the topic.
        finish(limited("kcat").args(["-b", &broker.bootstrap(), "-L", "-t", TOPIC])).expect("kcat asks for a topic");
        let producer = Some(producer(&broker));
        Scene { broker, cores, producer, written: 0, name: format!("{} {}", kind.name, kind.protocol), begun: 0 }
    }

    /// One more member.
    pub fn member(&mut self, kind: &Kind) -> Member {
        self.member_of(kind, TOPIC, None)
    }

    /// One more member, of this topic or pattern; `instance`: its name as a static member.
    pub fn member_of(&mut self, kind: &Kind, topic: &str, instance: Option<&str>) -> Member {
        self.begun += 1;
        let log = self.broker.dir.join(format!("member-{}", self.begun));
        fs::write(&log, "").expect("a log");
        let said = fs::File::create(log.with_extension("said")).expect("a log of what it says");
        let mut command = (kind.program)();
        command.args([&self.broker.bootstrap(), GROUP, topic, log.to_str().expect("a readable path"), kind.protocol]);
        command.args(instance);
        let again = said.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::piped()).stdout(said).stderr(again).spawn().expect("the client starts");
        Member { child, log }
    }

    /// `floe consume --group` as a member; it is ended by [`Member::interrupt`] or ends by itself.
    pub fn floe_member(&mut self, more: &[&str]) -> Member {
        self.begun += 1;
        let log = self.broker.dir.join(format!("member-{}", self.begun));
        let processed = fs::File::create(&log).expect("a log");
        let said = fs::File::create(log.with_extension("said")).expect("a log of what it says");
        // No `timeout` between: the signal is for the command.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_floe"), "consume", TOPIC, "--group", GROUP]);
        command.args(["--format", "%t %p %o\\n", "--bootstrap", &self.broker.bootstrap()]).args(more);
        let child = command.stdin(Stdio::null()).stdout(processed).stderr(said).spawn().expect("floe starts");
        Member { child, log }
    }

    /// Some more records, in all partitions by and by.
    fn produce(&mut self) {
        for _ in 0..8 {
            self.written += 1;
            let line = format!("record {}\n", self.written);
            let producer = self.producer.as_mut().expect("a producer");
            producer.stdin.as_mut().expect("its input").write_all(line.as_bytes()).expect("kcat takes a line");
        }
    }

    /// Goes on producing until something has come to be.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Scene) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < end,
                "{}: {what} did not come:\n{}\n{}",
                self.name,
                self.told(),
                self.broker.log()
            );
            self.broker.assert_alive();
            self.produce();
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Goes on producing until there is more than now, and waits until the members have processed all of that.
    pub fn until_all_is_processed(&mut self, what: &str) {
        let end = Instant::now() + PATIENCE;
        let sum = |ends: &BTreeMap<i32, i64>| ends.values().sum::<i64>();
        let before = sum(&self.ends());
        // kcat takes its input by the block, so what is written now comes with something later.
        let ends = loop {
            self.produce();
            let ends = self.ends();
            if sum(&ends) > before {
                break ends;
            }
            assert!(Instant::now() < end, "{} {what}: nothing is written any more", self.name);
        };
        loop {
            let processed = self.processed();
            let all = ends.iter().flat_map(|(partition, end)| (0..*end).map(|offset| (*partition, offset)));
            let missing: Vec<(i32, i64)> = all.filter(|record| !processed.contains(record)).collect();
            if missing.is_empty() {
                return;
            }
            let first = missing.first();
            assert!(
                Instant::now() < end,
                "{} {what}: {} of {} records are not processed, {first:?} first:\n{}\n{}",
                self.name,
                missing.len(),
                sum(&ends),
                self.told(),
                self.broker.log()
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Partition and offset of everything of the topic that a member has processed.
    fn processed(&self) -> BTreeSet<(i32, i64)> {
        self.processed_by(1..=self.begun, TOPIC)
    }

    /// The same of these members and any topic.
    pub fn processed_by(&self, members: RangeInclusive<usize>, topic: &str) -> BTreeSet<(i32, i64)> {
        members.flat_map(|member| records(&self.broker.dir.join(format!("member-{member}")), topic)).collect()
    }

    /// `floe group describe --json` of the group; null before there is one.
    pub fn group(&self) -> serde_json::Value {
        let mut floe = Command::new(env!("CARGO_BIN_EXE_floe"));
        let said = finish(floe.args(["group", "describe", GROUP, "--json", "--bootstrap", &self.broker.bootstrap()]));
        said.map_or(serde_json::Value::Null, |said| serde_json::from_str(&said).expect("JSON"))
    }

    /// What the members have of the topic, by their static name or else their id; the group has come to rest when every partition has one member.
    pub fn shares(&self) -> BTreeMap<String, Vec<i64>> {
        let group = self.group();
        let members = group["members"].as_array().into_iter().flatten();
        let partitions = |member: &serde_json::Value| -> Vec<i64> {
            member["assignment"][TOPIC].as_array().into_iter().flatten().filter_map(serde_json::Value::as_i64).collect()
        };
        let name = |member: &serde_json::Value| {
            member["instance"].as_str().or(member["member"].as_str()).expect("a name").to_owned()
        };
        members.map(|member| (name(member), partitions(member))).collect()
    }

    /// How many rebalances there were since the broker began.
    pub fn rebalances(&self) -> u64 {
        self.counted("floe_group_rebalances_total")
    }

    /// How often the broker had fetches of a client wait for its rebalance since it began.
    pub fn fetch_holds(&self) -> u64 {
        self.counted("floe_fetch_holds_total")
    }

    fn counted(&self, name: &str) -> u64 {
        let (_, page) = self.broker.admin_page("/metrics").expect("metrics");
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a count")).sum()
    }

    /// kill -9, and back.
    pub fn kill_broker(&mut self) {
        self.end_producer();
        self.broker.kill();
        self.broker.resume(self.cores);
        self.producer = Some(producer(&self.broker));
    }

    fn end_producer(&mut self) {
        if let Some(mut producer) = self.producer.take() {
            drop(producer.stdin.take());
            producer.wait().expect("kcat ends");
        }
    }

    /// Nothing more is written; the broker goes.
    pub fn end(mut self) {
        self.end_producer();
    }

    /// Where the partitions end.
    fn ends(&self) -> BTreeMap<i32, i64> {
        let asked = (0..PARTITIONS).flat_map(|partition| ["-t".to_owned(), format!("{TOPIC}:{partition}:-1")]);
        let said = finish(limited("kcat").args(["-b", &self.broker.bootstrap(), "-Q"]).args(asked));
        let said = said.expect("kcat asks for offsets");
        // work [0] offset 17
        let ends = said.lines().filter_map(|line| {
            let (partition, offset) = line.split_once('[')?.1.split_once("] offset ")?;
            Some((partition.parse().ok()?, offset.trim().parse().ok()?))
        });
        let ends: BTreeMap<i32, i64> = ends.collect();
        assert_eq!(ends.len(), PARTITIONS as usize, "{said}");
        ends
    }

    /// What the members said.
    pub fn told(&self) -> String {
        let of = |member| fs::read_to_string(self.broker.dir.join(format!("member-{member}.said"))).unwrap_or_default();
        (1..=self.begun).map(|member| format!("member {member}: {}\n", of(member))).collect()
    }
}

/// kcat, which writes its input line by line. It ends with the last broker that it knows.
fn producer(broker: &Broker) -> Child {
    let arguments = ["-P", "-t", TOPIC, "-X", "linger.ms=1", "-X", "sticky.partitioning.linger.ms=0"];
    let mut command = limited("kcat");
    command.args(["-b", &broker.bootstrap()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("kcat starts")
}

impl Member {
    pub fn count(&self) -> usize {
        records(&self.log, TOPIC).len()
    }

    /// What it said: changes of what it has, errors.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log.with_extension("said")).unwrap_or_default()
    }

    /// It closes its consumer and ends.
    pub fn leave(mut self) {
        drop(self.child.stdin.take());
        self.wait();
    }

    /// Ctrl-C; it ends well.
    pub fn interrupt(self) {
        kill_process(Pid::from_raw(self.child.id() as i32).expect("a process id"), Signal::INT).expect("a signal");
        self.wait();
    }

    /// It ends by itself.
    pub fn wait(mut self) {
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "a member ended with {status}: {}", self.said());
    }

    /// kill -9.
    pub fn kill(self) {
        kill_limited(self.child);
    }
}

/// Partition and offset of every record of a topic that a member has processed; the last line may be cut.
fn records(log: &Path, topic: &str) -> Vec<(i32, i64)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let record = |line: &str| {
        let mut words = line.split(' ');
        (words.next() == Some(topic)).then(|| Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?)))?
    };
    whole.lines().filter_map(record).collect()
}
