//! Deliberate faults around a correct machine: what a broker with a bug would do. They prove that the judge of a run bites; a run without one passes
//! everything through untouched.
//!
//! A [`Mutant`] sees what goes in and what comes out and lies about it, so the engine itself has no code for it.

mod frames;
mod groups;
mod txns;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use floe_engine::event::{ConnId, DiskOp, DiskOutput, Effect, Effects, Input, Machine, OpId, Reply};
use floe_engine::time::{Deadline, Time};
use floe_wire::frame::RequestHeader;
use floe_wire::messages::Message;
use floe_wire::messages::produce::ProduceRequest;
use floe_wire::primitives::{Reader, Records, Writer};

use crate::bare::batch::crc32c;
use crate::disk::{FileKind, path_of};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A journal write counts as done when it has been asked for.
    AcknowledgesBeforeWritten,
    /// A large batch's write to its segment counts as done when it has been asked for.
    CommitsBeforeWritten,
    /// What is read from segments is believed, whatever its checksum.
    SkipsChecksums,
    /// Segments are not synced before the journal gives up their records.
    ForgetsSegmentSync,
    /// Changes of the metadata log are not made durable.
    ForgetsMetadataSync,
    /// What recovery reads of the metadata log is not made durable before it counts.
    TrustsTheCache,
    /// What recovery finds in segments is not made durable before it counts.
    TrustsCachedSegments,
    /// A sync that failed counts as one that succeeded.
    IgnoresFailedSyncs,
    /// Sequences of idempotent producers are not looked at.
    ForgetsProducers,
    /// Two answers on one connection change places.
    SwapsReplies,
    /// An answer is never sent.
    LosesReplies,
    /// Checkpoints are not written.
    ForgetsCheckpoints,
    /// Files of deleted topics stay.
    ForgetsRemoval,
    /// Commits of offsets are answered when they are asked for.
    AnswersCommitsEarly,
    /// Compaction loses records that nothing has taken the place of.
    DropsLiveKeys,
    /// Members of one generation are given the same partitions.
    GivesTwice,
    /// What a member of a consumer group says that it owns is not heard: what it must give up counts as given up.
    ForgetsWhoHolds,
    /// What a classic member of a mixed group says that it owns is not heard: what it must give up counts as given up.
    ForgetsWhatClassicsHold,
    /// Whoever stopped reading from clients never goes on.
    StaysDeaf,
    /// Ends of transactions are answered when they are asked for.
    AnswersEndsEarly,
    /// An end of a transaction that comes late ends the one that is open.
    TakesLateEnds,
    /// Markers for another shard's partitions count as written and are not.
    LosesMarkers,
    /// Whatever a producer writes on another shard than its coordinator's is vouched for, and not entered into its transaction.
    VouchesForAll,
    /// Readers are not told of the aborted transactions on other shards.
    ForgetsAborted,
    /// Readers of committed records are shown all.
    ShowsAll,
    /// Transactions may take as long as they like.
    NeverTimesOut,
    /// Whoever commits offsets in a transaction is not asked whether it is still a member of the group.
    ForgetsGenerations,
    /// Offsets that are committed in a transaction count at once, also if it is aborted.
    CommitsOffsetsAtOnce,
    /// Coordinators on other shards do not serve whoever writes in a transaction, although nothing is wrong with them.
    DeniesCoordinators,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 29] = [
        Fault::AcknowledgesBeforeWritten,
        Fault::CommitsBeforeWritten,
        Fault::SkipsChecksums,
        Fault::ForgetsSegmentSync,
        Fault::ForgetsMetadataSync,
        Fault::TrustsTheCache,
        Fault::TrustsCachedSegments,
        Fault::IgnoresFailedSyncs,
        Fault::ForgetsProducers,
        Fault::SwapsReplies,
        Fault::LosesReplies,
        Fault::ForgetsCheckpoints,
        Fault::ForgetsRemoval,
        Fault::AnswersCommitsEarly,
        Fault::DropsLiveKeys,
        Fault::GivesTwice,
        Fault::ForgetsWhoHolds,
        Fault::ForgetsWhatClassicsHold,
        Fault::StaysDeaf,
        Fault::AnswersEndsEarly,
        Fault::TakesLateEnds,
        Fault::LosesMarkers,
        Fault::VouchesForAll,
        Fault::ForgetsAborted,
        Fault::ShowsAll,
        Fault::NeverTimesOut,
        Fault::ForgetsGenerations,
        Fault::CommitsOffsetsAtOnce,
        Fault::DeniesCoordinators,
    ];

    /// The fault of this name.
    pub fn of(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
    }
}

/// Of so many answers, one is lost.
const REPLIES_PER_LOSS: u64 = 40;

/// A machine and what is wrong with it.
#[derive(Debug, Default)]
pub struct Mutant<M> {
    inner: M,
    fault: Option<Fault>,
    /// Operations that were called done before they ended.
    lied_about: BTreeSet<OpId>,
    /// Operations under way whose end is to be changed.
    watched: BTreeMap<OpId, FileKind>,
    replies: u64,
    /// Answers given early, on their way, and on which connections the real ones are still to come.
    early: Vec<Effect>,
    answered: BTreeMap<ConnId, u32>,
    /// Batches that compaction wrote.
    compacted: u64,
    /// The newest epoch that each producer has shown.
    epochs: BTreeMap<i64, i16>,
    /// Groups that a member of the next-generation protocol has joined.
    joined: BTreeSet<String>,
    /// It has started.
    ready: bool,
}

impl<M: Machine> Mutant<M> {
    /// `inner`, with a bug or without.
    pub fn new(inner: M, fault: Option<Fault>) -> Mutant<M> {
        let (lied_about, watched) = (BTreeSet::new(), BTreeMap::new());
        Mutant {
            inner,
            fault,
            lied_about,
            watched,
            replies: 0,
            early: Vec::new(),
            answered: BTreeMap::new(),
            compacted: 0,
            epochs: BTreeMap::new(),
            joined: BTreeSet::new(),
            ready: false,
        }
    }

    fn change_input(&mut self, input: Input) -> Option<Input> {
        match (self.fault?, input) {
            (_, Input::DiskDone { op, .. }) if self.lied_about.remove(&op) => None,
            (Fault::IgnoresFailedSyncs, Input::DiskDone { op, .. }) if self.watched.remove(&op).is_some() => {
                Some(Input::DiskDone { op, result: Ok(DiskOutput::Done) })
            }
            (Fault::SkipsChecksums, Input::DiskDone { op, result: Ok(DiskOutput::Data(data)) })
                if self.watched.remove(&op).is_some() =>
            {
                Some(Input::DiskDone { op, result: Ok(DiskOutput::Data(with_right_checksums(&data))) })
            }
            (fault, Input::Frame { conn, frame }) => {
                if let Some(reply) = early_answer(fault, &frame) {
                    self.early.push(Effect::Reply { conn, reply });
                    *self.answered.entry(conn).or_default() += 1;
                }
                let frame = self.changed(fault, &frame).unwrap_or(frame);
                Some(Input::Frame { conn, frame })
            }
            (_, input) => Some(input),
        }
    }

    /// The request that the machine gets in this one's place.
    fn changed(&mut self, fault: Fault, frame: &Bytes) -> Option<Bytes> {
        match fault {
            Fault::ForgetsProducers => without_producers(frame),
            Fault::TakesLateEnds => txns::of_the_newest_epoch(frame, &mut self.epochs),
            Fault::ShowsAll => txns::of_everything(frame),
            Fault::NeverTimesOut => txns::without_timeout(frame),
            Fault::ForgetsGenerations => txns::of_no_generation(frame),
            Fault::CommitsOffsetsAtOnce => txns::outside_of_transactions(frame),
            Fault::GivesTwice => groups::all_get_the_same(frame),
            Fault::ForgetsWhoHolds => groups::owns_nothing(frame),
            Fault::ForgetsWhatClassicsHold => groups::joins_with_nothing(frame, &mut self.joined),
            _ => None,
        }
    }

    /// Changes the effects from `from` on; gives what the machine is to believe.
    fn change_effects(&mut self, fault: Fault, from: usize, effects: &mut Effects) -> Vec<Input> {
        let mut believed = Vec::new();
        for effect in effects.split_off(from) {
            let effect = match effect {
                Effect::Mesh { to, msg } => match txns::change_mesh(fault, to, msg) {
                    Ok(msg) => Effect::Mesh { to, msg },
                    Err(answer) => {
                        believed.push(answer);
                        continue;
                    }
                },
                effect => effect,
            };
            let Effect::Disk { op, what } = effect else {
                self.ready |= matches!(effect, Effect::Ready);
                effects.push(effect);
                continue;
            };
            let kind = kind_of(&what);
            let (believe, forget) = match (fault, &what, kind) {
                (Fault::TrustsCachedSegments, DiskOp::Sync { .. } | DiskOp::SyncAll { .. }, FileKind::Segment) => {
                    (!self.ready, !self.ready)
                }
                (Fault::AcknowledgesBeforeWritten, DiskOp::Write { .. }, FileKind::Journal) => (true, false),
                (Fault::CommitsBeforeWritten, DiskOp::Write { dsync: true, .. }, FileKind::Segment) => (true, false),
                (Fault::ForgetsSegmentSync, DiskOp::Sync { .. } | DiskOp::SyncAll { .. }, FileKind::Segment)
                | (Fault::TrustsTheCache, DiskOp::Sync { .. }, FileKind::Metadata)
                | (Fault::ForgetsCheckpoints, DiskOp::ReplaceFile { .. }, FileKind::Checkpoint) => (true, true),
                (Fault::ForgetsRemoval, DiskOp::Remove { path }, _) if path.starts_with("partitions/") => (true, true),
                _ => (false, false),
            };
            let watched = match fault {
                Fault::IgnoresFailedSyncs => matches!(what, DiskOp::Sync { .. } | DiskOp::SyncAll { .. }),
                Fault::SkipsChecksums => matches!(what, DiskOp::Read { .. }) && kind == FileKind::Segment,
                _ => false,
            };
            if watched {
                self.watched.insert(op, kind);
            }
            if believe {
                believed.push(Input::DiskDone { op, result: Ok(DiskOutput::Done) });
            }
            if believe && !forget {
                self.lied_about.insert(op);
            }
            if !forget {
                effects.push(Effect::Disk { op, what: self.weaken(fault, kind, what) });
            }
        }
        self.change_replies(fault, effects);
        believed
    }

    fn weaken(&mut self, fault: Fault, kind: FileKind, what: DiskOp) -> DiskOp {
        match what {
            DiskOp::Write { file, offset, data, .. }
                if fault == Fault::ForgetsMetadataSync && kind == FileKind::Metadata =>
            {
                DiskOp::Write { file, offset, data, dsync: false }
            }
            DiskOp::Write { file, offset: 0, data, dsync }
                if fault == Fault::DropsLiveKeys && groups::is_compacted_segment(path_of(&file)) =>
            {
                let data = groups::without_some_records(&data, &mut self.compacted);
                DiskOp::Write { file, offset: 0, data, dsync }
            }
            what => what,
        }
    }

    fn change_replies(&mut self, fault: Fault, effects: &mut Effects) {
        match fault {
            Fault::LosesReplies => effects.retain(|effect| {
                self.replies += u64::from(matches!(effect, Effect::Reply { .. }));
                !matches!(effect, Effect::Reply { .. }) || !self.replies.is_multiple_of(REPLIES_PER_LOSS)
            }),
            Fault::AnswersCommitsEarly | Fault::AnswersEndsEarly => effects.retain(|effect| {
                let Effect::Reply { conn, .. } = effect else { return true };
                let Some(left) = self.answered.get_mut(conn).filter(|left| **left > 0) else { return true };
                *left -= 1;
                false
            }),
            Fault::StaysDeaf => effects.retain(|effect| !matches!(effect, Effect::Admission { open: true })),
            Fault::SwapsReplies => {
                let mut last = BTreeMap::new();
                for i in 0..effects.len() {
                    if let Effect::Reply { conn, .. } = &effects[i]
                        && let Some(before) = last.insert(*conn, i)
                    {
                        effects.swap(before, i);
                    }
                }
            }
            _ => {}
        }
    }
}

impl<M: Machine> Machine for Mutant<M> {
    fn handle(&mut self, now: Time, input: Input, effects: &mut Effects) {
        let input = if self.fault.is_some() { self.change_input(input) } else { Some(input) };
        if let Some(input) = input {
            self.inner.handle(now, input, effects);
        }
    }

    fn end_of_round(&mut self, now: Time, effects: &mut Effects) {
        self.inner.end_of_round(now, effects);
        let Some(fault) = self.fault else { return };
        let mut from = 0;
        loop {
            let believed = self.change_effects(fault, from, effects);
            if believed.is_empty() {
                effects.append(&mut self.early);
                return;
            }
            from = effects.len();
            for input in believed {
                self.inner.handle(now, input, effects);
            }
            self.inner.end_of_round(now, effects);
        }
    }

    fn next_deadline(&self) -> Option<Deadline> {
        self.inner.next_deadline()
    }
}

fn kind_of(what: &DiskOp) -> FileKind {
    match what {
        DiskOp::Write { file, .. } | DiskOp::Sync { file } | DiskOp::Read { file, .. } => FileKind::of(path_of(file)),
        DiskOp::ReplaceFile { path, .. } => FileKind::of(path),
        DiskOp::SyncAll { files } => FileKind::of(path_of(&files[0])),
        _ => FileKind::Other,
    }
}

/// The answer that this request gets before the machine has even seen it.
fn early_answer(fault: Fault, frame: &Bytes) -> Option<Reply> {
    match fault {
        Fault::AnswersCommitsEarly => groups::commit_answer(frame),
        Fault::AnswersEndsEarly => txns::end_answer(frame),
        _ => None,
    }
}

/// Gives every batch in these bytes of a segment, wherever one begins, the checksum that its content has.
fn with_right_checksums(data: &Bytes) -> Bytes {
    const HEADER: usize = 61;
    let mut out = data.to_vec();
    let int = |bytes: &[u8], at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let mut at = 0;
    while at + HEADER <= out.len() {
        let batch = &out[at..];
        let len = int(batch, 8);
        let is_batch = batch[..4] == [0; 4] && batch[12..17] == [0, 0, 0, 0, 2] && int(batch, 57) == int(batch, 23) + 1;
        let end = at + 12 + len.max(0) as usize;
        if !is_batch || len < (HEADER - 12) as i32 || end > out.len() {
            at += 1;
            continue;
        }
        let crc = crc32c(&out[at + 21..end]).to_be_bytes();
        out[at + 17..at + 21].copy_from_slice(&crc);
        at = end;
    }
    Bytes::from(out)
}

/// The same request, if it is one to produce, from a producer without identity.
fn without_producers(frame: &Bytes) -> Option<Bytes> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).ok().filter(|header| header.api_key == 0)?;
    let mut request = ProduceRequest::decode(&mut reader, header.api_version).ok()?;
    let mut changed: Vec<Vec<u8>> = Vec::new();
    for part in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        let Records::Borrowed(batch) = &part.records else { return None };
        let mut batch = batch.to_vec();
        batch.get_mut(43..57)?.fill(0xff);
        let crc = crc32c(&batch[21..]).to_be_bytes();
        batch[17..21].copy_from_slice(&crc);
        changed.push(batch);
    }
    let parts = request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data);
    parts.zip(&changed).for_each(|(part, batch)| part.records = Records::Borrowed(batch));
    let mut writer = Writer::new();
    header.encode(&mut writer);
    request.encode(&mut writer, header.api_version);
    Some(writer.finish_contiguous())
}
