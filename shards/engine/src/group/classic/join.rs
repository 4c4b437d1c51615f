//! JoinGroup: new members, members that come again, static members that come back under their instance's name.

use crate::group::api::{Asker, GroupAnswer, Join, Joined, MemberRef};
use crate::group::{Caller, Context, Decision, Name, millis};
use crate::limits::{NEW_MEMBER_JOIN_MS, PENDING_MEMBERS_MAX};
use crate::requests::codes;
use std::time::Duration;

use super::member::Member;
use super::{ClassicGroup, State, wake_at};

impl ClassicGroup {
    /// Decides a join; who takes part in a rebalance is answered when that completes.
    pub(super) fn join(&mut self, cx: &mut Context<'_>, caller: &Caller, join: Join, out: &mut Decision) {
        let code = self.check_join(cx, &join);
        if code != codes::NONE {
            if code == codes::GROUP_MAX_SIZE_REACHED && self.members.contains_key(&join.member) {
                self.remove(&join.member, code, out);
            }
            return refuse(caller.asker, &join.member, code, out);
        }
        if !join.member.is_empty() {
            return self.join_known(cx, caller, join, out);
        }
        let id: Name = format!("{}-{}", join.instance.as_ref().unwrap_or(&caller.client_id), cx.ids.next_text()).into();
        if let Some(old) = join.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned() {
            return self.replace_static(cx, caller, join, &old, id, out);
        }
        if join.instance.is_some() || !join.needs_member_id {
            return self.enter(cx, caller, join, id, out);
        }
        let deadline = cx.now.after(millis(join.session_timeout_ms));
        self.pending.insert(id.clone(), deadline);
        wake_at(&mut self.wake, Some(deadline));
        refuse(caller.asker, &id, codes::MEMBER_ID_REQUIRED, out);
    }

    /// What speaks against a join before it is looked at who it is.
    fn check_join(&self, cx: &Context<'_>, join: &Join) -> i16 {
        let sessions = cx.settings.session_timeout_ms_min..=cx.settings.session_timeout_ms_max;
        if !sessions.contains(&join.session_timeout_ms) {
            return codes::INVALID_SESSION_TIMEOUT;
        }
        if self.is_vacant() && !join.member.is_empty() {
            return codes::UNKNOWN_MEMBER_ID;
        }
        let (member, max) = (self.members.get(&join.member), cx.settings.group_size_max);
        let fits = match self.state {
            State::Empty => true,
            State::PreparingRebalance => member.is_some_and(|member| member.joining.is_some()) || self.joined < max,
            State::CompletingRebalance | State::Stable => member.is_some() || self.members.len() < max,
        };
        if !fits || (join.member.is_empty() && self.pending.len() >= PENDING_MEMBERS_MAX) {
            return codes::GROUP_MAX_SIZE_REACHED;
        }
        let agrees = if self.state == State::Empty {
            !join.protocol_type.is_empty() && !join.protocols.is_empty()
        } else {
            let all = |(name, _): &(Name, _)| self.supporters.get(name).copied().unwrap_or(0) == self.members.len();
            self.protocol_type.as_ref() == Some(&join.protocol_type) && join.protocols.iter().any(all)
        };
        if agrees { codes::NONE } else { codes::INCONSISTENT_GROUP_PROTOCOL }
    }

    /// Somebody with an id.
    fn join_known(&mut self, cx: &mut Context<'_>, caller: &Caller, join: Join, out: &mut Decision) {
        if self.pending.contains_key(&join.member) {
            // Ids are given out to dynamic members alone.
            if join.instance.is_some() {
                return refuse(caller.asker, &join.member, codes::UNKNOWN_SERVER_ERROR, out);
            }
            let id = join.member.clone();
            return self.enter(cx, caller, join, id, out);
        }
        let who =
            MemberRef { member: join.member.clone(), instance: join.instance.clone(), generation: self.generation };
        let code = self.check(&who);
        if code != codes::NONE {
            return refuse(caller.asker, &join.member, code, out);
        }
        let unchanged = self.members.get(&join.member).is_some_and(|member| member.protocols == join.protocols);
        let is_leader = self.leader.as_ref() == Some(&join.member);
        match self.state {
            State::Empty => refuse(caller.asker, &join.member, codes::UNKNOWN_MEMBER_ID, out),
            // The answer to its first join was lost.
            State::CompletingRebalance if unchanged => self.tell(caller.asker, &join.member, out),
            // Followers that lost their connection; a leader comes again because it wants a rebalance.
            State::Stable if unchanged && !is_leader => self.tell(caller.asker, &join.member, out),
            _ => {
                let why = if is_leader { "its leader joined again" } else { "a member joined again" };
                let id = join.member.clone();
                self.update(cx, caller, &join, &id, out);
                self.prepare_or_complete(cx, &because(why, &id, &join), out);
            }
        }
    }

    /// A new member.
    fn enter(&mut self, cx: &mut Context<'_>, caller: &Caller, join: Join, id: Name, out: &mut Decision) {
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let why = because("a member joined", &id, &join);
        // It cannot send heartbeats before it knows its id.
        let session = Some(cx.now.after(Duration::from_millis(NEW_MEMBER_JOIN_MS)));
        wake_at(&mut self.wake, session);
        let member = Member {
            instance: join.instance,
            client_id: caller.client_id.clone(),
            client_host: caller.client_host.clone(),
            session_timeout: millis(join.session_timeout_ms),
            rebalance_timeout: millis(join.rebalance_timeout_ms),
            protocols: join.protocols,
            assignment: Default::default(),
            joining: Some(caller.asker),
            syncing: None,
            is_new: true,
            session,
        };
        self.add(id, member);
        if let Some(joining) = &mut self.joining {
            joining.new_member = true;
        }
        self.prepare_or_complete(cx, &why, out);
    }

    /// What a member says of itself now; it waits for the generation.
    fn update(&mut self, cx: &Context<'_>, caller: &Caller, join: &Join, id: &Name, out: &mut Decision) {
        let Some(mut member) = self.take(id) else { return };
        // A join before this one will not be answered by a generation: a client that sees this asks again.
        if let Some(asker) = member.joining.replace(caller.asker) {
            refuse(asker, id, codes::REBALANCE_IN_PROGRESS, out);
        }
        member.protocols.clone_from(&join.protocols);
        member.session_timeout = millis(join.session_timeout_ms);
        member.rebalance_timeout = millis(join.rebalance_timeout_ms);
        if member.session.is_none() {
            member.alive(cx.now);
        }
        wake_at(&mut self.wake, member.session);
        self.add(id.clone(), member);
    }

    /// A static member has come back without its id: it takes the place of the one that is known, which is fenced (KIP-345).
    fn replace_static(
        &mut self,
        cx: &mut Context<'_>,
        caller: &Caller,
        join: Join,
        old: &Name,
        id: Name,
        out: &mut Decision,
    ) {
        let leader_before = self.leader.clone();
        let Some(mut member) = self.take(old) else { return };
        // Another process has come under its instance's name.
        member.release(old, codes::FENCED_INSTANCE_ID, out);
        // Client id and address stay those of the one it was first, as in Kafka.
        member.is_new = false;
        member.alive(cx.now);
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(id.clone());
        }
        self.add(id.clone(), member);
        self.update(cx, caller, &join, &id, out);
        if self.state != State::Stable || self.vote() != self.protocol {
            return self.prepare_or_complete(cx, &because("a static member came back", &id, &join), out);
        }
        // Nothing changes but its id: no rebalance, and the record holds the new one.
        let is_leader = self.leader.as_ref() == Some(&id);
        let skips = join.may_skip_assignment;
        self.joined -= usize::from(self.members.get_mut(&id).is_some_and(|member| member.joining.take().is_some()));
        out.records.push(self.record(cx));
        // Before KIP-814 a leader that came back was told that another one leads, so that it did not compute an assignment that nobody takes.
        let mut joined = self.joined(&id, is_leader && skips);
        joined.skip_assignment = is_leader && skips;
        joined.leader = if skips { self.leader.clone() } else { leader_before }.unwrap_or_else(|| "".into());
        out.answers.push((caller.asker, GroupAnswer::Joined(joined)));
    }

    /// Tells a member the generation that there is.
    fn tell(&mut self, asker: Asker, id: &Name, out: &mut Decision) {
        let joined = self.joined(id, self.leader.as_ref() == Some(id));
        out.answers.push((asker, GroupAnswer::Joined(joined)));
    }

    /// The generation as a member is told it.
    pub(super) fn joined(&self, id: &Name, with_members: bool) -> Joined {
        let protocol = self.protocol.as_deref();
        let metadata = |member: &Member| protocol.and_then(|name| member.metadata(name)).cloned().unwrap_or_default();
        let members = self.members.iter().filter(|_| with_members);
        Joined {
            error_code: codes::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member: id.clone(),
            members: members.map(|(id, member)| (id.clone(), member.instance.clone(), metadata(member))).collect(),
        }
    }
}

/// A join that failed.
pub(super) fn refuse(asker: Asker, id: &Name, error_code: i16, out: &mut Decision) {
    out.answers.push((asker, Joined::error(id.clone(), error_code)));
}

fn because(why: &str, id: &Name, join: &Join) -> String {
    let said = join.reason.as_deref().filter(|said| !said.is_empty());
    format!("{why}: {id}{}", said.map(|said| format!(" ({said})")).unwrap_or_default())
}
