//! OffsetFetch (9): how far groups have come. One group up to version 7, several from version 8 (KIP-709), topics by id from version 10.
//!
//! With `require_stable` (KIP-447) an offset that an open transaction may change is answered UNSTABLE_OFFSET_COMMIT.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{FetchOffsets, FetchedTopic, GroupAnswer, GroupRequest, MemberRef};
use crate::group::records::CommittedOffset;
use crate::metadata::Image;
use crate::shard::Shard;
use crate::time::Time;

/// First version that names several groups.
const SEVERAL_SINCE: i16 = 8;
/// First version that says who asks.
const NAMES_MEMBER_SINCE: i16 = 9;
/// First version whose topics are named by id.
const BY_ID_SINCE: i16 = 10;
/// First version that has room for an error of the whole group.
const GROUP_ERROR_SINCE: i16 = 2;

/// Names with partitions.
type Asked = Vec<(Arc<str>, Vec<i32>)>;

/// What was asked of a group.
#[derive(Debug)]
pub(super) struct OfGroup {
    group: Arc<str>,
    /// What an error of the whole is to be told for, in versions that have no room for it.
    asked: Asked,
    /// Topics that nobody knows by their id.
    unknown: Vec<(TopicId, Vec<i32>)>,
}

/// By group, in the order of the request.
pub(super) type Fetching = Vec<OfGroup>;

impl Shard {
    pub(super) fn offset_fetch(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = OffsetFetchRequest::decode_all(body, caller.version)?;
        let of_groups = request.groups.iter().flat_map(|group| group.topics.iter().flatten());
        let of_one = request.topics.iter().flatten().map(|topic| topic.partition_indexes.len());
        bounded(of_one.chain(of_groups.map(|topic| topic.partition_indexes.len())))?;
        bounded(std::iter::once(request.groups.len()))?;
        let (mut fetching, mut calls) = (Vec::new(), Vec::new());
        let mut push = |group: &str, who, topics: Option<Asked>, unknown| {
            let group: Arc<str> = group.into();
            let asked =
                if caller.version < GROUP_ERROR_SINCE { topics.clone().unwrap_or_default() } else { Vec::new() };
            let request = GroupRequest::Fetch(FetchOffsets { who, topics, require_stable: request.require_stable });
            calls.push(Shard::group_call(client, group.clone(), request));
            fetching.push(OfGroup { group, asked, unknown });
        };
        if caller.version < SEVERAL_SINCE {
            let topics = request.topics.as_ref().map(|topics| {
                let topics = topics.iter().map(|topic| ((&*topic.name).into(), topic.partition_indexes.clone()));
                topics.collect()
            });
            push(&request.group_id, None, topics, Vec::new());
        }
        for group in &request.groups {
            let (topics, unknown) = self.topics_of(group, caller.version);
            let who = (caller.version >= NAMES_MEMBER_SINCE).then(|| MemberRef {
                member: kept(group.member_id.as_deref()).unwrap_or_else(|| "".into()),
                instance: None,
                generation: group.member_epoch,
            });
            push(&group.group_id, who, topics, unknown);
        }
        self.call_groups(now, caller, Kind::Fetch(fetching), calls, fx);
        Ok(())
    }

    /// The topics asked for by their names, and the ids that nobody knows.
    fn topics_of(
        &self,
        group: &OffsetFetchRequestGroup<'_>,
        version: i16,
    ) -> (Option<Asked>, Vec<(TopicId, Vec<i32>)>) {
        let Some(topics) = &group.topics else { return (None, Vec::new()) };
        let (mut asked, mut unknown) = (Vec::with_capacity(topics.len()), Vec::new());
        for topic in topics {
            let partitions = topic.partition_indexes.clone();
            if version < BY_ID_SINCE {
                asked.push(((&*topic.name).into(), partitions));
            } else if let Some(known) = self.image.topic_by_id(topic.topic_id) {
                asked.push((known.name.as_str().into(), partitions));
            } else {
                unknown.push((topic.topic_id, partitions));
            }
        }
        (Some(asked), unknown)
    }
}

pub(super) fn reply(
    caller: &Caller,
    fetching: &Fetching,
    answers: impl Iterator<Item = GroupAnswer>,
    image: &Image,
) -> Ending {
    let answers: Vec<Result<Vec<FetchedTopic>, i16>> = answers
        .map(|answer| match answer {
            GroupAnswer::Fetched(fetched) => fetched,
            answer => unreachable!("{answer:?} to a fetch of offsets"),
        })
        .collect();
    let mut response = OffsetFetchResponse::default();
    let mut of_groups = fetching.iter().zip(&answers);
    if caller.version < SEVERAL_SINCE {
        let (of_group, fetched) = of_groups.next().expect("one group");
        match fetched {
            Ok(topics) => response.topics = topics.iter().map(of_one).collect(),
            Err(code) => {
                response.error_code = *code;
                response.topics = of_group.asked.iter().map(|topic| failed(topic, *code)).collect();
            }
        }
    } else {
        response.groups = of_groups.map(|(of_group, fetched)| of_several(of_group, fetched, caller, image)).collect();
    }
    caller.reply(&response, Vec::new())
}

fn of_one(topic: &FetchedTopic) -> OffsetFetchResponseTopic<'_> {
    let partitions = topic.partitions.iter().map(|(partition_index, committed)| {
        let (committed_offset, committed_leader_epoch, metadata, error_code) = parts(committed);
        OffsetFetchResponsePartition {
            partition_index: *partition_index,
            committed_offset,
            committed_leader_epoch,
            metadata: Some(Cow::Borrowed(metadata)),
            error_code,
        }
    });
    OffsetFetchResponseTopic { name: Cow::Borrowed(&topic.name), partitions: partitions.collect() }
}

/// Before there was room for an error of the group, each of its partitions has it.
fn failed<'a>((name, partitions): &'a (Arc<str>, Vec<i32>), error_code: i16) -> OffsetFetchResponseTopic<'a> {
    let partitions = partitions.iter().map(|partition_index| OffsetFetchResponsePartition {
        partition_index: *partition_index,
        committed_offset: -1,
        error_code,
        ..OffsetFetchResponsePartition::default()
    });
    OffsetFetchResponseTopic { name: Cow::Borrowed(name), partitions: partitions.collect() }
}

fn of_several<'a>(
    of_group: &'a OfGroup,
    fetched: &'a Result<Vec<FetchedTopic>, i16>,
    caller: &Caller,
    image: &Image,
) -> OffsetFetchResponseGroup<'a> {
    let mut answer = OffsetFetchResponseGroup { group_id: Cow::Borrowed(&of_group.group), ..Default::default() };
    let topics = match fetched {
        Ok(topics) => topics,
        Err(code) => {
            answer.error_code = *code;
            return answer;
        }
    };
    for topic in topics {
        let id = image.topic(&topic.name).map(|topic| topic.id);
        // Whoever asks for everything by id is not told of what has none any more.
        if id.is_none() && caller.version >= BY_ID_SINCE {
            continue;
        }
        let partitions = topic.partitions.iter().map(|(partition_index, committed)| {
            let (committed_offset, committed_leader_epoch, metadata, error_code) = parts(committed);
            OffsetFetchResponsePartitions {
                partition_index: *partition_index,
                committed_offset,
                committed_leader_epoch,
                metadata: Some(Cow::Borrowed(metadata)),
                error_code,
            }
        });
        answer.topics.push(OffsetFetchResponseTopics {
            name: Cow::Borrowed(&topic.name),
            topic_id: id.unwrap_or_default(),
            partitions: partitions.collect(),
        });
    }
    for (id, partitions) in &of_group.unknown {
        let partitions = partitions.iter().map(|partition_index| OffsetFetchResponsePartitions {
            partition_index: *partition_index,
            committed_offset: -1,
            error_code: codes::UNKNOWN_TOPIC_ID,
            ..OffsetFetchResponsePartitions::default()
        });
        answer.topics.push(OffsetFetchResponseTopics {
            topic_id: *id,
            partitions: partitions.collect(),
            ..OffsetFetchResponseTopics::default()
        });
    }
    answer
}

/// Offset, leader epoch, metadata and error code, as an answer has them where nothing was committed.
fn parts(committed: &Result<Option<CommittedOffset>, i16>) -> (i64, i32, &str, i16) {
    match committed {
        Ok(Some(committed)) => (committed.offset, committed.leader_epoch, &committed.metadata, codes::NONE),
        Ok(None) => (-1, -1, "", codes::NONE),
        Err(code) => (-1, -1, "", *code),
    }
}
