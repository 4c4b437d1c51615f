//! What the kernel counts about this process and its shards' threads: memory and CPU time, read from /proc when asked, which costs the
//! shards nothing.

use std::collections::BTreeMap;
use std::fs;

/// What shards' threads are called, before the shard's number.
const SHARD_THREAD: &str = "floe-shard-";

/// How a thread has spent its time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThreadNumbers {
    /// It had a CPU.
    pub ran_seconds: f64,
    /// It could have run, and something else had its CPU.
    pub waited_seconds: f64,
}

/// The numbers of one moment; 0 where /proc does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessNumbers {
    /// Memory in use.
    pub resident_bytes: u64,
    /// CPU time in user space, in seconds.
    pub user_seconds: f64,
    /// CPU time in the kernel, in seconds.
    pub system_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// By shard.
    pub shards: BTreeMap<usize, ThreadNumbers>,
}

/// Reads them now.
pub fn read() -> ProcessNumbers {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut numbers =
        parse(&stat, &statm, rustix::param::page_size() as u64, rustix::param::clock_ticks_per_second() as f64);
    numbers.shards = shards();
    numbers.open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    numbers
}

fn shards() -> BTreeMap<usize, ThreadNumbers> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let shard = name.trim_end().strip_prefix(SHARD_THREAD)?.parse().ok()?;
            let numbers = schedstat(&fs::read_to_string(task.path().join("schedstat")).ok()?)?;
            Some((shard, numbers))
        })
        .collect()
}

/// Nanoseconds on a CPU, nanoseconds waited for one, times it got one.
fn schedstat(text: &str) -> Option<ThreadNumbers> {
    let mut numbers = text.split_whitespace().map_while(|word| word.parse::<u64>().ok());
    let (ran, waited) = (numbers.next()?, numbers.next()?);
    Some(ThreadNumbers { ran_seconds: ran as f64 / 1e9, waited_seconds: waited as f64 / 1e9 })
}

fn parse(stat: &str, statm: &str, page_bytes: u64, ticks_per_second: f64) -> ProcessNumbers {
    // The second field is the name in brackets and may hold blanks and brackets itself; what follows the last one is plain.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |index: usize| -> u64 {
        after_name.split_whitespace().nth(index).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let resident_pages: u64 = statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    ProcessNumbers {
        resident_bytes: resident_pages * page_bytes,
        user_seconds: field(11) as f64 / ticks_per_second,
        system_seconds: field(12) as f64 / ticks_per_second,
        threads: field(17),
        open_files: 0,
        shards: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 250 13 14 15 16 7 18 19";
        let numbers = parse(stat, "100 20 3 4 5 6 7", 4096, 100.0);
        assert_eq!(numbers.resident_bytes, 20 * 4096);
        assert_eq!((numbers.user_seconds, numbers.system_seconds, numbers.threads), (1.5, 2.5, 7));
        let thread = ThreadNumbers { ran_seconds: 1.5, waited_seconds: 0.25 };
        assert_eq!(schedstat("1500000000 250000000 12\n"), Some(thread));
        assert_eq!(schedstat(""), None);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let name = format!("{SHARD_THREAD}7");
        let shard = std::thread::Builder::new().name(name).spawn(move || stopped.recv()).unwrap();
        // The name is the thread's own first deed.
        while !read().shards.contains_key(&7) {
            std::thread::yield_now();
        }
        drop(stop);
        assert!(shard.join().unwrap().is_err());
        let now = read();
        assert!(now.resident_bytes > 0 && now.threads > 0 && now.open_files > 0, "{now:?}");
    }
}
