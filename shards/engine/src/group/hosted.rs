//! A group coordinator to its host.

use bytes::Bytes;
use floe_wire::primitives::DecodeError;

use super::api::{Asker, GroupAnswer, GroupCall};
use super::records::GroupRecord;
use super::{Coordinator, Decision, OFFSETS_TOPIC, codec};
use crate::event::LogLevel;
use crate::hosted::{Hosted, Position};
use crate::mesh::Answer;
use crate::metadata::Image;
use crate::time::{Deadline, Time};

impl Hosted for Coordinator {
    type Call = GroupCall;
    type Answer = GroupAnswer;
    type Record = GroupRecord;
    type Then = std::convert::Infallible;

    const TOPIC: &'static str = OFFSETS_TOPIC;
    const OP_TAG: u8 = 0x03;
    const SUBJECTS: &'static str = "groups";

    fn load(&mut self, partition: i32) {
        self.load(partition);
    }

    fn replay(&mut self, partition: i32, record: GroupRecord, position: Position) {
        self.replay(partition, record, position);
    }

    fn loaded(&mut self, now: Time, partition: i32) {
        self.loaded(now, partition);
    }

    fn unload(&mut self, partition: i32, error_code: i16) -> Vec<Decision> {
        self.unload(partition, error_code)
    }

    fn request(&mut self, now: Time, image: &Image, asker: Asker, call: GroupCall) -> Decision {
        self.request(now, image, asker, call)
    }

    fn due(&mut self, now: Time, image: &Image) -> Option<Decision> {
        self.due(now, image)
    }

    fn apply(&mut self, now: Time, decision: &Decision, base_offset: i64) {
        self.apply(now, decision, base_offset);
    }

    fn end_txn(&mut self, now: Option<Time>, partition: i32, producer: i64, committed: bool) {
        self.end_txn(now, partition, producer, committed);
    }

    fn refused(&mut self, now: Time, decision: Decision, error_code: i16) -> Decision {
        self.refused(now, decision, error_code)
    }

    fn durable(&mut self, _: Time, then: Self::Then) {
        match then {}
    }

    fn image_changed(&mut self, image: &Image) {
        self.image_changed(image);
    }

    fn next_deadline(&self) -> Option<Deadline> {
        self.next_deadline()
    }

    fn take_lines(&mut self) -> Vec<(LogLevel, String)> {
        self.take_lines()
    }

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        codec::encode(record)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<GroupRecord>, DecodeError> {
        codec::decode(key, value)
    }

    fn failed(answer: GroupAnswer, error_code: i16) -> GroupAnswer {
        answer.failed(error_code)
    }

    fn unverified(answer: GroupAnswer, guard: u64) -> GroupAnswer {
        answer.unverified(guard)
    }

    fn wrap(at: u32, answer: GroupAnswer) -> Answer {
        Answer::Group { at, answer: Box::new(answer) }
    }
}
