//! The journals that recovery reads: this shard's own and those of older generations, with their checkpoints.

use bytes::Bytes;

use super::unreadable::Unreadable;
use super::{ShardLog, Task};
use crate::event::{DiskOp, Effect, Effects, FileHandle, LogLevel};
use crate::log::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, NAMES};
use crate::log::frame::{CommitHeader, JournalId};
use crate::log::scan::{FoundCommit, scan};

/// One shard's journal of one generation, as read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) generation: u32,
    pub(super) shard: u16,
    pub(super) folder: String,
    /// Content, or why it could not be read.
    pub(super) checkpoints: [Option<Result<Bytes, String>>; 2],
    pub(super) files: Vec<SourceFile>,
}

#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) slot: u32,
    pub(super) len: u64,
    pub(super) file: Option<FileHandle>,
    pub(super) bytes: Bytes,
    /// While it is read in parts.
    pub(super) unreadable: Option<Box<Unreadable>>,
}

impl ShardLog {
    /// Decides which generation is this start's, and lists the journals to be read.
    pub(super) fn list_sources(&mut self, names: &[String], fx: &mut Effects) {
        let mut generations: Vec<(u32, u16, String)> = Vec::new();
        for name in names {
            let parsed = name.strip_prefix('g').and_then(|n| n.split_once('x'));
            match parsed.and_then(|(g, s)| Some((g.parse().ok()?, s.parse().ok()?))) {
                Some((generation, shards)) => generations.push((generation, shards, name.clone())),
                None => fx.push(Effect::Log {
                    level: LogLevel::Warn,
                    line: format!("journal/{name} is none of the broker's folders; left alone"),
                }),
            }
        }
        generations.sort();
        let own = match generations.last() {
            Some((generation, shards, _)) if *shards == self.shards => *generation,
            Some((generation, ..)) => generation + 1,
            None => 1,
        };
        self.journal.id.generation = own;
        self.journal.id.shard = self.shard;
        self.journal.folder = format!("journal/g{own}x{}/s{}", self.shards, self.shard);
        let mut sources = vec![(own, self.shard, self.journal.folder.clone())];
        for (generation, shards, name) in generations.into_iter().filter(|g| g.0 < own) {
            self.old_generations.push(format!("journal/{name}"));
            sources.extend((0..shards).map(|shard| (generation, shard, format!("journal/{name}/s{shard}"))));
        }
        let recovery = self.recovery.as_mut().expect("recovery runs");
        recovery.drains = sources.len() > 1;
        let sources = sources.into_iter();
        recovery.sources = sources
            .map(|(generation, shard, folder)| Source {
                generation,
                shard,
                folder,
                checkpoints: [None, None],
                files: Vec::new(),
            })
            .collect();
        for s in 0..recovery.sources.len() {
            let path = self.recovery.as_ref().expect("recovery runs").sources[s].folder.clone();
            self.ask(Task::ListSource(s), DiskOp::List { path }, fx);
        }
    }

    pub(super) fn ask_for(&mut self, s: usize, name: &str, len: u64, fx: &mut Effects) {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        let path = format!("{}/{name}", recovery.sources[s].folder);
        if let Some(which) = NAMES.iter().position(|n| *n == name) {
            return self.ask(
                Task::Checkpoint(s, which),
                DiskOp::ReadFile { path, bytes_max: CHECKPOINT_BYTES_MAX },
                fx,
            );
        }
        let Some(slot) = name.strip_prefix('j').and_then(|n| n.parse().ok()) else { return };
        let files = &mut recovery.sources[s].files;
        files.push(SourceFile { slot, len, file: None, bytes: Bytes::new(), unreadable: None });
        let f = files.len() - 1;
        self.ask(Task::OpenFile(s, f), DiskOp::Open { path, create: false, direct: true }, fx);
    }
}

/// Generations below this one have been taken over whole by it: every one of its shards has said so. What is still there of them is the
/// rest of a removal that a crash cut short, and must not be taken for damage.
pub(super) fn superseded_below(sources: &[Source]) -> u32 {
    let drained = |s: &&Source| newest_checkpoint(s).is_ok_and(|(found, _)| found.is_some_and(|c| c.drained));
    let old = sources.iter().skip(1).map(|s| s.generation);
    let whole = old.filter(|g| sources.iter().skip(1).filter(|s| s.generation == *g).all(|s| drained(&s)));
    whole.max().unwrap_or(0)
}

/// The newest checkpoint of a source that is whole, and whether it is certain to be the newest.
pub(super) fn newest_checkpoint(source: &Source) -> Result<(Option<Checkpoint>, bool), String> {
    let mut newest: Option<Checkpoint> = None;
    let mut exact = true;
    for (name, content) in NAMES.iter().zip(&source.checkpoints) {
        match content.as_ref().map(|c| c.as_ref().map_err(Clone::clone).and_then(|bytes| Checkpoint::from_bytes(bytes)))
        {
            None => {}
            Some(Ok(found)) if newest.as_ref().is_none_or(|n| n.sequence < found.sequence) => newest = Some(found),
            Some(Ok(_)) => {}
            Some(Err(reason)) if reason.starts_with("it is of version") => {
                return Err(format!("{}/{name}: {reason}", source.folder));
            }
            Some(Err(_)) => exact = false,
        }
    }
    Ok((newest, exact))
}

pub(super) fn find_commits(source: &Source, key: Option<u64>) -> Vec<(usize, FoundCommit)> {
    let belongs = |h: &CommitHeader| {
        let JournalId { key: its_key, generation, shard } = h.journal;
        generation == source.generation && shard == source.shard && key.is_none_or(|key| key == its_key)
    };
    let mut found = Vec::new();
    for (f, file) in source.files.iter().enumerate() {
        // Behind the newest commits of a file stand those of the lap before: its content had been given up when it was written again.
        let mut newest = 0;
        for commit in scan(file.slot, &file.bytes, belongs) {
            if commit.header.seq >= newest {
                newest = commit.header.seq;
                found.push((f, commit));
            }
        }
    }
    found
}
