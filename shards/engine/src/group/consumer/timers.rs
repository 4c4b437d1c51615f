//! What becomes due by itself: sessions that end, partitions that are not given up in time, topics that changed. All soft state.
//!
//! A heartbeat moves its member's deadline and leaves the timer as it is: when that comes up, it is set anew. So heartbeats cost no search.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::draft::Draft;
use super::{ConsumerGroup, default_assignor};
use crate::event::LogLevel;
use crate::group::records::{GroupEpoch, GroupRecord, MemberState};
use crate::group::{Context, Decision, Name, millis};
use crate::limits::{EXPRESSION_MATCH_MS, GROUP_RETRY_MS};
use crate::metadata::Image;
use crate::time::{Deadline, Time};

impl ConsumerGroup {
    /// Something that is due by now.
    pub fn due(&mut self, cx: &mut Context<'_>) -> Option<Decision> {
        while let Some((at, name)) = self.timers.first().cloned()
            && cx.now.reached(at)
        {
            if let Some(records) = self.member_due(cx, &name) {
                return Some(Decision { records, ..Decision::default() });
            }
        }
        if self.compare_at().is_some_and(|at| cx.now.reached(at)) {
            let records = self.topics_changed(cx);
            if !records.is_empty() {
                return Some(Decision { records, ..Decision::default() });
            }
        }
        None
    }

    /// When that is at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.timers.first().map(|(at, _)| *at).into_iter().chain(self.compare_at()).min()
    }

    /// Everything has been read: members have a whole session from now, and the whole time to give up what they must.
    pub fn loaded(&mut self, now: Time) {
        let now_at = Deadline(now.mono_ns);
        let names: Vec<Name> = self.members.keys().cloned().collect();
        for name in names {
            let member = self.members.get_mut(&name).expect("just listed");
            member.session_until = None;
            if member.current.state == MemberState::UnrevokedPartitions && member.metadata.classic.is_none() {
                member.revoke_until = Some(now.after(millis(member.metadata.rebalance_timeout_ms)));
            }
            self.look_at(&name, now_at);
        }
        self.changed = true;
    }

    /// The records of its last decision could not be written: what was due is tried again.
    pub fn refused(&mut self, now: Time) {
        self.match_from = self.match_from.max(now.after(Duration::from_millis(GROUP_RETRY_MS)));
        (self.compared, self.changed, self.joining) = (None, true, None);
    }

    /// Topics have changed.
    pub fn image_changed(&mut self, image: &Image) {
        self.changed |= self.compared != Some(image.version);
    }

    /// Somebody speaks: whether topics may have changed since the group was last compared with them.
    pub(super) fn begin(&mut self, cx: &Context<'_>) -> bool {
        if *self.assignor != *default_assignor(cx.settings) {
            self.assignor = default_assignor(cx.settings).into();
        }
        self.compared != Some(cx.image.version) && cx.now.reached(self.match_from)
    }

    /// A member was heard: its session begins anew.
    pub(super) fn heard(&mut self, cx: &Context<'_>, name: &Name) {
        if let Some(member) = self.members.get_mut(name) {
            let until = cx.now.after(member.session_timeout(cx.settings));
            member.session_until = Some(until);
            self.look_at(name, until);
        }
    }

    /// Looks at a member at this time at the latest.
    pub(super) fn look_at(&mut self, name: &Name, at: Deadline) {
        let Some(member) = self.members.get_mut(name) else { return };
        if member.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        if let Some(timer) = member.timer.replace(at) {
            self.timers.remove(&(timer, name.clone()));
        }
        self.timers.insert((at, name.clone()));
    }

    /// A member whose timer is up: sets it anew, or removes the member.
    fn member_due(&mut self, cx: &mut Context<'_>, name: &Name) -> Option<Vec<GroupRecord>> {
        let member = self.members.get_mut(name).expect("timers are of members");
        if let Some(at) = member.timer.take() {
            self.timers.remove(&(at, name.clone()));
        }
        let session = cx.now.after(member.session_timeout(cx.settings));
        let waits = [
            (Some(*member.session_until.get_or_insert(session)), "its session ended"),
            (member.revoke_until, "it did not give up partitions in time"),
            (member.join_until, "it did not join again in time"),
            (member.sync_until, "it did not ask for its assignment in time"),
        ];
        let first = waits.into_iter().filter_map(|(until, why)| Some((until?, why))).min_by_key(|(until, _)| *until);
        let (next, why) = first.expect("a session ends some time");
        if !cx.now.reached(next) {
            self.look_at(name, next);
            return None;
        }
        cx.audit.line(LogLevel::Info, || {
            format!("group {}: member {name} is removed at epoch {}: {why}", self.group, member.current.member_epoch)
        });
        // If this cannot be written now.
        self.look_at(name, cx.now.after(Duration::from_millis(GROUP_RETRY_MS)));
        Some(self.fence(cx, &BTreeSet::from([name])))
    }

    /// Removes members: what they owned is free, and the next heartbeat computes who gets it. When all that stay speak the classic protocol, the group does
    /// so again.
    pub(super) fn fence(&self, cx: &mut Context<'_>, leaving: &BTreeSet<&Name>) -> Vec<GroupRecord> {
        if let Some(records) = self.downgrade(cx, leaving, None) {
            return records;
        }
        let draft = Draft { group: self, with: None, without: leaving.clone(), expressions: BTreeMap::new() };
        let mut records: Vec<GroupRecord> = leaving.iter().flat_map(|name| self.without_member(name)).collect();
        let members = leaving.iter().filter_map(|name| self.members.get(*name));
        let expressions: BTreeSet<&Name> = members.filter_map(|member| member.metadata.expression.as_ref()).collect();
        for expression in expressions.into_iter().filter(|expression| !draft.uses(expression)) {
            let (group, expression) = (self.group.clone(), expression.clone());
            records.push(GroupRecord::Expression { group, expression, value: None });
        }
        let metadata_hash = draft.metadata_hash(cx.image);
        records.push(self.next_epoch(cx, metadata_hash));
        records
    }

    /// The group's epoch rises.
    pub(super) fn next_epoch(&self, cx: &mut Context<'_>, metadata_hash: i64) -> GroupRecord {
        cx.audit.rebalances += 1;
        let epoch = self.epoch.epoch.saturating_add(1);
        GroupRecord::Epoch { group: self.group.clone(), value: Some(GroupEpoch { epoch, metadata_hash }) }
    }

    /// When topics are to be compared with what the group was computed from.
    fn compare_at(&self) -> Option<Deadline> {
        (self.changed && !self.members.is_empty()).then_some(self.match_from)
    }

    /// Topics came, went or grew: if those are the group's, its epoch rises, and the next heartbeat computes the target.
    fn topics_changed(&mut self, cx: &mut Context<'_>) -> Vec<GroupRecord> {
        self.changed = false;
        let mut draft = Draft { group: self, with: None, without: BTreeSet::new(), expressions: BTreeMap::new() };
        let mut records = draft.match_again(cx);
        let metadata_hash = draft.metadata_hash(cx.image);
        if metadata_hash != self.epoch.metadata_hash {
            cx.audit.line(LogLevel::Info, || format!("group {}: its topics changed", self.group));
            records.push(self.next_epoch(cx, metadata_hash));
        }
        self.seen(cx);
        records
    }

    /// The group agrees with the image, or will when what was decided is written down.
    pub(super) fn seen(&mut self, cx: &Context<'_>) {
        self.compared = Some(cx.image.version);
        self.changed = false;
        if !self.expressions.is_empty() {
            self.match_from = cx.now.after(Duration::from_millis(EXPRESSION_MATCH_MS));
        }
    }
}
