//! Runs of the whole broker: Kafka clients over the simulated network against [`Shard`]s. Those with groups have consumer groups of both protocols (in one
//! group either or, in runs of mixed ones, both) and compacted topics beside the producers and consumers of the others, those with transactions have
//! transactional producers, readers of committed records, and topics of which nothing is ever deleted.

use floe_engine::ANSWERED;
use floe_engine::config::{BrokerConfig, Values};
use floe_engine::event::ShardId;
use floe_engine::shard::Shard;
use floe_wire::compression::Codec;

use crate::mutant::Fault;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::run::{self, Clientele, Fate, Options, Outcome};
use crate::workload::admin::{Mix, Operator};
use crate::workload::api::ApiKey;
use crate::workload::fetch::{self, Consumer};
use crate::workload::groups;
use crate::workload::groups::plan::{self, Plan};
use crate::workload::groups::portrait::Painter;
use crate::workload::produce::{self, Producer};
use crate::workload::sweep::Sweep;
use crate::workload::topics::{TopicState, Topics};
use crate::workload::txns::ghost::Ghost;
use crate::workload::txns::inspector::Inspector;
use crate::workload::txns::{plan as txn_plan, producer as txn_producer, reader};
use crate::workload::{Clients, Node};
use crate::world::{Happening, World};

/// Does the run of a seed.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut rng = Rng::new(seed);
    let fate = Fate::draw(&mut rng.fork(), &options);
    let clients = KafkaClients::draw(&mut rng.fork(), options.fault);
    run::run(seed, rng, fate, clients, options)
}

/// Does the run of a seed, with groups.
pub fn run_groups(seed: u64, options: Options) -> Outcome {
    with_groups(seed, options, Plan::draw)
}

/// Does the run of a seed, with groups of both protocols at once.
pub fn run_mixed(seed: u64, options: Options) -> Outcome {
    with_groups(seed, options, Plan::draw_mixed)
}

fn with_groups(seed: u64, options: Options, draw: fn(&mut Rng) -> Plan) -> Outcome {
    let mut rng = Rng::new(seed);
    let fate = Fate::draw(&mut rng.fork(), &options);
    let mut clients = KafkaClients::draw(&mut rng.fork(), options.fault);
    clients.topics.compacted_percent = 40;
    clients.producers.truncate(2);
    clients.consumers.truncate(1);
    clients.operations = clients.operations.min(15);
    clients.groups = Some(draw(&mut rng.fork()));
    run::run(seed, rng, fate, clients, options)
}

/// Does the run of a seed, with transactions.
pub fn run_txns(seed: u64, options: Options) -> Outcome {
    let mut rng = Rng::new(seed);
    let fate = Fate::draw(&mut rng.fork(), &options);
    let mut clients = KafkaClients::draw(&mut rng.fork(), options.fault);
    clients.topics.plain = true;
    clients.producers.truncate(1);
    clients.consumers.truncate(1);
    clients.operations = clients.operations.min(8);
    let plan = txn_plan::Plan::draw(&mut rng.fork());
    if !plan.copiers.is_empty() {
        // One to copy, another one for the copies.
        clients.first_topics = clients.first_topics.max(2);
    }
    clients.txns = Some(plan);
    run::run(seed, rng, fate, clients, options)
}

/// Producers, consumers and an operator; perhaps groups, perhaps transactions.
struct KafkaClients {
    /// What is wrong with the broker.
    fault: Option<Fault>,
    clients: Clients,
    topics: Topics,
    producers: Vec<produce::Style>,
    consumers: Vec<fetch::Style>,
    /// Topics made at the beginning.
    first_topics: u32,
    /// The operator's operations after that.
    operations: u32,
    groups: Option<Plan>,
    txns: Option<txn_plan::Plan>,
}

impl KafkaClients {
    fn draw(rng: &mut Rng, fault: Option<Fault>) -> KafkaClients {
        KafkaClients {
            fault,
            clients: Clients::new(rng.fork()),
            topics: Topics::default(),
            producers: (0..rng.range(1, 4)).map(|_| draw_producer(rng)).collect(),
            consumers: (0..rng.range(0, 3)).map(|_| draw_consumer(rng)).collect(),
            first_topics: rng.range(1, 4) as u32,
            operations: rng.range(0, 40) as u32,
            groups: None,
            txns: None,
        }
    }
}

impl Clientele for KafkaClients {
    type Machine = Node;

    fn machine(&self) -> Box<dyn FnMut(ShardId) -> Node> {
        let fault = self.fault;
        Box::new(move |_| Node::new(Shard::default(), fault))
    }

    fn describe_plan(&self, config: &BrokerConfig) -> String {
        let KafkaClients { producers, consumers, first_topics, operations, groups, txns, .. } = self;
        let values = &config.values;
        format!(
            "{values:#?}\n{producers:#?}\n{consumers:#?}\n{groups:#?}\n{txns:#?}\n{first_topics} topics, {operations} \
             operations"
        )
    }

    fn begin(&mut self, world: &mut World<Node>, _oracle: &mut Oracle) {
        for style in &self.producers {
            self.clients.add(world, Box::new(Producer::new(style.clone())));
        }
        for style in self.groups.iter().flat_map(|plan| &plan.members) {
            self.clients.add(world, groups::member(style.clone()));
        }
        for style in &self.consumers {
            self.clients.add(world, Box::new(Consumer::new(style.clone())));
        }
        for style in self.txns.iter().flat_map(|plan| plan.producers.iter().chain(&plan.copiers)) {
            self.clients.add(world, Box::new(txn_producer::Producer::new(style.clone())));
        }
        for style in self.txns.iter().flat_map(|plan| &plan.readers) {
            self.clients.add(world, Box::new(reader::Reader::new(style.clone())));
        }
        if self.txns.as_ref().is_some_and(|plan| plan.ghosts) {
            self.clients.add(world, Box::new(Ghost::default()));
        }
        let answered = |api: ApiKey, weight| if ANSWERED.contains(&(api as i16)) { weight } else { 0 };
        let mut mix = Mix {
            create: 1,
            delete: 1,
            grow: answered(ApiKey::CreatePartitions, 1),
            trim: answered(ApiKey::DeleteRecords, 2),
            configure: answered(ApiKey::IncrementalAlterConfigs, 2),
            lookup: 8,
            look: 2,
        };
        if self.txns.is_some() {
            // The history's rules are for topics of which nothing goes; a look-up may rightly find the end of a transaction, which is no record.
            mix = Mix { delete: 0, trim: 0, configure: 0, lookup: 0, ..mix };
        }
        let operator = Operator::new(mix, self.first_topics, self.operations, 100_000_000);
        self.clients.add(world, Box::new(operator));
    }

    fn happened(&mut self, what: Happening, excused: bool, world: &mut World<Node>, oracle: &mut Oracle) {
        self.clients.refusals_excused = excused;
        let (clients, topics) = (&mut self.clients, &mut self.topics);
        match what {
            Happening::Wake { actor, token } => clients.wake(actor, token, world, oracle, topics),
            Happening::Frame { link, frame } => clients.frame(link, &frame, world, oracle, topics),
            Happening::Closed { link } => clients.closed(link, world, oracle, topics),
            _ => {}
        }
    }

    fn check(&mut self, world: &mut World<Node>, oracle: &mut Oracle) {
        self.clients.check_answers(world, oracle);
    }

    fn booting(&mut self) {}

    fn wind_down(&mut self, winding_down: bool) {
        self.clients.winding_down = winding_down;
    }

    fn probe(&mut self, world: &mut World<Node>) {
        self.clients.add(world, Box::new(Producer::new(probe_producer())));
        self.clients.add(world, Box::new(Consumer::new(probe_consumer())));
        for style in self.groups.iter_mut().flat_map(Plan::probes) {
            self.clients.add(world, groups::member(style));
        }
        if self.txns.is_some() {
            self.clients.add(world, Box::new(txn_producer::Producer::new(txn_plan::Plan::probe())));
        }
        if let Some(style) = self.txns.as_ref().and_then(txn_plan::Plan::last_copier) {
            self.clients.add(world, Box::new(txn_producer::Producer::new(style)));
        }
    }

    fn configure(&self, values: &mut Values) {
        if let Some(plan) = &self.txns {
            values.extend(plan.settings.clone());
        }
        if let Some(plan) = &self.groups {
            values.extend(plan.settings.clone());
        }
    }

    fn quiet_ns(&self) -> u64 {
        let txns_ns = self.txns.as_ref().map_or(0, |_| txn_plan::QUIET_NS);
        self.groups.as_ref().map_or(txns_ns, |_| plan::QUIET_NS)
    }

    fn look(&mut self, world: &mut World<Node>, after: bool) {
        if let Some(plan) = &self.groups {
            self.clients.add(world, Box::new(Painter::new(plan.groups.clone(), after)));
        }
        if self.txns.is_some() {
            self.clients.add(world, Box::new(Inspector::default()));
            self.clients.add(world, Box::new(reader::Reader::new(txn_plan::Plan::last_reader())));
        }
    }

    fn audit(&mut self, world: &mut World<Node>) {
        self.clients.add(world, Box::new(Sweep::new()));
    }

    fn all_done(&self) -> bool {
        self.clients.all_done()
    }

    fn describe_open(&self) -> Vec<String> {
        self.clients.describe_open()
    }

    /// Nothing of a deleted topic stays on disk; what readers of committed records saw breaks no rule.
    fn farewell(&mut self, world: &mut World<Node>, damaged: bool, oracle: &mut Oracle) {
        let gone = self.topics.all().iter().filter(|t| t.state == TopicState::Deleted && !t.id.is_zero());
        let gone: Vec<String> = gone.map(|t| format!("partitions/{}-", t.id.to_hex())).collect();
        let left = world.disk.paths().find(|path| gone.iter().any(|prefix| path.starts_with(prefix)));
        if let Some(path) = left
            && !damaged
        {
            oracle.fail(format!("{path} is of a deleted topic and still there"));
        }
        if !damaged
            && oracle.txns.abandoned == 0
            && let Some(text) = oracle.txns.judge()
        {
            oracle.fail(text);
        }
    }
}

fn draw_producer(rng: &mut Rng) -> produce::Style {
    let idempotent = rng.percent(60);
    let acks = if idempotent { -1 } else { *rng.pick(&[0, 1, 1, -1, -1]) };
    let codec = *rng.pick(&[Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]);
    let version_min = if codec == Codec::Zstd { 7 } else { 3 };
    produce::Style {
        acks,
        idempotent,
        codec,
        version: rng.range(version_min, 13) as i16,
        batches: rng.log_range(5, 250) as u32,
        records_max: rng.log_range(1, 60),
        pause_ns: rng.log_range(100_000, 100_000_000),
        hang_up_percent: if rng.percent(20) { 2 } else { 0 },
    }
}

fn draw_consumer(rng: &mut Rng) -> fetch::Style {
    let limits = fetch::Limits::draw(rng, 50_000);
    fetch::Style {
        version: rng.range(4, 18) as i16,
        session: rng.percent(60),
        limits,
        seek_percent: *rng.pick(&[0, 0, 20]),
        hang_up_percent: if rng.percent(20) { 3 } else { 0 },
        pause_ns: rng.log_range(10_000, 50_000_000),
        fetches: rng.log_range(10, 300) as u32,
    }
}

fn probe_producer() -> produce::Style {
    produce::Style {
        acks: -1,
        idempotent: true,
        codec: Codec::None,
        version: 9,
        batches: 5,
        records_max: 5,
        pause_ns: 1_000_000,
        hang_up_percent: 0,
    }
}

fn probe_consumer() -> fetch::Style {
    let limits = fetch::Limits {
        max_wait_ms: 10,
        min_bytes: 1,
        max_bytes: 1 << 20,
        partition_max_bytes: 1 << 20,
        read_committed: false,
    };
    fetch::Style {
        version: 11,
        session: false,
        limits,
        seek_percent: 0,
        hang_up_percent: 0,
        pause_ns: 1_000_000,
        fetches: 10,
    }
}
