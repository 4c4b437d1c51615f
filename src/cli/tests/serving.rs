//! A running `floe serve` for a test, with small journals and ports of its own; ended when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::scratch::{Run, Scratch};

/// How long a start or an end may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings that make a start cheap, and keep records with whatever time they carry.
const SETTINGS: &str = "journal.bytes=48MiB cache.bytes=16MiB memory.bytes=16MiB log.retention.ms=-1";

/// A broker of the binary under test, its data in the folder `data` of a scratch.
pub struct Serving {
    child: Child,
    /// Where clients connect.
    pub address: String,
    /// Health and metrics.
    pub admin: String,
    log: Arc<Mutex<String>>,
}

impl Serving {
    /// Starts it and waits until it is ready.
    pub fn start(scratch: &Scratch, flags: &[&str]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
        command.args(["serve", "--admin-listen", "127.0.0.1:0"]);
        for (flag, value) in [("--listen", "127.0.0.1:0"), ("--cores", "1")] {
            if !flags.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.args(SETTINGS.split(' ').flat_map(|pair| ["--set", pair])).args(flags).current_dir(scratch.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FLOE_")) {
            command.env_remove(name);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(1..)) {
                kept.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let mut serving = Serving { child, address: String::new(), admin: String::new(), log };
        serving.until(|log| log.contains("ready after"));
        let log = serving.log();
        let after = |mark: &str| -> String {
            let rest = &log[log.find(mark).unwrap_or_else(|| panic!("no `{mark}` in\n{log}")) + mark.len()..];
            rest.split_whitespace().next().unwrap().to_owned()
        };
        serving.address = after("clients are told ");
        serving.admin = after("http://");
        serving
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn until(&mut self, enough: impl Fn(&str) -> bool) {
        let since = Instant::now();
        while !enough(&self.log()) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the broker ended with {status}:\n{}", self.log());
            }
            assert!(since.elapsed() < PATIENCE, "the broker is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A command against this broker.
    pub fn floe(&self, scratch: &Scratch, args: &[&str]) -> Run {
        self.floe_reading(scratch, args, "")
    }

    /// A command against this broker with something on its standard input.
    pub fn floe_reading(&self, scratch: &Scratch, args: &[&str], input: &str) -> Run {
        scratch.floe_with(args, &[("FLOE_BOOTSTRAP", &self.address)], input)
    }

    /// A page of the admin port: the status line and the body.
    pub fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a signal and waits for the end: the exit code, `None` after a signal that ended it at once.
    pub fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < PATIENCE, "the broker does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
