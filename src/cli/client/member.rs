//! A member of a consumer group, by the classic protocol with the assignor `range`, which every client library knows. One thread: whoever uses it calls
//! [`Member::keep`] often enough.
//!
//! What is about the group goes over a connection of its own, since the answer to a join may take as long as the slowest member.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use floe_wire::consumer_protocol::{Assignment, PROTOCOL_TYPE, Subscription, TopicPartition};
use floe_wire::errors::ErrorCode;
use floe_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use floe_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use floe_wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

use super::assignor::{self, Subscriber};
use super::connection::{Answer, Connection, error_of};
use super::keys::ApiKey;
use super::{Cluster, RETRY_PAUSE, groups};
use crate::problem::{Outcome, Problem};

/// As other clients have them.
const SESSION: Duration = Duration::from_secs(45);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// How long the others are waited for when the group changes.
const REBALANCE: Duration = Duration::from_secs(60);
/// How often the leader looks whether the topics have other partitions.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const ASSIGNOR: &str = "range";

/// A member of a group, subscribed to one topic.
#[derive(Debug)]
pub(in crate::cli) struct Member {
    group: String,
    topic: String,
    connection: Connection,
    /// Empty until the coordinator has given one.
    id: String,
    generation: i32,
    /// What the leader shared out; `None` for the others.
    shared: Option<BTreeMap<String, Vec<i32>>>,
    /// Its partitions of the topic.
    assigned: Vec<i32>,
    last_heartbeat: Instant,
    last_look: Instant,
}

/// Whether a member is still what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Standing {
    /// It is.
    Same,
    /// The group changes: commit, then join again.
    Changing,
    /// The group goes on without it: what it read and did not commit will be read by others.
    Out,
}

impl Member {
    /// Comes into a group and waits for what it gets.
    pub(in crate::cli) fn join(cluster: &mut Cluster, group: &str, topic: &str) -> Outcome<Member> {
        let mut member = Member {
            group: group.to_owned(),
            topic: topic.to_owned(),
            connection: connect(cluster, group)?,
            id: String::new(),
            generation: -1,
            shared: None,
            assigned: Vec::new(),
            last_heartbeat: Instant::now(),
            last_look: Instant::now(),
        };
        member.rejoin(cluster, Standing::Changing)?;
        Ok(member)
    }

    /// Its partitions, in order.
    pub(in crate::cli) fn assigned(&self) -> &[i32] {
        &self.assigned
    }

    /// Joins again, until there is an assignment. `why`: what [`Member::keep`] or [`Member::commit`] gave.
    pub(in crate::cli) fn rejoin(&mut self, cluster: &mut Cluster, why: Standing) -> Outcome {
        if why == Standing::Out {
            self.id.clear();
        }
        let until = Instant::now() + cluster.timeout() + REBALANCE;
        loop {
            if self.try_join(cluster)? {
                (self.last_heartbeat, self.last_look) = (Instant::now(), Instant::now());
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Problem::new(format!("group `{}` does not come to rest", self.group))
                    .next(format!("see its members: floe group describe {}", self.group)));
            }
        }
    }

    /// One join and what follows it; `false`: once more.
    fn try_join(&mut self, cluster: &mut Cluster) -> Outcome<bool> {
        let subscription = Subscription { topics: vec![self.topic.as_str().into()], ..Subscription::default() };
        let metadata = subscription.to_bytes(1);
        let version = self.connection.version(ApiKey::JoinGroup, 0, 7)?;
        let request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: SESSION.as_millis() as i32,
            rebalance_timeout_ms: REBALANCE.as_millis() as i32,
            member_id: self.id.as_str().into(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol { name: ASSIGNOR.into(), metadata: metadata[..].into() }],
            ..JoinGroupRequest::default()
        };
        let answer = self.connection.ask(ApiKey::JoinGroup, version, &request)?;
        let joined: JoinGroupResponse = answer.decode()?;
        if error_of(joined.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            self.id = joined.member_id.into_owned();
            return Ok(false);
        }
        if joined.error_code != 0 {
            return self.refused(cluster, &answer, joined.error_code).map(|_| false);
        }
        (self.id, self.generation) = (joined.member_id.to_string(), joined.generation_id);
        let assignments = if joined.leader == joined.member_id { self.share(cluster, &joined)? } else { Vec::new() };
        if assignments.is_empty() {
            self.shared = None;
        }
        let version = self.connection.version(ApiKey::SyncGroup, 0, 5)?;
        let assignment = |(id, bytes): &(String, bytes::Bytes)| SyncGroupRequestAssignment {
            member_id: id.clone().into(),
            assignment: bytes.to_vec().into(),
        };
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(ASSIGNOR.into()),
            assignments: assignments.iter().map(assignment).collect(),
            ..SyncGroupRequest::default()
        };
        let answer = self.connection.ask(ApiKey::SyncGroup, version, &request)?;
        let synced: SyncGroupResponse = answer.decode()?;
        if synced.error_code != 0 {
            return self.refused(cluster, &answer, synced.error_code).map(|_| false);
        }
        self.assigned.clear();
        if !synced.assignment.is_empty() {
            let (_, assignment) = Assignment::from_bytes(&synced.assignment)
                .map_err(|error| self.connection.nonsense(ApiKey::SyncGroup, &error.to_string()))?;
            let own = assignment.assigned_partitions.iter().filter(|topic| topic.topic == self.topic);
            self.assigned.extend(own.flat_map(|topic| &topic.partitions));
            self.assigned.sort_unstable();
        }
        Ok(true)
    }

    /// As the leader: what everybody gets.
    fn share(&mut self, cluster: &mut Cluster, joined: &JoinGroupResponse<'_>) -> Outcome<Vec<(String, bytes::Bytes)>> {
        let subscriber = |member: &floe_wire::messages::join_group::JoinGroupResponseMember<'_>| {
            let subscription = Subscription::from_bytes(&member.metadata).map(|(_, subscription)| subscription);
            Subscriber {
                id: member.member_id.to_string(),
                instance: member.group_instance_id.as_deref().map(str::to_owned),
                topics: subscription.unwrap_or_default().topics.iter().map(|topic| topic.to_string()).collect(),
            }
        };
        let subscribers: Vec<Subscriber> = joined.members.iter().map(subscriber).collect();
        let mut names: Vec<&str> = subscribers.iter().flat_map(|s| &s.topics).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let partitions = partitions(cluster, &names)?;
        let given = assignor::range(&subscribers, &partitions);
        self.shared = Some(partitions);
        let assignment = |(id, topics): (String, BTreeMap<String, Vec<i32>>)| {
            let topic = |(topic, partitions): (String, Vec<i32>)| TopicPartition { topic: topic.into(), partitions };
            let assigned_partitions = topics.into_iter().map(topic).collect();
            (id, Assignment { assigned_partitions, ..Assignment::default() }.to_bytes(1))
        };
        Ok(given.into_iter().map(assignment).collect())
    }

    /// Says that it lives, when that is due, and learns whether the group changes.
    pub(in crate::cli) fn keep(&mut self, cluster: &mut Cluster) -> Outcome<Standing> {
        if self.shared.is_some() && self.last_look.elapsed() > LOOK_EVERY {
            self.last_look = Instant::now();
            let shared = self.shared.clone().unwrap_or_default();
            let names: Vec<&str> = shared.keys().map(String::as_str).collect();
            if partitions(cluster, &names)? != shared {
                return Ok(Standing::Changing);
            }
        }
        if self.last_heartbeat.elapsed() < HEARTBEAT_EVERY {
            return Ok(Standing::Same);
        }
        self.last_heartbeat = Instant::now();
        let version = self.connection.version(ApiKey::Heartbeat, 0, 4)?;
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..HeartbeatRequest::default()
        };
        let answer = self.connection.ask(ApiKey::Heartbeat, version, &request)?;
        let response: HeartbeatResponse = answer.decode()?;
        if response.error_code == 0 {
            return Ok(Standing::Same);
        }
        self.refused(cluster, &answer, response.error_code)
    }

    /// Commits the next offset to read of each partition.
    pub(in crate::cli) fn commit(&mut self, cluster: &mut Cluster, offsets: &BTreeMap<i32, i64>) -> Outcome<Standing> {
        if offsets.is_empty() {
            return Ok(Standing::Same);
        }
        let version = self.connection.version(ApiKey::OffsetCommit, 2, 9)?;
        let partition = |(partition, offset): (&i32, &i64)| OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: self.topic.as_str().into(),
            partitions: offsets.iter().map(partition).collect(),
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.as_str().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.as_str().into(),
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        let answer = self.connection.ask(ApiKey::OffsetCommit, version, &request)?;
        let response: OffsetCommitResponse = answer.decode()?;
        let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
        match codes.find(|code| *code != 0) {
            None => Ok(Standing::Same),
            Some(code) => self.refused(cluster, &answer, code),
        }
    }

    /// Leaves, so that the others need not wait for its session to end.
    pub(in crate::cli) fn leave(mut self) -> Outcome {
        let version = self.connection.version(ApiKey::LeaveGroup, 0, 4)?;
        let identity = MemberIdentity { member_id: self.id.as_str().into(), ..MemberIdentity::default() };
        let request = LeaveGroupRequest {
            group_id: self.group.as_str().into(),
            member_id: self.id.as_str().into(),
            members: vec![identity],
        };
        let answer = self.connection.ask(ApiKey::LeaveGroup, version, &request)?;
        let response: LeaveGroupResponse = answer.decode()?;
        match error_of(response.error_code) {
            // Whoever is out already has left.
            ErrorCode::NONE | ErrorCode::UNKNOWN_MEMBER_ID => Ok(()),
            _ => Err(answer.refused(response.error_code, None)),
        }
    }

    /// What an error of the coordinator means for this member.
    fn refused(&mut self, cluster: &mut Cluster, answer: &Answer, code: i16) -> Outcome<Standing> {
        match error_of(code) {
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(Standing::Changing),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                self.id.clear();
                Ok(Standing::Out)
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR => {
                std::thread::sleep(RETRY_PAUSE);
                self.connection = connect(cluster, &self.group)?;
                Ok(Standing::Changing)
            }
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL => Err(answer.refused(code, None).next(format!(
                "the members of group `{0}` have no assignor `{ASSIGNOR}`, or speak the next-generation protocol: floe group describe {0}",
                self.group
            ))),
            _ => Err(answer.refused(code, None)),
        }
    }
}

/// A connection to the group's coordinator that has the patience of a join.
fn connect(cluster: &mut Cluster, group: &str) -> Outcome<Connection> {
    let node = groups::find(cluster, group)?;
    let broker = cluster.brokers.get(&node).cloned();
    let broker = broker.ok_or_else(|| Problem::new(format!("broker {node} is not in the cluster's metadata")))?;
    Connection::open(&broker.host, broker.port, cluster.timeout() + REBALANCE)
}

/// The partitions of each of these topics that is there.
fn partitions(cluster: &mut Cluster, names: &[&str]) -> Outcome<BTreeMap<String, Vec<i32>>> {
    let topics = if names.is_empty() { Vec::new() } else { cluster.metadata(Some(names), false)? };
    let there = topics.into_iter().filter(|(_, code)| *code == 0);
    Ok(there.map(|(topic, _)| (topic.name, topic.partitions.iter().map(|p| p.index).collect())).collect())
}
