//! Memory for direct I/O: aligned to a block, never moved, given out as [`Bytes`] when it has been filled; and what the allocator is told.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
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
        // SAFETY: `layout_of` never gives an empty layout.
        AlignedBuf::owning(unsafe { alloc_zeroed(layout_of(capacity)) }, capacity)
    }

    /// Room for `capacity` bytes that somebody is going to write.
    pub fn unwritten(capacity: usize) -> AlignedBuf {
        // SAFETY: `layout_of` never gives an empty layout.
        AlignedBuf::owning(unsafe { alloc(layout_of(capacity)) }, capacity)
    }

    fn owning(start: *mut u8, capacity: usize) -> AlignedBuf {
        let layout = layout_of(capacity);
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
    ///
    /// # Safety
    /// They have been written, by the kernel or by [`AlignedBuf::zeroed`].
    pub unsafe fn freeze(mut self, len: usize) -> Bytes {
        assert!(len <= self.layout.size());
        self.len = len;
        Bytes::from_owner(self)
    }
}

fn layout_of(capacity: usize) -> Layout {
    Layout::from_size_align(capacity.max(1), BLOCK_BYTES as usize).expect("a size that can be")
}

/// Tells the C library to keep what is freed. Commit buffers, receive buffers and windows of segments are of a megabyte and more and come
/// and go all the time; by default many are mapped anew, and page faults take a fifth of the CPU time of small batches (measured: 3.6
/// faults and 31-35 us a batch of 25 KB, 2.1 faults and 25-27 us with this). Bounded by what the shards' budgets let live at once.
pub fn keep_what_is_freed() {
    #[cfg(target_env = "gnu")]
    {
        /// The largest that glibc takes (half of an arena's heap).
        const MAPPED_FROM_BYTES: i32 = 32 << 20;
        const KEEP_BYTES: i32 = 1 << 30;
        // SAFETY: mallopt(3) only sets numbers, and takes its own lock.
        let taken = unsafe {
            (
                libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
                libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP_BYTES),
            )
        };
        if taken != (1, 1) {
            tracing::debug!("the C library does not keep freed memory");
        }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the allocation has at least `len` bytes, lives as long as `self`, and whoever set `len` says that they are written.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
