//! A member of a group: a real client in a process of its own (bench/clients), which does what it is told and writes down what it sees.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;
use serde::Serialize;

use super::log::Log;
use super::{HEARTBEAT_MS, SESSION_MS};
use crate::broker::{Place, pinned};
use crate::children;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// confluent-kafka, so librdkafka.
    Confluent,
    /// Kafka's own.
    Java,
}

impl ClientKind {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            ClientKind::Confluent => "confluent",
            ClientKind::Java => "java",
        }
    }

    /// Whether what it needs is there.
    pub fn check(self) -> Result<(), String> {
        let file = Path::new(match self {
            ClientKind::Confluent => PYTHON,
            ClientKind::Java => JARS,
        });
        if file.exists() {
            Ok(())
        } else {
            Err(format!("{} is not there; get it with: src/e2e/tools.sh", file.display()))
        }
    }

    fn command(self) -> Result<Command, String> {
        Ok(match self {
            ClientKind::Confluent => {
                let mut command = Command::new(PYTHON);
                command.arg("bench/clients/rebalance_member.py");
                command
            }
            ClientKind::Java => {
                let jars = fs::read_to_string(JARS).map_err(|error| format!("{JARS}: {error}"))?;
                let mut command = Command::new("java");
                // The second compiler takes the load's core for a tenth of a second at a time, in the half minute after the start; all members would stop.
                command.args(["-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
                command.args(["-cp", jars.trim()]);
                // java compiles a program of one file itself.
                command.arg("bench/clients/RebalanceMember.java");
                command
            }
        })
    }
}

const PYTHON: &str = ".cache/venv/bin/python";
const JARS: &str = ".cache/java/classpath";

/// One member. Its process is ended with it.
pub struct Member {
    child: Child,
    answers: BufReader<ChildStdout>,
    path: PathBuf,
}

impl Member {
    /// Starts the process, which then has a client that is ready to join; `name` is both the topic's and the group's.
    pub fn start(place: &Place, kind: ClientKind, protocol: &str, name: &str, number: usize) -> Result<Member, String> {
        let path = place.scratch.join(format!("rebalance-{name}-{number}.log"));
        fs::write(&path, "").map_err(|error| format!("{}: {error}", path.display()))?;
        let said = fs::File::create(path.with_extension("said")).map_err(|error| error.to_string())?;
        let mut command = kind.command()?;
        command.args([&format!("127.0.0.1:{}", place.port), name, name]).arg(&path);
        command.args([protocol, &HEARTBEAT_MS.to_string(), &SESSION_MS.to_string()]);
        let mut command = pinned(command, place.load_core);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said).spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", kind.name()))?;
        children::add(child.id(), None);
        let answers = BufReader::new(child.stdout.take().ok_or("a member has no output")?);
        let mut member = Member { child, answers, path };
        member.make()?;
        Ok(member)
    }

    /// Has it make a client, and waits for that.
    pub fn make(&mut self) -> Result<(), String> {
        self.tell("make\n")?;
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(_) if line == "ready\n" => Ok(()),
            Ok(_) => Err(format!("a member has ended: {}", self.said())),
            Err(error) => Err(format!("a member does not answer: {error}")),
        }
    }

    /// Has it join.
    pub fn join(&mut self) -> Result<(), String> {
        self.tell("join\n")
    }

    /// Has it leave in order. Not waited for: its log tells.
    pub fn leave(&mut self) -> Result<(), String> {
        self.tell("leave\n")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        children::end(&mut self.child, Signal::KILL, Duration::from_secs(5));
    }

    /// What it has seen so far.
    pub fn log(&self) -> Log {
        Log::parse(&fs::read_to_string(&self.path).unwrap_or_default())
    }

    fn tell(&mut self, order: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("a member has no input")?;
        let told = input.write_all(order.as_bytes());
        told.map_err(|error| format!("a member has ended: {error}: {}", self.said()))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path.with_extension("said")).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        for file in [&self.path, &self.path.with_extension("said")] {
            let _ = fs::remove_file(file);
        }
    }
}
