//! Journal files that the device cannot read whole: finds the blocks that cannot be read, and refuses the start unless the operator accepts
//! what they held.
//!
//! A block that cannot be read may be the last one written. Taken for torn, as a block that can be read and is not whole, it could cost acknowledged
//! records without a word. So this is never decided without the operator.

use bytes::BytesMut;

use super::{ShardLog, Task};
use crate::event::{DiskError, DiskOp, Effect, Effects, LogLevel};
use crate::limits::BLOCK_BYTES;

/// After so many places the rest is not looked at more closely: a device that answers each of thousands of reads with an error takes hours.
const PLACES_MAX: usize = 64;
/// Places named in the message.
const PLACES_NAMED: usize = 5;

/// What could be read of a file, and what could not.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The whole file, with zeros where nothing could be read.
    content: BytesMut,
    /// Offset and length of what could not be read.
    places: Vec<(u64, u64)>,
    error: String,
}

impl ShardLog {
    /// The whole of a journal file could not be read: tries smaller parts.
    pub(super) fn read_in_parts(&mut self, s: usize, f: usize, error: DiskError, fx: &mut Effects) {
        let entry = &mut self.recovery.as_mut().expect("recovery runs").sources[s].files[f];
        let len = entry.len;
        let content = BytesMut::zeroed(len as usize);
        entry.unreadable = Some(Box::new(Unreadable { content, places: Vec::new(), error: error.message }));
        self.read_halves(s, f, (0, len), fx);
    }

    fn read_halves(&mut self, s: usize, f: usize, (offset, len): (u64, u64), fx: &mut Effects) {
        let half = (len / 2).next_multiple_of(BLOCK_BYTES).min(len);
        for (offset, len) in [(offset, half), (offset + half, len - half)].into_iter().filter(|part| part.1 > 0) {
            let file = &self.recovery.as_ref().expect("recovery runs").sources[s].files[f].file;
            let file = file.clone().expect("it was read from");
            self.ask(Task::ReadPart(s, f, offset, len), DiskOp::Read { file, offset, len, piece: DiskOp::WHOLE }, fx);
        }
    }

    /// A part of such a file was read, or could not be.
    pub(super) fn part_read(
        &mut self,
        (s, f): (usize, usize),
        (offset, len): (u64, u64),
        result: Result<&[u8], DiskError>,
        fx: &mut Effects,
    ) {
        let entry = &mut self.recovery.as_mut().expect("recovery runs").sources[s].files[f];
        let found = entry.unreadable.as_mut().expect("it is read in parts");
        match result {
            Ok(bytes) => found.content[offset as usize..][..bytes.len()].copy_from_slice(bytes),
            Err(error) if len <= BLOCK_BYTES || found.places.len() >= PLACES_MAX => {
                found.places.push((offset, len));
                found.error = error.message;
            }
            Err(_) => self.read_halves(s, f, (offset, len), fx),
        }
    }

    /// Decides about all such files. `false`: the start is refused.
    pub(super) fn settle_unreadable(&mut self, fx: &mut Effects) -> bool {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        let mut refusals = Vec::new();
        for source in &mut recovery.sources {
            for file in &mut source.files {
                let Some(mut found) = file.unreadable.take() else { continue };
                file.bytes = found.content.freeze();
                if found.places.is_empty() {
                    // Every part could be read the second time.
                    continue;
                }
                let path = format!("{}/j{}", source.folder, file.slot);
                found.places.sort_unstable();
                let named = found.places.iter().take(PLACES_NAMED);
                let mut places = named.map(|(at, len)| format!("{at} (+{len})")).collect::<Vec<_>>().join(", ");
                if found.places.len() > PLACES_NAMED {
                    places.push_str(&format!(" and {} more places", found.places.len() - PLACES_NAMED));
                }
                let what = format!("{path} cannot be read at byte {places}: {}", found.error);
                if recovery.accepted.iter().any(|line| *line == path || line == "*") {
                    let line = format!(
                        "{what}. What was there is given up, as accept-loss says; leave its line until a start no longer says this"
                    );
                    fx.push(Effect::Log { level: LogLevel::Warn, line });
                } else {
                    refusals.push(format!(
                        "{what}. Acknowledged records may have been there. Check the device (dmesg, smartctl) and start again from a copy of the data \
                         directory on a good one (ddrescue); or give up what was there: write the line {path} into the file {} in the data directory \
                         and start again. Partitions that are then known to lack records still answer with a storage error (see accept-loss in \
                         docs/OPERATIONS.md)",
                        super::ACCEPT_LOSS
                    ));
                }
            }
        }
        if refusals.is_empty() {
            return true;
        }
        self.recovery_failed(refusals.join("; "), fx);
        false
    }
}
