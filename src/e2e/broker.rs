//! A broker under test: the built `floe` with a data directory and a port of its own.
//!
//! Invariant: it never outlives the test process (`setpriv --pdeathsig`), and its data is removed with it unless the test failed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Ports to take: outside the range that the kernel takes for outgoing connections, so that a restarted broker finds its own again.
const PORTS: std::ops::Range<u16> = 19_300..19_400;
/// How long a start or a shutdown may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, running or not.
pub struct Broker {
    child: Option<Child>,
    /// Everything that is its own: data, log.
    pub dir: PathBuf,
    /// Where its data is.
    pub data: PathBuf,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where its admin HTTP is.
    pub admin: SocketAddr,
    /// What runs it, if not the test itself.
    wrapper: Vec<String>,
    /// More arguments of `floe serve`.
    arguments: Vec<String>,
}

impl Broker {
    /// Starts one with a number of shards and waits until it answers.
    pub fn start(shards: usize) -> Broker {
        Broker::start_with(shards, &[])
    }

    /// [`Broker::start`] with more arguments of `floe serve`.
    pub fn start_with(shards: usize, arguments: &[&str]) -> Broker {
        let dir = scratch();
        let data = dir.join("data");
        let (address, admin) = (free_port(), free_port());
        let wrapper = vec![];
        let mut broker = Broker { child: None, dir, data, address, admin, wrapper, arguments: owned(arguments) };
        broker.resume(shards);
        broker
    }

    /// One shard with its data on a file system of a limited size. Only the broker sees it, through `namespace`, a command that runs
    /// another one with mounts of its own; it is gone when the broker ends.
    pub fn start_on_tmpfs(namespace: &[&str], size: &str, arguments: &[&str]) -> Broker {
        let dir = scratch();
        let data = dir.join("data");
        fs::create_dir(&data).expect("a place to mount");
        let mut wrapper = owned(namespace);
        let script = r#"mount -t tmpfs -o size="$0" floe "$1" && shift && exec "$@""#;
        wrapper.extend(owned(&["sh", "-c", script, size, data.to_str().expect("a readable path")]));
        let (address, admin) = (free_port(), free_port());
        let mut broker = Broker { child: None, dir, data, address, admin, wrapper, arguments: owned(arguments) };
        broker.resume(1);
        broker
    }

    /// Starts it again, on the same port and data.
    pub fn resume(&mut self, shards: usize) {
        assert!(self.child.is_none(), "the broker runs already");
        self.child = Some(spawn(self.command(shards)));
        let end = Instant::now() + PATIENCE;
        while !answers(self.address) {
            if let Some(status) = self.exited() {
                panic!("the broker ended with {status}:\n{}", self.log_tail());
            }
            assert!(Instant::now() < end, "the broker does not answer:\n{}", self.log_tail());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self, shards: usize) -> Command {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log file");
        // Ended by the kernel when the thread that started it ends.
        let mut words = self.wrapper.clone();
        words.extend(owned(&[
            "setpriv",
            "--pdeathsig",
            "KILL",
            env!("CARGO_BIN_EXE_floe"),
            "serve",
            "--oversubscribe",
        ]));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["--cores", &shards.to_string()]);
        command.args(["--listen", &self.address.to_string(), "--admin-listen", &self.admin.to_string()]);
        command.arg("--data-dir").arg(&self.data).args(&self.arguments);
        command.current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        // A signal for the test's own group is not one for the broker.
        command.process_group(0);
        command
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running broker");
        child.kill().expect("the broker can be killed");
        child.wait().expect("the broker can be waited for");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_raw(self.pid() as i32).expect("a process id"), Signal::TERM).expect("a signal");
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < end, "the broker does not end on SIGTERM:\n{}", self.log_tail());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect("a running broker").try_wait().expect("the broker can be waited for")
    }

    /// Fails the test when the broker has ended by itself.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.exited() {
            panic!("the broker ended with {status}:\n{}", self.log_tail());
        }
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running broker").id()
    }

    /// Bytes of memory that it has in use.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running broker");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// One page of the admin HTTP: status line and body.
    pub fn admin_page(&self, path: &str) -> io::Result<(String, String)> {
        let mut stream = TcpStream::connect_timeout(&self.admin, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no end of the header"))?;
        Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("the broker's data is kept in {}; its last words:\n{}", self.dir.display(), self.log_tail());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Whether a broker answers ApiVersions 0 there.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff])?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer)?;
        Ok(answer[4..] == [0, 0, 0, 7, 0, 0])
    };
    ask().unwrap_or(false)
}

/// Starts a process from a thread that lives as long as the test process: what the kernel's parent-death signal goes by is a thread,
/// and a test's own ends with the test.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static NURSERY: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let nursery = NURSERY.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        let nurse = move || inbox.iter().for_each(|(mut command, answer)| drop(answer.send(command.spawn())));
        thread::Builder::new().name("nursery".to_owned()).spawn(nurse).expect("a thread");
        Mutex::new(orders)
    });
    let (answer, child) = mpsc::channel();
    nursery.lock().expect("nobody panics here").send((command, answer)).expect("the nursery lives");
    child.recv().expect("an answer").unwrap_or_else(|error| panic!("setpriv (util-linux) does not start: {error}"))
}

/// The next port that nobody listens on.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test runs beside each other begin elsewhere: a broker that is down for a moment has nobody on its port.
    let first = (std::process::id() * 13 % PORTS.len() as u32) as u16;
    for _ in PORTS {
        let port = PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free in {PORTS:?}");
}

/// A new directory for one broker, on the file system of the build; those of test runs that were killed are removed.
pub fn scratch() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    if number == 0 {
        for entry in fs::read_dir(all).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("e2e-").and_then(|rest| rest.split('-').next()).unwrap_or_default();
            if name.starts_with("e2e-") && !Path::new("/proc").join(pid).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    let dir = all.join(format!("e2e-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for the broker");
    dir
}
