//! What a coordinator is to its host (`owner/hosts.rs`), and what it gives back ([`Decision`]): records to write down, and answers that leave when these
//! are durable.
//!
//! The way of every change: a coordinator *decides* (reads its state, changes nothing durable), the host appends the records to a partition of the
//! coordinator's topic, and when that is taken the records are *applied* (the only way durable state changes, live as in replay). When it is refused (disk
//! full, journal failed) nothing was changed, and the answers become errors. Appending is synchronous, so nobody decides in between.

use std::fmt::Debug;

use bytes::Bytes;
use floe_wire::primitives::DecodeError;

use crate::event::{LogLevel, ShardId};
use crate::mesh::{Answer, Verified};
use crate::metadata::Image;
use crate::time::{Deadline, Time};
use crate::txn::api::Producer;

/// Who asked: the shard of the connection and the token by which it awaits the answer.
pub type Asker = (ShardId, u64);

/// The transaction that records belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnWrite {
    /// Who writes: its epoch is checked by the partition's log, as that of every producer.
    pub producer: Producer,
    /// That it belongs to an open transaction, when that was asked.
    pub verified: Option<Verified>,
}

/// Where a record stands in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its offset.
    pub offset: i64,
    /// Whose transaction it belongs to: it counts when that is committed.
    pub producer: Option<i64>,
}

/// What was decided by a coordinator `C`.
#[derive(Debug)]
#[must_use]
pub struct Decision<C: Hosted> {
    /// The partition of the coordinator's topic that the records go to.
    pub partition: i32,
    /// In order; appended whole or not at all. May be empty.
    pub records: Vec<C::Record>,
    /// They belong to this transaction: they count when its marker says so.
    pub txn: Option<TxnWrite>,
    /// Sent when everything that was appended to the partition until now is durable, so that nobody is told what a crash could take back.
    pub answers: Vec<(Asker, C::Answer)>,
    /// Given back to the coordinator at the same moment ([`Hosted::durable`]).
    pub then: Option<C::Then>,
    /// The answers may leave at once: who asked appends to the same journal, so behind the records, and tells nobody before that is durable.
    pub at_once: bool,
}

impl<C: Hosted> Default for Decision<C> {
    fn default() -> Decision<C> {
        Decision { partition: 0, records: Vec::new(), txn: None, answers: Vec::new(), then: None, at_once: false }
    }
}

impl<C: Hosted> Decision<C> {
    /// One answer and no records.
    pub fn answer(asker: Asker, answer: C::Answer) -> Decision<C> {
        Decision { answers: vec![(asker, answer)], ..Decision::default() }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.answers.is_empty() && self.then.is_none()
    }
}

/// A coordinator: what all that it coordinates has durable, and who waits for it.
pub trait Hosted: Debug + Default + Sized {
    /// What it is asked.
    type Call: Debug;
    /// What it answers.
    type Answer: Debug;
    /// What it writes down.
    type Record: Debug;
    /// What it does when a decision is durable.
    type Then: Debug;

    /// The topic that it writes to.
    const TOPIC: &'static str;
    /// The highest byte of every [`crate::event::OpId`] that its host gives out.
    const OP_TAG: u8;
    /// What it coordinates, for people.
    const SUBJECTS: &'static str;

    /// A partition of the topic has come to this shard: COORDINATOR_LOAD_IN_PROGRESS is answered until [`Hosted::loaded`].
    fn load(&mut self, partition: i32);
    /// A record of the partition, while it loads, in the order of the log.
    fn replay(&mut self, partition: i32, record: Self::Record, position: Position);
    /// The partition has been read to its end.
    fn loaded(&mut self, now: Time, partition: i32);
    /// The partition is gone or failed: what waits is answered with `error_code`.
    fn unload(&mut self, partition: i32, error_code: i16) -> Vec<Decision<Self>>;
    /// Somebody asks.
    fn request(&mut self, now: Time, image: &Image, asker: Asker, call: Self::Call) -> Decision<Self>;
    /// Something that is due by now. To be called until `None`, each decision taken to its end before the next call.
    fn due(&mut self, now: Time, image: &Image) -> Option<Decision<Self>>;
    /// The records of a decision were appended, the first one at this offset: they hold.
    fn apply(&mut self, now: Time, decision: &Decision<Self>, base_offset: i64);
    /// The marker of a producer's transaction was appended (then there is a time), or read while the partition loads.
    fn end_txn(&mut self, now: Option<Time>, partition: i32, producer: i64, committed: bool);
    /// They were not, for `error_code`. The answers, as errors.
    fn refused(&mut self, now: Time, decision: Decision<Self>, error_code: i16) -> Decision<Self>;
    /// A decision that brought this is durable.
    fn durable(&mut self, now: Time, then: Self::Then);
    /// There is a new image.
    fn image_changed(&mut self, image: &Image);
    /// When [`Hosted::due`] is to be called at the latest.
    fn next_deadline(&self) -> Option<Deadline>;
    /// Lines for the broker's log since the last call.
    fn take_lines(&mut self) -> Vec<(LogLevel, String)>;

    /// The bytes of a record's key and value; no value is a tombstone.
    fn encode(record: &Self::Record) -> (Bytes, Option<Bytes>);
    /// Back; `None`: a record of a kind that it does not have.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self::Record>, DecodeError>;
    /// The same answer as an error, for when its records could not be written, or its partition went away.
    fn failed(answer: Self::Answer, error_code: i16) -> Self::Answer;
    /// The answer when records of a transaction have to be vouched for first.
    fn unverified(answer: Self::Answer, guard: u64) -> Self::Answer;
    /// On its way back to the shard that asked.
    fn wrap(at: u32, answer: Self::Answer) -> Answer;
}
