//! Aligned memory for direct writes, taken back when nobody holds a slice of it any more. Lives in the [`super::ShardLog`].
//!
//! A buffer is a `BytesMut` whose first byte is aligned; what is split off and frozen in whole blocks stays aligned, shares the allocation, and
//! is what readers and the disk hold. The rest of the `BytesMut` is the claim by which the memory comes back.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::limits::BLOCK_BYTES;

const BLOCK: usize = BLOCK_BYTES as usize;

/// `len` rounded up to whole blocks.
pub(super) fn block_up(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_BYTES)
}

/// `len` rounded down to whole blocks.
pub(super) fn block_down(len: u64) -> u64 {
    len & !(BLOCK_BYTES - 1)
}

/// Buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    bytes_each: usize,
    retired_max: usize,
    retired: VecDeque<BytesMut>,
}

impl Buffers {
    pub(super) fn new(bytes_each: usize, retired_max: usize) -> Buffers {
        Buffers { bytes_each: bytes_each.next_multiple_of(BLOCK), retired_max, retired: VecDeque::new() }
    }

    /// An empty aligned buffer with room for at least `bytes_min` (and the usual size).
    pub(super) fn take(&mut self, bytes_min: usize) -> BytesMut {
        let bytes = bytes_min.next_multiple_of(BLOCK).max(self.bytes_each);
        // Those of commits are held as long as the commits are cached, those of settling for one write: any may be free. Asking costs a look at a
        // counter, new memory a page fault for each page.
        if let Some(free) = self.retired.iter_mut().position(|buffer| buffer.try_reclaim(bytes + BLOCK)) {
            return aligned(self.retired.remove(free).expect("found just now"), bytes);
        }
        aligned(BytesMut::with_capacity(bytes + BLOCK), bytes)
    }

    /// Gives a buffer back: its memory is used again once all slices are gone.
    pub(super) fn retire(&mut self, buffer: BytesMut) {
        if self.retired.len() == self.retired_max {
            self.retired.pop_front();
        }
        self.retired.push_back(buffer);
    }
}

/// The aligned part of `buffer`, of exactly `bytes`: the engine decides by the room there is, which must not depend on where the memory lies.
fn aligned(mut buffer: BytesMut, bytes: usize) -> BytesMut {
    buffer.clear();
    let skip = (BLOCK - buffer.as_ptr() as usize % BLOCK) % BLOCK;
    buffer.resize(skip, 0);
    drop(buffer.split_to(skip));
    drop(buffer.split_off(bytes));
    debug_assert_eq!((buffer.as_ptr() as usize % BLOCK, buffer.capacity()), (0, bytes));
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_used_again() {
        let mut buffers = Buffers::new(3 * BLOCK, 4);
        let mut buffer = buffers.take(1);
        let first = buffer.as_ptr() as usize;
        assert_eq!(buffer.capacity(), 3 * BLOCK, "the room does not depend on the address");
        buffer.resize(BLOCK, 7);
        let held = buffer.split().freeze();
        assert_eq!(buffer.as_ptr() as usize % BLOCK, 0);
        buffers.retire(buffer);
        let other = buffers.take(1);
        assert_ne!(other.as_ptr() as usize, first, "a slice is still held");
        drop(held);
        assert_eq!(buffers.take(1).as_ptr() as usize, first);
    }
}
