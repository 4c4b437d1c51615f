//! The processes that this one started: ended with it, also when a signal ends it.
//!
//! A broker or a load client that outlives its benchmark falsifies the next one. Who starts a process adds it here, and takes it out when it has
//! ended, so that a number which the kernel has given to somebody else is not signalled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

struct Running {
    pid: u32,
    data: Option<PathBuf>,
}

/// Notes a process, and the directory that is to vanish with it.
pub fn add(pid: u32, data: Option<&Path>) {
    lock().push(Running { pid, data: data.map(Path::to_owned) });
}

/// Forgets a process that has ended, or is about to be waited for.
pub fn remove(pid: u32) {
    lock().retain(|running| running.pid != pid);
}

/// Ends a child with `signal`, and without mercy after `patience`. One that has ended already gets no signal: its number may be another's.
pub fn end(child: &mut Child, signal: Signal, patience: Duration) {
    remove(child.id());
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process(pid, signal);
    }
    let began = Instant::now();
    while began.elapsed() < patience {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// From now on SIGINT and SIGTERM end the children first, then this process with the usual code.
pub fn end_on_signals() -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| format!("signals: {error}"))?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            end_all();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn end_all() {
    // The lock is kept until the end of the process: nobody may start another child meanwhile.
    let running = std::mem::ManuallyDrop::new(lock());
    for child in running.iter() {
        if let Some(pid) = Pid::from_raw(child.pid as i32) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    for data in running.iter().filter_map(|child| child.data.as_ref()) {
        let _ = fs::remove_dir_all(data);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
