//! Fetch (1): reads from the owners; when there is less than `min_bytes`, waits until one of them has more, or for `max_wait_ms`.
//!
//! What is wanted comes from the request, or from the connection's session ([`super::sessions`]), whose answers name only what is new.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_wire::compression::Codec;
use floe_wire::messages::Message;
use floe_wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use floe_wire::piece::Piece;
use floe_wire::primitives::{DecodeError, Records};

use super::list_offsets::READ_COMMITTED;
use super::sessions::{Asked, Entry, Mode, SessionTopic, TopicKey};
use super::split::{Split, bounded};
use super::{Caller, Pending, Wait, codes};
use crate::connection::Ending;
use crate::event::{Effect, Effects, FileRange, ReplyPart, ShardId};
use crate::limits::TRICKLE_BYTES_MAX;
use crate::log::ReadData;
use crate::mesh::{Call, FetchPart, Fetched, MeshMsg};
use crate::shard::Shard;
use crate::time::{Deadline, Time};

/// Fetch requests name topics by id from this version on (KIP-516).
const IDS_SINCE: i16 = 13;
/// The one epoch of every leader, as long as there is one node.
const LEADER_EPOCH: i32 = 0;
/// Fetch requests below this version cannot read zstd (KIP-110).
const ZSTD_SINCE: i16 = 10;

/// A fetch at work or waiting for more.
#[derive(Debug)]
pub struct FetchWait {
    /// In the order in which they are served.
    parts: Vec<Part>,
    topics: Vec<SessionTopic>,
    owners: Vec<Owned>,
    mode: Mode,
    /// [`super::sessions::Session::shape`] when it was asked.
    shape: u64,
    committed_only: bool,
    /// Owners that have not answered.
    left: usize,
    min_bytes: u64,
    bytes_max: u64,
    /// Bytes that the last look found.
    found: u64,
    deadline: Option<Deadline>,
    /// Whether a partition has an error: those are told at once.
    failed: bool,
    held: Held,
}

/// Whether a fetch that could be answered waits for its client ([`super::holds`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Not so far.
    No,
    /// It does.
    Now,
    /// It did: not again, so that nobody waits for one change after the other.
    Before,
}

/// The partitions of one owner.
#[derive(Debug)]
struct Owned {
    shard: ShardId,
    parts: Arc<[FetchPart]>,
    /// Whether it has promised to say when there is more; until it is told that nobody waits.
    watches: bool,
    /// It has had more since it was last asked.
    woken: bool,
    /// Whether the last look found something there.
    found: bool,
}

/// A partition: what was asked, and what is known so far.
#[derive(Debug)]
struct Part {
    /// Index in the fetch's topics.
    topic: u32,
    partition: i32,
    asked: Asked,
    /// Index in the session, where there is one.
    place: u32,
    error_code: i16,
    high_watermark: i64,
    last_stable: i64,
    log_start: i64,
    /// Where the client's log and this one part, when it has read what is not here any more (KIP-320).
    diverges_at: Option<i64>,
    data: ReadData,
    /// Aborted transactions with records in it.
    aborted: Vec<(i64, i64)>,
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
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let mode = match self.sessions.enter(now, caller.conn, &request, caller.version >= IDS_SINCE) {
            Ok(mode) => mode,
            Err(error_code) => {
                self.metrics.errors.count(error_code);
                let response = FetchResponse { error_code, ..FetchResponse::default() };
                self.finish(caller, caller.reply(&response, Vec::new()), fx);
                return Ok(());
            }
        };
        let bytes_max = self.pressure.answer_bytes(self.fetch_bytes_max.min(request.max_bytes.max(0) as u64));
        let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let mut wait = FetchWait {
            parts: Vec::new(),
            topics: Vec::new(),
            owners: Vec::new(),
            mode,
            shape: 0,
            committed_only: request.isolation_level == READ_COMMITTED,
            left: 0,
            min_bytes: (request.min_bytes.max(0) as u64).min(bytes_max),
            bytes_max,
            found: 0,
            deadline: (!max_wait.is_zero() && request.min_bytes > 0).then(|| now.after(max_wait)),
            failed: false,
            held: Held::No,
        };
        match mode {
            Mode::Plain | Mode::Begin => self.parts_of_request(&request, caller.version, &mut wait),
            Mode::Session(id) => self.parts_of_session(id, &mut wait),
        }
        let share = self.share(now, caller.conn, wait.parts.len());
        self.split_fetch(caller.version, share, &mut wait);
        self.called(caller.conn, wait.owners.iter().map(|owned| owned.shard));
        let deadline = wait.deadline;
        let token = self.wait(caller, Wait::Fetch(wait));
        if let Some(deadline) = deadline {
            self.fetch_deadlines.insert((deadline, token));
        }
        self.read(now, token, false, fx);
        Ok(())
    }

    fn parts_of_request(&self, request: &FetchRequest<'_>, version: i16, wait: &mut FetchWait) {
        wait.parts.reserve_exact(request.topics.iter().map(|topic| topic.partitions.len()).sum());
        for (asked, topic) in request.topics.iter().zip(0..) {
            let key = TopicKey { name: asked.topic.as_ref().into(), id: asked.topic_id };
            let found = self.topic(&asked.topic, asked.topic_id, version >= IDS_SINCE);
            wait.topics.push(SessionTopic { key, found });
            wait.parts.extend(asked.partitions.iter().map(|part| Part::new(topic, part.partition, part.into(), 0)));
        }
    }

    fn parts_of_session(&mut self, id: i32, wait: &mut FetchWait) {
        let session = self.sessions.get_mut(id).expect("the request has just entered it");
        if session.image_version != self.image.version {
            for topic in &mut session.topics {
                topic.found = match topic.key.id.is_zero() {
                    true => self.image.topic(&topic.key.name).cloned().ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION),
                    false => self.image.topic_by_id(topic.key.id).cloned().ok_or(codes::UNKNOWN_TOPIC_ID),
                };
            }
            session.image_version = self.image.version;
        }
        wait.shape = session.shape;
        wait.topics.clone_from(&session.topics);
        let count = session.entries.len();
        let in_turn = (0..count).map(|step| (session.first + step) % count);
        wait.parts.extend(in_turn.map(|place| {
            let entry = &session.entries[place];
            Part::new(entry.topic, entry.partition, entry.asked, place as u32)
        }));
    }

    /// Says what cannot be read, and who owns the rest.
    fn split_fetch(&self, version: i16, share: u64, wait: &mut FetchWait) {
        let mut split = Split::new(self.shards);
        for (part, at) in wait.parts.iter_mut().zip(0..) {
            let topic = match &wait.topics[part.topic as usize].found {
                Ok(topic) if topic.has(part.partition) => topic,
                Ok(_) => {
                    part.error_code = codes::UNKNOWN_TOPIC_OR_PARTITION;
                    continue;
                }
                Err(code) => {
                    part.error_code = *code;
                    continue;
                }
            };
            let zstd = |settings: &Arc<crate::config::TopicSettings>| settings.recompress_to == Some(Codec::Zstd);
            if part.asked.leader_epoch > LEADER_EPOCH {
                part.error_code = codes::UNKNOWN_LEADER_EPOCH;
            } else if version < ZSTD_SINCE && self.owner.settings.get(&topic.id).is_some_and(zstd) {
                part.error_code = codes::UNSUPPORTED_COMPRESSION_TYPE;
            } else {
                let (offset, bytes_max) = (part.asked.offset, part.asked.bytes_max);
                let asked = FetchPart { at, topic: topic.id, partition: part.partition, offset, bytes_max, share };
                split.push(topic.shard_of(part.partition, self.shards), asked);
            }
        }
        wait.failed = wait.parts.iter().any(|part| part.error_code != codes::NONE);
        let calls = split.into_calls();
        let owned = |(shard, parts): (ShardId, Vec<FetchPart>)| Owned {
            shard,
            parts: parts.into(),
            watches: false,
            woken: false,
            found: false,
        };
        wait.owners.extend(calls.map(owned));
    }

    /// Asks the owners, for the first time, or `again` those that have more, or had some, too little to answer with and not kept.
    fn read(&mut self, now: Time, token: u64, again: bool, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        let asks = |owned: &Owned| !again || owned.woken || owned.found;
        wait.left = wait.owners.iter().filter(|owned| asks(owned)).count();
        let (bytes_max, committed) = (wait.bytes_max, wait.committed_only);
        let waits = wait.deadline.is_some_and(|deadline| !now.reached(deadline)) && !wait.failed;
        let watch_below = if waits { wait.min_bytes } else { 0 };
        if wait.left == 0 {
            return self.answer_fetch(now, token, fx);
        }
        // Nothing comes back from within these calls, so the fetch stays where it is.
        for at in 0..wait.owners.len() {
            let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
            let owned = &mut wait.owners[at];
            if !asks(owned) {
                continue;
            }
            (owned.woken, owned.found) = (false, false);
            let (owner, parts) = (owned.shard, owned.parts.clone());
            self.call(now, owner, token, Call::Fetch { parts, bytes_max, committed, watch_below, again }, fx);
        }
    }

    /// An owner has answered. With `watches` it will say when there is more.
    pub(crate) fn fetched(
        &mut self,
        now: Time,
        from: ShardId,
        token: u64,
        (parts, watches): (Vec<Fetched>, bool),
        fx: &mut Effects,
    ) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        wait.left = wait.left.saturating_sub(1);
        if let Some(owned) = wait.owners.iter_mut().find(|owned| owned.shard == from) {
            owned.watches |= watches;
            owned.found = parts.iter().any(|part| part.data.bytes > 0);
        }
        for fetched in parts {
            let part = &mut wait.parts[fetched.at as usize];
            part.take(fetched);
            wait.failed |= part.error_code != codes::NONE || part.diverges_at.is_some();
        }
        if wait.left > 0 {
            return;
        }
        wait.found = wait.parts.iter().map(|part| part.data.bytes).sum();
        let enough = wait.found >= wait.min_bytes || wait.failed;
        match wait.deadline {
            Some(deadline) if !enough && !now.reached(deadline) => {
                // What was read is read again: holding it would keep memory for as long as the client waits.
                wait.parts.iter_mut().for_each(Part::drop_data);
                if wait.owners.iter().any(|owned| owned.woken) {
                    self.read(now, token, true, fx);
                }
            }
            _ => {
                if wait.failed || !self.fetch_is_held(now, token) {
                    self.answer_fetch(now, token, fx);
                }
            }
        }
    }

    /// Whether the client is taking in a change of its group, so that the fetch has to wait though it could be answered.
    fn fetch_is_held(&mut self, now: Time, token: u64) -> bool {
        let Some(Pending { caller, wait: Wait::Fetch(wait) }) = self.pending.get(&token) else { return false };
        if wait.held != Held::No {
            return false;
        }
        let Some(until) = self.held(now, caller.conn, token) else { return false };
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return false };
        wait.parts.iter_mut().for_each(Part::drop_data);
        wait.held = Held::Now;
        self.fetch_waits_until(token, until);
        true
    }

    /// A watched partition has more.
    pub(crate) fn woken(&mut self, now: Time, from: ShardId, token: u64, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        if let Some(owned) = wait.owners.iter_mut().find(|owned| owned.shard == from) {
            owned.woken = true;
        }
        if wait.left == 0 && wait.held != Held::Now {
            self.read(now, token, true, fx);
        }
    }

    /// Fetches that have waited long enough are answered with what there is.
    pub(crate) fn fetch_timer(&mut self, now: Time, fx: &mut Effects) {
        while let Some((deadline, token)) = self.fetch_deadlines.first().copied() {
            if !now.reached(deadline) {
                return;
            }
            self.fetch_due(now, token, fx);
        }
    }

    /// A fetch that waits for its client waits until then.
    pub(super) fn fetch_waits_until(&mut self, token: u64, until: Deadline) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        if wait.held != Held::Now {
            return;
        }
        if let Some(deadline) = wait.deadline.replace(until) {
            self.fetch_deadlines.remove(&(deadline, token));
        }
        self.fetch_deadlines.insert((until, token));
    }

    /// A fetch waits no longer, unless its client takes in a change of its group.
    pub(super) fn fetch_due(&mut self, now: Time, token: u64, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.get_mut(&token) else { return };
        if let Some(deadline) = wait.deadline.replace(Deadline(now.mono_ns)) {
            self.fetch_deadlines.remove(&(deadline, token));
        }
        if wait.held == Held::Now {
            wait.held = Held::Before;
        }
        if wait.left > 0 {
            return;
        }
        // Nothing was there, and nobody has said that there is more.
        let nothing = wait.found == 0 && !wait.owners.iter().any(|owned| owned.woken);
        if !nothing {
            self.read(now, token, true, fx);
        } else if !self.fetch_is_held(now, token) {
            self.answer_fetch(now, token, fx);
        }
    }

    fn answer_fetch(&mut self, now: Time, token: u64, fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Fetch(mut wait) }) = self.pending.remove(&token) else { return };
        self.forget_fetch(token, &wait, fx);
        wait.trim();
        if wait.follows() {
            self.follows(now, caller.conn);
        }
        wait.parts.iter().for_each(|part| self.metrics.errors.count(part.error_code));
        let session_id = match wait.mode {
            Mode::Plain => 0,
            Mode::Begin => {
                let topics = wait.topics.clone();
                let by_id = caller.version >= IDS_SINCE;
                self.sessions.begin(now, caller.conn, by_id, topics, wait.parts.iter().map(Part::entry))
            }
            Mode::Session(id) => {
                self.only_what_is_new(id, &mut wait);
                id
            }
        };
        let ending = wait.ending(&caller, session_id);
        self.finish(caller, ending, fx);
    }

    /// Leaves in the answer what the client of a session has not been told.
    fn only_what_is_new(&mut self, id: i32, wait: &mut FetchWait) {
        // A request that came in meanwhile may have ended the session, or moved its entries: then all is told.
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.shape == wait.shape) else { return };
        wait.parts.retain(|part| {
            let entry = &mut session.entries[part.place as usize];
            let failed = part.error_code != codes::NONE;
            let told = (entry.high_watermark, entry.log_start) == (part.high_watermark, part.log_start);
            // After an error the partition is told again, whatever it then is.
            entry.high_watermark = if failed { -1 } else { part.high_watermark };
            entry.log_start = part.log_start;
            failed || !told || part.data.bytes > 0 || part.diverges_at.is_some()
        });
        if let Some(last) = wait.parts.iter().rfind(|part| part.data.bytes > 0) {
            session.first = last.place as usize + 1;
        }
    }

    /// The fetch no longer waits: nobody has to wake it.
    pub(crate) fn forget_fetch(&mut self, token: u64, wait: &FetchWait, fx: &mut Effects) {
        if let Some(deadline) = wait.deadline {
            self.fetch_deadlines.remove(&(deadline, token));
        }
        for owned in wait.owners.iter().filter(|owned| owned.watches || wait.left > 0) {
            if owned.shard == self.shard {
                self.owner.watches.end((owned.shard, token));
            } else {
                fx.push(Effect::Mesh { to: owned.shard, msg: MeshMsg::Unwatch { token } });
            }
        }
    }
}

impl FetchWait {
    /// Each owner keeps to the bounds on its own: together they may have read more than all may, and each may have brought one batch that is larger
    /// than its partition may answer, of which an answer has one, in the first place (KIP-74).
    fn trim(&mut self) {
        let mut sent = 0;
        for part in &mut self.parts {
            let too_large = part.data.bytes > part.asked.bytes_max || sent + part.data.bytes > self.bytes_max;
            if sent > 0 && too_large {
                part.drop_data();
            }
            sent += part.data.bytes;
        }
    }

    /// Whether it has come to the end of a partition that is written to a little at a time.
    fn follows(&self) -> bool {
        let committed = self.committed_only;
        let end = |part: &Part| if committed { part.last_stable } else { part.high_watermark };
        self.parts.iter().any(|part| (1..=TRICKLE_BYTES_MAX).contains(&part.data.bytes) && part.data.end == end(part))
    }

    fn ending(self, caller: &Caller, session_id: i32) -> Ending {
        let mut files = Vec::new();
        let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
        let mut last = None;
        for part in self.parts {
            if last != Some(part.topic) {
                last = Some(part.topic);
                let key = &self.topics[part.topic as usize].key;
                let topic = Cow::Borrowed(key.name.as_ref());
                responses.push(FetchableTopicResponse { topic, topic_id: key.id, partitions: Vec::new() });
            }
            let partitions = &mut responses.last_mut().expect("pushed above").partitions;
            partitions.push(part.answer(self.committed_only, &mut files));
        }
        caller.reply(&FetchResponse { session_id, responses, ..FetchResponse::default() }, files)
    }
}

impl Part {
    fn new(topic: u32, partition: i32, asked: Asked, place: u32) -> Part {
        Part {
            topic,
            partition,
            asked,
            place,
            error_code: codes::NONE,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            diverges_at: None,
            data: ReadData::default(),
            aborted: Vec::new(),
        }
    }

    /// Lets go of what was read.
    fn drop_data(&mut self) {
        (self.data, self.aborted) = (ReadData::default(), Vec::new());
    }

    fn take(&mut self, fetched: Fetched) {
        (self.error_code, self.data, self.aborted) = (fetched.error_code, fetched.data, fetched.aborted);
        (self.high_watermark, self.log_start) = (fetched.high_watermark, fetched.log_start);
        self.last_stable = fetched.last_stable;
        if self.error_code == codes::OFFSET_OUT_OF_RANGE
            && self.asked.last_epoch == LEADER_EPOCH
            && self.asked.offset > fetched.log_end
        {
            // Records of the only epoch there is are gone (a weaker tier, and a crash): the client goes on from the end instead of resetting.
            self.diverges_at = Some(fetched.log_end);
            self.error_code = codes::NONE;
        } else if self.error_code != codes::NONE {
            (self.high_watermark, self.last_stable, self.log_start) = (-1, -1, -1);
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            topic: self.topic,
            partition: self.partition,
            asked: self.asked,
            high_watermark: if self.error_code == codes::NONE { self.high_watermark } else { -1 },
            log_start: self.log_start,
        }
    }

    fn answer(self, committed_only: bool, files: &mut Vec<FileRange>) -> PartitionData<'static> {
        let aborted = self.aborted.into_iter();
        let aborted = aborted.map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
        let mut pieces = Vec::with_capacity(self.data.parts.len());
        for part in self.data.parts {
            match part {
                ReplyPart::Mem(bytes) => pieces.push(Piece::Mem(bytes)),
                ReplyPart::File(range) => {
                    pieces.push(Piece::Hole { len: range.len as u32 });
                    files.push(range);
                }
            }
        }
        PartitionData {
            partition_index: self.partition,
            error_code: self.error_code,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable,
            log_start_offset: self.log_start,
            diverging_epoch: self
                .diverges_at
                .map_or_else(EpochEndOffset::default, |end_offset| EpochEndOffset { epoch: LEADER_EPOCH, end_offset }),
            aborted_transactions: committed_only.then(|| aborted.collect()),
            records: Records::Gather(pieces),
            ..PartitionData::default()
        }
    }
}
