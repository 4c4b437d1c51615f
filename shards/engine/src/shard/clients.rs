//! Connections of a shard as they come and go: who may come (`max.connections`, `max.connections.per.ip`), who has to go (slow readers while
//! memory is spent, the idle).

use std::net::IpAddr;

use super::Shard;
use crate::addresses::Standing;
use crate::connection::Connection;
use crate::event::{ConnId, Effect, Effects, LogLevel, ShardId};
use crate::limits::SLOW_READER_MS;
use crate::mesh::MeshMsg;
use crate::requests::{Pending, Wait};
use crate::time::Time;

/// `max.connections.per.ip` when nobody bounds it.
const UNBOUNDED: u64 = i32::MAX as u64;

impl Shard {
    pub(super) fn connected(&mut self, conn: ConnId, mut connection: Connection, fx: &mut Effects) {
        if self.homed >= self.connections_max {
            let (peer, max) = (connection.peer, self.connections_max);
            let line = format!("refusing the connection of {peer}: this core has its share of max.connections, {max}");
            fx.push(Effect::Log { level: LogLevel::Warn, line });
            fx.push(Effect::Close { conn });
            self.metrics.connections_refused += 1;
            return;
        }
        self.homed += 1;
        self.metrics.connections += 1;
        connection.idle_check = self.idle.watch(conn, connection.active_ns());
        connection.is_admitted = self.connections_per_ip_max >= UNBOUNDED;
        let ip = connection.peer.ip();
        self.connections.insert(conn, connection);
        if self.shard == ShardId(0) {
            self.came(ShardId(0), conn, ip, fx);
        } else {
            fx.push(Effect::Mesh { to: ShardId(0), msg: MeshMsg::Came { conn, ip } });
        }
    }

    /// On shard 0: a shard has a new connection.
    pub(super) fn came(&mut self, shard: ShardId, conn: ConnId, ip: IpAddr, fx: &mut Effects) {
        let may_stay = self.addresses.came(ip, self.connections_per_ip_max);
        if shard == self.shard {
            self.may_stay(conn, ip, may_stay, fx);
        } else {
            fx.push(Effect::Mesh { to: shard, msg: MeshMsg::MayStay { conn, ip, may_stay } });
        }
    }

    /// Shard 0 has counted a connection of this shard, or not.
    pub(super) fn may_stay(&mut self, conn: ConnId, ip: IpAddr, may_stay: bool, fx: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            // It did not wait for the answer.
            if may_stay {
                self.went(ip, fx);
            }
            return;
        };
        if may_stay {
            connection.standing = Standing::Counted;
            connection.is_admitted = true;
            self.turns.push(conn);
            return;
        }
        connection.standing = Standing::Refused;
        connection.close(&mut self.pressure);
        self.metrics.connections_refused += 1;
        let max = self.connections_per_ip_max;
        let line =
            format!("refusing the connection of {}: its address has {max} (max.connections.per.ip)", connection.peer);
        fx.push(Effect::Log { level: LogLevel::Warn, line });
        fx.push(Effect::Close { conn });
    }

    fn went(&mut self, ip: IpAddr, fx: &mut Effects) {
        if self.shard == ShardId(0) {
            self.addresses.went(ip);
        } else {
            fx.push(Effect::Mesh { to: ShardId(0), msg: MeshMsg::Went { ip } });
        }
    }

    pub(super) fn disconnected(&mut self, conn: ConnId, fx: &mut Effects) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        self.metrics.connections -= 1;
        self.idle.forget(conn, connection.idle_check);
        self.sessions.disconnected(conn);
        self.vouching.remove(&conn);
        self.left_home(connection.home, fx);
        if connection.standing == Standing::Counted {
            self.went(connection.peer.ip(), fx);
        }
        for token in connection.gone(&mut self.pressure) {
            if let Some(Pending { wait: Wait::Fetch(wait), .. }) = self.pending.remove(&token) {
                self.forget_fetch(token, &wait, fx);
            }
        }
    }

    /// Closes those that nothing came from and nothing went to for `connections.max.idle.ms`. Who waits for an answer is not idle, nor is anybody
    /// while no socket is read: what they have sent may lie in it.
    pub(super) fn close_idle(&mut self, now: Time, fx: &mut Effects) {
        while let Some(conn) = self.idle.due(now) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let active_ns = if self.pressure.is_closed() { now.mono_ns } else { connection.active_ns_at(now) };
            connection.idle_check = None;
            if connection.is_closed() || connection.is_going() {
                continue;
            }
            if self.idle.deadline(active_ns).is_some_and(|deadline| !now.reached(deadline)) {
                connection.idle_check = self.idle.watch(conn, active_ns);
                continue;
            }
            connection.close(&mut self.pressure);
            self.metrics.connections_idle_closed += 1;
            let line =
                format!("closing the connection of {}: it has been idle (connections.max.idle.ms)", connection.peer);
            fx.push(Effect::Log { level: LogLevel::Debug, line });
            fx.push(Effect::Close { conn });
        }
    }

    /// While memory is spent, those who do not read their answers go first.
    pub(super) fn close_slow_readers(&mut self, now: Time, fx: &mut Effects) {
        let Some(before_ns) = self.pressure.too_old(now) else { return };
        for (conn, connection) in &mut self.connections {
            if !connection.is_closed() && connection.unsent_since_ns().is_some_and(|since| since < before_ns) {
                connection.close(&mut self.pressure);
                self.metrics.slow_readers_closed += 1;
                let line = format!(
                    "closing the connection of {}: it has not read an answer for {} s while memory is spent (memory.bytes)",
                    connection.peer,
                    SLOW_READER_MS / 1000
                );
                fx.push(Effect::Log { level: LogLevel::Warn, line });
                fx.push(Effect::Close { conn: *conn });
            }
        }
    }
}
