//! Connections of the world: what clients do with them, and how replies leave, one after the other.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use floe_engine::event::{ConnId, Input, Machine, Reply, ReplyPart, ShardId};

use super::{Event, World};
use crate::net::Link;

impl<M: Machine> World<M> {
    /// Opens a connection to a random shard. `None` while the node does not accept.
    pub fn connect(&mut self) -> Option<Link> {
        if !self.is_ready() {
            return None;
        }
        let shard = ShardId(self.rng.below(u64::from(self.shards())) as u16);
        self.connect_to(shard)
    }

    /// Opens a connection to this shard. `None` while the node does not accept.
    pub fn connect_to(&mut self, shard: ShardId) -> Option<Link> {
        if !self.is_ready() {
            return None;
        }
        let (link, conn) = self.net.connect(shard);
        self.note(4, &[link.0, conn.0, u64::from(shard.0)], || format!("{link:?} connects to shard {}", shard.0));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000 + (link.0 % 20_000) as u16));
        self.input(shard, Input::Connected { conn, peer, listener: 0 });
        Some(link)
    }

    /// Sends a request (without its size prefix). On a dead connection it goes nowhere.
    pub fn send(&mut self, link: Link, frame: Bytes) {
        if self.net.get(link).is_none_or(|wire| wire.client_closed) {
            return;
        }
        self.trace.bytes(&frame);
        match self.net.arrival_at_server(link, self.now_ns) {
            Some(at) => self.schedule(at, Event::FrameArrives { link, frame }),
            None => self.break_link(link),
        }
    }

    /// Closes a connection from the client's side.
    pub fn close(&mut self, link: Link) {
        let Some(wire) = self.net.get(link) else { return };
        wire.client_closed = true;
        let at = self.net.arrival_at_server(link, self.now_ns).unwrap_or(self.now_ns);
        self.schedule(at, Event::ClientCloses { link });
    }

    pub(super) fn queue_out(&mut self, shard: ShardId, conn: ConnId, reply: Option<Reply>) {
        let Some(link) = self.net.link(shard, conn) else { return };
        let Some(at) = self.net.next_send(link, self.now_ns) else { return };
        if let Some(wire) = self.net.get(link) {
            wire.outgoing.push_back(reply);
        }
        self.schedule(at, Event::SendNext { link });
    }

    /// The kernel takes the next reply of a connection: file parts are read now.
    pub(super) fn send_next(&mut self, link: Link) {
        let Some(wire) = self.net.get(link) else { return };
        let (shard, conn) = (wire.shard, wire.conn);
        let Some(next) = wire.outgoing.pop_front() else { return };
        let Some(reply) = next else { return self.break_link(link) };
        let mut frame = Vec::with_capacity(reply.len() as usize);
        for part in &reply.parts {
            match part {
                ReplyPart::Mem(bytes) => frame.extend_from_slice(bytes),
                ReplyPart::File(range) => match self.disk.sendfile(range) {
                    Some(bytes) => frame.extend_from_slice(&bytes),
                    None => {
                        self.trace.log(self.now_ns, format_args!("{link:?}: sendfile of {range:?} fell short"));
                        return self.break_link(link);
                    }
                },
            }
        }
        let bytes = frame.len() as u64;
        self.input(shard, Input::ReplySent { conn, bytes });
        assert!(bytes >= 8, "a reply of {bytes} bytes");
        let prefix = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        assert_eq!(u64::from(prefix) + 4, bytes, "the size prefix of a reply is its length");
        match self.net.arrival_at_client(link, self.now_ns) {
            Some(at) => self.schedule(at, Event::ReplyArrives { link, frame: Bytes::from(frame).slice(4..) }),
            None => self.break_link(link),
        }
    }

    /// The connection ends for both sides.
    pub(super) fn break_link(&mut self, link: Link) {
        let Some(client_closed) = self.net.get(link).map(|wire| wire.client_closed) else { return };
        self.end_link(link);
        if !client_closed {
            let at = self.now_ns + self.rng.below(500_000);
            self.schedule_any_life(at, Event::ClosedArrives { link });
        }
    }

    /// The shard learns that a connection is gone: at once, or when the connection has come to it.
    pub(super) fn end_link(&mut self, link: Link) {
        let Some(wire) = self.net.get(link) else { return };
        if wire.moving {
            wire.ended = true;
            return;
        }
        let (shard, conn) = (wire.shard, wire.conn);
        self.net.remove(link);
        self.input(shard, Input::Disconnected { conn });
    }

    pub(super) fn read_frames(&mut self, link: Link) {
        let frames = self.net.readable(link);
        let Some(wire) = self.net.get(link) else { return };
        let (shard, conn) = (wire.shard, wire.conn);
        for frame in frames {
            self.input(shard, Input::Frame { conn, frame });
        }
    }
}
