//! What the kernel knows about a process: CPU time, memory, the cores it may use. Read from /proc, no state.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time that process `pid` has used so far, all its threads, user and system, in seconds.
///
/// Resolution is the kernel's tick (10 ms); what is measured lasts seconds.
pub fn process_cpu_s(pid: u32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in brackets and may hold spaces: count from its end.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok((ticks(11) + ticks(12)) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// CPU time of the threads that process `pid` has now, user and system, in seconds, to the nanosecond: for spans too short for the kernel's
/// tick. Threads that have ended are not in it.
pub fn threads_cpu_s(pid: u32) -> io::Result<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while this looks at it.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        ns += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(ns as f64 / 1e9)
}

/// Resident memory of process `pid` in bytes.
pub fn rss_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024)
}

/// Lets the calling thread, and what it starts from now on, run on `core` only, and wakes it from a sleep when it is due: by default
/// Linux may add 50 us, which a schedule would charge to the broker (prctl(2), PR_SET_TIMERSLACK).
pub fn pin_self(core: usize) -> io::Result<()> {
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// One line about the machine for the results: kernel, CPU, cores, memory.
pub fn machine() -> String {
    let uname = rustix::system::uname();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown CPU", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    format!("{model}, {cores} cores, {} GiB, Linux {}", memory_kib >> 20, uname.release().to_string_lossy())
}
