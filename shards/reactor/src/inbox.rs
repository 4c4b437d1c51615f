//! What OS threads (helpers, the node, the admin thread) tell a shard, and connections that other shards hand to it: a queue and an eventfd that the shard's ring reads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use floe_engine::event::{AdminReply, AdminRequest, DiskError, DiskOutput, OpId};
use io_uring::{opcode, types};
use rustix::event::{EventfdFlags, eventfd};

use crate::conn::Resting;
use crate::ring::{Kind, Ring, token};

/// Something from outside the shard's own ring.
pub enum Outside {
    /// A helper has done a file operation.
    DiskDone {
        /// As it was given.
        op: OpId,
        /// How it ended.
        result: Result<DiskOutput, DiskError>,
    },
    /// A helper has sent part of a file.
    FileSent {
        /// The connection's slot.
        slot: u32,
        /// Bytes sent; 0 when the socket had no room.
        result: io::Result<u64>,
    },
    /// A client connected; this shard is to serve it.
    Connected {
        /// Its socket.
        socket: OwnedFd,
        /// Its address.
        peer: SocketAddr,
        /// The listener it came in by.
        listener: u16,
    },
    /// Another shard hands over a connection.
    Attached(Box<Resting>),
    /// Space on the disk, once a second.
    DiskSpace {
        /// Bytes that can still be written.
        free_bytes: u64,
        /// Size of the file system.
        total_bytes: u64,
    },
    /// Every shard is ready: clients may come (to the shard that accepts).
    Accept,
    /// A question for the engine and where the answer goes.
    Admin(AdminRequest, flume::Sender<AdminReply>),
    /// End cleanly.
    Shutdown,
    /// Every shard has stopped: leave the loop.
    Exit,
}

/// The sending side; any thread may hold one.
#[derive(Clone)]
pub struct Sender {
    queue: flume::Sender<Outside>,
    event: Arc<OwnedFd>,
}

impl Sender {
    /// Leaves something and wakes the shard. Dropped when the shard is gone.
    pub fn send(&self, what: Outside) {
        if self.queue.send(what).is_ok() {
            // Fails only when the counter is full, and then the shard is being woken already.
            let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
        }
    }
}

/// The shard's side.
pub struct Inbox {
    queue: flume::Receiver<Outside>,
    event: Arc<OwnedFd>,
    /// Where the ring puts the eventfd's count; boxed so that it does not move.
    count: Box<u64>,
}

/// A queue and its two sides.
pub fn channel() -> io::Result<(Sender, Inbox)> {
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let (sender, receiver) = flume::unbounded();
    let inbox = Inbox { queue: receiver, event: event.clone(), count: Box::new(0) };
    Ok((Sender { queue: sender, event }, inbox))
}

impl Inbox {
    /// Lets the ring wait for the next thing; again after each [`Kind::Inbox`] completion.
    pub fn arm(&mut self, ring: &mut Ring) {
        let fd = types::Fd(self.event.as_raw_fd());
        let entry = opcode::Read::new(fd, (&raw mut *self.count).cast(), 8).build();
        // SAFETY: `count` is boxed and lives as long as the inbox, which the pump drops only after its ring; only one such read is
        // under way at a time, as it is armed at first and after each completion.
        unsafe { ring.push(entry.user_data(token(Kind::Inbox, 0))) }
    }

    /// The next thing, if there is one.
    pub fn next(&self) -> Option<Outside> {
        self.queue.try_recv().ok()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
