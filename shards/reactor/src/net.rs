//! The connections of one shard: receives, sends, and the order in which they end.
//!
//! A slot is freed only when no operation of it is under way any more, in the ring or with a helper; then the engine is told. A connection leaves for
//! another shard only then, too: its receive is cancelled, and whatever that one still brings goes along.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use floe_engine::event::{ConnId, Input, Luggage, Reply};
use floe_engine::metrics::Histogram;
use io_uring::{cqueue, opcode, squeue, types};
use rustix::net::sockopt::{self, Timeout};
use slab::Slab;

use crate::conn::{BadSize, Conn, Leaving, Resting, Sending};
use crate::helpers::{Helpers, SendJob};
use crate::inbox::Sender;
use crate::limits::{CLOSE_LINGER_NS, FRAMES_PER_ROUND_MAX, SENDFILE_WAIT_MS};
use crate::ring::{Completion, Kind, Ring, token};

/// Linux's IORING_RECVSEND_POLL_FIRST (linux/io_uring.h): do not try before the socket says that there is something.
const POLL_FIRST: u16 = 1;

/// The connections.
pub struct Net {
    conns: Slab<Conn>,
    /// For ids that are never used again.
    generation: u64,
    frame_bytes_max: usize,
    helpers: Arc<Helpers>,
    results: Sender,
    /// Whether sockets are read: the engine takes requests, and the mesh has room for what they call for.
    open: bool,
    engine_open: bool,
    mesh_open: bool,
    /// Those that may have whole frames in their buffer.
    to_cut: VecDeque<u32>,
    /// Those to look after at the end of the round.
    touched: Vec<u32>,
    /// Those that are to be closed although not everything is sent, by time.
    lingering: VecDeque<(u64, ConnId)>,
    /// Inputs that came about while effects were carried out.
    events: Vec<Input>,
}

impl Net {
    /// None yet.
    pub fn new(frame_bytes_max: usize, helpers: Arc<Helpers>, results: Sender) -> Net {
        Net {
            conns: Slab::new(),
            generation: 0,
            frame_bytes_max,
            helpers,
            results,
            open: true,
            engine_open: true,
            mesh_open: true,
            to_cut: VecDeque::new(),
            touched: Vec::new(),
            lingering: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// A client came.
    pub fn connected(&mut self, socket: OwnedFd, peer: SocketAddr, listener: u16) {
        // Replies are sent whole; waiting for more to fill a packet would only delay them.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        // Only helper threads ever wait in the socket; the ring never does.
        let _ = sockopt::set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_millis(SENDFILE_WAIT_MS)));
        let conn = self.next_id();
        let slot = self.conns.insert(Conn::new(conn, socket, peer)) as u32;
        self.events.push(Input::Connected { conn, peer, listener });
        self.touch(slot);
    }

    /// A connection came from another shard.
    pub fn attached(&mut self, resting: Resting) {
        let id = self.next_id();
        let (conn, luggage) = Conn::woken(id, resting);
        let slot = self.conns.insert(conn) as u32;
        self.events.push(Input::Attached { conn: id, luggage });
        self.may_have_frames(slot);
    }

    /// The name of the connection that is inserted next.
    fn next_id(&mut self) -> ConnId {
        self.generation += 1;
        ConnId(self.generation << 32 | self.conns.vacant_key() as u64)
    }

    /// Lets a connection come to rest.
    pub fn detach(&mut self, conn: ConnId) {
        let Some(slot) = self.slot(conn) else { return };
        self.conns[slot as usize].leaving = Leaving::Asked;
        self.touch(slot);
    }

    /// Gives up a connection that is at rest. None where the process ends and has closed it.
    pub fn give_up(&mut self, conn: ConnId, luggage: Luggage) -> Option<Resting> {
        let slot = self.slot(conn)?;
        Some(self.conns.remove(slot as usize).rest(luggage))
    }

    /// Carries out a reply. Nothing follows a close.
    pub fn reply(&mut self, conn: ConnId, reply: Reply) {
        let Some(slot) = self.slot(conn) else { return };
        let conn = &mut self.conns[slot as usize];
        if !conn.dead && !conn.closing {
            conn.queue(reply);
            self.touch(slot);
        }
    }

    /// Closes when what was to be sent is sent.
    pub fn close(&mut self, conn: ConnId, now_ns: u64) {
        let Some(slot) = self.slot(conn) else { return };
        self.conns[slot as usize].closing = true;
        self.lingering.push_back((now_ns + CLOSE_LINGER_NS, conn));
        self.touch(slot);
    }

    /// Stops or goes on reading from one connection.
    pub fn pause(&mut self, conn: ConnId, paused: bool) {
        let Some(slot) = self.slot(conn) else { return };
        self.conns[slot as usize].paused = paused;
        if !paused {
            self.may_have_frames(slot);
        }
    }

    /// Stops or goes on reading from all, as the engine says.
    pub fn admission(&mut self, open: bool) {
        self.engine_open = open;
        self.read_or_not();
    }

    /// The same, as the mesh has room or not.
    pub fn mesh_room(&mut self, open: bool) {
        if self.mesh_open != open {
            self.mesh_open = open;
            self.read_or_not();
        }
    }

    fn read_or_not(&mut self) {
        let open = self.engine_open && self.mesh_open;
        let opened = open && !self.open;
        self.open = open;
        if opened {
            let all: Vec<u32> = self.conns.iter().map(|(slot, _)| slot as u32).collect();
            for slot in all {
                self.may_have_frames(slot);
            }
        }
    }

    /// A receive ended.
    pub fn received(&mut self, completion: Completion) {
        let slot = completion.index;
        let conn = &mut self.conns[slot as usize];
        match completion.result() {
            Ok(0) => {
                conn.received(0);
                conn.dead = true;
            }
            Ok(count) => {
                conn.received(count as usize);
                conn.more = cqueue::sock_nonempty(completion.flags);
            }
            Err(error) => {
                conn.received(0);
                conn.dead |= !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::ECANCELED));
            }
        }
        self.may_have_frames(slot);
    }

    /// A send from memory ended.
    pub fn sent(&mut self, completion: Completion) {
        let result = completion.result().map(u64::from);
        self.progress(completion.index, result);
    }

    /// A helper has sent part of a file.
    pub fn file_sent(&mut self, slot: u32, result: std::io::Result<u64>) {
        let nothing = matches!(result, Ok(0));
        self.progress(slot, result);
        if nothing {
            self.conns[slot as usize].sending = Sending::Room;
        }
    }

    /// A socket has room again, or has failed: the next send tells.
    pub fn room(&mut self, completion: Completion) {
        self.progress(completion.index, Ok(0));
    }

    fn progress(&mut self, slot: u32, result: std::io::Result<u64>) {
        let conn = &mut self.conns[slot as usize];
        conn.sending = Sending::Idle;
        match result {
            Ok(count) => {
                let (id, events) = (conn.id, &mut self.events);
                conn.sent(count, |bytes| events.push(Input::ReplySent { conn: id, bytes }));
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
            Err(error) => {
                if error.kind() == std::io::ErrorKind::UnexpectedEof {
                    tracing::error!(
                        "closing the connection of {}: a segment ended before what was promised of it",
                        conn.peer
                    );
                }
                conn.dead = true;
            }
        }
        self.touch(slot);
    }

    /// Gives what has come about, and enters into `receive_ns` how long each frame took to come: frames, in order for each connection, and the beginnings and ends of connections.
    pub fn take_inputs(&mut self, now_ns: u64, receive_ns: &mut Histogram, inputs: &mut VecDeque<Input>) {
        inputs.extend(self.events.drain(..));
        for _ in 0..self.to_cut.len() {
            let slot = self.to_cut.pop_front().expect("so many are there");
            let Some(conn) = self.conns.get_mut(slot as usize) else { continue };
            conn.to_cut = false;
            let mut more = true;
            for _ in 0..FRAMES_PER_ROUND_MAX {
                let stays = conn.leaving == Leaving::No;
                more = !(conn.dead || conn.closing || conn.paused || conn.receiving) && stays && self.open;
                if !more {
                    break;
                }
                match conn.cut(self.frame_bytes_max) {
                    Ok(None) => {
                        conn.began_ns = conn.has_part().then(|| conn.began_ns.unwrap_or(now_ns));
                        more = false;
                        break;
                    }
                    Ok(Some(frame)) => {
                        let began_ns = conn.began_ns.take().unwrap_or(now_ns);
                        receive_ns.record(now_ns.saturating_sub(began_ns));
                        inputs.push_back(Input::Frame { conn: conn.id, frame });
                    }
                    Err(BadSize(size)) => {
                        tracing::warn!(
                            "closing the connection of {}: it claims a request of {size} bytes; possible are 4 to {} (socket.request.max.bytes)",
                            conn.peer,
                            self.frame_bytes_max
                        );
                        conn.dead = true;
                    }
                }
            }
            if more {
                conn.to_cut = true;
                self.to_cut.push_back(slot);
            }
            self.touch(slot);
        }
    }

    /// Whether the next round has work without anything new from outside.
    pub fn has_inputs(&self) -> bool {
        !self.events.is_empty() || !self.to_cut.is_empty()
    }

    /// When a lingering connection is to be cut off.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.lingering.front().map(|(deadline, _)| *deadline)
    }

    /// Ends every connection, at the end of the process.
    pub fn abandon(&mut self) {
        let all: Vec<u32> = self.conns.iter().map(|(slot, _)| slot as u32).collect();
        for slot in all {
            self.conns[slot as usize].dead = true;
            self.touch(slot);
        }
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// The end of a round: starts what can be started on every connection that something happened to.
    pub fn flush(&mut self, now_ns: u64, ring: &mut Ring) {
        while let Some((_, conn)) = self.lingering.pop_front_if(|(deadline, _)| *deadline <= now_ns) {
            if let Some(slot) = self.slot(conn) {
                self.conns[slot as usize].dead = true;
                self.touch(slot);
            }
        }
        // Looking after one connection touches no other.
        for at in 0..self.touched.len() {
            let slot = self.touched[at];
            let Some(conn) = self.conns.get_mut(slot as usize) else { continue };
            conn.touched = false;
            self.look_after(slot, ring);
        }
        self.touched.clear();
    }

    fn look_after(&mut self, slot: u32, ring: &mut Ring) {
        let conn = &mut self.conns[slot as usize];
        if conn.dead && matches!(conn.sending, Sending::Idle) {
            conn.drop_replies();
        }
        if conn.dead || (conn.closing && conn.is_sent()) {
            if !conn.shut {
                // Ends what is under way in the ring as well.
                let _ = rustix::net::shutdown(&*conn.socket, rustix::net::Shutdown::Both);
                conn.shut = true;
            }
            if !conn.receiving && matches!(conn.sending, Sending::Idle) {
                let conn = self.conns.remove(slot as usize);
                self.events.push(Input::Disconnected { conn: conn.id });
                return;
            }
            if conn.sending != Sending::Room {
                return;
            }
        }
        self.start_send(slot, ring);
        self.start_receive(slot, ring);
        self.come_to_rest(slot, ring);
    }

    fn come_to_rest(&mut self, slot: u32, ring: &mut Ring) {
        let conn = &mut self.conns[slot as usize];
        match conn.leaving {
            Leaving::Asked if conn.receiving => {
                conn.leaving = Leaving::Cancelled;
                let entry = opcode::AsyncCancel::new(token(Kind::Recv, slot)).build();
                let entry = entry.user_data(token(Kind::Nothing, 0)).flags(squeue::Flags::SKIP_SUCCESS);
                // SAFETY: no memory is pointed to. The kernel looks for the receive when this is submitted, and that is before another one
                // with the same token can be, as that needs this one's completion first.
                unsafe { ring.push(entry) }
            }
            Leaving::Asked | Leaving::Cancelled
                if !conn.receiving && conn.sending == Sending::Idle && conn.is_sent() =>
            {
                conn.leaving = Leaving::AtRest;
                self.events.push(Input::Detached { conn: conn.id });
            }
            _ => {}
        }
    }

    fn start_send(&mut self, slot: u32, ring: &mut Ring) {
        let conn = &mut self.conns[slot as usize];
        let fd = types::Fd(conn.socket.as_raw_fd());
        match conn.sending {
            Sending::Idle if conn.is_sent() => {}
            Sending::Idle => {
                if let Some((head, range)) = conn.next_file() {
                    let (file, offset, len) = (range.file.clone(), range.offset, range.len);
                    let (socket, results) = (conn.socket.clone(), self.results.clone());
                    conn.sending = Sending::File;
                    return self.helpers.send(SendJob { slot, socket, head, file, offset, len, results });
                }
                let (header, more) = conn.gather();
                conn.sending = Sending::Memory;
                let more = if more { libc::MSG_MORE } else { 0 };
                let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL | more) as u32;
                let entry = opcode::SendMsg::new(fd, header).flags(flags).build();
                // SAFETY: the header and its parts are boxed, what they point to stays in the connection's queue, and the slot stays
                // until the completion has come, as `sending` says that one is under way.
                unsafe { ring.push(entry.user_data(token(Kind::Send, slot))) }
            }
            Sending::Room => {
                conn.sending = Sending::Memory;
                let entry = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
                // SAFETY: no memory is pointed to; the socket stays open as `sending` says that something is under way.
                unsafe { ring.push(entry.user_data(token(Kind::Room, slot))) }
            }
            Sending::Memory | Sending::File => {}
        }
    }

    fn start_receive(&mut self, slot: u32, ring: &mut Ring) {
        let conn = &mut self.conns[slot as usize];
        let stays = conn.leaving == Leaving::No;
        if conn.receiving || conn.paused || conn.closing || conn.dead || conn.to_cut || !stays || !self.open {
            return;
        }
        let fd = types::Fd(conn.socket.as_raw_fd());
        let (start, len, all) = conn.receive_into(self.frame_bytes_max);
        let flags = if all { libc::MSG_WAITALL } else { 0 };
        let first = if conn.more { 0 } else { POLL_FIRST };
        conn.receiving = true;
        let entry = opcode::Recv::new(fd, start, len).flags(flags).ioprio(first).build();
        // SAFETY: the buffer is neither read nor moved while `receiving` is set, and the slot stays until the completion has come.
        unsafe { ring.push(entry.user_data(token(Kind::Recv, slot))) }
    }

    fn slot(&self, conn: ConnId) -> Option<u32> {
        let slot = conn.0 as u32;
        self.conns.get(slot as usize).filter(|c| c.id == conn).map(|_| slot)
    }

    fn touch(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if !std::mem::replace(&mut conn.touched, true) {
            self.touched.push(slot);
        }
    }

    fn may_have_frames(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if !std::mem::replace(&mut conn.to_cut, true) {
            self.to_cut.push_back(slot);
        }
        self.touch(slot);
    }
}
