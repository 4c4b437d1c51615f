//! SyncGroup, Heartbeat and LeaveGroup: members of a generation get their assignments, say that they live, and go.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::group::api::{Asker, GroupAnswer, Leaver, MemberRef, Sync, Synced};
use crate::group::records::GroupRecord;
use crate::group::{Caller, Context, Decision, Name};
use crate::requests::codes;

use super::{ClassicGroup, State, wake_at};

impl ClassicGroup {
    /// Decides a sync: followers wait for the leader, whose assignment is written down before anybody gets it.
    pub(super) fn sync(&mut self, cx: &mut Context<'_>, caller: &Caller, sync: Sync, out: &mut Decision) {
        let code = self.check_sync(&sync);
        if code != codes::NONE {
            out.answers.push((caller.asker, Synced::error(code)));
            return;
        }
        let id = &sync.who.member;
        self.unsynced.remove(id);
        self.alive(cx.now, id);
        if self.state == State::Stable {
            let assignment = self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default();
            return self.synced(caller.asker, assignment, out);
        }
        if let Some(before) = self.members.get_mut(id).and_then(|member| member.syncing.replace(caller.asker)) {
            out.answers.push((before, Synced::error(codes::REBALANCE_IN_PROGRESS)));
        }
        if self.leader.as_ref() == Some(id) {
            self.assign(cx, sync.assignments, out);
        }
    }

    fn check_sync(&self, sync: &Sync) -> i16 {
        let code = self.check(&sync.who);
        if code != codes::NONE {
            return code;
        }
        let differs = |said: &Option<Name>, is: &Option<Name>| said.is_some() && is.is_some() && said != is;
        match self.state {
            _ if sync.who.generation != self.generation => codes::ILLEGAL_GENERATION,
            _ if differs(&sync.protocol_type, &self.protocol_type) => codes::INCONSISTENT_GROUP_PROTOCOL,
            _ if differs(&sync.protocol, &self.protocol) => codes::INCONSISTENT_GROUP_PROTOCOL,
            State::Empty => codes::UNKNOWN_MEMBER_ID,
            State::PreparingRebalance => codes::REBALANCE_IN_PROGRESS,
            State::CompletingRebalance | State::Stable => codes::NONE,
        }
    }

    /// The leader has brought the assignments; those of whom it said nothing get an empty one.
    fn assign(&mut self, cx: &mut Context<'_>, assignments: Vec<(Name, Bytes)>, out: &mut Decision) {
        let mut assignments: BTreeMap<Name, Bytes> = assignments.into_iter().collect();
        let mut record = self.record(cx);
        if let GroupRecord::Classic { value: Some(state), .. } = &mut record {
            for member in &mut state.members {
                member.assignment = assignments.remove(&member.id).unwrap_or_default();
                let Some(waiting) = self.members.get_mut(&member.id) else { continue };
                let Some(asker) = waiting.syncing.take() else { continue };
                waiting.alive(cx.now);
                wake_at(&mut self.wake, waiting.session);
                self.synced(asker, member.assignment.clone(), out);
            }
        }
        out.records.push(record);
    }

    fn synced(&self, asker: Asker, assignment: Bytes, out: &mut Decision) {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        let synced = Synced { error_code: codes::NONE, protocol_type, protocol, assignment };
        out.answers.push((asker, GroupAnswer::Synced(synced)));
    }

    /// A member says that it lives; it is told of a rebalance.
    pub(super) fn heartbeat(&mut self, cx: &mut Context<'_>, caller: &Caller, who: &MemberRef, out: &mut Decision) {
        let mut code = self.check(who);
        if code == codes::NONE && who.generation != self.generation {
            code = codes::ILLEGAL_GENERATION;
        }
        if code == codes::NONE {
            self.alive(cx.now, &who.member);
            code = match self.state {
                State::Empty => codes::UNKNOWN_MEMBER_ID,
                State::PreparingRebalance => codes::REBALANCE_IN_PROGRESS,
                State::CompletingRebalance | State::Stable => codes::NONE,
            };
        }
        out.answers.push((caller.asker, GroupAnswer::Heartbeat(code)));
    }

    /// Members go, or are made to: an administrator names static ones by instance alone.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>, caller: &Caller, leavers: &[Leaver], out: &mut Decision) {
        let mut codes = Vec::with_capacity(leavers.len());
        let mut last = None;
        let mut pending_left = false;
        for leaver in leavers {
            let by_instance = leaver.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
            let id = if leaver.member.is_empty() { by_instance } else { Some(leaver.member.clone()) };
            let Some(id) = id else {
                codes.push(codes::UNKNOWN_MEMBER_ID);
                continue;
            };
            if self.pending.remove(&id).is_some() {
                pending_left = true;
                codes.push(codes::NONE);
                continue;
            }
            let who = MemberRef { member: id, instance: leaver.instance.clone(), generation: self.generation };
            let code = self.check(&who);
            if code == codes::NONE {
                self.remove(&who.member, codes::UNKNOWN_MEMBER_ID, out);
                last = Some((who.member, leaver.reason.clone()));
            }
            codes.push(code);
        }
        out.answers.push((caller.asker, GroupAnswer::Left(Ok(codes))));
        if let Some((id, reason)) = last {
            let said = reason.filter(|said| !said.is_empty()).map(|said| format!(" ({said})")).unwrap_or_default();
            self.prepare_or_complete(cx, &format!("{id} left{said}"), out);
        } else if pending_left && self.state == State::PreparingRebalance {
            self.complete_if_all_joined(cx, out);
        }
    }
}
