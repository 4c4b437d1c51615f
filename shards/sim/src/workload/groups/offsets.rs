//! OffsetCommit, OffsetFetch, OffsetDelete and DeleteGroups in every version: requests, and answers judged by the book.

use std::borrow::Cow;
use std::collections::BTreeMap;

use floe_wire::errors::ErrorCode;
use floe_wire::ids::TopicId;
use floe_wire::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use floe_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use floe_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
};

use super::{Footing, Told, send};
use crate::oracle::groups::{Answered, CommitId, GroupIx};
use crate::oracle::{TopicIx, Tp};
use crate::workload::api::ApiKey;
use crate::workload::{Cx, Request, decode};

/// How long an offset stays that is to expire soon, in milliseconds.
const SOON_MS: i64 = 700;

/// Who commits.
#[derive(Clone, Debug)]
pub struct Who<'a> {
    /// Its group.
    pub group: GroupIx,
    /// Its member id; empty for a standalone consumer.
    pub member: &'a str,
    /// Of a static member.
    pub instance: Option<&'a str>,
    /// Generation or epoch; -1 for a standalone consumer.
    pub generation: i32,
    /// It speaks the next-generation protocol.
    pub has_epoch: bool,
}

/// A commit, a deletion or a fetch on the way.
#[derive(Debug, Default)]
pub struct Open {
    group: Option<GroupIx>,
    commits: BTreeMap<Tp, CommitId>,
    /// The group itself is being deleted.
    deletion: Option<CommitId>,
    asked: Vec<Tp>,
}

fn by_topic(some: &[Tp]) -> BTreeMap<TopicIx, Vec<i32>> {
    let mut by_topic: BTreeMap<TopicIx, Vec<i32>> = BTreeMap::new();
    some.iter().for_each(|tp| by_topic.entry(tp.topic).or_default().push(tp.partition));
    by_topic
}

impl Open {
    /// Commits an offset of its own for each of these partitions. `expiring`: they are to be kept a short time.
    pub fn commit(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, who: &Who<'_>, some: &[Tp], expiring: bool) {
        let now_ns = cx.world.now_ns();
        let lowest = if who.instance.is_some() { 7 } else { 2 };
        let lowest = if who.has_epoch { 9 } else { lowest };
        let version = if expiring && lowest <= 4 { cx.rng.range(2, 4) } else { cx.rng.range(lowest, 10) } as i16;
        let expires = expiring && version <= 4;
        (self.group, self.commits) = (Some(who.group), BTreeMap::new());
        let mut topics = Vec::new();
        for (ix, partitions) in by_topic(some) {
            let one = |partition: i32| {
                let tp = Tp { topic: ix, partition };
                let offset = cx.rng.below(1 << 40) as i64;
                let id = cx.oracle.groups.committing(who.group, tp, Some(offset), expires, now_ns);
                self.commits.insert(tp, id);
                OffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: offset,
                    committed_metadata: Some(Cow::Owned(id.to_string())),
                    ..Default::default()
                }
            };
            let partitions = partitions.into_iter().map(one).collect();
            let topic = cx.topics.get(ix);
            let (name, topic_id) =
                if version < 10 { (topic.name.clone(), TopicId::ZERO) } else { ("".into(), topic.id) };
            topics.push(OffsetCommitRequestTopic { name: Cow::Owned(name), topic_id, partitions });
        }
        let request = OffsetCommitRequest {
            group_id: Cow::Owned(who.group.name()),
            generation_id_or_member_epoch: who.generation,
            member_id: Cow::Borrowed(who.member),
            group_instance_id: who.instance.map(Cow::Borrowed),
            retention_time_ms: if expires { SOON_MS } else { -1 },
            topics,
        };
        send(cx, footing, ApiKey::OffsetCommit, version, &request);
        if !footing.in_flight {
            self.lost(cx, Answered::Refused);
        }
    }

    /// Deletes the offsets of these partitions.
    pub fn delete(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, group: GroupIx, some: &[Tp]) {
        let now_ns = cx.world.now_ns();
        (self.group, self.commits) = (Some(group), BTreeMap::new());
        let mut topics = Vec::new();
        for (ix, partitions) in by_topic(some) {
            for &partition in &partitions {
                let tp = Tp { topic: ix, partition };
                self.commits.insert(tp, cx.oracle.groups.committing(group, tp, None, false, now_ns));
            }
            let one = |partition_index| OffsetDeleteRequestPartition { partition_index };
            topics.push(OffsetDeleteRequestTopic {
                name: Cow::Owned(cx.topics.get(ix).name.clone()),
                partitions: partitions.into_iter().map(one).collect(),
            });
        }
        let request = OffsetDeleteRequest { group_id: Cow::Owned(group.name()), topics };
        send(cx, footing, ApiKey::OffsetDelete, 0, &request);
        if !footing.in_flight {
            self.lost(cx, Answered::Refused);
        }
    }

    /// Deletes the group with all its offsets.
    pub fn delete_group(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, group: GroupIx) {
        (self.group, self.commits) = (Some(group), BTreeMap::new());
        self.deletion = Some(cx.oracle.groups.deleting(group, cx.world.now_ns()));
        let version = cx.rng.range(0, 2) as i16;
        let request = DeleteGroupsRequest { groups_names: vec![Cow::Owned(group.name())] };
        send(cx, footing, ApiKey::DeleteGroups, version, &request);
        if !footing.in_flight {
            self.lost(cx, Answered::Refused);
        }
    }

    /// That was answered.
    pub fn group_deleted(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, version: i16, body: &[u8]) {
        let what = "DeleteGroups";
        let Some(response) = decode::<DeleteGroupsResponse>(cx, what, body, version) else { return };
        let Some(result) = response.results.first() else {
            return cx.oracle.fail(format!("{what}: answered without the group"));
        };
        let how = match footing.told(cx, result.error_code, what) {
            Told::Fine => Answered::Acked,
            // A part of it may have been carried out.
            Told::Later => Answered::InDoubt,
            Told::Other(ErrorCode::NON_EMPTY_GROUP | ErrorCode::GROUP_ID_NOT_FOUND) => Answered::Refused,
            Told::Other(error) => {
                cx.oracle.fail(format!("{what}: {}", error.name()));
                Answered::InDoubt
            }
        };
        self.lost(cx, how);
    }

    /// What was on the way ends like this: its answer is not about single partitions, or does not come.
    pub fn lost(&mut self, cx: &mut Cx<'_>, how: Answered) {
        let now_ns = cx.world.now_ns();
        let Some(group) = self.group else { return };
        if let Some(id) = self.deletion.take() {
            cx.oracle.groups.deleted(group, id, how, now_ns);
        }
        for (tp, id) in std::mem::take(&mut self.commits) {
            cx.oracle.groups.committed(group, tp, id, how, now_ns);
        }
    }

    /// A commit was answered. Gives the first error code that is not about a topic.
    pub fn committed(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, version: i16, body: &[u8]) -> Told {
        let Some(response) = decode::<OffsetCommitResponse>(cx, "OffsetCommit", body, version) else {
            return Told::Later;
        };
        let mut codes = Vec::new();
        for topic in &response.topics {
            let ix = cx.topics.find(&topic.name, topic.topic_id).map(|topic| topic.ix);
            for partition in &topic.partitions {
                codes.push((ix.map(|topic| Tp { topic, partition: partition.partition_index }), partition.error_code));
            }
        }
        self.take_codes(cx, footing, codes, "OffsetCommit")
    }

    /// A deletion was answered.
    pub fn deleted(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, version: i16, body: &[u8]) -> Told {
        let Some(response) = decode::<OffsetDeleteResponse>(cx, "OffsetDelete", body, version) else {
            return Told::Later;
        };
        if response.error_code != 0 {
            let told = footing.told(cx, response.error_code, "OffsetDelete");
            self.lost(cx, if told == Told::Later { Answered::InDoubt } else { Answered::Refused });
            return told;
        }
        let mut codes = Vec::new();
        for topic in &response.topics {
            let ix = cx.topics.find(&topic.name, TopicId::ZERO).map(|topic| topic.ix);
            for partition in &topic.partitions {
                codes.push((ix.map(|topic| Tp { topic, partition: partition.partition_index }), partition.error_code));
            }
        }
        self.take_codes(cx, footing, codes, "OffsetDelete")
    }

    fn take_codes(
        &mut self,
        cx: &mut Cx<'_>,
        footing: &mut Footing,
        codes: Vec<(Option<Tp>, i16)>,
        what: &str,
    ) -> Told {
        let now_ns = cx.world.now_ns();
        let Some(group) = self.group else { return Told::Fine };
        let mut worst = Told::Fine;
        for (tp, code) in codes {
            let Some((tp, id)) = tp.and_then(|tp| Some((tp, self.commits.remove(&tp)?))) else {
                cx.oracle.fail(format!("{what}: answered for {tp:?}, not asked"));
                continue;
            };
            let told = match footing.told(cx, code, what) {
                Told::Other(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID) => {
                    if cx.topics.is_live(tp.topic) {
                        cx.oracle.fail(format!("{what}: {tp} is unknown, but its topic's creation was acknowledged"));
                    }
                    cx.oracle.groups.committed(group, tp, id, Answered::Refused, now_ns);
                    continue;
                }
                told => told,
            };
            let answered = match told {
                Told::Fine => Answered::Acked,
                // A failed journal takes the answer back, not the record.
                Told::Later => Answered::InDoubt,
                Told::Other(_) => Answered::Refused,
            };
            cx.oracle.groups.committed(group, tp, id, answered, now_ns);
            if worst == Told::Fine {
                worst = told;
            }
        }
        if let Some(tp) = self.commits.keys().next() {
            cx.oracle.fail(format!("{what}: answered without {tp}"));
        }
        self.lost(cx, Answered::InDoubt);
        worst
    }

    /// Asks for the offsets of these partitions.
    pub fn fetch(&mut self, cx: &mut Cx<'_>, footing: &mut Footing, who: &Who<'_>, some: &[Tp]) {
        let version = cx.rng.range(1, 10) as i16;
        self.asked = some.to_vec();
        self.group = Some(who.group);
        let mut request = OffsetFetchRequest::default();
        let name = |cx: &Cx<'_>, ix: TopicIx| Cow::Owned(cx.topics.get(ix).name.clone());
        if version < 8 {
            request.group_id = Cow::Owned(who.group.name());
            let topics = by_topic(some).into_iter();
            request.topics = Some(
                topics
                    .map(|(ix, partition_indexes)| OffsetFetchRequestTopic { name: name(cx, ix), partition_indexes })
                    .collect(),
            );
        } else {
            let topics = by_topic(some).into_iter().map(|(ix, partition_indexes)| OffsetFetchRequestTopics {
                name: if version < 10 { name(cx, ix) } else { Cow::Borrowed("") },
                topic_id: if version < 10 { TopicId::ZERO } else { cx.topics.get(ix).id },
                partition_indexes,
            });
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: Cow::Owned(who.group.name()),
                member_id: who.has_epoch.then(|| Cow::Owned(who.member.to_owned())),
                member_epoch: if who.has_epoch { who.generation } else { -1 },
                topics: Some(topics.collect()),
            }];
        }
        send(cx, footing, ApiKey::OffsetFetch, version, &request);
    }

    /// A fetch was answered. Gives what was found, by partition.
    pub fn fetched(
        &mut self,
        cx: &mut Cx<'_>,
        footing: &mut Footing,
        request: &Request,
        body: &[u8],
    ) -> Result<BTreeMap<Tp, Option<i64>>, Told> {
        let version = request.version;
        let Some(response) = decode::<OffsetFetchResponse>(cx, "OffsetFetch", body, version) else {
            return Err(Told::Later);
        };
        let group_code = response.groups.first().map_or(response.error_code, |group| group.error_code);
        let mut found = Vec::new();
        for topic in &response.topics {
            let ix = cx.topics.find(&topic.name, TopicId::ZERO).map(|topic| topic.ix);
            for p in &topic.partitions {
                let metadata = p.metadata.as_deref().unwrap_or("").to_owned();
                found.push((ix, p.partition_index, p.committed_offset, metadata, p.error_code));
            }
        }
        for topic in response.groups.iter().flat_map(|group| &group.topics) {
            let ix = cx.topics.find(&topic.name, topic.topic_id).map(|topic| topic.ix);
            for p in &topic.partitions {
                let metadata = p.metadata.as_deref().unwrap_or("").to_owned();
                found.push((ix, p.partition_index, p.committed_offset, metadata, p.error_code));
            }
        }
        // Version 1 tells errors of the group by partition.
        let code = found.iter().map(|(.., code)| *code).find(|code| *code != 0 && version < 2).unwrap_or(group_code);
        match footing.told(cx, code, "OffsetFetch") {
            Told::Fine => {}
            told => return Err(told),
        }
        let (Some(group), now_ns) = (self.group, cx.world.now_ns()) else { return Err(Told::Later) };
        let mut all = BTreeMap::new();
        for (ix, partition, offset, metadata, code) in found {
            let Some(tp) = ix.map(|topic| Tp { topic, partition }).filter(|tp| self.asked.contains(tp)) else {
                cx.oracle.fail(format!("OffsetFetch: answered with {ix:?}-{partition}, not asked"));
                continue;
            };
            if !cx.topics.is_live(tp.topic) {
                continue;
            }
            if code != 0 {
                let error = crate::workload::error_code(code);
                cx.oracle.fail(format!("OffsetFetch: {tp}: {}", error.name()));
                continue;
            }
            let committed = (offset >= 0).then(|| (metadata.parse().unwrap_or(0), offset));
            cx.oracle.groups.fetched(group, tp, committed, request.sent_ns, now_ns);
            all.insert(tp, committed.map(|(_, offset)| offset));
        }
        let missing = self.asked.iter().find(|tp| cx.topics.is_live(tp.topic) && !all.contains_key(tp));
        if let Some(tp) = missing {
            cx.oracle.fail(format!("OffsetFetch: answered without {tp}"));
        }
        cx.oracle.judge_groups();
        Ok(all)
    }
}
