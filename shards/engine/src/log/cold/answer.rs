//! What a window of a segment has for the one who asked: batches from an offset on, within limits, or the first record of a time.

use bytes::Bytes;

use super::Want;
use crate::event::ReplyPart;
use crate::log::{BatchInfo, Found, ReadData, batch};

/// What a window has for the one who asked.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// First and last byte of the batches to give.
    from: Option<usize>,
    to: usize,
    full: bool,
    /// Offset behind the last batch to give.
    end: i64,
    /// The last place where a chunk began, within what is given, and its offset.
    boundary: (usize, i64),
    pub(super) found: Option<Found>,
}

impl Answer {
    pub(super) fn boundary(&mut self, is_chunk: bool, at: usize, offset: i64) {
        if is_chunk && self.from.is_some() && !self.full {
            self.boundary = (at, offset);
        }
    }

    pub(super) fn look(&mut self, want: Want, seek: i64, info: &BatchInfo, last_offset: i64, bytes: &[u8], at: usize) {
        match want {
            Want::Batches { limits, .. } => {
                if last_offset < seek || self.full {
                    return;
                }
                let first = self.from.is_none();
                let from = *self.from.get_or_insert(at);
                let over = limits.are_passed((at - from) as u64, bytes.len() as u64);
                if info.base_offset >= limits.up_to || (over && !(first && limits.at_least_one)) {
                    self.full = true;
                    return;
                }
                self.to = at + bytes.len();
                self.end = last_offset + 1;
                self.full = over;
            }
            Want::Timestamp { timestamp_ms, .. } => {
                if self.found.is_none() && last_offset >= seek && info.max_timestamp >= timestamp_ms {
                    self.found = batch::first_at_or_after(bytes, timestamp_ms, seek);
                }
            }
        }
    }

    /// `None`: the offset does not lie in this window.
    pub(super) fn batches(&self, window: &Bytes) -> Option<ReadData> {
        let from = self.from?;
        if self.to <= from {
            return Some(ReadData::default());
        }
        let (to, end) = self.end();
        Some(ReadData { parts: vec![ReplyPart::Mem(window.slice(from..to))], bytes: (to - from) as u64, end })
    }

    /// The byte behind what is given, and the offset. Ending where a chunk begins lets whole chunks be known as checked, and the next read begin with one.
    pub(super) fn end(&self) -> (usize, i64) {
        if self.from.is_some_and(|from| self.boundary.0 > from) { self.boundary } else { (self.to, self.end) }
    }
}
