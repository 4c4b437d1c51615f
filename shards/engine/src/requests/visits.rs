//! What DeleteRecords, OffsetForLeaderEpoch, DescribeProducers and DescribeLogDirs have in common: partitions of a request go to their owners,
//! and what was seen there goes into the places of one answer.

use floe_wire::messages::delete_records::DeleteRecordsResponse;
use floe_wire::messages::describe_log_dirs::DescribeLogDirsResponse;
use floe_wire::messages::describe_producers::DescribeProducersResponse;
use floe_wire::messages::offset_for_leader_epoch::OffsetForLeaderEpochResponse;

use super::split::Split;
use super::{Caller, Pending, Wait, delete_records, describe_log_dirs, describe_producers, leader_epochs};
use crate::event::Effects;
use crate::mesh::{Call, Errand, Visit, Visited};
use crate::metadata::Topic;
use crate::shard::Shard;
use crate::time::Time;

/// An answer in the making.
#[derive(Debug)]
pub enum VisitResponse {
    /// DeleteRecords.
    DeleteRecords(DeleteRecordsResponse<'static>),
    /// OffsetForLeaderEpoch.
    LeaderEpochs(OffsetForLeaderEpochResponse<'static>),
    /// DescribeProducers.
    Producers(DescribeProducersResponse<'static>),
    /// DescribeLogDirs.
    LogDirs(DescribeLogDirsResponse<'static>),
}

/// A request whose owners work.
#[derive(Debug)]
pub struct VisitWait {
    response: VisitResponse,
    /// Topic and partition within the answer, by the number of the part.
    places: Vec<(usize, usize)>,
    left: usize,
}

/// The visits of a request, collected.
pub(super) struct Visits {
    calls: Split<Visit>,
    places: Vec<(usize, usize)>,
}

impl Visits {
    pub(super) fn new(shards: u16) -> Visits {
        Visits { calls: Split::new(shards), places: Vec::new() }
    }

    /// Adds a partition, which is there, with its place in the answer.
    pub(super) fn push(&mut self, shards: u16, topic: &Topic, partition: i32, errand: Errand, place: (usize, usize)) {
        let at = self.places.len() as u32;
        self.calls.push(topic.shard_of(partition, shards), Visit { at, topic: topic.id, partition, errand });
        self.places.push(place);
    }
}

impl Shard {
    /// Calls the owners; the answer goes out when all have answered.
    pub(super) fn call_visits(
        &mut self,
        now: Time,
        caller: Caller,
        visits: Visits,
        response: VisitResponse,
        fx: &mut Effects,
    ) {
        let Visits { calls, places } = visits;
        let left = calls.owners().count();
        let token = self.wait(caller, Wait::Visit(VisitWait { response, places, left }));
        if left == 0 {
            return self.visited(token, Vec::new(), fx);
        }
        for (owner, visits) in calls.into_calls() {
            self.call(now, owner, token, Call::Visit(visits), fx);
        }
    }

    /// An owner has answered (or there was none to ask).
    pub(crate) fn visited(&mut self, token: u64, visited: Vec<Visited>, fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Visit(wait) }) = self.pending.get_mut(&token) else { return };
        let caller = *caller;
        wait.left = wait.left.saturating_sub(1);
        for Visited { at, result } in visited {
            let (topic, partition) = wait.places[at as usize];
            match &mut wait.response {
                VisitResponse::DeleteRecords(r) => {
                    delete_records::enter(&mut r.topics[topic].partitions[partition], result);
                }
                VisitResponse::LeaderEpochs(r) => {
                    leader_epochs::enter(&mut r.topics[topic].partitions[partition], result);
                }
                VisitResponse::Producers(r) => {
                    describe_producers::enter(&mut r.topics[topic].partitions[partition], result);
                }
                VisitResponse::LogDirs(r) => {
                    describe_log_dirs::enter(&mut r.results[0].topics[topic].partitions[partition], result);
                }
            }
        }
        if wait.left > 0 {
            return;
        }
        let ending = match &wait.response {
            VisitResponse::DeleteRecords(response) => caller.reply(response, Vec::new()),
            VisitResponse::LeaderEpochs(response) => caller.reply(response, Vec::new()),
            VisitResponse::Producers(response) => caller.reply(response, Vec::new()),
            VisitResponse::LogDirs(response) => caller.reply(response, Vec::new()),
        };
        self.pending.remove(&token);
        self.finish(caller, ending, fx);
    }
}
