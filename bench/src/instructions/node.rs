//! One shard of the engine with a client and a disk in memory: what `bench instructions` counts. Lives in the counted process.
//!
//! The client's requests are encoded before the counting begins, and the disk is done at once and does as little as it may, so that nearly all
//! that is counted is the engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use floe_engine::config::BrokerConfig;
use floe_engine::event::{
    Boot, ConnId, DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, Input, Machine, OpId,
    Reply, ReplyPart, ShardId,
};
use floe_engine::shard::Shard;
use floe_engine::time::Time;

const CONN: ConnId = ConnId(1);
/// The folder of the segments.
const SEGMENTS: &str = "partitions/";
/// Between two rounds, as on a busy broker.
const ROUND_NS: u64 = 100_000;

/// A shard, its disk, and the client's side of one connection.
pub(super) struct Node {
    shard: Shard,
    disk: Disk,
    now: Time,
    effects: Effects,
    /// What the next round begins with.
    inputs: VecDeque<Input>,
    ready: bool,
    /// Whole answers as they came, oldest first.
    pub(super) replies: Vec<Reply>,
}

impl Node {
    /// Boots an empty one with these settings; with `keeps` its disk gives back what was written to segments.
    pub(super) fn start(keeps: bool, values: &[(&str, &str)]) -> Node {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Arc::new(BrokerConfig::from_values(values).expect("settings that there are"));
        let boot = Boot { shard: ShardId(0), shards: 1, config, seed: [7; 32] };
        let space = Input::DiskSpace { free_bytes: 1 << 40, total_bytes: 1 << 40 };
        let peer = "127.0.0.1:5000".parse().expect("an address");
        let mut node = Node {
            shard: Shard::default(),
            disk: Disk { keeps, files: BTreeMap::new() },
            now: Time { mono_ns: 1, wall_ms: 1_700_000_000_000 },
            effects: Vec::new(),
            inputs: [space, Input::Boot(boot)].into(),
            ready: false,
            replies: Vec::new(),
        };
        node.run();
        assert!(node.ready, "an empty shard is ready when its disk is done");
        node.inputs.push_back(Input::Connected { conn: CONN, peer, listener: 0 });
        node.run();
        node
    }

    /// A round with these requests in it, and the rounds with what follows from them.
    pub(super) fn requests(&mut self, frames: impl Iterator<Item = Bytes>) {
        self.inputs.extend(frames.map(|frame| Input::Frame { conn: CONN, frame }));
        self.run();
    }

    /// The one answer to one request, in one piece.
    pub(super) fn ask(&mut self, frame: Bytes) -> Vec<u8> {
        self.replies.clear();
        self.requests([frame].into_iter());
        let [reply] = &self.replies[..] else { panic!("{} answers to one request", self.replies.len()) };
        let memory = |part: &ReplyPart| match part {
            ReplyPart::Mem(bytes) => bytes.to_vec(),
            ReplyPart::File(_) => panic!("part of the answer is in a file"),
        };
        reply.parts.iter().flat_map(memory).collect()
    }

    fn run(&mut self) {
        while !self.inputs.is_empty() {
            self.now.mono_ns += ROUND_NS;
            while let Some(input) = self.inputs.pop_front() {
                self.shard.handle(self.now, input, &mut self.effects);
            }
            self.shard.end_of_round(self.now, &mut self.effects);
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Ready => self.ready = true,
                    Effect::Reply { conn, reply } => {
                        self.inputs.push_back(Input::ReplySent { conn, bytes: reply.len() });
                        self.replies.push(reply);
                    }
                    Effect::Disk { op, what } => self.inputs.push_back(self.disk.complete(op, what)),
                    Effect::Close { .. } => panic!("the engine closed the connection"),
                    Effect::Fatal { message } => panic!("{message}"),
                    _ => {}
                }
            }
        }
    }
}

/// Files by name.
struct Disk {
    keeps: bool,
    files: BTreeMap<String, File>,
}

#[derive(Default)]
struct File {
    len: u64,
    /// Stays empty for what is not kept.
    content: Vec<u8>,
}

impl Disk {
    fn complete(&mut self, op: OpId, what: DiskOp) -> Input {
        let result = match what {
            DiskOp::Open { path, create, .. } if create || self.files.contains_key(&path) => {
                let len = self.files.entry(path.clone()).or_default().len;
                Ok(DiskOutput::Opened { file: FileHandle::new(path), len })
            }
            DiskOp::Open { path, .. } | DiskOp::ReadFile { path, .. } => {
                Err(DiskError { kind: DiskErrorKind::NotFound, message: path })
            }
            DiskOp::Write { file, offset, data, .. } => {
                let keeps = self.keeps;
                let (name, file) = self.file(&file);
                file.len = file.len.max(offset + data.len() as u64);
                if keeps && name.starts_with(SEGMENTS) {
                    file.content.resize(file.len as usize, 0);
                    file.content[offset as usize..][..data.len()].copy_from_slice(&data);
                }
                Ok(DiskOutput::Done)
            }
            DiskOp::WriteZeros { file, offset, len } => {
                let (_, file) = self.file(&file);
                file.len = file.len.max(offset + len);
                Ok(DiskOutput::Done)
            }
            DiskOp::Read { file, offset, len, .. } => {
                let (_, file) = self.file(&file);
                let end = file.content.len().min((offset + len) as usize);
                Ok(DiskOutput::Data(Bytes::copy_from_slice(&file.content[end.min(offset as usize)..end])))
            }
            DiskOp::List { .. } => Ok(DiskOutput::Entries(Vec::new())),
            _ => Ok(DiskOutput::Done),
        };
        Input::DiskDone { op, result }
    }

    fn file<'h>(&mut self, handle: &'h FileHandle) -> (&'h str, &mut File) {
        let name: &String = handle.get().expect("a handle that this disk gave out");
        (name, self.files.get_mut(name).expect("open files are not removed here"))
    }
}
