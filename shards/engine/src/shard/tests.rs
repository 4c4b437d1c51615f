//! Shards driven by hand: a disk in memory that is done at once, and one client.

mod clients;
mod cluster;
mod configs;
mod groups;
mod holds;
mod moving;
mod partitions;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::api::Api;
use floe_wire::frame::{RequestHeader, decode_response_header};
use floe_wire::messages::Message;
use floe_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use floe_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::messages::list_offsets::{
    EARLIEST, LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use floe_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use floe_wire::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use floe_wire::primitives::{Reader, Records, Writer};

use super::*;
use crate::config::Listener;
use crate::event::{DirEntry, DiskError, DiskErrorKind, DiskOp, DiskOutput, FileHandle, OpId, Reply};
use crate::requests::codes;

mod fetch;
mod list_offsets;
mod pressure;
mod produce;
mod transactions;
mod txn_offsets;

const CONN: ConnId = ConnId(1);

/// Whether a message between shards is held up.
type Delays = Box<dyn FnMut(&MeshMsg) -> bool>;

struct Node {
    shards: Vec<Shard>,
    files: BTreeMap<String, Vec<u8>>,
    now: Time,
    ready: usize,
    /// How many partitions were in each answer to a fetch between shards.
    looks: Vec<usize>,
    replies: Vec<Vec<u8>>,
    /// The broker's log.
    lines: Vec<String>,
    /// The connection that sends, and its shard.
    conn: ConnId,
    at: u16,
    /// How often a connection has changed shards.
    moves: u64,
    /// Whether clients read their answers.
    reads: bool,
    /// Whether shard 0 reads its sockets.
    open: bool,
    closed: bool,
    /// Journal files that are being filled for as long as the test says.
    filling: Option<Vec<(u16, OpId, DiskOp)>>,
    /// Writes that are under way for as long as the test says.
    writing: Option<Vec<(u16, OpId, DiskOp)>>,
    /// Which messages between shards are on their way until [`Node::deliver`].
    delays: Option<Delays>,
    delayed: Vec<(u16, Input)>,
    fatal: Option<String>,
}

impl Node {
    fn start(count: u16, files: BTreeMap<String, Vec<u8>>) -> Node {
        Node::start_with(count, files, &[])
    }

    fn start_with(count: u16, files: BTreeMap<String, Vec<u8>>, values: &[(&str, &str)]) -> Node {
        let listener = Listener {
            name: "PLAINTEXT".into(),
            bind_host: "127.0.0.1".into(),
            bind_port: 9092,
            advertised_host: "here".into(),
            advertised_port: 9092,
        };
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = BrokerConfig::from_values(values).unwrap();
        let config = Arc::new(BrokerConfig { data_dir: "/data".into(), listeners: vec![listener], ..config });
        let mut node = Node {
            shards: (0..count).map(|_| Shard::default()).collect(),
            files,
            now: Time { mono_ns: 1, wall_ms: 1_700_000_000_000 },
            ready: 0,
            looks: Vec::new(),
            replies: Vec::new(),
            lines: Vec::new(),
            conn: CONN,
            at: 0,
            moves: 0,
            reads: true,
            open: true,
            closed: false,
            filling: None,
            writing: None,
            delays: None,
            delayed: Vec::new(),
            fatal: None,
        };
        // A shard's first input is its boot, whatever the others send it.
        let boot = |shard| Boot { shard: ShardId(shard), shards: count, config: config.clone(), seed: [7; 32] };
        node.inputs((0..count).map(|shard| (shard, Input::Boot(boot(shard)))).collect());
        if node.fatal.is_none() {
            assert_eq!(node.ready, usize::from(count), "every shard is ready");
            let peer = "127.0.0.1:5000".parse().unwrap();
            node.input(0, Input::Connected { conn: CONN, peer, listener: 0 });
        }
        node
    }

    fn input(&mut self, shard: u16, input: Input) {
        self.inputs([(shard, input)].into());
    }

    fn inputs(&mut self, mut inputs: std::collections::VecDeque<(u16, Input)>) {
        while let Some((at, input)) = inputs.pop_front() {
            let mut fx = Effects::new();
            self.shards[usize::from(at)].handle(self.now, input, &mut fx);
            self.shards[usize::from(at)].end_of_round(self.now, &mut fx);
            for effect in fx {
                match effect {
                    Effect::Ready => self.ready += 1,
                    Effect::Reply { conn, reply } => {
                        if self.reads {
                            inputs.push_back((at, Input::ReplySent { conn, bytes: reply.len() }));
                        }
                        self.replies.push(flat(reply));
                    }
                    Effect::Close { conn } => {
                        self.closed = true;
                        inputs.push_back((at, Input::Disconnected { conn }));
                    }
                    Effect::Detach { conn } => inputs.push_back((at, Input::Detached { conn })),
                    Effect::Attach { conn: old, to, luggage } => {
                        self.moves += 1;
                        let conn = ConnId(1000 + self.moves);
                        if (self.at, self.conn) == (at, old) {
                            (self.at, self.conn) = (to.0, conn);
                        }
                        inputs.push_back((to.0, Input::Attached { conn, luggage }));
                    }
                    Effect::Admission { open } if at == 0 => self.open = open,
                    Effect::Mesh { to, msg } => {
                        if let MeshMsg::Answer { answer: Answer::Fetched { parts, .. }, .. } = &msg {
                            self.looks.push(parts.len());
                        }
                        let delayed = self.delays.as_mut().is_some_and(|delays| delays(&msg));
                        let message = (to.0, Input::Mesh { from: ShardId(at), msg });
                        if delayed {
                            self.delayed.push(message);
                        } else {
                            inputs.push_back(message);
                        }
                    }
                    Effect::Disk { op, what: what @ DiskOp::WriteZeros { .. } } if self.filling.is_some() => {
                        self.filling.as_mut().expect("just asked").push((at, op, what));
                    }
                    Effect::Disk { op, what: what @ DiskOp::Write { .. } } if self.writing.is_some() => {
                        self.writing.as_mut().expect("just asked").push((at, op, what));
                    }
                    Effect::Disk { op, what } => inputs.push_back((at, self.disk(op, what))),
                    Effect::Fatal { message } => self.fatal = Some(message),
                    Effect::Log { line, .. } => self.lines.push(line),
                    _ => {}
                }
            }
        }
    }

    /// The writes that were under way end.
    fn write(&mut self) {
        for (at, op, what) in self.writing.take().unwrap_or_default() {
            let done = self.disk(op, what);
            self.input(at, done);
        }
    }

    /// What was on its way between shards arrives.
    fn deliver(&mut self) {
        self.delays = None;
        let delayed = std::mem::take(&mut self.delayed);
        self.inputs(delayed.into());
    }

    /// The journal files that were being filled are.
    fn fill(&mut self) {
        for (at, op, what) in self.filling.take().unwrap_or_default() {
            let done = self.disk(op, what);
            self.input(at, done);
        }
    }

    fn disk(&mut self, op: OpId, what: DiskOp) -> Input {
        let name = |file: &FileHandle| file.get::<String>().unwrap().clone();
        let mut write = |file: &FileHandle, offset: u64, data: &[u8]| {
            let content = self.files.entry(name(file)).or_default();
            let end = offset as usize + data.len();
            content.resize(content.len().max(end), 0);
            content[offset as usize..end].copy_from_slice(data);
        };
        let missing = |path: &str| DiskError { kind: DiskErrorKind::NotFound, message: path.to_owned() };
        let result = match what {
            DiskOp::Open { path, create, .. } => match self.files.get(&path).map(Vec::len) {
                None if !create => Err(missing(&path)),
                len => {
                    self.files.entry(path.clone()).or_default();
                    Ok(DiskOutput::Opened { file: FileHandle::new(path), len: len.unwrap_or(0) as u64 })
                }
            },
            DiskOp::Write { file, offset, data, .. } => {
                write(&file, offset, &data);
                Ok(DiskOutput::Done)
            }
            DiskOp::WriteZeros { file, offset, len } => {
                write(&file, offset, &vec![0; len as usize]);
                Ok(DiskOutput::Done)
            }
            DiskOp::Read { file, offset, len, .. } => {
                let content = self.files.entry(name(&file)).or_default();
                let end = content.len().min((offset + len) as usize);
                Ok(DiskOutput::Data(Bytes::copy_from_slice(&content[end.min(offset as usize)..end])))
            }
            DiskOp::ReadFile { path, .. } => match self.files.get(&path) {
                Some(content) => Ok(DiskOutput::Data(content.clone().into())),
                None => Err(missing(&path)),
            },
            DiskOp::Truncate { file, len } => {
                self.files.entry(name(&file)).or_default().resize(len as usize, 0);
                Ok(DiskOutput::Done)
            }
            DiskOp::ReplaceFile { path, data } => {
                self.files.insert(path, data.to_vec());
                Ok(DiskOutput::Done)
            }
            DiskOp::Remove { path } => {
                let folder = format!("{path}/");
                self.files.retain(|name, _| *name != path && !name.starts_with(&folder));
                Ok(DiskOutput::Done)
            }
            DiskOp::List { path } => {
                let folder = format!("{path}/");
                let mut entries: Vec<DirEntry> = Vec::new();
                for (name, content) in &self.files {
                    let Some(rest) = name.strip_prefix(&folder) else { continue };
                    let (first, is_dir) = rest.split_once('/').map_or((rest, false), |(first, _)| (first, true));
                    let len = if is_dir { 0 } else { content.len() as u64 };
                    if entries.last().is_none_or(|last| last.name != first) {
                        entries.push(DirEntry { name: first.to_owned(), len, is_dir });
                    }
                }
                Ok(DiskOutput::Entries(entries))
            }
            DiskOp::Preallocate { .. } | DiskOp::Sync { .. } | DiskOp::SyncAll { .. } => Ok(DiskOutput::Done),
        };
        Input::DiskDone { op, result }
    }

    fn send<'a>(&mut self, key: i16, version: i16, request: &impl Message<'a>) {
        let mut writer = Writer::new();
        let header = RequestHeader { api_key: key, api_version: version, correlation_id: 5, client_id: None };
        header.encode(&mut writer);
        request.encode(&mut writer, version);
        self.input(self.at, Input::Frame { conn: self.conn, frame: writer.finish_contiguous() });
    }

    /// The body of the only reply there is.
    fn reply(&mut self, key: i16, version: i16) -> &'static [u8] {
        assert_eq!(self.replies.len(), 1, "one reply");
        let frame: &'static [u8] = self.replies.remove(0).leak();
        let mut reader = Reader::new(&frame[4..]);
        assert_eq!(decode_response_header(&mut reader, Api::of(key).unwrap(), version), Ok(5));
        &frame[frame.len() - reader.remaining()..]
    }

    fn create(&mut self, name: &'static str, partitions: i32, factor: i16) -> i16 {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: factor,
            ..CreatableTopic::default()
        };
        self.send(19, 5, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
        CreateTopicsResponse::decode_all(self.reply(19, 5), 5).unwrap().topics[0].error_code
    }

    fn produce(&mut self, name: &'static str, partition: i32, batch: &[u8], acks: i16) {
        let data = PartitionProduceData { index: partition, records: Records::Borrowed(batch) };
        let topic = TopicProduceData { name: name.into(), partition_data: vec![data], ..TopicProduceData::default() };
        self.send(0, 9, &ProduceRequest { acks, topic_data: vec![topic], ..ProduceRequest::default() });
    }

    fn produced(&mut self) -> (i16, i64) {
        let response = ProduceResponse::decode_all(self.reply(0, 9), 9).unwrap();
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.base_offset)
    }

    fn fetch(&mut self, name: &'static str, offset: i64, max_wait_ms: i32) {
        let partitions = (0..2).map(|partition| FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        });
        let topic = FetchTopic { topic: name.into(), partitions: partitions.collect(), ..FetchTopic::default() };
        let request = FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() };
        self.send(1, 11, &request);
    }

    fn fetched(&mut self) -> Vec<(i16, i64, usize)> {
        let response = FetchResponse::decode_all(self.reply(1, 11), 11).unwrap();
        let all = &response.responses[0].partitions;
        all.iter().map(|p| (p.error_code, p.high_watermark, p.records.len())).collect()
    }
}

fn flat(reply: Reply) -> Vec<u8> {
    let parts = reply.parts.into_iter();
    parts
        .flat_map(|part| match part {
            crate::event::ReplyPart::Mem(bytes) => bytes.to_vec(),
            crate::event::ReplyPart::File(_) => panic!("nothing is settled in these tests"),
        })
        .collect()
}

/// A batch of one record.
fn batch() -> Vec<u8> {
    let mut batch = vec![0; 61];
    let record = [0, 0, 0, 1, 2, b'x', 0];
    batch.push(record.len() as u8 * 2);
    batch.extend_from_slice(&record);
    let len = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&len.to_be_bytes());
    batch[16] = 2;
    batch[27..35].copy_from_slice(&1_700_000_000_000i64.to_be_bytes());
    batch[35..43].copy_from_slice(&1_700_000_000_000i64.to_be_bytes());
    batch[43..57].copy_from_slice(&[0xff; 14]);
    batch[57..61].copy_from_slice(&1i32.to_be_bytes());
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]) as u32;
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn records_go_in_and_come_out_over_two_shards_and_a_restart() {
    let mut node = Node::start(2, BTreeMap::new());
    assert_eq!(node.create("t", 2, 1), codes::NONE);
    for partition in 0..2 {
        node.produce("t", partition, &batch(), -1);
        assert_eq!(node.produced(), (codes::NONE, 0));
    }
    let len = batch().len();
    let mut again = Node::start(2, node.files);
    again.fetch("t", 0, 500);
    assert_eq!(again.fetched(), [(codes::NONE, 1, len), (codes::NONE, 1, len)]);
    for (timestamp, offset) in [(EARLIEST, 0), (LATEST, 1), (1_600_000_000_000, 0), (1_800_000_000_000, -1)] {
        let partition = ListOffsetsPartition { partition_index: 1, timestamp, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
        again.send(2, 5, &ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() });
        let response = ListOffsetsResponse::decode_all(again.reply(2, 5), 5).unwrap();
        assert_eq!(response.topics[0].partitions[0].offset, offset, "timestamp {timestamp}");
    }
}

#[test]
fn a_fetch_waits_for_records_on_another_shard_or_its_deadline() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    for partition in 0..2 {
        node.fetch("t", 0, 500);
        assert!(node.replies.is_empty());
        node.produce("t", partition, &batch(), 0);
        assert_eq!(node.fetched().iter().filter(|p| p.2 > 0).count(), partition as usize + 1);
        if partition == 0 {
            break;
        }
    }
    node.fetch("t", 1, 500);
    let answers = node.fetched();
    assert!(answers.iter().any(|p| p.0 == codes::OFFSET_OUT_OF_RANGE), "the other partition ends at 0");
    node.create("u", 2, 1);
    node.fetch("u", 0, 500);
    assert!(node.replies.is_empty());
    node.now.mono_ns += 600_000_000;
    node.input(0, Input::Timer);
    assert_eq!(node.fetched(), [(codes::NONE, 0, 0), (codes::NONE, 0, 0)]);
}

#[test]
fn what_cannot_be_appended_is_said() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    let mut damaged = batch();
    damaged[65] ^= 1;
    let mut old = batch();
    old[16] = 1;
    let two = [batch(), batch()].concat();
    for (bytes, acks, code) in [
        (&damaged, -1, codes::CORRUPT_MESSAGE),
        (&old, -1, codes::INVALID_RECORD),
        (&two, 1, codes::INVALID_RECORD),
        (&batch(), 2, codes::INVALID_REQUIRED_ACKS),
    ] {
        node.produce("t", 0, bytes, acks);
        assert_eq!(node.produced(), (code, -1));
    }
    node.produce("t", 1, &batch(), 1);
    assert_eq!(node.produced().0, codes::UNKNOWN_TOPIC_OR_PARTITION);
    node.input(0, Input::DiskSpace { free_bytes: 1, total_bytes: 1 << 40 });
    node.produce("t", 0, &batch(), 1);
    assert_eq!(node.produced().0, codes::NOT_ENOUGH_REPLICAS);
    node.produce("t", 0, &damaged, 0);
    assert!(node.closed && node.replies.is_empty(), "acks=0 cannot be told otherwise");
}

#[test]
fn topics_are_made_by_asking_and_checked_when_made() {
    let mut node = Node::start(2, BTreeMap::new());
    let topic = MetadataRequestTopic { name: Some("auto".into()), ..MetadataRequestTopic::default() };
    node.send(3, 8, &MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() });
    let response = MetadataResponse::decode_all(node.reply(3, 8), 8).unwrap();
    assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (codes::NONE, 1));
    assert_eq!(response.brokers[0].host, "here");
    for (name, partitions, factor, code) in [
        ("auto", 1, 1, codes::TOPIC_ALREADY_EXISTS),
        ("a/b", 1, 1, codes::INVALID_TOPIC_EXCEPTION),
        ("three", 1, 3, codes::INVALID_REPLICATION_FACTOR),
        ("none", 0, 1, codes::INVALID_PARTITIONS),
        ("fine", -1, -1, codes::NONE),
    ] {
        assert_eq!(node.create(name, partitions, factor), code, "{name}");
    }
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut node = Node::start(1, BTreeMap::new());
    let mut last = -1;
    for _ in 0..3 {
        for _ in 0..3 {
            node.send(22, 4, &InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() });
            let id = InitProducerIdResponse::decode_all(node.reply(22, 4), 4).unwrap().producer_id;
            assert!(id > last);
            last = id;
        }
        node = Node::start(1, node.files);
    }
}

#[test]
fn a_torn_change_is_dropped_and_damage_is_not() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("a", 1, 1);
    let whole = node.files["metadata/log"].len();
    node.create("b", 1, 1);
    let mut torn = node.files.clone();
    torn.get_mut("metadata/log").unwrap().truncate(whole + 9);
    let mut again = Node::start(1, torn);
    assert_eq!(again.files["metadata/log"].len(), whole);
    assert_eq!((again.create("a", 1, 1), again.create("b", 1, 1)), (codes::TOPIC_ALREADY_EXISTS, codes::NONE));
    node.files.get_mut("metadata/log").unwrap()[whole - 3] ^= 1;
    assert!(Node::start(1, node.files).fatal.unwrap().contains("damaged at byte"));
}

#[test]
fn what_cannot_be_read_closes_the_connection() {
    for frame in [&[0u8, 0][..], &[0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff], &[0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff]] {
        let mut node = Node::start(1, BTreeMap::new());
        node.input(0, Input::Frame { conn: CONN, frame: Bytes::copy_from_slice(frame) });
        assert!(node.closed);
    }
    let mut node = Node::start(1, BTreeMap::new());
    node.input(0, Input::Frame { conn: CONN, frame: Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff]) });
    assert_eq!(node.reply(18, 0)[..2], codes::UNSUPPORTED_VERSION.to_be_bytes());
}
