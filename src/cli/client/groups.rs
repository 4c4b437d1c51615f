//! Consumer groups as a client sees them: which there are, who is in one, how far it has come; of both group protocols.
//!
//! What is about one group goes to its coordinator, which is looked for again as long as it is moving or still reading its log.

use std::collections::BTreeMap;
use std::time::Instant;

use floe_wire::consumer_protocol::{Assignment, PROTOCOL_TYPE};
use floe_wire::errors::ErrorCode;
use floe_wire::messages::consumer_group_describe::{
    self as next, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use floe_wire::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use floe_wire::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroupMember};
use floe_wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse, GROUP};
use floe_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use floe_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};

use super::connection::{Answer, Connection, error_of};
use super::keys::ApiKey;
use super::{Cluster, RETRY_PAUSE};
use crate::problem::{Outcome, Problem};

/// State of a group that is not there, as brokers older than Kafka 4 tell it.
const DEAD: &str = "Dead";

/// Partitions by topic.
pub(in crate::cli) type Partitions = BTreeMap<String, Vec<i32>>;

/// A group in a list.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Listed {
    /// Its name.
    pub(in crate::cli) id: String,
    /// `classic`, `consumer`, `share`, `streams`; empty when the broker does not say.
    pub(in crate::cli) kind: String,
    /// Its state; empty when the broker does not say.
    pub(in crate::cli) state: String,
    /// What it is for: `consumer`; empty when it holds nothing but offsets.
    pub(in crate::cli) protocol_type: String,
    /// Node id of its coordinator.
    pub(in crate::cli) coordinator: i32,
}

/// A group with its members.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Group {
    /// Its name.
    pub(in crate::cli) id: String,
    /// `classic` or `consumer`: the protocol that it speaks.
    pub(in crate::cli) kind: &'static str,
    /// Its state.
    pub(in crate::cli) state: String,
    /// The assignment strategy; empty when there is none.
    pub(in crate::cli) assignor: String,
    /// Its epoch; classic groups do not tell theirs.
    pub(in crate::cli) epoch: Option<i32>,
    /// Node id of its coordinator.
    pub(in crate::cli) coordinator: i32,
    /// Its members.
    pub(in crate::cli) members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Member {
    /// Its id.
    pub(in crate::cli) id: String,
    /// Its name as a static member.
    pub(in crate::cli) instance: Option<String>,
    /// Its client id.
    pub(in crate::cli) client: String,
    /// Its host.
    pub(in crate::cli) host: String,
    /// Its epoch; members of the classic protocol have none.
    pub(in crate::cli) epoch: Option<i32>,
    /// What it has.
    pub(in crate::cli) assignment: Partitions,
    /// What it is to have, where that is something else.
    pub(in crate::cli) target: Option<Partitions>,
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Committed {
    /// The next offset to read.
    pub(in crate::cli) offset: i64,
    /// What the client wanted kept beside it.
    pub(in crate::cli) metadata: String,
}

/// What came of asking once.
enum Tried<T> {
    /// An answer.
    Done(T),
    /// The coordinator is elsewhere or not ready.
    Again(Problem),
}

/// What everybody is told about a group that is not there.
pub(in crate::cli) fn no_group(name: &str) -> Problem {
    Problem::new(format!("there is no group `{name}`")).next("see what there is: floe group list")
}

/// All groups, by name.
pub(in crate::cli) fn list(cluster: &mut Cluster) -> Outcome<Vec<Listed>> {
    cluster.refresh()?;
    let mut nodes: Vec<i32> = cluster.brokers.keys().copied().collect();
    nodes.sort_unstable();
    let mut groups = Vec::new();
    for node in nodes {
        let until = Instant::now() + cluster.timeout();
        loop {
            let connection = cluster.broker(node)?;
            let version = connection.version(ApiKey::ListGroups, 0, 5)?;
            let answer = connection.ask(ApiKey::ListGroups, version, &ListGroupsRequest::default())?;
            let response: ListGroupsResponse = answer.decode()?;
            if let Some(problem) = moving(&answer, response.error_code)
                && Instant::now() < until
            {
                drop(problem);
                std::thread::sleep(RETRY_PAUSE);
                continue;
            }
            if response.error_code != 0 {
                return Err(answer.refused(response.error_code, None));
            }
            groups.extend(response.groups.iter().map(|group| Listed {
                id: group.group_id.to_string(),
                kind: group.group_type.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
                coordinator: node,
            }));
            break;
        }
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

/// A group of whichever protocol; `None` when it is not there.
pub(in crate::cli) fn describe(cluster: &mut Cluster, name: &str) -> Outcome<Option<Group>> {
    at_coordinator(cluster, name, |connection, node| {
        // A broker older than the next generation has classic groups only.
        if let Ok(version) = connection.version(ApiKey::ConsumerGroupDescribe, 0, 1) {
            let request =
                ConsumerGroupDescribeRequest { group_ids: vec![name.into()], include_authorized_operations: false };
            let answer = connection.ask(ApiKey::ConsumerGroupDescribe, version, &request)?;
            let response: ConsumerGroupDescribeResponse = answer.decode()?;
            for group in &response.groups {
                if let Some(problem) = moving(&answer, group.error_code) {
                    return Ok(Tried::Again(problem));
                }
                match error_of(group.error_code) {
                    ErrorCode::NONE => return Ok(Tried::Done(Some(of_next(group, node)))),
                    // It may be a classic one; and Kafka can have the new protocol switched off.
                    ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION => {}
                    _ => return Err(answer.refused(group.error_code, group.error_message.as_deref())),
                }
            }
        }
        let version = connection.version(ApiKey::DescribeGroups, 0, 6)?;
        let request = DescribeGroupsRequest { groups: vec![name.into()], include_authorized_operations: false };
        let answer = connection.ask(ApiKey::DescribeGroups, version, &request)?;
        let response: DescribeGroupsResponse = answer.decode()?;
        let Some(group) = response.groups.first() else {
            return Err(connection.nonsense(ApiKey::DescribeGroups, "it leaves out the group that was asked for"));
        };
        if let Some(problem) = moving(&answer, group.error_code) {
            return Ok(Tried::Again(problem));
        }
        match error_of(group.error_code) {
            ErrorCode::GROUP_ID_NOT_FOUND => return Ok(Tried::Done(None)),
            ErrorCode::NONE if group.group_state == DEAD => return Ok(Tried::Done(None)),
            ErrorCode::NONE => {}
            _ => return Err(answer.refused(group.error_code, group.error_message.as_deref())),
        }
        let readable = group.protocol_type == PROTOCOL_TYPE;
        Ok(Tried::Done(Some(Group {
            id: name.to_owned(),
            kind: "classic",
            state: group.group_state.to_string(),
            assignor: group.protocol_data.to_string(),
            epoch: None,
            coordinator: node,
            members: group.members.iter().map(|member| of_classic(member, readable)).collect(),
        })))
    })
}

fn of_next(group: &next::DescribedGroup<'_>, coordinator: i32) -> Group {
    let partitions = |assignment: &next::Assignment<'_>| -> Partitions {
        let topics = assignment.topic_partitions.iter();
        topics.map(|topic| (topic.topic_name.to_string(), sorted(&topic.partitions))).collect()
    };
    let member = |member: &next::Member<'_>| {
        let (assignment, target) = (partitions(&member.assignment), partitions(&member.target_assignment));
        Member {
            id: member.member_id.to_string(),
            instance: member.instance_id.as_deref().map(str::to_owned),
            client: member.client_id.to_string(),
            host: member.client_host.to_string(),
            epoch: Some(member.member_epoch),
            target: (target != assignment).then_some(target),
            assignment,
        }
    };
    Group {
        id: group.group_id.to_string(),
        kind: "consumer",
        state: group.group_state.to_string(),
        assignor: group.assignor_name.to_string(),
        epoch: Some(group.group_epoch),
        coordinator,
        members: group.members.iter().map(member).collect(),
    }
}

/// A member of the classic protocol. `readable`: whether its assignment is topics and partitions (Connect's workers have others).
fn of_classic(member: &DescribedGroupMember<'_>, readable: bool) -> Member {
    let assignment = Assignment::from_bytes(&member.member_assignment).ok().filter(|_| readable);
    let topics = assignment.map(|(_, assignment)| assignment.assigned_partitions).unwrap_or_default();
    Member {
        id: member.member_id.to_string(),
        instance: member.group_instance_id.as_deref().map(str::to_owned),
        client: member.client_id.to_string(),
        host: member.client_host.to_string(),
        epoch: None,
        assignment: topics.iter().map(|topic| (topic.topic.to_string(), sorted(&topic.partitions))).collect(),
        target: None,
    }
}

fn sorted(partitions: &[i32]) -> Vec<i32> {
    let mut partitions = partitions.to_vec();
    partitions.sort_unstable();
    partitions
}

/// All that a group has committed.
pub(in crate::cli) fn committed(cluster: &mut Cluster, name: &str) -> Outcome<BTreeMap<(String, i32), Committed>> {
    at_coordinator(cluster, name, |connection, _| {
        // Version 10 names topics by id; up to 7 there is one group in a request.
        let version = connection.version(ApiKey::OffsetFetch, 2, 9)?;
        let group =
            OffsetFetchRequestGroup { group_id: name.into(), topics: None, ..OffsetFetchRequestGroup::default() };
        let request = OffsetFetchRequest {
            group_id: name.into(),
            topics: None,
            groups: vec![group],
            ..OffsetFetchRequest::default()
        };
        let answer = connection.ask(ApiKey::OffsetFetch, version, &request)?;
        let response: OffsetFetchResponse = answer.decode()?;
        let code = response.groups.iter().map(|group| group.error_code).chain([response.error_code]).find(|c| *c != 0);
        if let Some(code) = code {
            return match moving(&answer, code) {
                Some(problem) => Ok(Tried::Again(problem)),
                // A group that is not there has committed nothing.
                None if error_of(code) == ErrorCode::GROUP_ID_NOT_FOUND => Ok(Tried::Done(BTreeMap::new())),
                None => Err(answer.refused(code, None)),
            };
        }
        let mut offsets = BTreeMap::new();
        let mut take = |topic: &str, partition: i32, offset: i64, metadata: Option<&str>| {
            if offset >= 0 {
                let metadata = metadata.unwrap_or_default().to_owned();
                offsets.insert((topic.to_owned(), partition), Committed { offset, metadata });
            }
        };
        for topic in &response.topics {
            let partitions = topic.partitions.iter();
            partitions.for_each(|p| take(&topic.name, p.partition_index, p.committed_offset, p.metadata.as_deref()));
        }
        for topic in response.groups.iter().flat_map(|group| &group.topics) {
            let partitions = topic.partitions.iter();
            partitions.for_each(|p| take(&topic.name, p.partition_index, p.committed_offset, p.metadata.as_deref()));
        }
        Ok(Tried::Done(offsets))
    })
}

/// Commits offsets for a group without members.
pub(in crate::cli) fn commit(cluster: &mut Cluster, name: &str, offsets: &[(String, i32, i64)]) -> Outcome {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition<'_>>> = BTreeMap::new();
    for (topic, partition, offset) in offsets {
        topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..OffsetCommitRequestPartition::default()
        });
    }
    let topic = |(name, partitions): (&&'_ str, &Vec<_>)| OffsetCommitRequestTopic {
        name: (*name).to_owned().into(),
        partitions: partitions.clone(),
        ..OffsetCommitRequestTopic::default()
    };
    at_coordinator(cluster, name, |connection, _| {
        let version = connection.version(ApiKey::OffsetCommit, 2, 9)?;
        let request = OffsetCommitRequest {
            group_id: name.into(),
            topics: topics.iter().map(topic).collect(),
            ..OffsetCommitRequest::default()
        };
        let answer = connection.ask(ApiKey::OffsetCommit, version, &request)?;
        let response: OffsetCommitResponse = answer.decode()?;
        let all = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.name, p)));
        let Some((topic, partition)) = all.into_iter().find(|(_, partition)| partition.error_code != 0) else {
            return Ok(Tried::Done(()));
        };
        if let Some(problem) = moving(&answer, partition.error_code) {
            return Ok(Tried::Again(problem));
        }
        Err(match error_of(partition.error_code) {
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::REBALANCE_IN_PROGRESS => not_empty(name, "members that came just now"),
            _ => answer
                .refused(partition.error_code, None)
                .next(format!("about partition {topic}-{}", partition.partition_index)),
        })
    })
}

/// Deletes a group with its offsets; whether it was there.
pub(in crate::cli) fn delete(cluster: &mut Cluster, name: &str) -> Outcome<bool> {
    at_coordinator(cluster, name, |connection, _| {
        let version = connection.version(ApiKey::DeleteGroups, 0, 2)?;
        let request = DeleteGroupsRequest { groups_names: vec![name.into()] };
        let answer = connection.ask(ApiKey::DeleteGroups, version, &request)?;
        let response: DeleteGroupsResponse = answer.decode()?;
        let Some(result) = response.results.first() else {
            return Err(connection.nonsense(ApiKey::DeleteGroups, "it leaves out the group that was asked for"));
        };
        if let Some(problem) = moving(&answer, result.error_code) {
            return Ok(Tried::Again(problem));
        }
        match error_of(result.error_code) {
            ErrorCode::NONE => Ok(Tried::Done(true)),
            ErrorCode::GROUP_ID_NOT_FOUND => Ok(Tried::Done(false)),
            ErrorCode::NON_EMPTY_GROUP => Err(not_empty(name, "members")),
            _ => Err(answer.refused(result.error_code, None)),
        }
    })
}

/// What everybody is told about a group that has members where it must not.
pub(in crate::cli) fn not_empty(name: &str, members: &str) -> Problem {
    Problem::new(format!("group `{name}` has {members}; this needs a group without"))
        .next(format!("see who they are: floe group describe {name}"))
        .next("end those consumers; one that was killed is forgotten after its session timeout")
}

/// The answer that the coordinator moves or is not ready, as a problem in case that it lasts.
fn moving(answer: &Answer, code: i16) -> Option<Problem> {
    let moving =
        [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR];
    let problem = || answer.refused(code, None).next("try again in a moment; see the broker's log");
    moving.contains(&error_of(code)).then(problem)
}

/// Asks a group's coordinator, again and again while it is moving (up to the timeout).
fn at_coordinator<T>(
    cluster: &mut Cluster,
    group: &str,
    mut step: impl FnMut(&mut Connection, i32) -> Outcome<Tried<T>>,
) -> Outcome<T> {
    let until = Instant::now() + cluster.timeout();
    loop {
        let tried = match coordinator(cluster, group)? {
            Tried::Done(node) => step(cluster.broker(node)?, node)?,
            Tried::Again(problem) => Tried::Again(problem),
        };
        match tried {
            Tried::Done(value) => return Ok(value),
            Tried::Again(problem) if Instant::now() > until => return Err(problem),
            Tried::Again(_) => std::thread::sleep(RETRY_PAUSE),
        }
    }
}

/// Node id of a group's coordinator, which is in the cluster's metadata then.
pub(in crate::cli) fn find(cluster: &mut Cluster, group: &str) -> Outcome<i32> {
    at_coordinator(cluster, group, |_, node| Ok(Tried::Done(node)))
}

fn coordinator(cluster: &mut Cluster, group: &str) -> Outcome<Tried<i32>> {
    let connection = cluster.any();
    let version = connection.version(ApiKey::FindCoordinator, 0, 6)?;
    let request = FindCoordinatorRequest { key: group.into(), key_type: GROUP, coordinator_keys: vec![group.into()] };
    let answer = connection.ask(ApiKey::FindCoordinator, version, &request)?;
    let response: FindCoordinatorResponse = answer.decode()?;
    // Version 4 moved the answer into a list (KIP-699).
    let (code, message, node) = match response.coordinators.first() {
        Some(found) => (found.error_code, found.error_message.as_deref(), found.node_id),
        None => (response.error_code, response.error_message.as_deref(), response.node_id),
    };
    if let Some(problem) = moving(&answer, code) {
        return Ok(Tried::Again(problem));
    }
    if code != 0 {
        return Err(answer.refused(code, message));
    }
    if !cluster.brokers.contains_key(&node) {
        cluster.refresh()?;
    }
    Ok(Tried::Done(node))
}
