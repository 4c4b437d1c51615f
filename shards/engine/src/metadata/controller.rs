//! The controller, on shard 0: takes changes in turn, writes each to `metadata/log`, shows it to every shard, and only then answers. When the
//! log has grown long, the image takes its place ([`super::snapshot`]).
//!
//! Invariants: at most one disk operation is under way. A change counts once its frame is durable. What lies behind the last whole frame of the
//! log was never answered and is cut off at start; damage with a whole frame behind it is not a torn write, and the broker does not start.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::ids::TopicId;

use super::configs::ConfigChange;
use super::image::Image;
use super::records::{self, Frame, Record};
use super::snapshot;
use crate::config::Values;
use crate::event::{
    DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, LogLevel, OpId, ShardId,
};
use crate::limits::{
    CHANGES_WAITING_MAX, DELETED_TOPICS_MAX, METADATA_BYTES_MAX, METADATA_FRAME_BYTES_MAX, PRODUCER_ID_BLOCK,
};
use crate::uuids::Uuids;

/// The highest byte of every [`OpId`] that the controller gives out.
pub const OP_TAG: u8 = 0x02;

const PATH: &str = "metadata/log";
/// Where the partitions' folders are.
const PARTITIONS: &str = "partitions";

/// A topic to make; checked by who asks, except for what only the controller can know.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// Its own settings.
    pub configs: Values,
}

/// Something to change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Make topics.
    Create(Vec<NewTopic>),
    /// Delete topics.
    Delete(Vec<TopicId>),
    /// Set the partition count of topics.
    Grow(Vec<(TopicId, i32)>),
    /// Change settings.
    Configs(Vec<ConfigChange>),
    /// Take a block of producer ids.
    ProducerIds,
}

/// Why a part of a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is such a topic already.
    Exists,
    /// There is a topic whose name differs in `.` and `_` alone.
    Collides(String),
    /// There is no such topic.
    Unknown,
    /// A topic never gets fewer partitions; how many it has.
    NotMore(i32),
    /// Settings that cannot be; what is wrong.
    Config(String),
    /// It is larger than one change can be.
    TooLarge,
    /// Nothing can be written now; retriable.
    Unavailable(String),
}

/// What became of a change.
#[derive(Clone, Debug, Default)]
pub struct ChangeDone {
    /// For each topic or resource of the change, in its order; the id is that of a topic.
    pub parts: Vec<Result<TopicId, Refusal>>,
    /// First id of the block taken.
    pub producer_ids: Option<i64>,
}

impl ChangeDone {
    /// The same, with nothing of it made.
    fn fail(mut self, refusal: &Refusal) -> ChangeDone {
        self.producer_ids = None;
        self.parts.iter_mut().filter(|part| part.is_ok()).for_each(|part| *part = Err(refusal.clone()));
        self
    }
}

/// Who waits for a change, and what becomes of it when it is made; `None` when the controller itself wanted it.
type Waiter = Option<(ShardId, u64, ChangeDone)>;

/// What the controller tells its shard.
#[derive(Debug)]
pub enum Told {
    /// Show this to every shard and say [`Controller::shown`] when all have it. With the topics that changed; `None`: look at all.
    Publish(Arc<Image>, Option<Arc<[TopicId]>>),
    /// Answer a change.
    Answer(ShardId, u64, ChangeDone),
}

#[derive(Debug)]
enum Step {
    Idle,
    /// Reading the snapshot.
    Starting,
    Opening,
    Reading,
    Cutting,
    /// Making durable what was read.
    Syncing,
    /// Looking for files of deleted topics.
    Listing,
    /// Removing them.
    Sweeping,
    Writing {
        frame_bytes: u64,
        records: Vec<Record>,
        /// What the records make of the image.
        image: Arc<Image>,
        answer: Waiter,
    },
    /// Replacing the snapshot.
    Snapshotting {
        bytes: u64,
    },
    /// Cutting the log that the snapshot has replaced.
    Emptying {
        bytes: u64,
    },
    /// Taking back what a full disk may have kept of a frame.
    Undoing {
        reason: String,
        answer: Waiter,
    },
    Showing {
        answer: Waiter,
    },
}

/// The controller.
#[derive(Debug)]
pub struct Controller {
    image: Arc<Image>,
    file: Option<FileHandle>,
    end: u64,
    step: Step,
    waiting: VecDeque<(ShardId, u64, Change)>,
    told: VecDeque<Told>,
    last_op: u64,
    uuids: Uuids,
    cluster_id: String,
    /// Topics that were deleted and whose files may still be there, the last ones. What no topic ever owned is not touched.
    deleted: VecDeque<TopicId>,
    /// The change that the snapshot was made at; 0 without one.
    snapshot_version: u64,
    /// Bytes of the log from which a snapshot takes its place.
    snapshot_at: u64,
    /// The least that can be; smaller in tests.
    log_bytes_min: u64,
    /// The first image has been shown.
    begun: bool,
    /// Folders of deleted topics that are still there.
    leftovers: Vec<String>,
}

impl Controller {
    /// Opens the log; the first [`Told::Publish`] comes when it has been read. From `log_bytes_min` bytes on a snapshot takes the place of the log, once it is
    /// also longer than twice the last one: a start reads at most about three times what the image takes, and a snapshot costs less than the changes since.
    pub fn start(seed: [u8; 32], cluster_id: &str, log_bytes_min: u64, fx: &mut Effects) -> Controller {
        let mut controller = Controller {
            image: Arc::default(),
            file: None,
            end: 0,
            step: Step::Starting,
            waiting: VecDeque::new(),
            told: VecDeque::new(),
            last_op: 0,
            uuids: Uuids::new(&seed, 0),
            cluster_id: cluster_id.to_owned(),
            deleted: VecDeque::new(),
            snapshot_version: 0,
            snapshot_at: log_bytes_min,
            log_bytes_min,
            begun: false,
            leftovers: Vec::new(),
        };
        controller.issue(DiskOp::ReadFile { path: snapshot::PATH.into(), bytes_max: METADATA_BYTES_MAX }, fx);
        controller
    }

    /// The next thing to tell; call until `None` after each other call.
    pub fn told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// Takes a change in.
    pub fn change(&mut self, from: ShardId, token: u64, change: Change, fx: &mut Effects) {
        if self.waiting.len() >= CHANGES_WAITING_MAX {
            let done = refused(&change, &Refusal::Unavailable("too many changes wait already".into()));
            self.told.push_back(Told::Answer(from, token, done));
            return;
        }
        self.waiting.push_back((from, token, change));
        self.go_on(fx);
    }

    /// Every shard has the image last published.
    pub fn shown(&mut self, fx: &mut Effects) {
        if let Step::Showing { answer } = std::mem::replace(&mut self.step, Step::Idle)
            && let Some((to, token, done)) = answer
        {
            self.told.push_back(Told::Answer(to, token, done));
        }
        self.go_on(fx);
    }

    /// A disk operation tagged [`OP_TAG`] ended.
    pub fn handle_disk(&mut self, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
        match (std::mem::replace(&mut self.step, Step::Idle), result) {
            (Step::Starting, Ok(DiskOutput::Data(bytes))) => match snapshot::decode(&bytes) {
                Ok(snapshot) => {
                    self.snapshot_version = snapshot.image.version;
                    self.snapshot_at = self.log_bytes_min.max(2 * bytes.len() as u64);
                    self.image = Arc::new(snapshot.image);
                    self.deleted = snapshot.deleted.into();
                    self.open(fx);
                }
                Err(what) => {
                    let path = snapshot::PATH;
                    let line = format!(
                        "{path} cannot be used: {what}. It holds the topics and settings, so the broker does not start: put {path} and {PATH} from one backup in their places."
                    );
                    fatal(line, fx);
                }
            },
            (Step::Starting, Err(e)) if e.kind == DiskErrorKind::NotFound => self.open(fx),
            (Step::Opening, Ok(DiskOutput::Opened { len, .. })) if len > METADATA_BYTES_MAX => {
                fatal(format!("{PATH} has {len} bytes, more than the {METADATA_BYTES_MAX} that can be"), fx);
            }
            (Step::Opening, Ok(DiskOutput::Opened { file, len })) => {
                self.file = Some(file.clone());
                self.step = Step::Reading;
                if len == 0 {
                    self.handle_disk(Ok(DiskOutput::Data(Bytes::new())), fx);
                } else {
                    self.issue(DiskOp::Read { file, offset: 0, len, piece: DiskOp::WHOLE }, fx);
                }
            }
            (Step::Reading, Ok(DiskOutput::Data(bytes))) => self.loaded(&bytes, fx),
            (Step::Cutting, Ok(_)) => self.sync(fx),
            (Step::Syncing, Ok(_)) if self.deleted.is_empty() => self.settled(fx),
            (Step::Syncing, Ok(_)) => {
                self.step = Step::Listing;
                self.issue(DiskOp::List { path: PARTITIONS.into() }, fx);
            }
            (Step::Listing, Ok(DiskOutput::Entries(entries))) => {
                let of = |name: &str| TopicId::from_hex(name.split_once('-')?.0);
                let deleted: BTreeSet<TopicId> = self.deleted.iter().copied().collect();
                let left = entries.into_iter().filter(|e| of(&e.name).is_some_and(|id| deleted.contains(&id)));
                self.leftovers = left.map(|e| format!("{PARTITIONS}/{}", e.name)).collect();
                self.sweep(fx);
            }
            (Step::Sweeping, Ok(_)) => self.sweep(fx),
            // They only take space, and the next start looks again.
            (Step::Listing | Step::Sweeping, Err(e)) => {
                let line = format!("files of deleted topics stay in {PARTITIONS} until the next start: {}", e.message);
                fx.push(Effect::Log { level: LogLevel::Warn, line });
                self.leftovers.clear();
                self.settled(fx);
            }
            (Step::Writing { frame_bytes, records, image, answer }, Ok(_)) => {
                self.end += frame_bytes;
                self.image = image;
                self.remember_deleted(&records);
                self.publish(changed_topics(&records), answer);
            }
            (Step::Snapshotting { bytes }, Ok(_)) => {
                let file = self.file.clone().expect("open since the start");
                self.step = Step::Emptying { bytes };
                self.issue(DiskOp::Truncate { file, len: 0 }, fx);
            }
            // The log has everything still, so there is no harm in going on with it.
            (Step::Snapshotting { .. }, Err(e)) => {
                self.snapshot_at = self.end + self.log_bytes_min.max(self.end / 2);
                let line = format!("{} cannot be written, so {PATH} grows on: {}", snapshot::PATH, e.message);
                fx.push(Effect::Log { level: LogLevel::Warn, line });
                self.proceed(fx);
            }
            (Step::Emptying { bytes }, Ok(_)) => {
                self.end = 0;
                self.snapshot_version = self.image.version;
                self.snapshot_at = self.log_bytes_min.max(2 * bytes);
                self.proceed(fx);
            }
            (Step::Writing { answer, .. }, Err(e)) if e.kind == DiskErrorKind::NoSpace => {
                let file = self.file.clone().expect("open since the start");
                self.step = Step::Undoing { reason: e.message, answer };
                self.issue(DiskOp::Truncate { file, len: self.end }, fx);
            }
            (Step::Undoing { reason, answer }, Ok(_)) => {
                if let Some((to, token, done)) = answer {
                    let refusal = Refusal::Unavailable(format!("the metadata log cannot be written: {reason}"));
                    self.told.push_back(Told::Answer(to, token, done.fail(&refusal)));
                }
                self.go_on(fx);
            }
            (step, Err(e)) => fatal(
                format!(
                    "{PATH} cannot be used ({}): {}. Check the device and the permissions of the data directory, then start again.",
                    step.what(),
                    e.message
                ),
                fx,
            ),
            (step, Ok(output)) => unreachable!("{output:?} in {step:?}"),
        }
    }

    fn loaded(&mut self, bytes: &[u8], fx: &mut Effects) {
        let (mut at, mut covered) = (0, true);
        while at < bytes.len() {
            match records::decode(&bytes[at..]) {
                // The snapshot has it: a crash came before the log was cut.
                Frame::Whole { version, records, bytes } if covered && version <= self.snapshot_version => {
                    self.remember_deleted(&records);
                    at += bytes;
                }
                Frame::Whole { version, records, bytes } if version == self.image.version + 1 => {
                    covered = false;
                    Arc::make_mut(&mut self.image).version = version;
                    self.remember_deleted(&records);
                    if let Some(what) =
                        records.iter().find_map(|record| Arc::make_mut(&mut self.image).apply(record).err())
                    {
                        return fatal(format!("{PATH} at byte {at} contradicts what is before it: {what}"), fx);
                    }
                    at += bytes;
                }
                Frame::Whole { version, .. } if version > self.image.version + 1 => {
                    let (has, path) = (self.image.version, snapshot::PATH);
                    let line = format!(
                        "{PATH} goes on at byte {at} with change {version}, and {path} and what is before it end at change {has}: changes are missing. \
                         Topics may be missing, so the broker does not start: put {path} and {PATH} from one backup in their places."
                    );
                    return fatal(line, fx);
                }
                Frame::Unknown(reason) => {
                    return fatal(format!("{PATH} at byte {at}: {reason}; it was written by a newer Floe"), fx);
                }
                Frame::Broken | Frame::Whole { .. } => {
                    let follows = |from: usize| match records::decode(&bytes[from..]) {
                        Frame::Whole { version, .. } => version > self.image.version,
                        _ => false,
                    };
                    if let Some(next) = (at + 1..bytes.len()).find(|from| follows(*from)) {
                        let line = format!(
                            "{PATH} is damaged at byte {at}: the change there cannot be read, and a whole one follows at byte {next}. \
                             Topics may be missing, so the broker does not start: put a copy of {PATH} from a backup in its place."
                        );
                        return fatal(line, fx);
                    }
                    break;
                }
            }
        }
        self.end = at as u64;
        if at < bytes.len() {
            let file = self.file.clone().expect("open since the start");
            self.step = Step::Cutting;
            self.issue(DiskOp::Truncate { file, len: self.end }, fx);
        } else {
            self.sync(fx);
        }
    }

    /// The last change may have been read from what a killed process left in the page cache: it counts from now on, so it must not be lost.
    fn sync(&mut self, fx: &mut Effects) {
        let file = self.file.clone().expect("open since the start");
        self.step = Step::Syncing;
        self.issue(DiskOp::Sync { file }, fx);
    }

    /// Removes what is left of topics that were deleted just before the broker ended.
    fn sweep(&mut self, fx: &mut Effects) {
        let Some(path) = self.leftovers.pop() else {
            self.deleted.clear();
            return self.settled(fx);
        };
        self.step = Step::Sweeping;
        self.issue(DiskOp::Remove { path }, fx);
    }

    fn remember_deleted(&mut self, records: &[Record]) {
        for record in records {
            if let Record::DeleteTopic { id } = record {
                if self.deleted.len() == DELETED_TOPICS_MAX {
                    self.deleted.pop_front();
                }
                self.deleted.push_back(*id);
            }
        }
    }

    fn open(&mut self, fx: &mut Effects) {
        self.step = Step::Opening;
        self.issue(DiskOp::Open { path: PATH.into(), create: true, direct: false }, fx);
    }

    /// What was read is whole and durable. A log that the snapshot has all of was about to be cut when the broker ended; whether the snapshot
    /// is durable is not known, so it is written again first.
    fn settled(&mut self, fx: &mut Effects) {
        let repeat = self.end > 0 && self.image.version == self.snapshot_version;
        if !repeat || !self.snapshot(fx) {
            self.begin(fx);
        }
    }

    /// Begins to replace the log by a snapshot; `false` when it cannot be.
    fn snapshot(&mut self, fx: &mut Effects) -> bool {
        let Some(bytes) = snapshot::encode(&self.image, self.deleted.iter()) else {
            self.snapshot_at = u64::MAX;
            return false;
        };
        self.step = Step::Snapshotting { bytes: bytes.len() as u64 };
        self.issue(DiskOp::ReplaceFile { path: snapshot::PATH.into(), data: bytes.into() }, fx);
        true
    }

    /// After a snapshot: to the first image, or to the next change.
    fn proceed(&mut self, fx: &mut Effects) {
        if self.begun { self.go_on(fx) } else { self.begin(fx) }
    }

    /// The log has been read: the image is shown for the first time, at a first start with the cluster's identity.
    fn begin(&mut self, fx: &mut Effects) {
        self.begun = true;
        if !self.image.cluster_id.is_empty() {
            return self.publish(None, None);
        }
        let id = if self.cluster_id.is_empty() {
            TopicId(self.uuids.next_bytes()).to_hex()
        } else {
            self.cluster_id.clone()
        };
        let first = [Record::Cluster { id }, Record::ProducerIds { next: 0 }];
        let frame = records::encode(self.image.version + 1, &first);
        let mut image = self.image.clone();
        let next = Arc::make_mut(&mut image);
        next.version += 1;
        first.iter().for_each(|record| next.apply(record).expect("they fit an empty image"));
        self.write(frame, first.into(), image, None, fx);
    }

    fn publish(&mut self, changed: Option<Arc<[TopicId]>>, answer: Waiter) {
        self.step = Step::Showing { answer };
        self.told.push_back(Told::Publish(self.image.clone(), changed));
    }

    fn go_on(&mut self, fx: &mut Effects) {
        while matches!(self.step, Step::Idle) && self.begun {
            if self.end >= self.snapshot_at && self.snapshot(fx) {
                return;
            }
            let Some((from, token, change)) = self.waiting.pop_front() else { return };
            let (records, image, done) = self.decide(change);
            if records.is_empty() {
                self.told.push_back(Told::Answer(from, token, done));
                continue;
            }
            let frame = records::encode(self.image.version + 1, &records);
            if frame.len() > METADATA_FRAME_BYTES_MAX {
                // It could not be read back at the next start.
                self.told.push_back(Told::Answer(from, token, done.fail(&Refusal::TooLarge)));
                continue;
            }
            self.write(frame, records, image, Some((from, token, done)), fx);
        }
    }

    fn decide(&mut self, change: Change) -> (Vec<Record>, Arc<Image>, ChangeDone) {
        let mut records = Vec::new();
        let mut done = ChangeDone::default();
        // What the records so far make of the image; copied with the first of them.
        let mut image = self.image.clone();
        let version = image.version + 1;
        let mut add = |record: Record, image: &mut Arc<Image>| {
            let next = Arc::make_mut(image);
            next.version = version;
            next.apply(&record).expect("checked just now");
            records.push(record);
        };
        match change {
            Change::Create(topics) => {
                for NewTopic { name, partitions, configs } in topics {
                    if image.topic(&name).is_some() {
                        done.parts.push(Err(Refusal::Exists));
                        continue;
                    }
                    if let Some(other) = image.colliding(&name) {
                        done.parts.push(Err(Refusal::Collides(other.to_owned())));
                        continue;
                    }
                    let id = TopicId(self.uuids.next_bytes());
                    let placement = image.next_placement;
                    add(Record::CreateTopic { id, name, partitions, placement, configs }, &mut image);
                    done.parts.push(Ok(id));
                }
            }
            Change::Delete(ids) => {
                for id in ids {
                    let known = image.topic_by_id(id).is_some();
                    done.parts.push(if known { Ok(id) } else { Err(Refusal::Unknown) });
                    if known {
                        add(Record::DeleteTopic { id }, &mut image);
                    }
                }
            }
            Change::Grow(topics) => {
                for (id, partitions) in topics {
                    let Some(has) = image.topic_by_id(id).map(|t| t.partitions) else {
                        done.parts.push(Err(Refusal::Unknown));
                        continue;
                    };
                    if partitions <= has {
                        done.parts.push(Err(Refusal::NotMore(has)));
                        continue;
                    }
                    add(Record::Partitions { id, partitions }, &mut image);
                    done.parts.push(Ok(id));
                }
            }
            Change::Configs(changes) => {
                for change in changes {
                    match change.records(&image) {
                        Ok(new) => {
                            new.into_iter().for_each(|record| add(record, &mut image));
                            done.parts.push(Ok(TopicId::ZERO));
                        }
                        Err(refusal) => done.parts.push(Err(refusal)),
                    }
                }
            }
            Change::ProducerIds => {
                done.producer_ids = Some(image.next_producer_id);
                let next = image.next_producer_id + PRODUCER_ID_BLOCK;
                add(Record::ProducerIds { next }, &mut image);
            }
        }
        (records, image, done)
    }

    fn write(&mut self, frame: Vec<u8>, records: Vec<Record>, image: Arc<Image>, answer: Waiter, fx: &mut Effects) {
        let file = self.file.clone().expect("open since the start");
        self.step = Step::Writing { frame_bytes: frame.len() as u64, records, image, answer };
        self.issue(DiskOp::Write { file, offset: self.end, data: frame.into(), dsync: true }, fx);
    }

    fn issue(&mut self, what: DiskOp, fx: &mut Effects) {
        self.last_op += 1;
        fx.push(Effect::Disk { op: OpId((u64::from(OP_TAG) << 56) | self.last_op), what });
    }
}

impl Step {
    fn what(&self) -> &'static str {
        match self {
            Step::Starting => "reading its snapshot",
            Step::Opening => "opening it",
            Step::Reading => "reading it",
            Step::Snapshotting { .. } => "replacing its snapshot",
            Step::Cutting | Step::Emptying { .. } | Step::Undoing { .. } => "cutting it",
            Step::Syncing | Step::Listing | Step::Sweeping => "syncing it",
            Step::Idle | Step::Writing { .. } | Step::Showing { .. } => "writing it",
        }
    }
}

/// The topics that records are about; `None` when they may be about all.
fn changed_topics(records: &[Record]) -> Option<Arc<[TopicId]>> {
    let mut changed = Vec::new();
    for record in records {
        match record {
            Record::CreateTopic { id, .. }
            | Record::DeleteTopic { id }
            | Record::Partitions { id, .. }
            | Record::TopicConfig { id, .. } => changed.push(*id),
            Record::BrokerConfig { .. } | Record::ClusterConfig { .. } => return None,
            Record::Cluster { .. } | Record::ProducerIds { .. } | Record::Deleted { .. } | Record::Placement { .. } => {
            }
        }
    }
    Some(changed.into())
}

fn refused(change: &Change, refusal: &Refusal) -> ChangeDone {
    let parts = match change {
        Change::Create(topics) => topics.len(),
        Change::Delete(ids) => ids.len(),
        Change::Grow(topics) => topics.len(),
        Change::Configs(changes) => changes.len(),
        Change::ProducerIds => 0,
    };
    ChangeDone { parts: vec![Err(refusal.clone()); parts], producer_ids: None }
}

fn fatal(message: String, fx: &mut Effects) {
    fx.push(Effect::Fatal { message });
}

#[cfg(test)]
mod tests;
