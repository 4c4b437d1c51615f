//! A broker under measurement: started on its cores, asked for CPU time and memory, stopped, its data removed.
//!
//! A [`Broker`] that is dropped takes its process and its data directory with it, so that a failed run leaves nothing behind.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::children;
use crate::client::Client;
use crate::proc;

/// How long a broker may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(180);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Subject {
    /// Floe as it is by default: acknowledged when on stable storage.
    Floe,
    /// Floe with `durability = written`: acknowledged when handed to the file system, as Kafka does.
    FloeWritten,
    /// Apache Kafka as shipped: acknowledged from the page cache.
    Kafka,
    /// Apache Kafka told to be as durable as Floe: `log.flush.interval.messages=1`.
    KafkaDurable,
}

impl Subject {
    /// As a column is headed.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Floe => "floe",
            Subject::FloeWritten => "floe written",
            Subject::Kafka => "kafka",
            Subject::KafkaDurable => "kafka durable",
        }
    }

    /// Is it a Floe?
    pub fn is_floe(self) -> bool {
        matches!(self, Subject::Floe | Subject::FloeWritten)
    }
}

/// Where and how brokers run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The `floe` binary.
    pub floe: PathBuf,
    /// Holds the data directories, each removed after its run.
    pub scratch: PathBuf,
    /// The broker's CPU.
    pub broker_core: usize,
    /// The load's CPU.
    pub load_core: usize,
    /// The broker may use the load's CPU as well.
    pub both_cores: bool,
    /// Clients connect here.
    pub port: u16,
    /// Further `NAME=VALUE` settings of Floe.
    pub settings: Vec<String>,
    /// The same of Kafka.
    pub kafka_settings: Vec<String>,
}

impl Place {
    /// The broker's CPUs as taskset and Floe take them: a plain number would be how many, not which.
    fn cores(&self) -> String {
        if self.both_cores {
            format!("{},{}", self.broker_core, self.load_core)
        } else {
            format!("{0}-{0}", self.broker_core)
        }
    }
}

/// A running broker.
pub struct Broker {
    child: Child,
    data: PathBuf,
    place: Place,
    subject: Subject,
    /// When the process was started.
    pub started: Instant,
    /// From then to its first answer.
    pub start_up: Duration,
}

impl Broker {
    /// Starts `subject` on an empty data directory.
    pub fn start(place: &Place, subject: Subject) -> Result<Broker, String> {
        let data = place.scratch.join(subject.name().replace(' ', "-"));
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        if !subject.is_floe() {
            kafka_format(place, subject, &data)?;
        }
        Broker::launch(place, subject, data)
    }

    fn launch(place: &Place, subject: Subject, data: PathBuf) -> Result<Broker, String> {
        let command = match subject {
            Subject::Floe | Subject::FloeWritten => floe_command(place, subject, &data),
            Subject::Kafka | Subject::KafkaDurable => {
                let mut command = kafka_java("kafka.Kafka")?;
                command.arg(data.join("server.properties"));
                command
            }
        };
        let log = fs::File::create(data.with_extension("log")).map_err(|error| error.to_string())?;
        let mut command = pinned_to(command, &place.cores());
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(|error| error.to_string())?).stderr(log);
        let began = Instant::now();
        let child = command.process_group(0).spawn().map_err(|error| format!("{}: {error}", subject.name()))?;
        children::add(child.id(), Some(&data));
        let mut broker =
            Broker { child, data, place: place.clone(), subject, started: began, start_up: Duration::ZERO };
        broker.start_up = broker.await_answer(began)?;
        Ok(broker)
    }

    fn await_answer(&mut self, began: Instant) -> Result<Duration, String> {
        loop {
            if let Ok(mut client) = Client::connect(self.place.port)
                && client.api_versions().is_ok()
            {
                return Ok(began.elapsed());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended with {status}: see {}", self.subject.name(), self.log().display()));
            }
            if began.elapsed() > START_LIMIT {
                return Err(format!("{} does not answer: see {}", self.subject.name(), self.log().display()));
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Ends the process without warning and starts it again on the same data; tells how long until it answered.
    pub fn kill_and_restart(mut self) -> Result<Broker, String> {
        let (place, subject, data) = (self.place.clone(), self.subject, self.data.clone());
        self.end(Signal::KILL);
        // What is dropped now must not take the data with it.
        self.data = PathBuf::new();
        Broker::launch(&place, subject, data)
    }

    /// Which it is.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the broker printed.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// CPU seconds used so far.
    pub fn cpu_s(&self) -> f64 {
        proc::process_cpu_s(self.pid()).unwrap_or(0.0)
    }

    /// Resident memory, in bytes.
    pub fn rss(&self) -> u64 {
        proc::rss_bytes(self.pid()).unwrap_or(0)
    }

    /// Lets the process rest (SIGSTOP) until [`Broker::go_on`].
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run again.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    fn end(&mut self, signal: Signal) {
        children::end(&mut self.child, signal, Duration::from_secs(30));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end(Signal::KILL);
        if !self.data.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.data);
        }
    }
}

/// Bytes that the file system of `path` still takes.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// `command`, run by taskset on one core: affinity must hold before the first thread of the program starts.
pub fn pinned(command: Command, core: usize) -> Command {
    pinned_to(command, &core.to_string())
}

fn pinned_to(command: Command, cores: &str) -> Command {
    let mut taskset = Command::new("taskset");
    taskset.arg("-c").arg(cores).arg(command.get_program()).args(command.get_args());
    taskset
}

fn floe_command(place: &Place, subject: Subject, data: &Path) -> Command {
    let mut command = Command::new(&place.floe);
    command.arg("serve").arg("--data-dir").arg(data).arg("--listen").arg(format!("127.0.0.1:{}", place.port));
    if !place.settings.iter().any(|setting| setting.starts_with("admin.listen=")) {
        command.args(["--admin-listen", "none"]);
    }
    // Who wants several shards on the one core says so as a setting.
    if !place.settings.iter().any(|setting| setting.starts_with("cores=")) {
        command.arg("--cores").arg(place.cores());
    }
    if subject == Subject::FloeWritten {
        command.args(["--durability", "written"]);
    }
    for setting in &place.settings {
        command.arg("--set").arg(setting);
    }
    command
}

fn kafka_java(class: &str) -> Result<Command, String> {
    let file = Path::new(".cache/bench/kafka/classpath");
    let classpath = fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}\nget it with: bench/tools.sh kafka", file.display()))?;
    let mut command = Command::new("java");
    command.args(["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
    command.arg("-cp").arg(classpath.trim()).arg(class);
    Ok(command)
}

fn kafka_format(place: &Place, subject: Subject, data: &Path) -> Result<(), String> {
    let (port, controller) = (place.port, place.port + 1);
    // Deleted topics go at once and not a minute later, in the middle of somebody's turn. Index files of 1 MB instead of 10: Kafka maps two
    // for each partition, and where the device reads ahead by megabytes the first look at each fills the page cache with its zeros (seen
    // with 8 MB: 16 GB for 1,000 partitions, 70 % of the broker's CPU, and again whenever the cache overflows).
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         log.segment.delete.delay.ms=1000\nlog.index.size.max.bytes=1048576\n",
        data.join("log").display()
    );
    if subject == Subject::KafkaDurable {
        text.push_str("log.flush.interval.messages=1\n");
    }
    place.kafka_settings.iter().for_each(|setting| text.extend([setting, "\n"]));
    let properties = data.join("server.properties");
    fs::write(&properties, text).map_err(|error| error.to_string())?;
    let mut command = kafka_java("kafka.tools.StorageTool")?;
    command.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "--standalone", "-c"]).arg(&properties);
    let output = command.output().map_err(|error| format!("java: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
