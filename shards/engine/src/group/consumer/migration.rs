//! A group changes its protocol while its members stay (KIP-848, online migration).
//!
//! - Up: the first member that speaks KIP-848 comes to a classic group of consumers. The members are taken over as they stand at the group's generation,
//!   which becomes the epoch, with what they were given and what they may still have in hand; whoever waits in a join or sync is told to join again.
//! - Down: the last such member goes, or a static one comes back by the classic protocol. The group's epoch becomes the generation, what each of those that
//!   are left still holds its assignment, and they agree anew, also after a restart: until they have, the record names no leader.
//!
//! Both are a decision like any other: the records that forget the one group, and those that make the other. Replay knows no migration.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use floe_wire::consumer_protocol::{Assignment, Subscription};
use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use super::ConsumerGroup;
use super::classic::{assignment, by_id, topics};
use super::partitions::{Partitions, each, joined, push};
use crate::event::LogLevel;
use crate::group::classic::{ClassicGroup, Protocols};
use crate::group::records::{
    ClassicMember, ClassicMemberMetadata, CurrentAssignment, GroupEpoch, GroupRecord, MemberMetadata, MemberState,
    TargetEpoch,
};
use crate::group::{Context, Name};
use crate::metadata::Image;

/// The records of a classic group's members as a KIP-848 group: that group's whole state. An error is Kafka's message of why not.
pub(in crate::group) fn upgrade(
    cx: &Context<'_>,
    name: &Name,
    classic: &ClassicGroup,
) -> Result<Vec<GroupRecord>, String> {
    let cannot = |why: &str| Err(format!("Cannot upgrade classic group {name} to consumer group because {why}."));
    if !cx.settings.consumer_migration.upgrades() {
        return cannot("online upgrade is disabled");
    }
    if !classic.is_consumers() {
        return cannot("the group does not use the consumer embedded protocol");
    }
    if classic.members() > cx.settings.consumer_group_size_max {
        return cannot("the group size exceeds the consumer group maximum size");
    }
    let epoch = classic.generation();
    let mut taken = HashSet::with_hasher(FxBuildHasher);
    let (mut members, mut claims) = (BTreeMap::new(), Vec::new());
    for (member, protocols) in classic.migrants() {
        let Ok((_, subscription)) = Subscription::from_bytes(&member.subscription) else {
            return cannot("the embedded consumer protocol is malformed");
        };
        let Ok(given) = owned(&member.assignment, cx.image) else {
            return cannot("the embedded consumer protocol is malformed");
        };
        let Some(given) = given else {
            return cannot(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade",
            );
        };
        // A leader may have given a partition to several: the first keeps it.
        let mut assigned = Partitions::new();
        each(&given).filter(|one| taken.insert(*one)).for_each(|(topic, at)| push(&mut assigned, topic, at));
        let said = by_id(&subscription.owned_partitions, cx.image);
        members.insert(member.id.clone(), (metadata(&member, protocols, &subscription), assigned));
        claims.push((member.id, said));
    }
    // What a member said it has when it joined is in its hands until it has learned that it is to give it up, and joined again (KIP-429): it may not have.
    for (id, said) in claims {
        let mut more = Partitions::new();
        each(&said).filter(|one| taken.insert(*one)).for_each(|(topic, at)| push(&mut more, topic, at));
        if let Some((_, assigned)) = members.get_mut(&id).filter(|_| !more.is_empty()) {
            *assigned = joined(assigned, &more);
        }
    }
    Ok(created(cx, name, epoch, members))
}

/// In Kafka's order.
fn created(
    cx: &Context<'_>,
    name: &Name,
    epoch: i32,
    members: BTreeMap<Name, (MemberMetadata, Partitions)>,
) -> Vec<GroupRecord> {
    let group = || name.clone();
    let mut records = Vec::with_capacity(3 * members.len() + 2);
    for (member, (metadata, _)) in &members {
        let value = Some(metadata.clone());
        records.push(GroupRecord::Member { group: group(), member: member.clone(), value });
    }
    // A hash that fits no topics: the heartbeat for which all this happens raises the epoch in any case, so that everybody joins again.
    records.push(GroupRecord::Epoch { group: group(), value: Some(GroupEpoch { epoch, metadata_hash: 0 }) });
    for (member, (_, assigned)) in &members {
        let value = Some(assigned.clone());
        records.push(GroupRecord::Target { group: group(), member: member.clone(), value });
    }
    let value = Some(TargetEpoch { epoch, computed_ms: cx.now.wall_ms });
    records.push(GroupRecord::TargetEpoch { group: group(), value });
    for (member, (_, assigned)) in members {
        let (state, revoking) = (MemberState::Stable, Partitions::new());
        let value = CurrentAssignment { member_epoch: epoch, previous_epoch: epoch, state, assigned, revoking };
        records.push(GroupRecord::Current { group: group(), member, value: Some(value) });
    }
    records
}

/// What a member was given. `None`: its leader also gave it what only its assignor understands.
fn owned(given: &Bytes, image: &Image) -> Result<Option<Partitions>, ()> {
    if given.is_empty() {
        return Ok(Some(Partitions::new()));
    }
    let (_, given) = Assignment::from_bytes(given).map_err(|_| ())?;
    let has_more = given.user_data.as_ref().is_some_and(|data| !data.is_empty());
    Ok((!has_more).then(|| by_id(&given.assigned_partitions, image)))
}

fn metadata(member: &ClassicMember, protocols: &[(Name, Bytes)], subscription: &Subscription<'_>) -> MemberMetadata {
    MemberMetadata {
        instance_id: member.instance_id.clone(),
        rack_id: subscription.rack_id.as_deref().map(Name::from),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        topics: topics(subscription),
        expression: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        assignor: None,
        classic: Some(ClassicMemberMetadata {
            session_timeout_ms: member.session_timeout_ms,
            protocols: protocols.to_vec(),
        }),
    }
}

impl ConsumerGroup {
    /// The records that make this a classic group without `leaving`, and with `joining` instead if a static member comes back; `None` when not all that are
    /// left speak that protocol, when nobody is left, or when it is not allowed.
    pub(super) fn downgrade(
        &self,
        cx: &mut Context<'_>,
        leaving: &BTreeSet<&Name>,
        joining: Option<(&Name, &MemberMetadata)>,
    ) -> Option<Vec<GroupRecord>> {
        let name = &self.group;
        let left = self.members.iter().filter(|(id, _)| !leaving.contains(id));
        let left = left.map(|(id, member)| (id, &member.metadata)).chain(joining);
        let left = left.map(|(id, metadata)| Some((id, metadata, metadata.classic.as_ref()?)));
        let left = left.collect::<Option<Vec<_>>>().filter(|left| !left.is_empty())?;
        // A group of classic members alone has been refused this before, and is again.
        if !cx.settings.consumer_migration.downgrades() || left.len() > cx.settings.group_size_max {
            return None;
        }
        let count = left.len();
        cx.audit.line(LogLevel::Info, || {
            format!("group {name}: becomes a classic group at epoch {}, with {count} members", self.epoch.epoch)
        });
        // Not the targets, which others may still hold: a KIP-848 member may come before the members have agreed, and then it is this that they have.
        let held = |id: &Name, given: &[u8]| {
            let is_joining = joining.is_some_and(|(joining, _)| joining == id);
            let place = leaving.first().filter(|_| is_joining).copied().unwrap_or(id);
            let current = self.members.get(place).map(|member| &member.current);
            let held = current.map(|current| joined(&current.assigned, &current.revoking));
            assignment(&held.unwrap_or_default(), given, cx.image)
        };
        let classic = ClassicGroup::converted(cx, name, self.epoch.epoch, left.into_iter(), held);
        let mut records = self.tombstones();
        records.push(classic);
        Some(records)
    }

    /// The protocols of its classic members, of which the record of a classic group keeps one.
    pub fn protocols(&self) -> Protocols {
        let members = self.members.iter().filter_map(|(id, member)| Some((id, member.metadata.classic.as_ref()?)));
        members.map(|(id, classic)| (id.clone(), classic.protocols.clone())).collect()
    }
}
