//! A small blocking Kafka client for people's commands: bootstrap, metadata, one connection per leader. Works against any broker.
//!
//! One request at a time on each connection: a person's command does not need pipelining, and its errors stay simple to tell.

mod assignor;
pub(super) mod connection;
pub(super) mod consumer;
pub(super) mod groups;
pub(super) mod keys;
pub(super) mod member;
pub(super) mod partitioner;
pub(super) mod position;
pub(super) mod producer;
pub(super) mod record;
pub(super) mod txns;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use floe_wire::errors::ErrorCode;
use floe_wire::ids::TopicId;
use floe_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use self::connection::{Connection, error_of};
use self::keys::ApiKey;
use super::Bootstrap;
use crate::config::listeners;
use crate::problem::{Outcome, Problem};

/// Pause between two tries of something that will soon work (a topic being created, a leader moving).
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What is known of a topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// Its id; zero with brokers that have none.
    pub(super) id: TopicId,
    /// Whether it belongs to the broker itself.
    pub(super) is_internal: bool,
    /// Its partitions in order.
    pub(super) partitions: Vec<Partition>,
}

/// What is known of a partition.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    /// Its number.
    pub(super) index: i32,
    /// Node id of the broker that leads it; -1 when none does.
    pub(super) leader: i32,
    /// Epoch of that leadership; -1 when the broker does not say.
    pub(super) leader_epoch: i32,
    /// Node ids of the brokers that have it.
    pub(super) replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub(super) in_sync: Vec<i32>,
}

/// A broker as the metadata names it.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    /// Host.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
}

/// The brokers behind a bootstrap address, and connections to those that were needed.
#[derive(Debug)]
pub(super) struct Cluster {
    bootstrap: Connection,
    timeout: Duration,
    brokers: HashMap<i32, Broker>,
    controller: i32,
    connections: HashMap<i32, Connection>,
}

impl Cluster {
    /// Connects to the first bootstrap broker that answers.
    pub(super) fn connect(bootstrap: &Bootstrap) -> Outcome<Cluster> {
        let timeout = Duration::from_millis(bootstrap.timeout_ms.max(1));
        let mut last = Problem::usage("--bootstrap is empty").next("give --bootstrap HOST:PORT");
        for address in bootstrap.bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let (host, port) = listeners::host_port(address).map_err(|wrong| {
                Problem::usage(format!("--bootstrap `{address}`: {wrong}")).next("give --bootstrap HOST:PORT")
            })?;
            match Connection::open(&host, port, timeout) {
                Ok(bootstrap) => {
                    return Ok(Cluster {
                        bootstrap,
                        timeout,
                        brokers: HashMap::new(),
                        controller: -1,
                        connections: HashMap::new(),
                    });
                }
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// The connection made first; any broker answers what is not about one partition.
    pub(super) fn any(&mut self) -> &mut Connection {
        &mut self.bootstrap
    }

    /// How long to wait for anything.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The connection to a broker by node id, made when it is first needed.
    pub(super) fn broker(&mut self, node_id: i32) -> Outcome<&mut Connection> {
        if !self.connections.contains_key(&node_id) {
            let broker = self.brokers.get(&node_id).cloned().ok_or_else(|| {
                Problem::new(format!("broker {node_id} is not in the cluster's metadata")).next("try again in a moment")
            })?;
            // The commonest slip with a broker on another host: it can be reached, but not by the name that it tells.
            let connection = Connection::open(&broker.host, broker.port, self.timeout).map_err(|problem| {
                problem.next(format!(
                    "the broker at {} told this address; if it is wrong from here, start that broker with --advertise HOST:PORT (Kafka: advertised.listeners)",
                    self.bootstrap.address()
                ))
            })?;
            self.connections.insert(node_id, connection);
        }
        Ok(self.connections.get_mut(&node_id).expect("inserted above"))
    }

    /// Forgets the connection to a broker after an error on it.
    pub(super) fn drop_broker(&mut self, node_id: i32) {
        self.connections.remove(&node_id);
    }

    /// The connection to the controller, for requests that change topics; needs [`Cluster::refresh`] before.
    pub(super) fn controller(&mut self) -> Outcome<&mut Connection> {
        if self.brokers.contains_key(&self.controller) { self.broker(self.controller) } else { Ok(&mut self.bootstrap) }
    }

    /// Asks for the brokers and nothing else.
    pub(super) fn refresh(&mut self) -> Outcome {
        self.metadata(Some(&[]), false).map(|_| ())
    }

    /// All topics, in the order of names.
    pub(super) fn topics(&mut self) -> Outcome<Vec<Topic>> {
        let mut topics: Vec<Topic> =
            self.metadata(None, false)?.into_iter().filter_map(|(topic, code)| (code == 0).then_some(topic)).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic, waiting (up to the timeout) until every partition has a leader. With `create` the broker may create it.
    pub(super) fn topic(&mut self, name: &str, create: bool) -> Outcome<Topic> {
        let until = Instant::now() + self.timeout;
        loop {
            let (topic, code) =
                self.metadata(Some(&[name]), create)?.into_iter().find(|(topic, _)| topic.name == name).ok_or_else(
                    || self.bootstrap.nonsense(ApiKey::Metadata, "it leaves out the topic that was asked for"),
                )?;
            let error = error_of(code);
            let missing = error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            if code == 0
                && !topic.partitions.is_empty()
                && topic.partitions.iter().all(|partition| partition.leader >= 0)
            {
                return Ok(topic);
            }
            let wait = code == 0 || (error.retriable() && (create || !missing));
            if wait && Instant::now() < until {
                std::thread::sleep(RETRY_PAUSE);
                continue;
            }
            return Err(match error {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => connection::no_topic(name),
                ErrorCode::INVALID_TOPIC_EXCEPTION => Problem::new(format!("`{name}` cannot be the name of a topic"))
                    .next("use letters, digits, `.`, `_` and `-`, at most 249 of them"),
                _ if code == 0 => Problem::new(format!("topic `{name}` has partitions without a leader"))
                    .next(format!("see which: floe topic describe {name}")),
                _ => connection::refused(self.bootstrap.address(), ApiKey::Metadata, code, None),
            });
        }
    }

    /// Several topics by name (`None`: all) with the error code of each; learns the brokers by the way.
    pub(super) fn metadata(&mut self, names: Option<&[&str]>, create: bool) -> Outcome<Vec<(Topic, i16)>> {
        let version = self.bootstrap.version(ApiKey::Metadata, 4, 12)?;
        let request = MetadataRequest {
            topics: names.map(|names| {
                names
                    .iter()
                    .map(|name| MetadataRequestTopic { name: Some((*name).into()), ..MetadataRequestTopic::default() })
                    .collect()
            }),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let answer = self.bootstrap.ask(ApiKey::Metadata, version, &request)?;
        let response: MetadataResponse = answer.decode()?;
        self.controller = response.controller_id;
        self.brokers = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, Broker { host: broker.host.to_string(), port: broker.port as u16 }))
            .collect();
        // A connection to a broker that moved or left is of no use.
        let known = &self.brokers;
        self.connections.retain(|node, _| known.contains_key(node));
        Ok(response
            .topics
            .iter()
            .map(|topic| {
                let mut partitions: Vec<Partition> = topic
                    .partitions
                    .iter()
                    .map(|partition| Partition {
                        index: partition.partition_index,
                        leader: partition.leader_id,
                        leader_epoch: partition.leader_epoch,
                        replicas: partition.replica_nodes.clone(),
                        in_sync: partition.isr_nodes.clone(),
                    })
                    .collect();
                partitions.sort_by_key(|partition| partition.index);
                let name = topic.name.as_deref().unwrap_or_default().to_owned();
                (Topic { name, id: topic.topic_id, is_internal: topic.is_internal, partitions }, topic.error_code)
            })
            .collect())
    }
}
