//! Several producers in one thread that waits for none of them.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::counts::{Counts, Totals};
use super::producer::Producer;

/// How long they may take to end what they have begun.
const END_MAX: Duration = Duration::from_secs(60);

/// All of them.
pub struct Crowd {
    producers: Vec<Producer>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// What happened since it was last begun anew.
    pub counts: Counts,
    /// What happened.
    pub totals: Totals,
}

impl Crowd {
    /// These, on a topic of so many partitions. Nobody begins yet.
    pub fn new(producers: Vec<Producer>, partitions: usize) -> io::Result<Crowd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        for (at, producer) in producers.iter().enumerate() {
            epoll::add(&epoll, producer.socket(), epoll::EventData::new_u64(at as u64), flags)?;
        }
        let events = Vec::with_capacity(64);
        Ok(Crowd { producers, epoll, events, counts: Counts::new(), totals: Totals::new(partitions) })
    }

    /// Works for so long.
    pub fn run(&mut self, span: Duration) -> io::Result<()> {
        let until = Instant::now() + span;
        self.pump_all()?;
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(())
    }

    /// Everybody ends what is begun.
    pub fn finish(&mut self) -> io::Result<()> {
        let until = Instant::now() + END_MAX;
        self.producers.iter_mut().for_each(Producer::stop);
        self.pump_all()?;
        while !self.producers.iter().all(Producer::is_over) {
            if Instant::now() > until {
                return Err(io::Error::other("transactions that were begun do not end"));
            }
            self.turn(until)?;
        }
        Ok(())
    }

    /// Begins to count from nothing.
    pub fn count_anew(&mut self) -> Counts {
        std::mem::replace(&mut self.counts, Counts::new())
    }

    fn pump_all(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.producers.iter_mut().try_for_each(|producer| producer.pump(now))
    }

    /// Waits until something happens or it is `until`, and does what follows from it.
    fn turn(&mut self, until: Instant) -> io::Result<()> {
        let next = self.producers.iter().filter_map(Producer::wake).fold(until, Instant::min);
        let wait = next.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let producer = &mut self.producers[event.data.u64() as usize];
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                producer.writable();
            }
            if flags.intersects(!epoll::EventFlags::OUT) {
                producer.readable(&mut self.counts, &mut self.totals)?;
            }
            producer.pump(Instant::now())?;
        }
        let now = Instant::now();
        for producer in self.producers.iter_mut().filter(|producer| producer.wake().is_some_and(|at| at <= now)) {
            producer.pump(now)?;
        }
        Ok(())
    }
}
