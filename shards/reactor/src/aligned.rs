//! Memory for direct I/O: aligned to a block, never moved, given out as [`Bytes`] when it has been filled.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use bytes::Bytes;
use floe_engine::limits::BLOCK_BYTES;

/// A buffer of a fixed capacity, aligned to [`BLOCK_BYTES`].
#[derive(Debug)]
pub struct AlignedBuf {
    start: NonNull<u8>,
    layout: Layout,
    /// Bytes that count, from the start.
    len: usize,
}

// SAFETY: the buffer is the only owner of its allocation, so it may move between threads as a Vec<u8> may.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared references give out nothing but `&[u8]` of memory that nobody changes meanwhile.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// Room for `capacity` bytes, all zero.
    pub fn zeroed(capacity: usize) -> AlignedBuf {
        let layout = Layout::from_size_align(capacity.max(1), BLOCK_BYTES as usize).expect("a size that can be");
        // SAFETY: the layout has a size of at least 1.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        AlignedBuf { start, layout, len: 0 }
    }

    /// Where the kernel is to write, `filled` bytes in.
    pub fn at(&mut self, filled: usize) -> *mut u8 {
        assert!(filled <= self.layout.size());
        // SAFETY: `filled` is within the allocation, or one past its end.
        unsafe { self.start.as_ptr().add(filled) }
    }

    /// The first `len` bytes as [`Bytes`].
    pub fn freeze(mut self, len: usize) -> Bytes {
        assert!(len <= self.layout.size());
        self.len = len;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the allocation has at least `len` bytes, all of them written (zeroed at first), and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
