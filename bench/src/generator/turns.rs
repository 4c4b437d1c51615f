//! The load's one thread: waits for sockets and for the schedule, and lets producers and consumers work.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::consumer::{Consumer, Ledger};
use super::producer::{Account, Producer};
use super::progress::Gauge;

/// Nanoseconds since 1970 that never go back: set by the wall clock once, then driven by the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_ns: u64,
}

impl Clock {
    /// A clock that agrees with the wall clock now.
    pub fn new() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { origin: Instant::now(), origin_ns: since.as_nanos() as u64 }
    }

    /// Now.
    pub fn now_ns(&self) -> u64 {
        self.origin_ns + self.origin.elapsed().as_nanos() as u64
    }
}

/// Everything that one thread drives.
pub struct Turns<'a> {
    epoll: OwnedFd,
    clock: Clock,
    gauge: &'a Gauge,
    record_bytes: u64,
    /// Numbered from 0 in the kernel's events.
    pub producers: Vec<Producer>,
    /// Numbered behind the producers.
    pub consumers: Vec<Consumer>,
    /// Of the producers.
    pub account: Account,
    /// Of the consumers.
    pub ledger: Ledger,
    wakes: BinaryHeap<Reverse<(u64, usize)>>,
    /// Of each producer, the wake that counts; others in the heap are passed over.
    wake_of: Vec<u64>,
    events: Vec<epoll::Event>,
    produced_before: u64,
    consumed_before: u64,
}

impl<'a> Turns<'a> {
    /// Registers all connections.
    pub fn new(
        clock: Clock,
        gauge: &'a Gauge,
        record_bytes: usize,
        producers: Vec<Producer>,
        consumers: Vec<Consumer>,
        account: Account,
        ledger: Ledger,
    ) -> io::Result<Turns<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let sockets = producers.iter().map(|of| &of.socket).chain(consumers.iter().map(|of| &of.socket));
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        for (at, socket) in sockets.enumerate() {
            epoll::add(&epoll, socket, epoll::EventData::new_u64(at as u64), flags)?;
        }
        let wake_of = vec![u64::MAX; producers.len()];
        Ok(Turns {
            epoll,
            clock,
            gauge,
            record_bytes: record_bytes as u64,
            produced_before: gauge.produced_bytes.load(Ordering::Relaxed),
            consumed_before: gauge.consumed_bytes.load(Ordering::Relaxed),
            producers,
            consumers,
            account,
            ledger,
            wakes: BinaryHeap::new(),
            wake_of,
            events: Vec::with_capacity(512),
        })
    }

    /// Lets everybody begin, or see that something was changed.
    pub fn pump_all(&mut self) -> Result<(), String> {
        for at in 0..self.producers.len() {
            self.pump(at)?;
        }
        for (at, consumer) in self.consumers.iter_mut().enumerate() {
            consumer.pump().map_err(|error| format!("consumer {at}: {error}"))?;
        }
        Ok(())
    }

    /// Works until `until_ns`, or until `over` holds after a turn; tells whether it did.
    pub fn work(&mut self, until_ns: u64, over: impl Fn(&Turns) -> bool) -> Result<bool, String> {
        loop {
            let now_ns = self.clock.now_ns();
            if over(self) {
                return Ok(true);
            }
            if now_ns >= until_ns {
                return Ok(false);
            }
            self.turn(now_ns, until_ns)?;
        }
    }

    fn turn(&mut self, now_ns: u64, until_ns: u64) -> Result<(), String> {
        while let Some(&Reverse((wake_ns, at))) = self.wakes.peek()
            && wake_ns <= now_ns
        {
            self.wakes.pop();
            if self.wake_of[at] == wake_ns {
                self.wake_of[at] = u64::MAX;
                self.pump(at)?;
            }
        }
        let next_ns = self.wakes.peek().map_or(until_ns, |Reverse((wake_ns, _))| until_ns.min(*wake_ns));
        // The time spent pumping counts: what is due meanwhile is not slept over.
        let wait_ns = next_ns.saturating_sub(self.clock.now_ns());
        let timeout = Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as i64 };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("epoll: {error}")),
        }
        let clock = self.clock;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let at = event.data.u64() as usize;
            let flags = event.flags;
            let readable = flags.intersects(!epoll::EventFlags::OUT);
            if let Some(producer) = self.producers.get_mut(at) {
                if flags.contains(epoll::EventFlags::OUT) {
                    producer.writable();
                }
                if readable {
                    let read = producer.readable(|| clock.now_ns(), &mut self.account);
                    read.map_err(|error| format!("producer {at}: {error}"))?;
                }
                self.pump(at)?;
            } else if let Some(consumer) = self.consumers.get_mut(at - self.producers.len()) {
                let mut outcome = Ok(());
                if readable {
                    outcome = consumer.readable(|| clock.now_ns(), &mut self.ledger);
                }
                outcome
                    .and_then(|()| consumer.pump())
                    .map_err(|error| format!("consumer {}: {error}", at - self.producers.len()))?;
            }
        }
        self.events = events;
        let (produced, consumed) = (self.account.total, self.ledger.total);
        self.gauge.produced_bytes.store(self.produced_before + produced * self.record_bytes, Ordering::Relaxed);
        self.gauge.consumed_bytes.store(self.consumed_before + consumed * self.record_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn pump(&mut self, at: usize) -> Result<(), String> {
        let producer = &mut self.producers[at];
        producer.pump(self.clock.now_ns(), &mut self.account).map_err(|error| format!("producer {at}: {error}"))?;
        if let Some(wake_ns) = producer.wake_ns()
            && wake_ns != self.wake_of[at]
        {
            self.wake_of[at] = wake_ns;
            self.wakes.push(Reverse((wake_ns, at)));
        }
        Ok(())
    }
}
