//! CPUs kept from resting while clients send requests.
//!
//! A CPU with nothing to do sleeps, and takes its time to wake up: to the end of a device's write, to the interrupt that wakes the client. The kernel
//! lets a process say how long that may take (PM QoS, `/dev/cpu_dma_latency`, Documentation/power/pm_qos_interface.rst): every CPU of the machine then uses
//! only what it gets out of in that time, for as long as the file is open. With 0 it polls.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::limits::AWAKE_NS;

/// Where the kernel takes the request.
pub const DEVICE: &str = "/dev/cpu_dma_latency";
/// As good as no request (the kernel's own default).
const ANY_US: i32 = 2_000_000_000;

/// A shard's request. The kernel takes it back with the end of the process, however that comes.
#[derive(Debug)]
pub struct Awake {
    /// What is asked for while there is work, and where; `None`: nothing.
    request: Option<(i32, File)>,
    /// Until when it holds; `None`: it does not.
    until_ns: Option<u64>,
}

impl Awake {
    /// Asks for at most `latency_us` while there is work, if that is given; nothing is asked for yet. Without leave to ask there is no request, and the
    /// error that says so.
    pub fn new(latency_us: Option<u32>) -> (Awake, io::Result<()>) {
        Awake::at(Path::new(DEVICE), latency_us)
    }

    fn at(path: &Path, latency_us: Option<u32>) -> (Awake, io::Result<()>) {
        let made = latency_us.map(|us| Ok((us.min(ANY_US as u32) as i32, OpenOptions::new().write(true).open(path)?)));
        let (request, result) = match made.transpose() {
            Ok(request) => (request, Ok(())),
            Err(error) => (None, Err(error)),
        };
        (Awake { request, until_ns: None }, result)
    }

    /// There was work: CPUs stay awake for a while from now on.
    pub fn work(&mut self, now_ns: u64) {
        let Some((latency_us, _)) = self.request else { return };
        if self.until_ns.replace(now_ns + AWAKE_NS).is_none() {
            self.ask(latency_us);
        }
    }

    /// When CPUs may rest again unless there is more work.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.until_ns
    }

    /// Lets CPUs rest when it is time.
    pub fn look(&mut self, now_ns: u64) {
        if self.until_ns.is_some_and(|until| now_ns >= until) {
            self.until_ns = None;
            self.ask(ANY_US);
        }
    }

    fn ask(&mut self, latency_us: i32) {
        // The kernel takes any number. Should it not, CPUs rest as they would without.
        if let Some((_, file)) = &mut self.request
            && let Err(error) = file.write_all(&latency_us.to_ne_bytes())
        {
            tracing::debug!("{DEVICE}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_with_the_first_work_and_given_back_a_while_after_the_last() {
        let path = std::env::temp_dir().join(format!("floe-awake-{}", std::process::id()));
        File::create(&path).unwrap();
        let (mut awake, made) = Awake::at(&path, Some(7));
        made.unwrap();
        let asked = || {
            let bytes = std::fs::read(&path).unwrap();
            bytes.chunks(4).map(|four| i32::from_ne_bytes(four.try_into().unwrap())).collect::<Vec<_>>()
        };
        awake.look(u64::MAX);
        assert_eq!((asked(), awake.deadline_ns()), (vec![], None));
        awake.work(10);
        awake.work(20);
        awake.look(10 + AWAKE_NS);
        assert_eq!((asked(), awake.deadline_ns()), (vec![7], Some(20 + AWAKE_NS)));
        awake.look(20 + AWAKE_NS);
        assert_eq!((asked(), awake.deadline_ns()), (vec![7, ANY_US], None));
        awake.work(u64::MAX / 2);
        assert_eq!(asked(), [7, ANY_US, 7]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_leave_or_wish_nothing_is_asked() {
        let (mut awake, made) = Awake::at(Path::new("/nowhere/at/all"), Some(0));
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::NotFound);
        awake.work(1);
        assert_eq!(awake.deadline_ns(), None);
        let (mut awake, made) = Awake::at(Path::new("/nowhere/at/all"), None);
        made.unwrap();
        awake.work(1);
        assert_eq!(awake.deadline_ns(), None);
    }
}
