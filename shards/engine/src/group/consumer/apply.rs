//! Records taken in: the only place where a group's durable state changes, live as in replay. Any order of keys is taken, as compaction leaves them.

use floe_wire::ids::TopicId;

use super::partitions::each;
use super::{ConsumerGroup, Member, nothing_owned};
use crate::group::audit::GroupCounts;
use crate::group::records::{CurrentAssignment, GroupEpoch, GroupRecord, MemberMetadata, MemberState, TargetEpoch};
use crate::group::{Name, millis};
use crate::time::{Deadline, Time};

impl ConsumerGroup {
    /// A record holds: live, or (without a time) read from the log.
    pub fn apply(&mut self, now: Option<Time>, record: &GroupRecord, counts: &mut GroupCounts) {
        match record {
            GroupRecord::Epoch { value, .. } => {
                self.epoch = value.unwrap_or(GroupEpoch { epoch: 0, metadata_hash: 0 });
                if let Some(now) = now {
                    self.rebalance_since.get_or_insert(now.mono_ns);
                }
            }
            GroupRecord::Member { member, value: Some(metadata), .. } => self.put_member(now, member, metadata),
            GroupRecord::Member { member, value: None, .. } => self.remove_member(member),
            GroupRecord::TargetEpoch { value, .. } => {
                self.target_epoch = value.unwrap_or(TargetEpoch { epoch: 0, computed_ms: -1 });
            }
            GroupRecord::Target { member, value: Some(target), .. } => {
                self.targets.insert(member.clone(), target.clone());
            }
            GroupRecord::Target { member, value: None, .. } => {
                self.targets.remove(member);
            }
            GroupRecord::Current { member, value, .. } => self.put_current(now, member, value.as_ref()),
            GroupRecord::Expression { expression, value: Some(topics), .. } => {
                self.expressions.insert(expression.clone(), topics.clone());
            }
            GroupRecord::Expression { expression, value: None, .. } => {
                self.expressions.remove(expression);
            }
            GroupRecord::Offset { .. } | GroupRecord::Classic { .. } => {}
        }
        self.count_rebalance(now, counts);
    }

    fn put_member(&mut self, now: Option<Time>, name: &Name, metadata: &MemberMetadata) {
        if let Some(instance) = &metadata.instance_id {
            self.instances.insert(instance.clone(), name.clone());
        }
        let known = self.members.contains_key(name);
        let member = self.members.entry(name.clone()).or_insert_with(Member::unknown);
        if member.metadata != *metadata {
            member.metadata = metadata.clone();
        }
        if let (Some(now), false) = (now, known) {
            self.look_at(name, Deadline(now.mono_ns));
        }
    }

    fn remove_member(&mut self, name: &Name) {
        let Some(member) = self.members.remove(name) else { return };
        self.release(name, &member.current);
        if let Some(instance) = &member.metadata.instance_id
            && self.instances.get(instance) == Some(name)
        {
            self.instances.remove(instance);
        }
        if let Some(at) = member.timer {
            self.timers.remove(&(at, name.clone()));
        }
    }

    fn put_current(&mut self, now: Option<Time>, name: &Name, current: Option<&CurrentAssignment>) {
        if current.is_none() && !self.members.contains_key(name) {
            return;
        }
        let member = self.members.entry(name.clone()).or_insert_with(Member::unknown);
        let next = current.cloned().unwrap_or_else(nothing_owned);
        let before = std::mem::replace(&mut member.current, next);
        member.revoke_until = None;
        // Members that speak the classic protocol have times for joining again and for asking for their assignment instead.
        let must_revoke = member.current.state == MemberState::UnrevokedPartitions && member.metadata.classic.is_none();
        if let (Some(now), true) = (now, must_revoke) {
            let until = now.after(millis(member.metadata.rebalance_timeout_ms));
            member.revoke_until = Some(until);
            self.look_at(name, until);
        }
        if let Some((_, until)) = self.joining.take_if(|(joining, _)| joining == name) {
            self.members.get_mut(name).expect("just put there").sync_until = Some(until);
            self.look_at(name, until);
        }
        self.release(name, &before);
        let current = &self.members[name].current;
        for partition in each(&current.assigned).chain(each(&current.revoking)) {
            self.owners.insert(partition, name.clone());
        }
    }

    /// The member owns these no more. What somebody else has taken since is theirs.
    fn release(&mut self, name: &Name, held: &CurrentAssignment) {
        let held = each(&held.assigned).chain(each(&held.revoking));
        for partition in held.collect::<Vec<(TopicId, i32)>>() {
            if self.owners.get(&partition) == Some(name) {
                self.owners.remove(&partition);
            }
        }
    }

    /// A rebalance ends when every member has its target.
    fn count_rebalance(&mut self, now: Option<Time>, counts: &mut GroupCounts) {
        let (Some(now), Some(since)) = (now, self.rebalance_since) else { return };
        if matches!(self.state(), "Stable" | "Empty") {
            self.rebalance_since = None;
            counts.rebalance_ns.record(now.mono_ns.saturating_sub(since));
        }
    }
}
