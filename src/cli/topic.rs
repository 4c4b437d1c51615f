//! `floe topic`: create, list, describe, alter and delete topics of any Kafka broker.

use clap::{Args, Subcommand};
use floe_wire::errors::ErrorCode;
use floe_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use floe_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use floe_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use floe_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use floe_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use serde_json::json;

use super::Bootstrap;
use super::client::connection::{error_of, no_topic};
use super::client::keys::ApiKey;
use super::client::{Cluster, Topic, consumer};
use super::output::Output;
use crate::problem::{Outcome, Problem};

/// Kafka's number for "this resource is a topic".
const RESOURCE_TOPIC: i8 = 2;

/// Kafka's sources of a setting's value, from 1.
const SOURCES: &[&str] = &["topic", "broker, dynamic", "brokers' default, dynamic", "broker's start", "default"];

#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Create a topic.
    Create(CreateArgs),
    /// List the topics.
    List(ListArgs),
    /// Show partitions, leaders, offsets and settings of topics.
    Describe(DescribeArgs),
    /// Change settings of a topic, or give it more partitions.
    Alter(AlterArgs),
    /// Delete topics with all their records.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  floe topic create orders
  floe topic create orders --partitions 12 --config retention.ms=86400000
  floe topic create metrics --config floe.durability=memory --if-not-exists

The settings there are: floe topic describe TOPIC --all-configs")]
pub(super) struct CreateArgs {
    /// Its name: letters, digits, `.`, `_`, `-`.
    topic: String,
    /// How many partitions; the broker's num.partitions when not given.
    #[arg(short, long, value_name = "N")]
    partitions: Option<i32>,
    /// On how many brokers; the broker's default when not given.
    #[arg(long, value_name = "N")]
    replication_factor: Option<i16>,
    /// A setting, such as retention.ms=3600000; may be given several times.
    #[arg(short, long = "config", value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Do nothing when the topic is there already.
    #[arg(long)]
    if_not_exists: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Also those that belong to the broker itself.
    #[arg(long)]
    internal: bool,
    /// Print as JSON, one topic a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// Which; all when none is named.
    topics: Vec<String>,
    /// Leave the first and the next offset of each partition out (they take a request to every leader).
    #[arg(long)]
    no_offsets: bool,
    /// Show all settings, not only those that were set for the topic.
    #[arg(long)]
    all_configs: bool,
    /// Print as JSON, one topic a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  floe topic alter orders --config retention.ms=3600000 --config max.message.bytes=4194304
  floe topic alter orders --delete-config retention.ms
  floe topic alter orders --partitions 24

The settings there are: floe topic describe TOPIC --all-configs")]
pub(super) struct AlterArgs {
    /// Which.
    topic: String,
    /// A setting to change, such as retention.ms=3600000; may be given several times.
    #[arg(short, long = "config", value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// A setting to bring back to its default; may be given several times.
    #[arg(long = "delete-config", value_name = "KEY")]
    delete_config: Vec<String>,
    /// How many partitions it shall have; never fewer than it has.
    #[arg(short, long, value_name = "N")]
    partitions: Option<i32>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Which.
    #[arg(required = true)]
    topics: Vec<String>,
    /// Do nothing for a topic that is not there.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) fn run(command: TopicCommand) -> Outcome {
    match command {
        TopicCommand::Create(args) => create(args),
        TopicCommand::List(args) => list(args),
        TopicCommand::Describe(args) => describe(args),
        TopicCommand::Alter(args) => alter(args),
        TopicCommand::Delete(args) => delete(args),
    }
}

/// Reads `KEY=VALUE`.
fn pair(text: &str) -> Outcome<(&str, &str)> {
    text.split_once('=').map(|(name, value)| (name.trim(), value.trim())).ok_or_else(|| {
        Problem::usage(format!("--config `{text}` has no `=`")).next("write --config retention.ms=3600000")
    })
}

fn timeout_ms(cluster: &Cluster) -> i32 {
    cluster.timeout().as_millis().min(i32::MAX as u128) as i32
}

fn create(args: CreateArgs) -> Outcome {
    let configs: Vec<(&str, &str)> = args.config.iter().map(|text| pair(text)).collect::<Outcome<_>>()?;
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    cluster.refresh()?;
    let timeout_ms = timeout_ms(&cluster);
    let connection = cluster.controller()?;
    // Before version 4 a broker does not choose partitions and replicas itself (KIP-464).
    let version = connection.version(ApiKey::CreateTopics, 2, 7)?;
    let unsaid = if version < 4 { 1 } else { -1 };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: args.topic.as_str().into(),
            num_partitions: args.partitions.unwrap_or(unsaid as i32),
            replication_factor: args.replication_factor.unwrap_or(unsaid),
            configs: configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) })
                .collect(),
            ..CreatableTopic::default()
        }],
        timeout_ms,
        ..CreateTopicsRequest::default()
    };
    let answer = connection.ask(ApiKey::CreateTopics, version, &request)?;
    let response: CreateTopicsResponse = answer.decode()?;
    let mut output = Output::new();
    for topic in &response.topics {
        let there = error_of(topic.error_code) == ErrorCode::TOPIC_ALREADY_EXISTS;
        if there && args.if_not_exists {
            if args.json {
                output.json(&json!({"topic": topic.name, "created": false}))?;
            } else {
                output.line(format!("topic {} is there already", topic.name))?;
            }
        } else if topic.error_code != 0 {
            let problem = answer.refused(topic.error_code, topic.error_message.as_deref());
            return Err(if there {
                problem.next("leave it as it is with --if-not-exists, or change it with `floe topic alter`")
            } else {
                problem
            });
        } else if args.json {
            output.json(&json!({"topic": topic.name, "created": true, "partitions": topic.num_partitions, "id": topic.topic_id.to_hex()}))?;
        } else if topic.num_partitions > 0 {
            output.line(format!(
                "created topic {} with {}",
                topic.name,
                counted(topic.num_partitions as usize, "partition")
            ))?;
        } else {
            output.line(format!("created topic {}", topic.name))?;
        }
    }
    output.flush()
}

pub(super) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn list(args: ListArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let topics = cluster.topics()?;
    let mut output = Output::new();
    for topic in topics.iter().filter(|topic| args.internal || !topic.is_internal) {
        if args.json {
            output.json(&json!({
                "topic": topic.name, "id": topic.id.to_hex(), "partitions": topic.partitions.len(), "internal": topic.is_internal,
            }))?;
        } else {
            output.line(&topic.name)?;
        }
    }
    output.flush()
}

/// A topic's setting as a broker tells it.
struct Setting {
    name: String,
    value: Option<String>,
    source: String,
    of_topic: bool,
}

fn describe(args: DescribeArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let topics = if args.topics.is_empty() {
        cluster.topics()?
    } else {
        args.topics.iter().map(|name| cluster.topic(name, false)).collect::<Outcome<Vec<Topic>>>()?
    };
    let mut output = Output::new();
    for topic in topics {
        let settings = settings(&mut cluster, &topic.name)?;
        let shown: Vec<&Setting> = settings.iter().filter(|setting| args.all_configs || setting.of_topic).collect();
        let ranges = if args.no_offsets { Default::default() } else { consumer::ranges(&mut cluster, &topic)? };
        if args.json {
            let partitions: Vec<_> = topic
                .partitions
                .iter()
                .map(|p| {
                    let range = ranges.get(&p.index);
                    json!({
                        "partition": p.index, "leader": p.leader, "leader_epoch": p.leader_epoch, "replicas": p.replicas, "in_sync": p.in_sync,
                        "start_offset": range.map(|r| r.0), "end_offset": range.map(|r| r.1),
                    })
                })
                .collect();
            let configs: serde_json::Map<_, _> =
                shown.iter().map(|s| (s.name.clone(), json!({"value": s.value, "source": s.source}))).collect();
            output.json(&json!({
                "topic": topic.name, "id": topic.id.to_hex(), "internal": topic.is_internal, "partitions": partitions, "configs": configs,
            }))?;
            continue;
        }
        output.line(format!(
            "topic {}  id {}  {}",
            topic.name,
            topic.id.to_hex(),
            counted(topic.partitions.len(), "partition")
        ))?;
        if !shown.is_empty() {
            let rows: Vec<Vec<String>> = shown
                .iter()
                .map(|s| vec![format!("  {}", s.name), s.value.clone().unwrap_or_default(), s.source.clone()])
                .collect();
            output.table(&["  setting", "value", "source"], &rows)?;
        }
        let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let rows: Vec<Vec<String>> = topic
            .partitions
            .iter()
            .map(|p| {
                let (start, end) = ranges.get(&p.index).copied().unwrap_or((-1, -1));
                let offset = |offset: i64| if offset < 0 { "-".to_owned() } else { offset.to_string() };
                let held = if start < 0 { "-".to_owned() } else { (end - start).to_string() };
                vec![
                    format!("  {}", p.index),
                    p.leader.to_string(),
                    ids(&p.replicas),
                    ids(&p.in_sync),
                    offset(start),
                    offset(end),
                    held,
                ]
            })
            .collect();
        output.table(
            &["  partition", "leader", "replicas", "in sync", "first offset", "next offset", "offsets held"],
            &rows,
        )?;
    }
    output.flush()
}

fn settings(cluster: &mut Cluster, topic: &str) -> Outcome<Vec<Setting>> {
    let connection = cluster.any();
    // A broker that shows no settings can still tell about partitions and offsets.
    let Ok(version) = connection.version(ApiKey::DescribeConfigs, 1, 4) else { return Ok(Vec::new()) };
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: topic.into(),
            ..DescribeConfigsResource::default()
        }],
        ..DescribeConfigsRequest::default()
    };
    let answer = connection.ask(ApiKey::DescribeConfigs, version, &request)?;
    let response: DescribeConfigsResponse = answer.decode()?;
    let mut settings = Vec::new();
    for result in &response.results {
        if result.error_code != 0 {
            return Err(answer.refused(result.error_code, result.error_message.as_deref()));
        }
        settings.extend(result.configs.iter().map(|config| {
            Setting {
                name: config.name.to_string(),
                value: config.value.as_deref().map(str::to_owned),
                source: usize::try_from(config.config_source - 1)
                    .ok()
                    .and_then(|i| SOURCES.get(i))
                    .unwrap_or(&"unknown")
                    .to_string(),
                of_topic: config.config_source == 1,
            }
        }));
    }
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(settings)
}

fn alter(args: AlterArgs) -> Outcome {
    if args.config.is_empty() && args.delete_config.is_empty() && args.partitions.is_none() {
        return Err(
            Problem::usage("nothing to change").next("give --config KEY=VALUE, --delete-config KEY or --partitions N")
        );
    }
    // Kafka's operations on a setting: 0 sets it, 1 brings the default back.
    let mut changes: Vec<(&str, i8, Option<&str>)> = Vec::new();
    for text in &args.config {
        let (name, value) = pair(text)?;
        changes.push((name, 0, Some(value)));
    }
    changes.extend(args.delete_config.iter().map(|name| (name.trim(), 1, None)));
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    cluster.refresh()?;
    let mut output = Output::new();
    if !changes.is_empty() {
        alter_configs(&mut cluster, &args.topic, &changes)?;
        output.line(format!("changed {} of topic {}", counted(changes.len(), "setting"), args.topic))?;
    }
    if let Some(partitions) = args.partitions {
        grow(&mut cluster, &args.topic, partitions)?;
        output.line(format!("topic {} has {} now", args.topic, counted(partitions as usize, "partition")))?;
    }
    output.flush()
}

fn alter_configs(cluster: &mut Cluster, topic: &str, changes: &[(&str, i8, Option<&str>)]) -> Outcome {
    let connection = cluster.controller()?;
    let version = connection.version(ApiKey::IncrementalAlterConfigs, 0, 1)?;
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: topic.into(),
            configs: changes
                .iter()
                .map(|(name, operation, value)| AlterableConfig {
                    name: (*name).into(),
                    config_operation: *operation,
                    value: value.map(Into::into),
                })
                .collect(),
        }],
        ..IncrementalAlterConfigsRequest::default()
    };
    let answer = connection.ask(ApiKey::IncrementalAlterConfigs, version, &request)?;
    let response: IncrementalAlterConfigsResponse = answer.decode()?;
    match response.responses.iter().find(|response| response.error_code != 0) {
        Some(failed) if error_of(failed.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(no_topic(topic)),
        Some(failed) => {
            let problem = answer.refused(failed.error_code, failed.error_message.as_deref());
            Err(problem.next(format!("see the settings there are: floe topic describe --all-configs {topic}")))
        }
        None => Ok(()),
    }
}

fn grow(cluster: &mut Cluster, topic: &str, partitions: i32) -> Outcome {
    let timeout_ms = timeout_ms(cluster);
    let connection = cluster.controller()?;
    let version = connection.version(ApiKey::CreatePartitions, 0, 3)?;
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: topic.into(), count: partitions, assignments: None }],
        timeout_ms,
        ..CreatePartitionsRequest::default()
    };
    let answer = connection.ask(ApiKey::CreatePartitions, version, &request)?;
    let response: CreatePartitionsResponse = answer.decode()?;
    match response.results.iter().find(|result| result.error_code != 0) {
        Some(failed) if error_of(failed.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(no_topic(topic)),
        Some(failed) => Err(answer
            .refused(failed.error_code, failed.error_message.as_deref())
            .next(format!("see how many it has: floe topic describe {topic}; the number can only grow"))),
        None => Ok(()),
    }
}

fn delete(args: DeleteArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    cluster.refresh()?;
    let timeout_ms = timeout_ms(&cluster);
    let connection = cluster.controller()?;
    let version = connection.version(ApiKey::DeleteTopics, 1, 6)?;
    let request = DeleteTopicsRequest {
        // Version 6 moved the names into a list of their own (topic ids, KIP-516); each version sends the one it has.
        topics: args
            .topics
            .iter()
            .map(|name| DeleteTopicState { name: Some(name.as_str().into()), ..DeleteTopicState::default() })
            .collect(),
        topic_names: args.topics.iter().map(|name| name.as_str().into()).collect(),
        timeout_ms,
    };
    let answer = connection.ask(ApiKey::DeleteTopics, version, &request)?;
    let response: DeleteTopicsResponse = answer.decode()?;
    let mut output = Output::new();
    let mut failed = None;
    for result in &response.responses {
        let name = result.name.as_deref().unwrap_or_default();
        let missing = error_of(result.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        if result.error_code == 0 {
            output.line(format!("deleted topic {name}"))?;
        } else if missing && args.if_exists {
            output.line(format!("there is no topic {name}"))?;
        } else if missing {
            failed = Some(
                Problem::new(format!("there is no topic `{name}`"))
                    .next("see what there is: floe topic list")
                    .next("do nothing about those that are not there with --if-exists"),
            );
        } else {
            let problem = answer.refused(result.error_code, result.error_message.as_deref());
            failed = Some(problem.next(format!("about topic `{name}`; see what there is: floe topic list")));
        }
    }
    output.flush()?;
    failed.map_or(Ok(()), Err)
}
