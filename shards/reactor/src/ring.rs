//! One io_uring, used by the thread that made it. What a completion belongs to is packed into its 64 bits of user data.
//!
//! SINGLE_ISSUER and DEFER_TASKRUN: completions are worked on only when this thread enters the kernel for them, so nothing
//! interrupts the engine, and a round's completions come together. TASKRUN_FLAG: whether there is any such work stands in shared memory, so
//! that who looks for it without sleeping need not enter the kernel to ask.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

use crate::limits::{CQ_ENTRIES, SQ_ENTRIES};

/// Linux's IORING_ENTER_GETEVENTS (linux/io_uring.h).
const ENTER_GETEVENTS: u32 = 1;

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes from a client; the index is the connection's slot.
    Recv = 1,
    /// Bytes to a client.
    Send = 2,
    /// A client's socket has room again.
    Room = 3,
    /// A new client; the index is the listener.
    Accept = 4,
    /// A disk operation; the index is its slot.
    Disk = 5,
    /// An OS thread left something in the inbox.
    Inbox = 6,
    /// Another shard left something in a mesh queue.
    Mesh = 7,
    /// Nobody cares (a wake-up sent, a cancellation).
    Nothing = 8,
}

/// A finished operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What it is about.
    pub kind: Kind,
    /// Which one of its kind.
    pub index: u32,
    /// The kernel's result: a count, or a negative error number.
    pub result: i32,
    /// The kernel's flags.
    pub flags: u32,
}

impl Completion {
    /// The result as Rust knows it.
    pub fn result(&self) -> io::Result<u32> {
        if self.result < 0 { Err(io::Error::from_raw_os_error(-self.result)) } else { Ok(self.result as u32) }
    }
}

/// User data for an operation.
pub fn token(kind: Kind, index: u32) -> u64 {
    (kind as u64) << 56 | u64::from(index)
}

fn kind_of(user_data: u64) -> Kind {
    match (user_data >> 56) as u8 {
        1 => Kind::Recv,
        2 => Kind::Send,
        3 => Kind::Room,
        4 => Kind::Accept,
        5 => Kind::Disk,
        6 => Kind::Inbox,
        7 => Kind::Mesh,
        8 => Kind::Nothing,
        other => unreachable!("no operation has the tag {other}"),
    }
}

/// The ring.
pub struct Ring {
    ring: IoUring,
    /// How often the kernel was entered.
    pub enters: u64,
}

impl Ring {
    /// Makes the ring of the calling thread.
    pub fn new() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        Ok(Ring { ring, enters: 0 })
    }

    /// The descriptor by which other rings reach this one.
    pub fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Queues an operation for the next [`Ring::enter`].
    ///
    /// # Safety
    /// All memory that the operation points to stays valid and is not used otherwise until its completion has come out of
    /// [`Ring::completions`], and its descriptor stays open until it has been submitted.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: handed on to the caller.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // Full: what is there goes to the kernel now. An error here shows again in `enter`.
            let _ = self.ring.submit();
        }
    }

    /// Submits what is queued and waits for a completion: not at all with `Some(ZERO)`, without end with `None`.
    pub fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.enters += 1;
        let done = match wait {
            None => self.ring.submit_and_wait(1),
            Some(Duration::ZERO) => {
                let queued = self.ring.submission().len() as u32;
                // GETEVENTS makes the kernel run this ring's deferred work. With a wanted completion and a timeout of zero it would do so as well,
                // but then go to sleep for a timer that has run out already: on an idle virtual CPU that alone takes microseconds.
                // SAFETY: no argument is pointed to; who pushed what is queued has answered for it.
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) }
            }
            Some(wait) => {
                let time = Timespec::from(wait);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match done {
            Ok(_) => Ok(()),
            // ETIME: nothing came in time. EINTR: a signal. EBUSY, EAGAIN: completions have to be taken first.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Whether the kernel has something for this ring that [`Ring::enter`] would bring; asks nobody.
    pub fn is_called(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Whether something has finished.
    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Takes what has finished.
    pub fn completions(&mut self, out: &mut Vec<Completion>) {
        out.extend(self.ring.completion().map(|entry: cqueue::Entry| Completion {
            kind: kind_of(entry.user_data()),
            index: entry.user_data() as u32,
            result: entry.result(),
            flags: entry.flags(),
        }));
    }
}
