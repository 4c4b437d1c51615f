//! What groups look like from outside: DescribeGroups or ConsumerGroupDescribe and every committed offset, of each group, in one text. Taken before a clean
//! stop and after the start that follows, with nothing due in between: what was live must be what is read back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use floe_wire::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use floe_wire::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::offsets::{Open, Who};
use super::{Footing, Speech, Told, send};
use crate::oracle::Tp;
use crate::oracle::groups::GroupIx;
use crate::workload::api::ApiKey;
use crate::workload::{Actor, Cx, Request, decode};

/// A group's looks, by group.
pub type Portraits = BTreeMap<GroupIx, String>;

/// Who takes them.
pub struct Painter {
    groups: Vec<(GroupIx, Speech)>,
    footing: Footing,
    at: usize,
    /// Of the group at which it is: described, its offsets are next.
    described: Option<String>,
    /// Of a mixed group: as one of the classic protocol it looks like this, as one of the other it is next.
    as_classic: Option<String>,
    open: Open,
    /// Compares with those taken before.
    compares: bool,
}

impl Painter {
    /// Of these groups. `compares`: they must look as they did.
    pub fn new(groups: Vec<(GroupIx, Speech)>, compares: bool) -> Painter {
        Painter {
            groups,
            footing: Footing::default(),
            at: 0,
            described: None,
            as_classic: None,
            open: Open::default(),
            compares,
        }
    }

    fn took(&mut self, cx: &mut Cx<'_>, group: GroupIx, offsets: &BTreeMap<Tp, Option<i64>>) {
        let described = self.described.take().unwrap_or_default();
        let mut text = format!("{described}\noffsets {offsets:?}");
        self.at += 1;
        let before = cx.topics.portraits.get(&group);
        if self.compares && before.is_some_and(|before| before.starts_with('\n')) {
            text.replace_range(..described.len(), "");
        }
        if !self.compares {
            cx.topics.portraits.insert(group, text);
        } else if let Some(before) = before
            && *before != text
        {
            cx.oracle.fail(format!("{} looked, before the restart,\n{before}\nand now\n{text}", group.name()));
        }
    }
}

impl Actor for Painter {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.is_done() {
            return None;
        }
        if self.footing.gives_up() {
            // A partition that may be damaged: the next group.
            cx.topics.portraits.remove(&self.groups[self.at].0);
            (self.footing, self.described, self.as_classic) = (Footing::default(), None, None);
            self.at += 1;
            return Some(0);
        }
        if let Err(wait) = self.footing.ready(cx) {
            return wait;
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        let (group, speech) = self.groups[self.at];
        if self.described.is_some() {
            let who = Who { group, member: "", instance: None, generation: -1, has_epoch: false };
            let all = cx.topics.live_partitions();
            let all: Vec<Tp> = all.into_iter().filter(|tp| !cx.topics.get(tp.topic).id.is_zero()).collect();
            if all.is_empty() {
                self.took(cx, group, &BTreeMap::new());
                return Some(0);
            }
            self.open.fetch(cx, &mut self.footing, &who, &all);
        } else if speech == Speech::Consumer || self.as_classic.is_some() {
            let version = cx.rng.range(0, 1) as i16;
            let group_ids = vec![Cow::Owned(group.name())];
            let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: false };
            send(cx, &mut self.footing, ApiKey::ConsumerGroupDescribe, version, &request);
        } else {
            let groups = vec![Cow::Owned(group.name())];
            let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
            send(cx, &mut self.footing, ApiKey::DescribeGroups, 5, &request);
        }
        if self.footing.in_flight { None } else { Some(5_000_000) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.footing.in_flight = false;
        let (group, speech) = self.groups[self.at];
        let (code, text) = match request.api {
            ApiKey::DescribeGroups => {
                let decoded = decode::<DescribeGroupsResponse>(cx, "DescribeGroups", body, request.version);
                let Some(mut response) = decoded else { return };
                let Some(described) = response.groups.first_mut() else { return };
                // Whoever was given a member id and did not come back is soft state, and the group with it.
                let nothing = described.protocol_type.is_empty() && described.members.is_empty();
                // A rebalance is soft state: what is read back is the generation before it.
                let nothing = nothing || described.group_state.ends_with("Rebalance");
                (described.error_code, if nothing { String::new() } else { format!("{described:#?}") })
            }
            ApiKey::ConsumerGroupDescribe => {
                let decoded =
                    decode::<ConsumerGroupDescribeResponse>(cx, "ConsumerGroupDescribe", body, request.version);
                let Some(mut response) = decoded else { return };
                let Some(described) = response.groups.first_mut() else { return };
                // Only later versions tell it.
                described.members.iter_mut().for_each(|member| member.member_type = -1);
                (described.error_code, format!("{described:#?}"))
            }
            _ => {
                let mut open = std::mem::take(&mut self.open);
                match open.fetched(cx, &mut self.footing, request, body) {
                    Ok(found) => self.took(cx, group, &found),
                    Err(Told::Other(error)) => cx.oracle.fail(format!("OffsetFetch: {}", error.name())),
                    Err(_) => {}
                }
                self.open = open;
                return;
            }
        };
        match self.footing.told(cx, code, "describing a group") {
            Told::Later => {}
            Told::Fine | Told::Other(_) if speech == Speech::Mixed && request.api == ApiKey::DescribeGroups => {
                self.as_classic = Some(text);
            }
            // Of a group that is no more as well.
            Told::Fine => self.described = Some(self.as_classic.take().unwrap_or_default() + &text),
            Told::Other(_) => self.described = Some(self.as_classic.take().unwrap_or(text)),
        }
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.footing.in_flight = false;
    }

    fn is_done(&self) -> bool {
        self.at >= self.groups.len()
    }

    fn describe(&self) -> String {
        format!("looking at groups, {} of {}", self.at, self.groups.len())
    }
}
