//! What `floe check` finds out about the device below the data directory: how long a durable write takes, and whose CPUs it interrupts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::Finding;
use super::Grade::Worse;

/// Bytes of a write: the smallest commit.
const BLOCK: usize = 4096;
/// Writes that are timed, and how long that may take.
const WRITES: usize = 200;
const TIME_MAX: Duration = Duration::from_millis(500);
/// A median above this is no device for acknowledging single records from.
const SLOW: Duration = Duration::from_millis(5);

/// Everything about the device below `folder`. Leaves nothing behind.
pub(super) fn look(folder: &Path) -> Vec<Finding> {
    let device = Device::below(folder);
    // Who cannot write here has been told so.
    let durable = time_writes(folder).ok().map(|times| durable_write(times, device.as_ref()));
    let interrupts = device.and_then(|device| {
        let table = fs::read_to_string("/proc/interrupts").ok()?;
        interrupts(&device, &table, |irq| fs::read_to_string(format!("/proc/irq/{irq}/effective_affinity_list")).ok())
    });
    durable.into_iter().chain(interrupts).collect()
}

/// A block device, as the kernel describes it in sysfs(5).
#[derive(Clone, Debug, Default)]
struct Device {
    name: String,
    /// What its interrupts are named after: nvme0, virtio1.
    controller: Option<String>,
    write_cache: Option<String>,
    fua: Option<String>,
}

impl Device {
    fn below(folder: &Path) -> Option<Device> {
        let dev = fs::metadata(folder).ok()?.dev();
        let link = format!("/sys/dev/block/{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
        let mut path = fs::canonicalize(link).ok()?;
        // A partition's queue is that of its disk.
        if !path.join("queue").is_dir() {
            path.pop();
        }
        let read =
            |what: &str| fs::read_to_string(path.join("queue").join(what)).ok().map(|text| text.trim().to_owned());
        let is_controller = |part: &&str| {
            ["nvme", "virtio"].iter().any(|kind| {
                part.strip_prefix(kind).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        let parts = path.iter().filter_map(|part| part.to_str());
        Some(Device {
            name: path.file_name()?.to_str()?.to_owned(),
            controller: parts.rev().find(is_controller).map(str::to_owned),
            write_cache: read("write_cache"),
            fua: read("fua"),
        })
    }

    /// What a durable write is made of.
    fn how(&self) -> &'static str {
        match (self.write_cache.as_deref(), self.fua.as_deref()) {
            (Some("write through"), _) => ", which needs no flush",
            (Some("write back"), Some("0")) => ", each a write and then a flush of its cache",
            (Some("write back"), Some(_)) => ", which writes through its cache (FUA)",
            _ => "",
        }
    }
}

/// A new file in `folder`, opened with `flags` for writing. It has no name any more, so nothing is left of it, however this process ends.
pub(super) fn nameless_file(folder: &Path, flags: OFlags) -> io::Result<File> {
    let path = folder.join(format!(".floe-check-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).custom_flags(flags.bits() as i32).open(&path);
    // Also after an error: the kernel makes the file before it finds that it cannot open it this way.
    let _ = fs::remove_file(&path);
    file
}

/// A block where O_DIRECT takes it from.
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

/// Writes single blocks as commits are written: over blocks that are there already, with O_DIRECT and DSYNC.
fn time_writes(folder: &Path) -> io::Result<Vec<Duration>> {
    const BLOCKS: usize = 16;
    let file = nameless_file(folder, OFlags::DIRECT | OFlags::DSYNC)?;
    let block = Aligned([0; BLOCK]);
    for i in 0..BLOCKS {
        file.write_all_at(&block.0, (i * BLOCK) as u64)?;
    }
    let began = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    while times.len() < WRITES && began.elapsed() < TIME_MAX {
        let at = (times.len() % BLOCKS * BLOCK) as u64;
        let write = Instant::now();
        file.write_all_at(&block.0, at)?;
        times.push(write.elapsed());
    }
    Ok(times)
}

fn durable_write(mut times: Vec<Duration>, device: Option<&Device>) -> Finding {
    times.sort_unstable();
    let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let slowest = times.last().copied().unwrap_or_default();
    let on = device.map_or(String::new(), |device| format!(" on {}{}", device.name, device.how()));
    let found = format!(
        "4 KiB take {} ms{on} (median of {}, slowest {} ms): an acknowledgement of `flushed` waits for one",
        ms(median),
        times.len(),
        ms(slowest)
    );
    match median > SLOW {
        false => Finding::good("durable write", found),
        true => Finding::with(
            Worse,
            "durable write",
            found,
            "a device with power-loss protection; many records a request share one; --durability written where the last moments may be lost",
        ),
    }
}

/// On which CPUs the device's interrupts come: whoever runs there is held up by them. `affinity` gives the text of an interrupt's
/// `effective_affinity_list`.
fn interrupts(device: &Device, table: &str, affinity: impl Fn(u32) -> Option<String>) -> Option<Finding> {
    let controller = device.controller.as_ref()?;
    let is_its = |name: &str| name.strip_prefix(controller.as_str()).is_some_and(|rest| rest.starts_with(['q', '-']));
    let mut cpus = Vec::new();
    for line in table.lines() {
        let Some((number, rest)) = line.split_once(':') else { continue };
        let its = rest.split_whitespace().last().is_some_and(is_its) && !rest.trim_end().ends_with("-config");
        if let Some(irq) = number.trim().parse().ok().filter(|_| its) {
            cpus.push(affinity(irq).map_or("?".to_owned(), |text| text.trim().to_owned()));
        }
    }
    let queues = cpus.len();
    cpus.sort_unstable_by_key(|cpu| cpu.parse::<u32>().unwrap_or(u32::MAX));
    cpus.dedup();
    let name = &device.name;
    match queues {
        0 => None,
        1 => Some(Finding::good(
            "interrupts",
            format!(
                "those of {name} all come on CPU {}: what else runs there, a client on this host too, waits for them",
                cpus[0]
            ),
        )),
        _ => Some(Finding::good("interrupts", format!("those of {name} come on CPUs {}", cpus.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade::Good;
    use super::*;

    fn device() -> Device {
        Device { name: "vda".into(), controller: Some("virtio1".into()), ..Device::default() }
    }

    #[test]
    fn writes_are_timed_and_leave_nothing_behind() {
        let folder = std::env::current_dir().unwrap().join(format!(".floe-check-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let times = time_writes(&folder);
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, 0);
        assert!(!times.unwrap().is_empty());
        assert!(time_writes(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_durable_write_is_told_with_what_it_is_made_of() {
        let cached = Device { write_cache: Some("write back".into()), fua: Some("0".into()), ..device() };
        let of_ms = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let finding = durable_write(of_ms(&[3, 1, 2]), Some(&cached));
        assert_eq!(finding.grade, Good);
        assert!(finding.found.starts_with("4 KiB take 2.000 ms on vda, each a write and then a flush"), "{finding:?}");
        assert!(finding.found.contains("median of 3, slowest 3.000 ms"), "{finding:?}");
        let finding = durable_write(of_ms(&[9, 8, 30]), None);
        assert_eq!(finding.grade, Worse);
        assert!(finding.found.starts_with("4 KiB take 9.000 ms (median"), "{finding:?}");
        let through = Device { write_cache: Some("write through".into()), ..device() };
        assert_eq!(through.how(), ", which needs no flush");
        assert_eq!(device().how(), "");
    }

    #[test]
    fn interrupts_by_the_kernels_table() {
        let one = "           CPU0       CPU1\n  1:  9 0 IO-APIC 1-edge i8042\n 35:  0 1 PCI-MSIX 0-edge virtio1-config\n \
                   36:  0 4080 PCI-MSIX 1-edge virtio1-req.0\n 37:  5 0 PCI-MSIX 1-edge virtio10-req.0\nLOC:  1 2 Local timer interrupts\n";
        let finding = interrupts(&device(), one, |irq| (irq == 36).then(|| "1\n".into())).unwrap();
        assert!(finding.found.starts_with("those of vda all come on CPU 1:"), "{finding:?}");
        let many = " 40: 1 0 PCI-MSIX nvme0q0\n 41: 1 0 PCI-MSIX nvme0q10\n 42: 0 1 PCI-MSIX nvme0q2\n 43: 0 1 PCI-MSIX nvme1q1\n";
        let nvme = Device { name: "nvme0n1".into(), controller: Some("nvme0".into()), ..Device::default() };
        let finding = interrupts(&nvme, many, |irq| Some(if irq == 41 { "10" } else { "2" }.into())).unwrap();
        assert_eq!(finding.found, "those of nvme0n1 come on CPUs 2, 10");
        assert!(interrupts(&nvme, one, |_| None).is_none());
    }
}
