//! One file per API: decode, decide or call the owners, answer. What waits for owners or the controller is a [`Pending`].

mod alter_configs;
mod cluster;
pub mod codes;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_configs;
mod describe_log_dirs;
mod describe_producers;
mod describe_topics;
mod fetch;
mod groups;
mod holds;
mod leader_epochs;
mod list_offsets;
mod metadata;
mod operations;
mod produce;
mod sessions;
mod shares;
mod split;
mod topics;
mod txn;
mod visits;

pub use alter_configs::ConfigsWait;
pub use create_partitions::GrowWait;
pub use create_topics::CreateWait;
pub use delete_topics::DeleteWait;
pub use fetch::FetchWait;
pub use groups::GroupWait;
pub use holds::{Holds, Pauser};
pub use list_offsets::LookupWait;
pub use produce::{ProduceWait, Vouching};
pub use sessions::{Session, Sessions};
pub use txn::{MarkersWait, TxnWait};
pub use visits::VisitWait;

use bytes::{Bytes, BytesMut};
use floe_wire::api::Api;
use floe_wire::frame::{RequestHeader, encode_response_header};
use floe_wire::messages::Message;
use floe_wire::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use floe_wire::piece::Piece;
use floe_wire::primitives::{DecodeError, Reader, Writer};

use crate::connection::Ending;
use crate::event::{ConnId, Effects, FileRange, Reply, ReplyPart};
use crate::metadata::ChangeDone;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::TxnAnswer;

/// Keys of the APIs that are answered. Clients are told these only.
pub const ANSWERED: &[i16] = &[
    0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 32, 33, 35, 37, 42, 44,
    46, 47, 60, 61, 65, 66, 68, 69, 74, 75,
];

/// Features in force and their levels, in Kafka's words: the group protocol of KIP-848, and transactions whose epoch rises with every end (KIP-890).
const FEATURES: [(&str, i16); 2] = [("group.version", 1), ("transaction.version", 2)];

/// First version of ApiVersions whose clients understand that a feature's lowest level is 0.
const ZERO_LEVEL_SINCE: i16 = 4;

/// A request: where its answer goes and how it is to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The connection.
    pub conn: ConnId,
    /// The number of the request on it.
    pub request: u64,
    /// The API.
    pub api: &'static Api,
    /// Its version.
    pub version: i16,
    /// As the client sent it.
    pub correlation_id: i32,
}

/// A request that waits.
#[derive(Debug)]
pub struct Pending {
    /// Who asked.
    pub caller: Caller,
    /// What for.
    pub wait: Wait,
}

/// What a request waits for.
#[derive(Debug)]
pub enum Wait {
    /// Owners append.
    Produce(ProduceWait),
    /// A transaction's coordinator is asked about an earlier produce of the connection: who sends this one, and the request.
    ProduceLater(Option<Box<str>>, Bytes),
    /// Owners read, or there is not enough yet.
    Fetch(FetchWait),
    /// Owners look for offsets.
    Lookup(LookupWait),
    /// Owners look at partitions, or move their start.
    Visit(VisitWait),
    /// The controller makes the topics that a Metadata request names; the request itself, asked again then.
    Metadata(Bytes),
    /// The controller makes topics.
    Create(CreateWait),
    /// The controller deletes topics.
    Delete(DeleteWait),
    /// The controller gives topics more partitions.
    Grow(GrowWait),
    /// The controller changes settings.
    Configs(ConfigsWait),
    /// The controller gives a block of producer ids; the request, asked again then.
    ProducerId(Bytes),
    /// The controller makes a topic of coordinators; the request, asked again then.
    Coordinator(Bytes),
    /// Groups decide.
    Group(Box<GroupWait>),
    /// Transaction coordinators decide.
    Txn(Box<TxnWait>),
    /// Owners write markers.
    Markers(Box<MarkersWait>),
}

impl Caller {
    /// The answer, encoded; `files` go into its holes in their order.
    pub fn reply<'a>(&self, response: &impl Message<'a>, files: Vec<FileRange>) -> Ending {
        self.reply_in(&mut BytesMut::new(), response, files)
    }

    /// The same in memory shared with other answers, for those that are small and many.
    pub fn reply_in<'a>(&self, memory: &mut BytesMut, response: &impl Message<'a>, files: Vec<FileRange>) -> Ending {
        let mut writer = Writer::framed_in(memory);
        encode_response_header(&mut writer, self.api, self.version, self.correlation_id);
        response.encode(&mut writer, self.version);
        let mut files = files.into_iter();
        let part = |piece| match piece {
            Piece::Mem(bytes) => ReplyPart::Mem(bytes),
            Piece::Hole { len } => {
                let file = files.next().expect("a file for each hole");
                assert!(file.len == u64::from(len), "a hole is as long as its file range");
                ReplyPart::File(file)
            }
        };
        let parts = writer.finish_framed_in(memory).map(part).collect();
        Ending::Reply(Reply { parts })
    }
}

impl Shard {
    /// A transaction coordinator has answered to whoever asked it.
    pub(crate) fn txn_answered(&mut self, now: Time, token: u64, at: u32, answer: TxnAnswer, fx: &mut Effects) {
        match self.pending.get(&token).map(|pending| &pending.wait) {
            Some(Wait::Txn(_)) => self.txn_wait_answered(token, at, answer, fx),
            Some(Wait::Group(_)) => self.txn_commit_vouched(now, token, answer, fx),
            Some(Wait::Produce(_)) => self.produce_vouched(now, token, answer, fx),
            // Its connection has ended.
            None => {}
            Some(wait) => unreachable!("{wait:?} asks no coordinator"),
        }
    }

    /// A request begins.
    pub(crate) fn request(&mut self, now: Time, conn: ConnId, request: u64, frame: Bytes, fx: &mut Effects) {
        self.metrics.bytes_in += frame.len() as u64;
        let mut reader = Reader::new(&frame);
        let header = match RequestHeader::decode(&mut reader) {
            Ok(header) => header,
            Err(error) => return self.refuse(conn, request, &format!("a request header with {error}"), fx),
        };
        let api = Api::of(header.api_key).filter(|api| ANSWERED.contains(&api.key));
        let Some(api) = api else {
            return self.refuse(conn, request, &format!("API {}, which is not there", header.api_key), fx);
        };
        let mut caller =
            Caller { conn, request, api, version: header.api_version, correlation_id: header.correlation_id };
        if !(api.min..=api.max).contains(&caller.version) {
            if api.key != floe_wire::api::API_VERSIONS {
                let what = format!("{} version {}, which is not there", api.name, caller.version);
                return self.refuse(conn, request, &what, fx);
            }
            // KIP-511: a client newer than the broker learns the versions from an answer that every client can read.
            caller.version = 0;
            let response = api_versions(codes::UNSUPPORTED_VERSION, caller.version);
            return self.finish(caller, caller.reply(&response, Vec::new()), fx);
        }
        self.metrics.requests.count(api);
        let body = frame.slice(frame.len() - reader.remaining()..);
        let client_id = header.client_id.as_deref();
        if let Err(error) = self.dispatch(now, caller, client_id, &body, fx) {
            self.refuse(conn, request, &format!("{} version {} with {error}", api.name, caller.version), fx);
        }
    }

    fn dispatch(
        &mut self,
        now: Time,
        caller: Caller,
        client_id: Option<&str>,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        match caller.api.key {
            0 => self.produce(now, caller, client_id, body, fx),
            1 => self.fetch(now, caller, body, fx),
            2 => self.list_offsets(now, caller, body, fx),
            3 => self.metadata(caller, body, true, fx),
            8 | 9 | 11..=16 | 28 | 42 | 47 | 68 | 69 => self.group_request(now, caller, client_id, body, fx),
            10 => self.find_coordinator(caller, body, true, fx),
            19 => self.create_topics(caller, body, fx),
            20 => self.delete_topics(caller, body, fx),
            21 => self.delete_records(now, caller, body, fx),
            22 | 24..=27 | 65 | 66 => self.txn_request(now, caller, body, fx),
            23 => self.offset_for_leader_epoch(now, caller, body, fx),
            32 => self.describe_configs(caller, body, fx),
            33 => self.alter_configs(caller, body, fx),
            35 => self.describe_log_dirs(now, caller, body, fx),
            37 => self.create_partitions(caller, body, fx),
            44 => self.incremental_alter_configs(caller, body, fx),
            46 => self.list_partition_reassignments(caller, body, fx),
            60 => self.describe_cluster(caller, body, fx),
            61 => self.describe_producers(now, caller, body, fx),
            74 => self.list_config_resources(caller, body, fx),
            75 => self.describe_topic_partitions(caller, body, fx),
            _ => {
                let request = ApiVersionsRequest::decode_all(body, caller.version)?;
                if let Some(connection) = self.connections.get_mut(&caller.conn) {
                    let software = (&*request.client_software_name, &*request.client_software_version);
                    connection.pauser = Pauser::of(connection.peer.ip(), client_id, software);
                }
                self.finish(caller, caller.reply(&api_versions(codes::NONE, caller.version), Vec::new()), fx);
                Ok(())
            }
        }
    }

    /// The controller has answered.
    pub(crate) fn changed(&mut self, token: u64, done: ChangeDone, fx: &mut Effects) {
        let Some(Pending { caller, wait }) = self.pending.remove(&token) else { return };
        match wait {
            Wait::Create(wait) => self.created(caller, wait, done, fx),
            Wait::Delete(wait) => self.deleted(caller, wait, done, fx),
            Wait::Grow(wait) => self.grown(caller, wait, done, fx),
            Wait::Configs(wait) => self.altered(caller, wait, done, fx),
            Wait::Metadata(body) => {
                self.metadata(caller, &body, false, fx).expect("it could be decoded before");
            }
            Wait::ProducerId(body) => self.producer_ids_came(caller, &body, done.producer_ids, fx),
            Wait::Coordinator(body) => {
                let now = self.now();
                let again = match caller.api.key {
                    10 => self.find_coordinator(caller, &body, false, fx),
                    _ => self.add_offsets_to_txn(now, caller, &body, false, fx),
                };
                again.expect("it could be decoded before");
            }
            Wait::Produce(_)
            | Wait::ProduceLater(..)
            | Wait::Fetch(_)
            | Wait::Lookup(_)
            | Wait::Visit(_)
            | Wait::Group(_)
            | Wait::Txn(_)
            | Wait::Markers(_) => {
                unreachable!("the controller was not asked")
            }
        }
    }
}

fn api_versions(error_code: i16, version: i16) -> ApiVersionsResponse<'static> {
    // Java clients before version 4 fail on a lowest level of 0 (KAFKA-17011).
    let min_version = i16::from(version < ZERO_LEVEL_SINCE);
    let apis = ANSWERED.iter().filter_map(|key| Api::of(*key));
    let api_keys =
        apis.map(|api| ApiVersion { api_key: api.key, min_version: api.min_advertised, max_version: api.max });
    ApiVersionsResponse {
        error_code,
        api_keys: api_keys.collect(),
        supported_features: FEATURES
            .map(|(name, level)| SupportedFeatureKey { name: name.into(), min_version, max_version: level })
            .to_vec(),
        finalized_features_epoch: 0,
        finalized_features: FEATURES
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.into(),
                max_version_level: level,
                min_version_level: level,
            })
            .to_vec(),
        ..ApiVersionsResponse::default()
    }
}
