//! Commits and their entries, found in a journal file as it is: whole, torn, or damaged. Pure functions over bytes; recovery and `inspect` read with
//! the same ones.
//!
//! What damage costs: a batch that does not hold its checksum costs itself. An entry whose header cannot be read is a [`Hole`]; the entries behind it are
//! found again by their own headers. A commit whose header cannot be read is made up for by its entries, which carry its number: it stands where the one
//! before ends.

use super::batch;
use super::frame::{
    COMMIT_HEADER_BYTES, CommitHeader, DirectBody, ENTRY_ALIGN, ENTRY_HEADER_BYTES, EntryHeader, EntryKind, MOVED,
    entry_bytes, read_rest,
};
use crate::limits::BLOCK_BYTES;

/// An entry found in a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundEntry {
    /// Its header.
    pub header: EntryHeader,
    /// Where its batch begins, from the start of the commit.
    pub batch_at: usize,
    /// Whether the batch is whole (its own checksum holds, its offset is the header's). Of one written straight to its segment: whether it is
    /// known where it lies.
    pub whole: bool,
}

/// A place in a commit where entries were and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it begins, from the start of the commit.
    pub at: usize,
    /// Its bytes.
    pub len: usize,
    /// What the entry held, if it is exactly one and all but its header is whole.
    pub held: Option<Held>,
}

/// What can be told of an entry without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A batch with this offset; the header as it should be but for topic and partition, and as it is.
    Batch {
        /// Should be.
        header: EntryHeader,
        /// Is.
        found: [u8; ENTRY_HEADER_BYTES],
    },
    /// A log start that moved.
    LogStart,
    /// The end of batches written straight to a segment, or what only says that there is a copy: others tell by themselves what is missing.
    Rest,
}

/// What lies in a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Entries whose header could be read.
    pub entries: Vec<FoundEntry>,
    /// Entries whose header could not.
    pub holes: Vec<Hole>,
    /// The commit's own header had to be made up for.
    pub mended: bool,
}

impl Body {
    /// Everything is there and whole.
    pub fn whole(&self) -> bool {
        !self.mended && self.holes.is_empty() && self.entries.iter().all(|e| e.whole)
    }
}

/// A commit found in a journal file.
#[derive(Clone, Debug)]
pub struct FoundCommit {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its header.
    pub header: CommitHeader,
    /// Its entries.
    pub body: Body,
}

impl FoundCommit {
    fn end(&self) -> u64 {
        self.offset + self.header.padded_bytes()
    }
}

/// Reads the entries of the commit that `commit` is, all of it.
fn read_body(header: &CommitHeader, commit: &[u8]) -> Body {
    let mut body = Body::default();
    let mut at = COMMIT_HEADER_BYTES;
    while at < commit.len() {
        let Some(entry) = EntryHeader::read(&commit[at..]).filter(|e| e.seq == header.seq) else {
            let next = next_entry(header.seq, commit, at + ENTRY_ALIGN).unwrap_or(commit.len());
            body.holes.push(Hole { at, len: next - at, held: held(header.seq, &commit[at..next]) });
            at = next;
            continue;
        };
        let batch_at = at + ENTRY_HEADER_BYTES;
        let whole = match commit.get(batch_at..batch_at + entry.length as usize) {
            Some([]) => entry.kind == EntryKind::LogStart,
            Some(bytes) if entry.kind == EntryKind::Direct => DirectBody::read(bytes)
                .is_some_and(|b| b.base_offset == entry.base_offset && b.leader_epoch == entry.leader_epoch),
            Some(bytes) if entry.kind == EntryKind::Rest => read_rest(bytes).is_some(),
            Some(bytes) => batch::whole(bytes)
                // Neither is covered by the batch's checksum.
                .is_some_and(|b| b.base_offset == entry.base_offset && b.leader_epoch == entry.leader_epoch),
            None => false,
        };
        body.entries.push(FoundEntry { header: entry, batch_at, whole });
        at += entry_bytes(entry.length as usize);
    }
    body
}

fn next_entry(seq: u64, commit: &[u8], from: usize) -> Option<usize> {
    let mut places = (from..commit.len()).step_by(ENTRY_ALIGN);
    places.find(|at| EntryHeader::read(&commit[*at..]).is_some_and(|e| e.seq == seq))
}

/// What the bytes of a hole held.
fn held(seq: u64, hole: &[u8]) -> Option<Held> {
    let (found, rest) = hole.split_first_chunk::<ENTRY_HEADER_BYTES>()?;
    if rest.is_empty() {
        return Some(Held::LogStart);
    }
    if let Some(direct) = DirectBody::read(rest) {
        // The copy is what counts.
        if direct.segment == MOVED {
            return Some(Held::Rest);
        }
        let header = EntryHeader {
            seq,
            topic: floe_wire::ids::TopicId::default(),
            partition: 0,
            base_offset: direct.base_offset,
            length: rest.len() as u32,
            leader_epoch: direct.leader_epoch,
            kind: EntryKind::Direct,
        };
        return Some(Held::Batch { header, found: *found });
    }
    // Its length is not known exactly: up to seven zeros follow it.
    if (0..ENTRY_ALIGN).any(|pad| rest.len().checked_sub(pad).is_some_and(|len| read_rest(&rest[..len]).is_some())) {
        return Some(Held::Rest);
    }
    let len = batch::header(rest)?.bytes as usize;
    let info = rest.get(..len).filter(|_| entry_bytes(len) == hole.len()).and_then(batch::whole)?;
    let header = EntryHeader {
        seq,
        topic: floe_wire::ids::TopicId::default(),
        partition: 0,
        base_offset: info.base_offset,
        length: len as u32,
        leader_epoch: info.leader_epoch,
        kind: EntryKind::Batch,
    };
    Some(Held::Batch { header, found: *found })
}

/// Every commit in a journal file that was written to where it stands: those of this lap and, behind them, what is left of earlier ones.
/// `belongs` says whether a header can be one of this journal.
pub fn scan(slot: u32, file: &[u8], belongs: impl Fn(&CommitHeader) -> bool) -> Vec<FoundCommit> {
    let mut found: Vec<FoundCommit> = Vec::new();
    let mut offset = 0;
    while let Some(rest) = file.get(offset as usize..).filter(|rest| !rest.is_empty()) {
        let header = CommitHeader::read(rest).filter(|h| {
            h.slot == slot && u64::from(h.block) == offset / BLOCK_BYTES && belongs(h) && h.bytes as usize <= rest.len()
        });
        let Some(header) = header else {
            let mended = found.last().filter(|before| before.end() == offset).and_then(|before| mend(before, file));
            offset += mended.as_ref().map_or(BLOCK_BYTES, |m| m.header.padded_bytes());
            found.extend(mended);
            continue;
        };
        let body = read_body(&header, &rest[..header.bytes as usize]);
        // Inside a commit that is not whole there may be others: the write that tore did not reach the blocks where older ones stand.
        offset += if body.whole() { header.padded_bytes() } else { BLOCK_BYTES };
        found.push(FoundCommit { offset: u64::from(header.block) * BLOCK_BYTES, header, body });
    }
    mend_first(file, &mut found);
    found
}

/// The commit behind `before`, if its entries are there and only its header is not.
fn mend(before: &FoundCommit, file: &[u8]) -> Option<FoundCommit> {
    let header = CommitHeader { seq: before.header.seq + 1, ..before.header };
    by_entries(before.end(), header, file)
}

/// The same for the first commit of a file, told by the one behind it.
fn mend_first(file: &[u8], found: &mut Vec<FoundCommit>) {
    let Some(second) = found.first().filter(|c| c.offset > 0) else { return };
    let header = CommitHeader { seq: second.header.seq.saturating_sub(1), ..second.header };
    let first = by_entries(0, header, file).filter(|first| first.end() == second.offset);
    if let Some(first) = first {
        found.insert(0, first);
    }
}

/// Makes up for a commit header: `header` says all but place and length. What it says of the commits before is taken back as far as it is not
/// certain.
fn by_entries(offset: u64, header: CommitHeader, file: &[u8]) -> Option<FoundCommit> {
    let rest = file.get(offset as usize..)?;
    let mut end = COMMIT_HEADER_BYTES;
    let mut count = 0;
    while let Some(entry) = rest.get(end..).and_then(EntryHeader::read).filter(|e| e.seq == header.seq) {
        end += entry_bytes(entry.length as usize);
        count += 1;
        if end > rest.len() {
            return None;
        }
    }
    // Behind the last entry there are zeros up to the block: anything else was an entry too.
    let padding = rest.get(end..end.next_multiple_of(BLOCK_BYTES as usize).min(rest.len()))?;
    if count == 0 || padding.iter().any(|b| *b != 0) {
        return None;
    }
    let header = CommitHeader { block: (offset / BLOCK_BYTES) as u32, bytes: end as u32, entries: count, ..header };
    let body = Body { mended: true, ..read_body(&header, &rest[..end]) };
    Some(FoundCommit { offset, header, body })
}
