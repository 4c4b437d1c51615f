//! One producer, idempotent or transactional, on a connection of its own that is never waited for: it writes to its partitions in turn, with at most one
//! batch without an answer for each of them, and ends its transaction when that is due, begins the next one at once.
//!
//! Whatever else than success it is told is an error of the run, but for CONCURRENT_TRANSACTIONS: then the markers of the transaction before are
//! still being written, and it asks again after [`AGAIN`]. The time that takes counts.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use floe_wire::errors::ErrorCode;
use floe_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use floe_wire::messages::produce::ProduceResponse;

use super::counts::{Counts, Totals};
use super::wire::{self, Batch, Identity, PRODUCE};
use crate::asking;
use crate::generator::socket::Socket;

/// EndTxn: with the epoch that rises at each end.
const END_TXN: (i16, i16) = (26, 5);
/// How long after CONCURRENT_TRANSACTIONS it is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// When a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// There are none.
    Never,
    /// After one request.
    AtOnce,
    /// So long after its first request was sent.
    After(Duration),
}

/// How a producer works.
#[derive(Clone)]
pub struct Manner {
    /// To which topic.
    pub topic: Rc<str>,
    /// What, every time.
    pub batch: Rc<Batch>,
    /// Partitions that one request writes to.
    pub partitions_a_request: usize,
    /// Requests without an answer.
    pub in_flight_max: usize,
    /// See there.
    pub ends: Ends,
}

/// The producer.
pub struct Producer {
    manner: Manner,
    socket: Socket,
    id: Option<String>,
    identity: Identity,
    slots: Vec<Slot>,
    next_slot: usize,
    correlation: i32,
    asked: VecDeque<Asked>,
    /// Slots that were told to come again.
    again: Vec<usize>,
    end_again: bool,
    not_before: Option<Instant>,
    /// Of the transaction: when its first request was sent.
    began: Option<Instant>,
    end_asked: Option<Instant>,
    ending: bool,
    stopping: bool,
    body_unsent: usize,
    /// The kernel takes no more for now.
    blocked: bool,
}

/// A partition.
struct Slot {
    partition: i32,
    /// Sequence of the next batch.
    sequence: i32,
    /// Written to in this transaction.
    touched: bool,
    /// Its batch has not been taken yet.
    busy: bool,
}

struct Asked {
    correlation: i32,
    what: What,
}

enum What {
    Produce(Vec<usize>),
    End,
}

impl Producer {
    /// Connects; `id` is the transactional one, `identity` what InitProducerId gave.
    pub fn new(
        address: SocketAddr,
        manner: Manner,
        id: Option<String>,
        identity: Identity,
        partitions: Vec<i32>,
    ) -> io::Result<Producer> {
        let slots =
            partitions.into_iter().map(|partition| Slot { partition, sequence: 0, touched: false, busy: false });
        Ok(Producer {
            manner,
            socket: Socket::connect(address)?,
            id,
            identity,
            slots: slots.collect(),
            next_slot: 0,
            correlation: 0,
            asked: VecDeque::new(),
            again: Vec::new(),
            end_again: false,
            not_before: None,
            began: None,
            end_asked: None,
            ending: false,
            stopping: false,
            body_unsent: 0,
            blocked: false,
        })
    }

    /// Its connection, to be watched.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// It begins nothing any more, and ends what it has begun.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.ending |= self.began.is_some();
    }

    /// Whether everything it began is over.
    pub fn is_over(&self) -> bool {
        self.stopping && self.began.is_none() && self.asked.is_empty() && self.again.is_empty()
    }

    /// When [`Producer::pump`] has something to do, if no answer comes before.
    pub fn wake(&self) -> Option<Instant> {
        self.not_before
    }

    /// The kernel takes more.
    pub fn writable(&mut self) {
        self.blocked = false;
    }

    /// Sends what can be sent.
    pub fn pump(&mut self, now: Instant) -> io::Result<()> {
        while !self.blocked {
            let more = self.body_unsent == 0 && self.ask(now);
            if self.body_unsent == 0 && self.socket.requests.unsent() == 0 {
                return Ok(());
            }
            let body = self.manner.batch.body();
            let body = &body[body.len() - self.body_unsent..];
            self.body_unsent = self.socket.requests.flush(&self.socket.stream, body)?;
            self.blocked = self.body_unsent > 0 || self.socket.requests.unsent() > 0;
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Puts the next request together, if there is one to be sent.
    fn ask(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|at| now < at) || self.end_asked.is_some() && !self.end_again {
            return false;
        }
        self.not_before = None;
        if !self.again.is_empty() {
            let slots = std::mem::take(&mut self.again);
            self.produce(slots);
            return true;
        }
        if let (Ends::After(interval), Some(began)) = (self.manner.ends, self.began)
            && now.duration_since(began) >= interval
        {
            self.ending = true;
        }
        if self.ending {
            let drained = self.asked.is_empty();
            if drained {
                self.end(now);
            }
            return drained;
        }
        if self.stopping || self.asked.len() >= self.manner.in_flight_max {
            return false;
        }
        let count = self.manner.partitions_a_request;
        let slots: Vec<usize> = (0..count).map(|at| (self.next_slot + at) % self.slots.len()).collect();
        if slots.iter().any(|at| self.slots[*at].busy) {
            return false;
        }
        self.next_slot = (self.next_slot + count) % self.slots.len();
        if self.manner.ends != Ends::Never {
            self.began.get_or_insert(now);
            self.ending = self.manner.ends == Ends::AtOnce;
        }
        self.produce(slots);
        true
    }

    fn produce(&mut self, slots: Vec<usize>) {
        self.correlation += 1;
        let place = |at: &usize| {
            let slot = &mut self.slots[*at];
            slot.busy = true;
            (slot.partition, slot.sequence)
        };
        let partitions: Vec<(i32, i32)> = slots.iter().map(place).collect();
        let Manner { topic, batch, .. } = &self.manner;
        let out = &mut self.socket.requests.bytes;
        let what = (&**batch, self.identity);
        self.body_unsent = wire::produce(out, self.correlation, self.id.as_deref(), topic, what, &partitions);
        self.asked.push_back(Asked { correlation: self.correlation, what: What::Produce(slots) });
    }

    fn end(&mut self, now: Instant) {
        self.correlation += 1;
        let request = EndTxnRequest {
            transactional_id: self.id.as_deref().expect("only transactions end").into(),
            producer_id: self.identity.0,
            producer_epoch: self.identity.1,
            committed: true,
        };
        let bytes = asking::frame(END_TXN, self.correlation, &request);
        self.socket.requests.bytes.extend_from_slice(&bytes);
        self.asked.push_back(Asked { correlation: self.correlation, what: What::End });
        self.end_asked.get_or_insert(now);
        self.end_again = false;
    }

    /// Takes the answers that have come.
    pub fn readable(&mut self, counts: &mut Counts, totals: &mut Totals) -> io::Result<()> {
        let stream = Rc::clone(&self.socket.stream);
        let mut answers = std::mem::take(&mut self.socket.answers);
        let read = answers.read(&stream, |bytes| self.answered(Instant::now(), bytes, counts, totals));
        self.socket.answers = answers;
        read
    }

    fn answered(&mut self, now: Instant, bytes: &[u8], counts: &mut Counts, totals: &mut Totals) -> io::Result<()> {
        let asked = self.asked.pop_front().ok_or_else(|| io::Error::other("an answer to nothing"))?;
        match asked.what {
            What::Produce(slots) => {
                let answer: ProduceResponse<'_> = asking::answer(PRODUCE, asked.correlation, bytes)?;
                let parts = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
                let parts: Vec<(i32, i16)> = parts.map(|part| (part.index, part.error_code)).collect();
                self.produced(now, &slots, &parts, counts, totals)
            }
            What::End => {
                let answer: EndTxnResponse = asking::answer(END_TXN, asked.correlation, bytes)?;
                self.ended(now, &answer, counts, totals)
            }
        }
    }

    fn produced(
        &mut self,
        now: Instant,
        slots: &[usize],
        parts: &[(i32, i16)],
        counts: &mut Counts,
        totals: &mut Totals,
    ) -> io::Result<()> {
        if parts.len() != slots.len() {
            return Err(io::Error::other(format!("{} partitions are answered of {}", parts.len(), slots.len())));
        }
        for &at in slots {
            let slot = &mut self.slots[at];
            let part = parts.iter().find(|(partition, _)| *partition == slot.partition);
            let (_, code) = part.ok_or_else(|| io::Error::other("an answer about another partition"))?;
            match *code {
                0 => {
                    slot.sequence += self.manner.batch.records;
                    (slot.touched, slot.busy) = (true, false);
                    totals.records[slot.partition as usize] += self.manner.batch.records as u64;
                    counts.bytes += self.manner.batch.value_bytes;
                }
                code if code == ErrorCode::CONCURRENT_TRANSACTIONS.code() => self.again.push(at),
                code => return Err(refused("Produce", code)),
            }
        }
        if !self.again.is_empty() {
            counts.concurrent += 1;
            self.not_before = Some(now + AGAIN);
        } else if let (Ends::AtOnce, Some(began)) = (self.manner.ends, self.began) {
            counts.produce_us.saturating_record(now.duration_since(began).as_micros() as u64);
        }
        Ok(())
    }

    fn ended(
        &mut self,
        now: Instant,
        answer: &EndTxnResponse,
        counts: &mut Counts,
        totals: &mut Totals,
    ) -> io::Result<()> {
        match answer.error_code {
            0 => {}
            code if code == ErrorCode::CONCURRENT_TRANSACTIONS.code() => {
                counts.concurrent += 1;
                (self.end_again, self.not_before) = (true, Some(now + AGAIN));
                return Ok(());
            }
            code => return Err(refused("EndTxn", code)),
        }
        let identity = (answer.producer_id, answer.producer_epoch);
        if identity == self.identity {
            return Err(io::Error::other("EndTxn 5 gave no new epoch: transaction version 2 is off at this broker"));
        }
        self.identity = identity;
        let asked = self.end_asked.take().expect("it was asked");
        let began = self.began.take().expect("it had begun");
        counts.commit_us.saturating_record(now.duration_since(asked).as_micros() as u64);
        counts.whole_us.saturating_record(now.duration_since(began).as_micros() as u64);
        counts.transactions += 1;
        totals.transactions += 1;
        self.ending = false;
        for slot in &mut self.slots {
            // A new epoch begins with sequence 0 everywhere.
            slot.sequence = 0;
            totals.markers[slot.partition as usize] += u64::from(std::mem::take(&mut slot.touched));
        }
        Ok(())
    }
}

fn refused(what: &str, code: i16) -> io::Error {
    let name = ErrorCode::from_code(code).map_or("unknown", |error| error.name());
    io::Error::other(format!("{what}: error {code} ({name})"))
}
