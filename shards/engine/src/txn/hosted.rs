//! A transaction coordinator to its host, and its answers as errors.

use bytes::Bytes;
use floe_wire::primitives::DecodeError;

use super::api::{TxnAnswer, TxnCall, TxnRequest};
use super::coordinator::{Coordinator, Key};
use super::records::{self, TxnRecord};
use super::{Decision, TXN_TOPIC};
use crate::event::LogLevel;
use crate::hosted::{Asker, Hosted, Position};
use crate::mesh::Answer;
use crate::metadata::Image;
use crate::time::{Deadline, Time};

impl TxnAnswer {
    /// The same answer as an error, for when its records could not be written, or its partition went away.
    #[must_use]
    pub fn failed(self, error_code: i16) -> TxnAnswer {
        match self {
            TxnAnswer::Initialized(_) => TxnAnswer::Initialized(Err(error_code)),
            TxnAnswer::Added(_) => TxnAnswer::Added(Err(error_code)),
            TxnAnswer::Ended(_) => TxnAnswer::Ended(Err(error_code)),
            TxnAnswer::Described(_) => TxnAnswer::Described(Err(error_code)),
            TxnAnswer::Listed(_) => TxnAnswer::Listed(Err(error_code)),
        }
    }
}

impl TxnRequest {
    /// Its answer when the whole is refused.
    pub fn refuse(&self, error_code: i16) -> TxnAnswer {
        match self {
            TxnRequest::Init { .. } => TxnAnswer::Initialized(Err(error_code)),
            TxnRequest::AddPartitions { .. } => TxnAnswer::Added(Err(error_code)),
            TxnRequest::End { .. } => TxnAnswer::Ended(Err(error_code)),
            TxnRequest::Describe => TxnAnswer::Described(Err(error_code)),
            TxnRequest::List(_) => TxnAnswer::Listed(Err(error_code)),
        }
    }
}

impl Hosted for Coordinator {
    type Call = TxnCall;
    type Answer = TxnAnswer;
    type Record = TxnRecord;
    type Then = Key;

    const TOPIC: &'static str = TXN_TOPIC;
    const OP_TAG: u8 = 0x04;
    const SUBJECTS: &'static str = "transactional ids";

    fn load(&mut self, partition: i32) {
        self.load(partition);
    }

    fn replay(&mut self, partition: i32, record: TxnRecord, _: Position) {
        self.replay(partition, record);
    }

    fn loaded(&mut self, now: Time, partition: i32) {
        self.loaded(now, partition);
    }

    fn unload(&mut self, partition: i32, error_code: i16) -> Vec<Decision> {
        self.unload(partition, error_code)
    }

    fn request(&mut self, now: Time, _: &Image, asker: Asker, call: TxnCall) -> Decision {
        self.request(now, asker, call)
    }

    fn due(&mut self, now: Time, _: &Image) -> Option<Decision> {
        self.due(now)
    }

    fn apply(&mut self, now: Time, decision: &Decision, _: i64) {
        self.apply(now, decision);
    }

    /// Coordinators write nothing in transactions.
    fn end_txn(&mut self, _: Option<Time>, _: i32, _: i64, _: bool) {}

    fn refused(&mut self, _: Time, decision: Decision, error_code: i16) -> Decision {
        self.refused(decision, error_code)
    }

    fn durable(&mut self, now: Time, then: Key) {
        self.durable(now, then);
    }

    fn image_changed(&mut self, _: &Image) {}

    fn next_deadline(&self) -> Option<Deadline> {
        self.next_deadline()
    }

    fn take_lines(&mut self) -> Vec<(LogLevel, String)> {
        self.take_lines()
    }

    fn encode(record: &TxnRecord) -> (Bytes, Option<Bytes>) {
        records::encode(record)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<TxnRecord>, DecodeError> {
        records::decode(key, value)
    }

    fn failed(answer: TxnAnswer, error_code: i16) -> TxnAnswer {
        answer.failed(error_code)
    }

    fn unverified(answer: TxnAnswer, _: u64) -> TxnAnswer {
        unreachable!("{answer:?} is of no transaction's records")
    }

    fn wrap(at: u32, answer: TxnAnswer) -> Answer {
        Answer::Txn { at, answer: Box::new(answer) }
    }
}
