//! One simulated member of a group: what it asks next and what it makes of an answer, for both group protocols. No I/O, no clock.

use std::time::Duration;

use floe_wire::consumer_protocol::PROTOCOL_TYPE;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use floe_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use floe_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

use super::asking::{self, is_moving};

const JOIN: (i16, i16) = (11, 7);
const SYNC: (i16, i16) = (14, 5);
const HEARTBEAT: (i16, i16) = (12, 4);
const CONSUMER_HEARTBEAT: (i16, i16) = (68, 1);
/// What clients take when nobody says otherwise.
const CLASSIC_INTERVAL: Duration = Duration::from_secs(3);
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 300_000;
/// Before asking again a coordinator that is not ready.
const PAUSE: Duration = Duration::from_millis(200);

/// Which protocol it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Outside,
    Syncing,
    Inside,
}

/// A member.
pub struct Member {
    /// Its group.
    pub group: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its id; empty until the broker has given one.
    pub id: String,
    /// Its generation or epoch.
    pub epoch: i32,
    /// How often it had to begin anew after it was inside.
    pub rejoins: u32,
    state: State,
    leads: bool,
    /// What the leader hands in: an assignment for each id.
    others: Vec<String>,
    owned: Option<Vec<TopicPartitions>>,
    /// What it owns is to be told.
    tell: bool,
}

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Ask again after this long.
    pub after: Duration,
    /// It was an answer that leaves all as it is: a heartbeat.
    pub calm: bool,
}

impl Member {
    /// One that is in no group yet.
    pub fn new(group: String, protocol: Protocol, number: usize) -> Member {
        let id = match protocol {
            Protocol::Classic => String::new(),
            Protocol::Consumer => format!("member-{number:015}"),
        };
        Member {
            group,
            protocol,
            id,
            epoch: if protocol == Protocol::Classic { -1 } else { 0 },
            rejoins: 0,
            state: State::Outside,
            leads: false,
            others: Vec::new(),
            owned: None,
            tell: false,
        }
    }

    /// Whether it takes part.
    pub fn is_inside(&self) -> bool {
        self.state == State::Inside && !self.tell
    }

    /// Its next request.
    pub fn ask(&mut self, correlation: i32, topic: &str) -> Vec<u8> {
        match (self.protocol, self.state) {
            (Protocol::Classic, State::Outside) => {
                // Its subscription is opaque to the broker: one topic, version 0, without user data.
                let mut metadata = vec![0, 0, 0, 0, 0, 1];
                metadata.extend_from_slice(&(topic.len() as i16).to_be_bytes());
                metadata.extend_from_slice(topic.as_bytes());
                metadata.extend_from_slice(&(-1i32).to_be_bytes());
                let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: metadata.into() };
                let request = JoinGroupRequest {
                    group_id: self.group.as_str().into(),
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: REBALANCE_MS,
                    member_id: self.id.as_str().into(),
                    protocol_type: PROTOCOL_TYPE.into(),
                    protocols: vec![protocol],
                    ..JoinGroupRequest::default()
                };
                asking::frame(JOIN, correlation, &request)
            }
            (Protocol::Classic, State::Syncing) => {
                // A tenth of a hundred partitions takes about so many bytes.
                let assignments = self.others.iter().map(|id| SyncGroupRequestAssignment {
                    member_id: id.as_str().into(),
                    assignment: vec![0; 64].into(),
                });
                let request = SyncGroupRequest {
                    group_id: self.group.as_str().into(),
                    generation_id: self.epoch,
                    member_id: self.id.as_str().into(),
                    protocol_type: Some(PROTOCOL_TYPE.into()),
                    protocol_name: Some("range".into()),
                    assignments: if self.leads { assignments.collect() } else { Vec::new() },
                    ..SyncGroupRequest::default()
                };
                asking::frame(SYNC, correlation, &request)
            }
            (Protocol::Classic, State::Inside) => {
                let request = HeartbeatRequest {
                    group_id: self.group.as_str().into(),
                    generation_id: self.epoch,
                    member_id: self.id.as_str().into(),
                    ..HeartbeatRequest::default()
                };
                asking::frame(HEARTBEAT, correlation, &request)
            }
            (Protocol::Consumer, state) => {
                let joins = state == State::Outside;
                let tell = std::mem::take(&mut self.tell);
                let request = ConsumerGroupHeartbeatRequest {
                    group_id: self.group.as_str().into(),
                    member_id: self.id.as_str().into(),
                    member_epoch: self.epoch,
                    rebalance_timeout_ms: if joins { REBALANCE_MS } else { -1 },
                    subscribed_topic_names: joins.then(|| vec![topic.to_owned().into()]),
                    topic_partitions: if joins {
                        Some(Vec::new())
                    } else if tell {
                        self.owned.clone()
                    } else {
                        None
                    },
                    ..ConsumerGroupHeartbeatRequest::default()
                };
                asking::frame(CONSUMER_HEARTBEAT, correlation, &request)
            }
        }
    }

    /// Takes the answer to [`Member::ask`].
    pub fn answered(&mut self, correlation: i32, bytes: &[u8]) -> Result<Next, String> {
        let text = |error: std::io::Error| error.to_string();
        match (self.protocol, self.state) {
            (Protocol::Classic, State::Outside) => {
                let response: JoinGroupResponse<'_> = asking::answer(JOIN, correlation, bytes).map_err(text)?;
                if response.error_code == 0 || response.error_code == ErrorCode::MEMBER_ID_REQUIRED.code() {
                    self.id = response.member_id.to_string();
                }
                if response.error_code != 0 {
                    return self.refused(response.error_code);
                }
                self.epoch = response.generation_id;
                self.leads = response.leader == response.member_id;
                self.others = response.members.iter().map(|member| member.member_id.to_string()).collect();
                self.state = State::Syncing;
                Ok(Next { after: Duration::ZERO, calm: false })
            }
            (Protocol::Classic, State::Syncing) => {
                let response: SyncGroupResponse<'_> = asking::answer(SYNC, correlation, bytes).map_err(text)?;
                if response.error_code != 0 {
                    return self.refused(response.error_code);
                }
                self.state = State::Inside;
                Ok(Next { after: CLASSIC_INTERVAL, calm: false })
            }
            (Protocol::Classic, State::Inside) => {
                let response: HeartbeatResponse = asking::answer(HEARTBEAT, correlation, bytes).map_err(text)?;
                match response.error_code {
                    0 => Ok(Next { after: CLASSIC_INTERVAL, calm: true }),
                    code => self.refused(code),
                }
            }
            (Protocol::Consumer, _) => {
                let response: ConsumerGroupHeartbeatResponse<'_> =
                    asking::answer(CONSUMER_HEARTBEAT, correlation, bytes).map_err(text)?;
                if response.error_code != 0 {
                    return self.refused(response.error_code);
                }
                self.state = State::Inside;
                self.epoch = response.member_epoch;
                if let Some(assignment) = response.assignment {
                    // It gives up and takes up at once.
                    self.owned = Some(assignment.topic_partitions);
                    self.tell = true;
                    return Ok(Next { after: Duration::ZERO, calm: false });
                }
                Ok(Next { after: Duration::from_millis(response.heartbeat_interval_ms.max(100) as u64), calm: true })
            }
        }
    }

    /// Begins anew, or asks again, depending on what the coordinator says.
    fn refused(&mut self, code: i16) -> Result<Next, String> {
        let is = |errors: &[ErrorCode]| errors.iter().any(|error| error.code() == code);
        if is_moving(code) {
            return Ok(Next { after: PAUSE, calm: false });
        }
        if is(&[ErrorCode::MEMBER_ID_REQUIRED, ErrorCode::REBALANCE_IN_PROGRESS]) {
            self.rejoins += u32::from(self.state == State::Inside);
            self.state = State::Outside;
            return Ok(Next { after: Duration::ZERO, calm: false });
        }
        if is(&[ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::ILLEGAL_GENERATION, ErrorCode::FENCED_MEMBER_EPOCH]) {
            self.rejoins += 1;
            self.state = State::Outside;
            (self.owned, self.tell) = (None, false);
            match self.protocol {
                Protocol::Classic => self.id.clear(),
                Protocol::Consumer => self.epoch = 0,
            }
            return Ok(Next { after: PAUSE, calm: false });
        }
        Err(format!("a member of {} ({:?}, {:?}) was told error {code}", self.group, self.protocol, self.state))
    }
}
