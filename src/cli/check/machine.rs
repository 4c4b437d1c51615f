//! What `floe check` finds out about the kernel, the limits of the process, the processors and the memory.

use std::fs;
use std::io;

use floe_reactor::awake::{Awake, DEVICE};
use rustix::process::{Resource, getrlimit};

use super::Finding;
use super::Grade::{Bad, Worse};
use crate::config::Config;

/// The first kernel with the rings that the reactor makes (SINGLE_ISSUER and DEFER_TASKRUN).
const KERNEL_WANTED: (u32, u32) = (6, 1);

/// Files that one broker may want open: segments, journals and connections.
const FILES_WANTED: u64 = 65_536;

/// Everything about the machine, for the settings that `serve` would run with.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let shards = config.cpus.len() as u64;
    let log = config.broker.log_settings();
    let memory = config.broker.number("memory.bytes", &Default::default()) as u64;
    vec![
        kernel(&rustix::system::uname().release().to_string_lossy()),
        io_uring(
            floe_reactor::probe(),
            read("/proc/sys/kernel/io_uring_disabled").as_deref(),
            read("/proc/self/status").as_deref(),
        ),
        locked_memory(getrlimit(Resource::Memlock).maximum),
        open_files(getrlimit(Resource::Nofile).maximum),
        Finding::good("CPUs", format!("{shards} shards on CPUs {:?}", config.cpus)),
        cpu_latency(config.cpu_latency_us.map(|us| (us, Awake::new(Some(us)).1))),
        governor(read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").as_deref()),
        clock(read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref()),
        memory_left(
            shards * (log.cache_bytes + memory),
            read("/proc/meminfo").as_deref(),
            read("/sys/fs/cgroup/memory.max").as_deref(),
        ),
        swap(read("/proc/meminfo").as_deref()),
        congestion_control(read("/proc/sys/net/ipv4/tcp_congestion_control").as_deref()),
    ]
}

/// What `cpu.latency.us` asks for, and whether it may be asked for.
fn cpu_latency(wanted: Option<(u32, io::Result<()>)>) -> Finding {
    let what = "CPU latency";
    match wanted {
        None => Finding::good(what, "CPUs sleep as the system has it (cpu.latency.us, which profile latency sets)"),
        Some((us, Ok(()))) => {
            Finding::good(what, format!("no CPU sleeps deeper than {us} us while there are requests"))
        }
        Some((_, Err(error))) => Finding::with(
            Worse,
            what,
            format!("CPUs sleep between requests, as {DEVICE} cannot be written to: {error}"),
            format!(
                "chgrp floe {DEVICE} && chmod 660 {DEVICE} (as root; floe: the user's group; KERNEL==\"cpu_dma_latency\", GROUP=\"floe\", MODE=\"0660\" in /etc/udev/rules.d/90-floe.rules, to outlive a reboot), and PrivateDevices=no in a service unit"
            ),
        ),
    }
}

/// For clients of other hosts it is the administrator's choice; see docs/decisions/0019-clients-on-the-same-host.md for those of this one.
fn congestion_control(name: Option<&str>) -> Finding {
    let name = name.map_or("not known", str::trim);
    Finding::good("congestion control", format!("{name} to other hosts, reno to clients on this one"))
}

fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_WANTED {
        return Finding::good("kernel", format!("Linux {release}"));
    }
    let (major, minor) = KERNEL_WANTED;
    Finding::with(
        Bad,
        "kernel",
        format!("Linux {release}; Floe needs {major}.{minor} or newer"),
        "install a newer kernel and boot it (Debian: apt-get install linux-image-amd64; Ubuntu: apt-get install linux-generic-hwe-24.04)",
    )
}

/// `disabled`: the sysctl's text. `status`: of this process, which says whether a seccomp filter is in force.
fn io_uring(probe: io::Result<()>, disabled: Option<&str>, status: Option<&str>) -> Finding {
    let Err(error) = probe else { return Finding::good("io_uring", "allowed") };
    let filtered = status
        .and_then(|status| status.lines().find_map(|line| line.strip_prefix("Seccomp:")))
        .is_some_and(|mode| mode.trim() != "0");
    let disabled = disabled.map_or("0", str::trim);
    let mend = match disabled {
        "1" | "2" => {
            "sysctl -w kernel.io_uring_disabled=0 (and the same line in /etc/sysctl.d/90-floe.conf, to outlive a reboot)"
        }
        _ if filtered => {
            "a seccomp filter forbids it, as Docker's default one does: docker run --security-opt seccomp=unconfined, or a profile that scripts/seccomp makes"
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOMEM.raw_os_error()) => {
            "ulimit -Hl unlimited (as root), or LimitMEMLOCK=infinity in the service unit"
        }
        _ => "use a kernel of 6.1 or newer that is built with CONFIG_IO_URING",
    };
    Finding::with(Bad, "io_uring", format!("{error} (kernel.io_uring_disabled = {disabled})"), mend)
}

/// For those who are told elsewhere that io_uring wants it raised: kernels of 6.1 and newer count only registered buffers.
fn locked_memory(hard: Option<u64>) -> Finding {
    let bound = hard.map_or_else(|| "no limit".to_owned(), |hard| format!("at most {} KiB", hard >> 10));
    Finding::good("locked memory", format!("{bound}; Floe locks none"))
}

/// `serve` raises the soft limit to the hard one itself, so only that one counts.
fn open_files(hard: Option<u64>) -> Finding {
    match hard {
        Some(hard) if hard < FILES_WANTED => Finding::with(
            Worse,
            "open files",
            format!("at most {hard}; thousands of partitions and connections want {FILES_WANTED}"),
            format!("ulimit -Hn {FILES_WANTED} (as root), or LimitNOFILE={FILES_WANTED} in the service unit"),
        ),
        Some(hard) => Finding::good("open files", format!("at most {hard}")),
        None => Finding::good("open files", "no limit"),
    }
}

fn governor(text: Option<&str>) -> Finding {
    match text.map(str::trim) {
        None => Finding::good("CPU frequency", "not under this system's control"),
        Some(governor @ ("performance" | "schedutil")) => {
            Finding::good("CPU frequency", format!("governor {governor}"))
        }
        Some(governor) => Finding::with(
            Worse,
            "CPU frequency",
            format!("governor {governor}: cores that sleep often wake up slow, and latencies show it"),
            "cpupower frequency-set -g performance",
        ),
    }
}

fn clock(text: Option<&str>) -> Finding {
    match text.map(str::trim) {
        Some(slow @ ("hpet" | "acpi_pm")) => Finding::with(
            Worse,
            "clock source",
            format!("{slow}: each look at the clock is a slow trap"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource (when tsc is listed in available_clocksource)",
        ),
        other => Finding::good("clock source", other.unwrap_or("unknown")),
    }
}

fn kib(meminfo: Option<&str>, name: &str) -> Option<u64> {
    let line = meminfo?.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `wanted`: what all shards may take. `cgroup`: the bound on this process and its neighbours, `max` for none.
fn memory_left(wanted: u64, meminfo: Option<&str>, cgroup: Option<&str>) -> Finding {
    let free = kib(meminfo, "MemAvailable:").map(|kib| kib << 10);
    let bound = cgroup.and_then(|text| text.trim().parse::<u64>().ok());
    let Some(have) = free.into_iter().chain(bound).min() else { return Finding::good("memory", "unknown") };
    let found = format!("{} MiB to be had, {} MiB may be used by all shards together", have >> 20, wanted >> 20);
    if have >= wanted {
        return Finding::good("memory", found);
    }
    Finding::with(
        Worse,
        "memory",
        found,
        "give cache.bytes and memory.bytes (both are for each shard) less: floe serve --set cache.bytes=32MiB --set memory.bytes=64MiB, or run fewer shards with --cores N",
    )
}

fn swap(meminfo: Option<&str>) -> Finding {
    match (kib(meminfo, "SwapTotal:"), kib(meminfo, "SwapFree:")) {
        (Some(total), Some(free)) if total > 0 && total.saturating_sub(free) > total / 10 => Finding::with(
            Worse,
            "swap",
            format!("{} MiB are swapped out: a broker whose buffers are swapped out stalls", (total - free) >> 10),
            "lower memory.bytes and cache.bytes, or give the machine more memory; swapoff -a && swapon -a brings pages back",
        ),
        (Some(total), _) if total > 0 => Finding::good("swap", "hardly used"),
        _ => Finding::good("swap", "none"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade::{self, Good};
    use super::*;

    #[test]
    fn what_is_worse_comes_with_what_to_do() {
        let refused = |errno: rustix::io::Errno| Err(io::Error::from_raw_os_error(errno.raw_os_error()));
        use rustix::io::Errno;
        let rows: Vec<(Finding, Grade, &str)> = vec![
            (kernel("6.18.5-amd64"), Good, "6.18.5"),
            (kernel("6.1.0"), Good, ""),
            (kernel("5.15.0-97-generic"), Bad, "boot it"),
            (kernel("nonsense"), Bad, ""),
            (io_uring(Ok(()), Some("0"), None), Good, ""),
            (io_uring(refused(Errno::PERM), Some("2\n"), None), Bad, "sysctl -w kernel.io_uring_disabled=0"),
            (io_uring(refused(Errno::PERM), Some("0\n"), Some("Name: x\nSeccomp:\t2\n")), Bad, "seccomp="),
            (io_uring(refused(Errno::NOMEM), None, Some("Seccomp:\t0\n")), Bad, "MEMLOCK"),
            (io_uring(refused(Errno::NOSYS), None, None), Bad, "CONFIG_IO_URING"),
            (locked_memory(Some(64 << 10)), Good, "at most 64 KiB"),
            (open_files(Some(1024)), Worse, "ulimit -Hn 65536"),
            (open_files(Some(1 << 20)), Good, ""),
            (cpu_latency(None), Good, "as the system has it"),
            (cpu_latency(Some((0, Ok(())))), Good, "0 us"),
            (cpu_latency(Some((0, refused(Errno::ACCESS).map(drop)))), Worse, "chgrp"),
            (governor(None), Good, ""),
            (governor(Some("performance\n")), Good, ""),
            (governor(Some("powersave\n")), Worse, "cpupower"),
            (clock(Some("tsc\n")), Good, ""),
            (clock(Some("hpet\n")), Worse, "echo tsc"),
            (memory_left(1 << 30, Some("MemAvailable: 2097152 kB\n"), Some("max\n")), Good, ""),
            (memory_left(1 << 30, Some("MemAvailable: 2097152 kB\n"), Some("536870912\n")), Worse, "cache.bytes"),
            (swap(Some("SwapTotal: 0 kB\nSwapFree: 0 kB\n")), Good, ""),
            (swap(Some("SwapTotal: 1000 kB\nSwapFree: 100 kB\n")), Worse, "swapon"),
            (swap(None), Good, ""),
        ];
        for (finding, grade, part) in rows {
            assert_eq!(finding.grade, grade, "{finding:?}");
            assert_eq!(finding.mend.is_some(), grade != Good, "{finding:?}");
            assert!(format!("{finding:?}").contains(part), "{finding:?} lacks {part}");
        }
    }
}
