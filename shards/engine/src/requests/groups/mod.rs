//! Group requests: decoded and held to bounds here, asked of the shard that owns the group's partition of `__consumer_offsets`, answered when all
//! groups that a request names have answered. One file per API.
//!
//! Nothing that waits holds the bytes of its request: what goes to a coordinator is copied out of them.

mod chosen;
mod consumer_describe;
mod consumer_heartbeat;
mod delete;
mod describe;
mod find_coordinator;
mod heartbeat;
mod join;
mod leave;
mod list;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod sync;
mod txn_offset_commit;

use std::borrow::Cow;
use std::iter::once;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::{Caller, Pending, Wait, codes};
use crate::connection::Ending;
use crate::event::{Effects, ShardId};
use crate::group::api::{GroupAnswer, GroupCall, GroupRequest};
use crate::group::{OFFSETS_TOPIC, partition_of};
use crate::mesh::Call;
use crate::shard::Shard;
use crate::time::Time;

/// Who a coordinator is told that asks.
#[derive(Clone, Debug)]
pub struct Client {
    id: Arc<str>,
    host: Arc<str>,
}

/// What of a request is needed for its answer.
#[derive(Debug)]
enum Kind {
    Join,
    Sync,
    Heartbeat,
    Leave(leave::Leaving),
    Commit(offset_commit::Committing),
    TxnCommit(Box<txn_offset_commit::TxnCommitting>),
    Fetch(offset_fetch::Fetching),
    DeleteOffsets(offset_delete::Deleting),
    ConsumerHeartbeat,
    List,
    Describe(Named),
    ConsumerDescribe(Named),
    Delete(Named),
}

/// Groups that a request names, and what the answer says may be done with them.
#[derive(Debug)]
struct Named {
    groups: Vec<Arc<str>>,
    operations: i32,
}

/// A request whose groups have not all answered.
#[derive(Debug)]
pub struct GroupWait {
    kind: Kind,
    /// By group, in the order of the request.
    answers: Vec<Option<GroupAnswer>>,
    left: usize,
}

impl Shard {
    pub(super) fn group_request(
        &mut self,
        now: Time,
        caller: Caller,
        client_id: Option<&str>,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        // As Kafka shows addresses: a host name that it has none of, a slash, the address.
        let host = self.connections.get(&caller.conn).map(|connection| format!("/{}", connection.peer.ip()));
        let client = Client { id: client_id.unwrap_or_default().into(), host: host.unwrap_or_default().into() };
        // What a member says only when it has taken in what it last heard. It commits before that; heartbeats come at their time whatever it does (but see
        // there for those of KIP-848).
        if matches!(caller.api.key, 9 | 11 | 13 | 14) {
            self.hold_ends(now, caller.conn, fx);
        } else if caller.api.key == 8 {
            self.hold_goes_on(now, caller.conn, false, fx);
        }
        match caller.api.key {
            8 => self.offset_commit(now, caller, &client, body, fx),
            9 => self.offset_fetch(now, caller, &client, body, fx),
            11 => self.join_group(now, caller, &client, body, fx),
            12 => self.heartbeat(now, caller, &client, body, fx),
            13 => self.leave_group(now, caller, &client, body, fx),
            14 => self.sync_group(now, caller, &client, body, fx),
            15 => self.describe_groups(now, caller, &client, body, fx),
            16 => self.list_groups(now, caller, &client, body, fx),
            28 => self.txn_offset_commit(now, caller, &client, body, fx),
            42 => self.delete_groups(now, caller, &client, body, fx),
            47 => self.offset_delete(now, caller, &client, body, fx),
            68 => self.consumer_heartbeat(now, caller, &client, body, fx),
            _ => self.consumer_describe(now, caller, &client, body, fx),
        }
    }

    /// The call of one group. Its partition is found when it is sent.
    fn group_call(client: &Client, group: Arc<str>, request: GroupRequest) -> GroupCall {
        GroupCall { partition: -1, group, client_id: client.id.clone(), client_host: client.host.clone(), request }
    }

    /// Asks each of the groups that a request names the same.
    fn call_each(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        names: &[Cow<'_, str>],
        (request, operations, kind): (GroupRequest, i32, fn(Named) -> Kind),
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        bounded(once(names.len()))?;
        let groups: Vec<Arc<str>> = names.iter().map(|group| (&**group).into()).collect();
        let calls = groups.iter().map(|group| Shard::group_call(client, group.clone(), request.clone())).collect();
        self.call_groups(now, caller, kind(Named { groups, operations }), calls, fx);
        Ok(())
    }

    /// Asks the groups; the answer goes out when all have answered.
    fn call_groups(&mut self, now: Time, caller: Caller, kind: Kind, calls: Vec<GroupCall>, fx: &mut Effects) {
        let topic = self.image.topic(OFFSETS_TOPIC).cloned();
        let mut answers = Vec::with_capacity(calls.len());
        let mut asked: Vec<(ShardId, u32, GroupCall)> = Vec::with_capacity(calls.len());
        for (mut call, at) in calls.into_iter().zip(0..) {
            let Some(topic) = &topic else {
                answers.push(Some(call.request.refuse(codes::NOT_COORDINATOR)));
                continue;
            };
            if call.partition < 0 {
                call.partition = partition_of(&call.group, topic.partitions);
            }
            asked.push((topic.shard_of(call.partition, self.shards), at, call));
            answers.push(None);
        }
        let left = asked.len();
        if left == 0 {
            let ending = self.group_reply(&caller, kind, answers);
            return self.finish(caller, ending, fx);
        }
        let token = self.wait(caller, Wait::Group(Box::new(GroupWait { kind, answers, left })));
        for (owner, at, call) in asked {
            self.call(now, owner, token, Call::Group { at, call: Box::new(call) }, fx);
        }
    }

    /// A group has answered.
    pub(crate) fn group_answered(&mut self, now: Time, token: u64, at: u32, answer: GroupAnswer, fx: &mut Effects) {
        let answer = match answer {
            GroupAnswer::Unverified { guard, codes } => match self.vouch(now, token, (guard, codes), fx) {
                Ok(()) => return,
                Err(refused) => refused,
            },
            answer => answer,
        };
        let Some(Pending { wait: Wait::Group(wait), .. }) = self.pending.get_mut(&token) else { return };
        let before = wait.answers[at as usize].replace(answer);
        assert!(before.is_none(), "a call has one answer");
        wait.left -= 1;
        if wait.left > 0 {
            return;
        }
        let Some(Pending { caller, wait: Wait::Group(wait) }) = self.pending.remove(&token) else { return };
        if let Some(has) = wait.answers.iter().flatten().find_map(GroupAnswer::assigns) {
            if self.hold_begins(now, caller.conn, has, fx) {
                let ending = self.group_reply(&caller, wait.kind, wait.answers);
                return self.answer_later(now, caller, ending);
            }
        } else if caller.api.key == 8 {
            self.hold_goes_on(now, caller.conn, true, fx);
        }
        let ending = self.group_reply(&caller, wait.kind, wait.answers);
        self.finish(caller, ending, fx);
    }

    fn group_reply(&self, caller: &Caller, kind: Kind, answers: Vec<Option<GroupAnswer>>) -> Ending {
        let mut answers = answers.into_iter().map(|answer| answer.expect("every group has answered"));
        let mut one = || answers.next().expect("of the one group");
        match kind {
            Kind::Join => join::reply(caller, one()),
            Kind::Sync => sync::reply(caller, one()),
            Kind::Heartbeat => heartbeat::reply(caller, one()),
            Kind::Leave(leaving) => leave::reply(caller, &leaving, one()),
            Kind::Commit(committing) => offset_commit::reply(caller, committing, one()),
            Kind::TxnCommit(committing) => txn_offset_commit::reply(caller, *committing, one()),
            Kind::Fetch(fetching) => offset_fetch::reply(caller, &fetching, answers, &self.image),
            Kind::DeleteOffsets(deleting) => offset_delete::reply(caller, &deleting, one()),
            Kind::ConsumerHeartbeat => consumer_heartbeat::reply(caller, one()),
            Kind::List => list::reply(caller, answers),
            Kind::Describe(named) => describe::reply(caller, &named, answers),
            Kind::ConsumerDescribe(named) => consumer_describe::reply(caller, &named, answers, &self.image),
            Kind::Delete(named) => delete::reply(caller, &named, answers),
        }
    }
}

/// An optional text, kept.
fn kept(text: Option<&str>) -> Option<Arc<str>> {
    text.map(Arc::from)
}
