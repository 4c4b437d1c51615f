//! What an encoder produces: a gather list whose file-backed parts are named by length only.

use bytes::Bytes;

/// One part of an encoded message, in sending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes in memory, sent by reference.
    Mem(Bytes),
    /// `len` bytes that the caller supplies at this place (a file range that goes out by sendfile). Several holes are
    /// filled in the order in which their owners put them in.
    Hole {
        /// Length in bytes; counted in every length prefix around it.
        len: u32,
    },
}

impl Piece {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Piece::Mem(bytes) => bytes.len(),
            Piece::Hole { len } => *len as usize,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
