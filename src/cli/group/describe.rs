//! `floe group describe`: members and lag of groups.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::super::Bootstrap;
use super::super::client::groups::{self, Committed, Group, Partitions};
use super::super::client::{Cluster, consumer};
use super::super::output::Output;
use super::super::topic::counted;
use super::or_dash;
use crate::problem::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "The lag is the number of offsets between the committed one and the partition's end.

Examples:
  floe group describe orders
  floe group describe --json | jq 'select(.lag > 1000) | .group'")]
pub(in crate::cli) struct DescribeArgs {
    /// Which; all consumer groups when none is named.
    groups: Vec<String>,
    /// Print as JSON, one group a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// Where a group is in a partition.
struct Progress {
    topic: String,
    partition: i32,
    committed: Option<Committed>,
    /// The next offset to be written; `None` when the topic or its leader is not there.
    end: Option<i64>,
    /// Place of the member that has it.
    member: Option<usize>,
}

impl Progress {
    fn lag(&self) -> Option<i64> {
        // A committed offset past the end (an unclean loss, a topic made again) is no negative lag.
        Some((self.end? - self.committed.as_ref()?.offset).max(0))
    }
}

pub(super) fn run(args: DescribeArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    cluster.refresh()?;
    let mut found = Vec::new();
    if args.groups.is_empty() {
        for listed in groups::list(&mut cluster)? {
            // Share and streams groups have requests of their own; one that is gone since the list is none of a problem.
            if matches!(listed.kind.as_str(), "" | "classic" | "consumer") {
                found.extend(groups::describe(&mut cluster, &listed.id)?);
            }
        }
    }
    for name in &args.groups {
        found.push(groups::describe(&mut cluster, name)?.ok_or_else(|| groups::no_group(name))?);
    }
    let mut output = Output::new();
    for (nth, group) in found.iter().enumerate() {
        let progress = progress(&mut cluster, group)?;
        if args.json {
            output.json(&as_json(group, &progress))?;
            continue;
        }
        if nth > 0 {
            output.line("")?;
        }
        print(&mut output, group, &progress)?;
    }
    output.flush()
}

/// All partitions that the group committed for or that a member has, in order.
fn progress(cluster: &mut Cluster, group: &Group) -> Outcome<Vec<Progress>> {
    let committed = groups::committed(cluster, &group.id)?;
    let mut all: BTreeMap<(String, i32), (Option<Committed>, Option<usize>)> =
        committed.into_iter().map(|(place, committed)| (place, (Some(committed), None))).collect();
    for (at, member) in group.members.iter().enumerate() {
        for (topic, partitions) in &member.assignment {
            for partition in partitions {
                all.entry((topic.clone(), *partition)).or_default().1 = Some(at);
            }
        }
    }
    let mut names: Vec<&str> = all.keys().map(|(topic, _)| topic.as_str()).collect();
    names.dedup();
    let mut ends = BTreeMap::new();
    let topics = if names.is_empty() { Vec::new() } else { cluster.metadata(Some(&names), false)? };
    // A topic that was deleted, or a partition without a leader, has no end to compare with.
    for (mut topic, _) in topics.into_iter().filter(|(_, code)| *code == 0) {
        topic.partitions.retain(|p| p.leader >= 0 && all.contains_key(&(topic.name.clone(), p.index)));
        for (partition, end) in consumer::list_offsets(cluster, &topic, consumer::LATEST)? {
            ends.insert((topic.name.clone(), partition), end);
        }
    }
    Ok(all
        .into_iter()
        .map(|(place, (committed, member))| {
            let end = ends.get(&place).copied();
            Progress { topic: place.0, partition: place.1, committed, end, member }
        })
        .collect())
}

fn total(progress: &[Progress]) -> i64 {
    progress.iter().filter_map(Progress::lag).sum()
}

fn print(output: &mut Output, group: &Group, progress: &[Progress]) -> Outcome {
    let assignor = or_dash(group.assignor.clone());
    let epoch = group.epoch.map(|epoch| format!("  epoch {epoch}")).unwrap_or_default();
    output.line(format!(
        "group {}  type {}  state {}  assignor {assignor}{epoch}  coordinator {}  {}  lag {}",
        group.id,
        group.kind,
        group.state,
        group.coordinator,
        counted(group.members.len(), "member"),
        total(progress),
    ))?;
    if !group.members.is_empty() {
        let rows: Vec<Vec<String>> = group
            .members
            .iter()
            .map(|member| {
                let target = member.target.as_ref();
                let moving = target.map(|target| format!(" (to be: {})", shown(target))).unwrap_or_default();
                vec![
                    format!("  {}", member.id),
                    member.instance.clone().unwrap_or_else(|| "-".to_owned()),
                    or_dash(member.client.clone()),
                    or_dash(member.host.clone()),
                    format!("{}{moving}", shown(&member.assignment)),
                ]
            })
            .collect();
        output.table(&["  member", "instance", "client", "host", "partitions"], &rows)?;
    }
    if !progress.is_empty() {
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let rows: Vec<Vec<String>> = progress
            .iter()
            .map(|p| {
                vec![
                    format!("  {}", p.topic),
                    p.partition.to_string(),
                    number(p.committed.as_ref().map(|committed| committed.offset)),
                    number(p.end),
                    number(p.lag()),
                    p.member.map_or_else(|| "-".to_owned(), |at| group.members[at].id.clone()),
                ]
            })
            .collect();
        output.table(&["  topic", "partition", "committed", "end", "lag", "member"], &rows)?;
    }
    Ok(())
}

/// Partitions as a person reads them: `ice 0-2,5; snow 1`.
fn shown(partitions: &Partitions) -> String {
    let topics: Vec<String> = partitions.iter().map(|(topic, list)| format!("{topic} {}", ranges(list))).collect();
    or_dash(topics.join("; "))
}

/// Ascending numbers, those in a row drawn together.
fn ranges(numbers: &[i32]) -> String {
    let rows = numbers.chunk_by(|a, b| a + 1 == *b);
    let row = |row: &[i32]| match row {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    rows.map(row).collect::<Vec<_>>().join(",")
}

fn as_json(group: &Group, progress: &[Progress]) -> serde_json::Value {
    let members: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            json!({
                "member": member.id, "instance": member.instance, "client": member.client, "host": member.host,
                "epoch": member.epoch, "assignment": member.assignment, "target": member.target,
            })
        })
        .collect();
    let partitions: Vec<_> = progress
        .iter()
        .map(|p| {
            json!({
                "topic": p.topic, "partition": p.partition, "committed": p.committed.as_ref().map(|committed| committed.offset),
                "metadata": p.committed.as_ref().map(|committed| &committed.metadata), "end": p.end, "lag": p.lag(),
                "member": p.member.map(|at| &group.members[at].id),
            })
        })
        .collect();
    json!({
        "group": group.id, "type": group.kind, "state": group.state, "assignor": group.assignor, "epoch": group.epoch,
        "coordinator": group.coordinator, "lag": total(progress), "members": members, "partitions": partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_in_a_row_are_drawn_together() {
        for (numbers, expect) in [(&[0, 1, 2, 5][..], "0-2,5"), (&[7], "7"), (&[], ""), (&[1, 3, 4], "1,3-4")] {
            assert_eq!(ranges(numbers), expect);
        }
        let partitions = Partitions::from([("ice".to_owned(), vec![0, 1]), ("snow".to_owned(), vec![3])]);
        assert_eq!(shown(&partitions), "ice 0-1; snow 3");
        assert_eq!(shown(&Partitions::new()), "-");
    }

    #[test]
    fn the_lag_is_known_where_both_ends_are() {
        let committed = |offset| Some(Committed { offset, metadata: String::new() });
        for (committed, end, lag) in [
            (committed(3), Some(10), Some(7)),
            (committed(10), Some(10), Some(0)),
            (committed(12), Some(10), Some(0)),
            (None, Some(10), None),
            (committed(3), None, None),
        ] {
            let progress = Progress { topic: "ice".to_owned(), partition: 0, committed, end, member: None };
            assert_eq!(progress.lag(), lag);
        }
    }
}
