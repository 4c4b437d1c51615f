//! One core's state; routes inputs to their owners and owns no rules itself.

use crate::event::{Effects, Input, Machine};
use crate::time::{Deadline, Time};

/// One core of the broker.
#[derive(Debug, Default)]
pub struct Shard {}

impl Machine for Shard {
    fn handle(&mut self, _now: Time, _input: Input, _effects: &mut Effects) {}
    fn end_of_round(&mut self, _now: Time, _effects: &mut Effects) {}
    fn next_deadline(&self) -> Option<Deadline> {
        None
    }
}
