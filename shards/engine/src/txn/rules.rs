//! What a transactional id answers and what becomes of it: Kafka's rules, without storage and time of their own. A [`Txn`] goes in, a changed one comes out,
//! to be written down; the caller applies it when that is done.
//!
//! A client's transaction version shows in what it asks: those of version 2 (KIP-890) get another epoch with every end, so a request with the epoch of an
//! ended transaction can only be its end asked again. An abort by the coordinator raises the epoch for every client: whoever had it is fenced.

use super::api::{Adding, Producer};
use super::records::{State, Txn};
use crate::group::Name;
use crate::requests::codes;

/// What somebody who asked is told: nothing changes, or this is to be written first.
#[derive(Debug)]
pub enum Outcome<T> {
    /// Kafka's error code.
    Refused(i16),
    /// It is so already.
    Done(T),
    /// Write this, then it is so.
    Changes(Box<Txn>, T),
    /// An end is under way; ask again when it is over.
    Wait,
}

/// No client is given the last epoch, so that whoever has an id can always be fenced.
pub fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

/// A transactional id that was never heard of: InitProducerId makes its first epoch of this.
pub fn unborn(id: i64) -> Txn {
    Txn {
        producer: Producer { id, epoch: -1 },
        previous_id: -1,
        next_id: -1,
        timeout_ms: 0,
        state: State::Empty,
        topics: Vec::new(),
        updated_ms: 0,
        start_ms: -1,
        version: 0,
        last_epoch: -1,
    }
}

impl Txn {
    /// InitProducerId. An open transaction is aborted first: the client is told CONCURRENT_TRANSACTIONS and comes again.
    pub fn init(&self, now_ms: i64, timeout_ms: i32, known: Option<Producer>, fresh: i64) -> Outcome<Producer> {
        if known.is_some_and(|known| !self.may_be(known)) {
            return Outcome::Refused(codes::PRODUCER_FENCED);
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort => return Outcome::Refused(codes::CONCURRENT_TRANSACTIONS),
            State::Ongoing => return Outcome::Changes(Box::new(self.fence(now_ms)), self.producer),
            _ => {}
        }
        let (producer, last_epoch) = match known {
            _ if is_exhausted(self.producer.epoch) && known.is_none_or(|known| known.epoch == self.producer.epoch) => {
                let last_epoch = if known.is_some() { self.producer.epoch } else { -1 };
                (Producer { id: fresh, epoch: 0 }, last_epoch)
            }
            None => (self.raised(), -1),
            Some(known) if self.producer.epoch == -1 || known.epoch == self.producer.epoch => {
                (self.raised(), self.producer.epoch)
            }
            // It was told that before and has not heard it. Nobody came between: that would have made the last epoch -1.
            Some(known) if known.epoch == self.last_epoch => (self.producer, self.last_epoch),
            Some(_) => return Outcome::Refused(codes::PRODUCER_FENCED),
        };
        let changed = Txn {
            producer,
            previous_id: self.producer.id,
            next_id: -1,
            timeout_ms,
            state: State::Empty,
            topics: Vec::new(),
            updated_ms: now_ms,
            start_ms: -1,
            version: self.version,
            last_epoch,
        };
        Outcome::Changes(Box::new(changed), producer)
    }

    /// Whether somebody may believe to be this producer (KIP-360): the epoch is looked at later.
    fn may_be(&self, known: Producer) -> bool {
        // No epoch: it was made a moment ago, for a producer whose id is not known any more.
        self.producer.epoch == -1
            || known.id == self.producer.id
            || (known.id == self.previous_id && is_exhausted(known.epoch))
    }

    fn raised(&self) -> Producer {
        Producer { epoch: self.producer.epoch.saturating_add(1), ..self.producer }
    }

    /// Partitions join the transaction, or are only asked for ([`Txn::verify`]).
    pub fn add_partitions(
        &self,
        now_ms: i64,
        producer: Producer,
        topics: &[(Name, Vec<i32>)],
        adding: Adding,
    ) -> Outcome<()> {
        // The client was told its next id when the end was decided, so it may use it before that is over.
        let next = self.state.is_ending() && self.next_id >= 0 && producer == Producer { id: self.next_id, epoch: 0 };
        if producer.id != self.producer.id && !next {
            return Outcome::Refused(codes::INVALID_PRODUCER_ID_MAPPING);
        }
        // The last epoch is the coordinator's own: whoever claims it was never given it.
        if (producer.epoch != self.producer.epoch && !next) || producer.epoch == i16::MAX {
            return Outcome::Refused(codes::PRODUCER_FENCED);
        }
        if self.state.is_ending() {
            return Outcome::Wait;
        }
        let begins = self.state != State::Ongoing;
        let mut changed =
            if begins { Txn { topics: Vec::new(), start_ms: now_ms, ..self.clone() } } else { self.clone() };
        changed.add(topics);
        if !begins && changed.topics == self.topics {
            return Outcome::Done(());
        }
        changed.state = State::Ongoing;
        changed.previous_id = self.producer.id;
        changed.updated_ms = now_ms;
        changed.version = if adding == Adding::Implicit { 2 } else { 0 };
        Outcome::Changes(Box::new(changed), ())
    }

    /// Are these partitions in the open transaction of this producer?
    pub fn verify(&self, producer: Producer, topics: &[(Name, Vec<i32>)]) -> Result<Vec<Vec<i16>>, i16> {
        if producer.id != self.producer.id {
            return Err(codes::INVALID_PRODUCER_ID_MAPPING);
        }
        if producer.epoch != self.producer.epoch {
            return Err(codes::PRODUCER_FENCED);
        }
        if self.state.is_ending() {
            return Err(codes::CONCURRENT_TRANSACTIONS);
        }
        let open = self.state == State::Ongoing;
        let code = |topic: &Name, partition: i32| {
            if open && self.has(topic, partition) { codes::NONE } else { codes::TRANSACTION_ABORTABLE }
        };
        Ok(topics.iter().map(|(topic, partitions)| partitions.iter().map(|p| code(topic, *p)).collect()).collect())
    }

    /// EndTxn of clients before version 2: the epoch stays, so the same end again is only known by the state.
    pub fn end(&self, now_ms: i64, producer: Producer, committed: bool) -> Outcome<Producer> {
        if producer.id != self.producer.id {
            return Outcome::Refused(codes::INVALID_PRODUCER_ID_MAPPING);
        }
        if producer.epoch != self.producer.epoch {
            return Outcome::Refused(codes::PRODUCER_FENCED);
        }
        match (self.state, committed) {
            (State::Ongoing, _) => {
                let ended = Txn { version: 0, ..self.ended(now_ms, committed, self.producer) };
                Outcome::Changes(Box::new(ended), self.producer)
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Outcome::Done(self.producer),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Outcome::Refused(codes::CONCURRENT_TRANSACTIONS)
            }
            _ => Outcome::Refused(codes::INVALID_TXN_STATE),
        }
    }

    /// EndTxn of version 2 (KIP-890): every end gives the producer another epoch, and at the last one another id, `fresh`.
    pub fn end_bumping(
        &self,
        now_ms: i64,
        producer: Producer,
        committed: bool,
        fresh: Option<i64>,
    ) -> Outcome<Producer> {
        // The same end again: of an epoch before, or of the id before that had no more epochs.
        let after_id = self.previous_id == producer.id
            && producer.id != self.producer.id
            && producer.epoch == i16::MAX - 1
            && self.producer.epoch == 0;
        let after_epoch = producer.id == self.producer.id
            && producer.epoch.checked_add(1).is_some_and(|next| next == self.producer.epoch);
        let again = after_id || after_epoch;
        let current = producer == self.producer;
        if producer.id != self.producer.id && !after_id {
            return Outcome::Refused(codes::INVALID_PRODUCER_ID_MAPPING);
        }
        let valid = match self.state {
            State::PrepareCommit | State::PrepareAbort => after_epoch,
            State::CompleteCommit | State::CompleteAbort => again || current,
            _ => current,
        };
        if !valid || producer.epoch == i16::MAX {
            return Outcome::Refused(codes::PRODUCER_FENCED);
        }
        match (self.state, committed, again) {
            (State::Ongoing, _, _) => self.ended_bumping(now_ms, committed, fresh),
            (State::CompleteCommit, true, true) | (State::CompleteAbort, false, true) => Outcome::Done(self.producer),
            // Nothing was written in it, so the coordinator has not heard of it: aborting it is well.
            (State::Empty, false, _) | (State::CompleteCommit | State::CompleteAbort, false, false) => {
                self.ended_bumping(now_ms, false, fresh)
            }
            (State::PrepareCommit, true, _) | (State::PrepareAbort, false, _) => {
                Outcome::Refused(codes::CONCURRENT_TRANSACTIONS)
            }
            _ => Outcome::Refused(codes::INVALID_TXN_STATE),
        }
    }

    fn ended_bumping(&self, now_ms: i64, committed: bool, fresh: Option<i64>) -> Outcome<Producer> {
        let next_id = match fresh {
            _ if !is_exhausted(self.producer.epoch) => -1,
            Some(fresh) => fresh,
            // Whoever asked had looked at its epoch, which is this one.
            None => return Outcome::Refused(codes::COORDINATOR_NOT_AVAILABLE),
        };
        let producer = self.raised();
        let told = if next_id >= 0 { Producer { id: next_id, epoch: 0 } } else { producer };
        let opened = self.state == State::Ongoing;
        let mut ended = Txn {
            next_id,
            version: 2,
            last_epoch: self.producer.epoch,
            start_ms: if opened { self.start_ms } else { now_ms },
            ..self.ended(now_ms, committed, producer)
        };
        if ended.topics.is_empty() {
            ended = ended.completed(now_ms);
        }
        Outcome::Changes(Box::new(ended), told)
    }

    /// The coordinator aborts it: the epoch rises, so that its producer can do nothing more.
    pub fn fence(&self, now_ms: i64) -> Txn {
        assert!(self.state == State::Ongoing, "only an open transaction is aborted");
        Txn { last_epoch: -1, ..self.ended(now_ms, false, self.raised()) }
    }

    /// Its end is decided. Of the partitions' markers it needs an answer each.
    fn ended(&self, now_ms: i64, committed: bool, producer: Producer) -> Txn {
        let state = if committed { State::PrepareCommit } else { State::PrepareAbort };
        Txn { producer, previous_id: self.producer.id, state, updated_ms: now_ms, ..self.clone() }
    }

    /// Every partition has its marker.
    pub fn completed(&self, now_ms: i64) -> Txn {
        assert!(self.state.is_ending(), "only what is ending completes");
        let committed = self.state == State::PrepareCommit;
        let producer = if self.next_id >= 0 { Producer { id: self.next_id, epoch: 0 } } else { self.producer };
        Txn {
            producer,
            previous_id: self.producer.id,
            next_id: -1,
            state: if committed { State::CompleteCommit } else { State::CompleteAbort },
            topics: Vec::new(),
            updated_ms: now_ms,
            ..self.clone()
        }
    }
}
