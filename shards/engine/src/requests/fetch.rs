//! Fetch (1): reads from the owners; when there is less than `min_bytes`, waits until one of them has more, or for `max_wait_ms`.
//!
//! There are no fetch sessions yet: every answer has session 0, by which clients know that each request has to name all partitions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use floe_wire::piece::Piece;
use floe_wire::primitives::{DecodeError, Records};

use super::{Caller, Pending, Wait, codes};
use crate::event::{Effect, Effects, ReplyPart, ShardId};
use crate::log::ReadData;
use crate::mesh::{Call, FetchPart, Fetched, MeshMsg};
use crate::shard::Shard;
use crate::time::{Deadline, Time};

/// A fetch at work or waiting for more.
#[derive(Debug)]
pub struct FetchWait {
    response: FetchResponse<'static>,
    places: Vec<(usize, usize)>,
    calls: BTreeMap<ShardId, Vec<FetchPart>>,
    /// What was read last, by part.
    data: Vec<ReadData>,
    left: usize,
    min_bytes: u64,
    bytes_max: u64,
    deadline: Option<Deadline>,
    /// Whether a partition has an error: those are told at once.
    failed: bool,
    /// An owner has had more since it was last asked.
    woken: bool,
}

impl Shard {
    pub(super) fn fetch(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = FetchRequest::decode_all(body, caller.version)?;
        if request.session_id != 0 {
            let error_code = codes::FETCH_SESSION_ID_NOT_FOUND;
            let response = FetchResponse { error_code, ..FetchResponse::default() };
            self.finish(caller, caller.reply(&response, Vec::new()), fx);
            return Ok(());
        }
        let bytes_max = self.fetch_bytes_max.min(request.max_bytes.max(0) as u64);
        let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let mut wait = FetchWait {
            response: FetchResponse::default(),
            places: Vec::new(),
            calls: BTreeMap::new(),
            data: Vec::new(),
            left: 0,
            min_bytes: (request.min_bytes.max(0) as u64).min(bytes_max),
            bytes_max,
            deadline: (!max_wait.is_zero() && request.min_bytes > 0).then(|| now.after(max_wait)),
            failed: false,
            woken: false,
        };
        for asked in &request.topics {
            let topic = self.topic(&asked.topic, asked.topic_id, caller.version >= 13);
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for part in &asked.partitions {
                let mut answer = PartitionData {
                    partition_index: part.partition,
                    high_watermark: -1,
                    records: Records::Gather(Vec::new()),
                    ..PartitionData::default()
                };
                match &topic {
                    Err(code) => answer.error_code = *code,
                    Ok(topic) if !topic.has(part.partition) => answer.error_code = codes::UNKNOWN_TOPIC_OR_PARTITION,
                    Ok(_) if part.current_leader_epoch > 0 => answer.error_code = codes::UNKNOWN_LEADER_EPOCH,
                    Ok(topic) => {
                        let owner = topic.shard_of(part.partition, self.shards);
                        wait.calls.entry(owner).or_default().push(FetchPart {
                            at: wait.places.len() as u32,
                            topic: topic.id,
                            partition: part.partition,
                            offset: part.fetch_offset,
                            bytes_max: part.partition_max_bytes.max(0) as u64,
                        });
                        wait.places.push((wait.response.responses.len(), partitions.len()));
                        wait.data.push(ReadData::default());
                    }
                }
                wait.failed |= answer.error_code != codes::NONE;
                partitions.push(answer);
            }
            wait.response.responses.push(FetchableTopicResponse {
                topic: Cow::Owned(asked.topic.clone().into_owned()),
                topic_id: asked.topic_id,
                partitions,
            });
        }
        let deadline = wait.deadline;
        let token = self.wait(caller, Wait::Fetch(wait));
        if let Some(deadline) = deadline {
            self.fetch_deadlines.insert((deadline, token));
        }
        self.read(now, token, fx);
        Ok(())
    }

    /// Asks the owners, for the first time or once more.
    fn read(&mut self, now: Time, token: u64, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        wait.left = wait.calls.len();
        wait.woken = false;
        let (bytes_max, watch) = (wait.bytes_max, wait.deadline.is_some());
        let calls: Vec<_> = wait.calls.iter().map(|(owner, parts)| (*owner, parts.clone())).collect();
        if calls.is_empty() {
            self.fetched(now, token, Vec::new(), fx);
        }
        for (owner, parts) in calls {
            self.call(now, owner, token, Call::Fetch { parts, bytes_max, watch }, fx);
        }
    }

    /// An owner has answered (or there was none to ask).
    pub(crate) fn fetched(&mut self, now: Time, token: u64, parts: Vec<Fetched>, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        wait.left = wait.left.saturating_sub(1);
        for part in parts {
            let (topic, partition) = wait.places[part.at as usize];
            let answer = &mut wait.response.responses[topic].partitions[partition];
            answer.error_code = part.error_code;
            answer.high_watermark = part.high_watermark;
            answer.last_stable_offset = part.high_watermark;
            answer.log_start_offset = part.log_start;
            wait.failed |= part.error_code != codes::NONE;
            wait.data[part.at as usize] = part.data;
        }
        if wait.left > 0 {
            return;
        }
        let bytes: u64 = wait.data.iter().map(|data| data.bytes).sum();
        let enough = bytes >= wait.min_bytes || wait.failed || wait.calls.is_empty() && wait.deadline.is_none();
        match wait.deadline {
            Some(deadline) if !enough && !now.reached(deadline) => {
                if wait.woken {
                    self.read(now, token, fx);
                } else {
                    // What was read is read again: holding it would keep memory for as long as the client waits.
                    wait.data.iter_mut().for_each(|data| *data = ReadData::default());
                }
            }
            _ => self.answer_fetch(token, fx),
        }
    }

    /// A watched partition has more.
    pub(crate) fn woken(&mut self, now: Time, token: u64, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        if wait.left > 0 {
            wait.woken = true;
        } else {
            self.read(now, token, fx);
        }
    }

    /// Fetches that have waited long enough read for the last time.
    pub(crate) fn fetch_timer(&mut self, now: Time, fx: &mut Effects) {
        while let Some((deadline, token)) = self.fetch_deadlines.first().copied() {
            if !now.reached(deadline) {
                return;
            }
            self.fetch_deadlines.pop_first();
            if let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get(&token)
                && wait.left == 0
            {
                self.read(now, token, fx);
            }
        }
    }

    fn answer_fetch(&mut self, token: u64, fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Fetch(mut wait) }) = self.pending.remove(&token) else { return };
        if let Some(deadline) = wait.deadline {
            self.fetch_deadlines.remove(&(deadline, token));
            for owner in wait.calls.keys() {
                self.unwatch(*owner, token, fx);
            }
        }
        let (mut files, mut sent) = (Vec::new(), 0);
        for (place, data) in wait.places.iter().zip(std::mem::take(&mut wait.data)) {
            // Each owner keeps to the bound on its own: together they may have read more.
            if data.bytes == 0 || sent > 0 && sent + data.bytes > wait.bytes_max {
                continue;
            }
            sent += data.bytes;
            let mut pieces = Vec::with_capacity(data.parts.len());
            for part in data.parts {
                match part {
                    ReplyPart::Mem(bytes) => pieces.push(Piece::Mem(bytes)),
                    ReplyPart::File(range) => {
                        pieces.push(Piece::Hole { len: range.len as u32 });
                        files.push(range);
                    }
                }
            }
            wait.response.responses[place.0].partitions[place.1].records = Records::Gather(pieces);
        }
        let ending = caller.reply(&wait.response, files);
        self.finish(caller, ending, fx);
    }

    /// The connection of a fetch is gone: nobody has to wake it.
    pub(crate) fn forget_fetch(&mut self, token: u64, wait: &FetchWait, fx: &mut Effects) {
        if let Some(deadline) = wait.deadline {
            self.fetch_deadlines.remove(&(deadline, token));
        }
        for owner in wait.calls.keys() {
            self.unwatch(*owner, token, fx);
        }
    }

    fn unwatch(&mut self, owner: ShardId, token: u64, fx: &mut Effects) {
        if owner == self.shard {
            self.owner.unwatch(owner, token);
        } else {
            fx.push(Effect::Mesh { to: owner, msg: MeshMsg::Unwatch { token } });
        }
    }
}
