//! The disk operations of one shard: reads, writes and syncs by its ring, the others by helper threads.
//!
//! Invariant: a buffer under way lives in its slot until the completion has come; short reads and writes are carried on here.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use floe_engine::event::{DiskError, DiskOp, DiskOutput, FileHandle, Input, OpId};
use floe_engine::limits::BLOCK_BYTES;
use io_uring::{opcode, types};
use slab::Slab;
use std::io;
use std::os::fd::AsRawFd;

use crate::files::{OpenFile, disk_error};
use crate::helpers::{Helpers, Job};
use crate::inbox::Sender;
use crate::limits::IO_BYTES_MAX;
use crate::memory::AlignedBuf;
use crate::ring::{Completion, Kind, Ring, token};

/// Linux's RWF_DSYNC (linux/fs.h).
const RWF_DSYNC: i32 = 0x2;

enum What {
    Read { buf: AlignedBuf, want: usize, piece: usize },
    Write { data: Bytes, dsync: bool },
    Sync,
}

struct Slot {
    op: OpId,
    file: FileHandle,
    offset: u64,
    /// Bytes done.
    done: usize,
    what: What,
}

/// The operations under way.
pub struct Disk {
    slots: Slab<Slot>,
    helpers: Arc<Helpers>,
    /// What sees the file system's errors for this shard.
    witness: Arc<File>,
    /// Where helpers leave their results.
    results: Sender,
}

impl Disk {
    /// None under way. `witness`: any file of the data directory's file system, opened for this shard alone.
    pub fn new(helpers: Arc<Helpers>, witness: File, results: Sender) -> Disk {
        Disk { slots: Slab::new(), helpers, witness: Arc::new(witness), results }
    }

    /// Begins an operation.
    pub fn start(&mut self, op: OpId, what: DiskOp, ring: &mut Ring) {
        let (file, offset, what) = match what {
            DiskOp::Read { file, offset, len, piece } => {
                // Whole blocks also where they are not called for: one size of allocation fits both kinds of files.
                let want = len as usize;
                let buf = AlignedBuf::unwritten(want.next_multiple_of(BLOCK_BYTES as usize));
                let piece = piece.clamp(BLOCK_BYTES, IO_BYTES_MAX as u64) as usize;
                (file, offset, What::Read { buf, want, piece })
            }
            DiskOp::Write { file, offset, data, dsync } => (file, offset, What::Write { data, dsync }),
            DiskOp::Sync { file } => (file, 0, What::Sync),
            other => {
                let (witness, results) = (self.witness.clone(), self.results.clone());
                return self.helpers.file(Job { op, what: other, witness, results });
            }
        };
        let slot = self.slots.insert(Slot { op, file, offset, done: 0, what });
        self.submit(slot, ring);
    }

    fn submit(&mut self, slot: usize, ring: &mut Ring) {
        let Slot { file, offset, done, what, .. } = &mut self.slots[slot];
        let fd = types::Fd(OpenFile::of(file).file.as_raw_fd());
        let at = *offset + *done as u64;
        let entry = match what {
            What::Read { buf, want, piece } => {
                let count = (*want - *done).min(*piece) as u32;
                opcode::Read::new(fd, buf.at(*done), count).offset(at).build()
            }
            What::Write { data, dsync } => {
                let rest = &data[*done..];
                let count = rest.len().min(IO_BYTES_MAX) as u32;
                let flags = if *dsync { RWF_DSYNC } else { 0 };
                opcode::Write::new(fd, rest.as_ptr(), count).offset(at).rw_flags(flags).build()
            }
            What::Sync => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
        };
        // SAFETY: the buffer and the file are held by the slot, which is freed only in `completed`, after the completion;
        // neither moves with the slot, as both are allocations of their own.
        unsafe { ring.push(entry.user_data(token(Kind::Disk, slot as u32))) }
    }

    /// Takes a completion of the ring; gives an input when the operation is over.
    pub fn completed(&mut self, completion: Completion, ring: &mut Ring) -> Option<Input> {
        let index = completion.index as usize;
        let slot = &mut self.slots[index];
        let result = match completion.result() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => None,
            Err(error) => Some(Err(error)),
            Ok(count) => {
                let count = count as usize;
                slot.done += count;
                match &slot.what {
                    What::Sync => Some(Ok(())),
                    What::Write { data, .. } if slot.done == data.len() => Some(Ok(())),
                    What::Write { .. } if count == 0 => Some(Err(io::ErrorKind::WriteZero.into())),
                    // A read that gave nothing is at the end of the file; one that ended inside a block of a direct file as well.
                    What::Read { want, .. } => {
                        let end = slot.done == *want
                            || count == 0
                            || (OpenFile::of(&slot.file).direct && !slot.done.is_multiple_of(BLOCK_BYTES as usize));
                        end.then_some(Ok(()))
                    }
                    What::Write { .. } => None,
                }
            }
        };
        let Some(result) = result else {
            self.submit(index, ring);
            return None;
        };
        let slot = self.slots.remove(index);
        let path = &OpenFile::of(&slot.file).path;
        let result: Result<DiskOutput, DiskError> = match (result, slot.what) {
            // SAFETY: the kernel has written so many bytes.
            (Ok(()), What::Read { buf, .. }) => Ok(DiskOutput::Data(unsafe { buf.freeze(slot.done) })),
            (Ok(()), _) => Ok(DiskOutput::Done),
            (Err(error), What::Read { .. }) => Err(disk_error("read", path, &error)),
            (Err(error), What::Write { .. }) => Err(disk_error("write", path, &error)),
            (Err(error), What::Sync) => Err(disk_error("sync", path, &error)),
        };
        Some(Input::DiskDone { op: slot.op, result })
    }

    /// Whether nothing is under way in the ring.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }
}
