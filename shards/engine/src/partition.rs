//! One partition's place in the log: its offsets, its cached tail, its segments, its producers. Lives in the
//! [`crate::log::ShardLog`] of the shard that owns it, which alone changes it.
//!
//! Invariants: `log_start <= last stable <= high_watermark <= log_end`; `tail` is contiguous, ends at `log_end` and holds at least everything from
//! `settled_end` on; the segments are contiguous and together hold everything from the first one's base up to `settled_end`, but for what compaction
//! has left out of those with a version. The batch that
//! straddles the last written block is settled only when its last byte is.

use std::collections::{BTreeSet, VecDeque};

use floe_wire::ids::TopicId;

use crate::log::{CommitSeq, DirectFile, DirectOff, LogConfig, Segment, SettleJob, TailEntry};
use crate::producers::Producers;

/// A partition.
#[derive(Debug)]
pub struct Partition {
    pub(crate) topic: TopicId,
    pub(crate) number: i32,
    /// `topic-partition`, for log lines.
    pub(crate) name: String,
    pub(crate) config: LogConfig,
    pub(crate) log_start: i64,
    /// The commit that wrote the log start down, while this process lives.
    pub(crate) start_commit: Option<CommitSeq>,
    pub(crate) high_watermark: i64,
    pub(crate) log_end: i64,
    /// With tier `memory`, records from here on may be shown before their commit completed (the tier may have changed before).
    pub(crate) memory_from: i64,
    /// The lowest and the highest leader epoch of its batches.
    pub(crate) leader_epochs: Option<(i32, i32)>,
    pub(crate) failed: Option<String>,
    /// The failure that a restart does not mend: acknowledged records were not found again.
    pub(crate) lost: Option<String>,
    /// Offsets between batches that are missing: from, up to. Known to recovery, to be served once the loss is accepted.
    pub(crate) gaps: Vec<(i64, i64)>,
    /// Where the last read from the disk ended: who goes on there reads the log from one end to the other.
    pub(crate) cold_end: i64,
    /// The operator accepts what is lost: damage is passed over.
    pub(crate) accept_loss: bool,
    /// Damage passed over and logged: segment and position.
    pub(crate) passed_over: BTreeSet<(i64, u64)>,
    /// Below this offset the last record of each key is the only one.
    pub(crate) cleaned_to: i64,
    /// Compaction has met damage: not tried again in this process.
    pub(crate) uncleanable: bool,
    /// Writing its segment failed: nothing more is settled in this process.
    pub(crate) unwritable: bool,
    pub(crate) producers: Producers,
    pub(crate) tail: VecDeque<TailEntry>,
    pub(crate) segments: VecDeque<Segment>,
    /// Everything below lies whole in segments, synced.
    pub(crate) settled_end: i64,
    /// Where in the last segment the batch at `settled_end` begins.
    pub(crate) settled_pos: u64,
    /// All bytes of the last segment below this are written and synced; a multiple of the block.
    pub(crate) written_pos: u64,
    /// Entries below this have been given back to the journal.
    pub(crate) released_end: i64,
    /// Bytes of batches at or past `settled_end`.
    pub(crate) unsettled_bytes: u64,
    pub(crate) job: Option<Box<SettleJob>>,
    /// The last segment, while large batches go straight to it.
    pub(crate) direct: Option<Box<DirectFile>>,
    /// It has been asked for.
    pub(crate) direct_wanted: bool,
    /// Large batches take the journal, because their segment could not be written.
    pub(crate) direct_off: DirectOff,
    /// The first checkpoint that knows the last segment.
    pub(crate) segment_known_from: u64,
    /// Close the last segment at the next chance.
    pub(crate) roll_wanted: bool,
    /// Batches below this offset that are not settled lie, as far as a start is concerned, in segments before the last: the journal says where, and has not
    /// got them itself. Until they are settled those segments stay.
    pub(crate) left_behind_end: i64,
    /// Wall-clock ms of the first append to what will be in the last segment; 0: none yet.
    pub(crate) segment_since_ms: i64,
    pub(crate) removed: bool,
}

impl Partition {
    /// Whether its last segment is kept open for settling.
    pub(crate) fn is_kept_open(&self) -> bool {
        self.segments.back().is_some_and(|segment| segment.writer.is_some())
    }

    pub(crate) fn new(topic: TopicId, number: i32, name: String, config: LogConfig) -> Partition {
        Partition {
            topic,
            number,
            name: format!("{name}-{number}"),
            config,
            log_start: 0,
            start_commit: None,
            high_watermark: 0,
            log_end: 0,
            memory_from: 0,
            leader_epochs: None,
            failed: None,
            lost: None,
            gaps: Vec::new(),
            cold_end: 0,
            accept_loss: false,
            passed_over: BTreeSet::new(),
            cleaned_to: 0,
            uncleanable: false,
            unwritable: false,
            producers: Producers::default(),
            tail: VecDeque::new(),
            segments: VecDeque::new(),
            settled_end: 0,
            settled_pos: 0,
            written_pos: 0,
            released_end: 0,
            unsettled_bytes: 0,
            job: None,
            direct: None,
            direct_wanted: false,
            direct_off: DirectOff::No,
            segment_known_from: 0,
            roll_wanted: false,
            left_behind_end: 0,
            segment_since_ms: 0,
            removed: false,
        }
    }

    /// Offset of the first record that can be read.
    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    /// Offset behind the last record that can be shown.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Offset that the next record gets.
    pub fn log_end(&self) -> i64 {
        self.log_end
    }

    /// Offset behind the last record that no transaction holds back: the high watermark while none is open or ends.
    pub fn last_stable(&self) -> i64 {
        match self.producers.transactions().first_unstable() {
            None => self.high_watermark,
            // Records of an open transaction may have been deleted.
            Some(first) => first.max(self.log_start).min(self.high_watermark),
        }
    }

    /// What lies below may be shown from now on.
    pub(crate) fn show_to(&mut self, high_watermark: i64) {
        self.high_watermark = high_watermark;
        self.producers.shown(high_watermark);
    }

    /// Bytes of all batches kept.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.len).sum::<u64>() + self.unsettled_bytes
    }

    /// Why the partition cannot be used, if so.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Its idempotent producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The settings it runs with.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Topic id and partition number.
    pub fn key(&self) -> (TopicId, i32) {
        (self.topic, self.number)
    }

    /// Whether no start needs the segments before the last for more than what is settled.
    pub(crate) fn may_lose_segments(&self) -> bool {
        self.settled_end >= self.left_behind_end
    }

    /// Where in the last segment the next batch will begin.
    pub(crate) fn stream_pos(&self) -> u64 {
        self.settled_pos + self.unsettled_bytes
    }

    /// Index in `tail` of the first batch at or past `offset`.
    pub(crate) fn tail_index(&self, offset: i64) -> usize {
        self.tail.partition_point(|e| e.base_offset < offset)
    }

    /// Path of the file of a segment that was settled, without its ending.
    pub(crate) fn segment_path(&self, base: i64) -> String {
        self.segment_path_at(base, 0)
    }

    /// Path of a segment's file, without its ending.
    pub(crate) fn segment_path_of(&self, segment: &Segment) -> String {
        self.segment_path_at(segment.base, segment.version)
    }

    /// Path of the file of a segment with this base and version, without its ending.
    pub(crate) fn segment_path_at(&self, base: i64, version: u32) -> String {
        let name = crate::log::segment_file_name(base, version);
        format!("partitions/{}/{name}", crate::log::folder_name(self.topic, self.number))
    }

    /// Forgets cached batches below `end` as far as they are settled: one that was carried forward stands in a newer commit.
    pub(crate) fn forget_tail(&mut self, end: i64) {
        let end = end.min(self.settled_end);
        while self.tail.front().is_some_and(|e| e.base_offset < end) {
            self.tail.pop_front();
        }
    }
}
