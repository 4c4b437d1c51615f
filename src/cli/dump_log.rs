//! `floe dump-log`: what is in the metadata, the checkpoints, the journals and the segments of a broker that is not running. Reads only; the
//! engine's own readers decide what is valid, so that this command and recovery never disagree.

mod journal;
mod metadata;
mod print;
mod segment;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use floe_engine::log::inspect::Checkpoint;

use self::print::Dump;
use crate::node::data_dir::DataDir;
use crate::problem::{Outcome, Problem, Tried};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DumpLogArgs {
    /// The data directory of the stopped broker.
    #[arg(long, value_name = "DIR", default_value = "./data", env = "FLOE_DATA_DIR")]
    data_dir: PathBuf,
    /// Only files whose path contains this, such as `metadata`, `journal`, `checkpoint`, a topic id, or 00000000000000000000.log.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print each record, not only the batches.
    #[arg(long)]
    records: bool,
    /// Print as JSON, one finding a line.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Ends with 0 when nothing is damaged, else with 1.

Examples:
  floe dump-log --data-dir /var/lib/floe --only metadata       which topics there are, and their ids
  floe dump-log --data-dir /var/lib/floe --only journal        what was acknowledged last
  floe dump-log --json | jq -c 'select(.damaged)'              only what is damaged";

/// What some files say about others.
#[derive(Debug, Default)]
struct Known {
    /// Names of topics, also of deleted ones, by id in hexadecimal digits.
    topics: HashMap<String, String>,
    /// The newest checkpoint of each journal, by its folder.
    checkpoints: BTreeMap<String, Checkpoint>,
    /// Bytes of whole batches in each segment, by its path.
    contents: HashMap<String, u64>,
}

impl Known {
    /// How people call a partition.
    fn partition(&self, topic: &str, partition: i32) -> String {
        format!("{}-{partition}", self.topics.get(topic).map_or(topic, String::as_str))
    }
}

pub(super) fn run(args: DumpLogArgs) -> Outcome {
    let data_dir = DataDir::inspect(&args.data_dir)?;
    let mut files = Vec::new();
    collect(&data_dir.path, &mut files)?;
    let mut files: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|path| (path.strip_prefix(&data_dir.path).unwrap_or(&path).to_string_lossy().into_owned(), path))
        .collect();
    files.sort_by_key(|(name, _)| (rank(name), name.clone()));
    let mut known = Known::default();
    for (name, path) in &files {
        if metadata::NAMES.contains(&name.as_str()) {
            metadata::learn(&read(path)?, &mut known);
        } else if journal::is_checkpoint(name) {
            journal::learn(name, &read(path)?, &mut known);
        }
    }
    let mut dump = Dump::new(args.json, args.records, known);
    for (name, path) in &files {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        if metadata::NAMES.contains(&name.as_str()) {
            metadata::show(&mut dump, name, &read(path)?)?;
        } else if journal::is_checkpoint(name) {
            journal::checkpoint(&mut dump, name, &read(path)?)?;
        } else if let Some(slot) = journal::slot(name) {
            journal::file(&mut dump, name, slot, &read(path)?)?;
        } else if name.starts_with("partitions/") && name.ends_with(".log") {
            segment::file(&mut dump, name, path)?;
        } else if name.starts_with("partitions/") && name.ends_with(".idx") {
            segment::index(&mut dump, name, &read(path)?)?;
        }
    }
    match dump.finish()? {
        0 => Ok(()),
        damaged => Err(Problem::new(format!("{damaged} damaged places were found; they are marked above")).next(
            "look for errors of the disk (dmesg); then bring the directory back from a backup, delete the topics concerned, or accept the loss: docs/OPERATIONS.md, Damaged files",
        )),
    }
}

/// Files that explain others come first.
fn rank(name: &str) -> u8 {
    match name {
        name if name == metadata::NAMES[0] => 0,
        name if name == metadata::NAMES[1] => 1,
        name if journal::is_checkpoint(name) => 2,
        name if name.starts_with("journal/") => 3,
        _ => 4,
    }
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).tried(|| format!("cannot read {}", path.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let say = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).tried(say)? {
        let entry = entry.tried(say)?;
        let kind = entry.file_type().tried(say)?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
