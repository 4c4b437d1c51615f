//! `bench disk`: what one synchronous journal write costs on this disk. Lives on one thread, owns one file that it removes.
//!
//! The journal overwrites pre-written blocks with O_DIRECT and `RWF_DSYNC`, one write a commit. So that is what is measured, beside
//! the alternative it replaced (write to the page cache, then fdatasync), with one write under way at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};
use hdrhistogram::Histogram;
use rustix::fs::{OFlags, fdatasync};
use rustix::io::{ReadWriteFlags, pwritev2};
use serde::Serialize;

use crate::proc::thread_cpu;

/// The file that is overwritten; a journal's usual size.
const FILE_BYTES: u64 = 256 << 20;

/// O_DIRECT asks for memory aligned to the device's block.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
pub(crate) struct Block(pub(crate) [u8; 4096]);

/// One row: a way of writing and a size.
#[derive(Clone, Debug, Serialize)]
pub struct DiskRow {
    /// How it was written.
    pub method: &'static str,
    /// Bytes of each write.
    pub write_bytes: u64,
    /// Writes a second.
    pub writes_per_s: f64,
    /// Bytes a second, in 10^6.
    pub mb_per_s: f64,
    /// Median of one durable write, in microseconds.
    pub p50_us: u64,
    /// 99th percentile, in microseconds.
    pub p99_us: u64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: u64,
    /// CPU time of the writing thread for each write, in microseconds.
    pub cpu_us: f64,
}

/// Measures every method and size for `seconds` each, in `dir`.
pub fn measure(dir: &Path, seconds: f64) -> io::Result<Vec<DiskRow>> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("disk-probe");
    let rows = measure_file(&path, seconds);
    let removed = std::fs::remove_file(&path);
    let rows = rows?;
    removed?;
    Ok(rows)
}

/// What the disk itself can do.
#[derive(Clone, Debug, Serialize)]
pub struct Sequential {
    /// 10^6 bytes a second.
    pub mb_per_s: f64,
    /// Who measured.
    pub by: &'static str,
}

/// The rate of sequential O_DIRECT writes of 1 MiB, eight under way: by fio where it is installed, else by threads of this program.
pub fn sequential(dir: &Path, seconds: f64) -> io::Result<Sequential> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("disk-sequential");
    let found = zero(&path).and_then(|()| match fio(&path, seconds)? {
        Some(mb_per_s) => Ok(Sequential { mb_per_s, by: "fio" }),
        None => Ok(Sequential { mb_per_s: by_threads(&path, seconds)?, by: "floe-bench's own writes (no fio here)" }),
    });
    let removed = std::fs::remove_file(&path);
    let found = found?;
    removed?;
    Ok(found)
}

/// None when fio is not there.
fn fio(path: &Path, seconds: f64) -> io::Result<Option<f64>> {
    let mut command = Command::new("fio");
    command.args(["--name=sequential", "--rw=write", "--bs=1M", "--direct=1", "--ioengine=io_uring", "--iodepth=8"]);
    command.args(["--time_based", "--overwrite=1", "--output-format=json"]);
    command.arg(format!("--runtime={seconds}")).arg(format!("--size={FILE_BYTES}"));
    // A colon in a path would be two files to fio; the directory is given apart.
    command.arg("--filename").arg(path.file_name().unwrap_or_default()).current_dir(path.parent().unwrap_or(path));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| io::Error::other(format!("fio: {}", String::from_utf8_lossy(&output.stderr))))?;
    let bytes_per_s = told["jobs"][0]["write"]["bw_bytes"].as_f64().filter(|&rate| rate > 0.0);
    bytes_per_s.map(|rate| Some(rate / 1e6)).ok_or_else(|| io::Error::other("fio wrote nothing"))
}

fn by_threads(path: &Path, seconds: f64) -> io::Result<f64> {
    let blocks = vec![Block([0x5a; 4096]); (1 << 20) / 4096];
    let bytes: &[u8] = bytemuck::cast_slice(&blocks);
    let file = OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let limit = Duration::from_secs_f64(seconds);
    let work = || -> io::Result<()> {
        while began.elapsed() < limit {
            let at = next.fetch_add(bytes.len() as u64, Ordering::Relaxed) % FILE_BYTES;
            file.write_all_at(bytes, at)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("writing does not panic"))
    })?;
    Ok(next.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64() / 1e6)
}

fn measure_file(path: &Path, seconds: f64) -> io::Result<Vec<DiskRow>> {
    zero(path)?;
    let direct = OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
    let cached = OpenOptions::new().write(true).open(path)?;
    let mut rows = Vec::new();
    for size in [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        rows.push(run("O_DIRECT + RWF_DSYNC", size, seconds, |bytes, at| {
            let written = pwritev2(&direct, &[IoSlice::new(bytes)], at, ReadWriteFlags::DSYNC)?;
            assert_eq!(written, bytes.len(), "short write");
            Ok(())
        })?);
        rows.push(run("page cache + fdatasync", size, seconds, |bytes, at| {
            let written = pwritev2(&cached, &[IoSlice::new(bytes)], at, ReadWriteFlags::empty())?;
            assert_eq!(written, bytes.len(), "short write");
            Ok(fdatasync(&cached)?)
        })?);
    }
    Ok(rows)
}

fn zero(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}

fn run(
    method: &'static str,
    size: usize,
    seconds: f64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<DiskRow> {
    let blocks = vec![Block([0x5a; 4096]); size / 4096];
    let bytes: &[u8] = bytemuck::cast_slice(&blocks);
    let mut latency = Histogram::<u64>::new(3).expect("three digits is a legal precision");
    let limit = Duration::from_secs_f64(seconds);
    let (began, cpu) = (Instant::now(), thread_cpu());
    let mut at = 0;
    while began.elapsed() < limit {
        let start = Instant::now();
        write(bytes, at)?;
        latency.record(start.elapsed().as_micros() as u64).expect("the histogram grows as needed");
        at = (at + size as u64) % FILE_BYTES;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let writes = latency.len() as f64;
    Ok(DiskRow {
        method,
        write_bytes: size as u64,
        writes_per_s: writes / elapsed,
        mb_per_s: writes * size as f64 / elapsed / 1e6,
        p50_us: latency.value_at_quantile(0.5),
        p99_us: latency.value_at_quantile(0.99),
        p999_us: latency.value_at_quantile(0.999),
        cpu_us: (thread_cpu() - cpu).as_secs_f64() * 1e6 / writes,
    })
}
