//! What a classic group gives when it becomes a KIP-848 group with its members in it, and takes when such a group becomes a classic one again. What happens
//! to the group in between is told in `consumer/migration.rs`.

use bytes::Bytes;

use super::member::Member;
use super::{ClassicGroup, wake_at};
use crate::group::records::{ClassicMember, ClassicMemberMetadata, GroupRecord, MemberMetadata};
use crate::group::{Context, Decision, Name, millis};
use crate::time::Time;

/// Protocols by member.
pub type Protocols = Vec<(Name, Vec<(Name, Bytes)>)>;

impl ClassicGroup {
    /// The generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The members as the log tells of them, each with its protocols. Their subscriptions are those for the generation's protocol; of a group that has none
    /// yet, or of a member that has dropped it, those for the one it likes best.
    pub fn migrants(&self) -> impl Iterator<Item = (ClassicMember, &[(Name, Bytes)])> {
        let protocol = self.protocol.clone().or_else(|| self.vote());
        self.members.iter().map(move |(id, member)| {
            let common = protocol.as_deref().filter(|name| member.metadata(name).is_some());
            let name = common.or(member.protocols.first().map(|(name, _)| &**name));
            (member.record(id, name), member.protocols.as_slice())
        })
    }

    /// Everybody who waits is told `code`. What follows is for another kind of group to decide, or, if that cannot be written down, for time.
    pub fn interrupt(&mut self, code: i16, out: &mut Decision) {
        for (id, member) in &mut self.members {
            member.release(id, code, out);
        }
        self.joined = 0;
    }

    /// The record of a group that begins with these members, each with its assignment.
    pub fn converted<'a>(
        cx: &Context<'_>,
        name: &Name,
        generation: i32,
        members: impl Iterator<Item = (&'a Name, &'a MemberMetadata, &'a ClassicMemberMetadata)>,
        assignment: impl Fn(&Name, &[u8]) -> Bytes,
    ) -> GroupRecord {
        let mut group = ClassicGroup { generation, ..ClassicGroup::new(name.clone()) };
        group.protocol_type = Some(super::PROTOCOL_TYPE.into());
        for (id, metadata, classic) in members {
            group.add(id.clone(), Member::migrated(metadata, classic));
        }
        group.protocol = group.vote();
        let protocol = group.protocol.clone();
        for (id, member) in &mut group.members {
            let given = protocol.as_deref().and_then(|name| member.metadata(name)).cloned().unwrap_or_default();
            member.assignment = assignment(id, &given);
        }
        // What was agreed on is nobody's decision: see `loaded`.
        group.leader = None;
        group.record(cx)
    }

    /// It has just become a classic group: its members, of which the log knows the protocol that was chosen alone, have these, and are to agree anew.
    pub fn begin_after_migration(&mut self, now: Time, protocols: Protocols) {
        for (id, protocols) in protocols {
            let Some(mut member) = self.take(&id) else { continue };
            member.protocols = protocols;
            self.add(id, member);
        }
        self.agree_anew(now);
    }

    /// Nobody has decided on these assignments: members are to do so now.
    pub(super) fn agree_anew(&mut self, now: Time) {
        self.must_rebalance = Some("it was a group of the consumer protocol");
        wake_at(&mut self.wake, Some(now.after(millis(0))));
    }
}

impl Member {
    /// As a KIP-848 group knew it.
    fn migrated(metadata: &MemberMetadata, classic: &ClassicMemberMetadata) -> Member {
        Member {
            instance: metadata.instance_id.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            session_timeout: millis(classic.session_timeout_ms),
            rebalance_timeout: millis(metadata.rebalance_timeout_ms),
            protocols: classic.protocols.clone(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
        }
    }
}
