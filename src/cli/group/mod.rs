//! `floe group`: consumer groups of any Kafka broker, of the classic and of the next-generation protocol (KIP-848).

mod describe;
mod reset;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Bootstrap;
use super::client::Cluster;
use super::client::groups;
use super::output::Output;
use crate::problem::Outcome;

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List the groups.
    List(ListArgs),
    /// Show members, what each has, and how far the group is behind in every partition.
    Describe(describe::DescribeArgs),
    /// Move a group's offsets; says what it would do, unless --execute is given.
    ResetOffsets(reset::ResetArgs),
    /// Delete groups without members, with their offsets.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those in this state, such as Stable or Empty.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those of this type: classic, consumer, share, streams.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Print as JSON, one group a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Which.
    #[arg(required = true)]
    groups: Vec<String>,
    /// Do nothing for a group that is not there.
    #[arg(long)]
    if_exists: bool,
    /// Print the result as JSON, one group a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) fn run(command: GroupCommand) -> Outcome {
    match command {
        GroupCommand::List(args) => list(args),
        GroupCommand::Describe(args) => describe::run(args),
        GroupCommand::ResetOffsets(args) => reset::run(args),
        GroupCommand::Delete(args) => delete(args),
    }
}

fn list(args: ListArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    let mut groups = groups::list(&mut cluster)?;
    let wanted =
        |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found));
    groups.retain(|group| wanted(&args.state, &group.state) && wanted(&args.kind, &group.kind));
    let mut output = Output::new();
    if args.json {
        for group in &groups {
            output.json(&json!({
                "group": group.id, "type": group.kind, "state": group.state, "protocol_type": group.protocol_type,
                "coordinator": group.coordinator,
            }))?;
        }
    } else if !groups.is_empty() {
        let rows: Vec<Vec<String>> = groups
            .into_iter()
            .map(|group| vec![group.id, or_dash(group.kind), or_dash(group.state), group.coordinator.to_string()])
            .collect();
        output.table(&["group", "type", "state", "coordinator"], &rows)?;
    }
    output.flush()
}

/// What a broker did not say.
fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn delete(args: DeleteArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    cluster.refresh()?;
    let mut output = Output::new();
    let mut failed = None;
    for name in &args.groups {
        // The others are deleted nevertheless; each failure is told, the last one by whoever called.
        let mut fail = |problem| {
            if let Some(earlier) = failed.replace(problem) {
                eprintln!("error: {earlier}");
            }
        };
        let there = match groups::delete(&mut cluster, name) {
            Ok(there) => there,
            Err(problem) => {
                fail(problem);
                continue;
            }
        };
        if args.json {
            output.json(&json!({"group": name, "deleted": there}))?;
        } else if there {
            output.line(format!("deleted group {name}"))?;
        } else if args.if_exists {
            output.line(format!("there is no group {name}"))?;
        }
        if !there && !args.if_exists {
            fail(groups::no_group(name).next("do nothing about those that are not there with --if-exists"));
        }
    }
    output.flush()?;
    failed.map_or(Ok(()), Err)
}
