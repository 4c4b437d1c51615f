//! One core's state; routes inputs to their owners and owns no rules itself.

mod clients;
mod moving;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use floe_wire::compression::Codec;
use floe_wire::ids::TopicId;
use floe_wire::messages::produce::ProduceResponse;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::addresses::Addresses;
use crate::config::{BrokerConfig, Dynamic};
use crate::connection::{Connection, Ending};
use crate::event::{AdminReply, AdminRequest, Boot, ConnId, Effect, Effects, Input, LogLevel, Machine, ShardId};
use crate::group;
use crate::hosted::Hosted;
use crate::idle::Idle;
use crate::log::{LogEvent, ShardLog};
use crate::mesh::{Answer, Call, MeshMsg};
use crate::metadata::{self, Change, Controller, Image, Told, Topic};
use crate::metrics::ShardMetrics;
use crate::moves::Moves;
use crate::owner::{GroupHost, Owner, TxnHost, is_own};
use crate::pressure::Pressure;
use crate::requests::{Caller, Holds, Pending, Sessions, Vouching, Wait};
use crate::space::Space;
use crate::time::{Deadline, Time};
use crate::txn;
use crate::uuids::Uuids;

/// One core of the broker.
#[derive(Debug, Default)]
pub struct Shard {
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) image: Arc<Image>,
    pub(crate) metrics: ShardMetrics,
    pub(crate) connections: HashMap<ConnId, Connection, FxBuildHasher>,
    /// Requests that wait, by token.
    pub(crate) pending: HashMap<u64, Pending, FxBuildHasher>,
    pub(crate) fetch_deadlines: BTreeSet<(Deadline, u64)>,
    /// What is left of the last block of producer ids.
    pub(crate) producer_ids: Range<i64>,
    pub(crate) sessions: Sessions,
    pub(crate) holds: Holds,
    pub(crate) owner: Owner,
    /// Of the data directory's file system.
    pub(crate) space: Space,
    pub(crate) fetch_bytes_max: u64,
    /// `fetch.lagging.partition.bytes`.
    pub(crate) fetch_share: u64,
    pub(crate) auto_create: bool,
    pub(crate) delete_enabled: bool,
    /// `transaction.partition.verification.enable`.
    pub(crate) verifies_transactions: bool,
    pub(crate) partitions_default: i32,
    /// Memory that small answers share.
    pub(crate) answers: BytesMut,
    /// Answers to Produce that were given, for their memory.
    pub(crate) spare_answers: Vec<ProduceResponse<'static>>,
    /// Connections of which a transactional produce is being asked about.
    pub(crate) vouching: HashMap<ConnId, Vouching, FxBuildHasher>,
    boot: Option<Boot>,
    /// From the first image on.
    log: Option<ShardLog>,
    /// On shard 0.
    controller: Option<Controller>,
    /// Shards that have not shown the last image yet (on shard 0).
    not_shown: u16,
    /// Shards that have taken over what older numbers of shards left (on shard 0).
    drained: u16,
    ready: bool,
    stopping: bool,
    /// When the input at work came.
    now: Time,
    pub(crate) pressure: Pressure,
    /// Connections that may begin another request.
    turns: Vec<ConnId>,
    connections_max: u64,
    connections_per_ip_max: u64,
    idle: Idle,
    /// Of all shards (on shard 0).
    addresses: Addresses,
    /// Connections accepted here and still open, wherever they are.
    homed: u64,
    moves: Moves,
    /// Connections that wait for an image that another shard has shown already.
    ahead: Vec<ConnId>,
    last_token: u64,
}

impl Machine for Shard {
    fn handle(&mut self, now: Time, input: Input, fx: &mut Effects) {
        self.now = now;
        match input {
            Input::Boot(boot) => self.boot(boot, fx),
            Input::Connected { conn, peer, listener } => {
                self.connected(conn, Connection::new(now, peer, listener, self.shard), fx);
            }
            Input::Frame { conn, frame } => {
                if let Some(connection) = self.connections.get_mut(&conn).filter(|c| !c.is_closed()) {
                    connection.take(now, frame, &mut self.pressure);
                    self.turn(now, conn, fx);
                }
            }
            Input::ReplySent { conn, .. } => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.sent(now, &mut self.pressure, &mut self.metrics);
                    if connection.wants_turn() {
                        self.turns.push(conn);
                    }
                }
            }
            Input::Disconnected { conn } => self.disconnected(conn, fx),
            Input::Detached { conn } => self.detached(conn, fx),
            Input::Attached { conn, luggage } => self.attached(now, conn, luggage, fx),
            Input::Mesh { from, msg } => self.mesh(now, from, msg, fx),
            Input::DiskDone { op, result } => {
                if (op.0 >> 56) as u8 == metadata::OP_TAG {
                    if let Some(controller) = self.controller.as_mut() {
                        controller.handle_disk(result, fx);
                    }
                } else if (op.0 >> 56) as u8 == group::Coordinator::OP_TAG {
                    self.owner.groups.handle_disk(op, result, fx);
                } else if (op.0 >> 56) as u8 == txn::Coordinator::OP_TAG {
                    self.owner.txns.handle_disk(op, result, fx);
                } else if let Some(log) = self.log.as_mut() {
                    log.handle_disk(now, op, result, fx);
                }
            }
            Input::DiskSpace { free_bytes, total_bytes } => {
                let taken = self.log.as_ref().map(ShardLog::space_taken).unwrap_or_default();
                self.space.look(free_bytes, total_bytes, taken);
                self.judge_space(fx);
                self.look_at_load(now, fx);
            }
            Input::Timer => {
                if let Some(log) = self.log.as_mut() {
                    log.timer(now, fx);
                }
                self.fetch_timer(now, fx);
                self.hold_timer(now, fx);
                self.close_slow_readers(now, fx);
                self.close_idle(now, fx);
            }
            Input::Admin { token, request } => {
                let reply = self.admin(request);
                fx.push(Effect::AdminReply { token, reply });
            }
            Input::Shutdown => {
                self.stopping = true;
                match self.log.as_mut() {
                    Some(log) => log.shutdown(now, fx),
                    None => fx.push(Effect::Stopped),
                }
            }
        }
        self.pump(now, fx);
    }

    fn end_of_round(&mut self, now: Time, fx: &mut Effects) {
        self.now = now;
        if self.owner.next_deadline().is_some() {
            self.judge_space(fx);
        }
        let Some(log) = self.log.as_mut() else { return };
        self.owner.resume(now, log);
        self.owner.groups.load(now, log, fx);
        self.owner.txns.load(now, log, fx);
        log.end_of_round(now, fx);
        let stalled = log.pressure().stalled;
        if let Some(open) = self.pressure.admission(now, stalled) {
            self.metrics.admissions_closed += u64::from(!open);
            fx.push(Effect::Admission { open });
        }
        self.pump(now, fx);
    }

    fn next_deadline(&self) -> Option<Deadline> {
        let fetch = self.fetch_deadlines.first().map(|(deadline, _)| *deadline);
        let log = self.log.as_ref().and_then(ShardLog::next_deadline);
        let hosts =
            [self.owner.groups.next_deadline(), self.owner.txns.next_deadline(), self.owner.ends.next_deadline()];
        let hosts = hosts.into_iter().flatten().min();
        let own = [self.pressure.next_deadline(), self.idle.next_deadline(), self.holds.next_deadline()];
        [fetch, log, hosts, self.owner.next_deadline()].into_iter().chain(own).flatten().min()
    }
}

impl Shard {
    fn boot(&mut self, boot: Boot, fx: &mut Effects) {
        (self.shard, self.shards, self.config) = (boot.shard, boot.shards, boot.config.clone());
        let seed = u64::from_le_bytes(boot.seed[..8].try_into().expect("8 bytes")) ^ u64::from(boot.shard.0) << 48;
        let slots = self.config.number("max.incremental.fetch.session.cache.slots", &Dynamic::default());
        self.sessions = Sessions::new(seed, slots as usize);
        self.fetch_share = self.config.number("fetch.lagging.partition.bytes", &Dynamic::default()) as u64;
        self.holds = Holds::new(self.config.number("rebalance.fetch.hold.ms", &Dynamic::default()) as u64);
        self.pressure = Pressure::new(self.config.number("memory.bytes", &Dynamic::default()) as u64);
        let connections_max = self.config.number("max.connections", &Dynamic::default()) as u64;
        self.idle = Idle::new(self.config.number("connections.max.idle.ms", &Dynamic::default()));
        self.connections_max = connections_max.div_ceil(u64::from(boot.shards.max(1)));
        self.moves = self.moves_of(&boot);
        let codec = boot.config.number("offsets.topic.compression.codec", &Dynamic::default());
        let codec = Codec::from_number(codec as u8).expect("a checked number");
        let ids = Uuids::new(&boot.seed, u64::from(boot.shard.0) + 1);
        let txns = txn::Coordinator::new(boot.config.txn_settings());
        self.owner.txns = TxnHost::new(txns, Codec::None);
        self.owner.groups = GroupHost::new(group::Coordinator::new(boot.config.group_settings(), ids), codec);
        if boot.shard == ShardId(0) {
            let log_bytes =
                boot.config.number("metadata.log.max.record.bytes.between.snapshots", &Dynamic::default()) as u64;
            self.controller = Some(Controller::start(boot.seed, &boot.config.cluster_id, log_bytes, fx));
        }
        self.boot = Some(boot);
    }

    fn admin(&mut self, request: AdminRequest) -> AdminReply {
        match request {
            AdminRequest::Metrics => AdminReply::Metrics(Box::new(self.metrics_now())),
            AdminRequest::Ready => AdminReply::Ready(match self.log.as_ref().and_then(ShardLog::journal_failure) {
                Some(reason) => Err(reason.to_owned()),
                None if !self.ready => Err("recovery is not over".into()),
                None if self.stopping => Err("the broker is stopping".into()),
                None => Ok(()),
            }),
        }
    }

    /// All counters, with those that others keep.
    fn metrics_now(&mut self) -> ShardMetrics {
        let metrics = &mut self.metrics;
        (metrics.request_bytes_held, metrics.answer_bytes_held) = self.pressure.held();
        metrics.admission_closed_ns = self.pressure.closed_ns(self.now);
        let (sessions, partitions) = self.sessions.count();
        (metrics.fetch_sessions, metrics.fetch_session_partitions) = (sessions as u64, partitions as u64);
        metrics.append_ns.clone_from(&self.owner.append_ns);
        metrics.durable_ns.clone_from(&self.owner.durable_ns);
        metrics.groups = self.owner.groups.coordinator.metrics();
        metrics.group_host = self.owner.groups.metrics();
        metrics.txns = self.owner.txns.coordinator.metrics();
        metrics.txn_host = self.owner.txns.metrics();
        if let Some(log) = self.log.as_mut() {
            metrics.log.clone_from(log.metrics());
        }
        metrics.clone()
    }

    fn mesh(&mut self, now: Time, from: ShardId, msg: MeshMsg, fx: &mut Effects) {
        match msg {
            MeshMsg::Image { image, changed } => {
                let version = image.version;
                self.show(now, image, changed.as_deref(), fx);
                fx.push(Effect::Mesh { to: from, msg: MeshMsg::ImageShown { version } });
            }
            MeshMsg::ImageShown { .. } => self.shown(fx),
            MeshMsg::Change { token, change } => {
                let controller = self.controller.as_mut().expect("changes go to shard 0");
                controller.change(from, token, change, fx);
            }
            MeshMsg::Changed { token, done } => self.changed(token, done, fx),
            MeshMsg::Drained => self.drained(fx),
            MeshMsg::Call { token, call } => {
                if matches!(call, Call::Produce { .. }) {
                    self.judge_space(fx);
                }
                let log = self.log.as_mut().expect("calls come after every shard is ready");
                self.owner.call(now, log, from, token, call, fx);
            }
            MeshMsg::Answer { token, answer } => self.answered(now, from, token, answer, fx),
            MeshMsg::Wake { token } => self.woken(now, from, token, fx),
            MeshMsg::Unwatch { token } => self.owner.watches.end((from, token)),
            MeshMsg::Came { conn, ip } => self.came(from, conn, ip, fx),
            MeshMsg::MayStay { conn, ip, may_stay } => self.may_stay(conn, ip, may_stay, fx),
            MeshMsg::Went { ip } => self.addresses.went(ip),
            MeshMsg::Load { ns_per_s } => self.moves.heard(from, ns_per_s),
            MeshMsg::HoldFetches { client, until } => self.hold_fetches(now, &client, until),
            MeshMsg::HoldLonger { client, until } => self.hold_longer(&client, until),
            MeshMsg::AnswerFetches { client } => self.answer_fetches(now, &client, fx),
            MeshMsg::Gone => self.homed -= 1,
        }
    }

    /// Carries on what the log, the owner and the controller have to tell, until they have nothing more.
    fn pump(&mut self, now: Time, fx: &mut Effects) {
        loop {
            let mut idle = true;
            if let Some(log) = self.log.as_mut() {
                let full = self.owner.full.is_some();
                self.owner.groups.pump(now, log, full, fx);
                self.owner.txns.pump(now, log, full, fx);
                let place = (self.shard, self.shards);
                idle &= !self.owner.mark_beside(now, log, &self.image, place);
            }
            let markers = self.owner.markers.calls(now, &mut self.owner.txns, &self.image, self.shards);
            for (owner, token, parts) in markers {
                idle = false;
                self.call(now, owner, token, Call::Markers(parts), fx);
            }
            for (owner, token, visits) in self.owner.ends.calls(now, &mut self.owner.groups, &self.image, self.shards) {
                idle = false;
                self.call(now, owner, token, Call::Visit(visits), fx);
            }
            while let Some(event) = self.log.as_mut().and_then(ShardLog::poll_event) {
                idle = false;
                self.log_event(now, event, fx);
            }
            while let Some((to, token, answer)) = self.owner.next_answer() {
                idle = false;
                if to == self.shard {
                    self.answered(now, to, token, answer, fx);
                } else {
                    fx.push(Effect::Mesh { to, msg: MeshMsg::Answer { token, answer } });
                }
            }
            while let Some(told) = self.controller.as_mut().and_then(Controller::told) {
                idle = false;
                match told {
                    Told::Publish(image, changed) => {
                        self.not_shown = self.shards;
                        for to in (1..self.shards).map(ShardId) {
                            let msg = MeshMsg::Image { image: image.clone(), changed: changed.clone() };
                            fx.push(Effect::Mesh { to, msg });
                        }
                        self.show(now, image, changed.as_deref(), fx);
                        self.shown(fx);
                    }
                    Told::Answer(to, token, done) if to == self.shard => self.changed(token, done, fx),
                    Told::Answer(to, token, done) => {
                        fx.push(Effect::Mesh { to, msg: MeshMsg::Changed { token, done } });
                    }
                }
            }
            while let Some(conn) = self.turns.pop() {
                idle = false;
                self.turn(now, conn, fx);
            }
            if idle {
                return;
            }
        }
    }

    fn log_event(&mut self, now: Time, event: LogEvent, fx: &mut Effects) {
        match event {
            LogEvent::Recovered => {
                self.ready = true;
                if let Some(log) = &self.log {
                    self.owner.groups.recovered(log);
                    self.owner.txns.recovered(log);
                }
                fx.push(Effect::Ready);
            }
            LogEvent::OldGenerationsDrained if self.shard == ShardId(0) => self.drained(fx),
            LogEvent::OldGenerationsDrained => fx.push(Effect::Mesh { to: ShardId(0), msg: MeshMsg::Drained }),
            LogEvent::Committed { up_to } => self.owner.committed(now, up_to),
            LogEvent::Advanced { ix } | LogEvent::Trimmed { ix } | LogEvent::Failed { ix, .. } => {
                if matches!(event, LogEvent::Failed { .. }) {
                    self.owner.groups.partition_failed(ix);
                    self.owner.txns.partition_failed(ix);
                }
                for (to, token) in self.owner.watches.moved(ix) {
                    if to == self.shard {
                        self.woken(now, to, token, fx);
                    } else {
                        fx.push(Effect::Mesh { to, msg: MeshMsg::Wake { token } });
                    }
                }
            }
            LogEvent::ReadDone { ticket, result } => self.owner.read_done(self.log.as_ref(), ticket, result, fx),
            LogEvent::LookupDone { ticket, result } => self.owner.lookup_done(ticket, result),
            LogEvent::JournalFailed { reason } => self.owner.journal_failed(&reason),
            LogEvent::Stopped => fx.push(Effect::Stopped),
        }
    }

    /// Uses a new image: the first one starts the log, later ones change what is in it.
    fn show(&mut self, now: Time, image: Arc<Image>, changed: Option<&[TopicId]>, fx: &mut Effects) {
        let old = std::mem::replace(&mut self.image, image.clone());
        self.turns.append(&mut self.ahead);
        let dynamic = &image.dynamic;
        let same_defaults = old.dynamic == *dynamic && self.log.is_some();
        self.fetch_bytes_max = self.config.number("fetch.max.bytes", dynamic) as u64;
        self.connections_per_ip_max = self.config.number("max.connections.per.ip", dynamic) as u64;
        self.partitions_default = self.config.number("num.partitions", dynamic) as i32;
        self.auto_create = self.config.switch("auto.create.topics.enable", dynamic);
        self.delete_enabled = self.config.switch("delete.topic.enable", dynamic);
        self.verifies_transactions = self.config.switch("transaction.partition.verification.enable", dynamic);
        let mut new = Vec::new();
        let topics: Vec<&Arc<Topic>> = match changed {
            Some(ids) => ids.iter().filter_map(|id| image.topic_by_id(*id)).collect(),
            None => image.topics().collect(),
        };
        for topic in topics {
            let before = old.topic_by_id(topic.id);
            if same_defaults && before.is_some_and(|before| Arc::ptr_eq(before, topic)) {
                continue;
            }
            let settings = self.config.topic_settings(&topic.configs, dynamic);
            for partition in (0..topic.partitions).filter(|p| topic.shard_of(*p, self.shards) == self.shard) {
                match self.log.as_mut() {
                    None => new.push((topic.id, partition, topic.name.clone(), settings.log.clone())),
                    Some(log) => match log.find(topic.id, partition) {
                        Some(ix) => log.configure(ix, settings.log.clone()),
                        None => {
                            log.create(now, topic.id, partition, topic.name.clone(), settings.log.clone());
                        }
                    },
                }
            }
            self.owner.settings.insert(topic.id, Arc::new(settings));
        }
        let topics: Vec<&Arc<Topic>> = match changed {
            Some(ids) => ids.iter().filter_map(|id| old.topic_by_id(*id)).collect(),
            None => old.topics().collect(),
        };
        for topic in topics.into_iter().filter(|topic| image.topic_by_id(topic.id).is_none()) {
            self.owner.settings.remove(&topic.id);
            for partition in 0..topic.partitions {
                let Some(log) = self.log.as_mut() else { continue };
                let Some(ix) = log.find(topic.id, partition) else { continue };
                log.remove(now, ix, fx);
                // Who waits for more learns that there is none.
                self.log_event(now, LogEvent::Trimmed { ix }, fx);
            }
        }
        if self.log.is_none()
            && let Some(boot) = self.boot.take()
        {
            let mut log = ShardLog::new(&boot, self.config.log_settings());
            log.start(now, new, fx);
            self.log = Some(log);
        }
        self.owner.groups.show(image.clone(), self.log.as_ref());
        self.owner.txns.show(image, self.log.as_ref());
    }

    fn shown(&mut self, fx: &mut Effects) {
        self.not_shown -= 1;
        if self.not_shown == 0
            && let Some(controller) = self.controller.as_mut()
        {
            controller.shown(fx);
        }
    }

    fn drained(&mut self, fx: &mut Effects) {
        self.drained += 1;
        if self.drained == self.shards
            && let Some(log) = self.log.as_mut()
        {
            log.drop_old_generations(fx);
        }
    }

    fn answered(&mut self, now: Time, from: ShardId, token: u64, answer: Answer, fx: &mut Effects) {
        match answer {
            Answer::Produced { parts, durable_ns } => self.produced(now, token, (parts, durable_ns), fx),
            Answer::Fetched { parts, watches } => self.fetched(now, from, token, (parts, watches), fx),
            Answer::Found(parts) => self.found(token, &parts, fx),
            Answer::Visited(visited) if is_own(token) => {
                self.owner.ends.visited(&mut self.owner.groups, token, &visited);
            }
            Answer::Visited(visited) => self.visited(token, visited, fx),
            Answer::Marked(marked) if is_own(token) => {
                self.owner.markers.marked(now, &mut self.owner.txns, token, &marked);
            }
            Answer::Marked(marked) => self.markers_answered(token, &marked, fx),
            Answer::Txn { at, answer } => self.txn_answered(now, token, at, *answer, fx),
            Answer::Group { at, answer } => self.group_answered(now, token, at, *answer, fx),
        }
    }

    fn begin(&mut self, now: Time, conn: ConnId, fx: &mut Effects) -> Option<(u64, Bytes)> {
        let version = self.image.version;
        self.connections.get_mut(&conn)?.next(conn, (now, version), &mut self.metrics, fx)
    }

    /// Begins the requests of a connection that may be begun now.
    fn turn(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        while let Some((request, frame)) = self.begin(now, conn, fx) {
            self.request(now, conn, request, frame, fx);
        }
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.may_go(conn, fx);
        }
    }

    /// Before records are taken: is there still room for them?
    fn judge_space(&mut self, fx: &mut Effects) {
        let taken = self.log.as_ref().map(ShardLog::space_taken).unwrap_or_default();
        let judged = self.space.judge(taken, self.shards);
        if judged.is_err() == self.owner.full.is_some() {
            return;
        }
        let (level, line) = match judged {
            Ok(()) => (LogLevel::Info, "the disk of the data directory has room: records are taken again".to_owned()),
            Err((free, needed)) => (
                LogLevel::Error,
                format!(
                    "the disk of the data directory has {free} bytes left: no records are taken until there are {needed}. Delete records or topics, or give it more space"
                ),
            ),
        };
        self.owner.full = judged.err().map(|(free, needed)| {
            format!("The broker's disk has {free} bytes left; it takes records again from {needed} on. Try again.")
        });
        fx.push(Effect::Log { level, line });
    }

    /// When the input at work came.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Lets a request wait: the token by which answers find it.
    pub(crate) fn wait(&mut self, caller: Caller, wait: Wait) -> u64 {
        self.last_token += 1;
        if let Some(connection) = self.connections.get_mut(&caller.conn) {
            connection.waits(caller.request, self.last_token);
        }
        self.pending.insert(self.last_token, Pending { caller, wait });
        self.last_token
    }

    /// Asks the owner of partitions; the answer comes by token, never from within this call.
    pub(crate) fn call(&mut self, now: Time, owner: ShardId, token: u64, call: Call, fx: &mut Effects) {
        if owner == self.shard {
            if matches!(call, Call::Produce { .. }) {
                self.judge_space(fx);
            }
            let log = self.log.as_mut().expect("requests come after every shard is ready");
            self.owner.call(now, log, owner, token, call, fx);
        } else {
            fx.push(Effect::Mesh { to: owner, msg: MeshMsg::Call { token, call } });
        }
    }

    /// All shards but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let me = self.shard;
        (0..self.shards).map(ShardId).filter(move |to| *to != me)
    }

    /// Asks the controller; the answer comes by token.
    pub(crate) fn change(&mut self, token: u64, change: Change, fx: &mut Effects) {
        match self.controller.as_mut() {
            Some(controller) => controller.change(self.shard, token, change, fx),
            None => fx.push(Effect::Mesh { to: ShardId(0), msg: MeshMsg::Change { token, change } }),
        }
    }

    /// A request has come to its end.
    pub(crate) fn finish(&mut self, caller: Caller, ending: Ending, fx: &mut Effects) {
        self.end(caller.conn, caller.request, ending, fx);
    }

    /// A request cannot be understood: the connection ends, as Kafka does it.
    pub(crate) fn refuse(&mut self, conn: ConnId, request: u64, what: &str, fx: &mut Effects) {
        let Some(connection) = self.connections.get(&conn) else { return };
        self.metrics.connections_refused += 1;
        let line = format!("closing the connection of {}: it sent {what}", connection.peer);
        fx.push(Effect::Log { level: LogLevel::Warn, line });
        self.end(conn, request, Ending::Close, fx);
    }

    fn end(&mut self, conn: ConnId, request: u64, ending: Ending, fx: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.end((conn, request), self.now, ending, (&mut self.pressure, &mut self.metrics), fx);
        if connection.wants_turn() {
            self.turns.push(conn);
        }
    }
}

#[cfg(test)]
mod tests;
