//! ConsumerGroupHeartbeat: a member joins, stays, changes its mind, says what it has given up, or leaves. Checks and their messages are Kafka's, in
//! Kafka's order.
//!
//! A heartbeat that changes nothing writes nothing and allocates nothing but its answer.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use floe_wire::ids::TopicId;

use super::advance::{Brought, Refusal, Speaker};
use super::draft::supports;
use super::partitions::{Partitions, sorted, within};
use super::{ConsumerGroup, Member, NO_EPOCH, assignors};
use crate::event::LogLevel;
use crate::group::api::{ConsumerHeartbeat, ConsumerHeartbeatAnswer, GroupAnswer};
use crate::group::records::{CurrentAssignment, GroupRecord, MemberMetadata, MemberState};
use crate::group::{Caller, Context, Decision, GroupSettings, Name};
use crate::requests::codes;

/// Epoch of a member that joins.
const JOIN: i32 = 0;
/// Epoch of a member that leaves.
const LEAVE: i32 = -1;
/// Epoch of a static member that leaves for a while.
const LEAVE_STATIC: i32 = -2;

impl ConsumerGroup {
    /// A member speaks. Changes nothing that [`ConsumerGroup::apply`] of the decision's records would not make by itself: on a new group this is
    /// called on a value that is thrown away.
    pub fn heartbeat(&mut self, cx: &mut Context<'_>, caller: &Caller, mut call: ConsumerHeartbeat) -> Decision {
        if call.member.is_empty() && call.member_epoch == JOIN {
            call.member = cx.ids.next_text().into();
        }
        let must_compare = self.begin(cx);
        match self.decide(cx, caller, &call, must_compare) {
            Ok((records, answer)) => {
                if must_compare && call.member_epoch >= JOIN {
                    self.seen(cx);
                }
                self.heard(cx, &call.member);
                let answers = vec![(caller.asker, GroupAnswer::ConsumerHeartbeat(answer))];
                Decision { records, answers, ..Decision::default() }
            }
            Err(refusal) => refused(caller, refusal),
        }
    }

    fn decide(
        &self,
        cx: &mut Context<'_>,
        caller: &Caller,
        call: &ConsumerHeartbeat,
        must_compare: bool,
    ) -> Result<(Vec<GroupRecord>, ConsumerHeartbeatAnswer), Refusal> {
        check(cx.settings, call)?;
        if self.epoch.epoch == 0 && self.members.is_empty() && call.member_epoch != JOIN {
            return Err(Refusal(codes::GROUP_ID_NOT_FOUND, format!("Group {} not found.", self.group)));
        }
        if matches!(call.member_epoch, LEAVE | LEAVE_STATIC) {
            let answer = ConsumerHeartbeatAnswer {
                member: Some(call.member.clone()),
                member_epoch: call.member_epoch,
                ..ConsumerHeartbeatAnswer::default()
            };
            return self.leave(cx, call).map(|records| (records, answer));
        }
        let owned = call.owned.as_deref().map(sorted);
        let speaker = self.speaker(cx, call, owned.as_deref())?;
        let changed = changed_metadata(speaker.known.map(|member| &member.metadata), caller, call);
        let step = self.advance(cx, &speaker, Brought { changed, owned: owned.as_deref(), must_compare })?;
        let full = call.member_epoch == JOIN
            || call.rebalance_timeout_ms != -1
                && (call.topics.is_some() || call.expression.is_some())
                && call.owned.is_some();
        let answer = ConsumerHeartbeatAnswer {
            member: Some(speaker.id.clone()),
            member_epoch: step.after.member_epoch,
            heartbeat_interval_ms: cx.settings.consumer_heartbeat_interval_ms,
            assignment: (full || step.moved).then(|| step.after.assigned.clone()),
            ..ConsumerHeartbeatAnswer::default()
        };
        Ok((step.records, answer))
    }

    /// Finds out who speaks, and whether it may.
    fn speaker(
        &self,
        cx: &mut Context<'_>,
        call: &ConsumerHeartbeat,
        owned: Option<&[(TopicId, Vec<i32>)]>,
    ) -> Result<Speaker<'_>, Refusal> {
        let id = call.member.clone();
        let known = self.members.get(&id);
        let placed = call.instance.as_ref().and_then(|instance| self.instances.get(instance));
        // Whoever comes in a static member's place as well: Kafka counts before it looks at instances.
        if known.is_none() && self.members.len() >= cx.settings.consumer_group_size_max {
            let most = cx.settings.consumer_group_size_max;
            return Err(Refusal(
                codes::GROUP_MAX_SIZE_REACHED,
                format!("The consumer group has reached its maximum capacity of {most} members."),
            ));
        }
        if call.member_epoch == JOIN {
            return match (placed, &call.instance) {
                (Some(place), Some(instance)) if *place != id => {
                    let before = &self.members[place];
                    // One that speaks the classic protocol cannot say that it leaves for a while: it is replaced, as in that protocol.
                    if before.metadata.classic.is_none() && before.current.member_epoch != LEAVE_STATIC {
                        return Err(Refusal(
                            codes::UNRELEASED_INSTANCE_ID,
                            format!(
                                "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by {place} member."
                            ),
                        ));
                    }
                    Ok(Speaker { id, known: Some(before), replaces: Some(place) })
                }
                _ => Ok(Speaker { id, known, replaces: None }),
            };
        }
        let member = match &call.instance {
            None => known.ok_or_else(|| self.unknown(&id))?,
            Some(instance) => self.placed(&id, instance)?,
        };
        check_epoch(&member.current, call.member_epoch, owned)?;
        Ok(Speaker { id, known: Some(member), replaces: None })
    }

    pub(super) fn unknown(&self, id: &Name) -> Refusal {
        Refusal(codes::UNKNOWN_MEMBER_ID, format!("Member {id} is not a member of group {}.", self.group))
    }

    /// The static member of this instance, if this is its id.
    pub(super) fn placed(&self, id: &Name, instance: &Name) -> Result<&Member, Refusal> {
        match self.instances.get(instance) {
            None => Err(Refusal(codes::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown."))),
            Some(place) if place != id => Err(Refusal(
                codes::FENCED_INSTANCE_ID,
                format!("Static member {id} with instance id {instance} was fenced by member {place}."),
            )),
            Some(place) => Ok(&self.members[place]),
        }
    }

    /// It leaves, for good or (static) for a while: then what it owns waits for it, as long as its session lasts.
    fn leave(&self, cx: &mut Context<'_>, call: &ConsumerHeartbeat) -> Result<Vec<GroupRecord>, Refusal> {
        let id = &call.member;
        let member = match &call.instance {
            None => self.members.get(id).ok_or_else(|| self.unknown(id))?,
            Some(instance) => self.placed(id, instance)?,
        };
        if call.member_epoch == LEAVE {
            cx.audit.line(LogLevel::Info, || format!("group {}: member {id} leaves", self.group));
            return Ok(self.fence(cx, &BTreeSet::from([id])));
        }
        cx.audit.line(LogLevel::Info, || format!("group {}: static member {id} leaves for a while", self.group));
        let current = CurrentAssignment {
            member_epoch: LEAVE_STATIC,
            previous_epoch: member.current.member_epoch,
            state: MemberState::Stable,
            assigned: member.current.assigned.clone(),
            revoking: Partitions::new(),
        };
        if member.current == current || member.current.member_epoch == LEAVE_STATIC {
            return Ok(Vec::new());
        }
        Ok(vec![self.current_record(id, current)])
    }
}

/// An error as an answer.
fn refused(caller: &Caller, Refusal(error_code, message): Refusal) -> Decision {
    let answer = ConsumerHeartbeatAnswer { error_code, error_message: Some(message), ..Default::default() };
    Decision::answer(caller.asker, GroupAnswer::ConsumerHeartbeat(answer))
}

/// A consumer comes to a classic group that has members and is to stay what it is.
pub(in crate::group) fn not_a_consumer_group(caller: &Caller, message: String) -> Decision {
    refused(caller, Refusal(codes::GROUP_ID_NOT_FOUND, message))
}

/// What the request itself must obey.
fn check(settings: &GroupSettings, call: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let is_empty = |name: &Option<Name>| name.as_ref().is_some_and(|name| name.trim().is_empty());
    let joins = call.member_epoch == JOIN;
    let rules = [
        (call.member.trim().is_empty(), "MemberId can't be empty."),
        (is_empty(&call.instance), "InstanceId can't be empty."),
        (is_empty(&call.rack), "RackId can't be empty."),
        (joins && call.rebalance_timeout_ms == -1, "RebalanceTimeoutMs must be provided in first request."),
        (
            joins && call.owned.as_ref().is_none_or(|owned| !owned.is_empty()),
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            joins && call.topics.is_none() && call.expression.is_none(),
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (call.member_epoch == LEAVE_STATIC && call.instance.is_none(), "InstanceId can't be null."),
        (call.member_epoch < LEAVE_STATIC, "MemberEpoch is invalid."),
    ];
    if let Some((_, message)) = rules.into_iter().find(|(broken, _)| *broken) {
        return Err(Refusal(codes::INVALID_REQUEST, message.into()));
    }
    match &call.assignor {
        Some(name) if !supports(settings, name) => {
            let offered = settings.consumer_assignors.iter().filter(|name| assignors::NAMES.contains(&name.as_str()));
            let offered = offered.map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(Refusal(
                codes::UNSUPPORTED_ASSIGNOR,
                format!("ServerAssignor {name} is not supported. Supported assignors: {offered}."),
            ))
        }
        _ => Ok(()),
    }
}

/// A member must be at its epoch, or at the one before when it owns no more than it was given: then the answer that told it was lost.
fn check_epoch(current: &CurrentAssignment, epoch: i32, owned: Option<&[(TopicId, Vec<i32>)]>) -> Result<(), Refusal> {
    let known = current.member_epoch;
    let was_lost = || epoch == current.previous_epoch && owned.is_some_and(|owned| within(owned, &current.assigned));
    let compared = match epoch.cmp(&known) {
        Ordering::Equal => return Ok(()),
        Ordering::Less if epoch != NO_EPOCH && was_lost() => return Ok(()),
        Ordering::Less => "smaller",
        Ordering::Greater => "greater",
    };
    Err(Refusal(
        codes::FENCED_MEMBER_EPOCH,
        format!(
            "The consumer group member has a {compared} member epoch ({epoch}) than the one known by the group coordinator ({known}). The member must abandon all its partitions and rejoin."
        ),
    ))
}

/// The member as it describes itself now; `None`: as before.
fn changed_metadata(
    before: Option<&MemberMetadata>,
    caller: &Caller,
    call: &ConsumerHeartbeat,
) -> Option<MemberMetadata> {
    let topics = call.topics.as_ref().map(|topics| {
        let mut topics = topics.clone();
        topics.sort_unstable();
        topics.dedup();
        topics
    });
    let expression = call.expression.as_ref().map(|expression| Some(expression).filter(|text| !text.is_empty()));
    let Some(before) = before else {
        return Some(MemberMetadata {
            instance_id: call.instance.clone(),
            rack_id: call.rack.clone(),
            client_id: caller.client_id.clone(),
            client_host: caller.client_host.clone(),
            topics: topics.unwrap_or_default(),
            expression: expression.flatten().cloned(),
            rebalance_timeout_ms: call.rebalance_timeout_ms,
            assignor: call.assignor.clone(),
            classic: None,
        });
    };
    let same = |said: &Option<Name>, known: &Option<Name>| said.is_none() || said == known;
    if before.classic.is_none()
        && same(&call.instance, &before.instance_id)
        && same(&call.rack, &before.rack_id)
        && same(&call.assignor, &before.assignor)
        && caller.client_id == before.client_id
        && caller.client_host == before.client_host
        && topics.as_ref().is_none_or(|topics| *topics == before.topics)
        && expression.is_none_or(|expression| expression == before.expression.as_ref())
        && (call.rebalance_timeout_ms == -1 || call.rebalance_timeout_ms == before.rebalance_timeout_ms)
    {
        return None;
    }
    Some(MemberMetadata {
        instance_id: call.instance.clone().or_else(|| before.instance_id.clone()),
        rack_id: call.rack.clone().or_else(|| before.rack_id.clone()),
        client_id: caller.client_id.clone(),
        client_host: caller.client_host.clone(),
        topics: topics.unwrap_or_else(|| before.topics.clone()),
        expression: expression.map_or_else(|| before.expression.clone(), Option::<&Name>::cloned),
        rebalance_timeout_ms: if call.rebalance_timeout_ms == -1 {
            before.rebalance_timeout_ms
        } else {
            call.rebalance_timeout_ms
        },
        assignor: call.assignor.clone().or_else(|| before.assignor.clone()),
        classic: None,
    })
}
