//! Members of a KIP-848 group that speak the classic protocol, while a group migrates: they join, sync, send heartbeats and leave as ever, and the coordinator
//! leads them to their targets by asking them to join again. Checks are Kafka's, in Kafka's order.
//!
//! Their generation is their member epoch. A join is answered at once, with nobody as the leader; the assignment of a sync is what the member owns now.

use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::consumer_protocol::{Assignment, PROTOCOL_TYPE, Subscription, TopicPartition};

use super::advance::{Brought, Speaker, Step};
use super::partitions::{Partitions, each, sorted, without};
use super::{ConsumerGroup, Member};
use crate::event::LogLevel;
use crate::group::api::{Asker, GroupAnswer, GroupRequest, Join, Joined, Leaver, MemberRef, Sync, Synced};
use crate::group::records::{ClassicMemberMetadata, GroupRecord, MemberMetadata, MemberState};
use crate::group::{Caller, Context, Decision, Name, millis};
use crate::metadata::Image;
use crate::requests::codes;

impl ConsumerGroup {
    /// Join, sync, heartbeat or leave by a member that speaks the classic protocol.
    pub fn classic(&mut self, cx: &mut Context<'_>, caller: &Caller, request: GroupRequest) -> Decision {
        match request {
            GroupRequest::Join(join) => self.join(cx, caller, join),
            GroupRequest::Sync(sync) => Decision::answer(caller.asker, self.sync(cx, sync)),
            GroupRequest::Heartbeat(who) => {
                let code = self.classic_heartbeat(cx, &who).err().unwrap_or(codes::NONE);
                Decision::answer(caller.asker, GroupAnswer::Heartbeat(code))
            }
            GroupRequest::Leave(leavers) => self.leave_classic(cx, caller.asker, &leavers),
            other => unreachable!("not of the classic protocol: {other:?}"),
        }
    }

    /// A member joins, or joins again, and is a step nearer to its target.
    fn join(&mut self, cx: &mut Context<'_>, caller: &Caller, join: Join) -> Decision {
        let is_unknown = join.member.is_empty();
        let id = if is_unknown { cx.ids.next_text().into() } else { join.member.clone() };
        let code = self.check_join(cx, &join, &id);
        if code != codes::NONE {
            return Decision::answer(caller.asker, Joined::error(join.member, code));
        }
        if is_unknown && join.instance.is_none() && join.needs_member_id {
            return Decision::answer(caller.asker, Joined::error(id, codes::MEMBER_ID_REQUIRED));
        }
        let must_compare = self.begin(cx);
        match self.decide_join(cx, caller, &join, &id, must_compare) {
            Ok((records, generation)) => {
                if must_compare {
                    self.seen(cx);
                }
                self.has_joined(cx, &join, &id);
                let joined = Joined {
                    generation,
                    protocol_type: Some(PROTOCOL_TYPE.into()),
                    protocol: join.protocols.first().map(|(name, _)| name.clone()),
                    member: id,
                    ..Joined::default()
                };
                Decision { records, ..Decision::answer(caller.asker, GroupAnswer::Joined(joined)) }
            }
            Err(code) => Decision::answer(caller.asker, Joined::error(join.member, code)),
        }
    }

    /// What speaks against a join before it is looked at what it brings.
    fn check_join(&self, cx: &Context<'_>, join: &Join, id: &Name) -> i16 {
        let sessions = cx.settings.session_timeout_ms_min..=cx.settings.session_timeout_ms_max;
        if !sessions.contains(&join.session_timeout_ms) {
            return codes::INVALID_SESSION_TIMEOUT;
        }
        if self.members.len() >= cx.settings.consumer_group_size_max && !self.members.contains_key(id) {
            return codes::GROUP_MAX_SIZE_REACHED;
        }
        // One of its protocols must be one of every other member that speaks this protocol.
        let others: Vec<&ClassicMemberMetadata> =
            self.members.values().filter_map(|member| member.metadata.classic.as_ref()).collect();
        let common = |name: &Name| others.iter().all(|other| other.protocols.iter().any(|(theirs, _)| theirs == name));
        let agrees = *join.protocol_type == *PROTOCOL_TYPE && join.protocols.iter().any(|(name, _)| common(name));
        if agrees { codes::NONE } else { codes::INCONSISTENT_GROUP_PROTOCOL }
    }

    fn decide_join(
        &self,
        cx: &mut Context<'_>,
        caller: &Caller,
        join: &Join,
        id: &Name,
        must_compare: bool,
    ) -> Result<(Vec<GroupRecord>, i32), i16> {
        let speaker = self.joins_as(join, id)?;
        // All protocols come with the same subscription.
        let subscription = join.protocols.first().and_then(|(_, metadata)| Subscription::from_bytes(metadata).ok());
        let (_, subscription) = subscription.ok_or(codes::UNKNOWN_SERVER_ERROR)?;
        let owned = by_id(&subscription.owned_partitions, cx.image);
        let before = speaker.known.map(|member| &member.metadata);
        let metadata = metadata(caller, join, &subscription, before);
        if let Some(place) = speaker.replaces
            && let Some(records) = self.downgrade(cx, &BTreeSet::from([place]), Some((id, &metadata)))
        {
            return Ok((records, self.epoch.epoch));
        }
        let changed = (before != Some(&metadata)).then_some(metadata);
        let brought = Brought { changed, owned: Some(&owned), must_compare };
        let step: Step<'_> = self.advance(cx, &speaker, brought).map_err(|refusal| refusal.0)?;
        Ok((step.records, step.after.member_epoch))
    }

    /// Who joins: somebody new, a known member, or a static one under a new id, which replaces the one before it.
    fn joins_as(&self, join: &Join, id: &Name) -> Result<Speaker<'_>, i16> {
        let speaker = |known, replaces| Speaker { id: id.clone(), known, replaces };
        let Some(instance) = &join.instance else { return Ok(speaker(self.members.get(id), None)) };
        if !join.member.is_empty() {
            return Ok(speaker(Some(self.placed(id, instance).map_err(|refusal| refusal.0)?), None));
        }
        let place = self.instances.get(instance);
        Ok(speaker(place.map(|place| &self.members[place]), place))
    }

    /// It is heard, need not join again for now, and has the rebalance timeout to ask for its assignment.
    fn has_joined(&mut self, cx: &Context<'_>, join: &Join, id: &Name) {
        let sync_until = cx.now.after(millis(join.rebalance_timeout_ms));
        let Some(member) = self.members.get_mut(id) else {
            self.joining = Some((id.clone(), sync_until));
            return;
        };
        member.session_until = Some(cx.now.after(millis(join.session_timeout_ms)));
        (member.join_until, member.sync_until) = (None, Some(sync_until));
        let first = member.session_until.into_iter().chain(member.sync_until).min().expect("two of them");
        self.look_at(id, first);
    }

    fn sync(&mut self, cx: &Context<'_>, sync: Sync) -> GroupAnswer {
        match self.check_sync(cx, &sync) {
            Ok(assignment) => {
                self.heard(cx, &sync.who.member);
                self.members.get_mut(&sync.who.member).expect("it was checked").sync_until = None;
                let Sync { protocol_type, protocol, .. } = sync;
                GroupAnswer::Synced(Synced { error_code: codes::NONE, protocol_type, protocol, assignment })
            }
            Err(code) => Synced::error(code),
        }
    }

    fn check_sync(&mut self, cx: &Context<'_>, sync: &Sync) -> Result<Bytes, i16> {
        let group_epoch = self.epoch.epoch;
        let member = self.speaks_classic(&sync.who)?;
        let (name, metadata) = first_protocol(member).ok_or(codes::UNKNOWN_MEMBER_ID)?;
        if sync.protocol_type.as_ref().is_some_and(|said| **said != *PROTOCOL_TYPE)
            || sync.protocol.as_ref().is_some_and(|said| said != name)
        {
            return Err(codes::INCONSISTENT_GROUP_PROTOCOL);
        }
        // Who is to give up partitions learns here which, and joins again by itself.
        if member.current.member_epoch < group_epoch && member.current.state != MemberState::UnrevokedPartitions {
            self.must_join(cx, &sync.who.member);
            return Err(codes::REBALANCE_IN_PROGRESS);
        }
        Ok(assignment(&member.current.assigned, metadata, cx.image))
    }

    fn classic_heartbeat(&mut self, cx: &Context<'_>, who: &MemberRef) -> Result<(), i16> {
        let (group_epoch, member) = (self.epoch.epoch, self.speaks_classic(who)?);
        let must_join = member.current.member_epoch < group_epoch
            || match member.current.state {
                MemberState::Stable => false,
                MemberState::UnreleasedPartitions => !self.waits_for_others(&who.member, member),
                MemberState::UnrevokedPartitions | MemberState::Unknown => true,
            };
        self.heard(cx, &who.member);
        if must_join {
            self.must_join(cx, &who.member);
            return Err(codes::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// It was told to join again.
    fn must_join(&mut self, cx: &Context<'_>, id: &Name) {
        let Some(member) = self.members.get_mut(id) else { return };
        let until = cx.now.after(millis(member.metadata.rebalance_timeout_ms));
        let until = *member.join_until.get_or_insert(until);
        self.look_at(id, until);
    }

    /// Whether others still hold what the member is to get.
    fn waits_for_others(&self, id: &Name, member: &Member) -> bool {
        let target = self.targets.get(id).map_or(&[][..], Vec::as_slice);
        each(&without(target, &member.current.assigned)).any(|partition| self.owners.contains_key(&partition))
    }

    /// The member at this generation, if it speaks the classic protocol.
    fn speaks_classic(&self, who: &MemberRef) -> Result<&Member, i16> {
        let member = match &who.instance {
            None => self.members.get(&who.member).ok_or(codes::UNKNOWN_MEMBER_ID)?,
            Some(instance) => self.placed(&who.member, instance).map_err(|refusal| refusal.0)?,
        };
        match &member.metadata.classic {
            None => Err(codes::UNKNOWN_MEMBER_ID),
            Some(_) if member.current.member_epoch != who.generation => Err(codes::ILLEGAL_GENERATION),
            Some(_) => Ok(member),
        }
    }

    /// Members of either protocol go, or are made to: an administrator names static ones by instance alone.
    fn leave_classic(&mut self, cx: &mut Context<'_>, asker: Asker, leavers: &[Leaver]) -> Decision {
        let (mut leaving, mut codes) = (BTreeSet::new(), Vec::with_capacity(leavers.len()));
        for leaver in leavers {
            let found = match &leaver.instance {
                None => self.members.get_key_value(&leaver.member).map(|(id, _)| id).ok_or(codes::UNKNOWN_MEMBER_ID),
                Some(instance) => match self.instances.get(instance) {
                    None => Err(codes::UNKNOWN_MEMBER_ID),
                    Some(id) if !leaver.member.is_empty() && *id != leaver.member => Err(codes::FENCED_INSTANCE_ID),
                    Some(id) => Ok(id),
                },
            };
            codes.push(found.as_ref().err().copied().unwrap_or(codes::NONE));
            let Ok(id) = found else { continue };
            let said = leaver.reason.as_deref().filter(|said| !said.is_empty());
            let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
            cx.audit.line(LogLevel::Info, || format!("group {}: member {id} leaves{said}", self.group));
            leaving.insert(id);
        }
        let records = if leaving.is_empty() { Vec::new() } else { self.fence(cx, &leaving) };
        Decision { records, ..Decision::answer(asker, GroupAnswer::Left(Ok(codes))) }
    }
}

/// The member as it describes itself now; of `before` stays what a join does not tell.
fn metadata(
    caller: &Caller,
    join: &Join,
    subscription: &Subscription<'_>,
    before: Option<&MemberMetadata>,
) -> MemberMetadata {
    MemberMetadata {
        instance_id: join.instance.clone().or_else(|| before?.instance_id.clone()),
        rack_id: subscription.rack_id.as_deref().map(Name::from).or_else(|| before?.rack_id.clone()),
        client_id: caller.client_id.clone(),
        client_host: caller.client_host.clone(),
        topics: topics(subscription),
        expression: None,
        rebalance_timeout_ms: match (join.rebalance_timeout_ms, before) {
            (-1, Some(before)) => before.rebalance_timeout_ms,
            (given, _) => given,
        },
        assignor: before.and_then(|before| before.assignor.clone()),
        classic: Some(ClassicMemberMetadata {
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols.clone(),
        }),
    }
}

/// Topics subscribed to, rising.
pub(super) fn topics(subscription: &Subscription<'_>) -> Vec<Name> {
    let topics: BTreeSet<&str> = subscription.topics.iter().map(|topic| &**topic).collect();
    topics.into_iter().map(Name::from).collect()
}

/// What clients name by topic; what is not there is left out.
pub(super) fn by_id(given: &[TopicPartition<'_>], image: &Image) -> Partitions {
    let known = given.iter().filter_map(|of_topic| {
        let topic = image.topic(&of_topic.topic)?;
        let there = of_topic.partitions.iter().copied().filter(|partition| (0..topic.partitions).contains(partition));
        Some((topic.id, there.collect()))
    });
    sorted(&known.collect::<Partitions>())
}

/// What a member is given, in the version of what it gave.
pub(super) fn assignment(owned: &Partitions, given: &[u8], image: &Image) -> Bytes {
    let version = given.first_chunk::<2>().map_or(0, |version| i16::from_be_bytes(*version));
    let named = owned.iter().filter_map(|(id, partitions)| {
        let topic = image.topic_by_id(*id)?.name.as_str().into();
        Some(TopicPartition { topic, partitions: partitions.clone() })
    });
    let mut assigned_partitions: Vec<TopicPartition<'_>> = named.collect();
    assigned_partitions.sort_by(|one, other| one.topic.cmp(&other.topic));
    Assignment { assigned_partitions, user_data: None }.to_bytes(version)
}

/// The protocol by whose name the member is addressed.
fn first_protocol(member: &Member) -> Option<(&Name, &Bytes)> {
    let classic = member.metadata.classic.as_ref()?;
    classic.protocols.first().map(|(name, metadata)| (name, metadata))
}
