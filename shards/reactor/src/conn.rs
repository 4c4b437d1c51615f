//! One client connection: the bytes that have come and are not yet frames, and the replies that are not yet sent.
//!
//! Invariants: while a receive is under way (`receiving`) the buffer is not touched; while a send is under way (`sending`) the
//! parts at the front of the queue stay where they are; memory reserved for a frame follows what arrived once its claimed size
//! exceeds [`FRAME_RESERVE_BYTES_MAX`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use floe_engine::event::{ConnId, FileRange, Luggage, Reply, ReplyPart};
use floe_engine::limits::FRAME_BYTES_MIN;

use crate::limits::{FRAME_RESERVE_BYTES_MAX, RECV_BYTES_MAX, RECV_BYTES_MIN, SEND_PARTS_MAX};

/// A size prefix that no client of good will sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSize(
    /// The size as it was claimed.
    pub i32,
);

/// What of a connection's replies is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Nothing.
    Idle,
    /// Memory, by the ring.
    Memory,
    /// A file and what goes before it, by a helper thread.
    File,
    /// Nothing, until the socket has room.
    Room,
}

/// Where a connection is on its way to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It stays.
    No,
    /// Nothing new is begun; what is under way ends.
    Asked,
    /// The same, and the receive under way has been cancelled.
    Cancelled,
    /// Nothing is under way, and the engine knows.
    AtRest,
}

/// A connection of which nothing is under way, between two shards.
pub struct Resting {
    socket: Arc<OwnedFd>,
    peer: SocketAddr,
    /// What was read and not cut into frames.
    buf: BytesMut,
    recv_hint: usize,
    began_ns: Option<u64>,
    /// The engine's.
    pub luggage: Luggage,
}

/// The memory that a sendmsg under way points to.
pub struct Gather {
    /// The parts.
    pub iov: Vec<libc::iovec>,
    /// The header, pointing to them.
    pub header: libc::msghdr,
}

/// A connection.
pub struct Conn {
    /// Its name for the engine.
    pub id: ConnId,
    /// Its socket.
    pub socket: Arc<OwnedFd>,
    /// The client's address.
    pub peer: SocketAddr,
    /// A receive is under way.
    pub receiving: bool,
    /// More was there after the last receive.
    pub more: bool,
    /// The engine does not want to hear from it now.
    pub paused: bool,
    /// It is to be closed once its replies are out.
    pub closing: bool,
    /// The client is gone or has to go: nothing is sent or read any more.
    pub dead: bool,
    /// The socket was shut down.
    pub shut: bool,
    /// It is to go to another shard.
    pub leaving: Leaving,
    /// It is on the list of those to look after at the end of the round.
    pub touched: bool,
    /// It is on the list of those that may have frames.
    pub to_cut: bool,
    /// When the first part of a frame was found here that is not whole yet, in nanoseconds.
    pub began_ns: Option<u64>,
    /// What is being sent.
    pub sending: Sending,
    /// For the ring.
    pub gather: Box<Gather>,
    buf: BytesMut,
    /// How much to receive at once: follows the size of recent frames.
    recv_hint: usize,
    queue: VecDeque<ReplyPart>,
    /// Bytes left, and all bytes, of each reply in the queue.
    replies: VecDeque<(u64, u64)>,
}

impl Conn {
    /// A fresh one.
    pub fn new(id: ConnId, socket: OwnedFd, peer: SocketAddr) -> Conn {
        Conn::with(id, Arc::new(socket), peer)
    }

    fn with(id: ConnId, socket: Arc<OwnedFd>, peer: SocketAddr) -> Conn {
        // SAFETY: a msghdr of zeros is one without name, parts and control data.
        let header = unsafe { std::mem::zeroed() };
        Conn {
            id,
            socket,
            peer,
            receiving: false,
            more: false,
            paused: false,
            closing: false,
            dead: false,
            shut: false,
            leaving: Leaving::No,
            touched: false,
            to_cut: false,
            began_ns: None,
            sending: Sending::Idle,
            gather: Box::new(Gather { iov: Vec::new(), header }),
            buf: BytesMut::new(),
            recv_hint: RECV_BYTES_MIN,
            queue: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// Takes it apart for its way to another shard.
    pub fn rest(self, luggage: Luggage) -> Resting {
        assert!(self.leaving == Leaving::AtRest && !self.receiving && self.sending == Sending::Idle && self.is_sent());
        let Conn { socket, peer, buf, recv_hint, began_ns, .. } = self;
        Resting { socket, peer, buf, recv_hint, began_ns, luggage }
    }

    /// One that has come from another shard, and what the engine there gave it.
    pub fn woken(id: ConnId, resting: Resting) -> (Conn, Luggage) {
        let Resting { socket, peer, buf, recv_hint, began_ns, luggage } = resting;
        (Conn { buf, recv_hint, began_ns, ..Conn::with(id, socket, peer) }, luggage)
    }

    /// The next whole frame.
    pub fn cut(&mut self, frame_bytes_max: usize) -> Result<Option<Bytes>, BadSize> {
        assert!(!self.receiving, "the kernel is writing there");
        let Some(len) = self.frame_len(frame_bytes_max)? else { return Ok(None) };
        if self.buf.len() < 4 + len {
            return Ok(None);
        }
        self.buf.advance(4);
        // Quickly up, slowly down: one small request between large ones does not make the next large one arrive in pieces.
        let size = (4 + len).clamp(RECV_BYTES_MIN, RECV_BYTES_MAX);
        self.recv_hint = if size > self.recv_hint { size } else { self.recv_hint - (self.recv_hint - size) / 16 };
        Ok(Some(self.buf.split_to(len).freeze()))
    }

    /// Whether there are bytes of a frame that is not whole. Call after `cut` gave none.
    pub fn has_part(&self) -> bool {
        !self.buf.is_empty()
    }

    fn frame_len(&self, frame_bytes_max: usize) -> Result<Option<usize>, BadSize> {
        let Some(prefix) = self.buf.first_chunk::<4>() else { return Ok(None) };
        let claimed = i32::from_be_bytes(*prefix);
        let len = usize::try_from(claimed).map_err(|_| BadSize(claimed))?;
        if len < FRAME_BYTES_MIN as usize || len > frame_bytes_max {
            return Err(BadSize(claimed));
        }
        Ok(Some(len))
    }

    /// Makes room; gives where to receive to, how many bytes, and whether to wait for all of them. Call after `cut` gave none.
    pub fn receive_into(&mut self, frame_bytes_max: usize) -> (*mut u8, u32, bool) {
        assert!(!self.receiving, "one receive at a time");
        let missing = match self.frame_len(frame_bytes_max) {
            Ok(Some(len)) => 4 + len - self.buf.len(),
            _ => 4 - self.buf.len().min(3),
        };
        // Twice what has come, for what is longer than can be taken on trust.
        let wanted = missing.min(FRAME_RESERVE_BYTES_MAX.max(self.buf.len()));
        if self.buf.capacity() - self.buf.len() < wanted.max(self.recv_hint / 2) {
            self.buf.reserve(wanted.max(self.recv_hint));
        }
        let spare = self.buf.spare_capacity_mut();
        let long = missing >= 2 * RECV_BYTES_MIN && missing <= spare.len();
        let len = if long { missing } else { spare.len() };
        (spare.as_mut_ptr().cast(), len as u32, long)
    }

    /// `count` bytes have been written to where [`Conn::receive_into`] said.
    pub fn received(&mut self, count: usize) {
        self.receiving = false;
        let len = self.buf.len() + count;
        assert!(len <= self.buf.capacity());
        // SAFETY: the kernel has written `count` bytes from the start of the spare capacity, and the buffer was not touched since.
        unsafe { self.buf.set_len(len) }
    }

    /// Puts a reply behind those that wait.
    pub fn queue(&mut self, reply: Reply) {
        let len = reply.len();
        if len == 0 {
            return;
        }
        self.replies.push_back((len, len));
        self.queue.extend(reply.parts.into_iter().filter(|part| match part {
            ReplyPart::Mem(bytes) => !bytes.is_empty(),
            ReplyPart::File(range) => range.len > 0,
        }));
    }

    /// Whether all replies are out.
    pub fn is_sent(&self) -> bool {
        self.queue.is_empty()
    }

    /// Forgets what was to be sent.
    pub fn drop_replies(&mut self) {
        assert!(self.sending == Sending::Idle, "the kernel is reading there");
        self.queue.clear();
        self.replies.clear();
    }

    /// The file range to be sent next, with the memory that goes before it (empty for none), if that is what comes next.
    pub fn next_file(&self) -> Option<(Bytes, &FileRange)> {
        match (self.queue.front()?, self.queue.get(1)) {
            (ReplyPart::File(range), _) => Some((Bytes::new(), range)),
            (ReplyPart::Mem(head), Some(ReplyPart::File(range))) => Some((head.clone(), range)),
            _ => None,
        }
    }

    /// Gathers the memory at the front of the queue for one sendmsg; gives the header and whether more follows at once.
    pub fn gather(&mut self) -> (*const libc::msghdr, bool) {
        assert!(self.sending == Sending::Idle, "one send at a time");
        let gather = &mut *self.gather;
        gather.iov.clear();
        for part in self.queue.iter().take(SEND_PARTS_MAX) {
            let ReplyPart::Mem(bytes) = part else { break };
            gather.iov.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        }
        gather.header.msg_iov = gather.iov.as_mut_ptr();
        gather.header.msg_iovlen = gather.iov.len() as _;
        (&raw const gather.header, gather.iov.len() < self.queue.len())
    }

    /// `count` bytes have gone; calls `whole` with the length of every reply that is out with that.
    pub fn sent(&mut self, mut count: u64, mut whole: impl FnMut(u64)) {
        let mut left = count;
        while left > 0 {
            let part = self.queue.front_mut().expect("no more was sent than was there");
            let (len, done) = match part {
                ReplyPart::Mem(bytes) => {
                    let len = (bytes.len() as u64).min(left);
                    bytes.advance(len as usize);
                    (len, bytes.is_empty())
                }
                ReplyPart::File(range) => {
                    let len = range.len.min(left);
                    range.offset += len;
                    range.len -= len;
                    (len, range.len == 0)
                }
            };
            left -= len;
            if done {
                self.queue.pop_front();
            }
        }
        while count > 0 {
            let (rest, all) = self.replies.front_mut().expect("every byte is of a reply");
            let len = (*rest).min(count);
            *rest -= len;
            count -= len;
            if *rest == 0 {
                whole(*all);
                self.replies.pop_front();
            }
        }
    }
}
