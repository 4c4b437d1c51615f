//! One file per API: its request and response, declared. Names are those of Kafka's own schemas.

use crate::primitives::{Context, DecodeError, Field, Reader, Writer};

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_configs;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod write_txn_markers;

/// A whole request or response, without its header.
pub trait Message<'a>: Field<'a> {
    /// What a version means for the encoding.
    fn context(version: i16) -> Context;

    /// Reads the message from the start of `reader`; what follows it is left there.
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        Self::read(reader, Self::context(version))
    }

    /// Reads the message, which must take all of `bytes`.
    fn decode_all(bytes: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        match reader.remaining() {
            0 => Ok(message),
            left => Err(DecodeError::Trailing(left)),
        }
    }

    /// Appends the message to `writer`.
    fn encode(&self, writer: &mut Writer, version: i16) {
        self.write(writer, Self::context(version));
    }
}
