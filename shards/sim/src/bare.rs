//! Runs of the log alone: writers and readers in a private protocol against [`LogNode`]s. Faster than runs of the whole broker, and with
//! far smaller journals and caches, so that laps, settling, carrying and rolling happen all the time.

pub mod batch;
mod client;
pub mod node;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use floe_engine::config::BrokerConfig;
use floe_engine::event::ShardId;
use floe_engine::log::{self, Compaction, LogConfig, LogSettings};
use floe_wire::ids::TopicId;

use crate::mutant::{Fault, Mutant};
use crate::oracle::{Oracle, Tier, Tp};
use crate::rng::Rng;
use crate::run::{self, Clientele, Fate, Options, Outcome};
use crate::world::{Happening, World};
use client::{Client, Question, Role, Writer, judge};
use node::{Catalog, LogNode, Status};

/// Batches of one writer on the way.
const IN_FLIGHT_MAX: usize = 5;
/// A writer to a partition that refuses for good gives up after so many answers.
const REFUSALS_MAX: u32 = 1_000;
/// Bytes of a batch at most: the smallest journal file holds one.
const BATCH_BYTES_MAX: usize = 64_000;
/// A partition may answer for so long in virtual time that there is no room, if no fault excuses it.
const FULL_NS_MAX: u64 = 30_000_000_000;
/// An answer takes at most this long in virtual time.
const ANSWER_NS_MAX: u64 = 60_000_000_000;

/// What runs on each shard.
type Machine = Mutant<LogNode>;

/// How much room a run's journals have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough for laps to take some time.
    Some,
    /// So little, for so many partitions, that it is full most of the time.
    Tiny,
}

/// Does the run of a seed.
pub fn run(seed: u64, room: Room, options: Options) -> Outcome {
    let mut rng = Rng::new(seed ^ 0x006c_6f67);
    let fate = Fate::draw(&mut rng.fork(), &options);
    let clients = LogClients::draw(&mut rng.fork(), room, options.fault);
    run::run(seed, rng, fate, clients, options)
}

/// Writers and readers, one connection each.
struct LogClients {
    /// What is wrong with the log.
    fault: Option<Fault>,
    rng: Rng,
    settings: LogSettings,
    file_sizes_vary: bool,
    catalog: Rc<RefCell<Catalog>>,
    retention: Vec<bool>,
    records_max: u64,
    tps: Vec<Tp>,
    /// By partition: since when every append is answered that there is no room.
    full_since_ns: Vec<Option<u64>>,
    clients: Vec<Client>,
    winding_down: bool,
}

impl LogClients {
    fn draw(rng: &mut Rng, room: Room, fault: Option<Fault>) -> LogClients {
        let (journal_file_bytes, files, partitions_max) = match room {
            Room::Some => (*rng.pick(&[131_072, 262_144, 1 << 20]), rng.range(3, 8), 12),
            Room::Tiny => (*rng.pick(&[65_536, 65_536, 131_072]), rng.range(3, 5), 40),
        };
        let journal_bytes = journal_file_bytes * files;
        let cache_bytes = *rng.pick(&[262_144, 1 << 20, 8 << 20]).max(&(journal_file_bytes * 2));
        let settings = LogSettings {
            journal_bytes,
            journal_file_bytes,
            cache_bytes,
            settle_bytes: rng.log_range(8_192, journal_bytes / 2),
            commit_bytes_max: rng.log_range(16_384, journal_file_bytes / 2),
            commit_wait_us: *rng.pick(&[0, 0, 0, 200]),
            direct_bytes: if rng.percent(60) { rng.log_range(200, 32_768) } else { 0 },
            producer_expiration_ms: 86_400_000,
            retention_check_ms: rng.range(100, 2_000),
            compaction_backoff_ms: rng.log_range(10, 2_000),
            compaction_bytes_max: rng.log_range(1_000, 1 << 20),
            ..LogSettings::default()
        };
        let mut catalog = Catalog::default();
        let mut retention = Vec::new();
        for n in 0..rng.log_range(1, partitions_max) {
            let tier = *rng.pick(&[
                log::Tier::Flushed,
                log::Tier::Flushed,
                log::Tier::Flushed,
                log::Tier::Written,
                log::Tier::Memory,
            ]);
            let keeps = rng.percent(80);
            let config = LogConfig {
                tier,
                segment_bytes: rng.log_range(16_384, 1 << 20),
                segment_ms: *rng.pick(&[300, 2_000, 604_800_000]),
                retention_ms: if keeps || rng.percent(50) { -1 } else { rng.range(300, 5_000) as i64 },
                retention_bytes: if keeps { -1 } else { rng.range(20_000, 300_000) as i64 },
                log_append_time: rng.percent(15),
                delete: true,
                compact: rng.percent(35).then(|| Compaction {
                    dirty_ratio_ppm: *rng.pick(&[0, 0, 300_000]),
                    lag_ms_min: *rng.pick(&[0, 0, 500]),
                    lag_ms_max: *rng.pick(&[i64::MAX, i64::MAX, 1_000]),
                    delete_retention_ms: *rng.pick(&[0, 500, 86_400_000]),
                }),
            };
            let mut id = [7; 16];
            id[8..].copy_from_slice(&(n / 3 + 1).to_be_bytes());
            catalog.partitions.push((TopicId(id), (n % 3) as i32, config));
            retention.push(!keeps);
        }
        LogClients {
            fault,
            // Of a copy, so that everything else of a seed stays what it was.
            file_sizes_vary: matches!(room, Room::Some) && rng.clone().percent(30),
            rng: rng.fork(),
            settings,
            catalog: Rc::new(RefCell::new(catalog)),
            retention,
            records_max: *rng.pick(&[10, 40, 40, 40, 400]),
            tps: Vec::new(),
            full_since_ns: Vec::new(),
            clients: Vec::new(),
            winding_down: false,
        }
    }

    fn add(&mut self, world: &mut World<Machine>, part: usize, role: Role) {
        self.clients.push(Client {
            part,
            role,
            link: None,
            waiting: BTreeMap::new(),
            correlation: 0,
            generation: 0,
            not_before_ns: 0,
        });
        world.wake(self.clients.len() as u32 - 1, 0, self.rng.below(5_000_000));
    }

    fn writer(&mut self, idempotent: bool, left: u32) -> Role {
        Role::Writer(Writer {
            idempotent,
            producer: self.clients.len() as i64 + 1,
            sequence: if self.rng.percent(10) { i32::MAX - 20 } else { 0 },
            place: 0,
            left,
            records_max: self.rng.log_range(1, self.records_max),
            pause_ns: self.rng.log_range(50_000, 40_000_000),
            open: VecDeque::new(),
            refusals: 0,
        })
    }

    fn act(&mut self, me: usize, world: &mut World<Machine>, oracle: &mut Oracle) {
        let next = self.step(me, world, oracle);
        self.clients[me].generation += 1;
        if let Some(after) = next {
            world.wake(me as u32, self.clients[me].generation, after);
        }
    }

    /// Does what there is to do; gives when to be called again.
    fn step(&mut self, me: usize, world: &mut World<Machine>, oracle: &mut Oracle) -> Option<u64> {
        let rng = &mut self.rng;
        let client = &mut self.clients[me];
        let now_ns = world.now_ns();
        if client.is_done() {
            return None;
        }
        if now_ns < client.not_before_ns {
            return Some(client.not_before_ns - now_ns);
        }
        if let Role::Audit { left, at: None, .. } = &mut client.role
            && client.waiting.is_empty()
        {
            client.part = left.pop()?;
            if let Some(link) = client.link.take() {
                world.close(link);
            }
        }
        if client.link.is_none() {
            let shard = ShardId((client.part % world.shards().max(1) as usize) as u16);
            client.link = world.connect_to(shard);
            if client.link.is_none() {
                if let Role::Audit { left, at: None, .. } = &mut client.role {
                    left.push(client.part);
                }
                return Some(5_000_000);
            }
        }
        let part = client.part;
        let tp = self.tps[part];
        match &mut client.role {
            Role::Writer(writer) => {
                if self.winding_down {
                    writer.left = 0;
                }
                if writer.left > 0 && writer.open.len() < IN_FLIGHT_MAX {
                    writer.left -= 1;
                    writer.make(tp, me as u64, rng, world, oracle);
                }
                let blocked = writer.idempotent && writer.open.iter().any(|b| b.sent.is_some()) && {
                    let unsent = writer.open.iter().position(|b| b.sent.is_none()).unwrap_or(usize::MAX);
                    writer.open.iter().skip(unsent).any(|b| b.sent.is_some())
                };
                let pause_ns = writer.pause_ns;
                if !blocked {
                    let unsent: Vec<(usize, Bytes)> = writer
                        .open
                        .iter()
                        .enumerate()
                        .filter(|(_, b)| b.sent.is_none())
                        .map(|(i, b)| (i, b.bytes.clone()))
                        .collect();
                    for (i, bytes) in unsent {
                        let correlation = client.ask(part, Question::Append, &bytes, world, oracle, tp);
                        if let Role::Writer(writer) = &mut client.role {
                            writer.open[i].sent = Some(correlation);
                        }
                    }
                }
                // With nothing more to send, an answer or a broken connection comes next.
                let Role::Writer(writer) = &client.role else { return None };
                let busy = writer.open.len() == IN_FLIGHT_MAX || writer.left == 0;
                let sent = writer.open.iter().all(|b| b.sent.is_some());
                (!(busy && sent)).then(|| rng.range(20_000, pause_ns.max(30_000)))
            }
            Role::Reader { left, position } => {
                if self.winding_down {
                    *left = 0;
                    return None;
                }
                if !client.waiting.is_empty() {
                    return None;
                }
                *left -= 1;
                let end = oracle.known_high_watermark(tp);
                let question = match rng.below(20) {
                    0 => Question::Offsets,
                    1 if self.retention[part] || rng.percent(50) => {
                        Question::Delete { before: rng.below(end as u64 + 1) as i64 }
                    }
                    2..=4 => {
                        let age_ms = now_ns / 1_000_000;
                        Question::Lookup { timestamp_ms: world.wall_ms() + 2_000 - rng.below(age_ms + 4_000) as i64 }
                    }
                    5..=9 => {
                        let low = oracle.log_start_allowed(tp).min(end);
                        Question::Read { from: rng.range(low as u64, end as u64) as i64 }
                    }
                    _ => Question::Read { from: *position },
                };
                let bytes = match question {
                    Question::Read { from } => {
                        [&from.to_be_bytes()[..], &(rng.log_range(1, 1 << 20) as u32).to_be_bytes()].concat()
                    }
                    Question::Delete { before } => {
                        oracle.deleting(tp, before);
                        before.to_be_bytes().to_vec()
                    }
                    Question::Lookup { timestamp_ms } => timestamp_ms.to_be_bytes().to_vec(),
                    Question::Offsets | Question::Append => Vec::new(),
                };
                client.ask(part, question, &bytes, world, oracle, tp);
                None
            }
            Role::Audit { at, .. } => {
                if !client.waiting.is_empty() {
                    return None;
                }
                let (question, bytes) = match *at {
                    None => (Question::Offsets, Vec::new()),
                    Some((from, _)) => {
                        let max = rng.log_range(1, 1 << 20) as u32;
                        (Question::Read { from }, [&from.to_be_bytes()[..], &max.to_be_bytes()].concat())
                    }
                };
                client.ask(part, question, &bytes, world, oracle, tp);
                None
            }
        }
    }

    fn answered(&mut self, me: usize, frame: &Bytes, excused: bool, world: &mut World<Machine>, oracle: &mut Oracle) {
        let client = &mut self.clients[me];
        let correlation = u32::from_be_bytes(frame[0..4].try_into().expect("4 bytes"));
        let status = Status::from_u8(frame[4]);
        let value = |i: usize| {
            frame.get(5 + i * 8..13 + i * 8).map_or(-1, |b| i64::from_be_bytes(b.try_into().expect("8 bytes")))
        };
        let Some(waiting) = client.waiting.remove(&correlation) else {
            return oracle.fail(format!("client {me}: an answer to nothing"));
        };
        let tp = self.tps[waiting.part];
        let what = waiting.what;
        if status == Status::Storage && !excused {
            return oracle.fail(format!("{tp}: {what:?} is refused although no injected fault explains it"));
        }
        if status == Status::Other {
            return oracle.fail(format!("{tp}: {what:?} failed"));
        }
        let now_ns = world.now_ns();
        world.trace.event(now_ns, 21, &[u64::from(correlation), status as u64], || {
            format!("client {me} is answered #{correlation}: {what:?} of {tp} {status:?}")
        });
        client.not_before_ns = world.now_ns() + if status == Status::Ok { 0 } else { 20_000_000 };
        let refused = matches!(status, Status::Storage | Status::Full);
        match what {
            Question::Append => {
                let full = &mut self.full_since_ns[waiting.part];
                match status {
                    Status::Ok => *full = None,
                    Status::Full if excused => *full = None,
                    Status::Full if now_ns - *full.get_or_insert(now_ns) > FULL_NS_MAX => {
                        oracle.fail(format!(
                            "liveness: {tp}: no append has found room for {} s",
                            FULL_NS_MAX / 1_000_000_000
                        ));
                    }
                    _ => {}
                }
                let winding_down = self.winding_down;
                client.appended(tp, correlation, status, value(0), value(1), winding_down, oracle, me);
            }
            Question::Offsets if status == Status::Ok => {
                oracle.log_start(tp, &waiting.expected, value(0));
                oracle.high_watermark(tp, &waiting.expected, value(1));
                if let Role::Audit { at, .. } = &mut client.role {
                    *at = (value(0) < value(1)).then(|| (value(0), value(1)));
                }
            }
            Question::Read { from } if status == Status::Ok => {
                oracle.log_start(tp, &waiting.expected, value(0));
                oracle.high_watermark(tp, &waiting.expected, value(1));
                let end = value(1);
                match judge(tp, from, end, &frame[21..], oracle) {
                    Ok(next) => {
                        let due = waiting.expected.high_watermark > from
                            && !oracle.has_lost_since(tp, &waiting.expected)
                            && !oracle.may_end_in_a_gap(tp);
                        if next == from && due {
                            let high = waiting.expected.high_watermark;
                            oracle
                                .fail(format!("{tp}: nothing read from {from}, although {high} is the high watermark"));
                        }
                        match &mut client.role {
                            Role::Reader { position, .. } => *position = next,
                            Role::Audit { at, .. } => {
                                *at = at.filter(|(_, end)| from < next && next < *end).map(|(_, end)| (next, end));
                                if at.is_none() && oracle.is_compacted(tp) {
                                    oracle.all_shown(tp);
                                }
                            }
                            Role::Writer(_) => {}
                        }
                    }
                    Err(text) => oracle.fail(format!("{tp}: read from {from}: {text}")),
                }
            }
            Question::Read { from } if status == Status::OutOfRange => {
                oracle.out_of_range(tp, &waiting.expected, from);
                match &mut client.role {
                    Role::Reader { position, .. } => *position = value(0).max(0),
                    Role::Audit { at, .. } => *at = Some((value(0), value(1))).filter(|(a, b)| a < b),
                    Role::Writer(_) => {}
                }
            }
            Question::Delete { before } => match status {
                Status::Ok if value(0) < before => {
                    oracle.fail(format!("{tp}: records before {before} deleted, the log starts at {}", value(0)));
                }
                Status::Ok if !oracle.has_lost_since(tp, &waiting.expected) => oracle.deleted(tp, value(0)),
                Status::OutOfRange if !oracle.may_have_lost(tp) => {
                    oracle.fail(format!("{tp}: delete before {before} is out of range"));
                }
                _ => {}
            },
            Question::Lookup { timestamp_ms } if status == Status::Ok => {
                let answer = (value(0) >= 0).then(|| (value(0), value(1)));
                oracle.looked_up(tp, &waiting.expected, timestamp_ms, answer);
            }
            _ => {}
        }
        if refused && let Role::Audit { at, attempts, .. } = &mut client.role {
            *attempts += 1;
            // Try again from the start of the partition, or leave it for good.
            *at = None;
            if *attempts < 10
                && let Role::Audit { left, .. } = &mut client.role
            {
                left.push(waiting.part);
            }
        }
    }
}

impl Clientele for LogClients {
    type Machine = Machine;

    fn machine(&self) -> Box<dyn FnMut(ShardId) -> Machine> {
        let (catalog, settings, fault) = (self.catalog.clone(), self.settings.clone(), self.fault);
        let vary = self.file_sizes_vary;
        Box::new(move |_| Mutant::new(LogNode::new(catalog.clone(), settings.clone(), vary), fault))
    }

    fn describe_plan(&self, _config: &BrokerConfig) -> String {
        let vary = if self.file_sizes_vary { "journal files of a size of their own in every start\n" } else { "" };
        format!("{vary}{:#?}\n{:#?}", self.settings, self.catalog.borrow().partitions)
    }

    fn begin(&mut self, world: &mut World<Machine>, oracle: &mut Oracle) {
        oracle.lookups_name_batches = true;
        let configs: Vec<LogConfig> = self.catalog.borrow().partitions.iter().map(|p| p.2.clone()).collect();
        for (config, retention) in configs.iter().zip(&self.retention) {
            let tier = match config.tier {
                log::Tier::Flushed => Tier::Flushed,
                log::Tier::Written => Tier::Written,
                log::Tier::Memory => Tier::Memory,
            };
            // One "topic" of the oracle per partition: each has settings of its own here.
            let topic = oracle.add_topic(tier, *retention, config.log_append_time);
            if config.compact.is_some() {
                oracle.allow_compaction(topic);
            }
            self.tps.push(Tp { topic, partition: 0 });
            self.full_since_ns.push(None);
        }
        for part in 0..self.tps.len() {
            for _ in 0..self.rng.range(1, 3) {
                let (idempotent, left) = (self.rng.percent(70), self.rng.log_range(5, 300) as u32);
                let role = self.writer(idempotent, left);
                self.add(world, part, role);
            }
            if self.rng.percent(60) {
                let left = self.rng.log_range(5, 200) as u32;
                self.add(world, part, Role::Reader { left, position: 0 });
            }
        }
    }

    fn happened(&mut self, what: Happening, excused: bool, world: &mut World<Machine>, oracle: &mut Oracle) {
        match what {
            Happening::Wake { actor, token } if self.clients[actor as usize].generation == token => {
                self.act(actor as usize, world, oracle);
            }
            Happening::Frame { link, frame } => {
                if let Some(me) = self.clients.iter().position(|c| c.link == Some(link)) {
                    self.answered(me, &frame, excused, world, oracle);
                    self.act(me, world, oracle);
                }
            }
            Happening::Closed { link } => {
                if let Some(me) = self.clients.iter().position(|c| c.link == Some(link)) {
                    let client = &mut self.clients[me];
                    client.link = None;
                    client.waiting.clear();
                    match &mut client.role {
                        Role::Writer(writer) => writer.open.iter_mut().for_each(|b| b.sent = None),
                        Role::Reader { .. } => {}
                        Role::Audit { left, at, .. } => {
                            left.push(client.part);
                            *at = None;
                        }
                    }
                    self.act(me, world, oracle);
                }
            }
            _ => {}
        }
    }

    fn check(&mut self, world: &mut World<Machine>, oracle: &mut Oracle) {
        for (me, client) in self.clients.iter().enumerate() {
            if client.link.is_some()
                && let Some(waiting) = client.waiting.values().next()
                && world.now_ns() - waiting.sent_ns > ANSWER_NS_MAX
            {
                let (what, since) = (waiting.what, waiting.sent_ns / 1_000_000);
                oracle.fail(format!("deadlock: client {me} waits for {what:?} since {since} ms"));
            }
        }
    }

    fn booting(&mut self) {
        self.catalog.borrow_mut().drained.clear();
        self.full_since_ns.fill(None);
    }

    fn wind_down(&mut self, winding_down: bool) {
        self.winding_down = winding_down;
    }

    fn probe(&mut self, world: &mut World<Machine>) {
        for part in 0..self.tps.len() {
            let role = self.writer(true, 3);
            self.add(world, part, role);
        }
    }

    fn audit(&mut self, world: &mut World<Machine>) {
        let left = (0..self.tps.len()).collect();
        self.add(world, 0, Role::Audit { left, at: None, attempts: 0 });
    }

    fn all_done(&self) -> bool {
        self.clients.iter().all(Client::is_done)
    }

    fn describe_open(&self) -> Vec<String> {
        let open = self.clients.iter().enumerate().filter(|(_, c)| !c.is_done());
        open.map(|(me, client)| {
            let what = match &client.role {
                Role::Writer(w) => format!("writer, {} open, {} to go", w.open.len(), w.left),
                Role::Reader { left, .. } => format!("reader, {left} to go"),
                Role::Audit { left, at, .. } => format!("audit at {at:?} of {}, {} to go", client.part, left.len()),
            };
            format!("client {me}: {what} ({} requests open)", client.waiting.len())
        })
        .collect()
    }

    fn farewell(&mut self, _world: &mut World<Machine>, _damaged: bool, _oracle: &mut Oracle) {}
}
