//! A group of the next-generation protocol (KIP-848). Not built yet: its requests answer UNSUPPORTED_VERSION, and the broker does not offer them.

use crate::event::LogLevel;
use crate::group::api::{
    ConsumerDescribed, ConsumerHeartbeat, ConsumerHeartbeatAnswer, GroupAnswer, GroupRequest, MemberRef,
};
use crate::group::classic::ClassicGroup;
use crate::group::records::GroupRecord;
use crate::group::{Caller, Context, Decision, Name};
use crate::metadata::Image;
use crate::requests::codes;
use crate::time::{Deadline, Time};

/// A KIP-848 group.
#[derive(Debug)]
pub struct ConsumerGroup {
    group: Name,
}

impl ConsumerGroup {
    /// Without members.
    pub fn new(group: Name) -> ConsumerGroup {
        ConsumerGroup { group }
    }

    /// A member speaks. Changes nothing that [`ConsumerGroup::apply`] of the decision's records would not make by itself: on a new group this is
    /// called on a value that is thrown away.
    pub fn heartbeat(&mut self, cx: &mut Context<'_>, caller: &Caller, _heartbeat: ConsumerHeartbeat) -> Decision {
        cx.audit.line(LogLevel::Debug, || format!("group {}: KIP-848 is not there yet", self.group));
        unsupported(caller)
    }

    /// A consumer comes to a classic group that has members: it becomes a consumer group, if the settings allow.
    pub fn upgrade(
        _cx: &mut Context<'_>,
        caller: &Caller,
        _heartbeat: ConsumerHeartbeat,
        _classic: &mut ClassicGroup,
    ) -> Decision {
        unsupported(caller)
    }

    /// Join, sync, heartbeat or leave by a member that speaks the classic protocol.
    pub fn classic(&mut self, _cx: &mut Context<'_>, caller: &Caller, request: GroupRequest) -> Decision {
        Decision::answer(caller.asker, request.refuse(codes::UNKNOWN_MEMBER_ID))
    }

    /// Something that is due by now.
    pub fn due(&mut self, _cx: &mut Context<'_>) -> Option<Decision> {
        None
    }

    /// When that is at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        None
    }

    /// A record holds: live, or (without a time) read from the log.
    pub fn apply(&mut self, _now: Option<Time>, _record: &GroupRecord) {}

    /// Everything has been read: members have a whole session from now.
    pub fn loaded(&mut self, _now: Time) {}

    /// The records of its last decision could not be written.
    pub fn refused(&mut self, _now: Time) {}

    /// Topics have changed.
    pub fn image_changed(&mut self, _image: &Image) {}

    /// Whether this is a member at its present epoch, which may commit and fetch offsets.
    pub fn check_member(&self, _who: &MemberRef) -> Result<(), i16> {
        Err(codes::UNKNOWN_MEMBER_ID)
    }

    /// Whether offsets of the topic are in use.
    pub fn is_subscribed(&self, _topic: &str) -> bool {
        false
    }

    /// As Kafka writes it.
    pub fn state(&self) -> &'static str {
        "Empty"
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        0
    }

    /// For ConsumerGroupDescribe.
    pub fn describe(&self) -> ConsumerDescribed {
        ConsumerDescribed { state: self.state(), ..ConsumerDescribed::default() }
    }

    /// What takes the group (not its offsets) out of the log.
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        vec![GroupRecord::Epoch { group: self.group.clone(), value: None }]
    }
}

fn unsupported(caller: &Caller) -> Decision {
    let answer = ConsumerHeartbeatAnswer { error_code: codes::UNSUPPORTED_VERSION, ..Default::default() };
    Decision::answer(caller.asker, GroupAnswer::ConsumerHeartbeat(answer))
}
