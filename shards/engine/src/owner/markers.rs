//! Ends of transactions on the owner's side: each partition gets its marker, and the answer goes when all of them are durable.

use crate::mesh::{Answer, Marked, MarkerPart};
use crate::requests::codes;

/// Until partitions keep transactions nothing can be ended.
pub(super) fn write(parts: &[MarkerPart]) -> (Answer, usize) {
    let marked = parts.iter().map(|part| Marked { at: part.at, error_code: codes::INVALID_TXN_STATE });
    (Answer::Marked(marked.collect()), 0)
}
