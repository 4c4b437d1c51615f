//! A connection leaves for the shard that owns what it uses, or comes: what goes along, and who counts it.

use super::Shard;
use crate::config::Dynamic;
use crate::connection::Connection;
use crate::event::{Boot, ConnId, Effect, Effects, Luggage, ShardId};
use crate::mesh::MeshMsg;
use crate::moves::Moves;
use crate::requests::Session;
use crate::time::Time;

/// All that a shard knows of a connection at rest.
struct Going {
    connection: Connection,
    sessions: Vec<(i32, Session)>,
}

impl Shard {
    /// What the settings say of moves.
    pub(super) fn moves_of(&self, boot: &Boot) -> Moves {
        let number = |name| self.config.number(name, &Dynamic::default());
        let on = self.config.switch("connections.move", &Dynamic::default());
        let window = if on { number("connections.move.requests") as u32 } else { 0 };
        Moves::new(boot.shard, boot.shards, window, number("connections.move.interval.ms") as u64)
    }

    /// A request calls these owners.
    pub(crate) fn called(&mut self, conn: ConnId, owners: impl Iterator<Item = ShardId>) {
        if !self.moves.is_on() || self.stopping {
            return;
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if let Some(to) = self.moves.called(self.now, &mut connection.traffic, owners) {
            connection.go(to);
        }
    }

    /// Now and then: tells the others how much there is to do here.
    pub(super) fn look_at_load(&mut self, now: Time, fx: &mut Effects) {
        let requests = self.metrics.requests.iter().map(|(_, count)| count).sum();
        let bytes = self.metrics.bytes_in + self.metrics.bytes_out;
        let Some(ns_per_s) = self.moves.look(now, requests, bytes) else { return };
        for to in self.others() {
            fx.push(Effect::Mesh { to, msg: MeshMsg::Load { ns_per_s } });
        }
    }

    /// A connection is at rest: it goes where it was to go.
    pub(super) fn detached(&mut self, conn: ConnId, fx: &mut Effects) {
        let mut connection = self.connections.remove(&conn).expect("what comes to rest is there");
        let to = connection.leave(&mut self.pressure);
        connection.image_version_min = connection.image_version_min.max(self.image.version);
        self.metrics.connections -= 1;
        self.metrics.connections_moved += 1;
        self.idle.forget(conn, connection.idle_check.take());
        let luggage = Luggage::new(Going { connection, sessions: self.sessions.take_away(conn) });
        fx.push(Effect::Attach { conn, to, luggage });
    }

    /// A connection has come from another shard.
    pub(super) fn attached(&mut self, now: Time, conn: ConnId, luggage: Luggage, fx: &mut Effects) {
        let Going { mut connection, sessions } = luggage.open();
        connection.arrive(&mut self.pressure);
        self.moves.came(now, &mut connection.traffic);
        self.sessions.take_in(now, conn, sessions);
        self.metrics.connections += 1;
        connection.idle_check = self.idle.watch(conn, connection.active_ns());
        let ahead = connection.image_version_min > self.image.version;
        self.connections.insert(conn, connection);
        if ahead {
            self.ahead.push(conn);
        }
        self.turn(now, conn, fx);
    }

    /// A connection is gone: the shard that accepted it may accept another one.
    pub(super) fn left_home(&mut self, home: ShardId, fx: &mut Effects) {
        if home == self.shard {
            self.homed -= 1;
        } else {
            fx.push(Effect::Mesh { to: home, msg: MeshMsg::Gone });
        }
    }
}
