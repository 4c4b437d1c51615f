//! From the first join of a rebalance to its generation, and everything that time does to a group: joins that never come, syncs that never come, silence.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::LogLevel;
use crate::group::api::{GroupAnswer, Synced};
use crate::group::records::{ClassicState, GroupRecord};
use crate::group::{Context, Decision, Name, millis};
use crate::limits::GROUP_RETRY_MS;
use crate::requests::codes;
use crate::time::Time;

use super::join::refuse;
use super::member::Member;
use super::{ClassicGroup, Joining, State, wake_at};

impl ClassicGroup {
    /// Something changed that asks for a rebalance: begins one, or completes the one that is under way when nobody is missing.
    pub(super) fn prepare_or_complete(&mut self, cx: &mut Context<'_>, why: &str, out: &mut Decision) {
        if self.state == State::PreparingRebalance {
            self.complete_if_all_joined(cx, out);
        } else {
            self.prepare(cx, why, out);
        }
    }

    /// Begins a rebalance. Members learn of it with their next heartbeat and join again.
    pub(super) fn prepare(&mut self, cx: &mut Context<'_>, why: &str, out: &mut Decision) {
        for member in self.members.values_mut() {
            if let Some(asker) = member.syncing.take() {
                member.alive(cx.now);
                wake_at(&mut self.wake, member.session);
                out.answers.push((asker, Synced::error(codes::REBALANCE_IN_PROGRESS)));
            }
        }
        self.unsynced.clear();
        self.sync_deadline = None;
        self.must_rebalance = None;
        self.rebalance_began.get_or_insert(cx.now);
        cx.audit.rebalances += 1;
        let (name, generation) = (&self.name, self.generation);
        cx.audit.line(LogLevel::Info, || format!("group {name}: rebalance after generation {generation}: {why}"));
        let longest = self.rebalance_timeout();
        let initial = millis(cx.settings.initial_rebalance_delay_ms);
        let (wait, initial_left) = match self.state {
            State::Empty => (initial, Some(longest.saturating_sub(initial))),
            _ => (longest, None),
        };
        self.state = State::PreparingRebalance;
        self.await_joins(cx.now, wait, initial_left);
        self.complete_if_all_joined(cx, out);
    }

    fn await_joins(&mut self, now: Time, wait: Duration, initial_left: Option<Duration>) {
        let deadline = now.after(wait);
        wake_at(&mut self.wake, Some(deadline));
        self.joining = Some(Joining { deadline, initial_left, new_member: false });
    }

    /// Completes the joins early when nobody is missing, except in the delay of a group's first rebalance.
    pub(super) fn complete_if_all_joined(&mut self, cx: &mut Context<'_>, out: &mut Decision) {
        let initial = self.joining.as_ref().is_none_or(|joining| joining.initial_left.is_some());
        if !initial && self.joined == self.members.len() && self.pending.is_empty() {
            self.complete(cx, out);
        }
    }

    /// The time for joins is over: who has not come is out, the others are a generation.
    fn complete(&mut self, cx: &mut Context<'_>, out: &mut Decision) {
        let missing = self.members.iter().filter(|(_, member)| member.joining.is_none() && member.instance.is_none());
        let missing: Vec<Name> = missing.map(|(id, _)| id.clone()).collect();
        for id in missing {
            let name = &self.name;
            cx.audit.line(LogLevel::Info, || format!("group {name}: {id} did not join in time and is out"));
            self.remove(&id, codes::UNKNOWN_MEMBER_ID, out);
        }
        if self.members.is_empty() {
            out.records.push(self.emptied(cx));
            // Applying the record ends this; when it is refused it is tried again.
            return self.await_joins(cx.now, Duration::from_millis(GROUP_RETRY_MS), None);
        }
        if self.joined == 0 {
            // Static members alone, all of them away: they stay until their sessions end.
            return self.await_joins(cx.now, self.rebalance_timeout().max(Duration::from_millis(GROUP_RETRY_MS)), None);
        }
        let leads = self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(|it| it.joining.is_some());
        if !leads {
            self.leader = self.members.iter().find(|(_, member)| member.joining.is_some()).map(|(id, _)| id.clone());
        }
        self.joining = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.vote();
        self.state = State::CompletingRebalance;
        self.answer_joins(cx, out);
        let (name, generation, members) = (&self.name, self.generation, self.members.len());
        cx.audit.line(LogLevel::Info, || format!("group {name}: generation {generation} of {members} members"));
    }

    fn answer_joins(&mut self, cx: &Context<'_>, out: &mut Decision) {
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in &ids {
            let Some(member) = self.members.get_mut(id) else { continue };
            let asker = member.joining.take();
            member.is_new = false;
            member.alive(cx.now);
            wake_at(&mut self.wake, member.session);
            if let Some(asker) = asker {
                let joined = self.joined(id, self.leader.as_ref() == Some(id));
                out.answers.push((asker, GroupAnswer::Joined(joined)));
            }
        }
        self.joined = 0;
        self.unsynced = ids.into_iter().collect();
        self.sync_deadline = Some(cx.now.after(self.rebalance_timeout()));
        wake_at(&mut self.wake, self.sync_deadline);
    }

    /// The record of a group whose last member went.
    fn emptied(&self, cx: &Context<'_>) -> GroupRecord {
        let state = ClassicState {
            protocol_type: self.protocol_type(),
            generation: self.generation.checked_add(1).unwrap_or(1),
            protocol: None,
            leader: None,
            since_ms: cx.now.wall_ms,
            members: Vec::new(),
        };
        GroupRecord::Classic { group: self.name.clone(), value: Some(state) }
    }

    /// The protocol that most members like best among those that all of them support.
    pub(super) fn vote(&self) -> Option<Name> {
        let all = self.members.len();
        let common = |name: &Name| self.supporters.get(name).copied() == Some(all);
        let mut votes: BTreeMap<&Name, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// How long members may take to join again: as long as the slowest asks for.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// What time has brought.
    pub fn due(&mut self, cx: &mut Context<'_>) -> Option<Decision> {
        let mut out = Decision::default();
        if let Some(why) = self.must_rebalance {
            self.prepare(cx, why, &mut out);
        }
        self.forget_pending(cx, &mut out);
        self.end_joins(cx, &mut out);
        self.end_syncs(cx, &mut out);
        self.end_sessions(cx, &mut out);
        let sessions = self.members.values().filter(|member| !member.is_waiting()).filter_map(|member| member.session);
        let others = self.joining.as_ref().map(|joining| joining.deadline).into_iter().chain(self.sync_deadline);
        self.wake = sessions.chain(others).chain(self.pending.values().copied()).min();
        (!out.is_empty()).then_some(out)
    }

    fn forget_pending(&mut self, cx: &mut Context<'_>, out: &mut Decision) {
        let before = self.pending.len();
        let now = cx.now;
        self.pending.retain(|_, deadline| !now.reached(*deadline));
        if self.pending.len() < before && self.state == State::PreparingRebalance {
            self.complete_if_all_joined(cx, out);
        }
    }

    fn end_joins(&mut self, cx: &mut Context<'_>, out: &mut Decision) {
        let Some(joining) = self.joining.as_ref().filter(|joining| cx.now.reached(joining.deadline)) else { return };
        match joining.initial_left {
            Some(left) if joining.new_member && !left.is_zero() => {
                let wait = millis(cx.settings.initial_rebalance_delay_ms).min(left);
                self.await_joins(cx.now, wait, Some(left - wait));
            }
            _ => self.complete(cx, out),
        }
    }

    fn end_syncs(&mut self, cx: &mut Context<'_>, out: &mut Decision) {
        if !self.sync_deadline.is_some_and(|deadline| cx.now.reached(deadline)) {
            return;
        }
        self.sync_deadline = None;
        let missing = std::mem::take(&mut self.unsynced);
        if missing.is_empty() {
            return;
        }
        for id in &missing {
            self.remove(id, codes::UNKNOWN_MEMBER_ID, out);
        }
        let missing: Vec<&str> = missing.iter().map(|id| &**id).take(10).collect();
        self.prepare(cx, &format!("no sync came from {}", missing.join(", ")), out);
    }

    fn end_sessions(&mut self, cx: &mut Context<'_>, out: &mut Decision) {
        let is_over =
            |member: &Member| !member.is_waiting() && member.session.is_some_and(|session| cx.now.reached(session));
        let over = self.members.iter().filter(|(_, member)| is_over(member));
        let over: Vec<Name> = over.map(|(id, _)| id.clone()).collect();
        for id in &over {
            self.remove(id, codes::UNKNOWN_MEMBER_ID, out);
        }
        if let Some(first) = over.first() {
            self.prepare_or_complete(
                cx,
                &format!("{} members were silent for too long, {first} one of them", over.len()),
                out,
            );
        }
    }

    /// The last record could not be written: the members agree anew.
    pub fn refused(&mut self, now: Time) {
        if matches!(self.state, State::CompletingRebalance | State::Stable) {
            self.must_rebalance = Some("its assignment could not be written");
            wake_at(&mut self.wake, Some(now.after(Duration::ZERO)));
        }
    }

    /// Puts a member in.
    pub(super) fn add(&mut self, id: Name, member: Member) {
        for (name, _) in &member.protocols {
            *self.supporters.entry(name.clone()).or_default() += 1;
        }
        self.joined += usize::from(member.joining.is_some());
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
    }

    /// Takes a member out to put it in again, changed.
    pub(super) fn take(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        for (name, _) in &member.protocols {
            if let Some(count) = self.supporters.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.supporters.remove(name);
                }
            }
        }
        self.joined -= usize::from(member.joining.is_some());
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|holder| **holder == *id)
        {
            self.instances.remove(instance);
        }
        Some(member)
    }

    /// A member is out; what it waits for is answered with `code`.
    pub(super) fn remove(&mut self, id: &Name, code: i16, out: &mut Decision) {
        let Some(mut member) = self.take(id) else { return };
        self.unsynced.remove(id);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        member.release(id, code, out);
    }

    /// The group goes away here: whoever waits is told.
    pub fn dissolve(&mut self, error_code: i16, out: &mut Decision) {
        for (id, member) in &mut self.members {
            member.release(id, error_code, out);
        }
        self.joined = 0;
    }
}

impl Member {
    /// Answers whatever it waits for.
    pub(super) fn release(&mut self, id: &Name, code: i16, out: &mut Decision) {
        if let Some(asker) = self.joining.take() {
            refuse(asker, id, code, out);
        }
        if let Some(asker) = self.syncing.take() {
            out.answers.push((asker, Synced::error(code)));
        }
    }
}
