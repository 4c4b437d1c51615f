//! What is asked of groups before, during and after the load.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use floe_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};

use crate::asking::READY_MAX;
pub use crate::asking::{Asking, answer, frame, is_moving};

/// OffsetCommit.
pub const OFFSET_COMMIT: (i16, i16) = (8, 9);
/// OffsetFetch.
pub const OFFSET_FETCH: (i16, i16) = (9, 9);
/// Groups in one OffsetFetch.
const GROUPS_A_FETCH: usize = 50;

/// Offsets of one topic from one partition on, all the same.
pub fn commit<'a>(
    group: &'a str,
    member: (&'a str, i32),
    topic: &'a str,
    partitions: std::ops::Range<i32>,
    offset: i64,
) -> OffsetCommitRequest<'a> {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: partitions.map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.0.into(),
        generation_id_or_member_epoch: member.1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

/// The first error of a commit; zero when all was taken.
pub fn refusal(response: &OffsetCommitResponse<'_>) -> i16 {
    let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    codes.find(|code| *code != 0).unwrap_or(0)
}

impl Asking {
    /// Commits for a group without members.
    pub fn commit(&mut self, group: &str, topic: &str, partitions: i32, offset: i64) -> io::Result<()> {
        let request = commit(group, ("", -1), topic, 0..partitions, offset);
        let began = Instant::now();
        loop {
            let bytes = self.ask(OFFSET_COMMIT, &request)?;
            match refusal(&self.read(OFFSET_COMMIT, &bytes)?) {
                0 => return Ok(()),
                code if is_moving(code) && began.elapsed() < READY_MAX => sleep(Duration::from_millis(20)),
                code => return Err(io::Error::other(format!("OffsetCommit of {group}: error {code}"))),
            }
        }
    }

    /// Fetches all offsets of all groups, asking again until each of them answers; gives how many offsets there are.
    pub fn all_offsets(&mut self, groups: &[String]) -> io::Result<usize> {
        let began = Instant::now();
        let mut offsets = 0;
        for groups in groups.chunks(GROUPS_A_FETCH) {
            let of = |group: &String| OffsetFetchRequestGroup {
                group_id: group.clone().into(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            };
            let request =
                OffsetFetchRequest { groups: groups.iter().map(of).collect(), ..OffsetFetchRequest::default() };
            loop {
                let bytes = self.ask(OFFSET_FETCH, &request)?;
                let response: OffsetFetchResponse<'_> = self.read(OFFSET_FETCH, &bytes)?;
                match response.groups.iter().map(|group| group.error_code).find(|code| *code != 0) {
                    Some(code) if is_moving(code) && began.elapsed() < READY_MAX => {
                        sleep(Duration::from_millis(1));
                        continue;
                    }
                    Some(code) => return Err(io::Error::other(format!("OffsetFetch: error {code}"))),
                    None => {}
                }
                let partitions = response.groups.iter().flat_map(|group| &group.topics).flat_map(|t| &t.partitions);
                offsets += partitions.filter(|partition| partition.committed_offset >= 0).count();
                break;
            }
        }
        Ok(offsets)
    }
}
