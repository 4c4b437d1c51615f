//! `floe txn`: transactions of any Kafka broker: which there are, what one holds, and how one that hangs is ended.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Bootstrap;
use super::client::{Cluster, txns};
use super::output::Output;
use crate::problem::Outcome;

#[derive(Debug, Subcommand)]
pub(super) enum TxnCommand {
    /// List the transactional ids.
    List(ListArgs),
    /// Show the state of transactional ids, with the partitions that their transactions write to.
    Describe(DescribeArgs),
    /// Abort a transaction in one partition, past its coordinator: for one that hangs.
    Abort(AbortArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  floe txn list --state Ongoing --longer-than-ms 60000")]
pub(super) struct ListArgs {
    /// Only those in this state, such as Ongoing or CompleteCommit.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those whose transaction began longer ago than this, in milliseconds.
    #[arg(long, value_name = "MS")]
    longer_than_ms: Option<i64>,
    /// Print as JSON, one transactional id a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// Which.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Print as JSON, one transactional id a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Aborting is safe only when the transaction's coordinator does not know of it any more: see floe txn list.
An offset that has none open is answered with those that have."
)]
pub(super) struct AbortArgs {
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The partition.
    #[arg(long)]
    partition: i32,
    /// The offset at which the transaction begins in the partition.
    #[arg(long, value_name = "OFFSET")]
    start_offset: i64,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) fn run(command: TxnCommand) -> Outcome {
    match command {
        TxnCommand::List(args) => list(args),
        TxnCommand::Describe(args) => describe(args),
        TxnCommand::Abort(args) => abort(args),
    }
}

fn list(args: ListArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let found = txns::list(&mut cluster, args.state.as_deref(), args.longer_than_ms)?;
    let mut output = Output::new();
    if args.json {
        for txn in &found {
            output.json(&json!({
                "transactional_id": txn.id, "state": txn.state, "producer_id": txn.producer_id,
                "coordinator": txn.coordinator,
            }))?;
        }
    } else if !found.is_empty() {
        let row = |txn: txns::Listed| vec![txn.id, txn.state, txn.producer_id.to_string(), txn.coordinator.to_string()];
        let rows: Vec<Vec<String>> = found.into_iter().map(row).collect();
        output.table(&["transactional id", "state", "producer", "coordinator"], &rows)?;
    }
    output.flush()
}

fn describe(args: DescribeArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let mut output = Output::new();
    for id in &args.ids {
        let txn = txns::describe(&mut cluster, id)?;
        if args.json {
            output.json(&json!({
                "transactional_id": id, "state": txn.state, "producer_id": txn.producer_id,
                "producer_epoch": txn.producer_epoch, "timeout_ms": txn.timeout_ms, "start_ms": txn.start_ms,
                "coordinator": txn.coordinator, "partitions": txn.partitions,
            }))?;
            continue;
        }
        let since = if txn.start_ms >= 0 { format!("  began {} ms after 1970", txn.start_ms) } else { String::new() };
        output.line(format!(
            "transactional id {id}  state {}  producer {} epoch {}  timeout {} ms  coordinator {}{since}",
            txn.state, txn.producer_id, txn.producer_epoch, txn.timeout_ms, txn.coordinator
        ))?;
        for (topic, partitions) in &txn.partitions {
            for partition in partitions {
                output.line(format!("  {topic}-{partition}"))?;
            }
        }
    }
    output.flush()
}

fn abort(args: AbortArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let producer = txns::abort(&mut cluster, &args.topic, args.partition, args.start_offset)?;
    let mut output = Output::new();
    output.line(format!(
        "aborted the transaction of producer {} epoch {} in {}-{}, open since offset {}",
        producer.producer_id, producer.producer_epoch, args.topic, args.partition, args.start_offset
    ))?;
    output.flush()
}
