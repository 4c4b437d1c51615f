//! One connection that produces: decides which records leave now, lays their batches out, and accounts for the answers.
//!
//! With a rate a record is due at its time and leaves in the next batch; while the window of unanswered requests is full it stays due, as a number, and
//! costs no memory. Without a rate every batch is full and the window is kept full.
//!
//! Large batches are sent from the template's own memory (nothing is copied but by the kernel), so that the next one is laid out when the kernel
//! has taken the last; small requests are gathered and sent together.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::meter::Meter;
use super::queue::{Batches, Ready};
use super::records::{PREPARED, Stamp, Template};
use super::schedule::{Chooser, Schedule};
use super::socket::Socket;
use super::topics::Topics;
use super::wire;
use crate::outcome;
use crate::workload::{Codec, Workload};

/// Batches above this are sent from the template's memory.
const IN_PLACE_BYTES_MIN: usize = 32 << 10;
/// Requests are gathered up to this before the kernel gets them.
const GATHER_BYTES_MAX: usize = 128 << 10;

/// What all producers of a run share.
pub struct Account {
    /// Records acknowledged, by partition.
    pub acknowledged: Vec<u64>,
    /// Acknowledgements and their latency.
    pub meter: Meter,
    /// How late due requests were handed to the kernel, in nanoseconds.
    pub send_delay: hdrhistogram::Histogram<u64>,
    /// Error answers, and the first code seen.
    pub errors: u64,
    /// The first error code.
    pub first_error: Option<i16>,
    /// Records acknowledged in all.
    pub total: u64,
}

impl Account {
    /// Nothing yet.
    pub fn new(partitions: u32, meter: Meter) -> Account {
        let acknowledged = vec![0; partitions as usize];
        Account { acknowledged, meter, send_delay: outcome::histogram(), errors: 0, first_error: None, total: 0 }
    }
}

/// A request without its answer.
struct Sent {
    at_ns: u64,
    batches: Vec<Ready>,
}

/// One producing connection.
pub struct Producer {
    /// Its connection.
    pub socket: Socket,
    index: u32,
    topics: Rc<Topics>,
    acks: i16,
    in_flight_max: usize,
    batches_per_request_max: usize,
    record_bytes: u64,
    template: Template,
    in_place: bool,
    body_unsent: usize,
    body_bytes: usize,
    batches: Batches,
    sequences: Vec<u64>,
    in_flight: VecDeque<Sent>,
    correlation: i32,
    blocked: bool,
}

impl Producer {
    /// Producer `index` of the workload, which may send at once and without end.
    pub fn new(workload: &Workload, topics: &Rc<Topics>, socket: Socket, index: u32) -> Producer {
        let chooser = Chooser::new(workload, index);
        let mut template = Template::new(workload, chooser.has_keys(), u64::from(index) + 1);
        if workload.codec != Codec::None && workload.rate.is_none() {
            template.prepare(u64::from(index) + 1);
        }
        let in_place = workload.codec == Codec::None
            && workload.batches_per_request_max == 1
            && template.bytes_max() >= IN_PLACE_BYTES_MIN;
        let linger_ns = (workload.linger_ms * 1e6) as u64;
        let batches = Batches::new(chooser, linger_ns, &template);
        Producer {
            socket,
            index,
            topics: Rc::clone(topics),
            acks: workload.acks,
            in_flight_max: workload.in_flight_max as usize,
            batches_per_request_max: workload.batches_per_request_max as usize,
            record_bytes: workload.record_bytes as u64,
            template,
            in_place,
            body_unsent: 0,
            body_bytes: 0,
            batches,
            sequences: vec![0; topics.total() as usize],
            in_flight: VecDeque::new(),
            correlation: 0,
            blocked: false,
        }
    }

    /// The same producer, whose records are due at their times; none: at once.
    pub fn scheduled(mut self, schedule: Option<Schedule>) -> Producer {
        self.batches.schedule(schedule);
        self
    }

    /// The same producer, which ends after so many records.
    pub fn limited(mut self, records_max: u64) -> Producer {
        self.batches.limit(records_max);
        self
    }

    /// No further records than those which are due at `now_ns`.
    pub fn end_at(&mut self, now_ns: u64) {
        self.batches.end_at(now_ns);
    }

    /// Has it nothing more to send, and every answer?
    pub fn is_done(&self) -> bool {
        let sent = self.body_unsent == 0 && self.socket.requests.unsent() == 0;
        sent && self.batches.is_over() && self.in_flight.is_empty()
    }

    /// Gives up: what is due and was not answered counts as late as it is by now. Tells how many records those are.
    pub fn give_up(&mut self, now_ns: u64, account: &mut Account) -> u64 {
        let mut count = 0;
        let mut late = |due_ns| {
            count += 1;
            account.meter.due(due_ns, now_ns);
        };
        for sent in self.in_flight.drain(..) {
            for batch in &sent.batches {
                (0..batch.records()).for_each(|at| late(batch.record(at, sent.at_ns).0));
            }
        }
        self.batches.unmade(now_ns, late);
        count
    }

    /// The kernel takes requests again.
    pub fn writable(&mut self) {
        self.blocked = false;
    }

    /// When [`Producer::pump`] has something to do next, if no answer comes before.
    pub fn wake_ns(&self) -> Option<u64> {
        let can = !self.blocked && self.in_flight.len() < self.in_flight_max;
        if can { self.batches.wake_ns() } else { None }
    }

    /// Sends what is to leave at `now_ns`.
    pub fn pump(&mut self, now_ns: u64, account: &mut Account) -> io::Result<()> {
        while !self.blocked {
            let mut made = false;
            while self.body_unsent == 0
                && self.in_flight.len() < self.in_flight_max
                && self.socket.requests.unsent() < GATHER_BYTES_MAX
                && self.make_request(now_ns, account)
            {
                made = true;
            }
            if self.body_unsent == 0 && self.socket.requests.unsent() == 0 {
                return Ok(());
            }
            let body = &self.template.in_place()[self.body_bytes - self.body_unsent..self.body_bytes];
            self.body_unsent = self.socket.requests.flush(&self.socket.stream, body)?;
            self.blocked = self.body_unsent > 0 || self.socket.requests.unsent() > 0;
            if !made {
                return Ok(());
            }
        }
        Ok(())
    }

    fn make_request(&mut self, now_ns: u64, account: &mut Account) -> bool {
        let Some(first) = self.batches.next(now_ns) else { return false };
        let mut batches = vec![first];
        while batches.len() < self.batches_per_request_max {
            let Some(next) = self.batches.next(now_ns) else { break };
            // A partition may be in a request only once.
            if batches.iter().any(|batch| batch.partition == next.partition) {
                self.batches.put_back(next);
                break;
            }
            batches.push(next);
        }
        batches.sort_unstable_by_key(|batch| batch.partition);
        if let Some(due_ns) = batches.iter().filter_map(Ready::first_due_ns).min()
            && account.meter.counts(due_ns)
        {
            account.send_delay.record(now_ns.saturating_sub(due_ns)).expect("the histogram grows");
        }
        self.encode(now_ns, &batches);
        if self.acks == 0 {
            let records: u64 = batches.iter().map(|batch| batch.records() as u64).sum();
            batches.iter().for_each(|batch| account.acknowledged[batch.partition as usize] += batch.records() as u64);
            account.total += records;
            account.meter.answered(now_ns, records, records * self.record_bytes, 0);
        } else {
            self.in_flight.push_back(Sent { at_ns: now_ns, batches });
        }
        true
    }

    fn encode(&mut self, now_ns: u64, batches: &[Ready]) {
        self.correlation = self.correlation.wrapping_add(1);
        let out = &mut self.socket.requests.bytes;
        let begin = wire::begin_request(out, wire::PRODUCE, wire::PRODUCE_VERSION, self.correlation);
        wire::produce_head(out, self.acks);
        let mut of_topic =
            batches.chunk_by(|a, b| self.topics.topic_of(a.partition) == self.topics.topic_of(b.partition));
        out.extend_from_slice(&(of_topic.clone().count() as i32).to_be_bytes());
        let mut body_bytes = 0;
        for group in &mut of_topic {
            wire::string(out, self.topics.place(group[0].partition).0);
            out.extend_from_slice(&(group.len() as i32).to_be_bytes());
            for batch in group {
                out.extend_from_slice(&self.topics.place(batch.partition).1.to_be_bytes());
                let size_at = out.len();
                out.extend_from_slice(&[0; 4]);
                let now_ms = now_ns / 1_000_000;
                if self.template.is_prepared() {
                    self.template.append_prepared(now_ms, out);
                } else {
                    let sequence = &mut self.sequences[batch.partition as usize];
                    for at in 0..batch.records() {
                        let (due_ns, key) = batch.record(at, now_ns);
                        let stamp = Stamp { producer: self.index, sequence: *sequence, due_ns };
                        self.template.stamp(at, stamp, key);
                        *sequence += 1;
                    }
                    if self.in_place {
                        body_bytes = self.template.finish_in_place(batch.records(), now_ms);
                    } else {
                        self.template.append(batch.records(), now_ms, out);
                    }
                }
                let size = (out.len() - size_at - 4 + body_bytes) as i32;
                out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
            }
        }
        debug_assert!(self.index != PREPARED);
        wire::end_request(out, begin, body_bytes);
        (self.body_bytes, self.body_unsent) = (body_bytes, body_bytes);
    }

    /// Reads the answers that have arrived; `clock` tells the time of each.
    pub fn readable(&mut self, clock: impl Fn() -> u64, account: &mut Account) -> io::Result<()> {
        let Producer { socket, in_flight, topics, record_bytes, .. } = self;
        socket.answers.read(&socket.stream, |answer| {
            let now_ns = clock();
            let sent = in_flight.pop_front().ok_or_else(|| io::Error::other("an answer without a request"))?;
            let (mut records, mut errors, mut at) = (0, 0, 0);
            let body = answer.get(4..).unwrap_or_default();
            let read = wire::produce_answer(body, topics, |partition, error| {
                // Brokers answer in the order of the request; where not, it is looked for.
                if sent.batches.get(at).is_none_or(|batch| batch.partition != partition) {
                    at = sent.batches.iter().position(|batch| batch.partition == partition).unwrap_or(usize::MAX);
                }
                let Some(batch) = sent.batches.get(at) else { return };
                at += 1;
                if error != 0 {
                    errors += 1;
                    account.first_error.get_or_insert(error);
                    return;
                }
                records += batch.records() as u64;
                account.acknowledged[partition as usize] += batch.records() as u64;
                match batch.first_due_ns() {
                    None => account.meter.due_many(sent.at_ns, now_ns, batch.records() as u64),
                    Some(_) => (0..batch.records()).for_each(|at| account.meter.due(batch.record(at, 0).0, now_ns)),
                }
            });
            read.ok_or_else(|| io::Error::other("a Produce answer that cannot be read"))?;
            account.total += records;
            account.errors += errors;
            account.meter.answered(now_ns, records, records * *record_bytes, errors);
            Ok(())
        })
    }
}
