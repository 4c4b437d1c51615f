//! One connection that consumes: fetches its partitions in turn and looks at every record that comes.
//!
//! The next fetch leaves before the records of the last one are checked, so that broker and client work at the same time.

use std::io;
use std::rc::Rc;

use super::meter::Meter;
use super::records::{self, PREPARED, Seen, Stamp};
use super::socket::Socket;
use super::topics::Topics;
use super::wire::{self, FetchBounds};
use crate::outcome::Check;
use crate::workload::Workload;

/// A workload has no more producers.
const PRODUCERS_MAX: usize = 10_000;

/// How far a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What comes, as long as it comes.
    Following,
    /// To the given end of each partition, once.
    Once,
    /// To the given end of each partition, and again from its beginning.
    AgainAndAgain,
}

/// What all consumers of a run share.
pub struct Ledger {
    /// Records read, and their latency from when they were due.
    pub meter: Meter,
    /// What was found wrong.
    pub check: Check,
    /// Records read in all.
    pub total: u64,
    /// Error answers.
    pub errors: u64,
    /// The first error code, or what is wrong with the first damaged batch.
    pub first_error: Option<String>,
}

/// One partition of a consumer.
struct Assigned {
    partition: u32,
    next_offset: i64,
    end_offset: i64,
    /// Records read since offset 0.
    read: u64,
    /// The next sequence of each producer.
    sequences: Vec<u64>,
}

/// One consuming connection.
pub struct Consumer {
    /// Its connection.
    pub socket: Socket,
    topics: Rc<Topics>,
    bounds: FetchBounds,
    reading: Reading,
    /// Every `step`th partition, beginning with its own number.
    assigned: Vec<Assigned>,
    step: u32,
    turn: usize,
    waiting: bool,
    paused: bool,
    correlation: i32,
    unpacked: Vec<u8>,
}

impl Consumer {
    /// Consumer `index`; `ends` are the ends of all partitions, where they matter.
    pub fn new(
        workload: &Workload,
        topics: &Rc<Topics>,
        socket: Socket,
        index: u32,
        reading: Reading,
        ends: &[u64],
    ) -> Consumer {
        let step = workload.consumers;
        let assigned = (index..topics.total()).step_by(step as usize).map(|partition| Assigned {
            partition,
            next_offset: 0,
            end_offset: ends.get(partition as usize).map_or(i64::MAX, |&end| end as i64),
            read: 0,
            sequences: vec![],
        });
        Consumer {
            socket,
            topics: Rc::clone(topics),
            bounds: FetchBounds {
                wait_ms_max: workload.fetch_wait_ms_max,
                bytes_max: workload.fetch_bytes_max,
                partition_bytes_max: workload.fetch_partition_bytes_max,
            },
            reading,
            assigned: assigned.collect(),
            step,
            turn: 0,
            waiting: false,
            paused: true,
            correlation: 0,
            unpacked: Vec::new(),
        }
    }

    /// From now on it fetches, or from now on it does not.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Has it read everything that there is for it?
    pub fn is_done(&self) -> bool {
        self.reading == Reading::Once && self.assigned.iter().all(|of| of.next_offset >= of.end_offset)
    }

    /// Sends a fetch when none is out.
    pub fn pump(&mut self) -> io::Result<()> {
        if self.socket.requests.unsent() > 0 {
            self.socket.requests.flush(&self.socket.stream, &[])?;
        }
        if self.waiting || self.paused || self.socket.requests.unsent() > 0 {
            return Ok(());
        }
        let wanted = |of: &&Assigned| self.reading == Reading::Following || of.next_offset < of.end_offset;
        // A broker fills its answer in the order of the request: each time another partition is first.
        self.turn = (self.turn + 1) % self.assigned.len().max(1);
        let (late, early) = self.assigned.split_at(self.turn);
        let mut order: Vec<&Assigned> = early.iter().chain(late).filter(wanted).collect();
        if order.is_empty() {
            return Ok(());
        }
        // A topic may be named once only: the first one's partitions of before the turn come with it.
        let first_topic = self.topics.topic_of(order[0].partition);
        order.sort_by_key(|of| {
            let topic = self.topics.topic_of(of.partition);
            (topic < first_topic, topic)
        });
        self.correlation = self.correlation.wrapping_add(1);
        let out = &mut self.socket.requests.bytes;
        let begin = wire::begin_request(out, wire::FETCH, wire::FETCH_VERSION, self.correlation);
        wire::fetch_head(out, self.bounds);
        let mut of_topic =
            order.chunk_by(|a, b| self.topics.topic_of(a.partition) == self.topics.topic_of(b.partition));
        out.extend_from_slice(&(of_topic.clone().count() as i32).to_be_bytes());
        for group in &mut of_topic {
            wire::string(out, self.topics.place(group[0].partition).0);
            out.extend_from_slice(&(group.len() as i32).to_be_bytes());
            for of in group {
                wire::fetch_partition(out, self.topics.place(of.partition).1, of.next_offset, self.bounds);
            }
        }
        wire::fetch_tail(out);
        wire::end_request(out, begin, 0);
        self.waiting = true;
        self.socket.requests.flush(&self.socket.stream, &[])?;
        Ok(())
    }

    /// Reads the answer that may have arrived; `clock` tells the time.
    pub fn readable(&mut self, clock: impl Fn() -> u64, ledger: &mut Ledger) -> io::Result<()> {
        // The buffer of answers is taken out so that the next fetch can leave while it is looked at.
        let mut answers = std::mem::take(&mut self.socket.answers);
        let stream = Rc::clone(&self.socket.stream);
        let outcome = answers.read(&stream, |answer| self.answered(answer, &clock, ledger));
        self.socket.answers = answers;
        outcome
    }

    fn answered(&mut self, answer: &[u8], clock: &impl Fn() -> u64, ledger: &mut Ledger) -> io::Result<()> {
        let now_ns = clock();
        let topics = Rc::clone(&self.topics);
        let body = answer.get(4..).unwrap_or_default();
        let unreadable = || io::Error::other("a Fetch answer that cannot be read");
        // First only how far it goes, so that the next fetch can leave.
        let mut fresh = Vec::new();
        let error_of_all = wire::fetch_answer(body, &topics, |fetched| {
            let at = (fetched.partition / self.step) as usize;
            if fetched.error != 0 {
                ledger.errors += 1;
                ledger.first_error.get_or_insert_with(|| format!("Fetch: error {}", fetched.error));
            }
            let Some(of) = self.assigned.get_mut(at).filter(|of| of.partition == fetched.partition) else { return };
            let mut rest = fetched.records;
            while let Some((length, next_offset)) = records::batch_bounds(rest) {
                let (batch, behind) = rest.split_at(length);
                fresh.push((at, of.next_offset, batch));
                rest = behind;
                of.next_offset = of.next_offset.max(next_offset);
            }
        });
        match error_of_all.ok_or_else(unreadable)? {
            0 => {}
            error => return Err(io::Error::other(format!("Fetch: error {error}"))),
        }
        if self.reading == Reading::AgainAndAgain {
            self.assigned.iter_mut().filter(|of| of.next_offset >= of.end_offset).for_each(|of| of.next_offset = 0);
        }
        self.waiting = false;
        self.pump()?;
        let (mut count, mut bytes) = (0, 0);
        for (at, from, batch) in fresh {
            let seen = self.look_at(at, from, batch, now_ns, ledger);
            count += seen.records;
            bytes += seen.bytes;
        }
        ledger.total += count;
        ledger.meter.answered(now_ns, count, bytes, 0);
        Ok(())
    }

    fn look_at(&mut self, at: usize, from: i64, batch: &[u8], now_ns: u64, ledger: &mut Ledger) -> Seen {
        let of = &mut self.assigned[at];
        if from == 0 {
            (of.read, of.sequences) = (0, vec![]);
        }
        let Ledger { meter, check, first_error, .. } = ledger;
        let measured = self.reading == Reading::Following;
        let (sequences, mut whole) = (&mut of.sequences, 0);
        let outcome = records::read_batch(batch, from, &mut self.unpacked, |stamp| match stamp {
            None => check.corrupt += 1,
            Some(stamp) if stamp.producer == PREPARED => whole += 1,
            Some(stamp) => {
                if in_order(sequences, stamp) {
                    whole += 1;
                } else {
                    check.out_of_order += 1;
                }
                if measured {
                    meter.due(stamp.due_ns, now_ns);
                }
            }
        });
        check.read += whole;
        let seen = outcome.unwrap_or_else(|problem| {
            check.corrupt += 1;
            first_error.get_or_insert_with(|| problem.to_owned());
            let next_offset = records::batch_bounds(batch).map_or(from, |(_, next)| next);
            Seen { next_offset, ..Seen::default() }
        });
        of.read += seen.records;
        // Nothing is ever removed from these topics: a pass has as many records as offsets.
        if seen.next_offset >= of.end_offset {
            check.missing += (of.end_offset as u64).saturating_sub(of.read);
        }
        seen
    }
}

/// Is this the next sequence of its producer in this partition, or a later one? Records that were refused leave gaps, which are no disorder.
fn in_order(sequences: &mut Vec<u64>, stamp: Stamp) -> bool {
    let producer = stamp.producer as usize;
    if producer >= PRODUCERS_MAX {
        return false;
    }
    if sequences.len() <= producer {
        sequences.resize(producer + 1, 0);
    }
    let next = &mut sequences[producer];
    let holds = stamp.sequence >= *next;
    *next = (*next).max(stamp.sequence + 1);
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_by_producer() {
        let mut sequences = Vec::new();
        let mut saw = |producer, sequence| in_order(&mut sequences, Stamp { producer, sequence, due_ns: 0 });
        assert_eq!([saw(0, 0), saw(0, 1), saw(2, 0), saw(0, 2)], [true; 4]);
        // Twice, and earlier than the last; after a gap it goes on.
        assert_eq!([saw(0, 2), saw(0, 0), saw(0, 9), saw(0, 3), saw(2, 1)], [false, false, true, false, true]);
        assert!(!saw(PRODUCERS_MAX as u32, 0));
    }
}
