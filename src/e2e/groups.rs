//! Real clients in consumer groups: one is alone, a second one joins, the first one leaves, a third one joins and is killed (kill -9), the broker is
//! killed and comes back. Across all of it every record is processed at least once and none is skipped, and what was committed last stays committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::clients::{finish, java, limited, node, python};

const GROUP: &str = "group";
const TOPIC: &str = "work";
const PARTITIONS: i32 = 4;
/// How long anything may take: several session timeouts.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client library, and how a member of it begins.
struct Kind {
    name: &'static str,
    protocol: &'static str,
    program: fn() -> Command,
}

/// One consumer process.
struct Member {
    child: Child,
    log: PathBuf,
}

/// A broker, a producer that goes on and on, and the members of a group.
struct Scene {
    broker: Broker,
    cores: usize,
    producer: Child,
    written: usize,
    kind: Kind,
    begun: usize,
}

impl Scene {
    fn new(kind: Kind, cores: usize) -> Scene {
        let settings = [
            "group.initial.rebalance.delay.ms=300",
            "group.consumer.session.timeout.ms=6000",
            "group.consumer.heartbeat.interval.ms=500",
        ];
        let partitions = format!("num.partitions={PARTITIONS}");
        let mut arguments = vec!["--set", partitions.as_str()];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let broker = Broker::start_with(cores, &arguments);
        // The first look makes the topic.
        finish(limited("kcat").args(["-b", &broker.bootstrap(), "-L", "-t", TOPIC])).expect("kcat asks for a topic");
        let producer = producer(&broker);
        Scene { broker, cores, producer, written: 0, kind, begun: 0 }
    }

    fn member(&mut self) -> Member {
        self.begun += 1;
        let log = self.broker.dir.join(format!("member-{}", self.begun));
        fs::write(&log, "").expect("a log");
        let said = fs::File::create(log.with_extension("said")).expect("a log of what it says");
        let mut command = (self.kind.program)();
        command.args([
            &self.broker.bootstrap(),
            GROUP,
            TOPIC,
            log.to_str().expect("a readable path"),
            self.kind.protocol,
        ]);
        let again = said.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::piped()).stdout(said).stderr(again).spawn().expect("the client starts");
        Member { child, log }
    }

    /// Some more records, in all partitions by and by.
    fn produce(&mut self) {
        for _ in 0..8 {
            self.written += 1;
            let line = format!("record {}\n", self.written);
            self.producer.stdin.as_mut().expect("its input").write_all(line.as_bytes()).expect("kcat takes a line");
        }
    }

    /// Goes on producing until something has come to be.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Scene) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < end,
                "{}: {what} did not come:\n{}\n{}",
                self.kind.name,
                self.told(),
                self.broker.log()
            );
            self.broker.assert_alive();
            self.produce();
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Goes on producing until there is more than now, and waits until the members have processed all of that.
    fn until_all_is_processed(&mut self, what: &str) {
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
            assert!(Instant::now() < end, "{} {what}: nothing is written any more", self.kind.name);
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
                self.kind.name,
                missing.len(),
                sum(&ends),
                self.told(),
                self.broker.log()
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn processed(&self) -> BTreeSet<(i32, i64)> {
        (1..=self.begun).flat_map(|member| records(&self.broker.dir.join(format!("member-{member}")))).collect()
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
    fn told(&self) -> String {
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
    fn count(&self) -> usize {
        records(&self.log).len()
    }

    /// It closes its consumer and ends.
    fn leave(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "a member ended with {status}");
    }

    /// kill -9; `timeout` stands between and is told to kill what it runs.
    fn kill(mut self) {
        let children = finish(Command::new("pgrep").args(["-P", &self.child.id().to_string()]));
        for child in children.unwrap_or_default().split_whitespace() {
            finish(Command::new("kill").args(["-9", child])).expect("it can be killed");
        }
        self.child.wait().expect("it ends");
    }
}

/// Partition and offset of every record that a member has processed; the last line may be cut.
fn records(log: &PathBuf) -> Vec<(i32, i64)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)))
        .collect()
}

fn comes_and_goes(kind: Kind, cores: usize) {
    let mut scene = Scene::new(kind, cores);
    let first = scene.member();
    scene.until("a record for the first member", |_| first.count() > 0);
    let second = scene.member();
    scene.until("a record for the second member", |_| second.count() > 0);
    first.leave();
    scene.until_all_is_processed("after one has left");
    let third = scene.member();
    scene.until("a record for the third member", |_| third.count() > 0);
    third.kill();
    scene.until_all_is_processed("after one was killed");
    drop(scene.producer.stdin.take());
    scene.producer.wait().expect("kcat ends");
    scene.broker.kill();
    scene.broker.resume(scene.cores);
    scene.producer = producer(&scene.broker);
    scene.until_all_is_processed("after the broker was killed");
    second.leave();
    // Everything is committed: whoever comes now gets what is new and nothing else.
    let last = scene.member();
    scene.until("a record for the last member", |_| last.count() > 0);
    scene.until_all_is_processed("at last");
    let before: BTreeSet<_> =
        (1..scene.begun).flat_map(|m| records(&scene.broker.dir.join(format!("member-{m}")))).collect();
    let twice: Vec<_> = records(&last.log).into_iter().filter(|record| before.contains(record)).collect();
    assert!(twice.is_empty(), "{}: committed records came again: {twice:?}\n{}", scene.kind.name, scene.broker.log());
    last.leave();
    drop(scene.producer.stdin.take());
    scene.producer.wait().expect("kcat ends");
}

#[test]
fn confluent_members_come_and_go_eagerly() {
    comes_and_goes(Kind { name: "confluent", protocol: "eager", program: || python("confluent_member.py") }, 1);
}

#[test]
fn confluent_members_come_and_go_cooperatively() {
    comes_and_goes(Kind { name: "confluent", protocol: "cooperative", program: || python("confluent_member.py") }, 4);
}

#[test]
fn kafka_python_members_come_and_go() {
    comes_and_goes(Kind { name: "kafka-python", protocol: "eager", program: || python("kafka_python_member.py") }, 1);
}

#[test]
fn aiokafka_members_come_and_go() {
    comes_and_goes(Kind { name: "aiokafka", protocol: "eager", program: || python("aiokafka_member.py") }, 4);
}

#[test]
fn kafkajs_members_come_and_go() {
    comes_and_goes(Kind { name: "kafkajs", protocol: "eager", program: || node("kafkajs_member.js") }, 1);
}

#[test]
fn java_members_come_and_go_eagerly() {
    comes_and_goes(Kind { name: "java", protocol: "eager", program: || java("JavaMember") }, 4);
}

#[test]
fn java_members_come_and_go_cooperatively() {
    comes_and_goes(Kind { name: "java", protocol: "cooperative", program: || java("JavaMember") }, 1);
}

#[test]
fn confluent_members_of_the_next_generation_come_and_go() {
    comes_and_goes(Kind { name: "confluent", protocol: "consumer", program: || python("confluent_member.py") }, 4);
}

#[test]
fn java_members_of_the_next_generation_come_and_go() {
    comes_and_goes(Kind { name: "java", protocol: "consumer", program: || java("JavaMember") }, 4);
}
