//! `floe group reset-offsets`: a group without members begins somewhere else. Modes and their bounds are those of kafka-consumer-groups.sh.

use std::collections::BTreeMap;

use clap::Args;
use floe_wire::errors::ErrorCode;
use serde_json::json;

use super::super::Bootstrap;
use super::super::client::connection::error_of;
use super::super::client::groups::{self, Committed};
use super::super::client::position::{moment, shown};
use super::super::client::{Cluster, Topic, consumer};
use super::super::consume::partition_list;
use super::super::output::Output;
use super::super::topic::counted;
use crate::problem::{Outcome, Problem};

#[derive(Debug, Args)]
#[command(after_help = "Without --execute it only says what it would do. The group must have no members.

Examples:
  floe group reset-offsets orders --topic payments --to-earliest
  floe group reset-offsets orders --topic payments:0,2-4 --to-offset 5000 --execute
  floe group reset-offsets orders --all-topics --shift-by -100 --execute
  floe group reset-offsets orders --all-topics --to-datetime 2026-01-31T12:00:00Z
  floe group reset-offsets orders --all-topics --by-duration PT1H30M")]
pub(in crate::cli) struct ResetArgs {
    /// Which; one that is not there yet is made.
    group: String,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    target: TargetArgs,
    /// Only say what would be done (this is the default; say it in scripts that mean it).
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    execute: bool,
    /// Print as JSON, one partition a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Scope {
    /// A topic, or some of its partitions; may be given several times.
    #[arg(short, long, value_name = "TOPIC[:LIST]")]
    topic: Vec<String>,
    /// Every topic that the group has committed offsets for.
    #[arg(long)]
    all_topics: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// To the first offset that is there.
    #[arg(long)]
    to_earliest: bool,
    /// To the end: only what is written from now on.
    #[arg(long)]
    to_latest: bool,
    /// To this offset, or the nearest that is there.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// By this many offsets, backwards when negative, but not beyond what is there.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To the first record of this time or later: 2026-01-31T12:00:00Z (without a zone: UTC) or milliseconds since 1970.
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<String>,
    /// To the first record of so long ago or later: PnDTnHnMnS, such as PT1H30M or P7D.
    #[arg(long, value_name = "DURATION")]
    by_duration: Option<String>,
    /// To where the group is; to the end where it has committed nothing.
    #[arg(long)]
    to_current: bool,
}

/// Where offsets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Offset(i64),
    Shift(i64),
    /// Milliseconds since 1970.
    Moment(i64),
    Current,
}

/// A partition before the reset.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: i64,
    end: i64,
    committed: Option<i64>,
    /// The first offset of the moment or later; `None` when nothing is that young.
    at_moment: Option<i64>,
}

impl TargetArgs {
    fn target(&self, now_ms: i64) -> Outcome<Target> {
        Ok(if self.to_earliest {
            Target::Earliest
        } else if self.to_latest {
            Target::Latest
        } else if let Some(offset) = self.to_offset {
            Target::Offset(offset)
        } else if let Some(by) = self.shift_by {
            Target::Shift(by)
        } else if let Some(time) = &self.to_datetime {
            // Kafka's tool takes a time without a zone for UTC.
            let found = moment(time).or_else(|wrong| moment(&format!("{time}Z")).map_err(|_| wrong));
            Target::Moment(found.map_err(|wrong| Problem::usage(format!("--to-datetime: {wrong}")))?.max(0))
        } else if let Some(duration) = &self.by_duration {
            Target::Moment(now_ms.saturating_sub(duration_ms(duration)?).max(0))
        } else {
            Target::Current
        })
    }
}

/// Reads `PnDTnHnMnS`; days have 24 hours.
fn duration_ms(text: &str) -> Outcome<i64> {
    let total = || {
        let span: jiff::Span = text.parse().ok()?;
        let ms = span.total((jiff::Unit::Millisecond, jiff::SpanRelativeTo::days_are_24_hours())).ok()?;
        (ms >= 0.0).then_some(ms as i64)
    };
    total().ok_or_else(|| {
        Problem::usage(format!("--by-duration: `{text}` is not a duration"))
            .next("write PnDTnHnMnS: PT30M for half an hour, P7D for a week")
    })
}

impl Target {
    /// The new offset and, where it is not what was asked for, why.
    fn of(self, place: Place) -> Result<(i64, Option<&'static str>), &'static str> {
        let within = |wanted: i64| {
            if wanted < place.start {
                (place.start, Some("nothing before it is there"))
            } else if wanted > place.end {
                (place.end, Some("this is the end"))
            } else {
                (wanted, None)
            }
        };
        Ok(match self {
            Target::Earliest => (place.start, None),
            Target::Latest => (place.end, None),
            Target::Offset(offset) => within(offset),
            Target::Shift(by) => match place.committed {
                Some(committed) => within(committed.saturating_add(by)),
                None => return Err("nothing is committed that could be shifted"),
            },
            Target::Moment(_) => match place.at_moment {
                Some(offset) => (offset, None),
                None => (place.end, Some("no record is that young; this is the end")),
            },
            Target::Current => match place.committed {
                Some(committed) => (committed, None),
                None => (place.end, Some("nothing was committed; this is the end")),
            },
        })
    }
}

/// One partition's move.
struct Move {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    new: i64,
    note: Option<&'static str>,
}

pub(super) fn run(args: ResetArgs) -> Outcome {
    let target = args.target.target(jiff::Timestamp::now().as_millisecond())?;
    let named = args.scope.topic.iter().map(|text| named(text)).collect::<Outcome<Vec<_>>>()?;
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    cluster.refresh()?;
    // Before anything else: a plan for a group whose members go on committing is none.
    if let Some(group) = groups::describe(&mut cluster, &args.group)?
        && !group.members.is_empty()
    {
        return Err(groups::not_empty(&args.group, &counted(group.members.len(), "member")));
    }
    let committed = groups::committed(&mut cluster, &args.group)?;
    let topics = if args.scope.all_topics {
        of_group(&mut cluster, &args.group, &committed)?
    } else {
        of_names(&mut cluster, named)?
    };
    let moves = plan(&mut cluster, &topics, &committed, target)?;
    if args.execute {
        let offsets: Vec<(String, i32, i64)> = moves.iter().map(|m| (m.topic.clone(), m.partition, m.new)).collect();
        groups::commit(&mut cluster, &args.group, &offsets)?;
    }
    print(&args, target, &moves)
}

/// Reads `TOPIC` or `TOPIC:0,2-4`.
fn named(text: &str) -> Outcome<(&str, Option<Vec<i32>>)> {
    let Some((topic, list)) = text.split_once(':') else { return Ok((text, None)) };
    let list = partition_list(list).map_err(|_| {
        Problem::usage(format!("--topic: `{list}` is no list of partitions")).next("write --topic orders:0,2-4")
    })?;
    Ok((topic, Some(list)))
}

fn of_names(cluster: &mut Cluster, named: Vec<(&str, Option<Vec<i32>>)>) -> Outcome<Vec<Topic>> {
    let mut topics: Vec<Topic> = Vec::new();
    for (name, list) in named {
        let mut topic = cluster.topic(name, false)?;
        if let Some(list) = list {
            let count = topic.partitions.len();
            topic.partitions.retain(|partition| list.contains(&partition.index));
            if topic.partitions.len() != list.len() {
                return Err(Problem::new(format!("topic `{name}` does not have all of these partitions"))
                    .next(format!("use partitions from 0 to {}", count as i32 - 1)));
            }
        }
        // The same topic twice: its partitions together.
        match topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    for topic in &mut topics {
        topic.partitions.sort_by_key(|partition| partition.index);
        topic.partitions.dedup_by_key(|partition| partition.index);
    }
    Ok(topics)
}

/// The partitions that the group has committed offsets for.
fn of_group(cluster: &mut Cluster, group: &str, committed: &BTreeMap<(String, i32), Committed>) -> Outcome<Vec<Topic>> {
    if committed.is_empty() {
        return Err(Problem::new(format!("group `{group}` has committed no offsets"))
            .next("name the topics: --topic TOPIC")
            .next("see what there is: floe group list"));
    }
    let mut names: Vec<&str> = committed.keys().map(|(topic, _)| topic.as_str()).collect();
    names.dedup();
    let mut topics = Vec::new();
    for (topic, code) in cluster.metadata(Some(&names), false)? {
        // Offsets outlive their topic.
        if error_of(code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
            eprintln!("topic {} is not there any more and is left out", topic.name);
            continue;
        }
        let mut topic = cluster.topic(&topic.name, false)?;
        topic.partitions.retain(|partition| committed.contains_key(&(topic.name.clone(), partition.index)));
        topics.push(topic);
    }
    Ok(topics)
}

fn plan(
    cluster: &mut Cluster,
    topics: &[Topic],
    committed: &BTreeMap<(String, i32), Committed>,
    target: Target,
) -> Outcome<Vec<Move>> {
    let mut moves = Vec::new();
    for topic in topics {
        let ranges = consumer::ranges(cluster, topic)?;
        let young = match target {
            Target::Moment(ms) => consumer::list_offsets(cluster, topic, ms)?,
            _ => BTreeMap::new(),
        };
        for (partition, (start, end)) in ranges {
            let committed = committed.get(&(topic.name.clone(), partition)).map(|committed| committed.offset);
            let at_moment = young.get(&partition).copied().filter(|offset| *offset >= 0);
            let (new, note) = target.of(Place { start, end, committed, at_moment }).map_err(|why| {
                Problem::new(format!("cannot reset partition {}-{partition}", topic.name))
                    .because_of(why)
                    .next("leave it out with --topic TOPIC:LIST, or choose another target such as --to-earliest")
            })?;
            moves.push(Move { topic: topic.name.clone(), partition, committed, new, note });
        }
    }
    Ok(moves)
}

fn print(args: &ResetArgs, target: Target, moves: &[Move]) -> Outcome {
    let mut output = Output::new();
    if args.json {
        for m in moves {
            output.json(&json!({
                "group": args.group, "topic": m.topic, "partition": m.partition, "committed": m.committed, "new": m.new,
                "note": m.note, "executed": args.execute,
            }))?;
        }
        return output.flush();
    }
    if let (Target::Moment(ms), true) = (target, args.target.by_duration.is_some()) {
        output.line(format!("to records of {} or later", shown(ms)))?;
    }
    let rows: Vec<Vec<String>> = moves
        .iter()
        .map(|m| {
            let committed = m.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
            let note = m.note.unwrap_or_default().to_owned();
            vec![m.topic.clone(), m.partition.to_string(), committed, m.new.to_string(), note]
        })
        .collect();
    output.table(&["topic", "partition", "committed", "new offset", ""], &rows)?;
    let partitions = counted(moves.len(), "partition");
    output.line(if args.execute {
        format!("reset group {} in {partitions}", args.group)
    } else {
        "nothing was changed; do it with --execute".to_owned()
    })?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_offsets_stay_within_what_is_there() {
        let place = Place { start: 10, end: 20, committed: Some(15), at_moment: Some(12) };
        let fresh = Place { committed: None, at_moment: None, ..place };
        for (target, place, expect) in [
            (Target::Earliest, place, Ok(10)),
            (Target::Latest, place, Ok(20)),
            (Target::Offset(13), place, Ok(13)),
            (Target::Offset(3), place, Ok(10)),
            (Target::Offset(20), place, Ok(20)),
            (Target::Offset(21), place, Ok(20)),
            (Target::Shift(-3), place, Ok(12)),
            (Target::Shift(-9), place, Ok(10)),
            (Target::Shift(i64::MAX), place, Ok(20)),
            (Target::Shift(1), fresh, Err(())),
            (Target::Moment(7), place, Ok(12)),
            (Target::Moment(7), fresh, Ok(20)),
            (Target::Current, place, Ok(15)),
            (Target::Current, fresh, Ok(20)),
        ] {
            assert_eq!(target.of(place).map(|(offset, _)| offset).map_err(drop), expect, "{target:?} {place:?}");
        }
        assert_eq!(Target::Offset(10).of(place), Ok((10, None)), "no note on what was asked for");
        assert!(matches!(Target::Offset(9).of(place), Ok((10, Some(_)))), "a note on what was not");
    }

    #[test]
    fn durations_as_kafka_writes_them() {
        for (text, expect) in [
            ("PT1H30M", Some(5_400_000)),
            ("P7D", Some(604_800_000)),
            ("P1DT0.5S", Some(86_400_500)),
            ("PT0S", Some(0)),
            ("-PT1H", None),
            ("P1M", None),
            ("an hour", None),
        ] {
            assert_eq!(duration_ms(text).ok(), expect, "{text}");
        }
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        let args = |time: &str| TargetArgs {
            to_earliest: false,
            to_latest: false,
            to_offset: None,
            shift_by: None,
            to_datetime: Some(time.to_owned()),
            by_duration: None,
            to_current: false,
        };
        for (time, expect) in [
            ("1970-01-01T00:00:01.500", Some(1500)),
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T01:00:01+01:00", Some(1000)),
            ("2500", Some(2500)),
            ("yesterday", None),
        ] {
            assert_eq!(args(time).target(0).ok(), expect.map(Target::Moment), "{time}");
        }
    }

    #[test]
    fn topics_with_and_without_partitions() {
        assert_eq!(named("ice").unwrap(), ("ice", None));
        assert_eq!(named("ice:0,2-3").unwrap(), ("ice", Some(vec![0, 2, 3])));
        assert!(named("ice:x").is_err());
    }
}
