//! Incremental fetch sessions (KIP-227): what a client reads, kept here so that its requests need to name only what changed, and the answers only
//! what is new. Lives on the shard of the connection, moves and ends with it.
//!
//! Invariants: at most `max.incremental.fetch.session.cache.slots` sessions with [`FETCH_SESSION_PARTITIONS_MAX`] partitions in all, per shard; a fetch
//! that finds no room is answered without a session, which every client understands. A session goes for a new one only when it has
//! not been used for [`FETCH_SESSION_IDLE_MS`] (Kafka's rule, lest too many clients evict each other all the time).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use floe_wire::ids::TopicId;
use floe_wire::messages::fetch::{FetchPartition, FetchRequest};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::codes;
use crate::event::ConnId;
use crate::limits::{FETCH_SESSION_IDLE_MS, FETCH_SESSION_PARTITIONS_MAX};
use crate::metadata::Topic;
use crate::time::Time;

/// A request that names all partitions and begins a session.
const EPOCH_FIRST: i32 = 0;
/// A request that names all partitions and begins none.
const EPOCH_NONE: i32 = -1;

/// A topic as clients name it: by name up to Fetch 12, by id from 13 on (the other one is empty then).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicKey {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
}

/// What a client wants of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The leader epoch it knows; -1: none.
    pub leader_epoch: i32,
    /// First offset.
    pub offset: i64,
    /// The epoch of the record before that; -1: not known.
    pub last_epoch: i32,
    /// Bytes, at most.
    pub bytes_max: u64,
}

impl From<&FetchPartition> for Asked {
    fn from(part: &FetchPartition) -> Asked {
        Asked {
            leader_epoch: part.current_leader_epoch,
            offset: part.fetch_offset,
            last_epoch: part.last_fetched_epoch,
            bytes_max: part.partition_max_bytes.max(0) as u64,
        }
    }
}

/// A partition of a session.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Index of its topic in [`Session::topics`].
    pub topic: u32,
    /// Its number.
    pub partition: i32,
    /// What is wanted.
    pub asked: Asked,
    /// As the client was last told; -1: to be told again.
    pub high_watermark: i64,
    /// As the client was last told.
    pub log_start: i64,
}

/// A topic of a session, and what it was when somebody last looked.
#[derive(Clone, Debug)]
pub struct SessionTopic {
    /// As the client names it.
    pub key: TopicKey,
    /// The topic, or Kafka's code for its not being there.
    pub found: Result<Arc<Topic>, i16>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    conn: ConnId,
    by_id: bool,
    epoch: i32,
    used_ns: u64,
    /// Its topics.
    pub topics: Vec<SessionTopic>,
    /// Its partitions.
    pub entries: Vec<Entry>,
    /// The entry to begin with next time: behind the last one that had records, so that each gets its turn when answers are full.
    pub first: usize,
    /// Version of the image that `found` comes from.
    pub image_version: u64,
    /// Grows whenever entries change places.
    pub shape: u64,
    numbers: BTreeMap<TopicKey, u32>,
    places: BTreeMap<(u32, i32), u32>,
}

/// How a fetch relates to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that is wanted stands in the request; no session comes of it.
    Plain,
    /// All that is wanted stands in the request; a session is to come of it.
    Begin,
    /// What is wanted stands in this session, which has taken the request in.
    Session(i32),
}

/// All sessions of a shard.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: HashMap<i32, Session, FxBuildHasher>,
    by_use: BTreeSet<(u64, i32)>,
    partitions: usize,
    slots_max: usize,
    random: u64,
}

impl Sessions {
    /// None yet. Ids come from `seed`: another client cannot guess them.
    pub fn new(seed: u64, slots_max: usize) -> Sessions {
        Sessions { random: seed, slots_max, ..Sessions::default() }
    }

    /// How many there are, and with how many partitions.
    pub fn count(&self) -> (usize, usize) {
        (self.by_id.len(), self.partitions)
    }

    /// A session; [`Mode::Session`] named it.
    pub fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// Takes in what a request says of sessions. Gives Kafka's error code when it does not fit.
    pub fn enter(&mut self, now: Time, conn: ConnId, request: &FetchRequest<'_>, by_id: bool) -> Result<Mode, i16> {
        let id = request.session_id;
        if matches!(request.session_epoch, EPOCH_FIRST | EPOCH_NONE) {
            // Whatever session a request names that says everything itself: it is over.
            if self.by_id.get(&id).is_some_and(|session| session.conn == conn) {
                self.remove(id);
            }
            let begins = request.session_epoch == EPOCH_FIRST && self.slots_max > 0;
            return Ok(if begins { Mode::Begin } else { Mode::Plain });
        }
        let session = self.by_id.get_mut(&id).filter(|session| session.conn == conn);
        let session = session.ok_or(codes::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(codes::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(codes::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let before = session.entries.len();
        session.update(request);
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        self.by_use.remove(&(session.used_ns, id));
        session.used_ns = now.mono_ns;
        self.by_use.insert((now.mono_ns, id));
        let after = session.entries.len();
        self.partitions = self.partitions - before + after;
        if after == 0 || self.partitions > FETCH_SESSION_PARTITIONS_MAX {
            let full = after > 0;
            self.remove(id);
            // Without room the client is told to say everything at once.
            return if full { Err(codes::FETCH_SESSION_ID_NOT_FOUND) } else { Ok(Mode::Plain) };
        }
        Ok(Mode::Session(id))
    }

    /// Makes a session of a fetch's topics and partitions: its id, 0 when there is no room.
    pub fn begin(
        &mut self,
        now: Time,
        conn: ConnId,
        by_id: bool,
        topics: Vec<SessionTopic>,
        entries: impl ExactSizeIterator<Item = Entry>,
    ) -> i32 {
        let partitions = entries.len();
        if partitions == 0 || !self.make_room(now, partitions) {
            return 0;
        }
        let mut session = Session {
            conn,
            by_id,
            epoch: 1,
            used_ns: now.mono_ns,
            topics: Vec::new(),
            entries: Vec::with_capacity(partitions),
            first: 0,
            image_version: 0,
            shape: 0,
            numbers: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for entry in entries {
            session.put(topics[entry.topic as usize].clone(), entry);
        }
        let id = loop {
            let id = (self.next_random() >> 33) as i32;
            if id > 0 && !self.by_id.contains_key(&id) {
                break id;
            }
        };
        self.partitions += session.entries.len();
        self.by_use.insert((now.mono_ns, id));
        self.by_id.insert(id, session);
        id
    }

    /// A connection is gone, and its sessions with it.
    pub fn disconnected(&mut self, conn: ConnId) {
        let gone: Vec<i32> = self.by_id.iter().filter(|(_, s)| s.conn == conn).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| drop(self.remove(id)));
    }

    /// A connection leaves for another shard, and its sessions with it.
    pub fn take_away(&mut self, conn: ConnId) -> Vec<(i32, Session)> {
        let ids: Vec<i32> = self.by_id.iter().filter(|(_, s)| s.conn == conn).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.remove(id).map(|session| (id, session))).collect()
    }

    /// A connection has come with sessions. One for which there is no room, or whose id is taken here, is over: the client is told so when it
    /// uses it, and says everything at once then.
    pub fn take_in(&mut self, now: Time, conn: ConnId, sessions: Vec<(i32, Session)>) {
        for (id, mut session) in sessions {
            if self.by_id.contains_key(&id) || !self.make_room(now, session.entries.len()) {
                continue;
            }
            session.conn = conn;
            // Topics are looked up anew: this shard may know older or newer ones.
            session.image_version = u64::MAX;
            self.partitions += session.entries.len();
            self.by_use.insert((session.used_ns, id));
            self.by_id.insert(id, session);
        }
    }

    fn make_room(&mut self, now: Time, partitions: usize) -> bool {
        while self.by_id.len() >= self.slots_max || self.partitions + partitions > FETCH_SESSION_PARTITIONS_MAX {
            let Some((used_ns, id)) = self.by_use.first().copied() else { return false };
            if now.mono_ns.saturating_sub(used_ns) < FETCH_SESSION_IDLE_MS * 1_000_000 {
                return false;
            }
            self.remove(id);
        }
        true
    }

    fn remove(&mut self, id: i32) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.partitions -= session.entries.len();
        self.by_use.remove(&(session.used_ns, id));
        Some(session)
    }

    /// Splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Session {
    fn update(&mut self, request: &FetchRequest<'_>) {
        for asked in &request.topics {
            let key = TopicKey { name: asked.topic.as_ref().into(), id: asked.topic_id };
            for part in &asked.partitions {
                // Nobody has looked yet: an image version that never is makes sure that somebody will.
                let topic = SessionTopic { key: key.clone(), found: Err(codes::UNKNOWN_TOPIC_OR_PARTITION) };
                let asked = Asked::from(part);
                let entry = Entry { topic: 0, partition: part.partition, asked, high_watermark: -1, log_start: -1 };
                self.put(topic, entry);
            }
        }
        let mut forgotten = BTreeSet::new();
        for gone in &request.forgotten_topics_data {
            let key = TopicKey { name: gone.topic.as_ref().into(), id: gone.topic_id };
            let Some(topic) = self.numbers.get(&key) else { continue };
            forgotten.extend(gone.partitions.iter().filter_map(|partition| self.places.get(&(*topic, *partition))));
        }
        if !forgotten.is_empty() {
            let forgotten: BTreeSet<u32> = forgotten.into_iter().copied().collect();
            self.without(&forgotten);
        }
    }

    /// Takes a partition in, or what is now wanted of it.
    fn put(&mut self, topic: SessionTopic, entry: Entry) {
        let number = match self.numbers.get(&topic.key) {
            Some(number) => *number,
            None => {
                let number = self.topics.len() as u32;
                self.numbers.insert(topic.key.clone(), number);
                self.topics.push(topic);
                self.image_version = u64::MAX;
                number
            }
        };
        match self.places.get(&(number, entry.partition)) {
            Some(place) => self.entries[*place as usize].asked = entry.asked,
            None => {
                self.places.insert((number, entry.partition), self.entries.len() as u32);
                self.entries.push(Entry { topic: number, ..entry });
            }
        }
    }

    /// Forgets entries; the others move together.
    fn without(&mut self, forgotten: &BTreeSet<u32>) {
        let (topics, entries) = (std::mem::take(&mut self.topics), std::mem::take(&mut self.entries));
        self.numbers.clear();
        self.places.clear();
        self.first -= forgotten.range(..self.first as u32).count();
        self.shape += 1;
        for (entry, place) in entries.into_iter().zip(0..) {
            if !forgotten.contains(&place) {
                self.put(topics[entry.topic as usize].clone(), entry);
            }
        }
    }
}

#[cfg(test)]
mod tests;
