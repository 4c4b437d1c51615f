//! The records of `__consumer_offsets`, as Kafka 4.3 writes them: one file per kind of record, each with its key and its value.
//!
//! A key begins with its kind, a value with its version, both as 16 bits; a record without value is a tombstone. Of a key there is one
//! version of its fields. What Kafka 4.3 may find in its log is read; what it writes is written.

use bytes::Bytes;

use crate::messages::Message;
use crate::primitives::{DecodeError, Reader, Writer};

pub mod consumer_group_current_member_assignment;
pub mod consumer_group_member_metadata;
pub mod consumer_group_metadata;
pub mod consumer_group_partition_metadata;
pub mod consumer_group_regular_expression;
pub mod consumer_group_target_assignment_member;
pub mod consumer_group_target_assignment_metadata;
pub mod group_metadata;
pub mod offset_commit;

use consumer_group_current_member_assignment::*;
use consumer_group_member_metadata::*;
use consumer_group_metadata::*;
use consumer_group_partition_metadata::*;
use consumer_group_regular_expression::*;
use consumer_group_target_assignment_member::*;
use consumer_group_target_assignment_metadata::*;
use group_metadata::*;
use offset_commit::*;

/// Version that commits are written in, unless they expire by themselves.
pub const OFFSET_COMMIT_VERSION: i16 = 4;
/// Version that generations of classic groups are written in.
pub const GROUP_METADATA_VERSION: i16 = 3;

/// Kind of the keys that commits had before Kafka 0.9.
const LEGACY_OFFSET_COMMIT: i16 = 0;

macro_rules! records {
    ($($(#[$meta:meta])* $kind:literal $name:ident $key:ident $value:ty, ..=$max:literal, $version:expr;)*) => {
        /// A record of `__consumer_offsets`.
        #[derive(Clone, Debug, PartialEq)]
        pub enum GroupRecord<'a> {
            $($(#[$meta])* $name($key<'a>, Option<$value>),)*
        }

        impl<'a> GroupRecord<'a> {
            /// Reads a record; `None` is one of a kind that is not known here (of share or streams groups, or newer).
            pub fn decode(key: &'a [u8], value: Option<&'a [u8]>) -> Result<Option<GroupRecord<'a>>, DecodeError> {
                let mut reader = Reader::new(key);
                let kind = reader.fixed::<i16>()?;
                let key = &key[key.len() - reader.remaining()..];
                Ok(Some(match if kind == LEGACY_OFFSET_COMMIT { 1 } else { kind } {
                    $($kind => GroupRecord::$name($key::decode_all(key, 0)?, decode_value(value, $max)?),)*
                    _ => return Ok(None),
                }))
            }

            /// The record's key.
            pub fn key(&self) -> Bytes {
                match self {
                    $(GroupRecord::$name(key, _) => encode($kind, key, 0),)*
                }
            }

            /// The record's value; `None` is a tombstone.
            pub fn value(&self) -> Option<Bytes> {
                match self {
                    $(GroupRecord::$name(_, value) => value.as_ref().map(|value| {
                        let version: fn(&$value) -> i16 = $version;
                        let version = version(value);
                        encode(version, value, version)
                    }),)*
                }
            }
        }

        #[cfg(test)]
        impl GroupRecord<'_> {
            /// One of every kind.
            fn samples(dice: &mut crate::oracle::Dice) -> Vec<GroupRecord<'static>> {
                use crate::oracle::Sample;
                vec![$(GroupRecord::$name(Sample::sample(dice), Sample::sample(dice))),*]
            }
        }
    };
}

records! {
    /// How far a group has come.
    1 OffsetCommit OffsetCommitKey OffsetCommitValue<'a>, ..=4, |value| value.version();
    /// A generation of a classic group.
    2 GroupMetadata GroupMetadataKey GroupMetadataValue<'a>, ..=4, |_| GROUP_METADATA_VERSION;
    /// A group's epoch.
    3 ConsumerGroupMetadata ConsumerGroupMetadataKey ConsumerGroupMetadataValue, ..=0, |_| 0;
    /// A group's topics; Kafka since 4.1 writes only tombstones of it.
    4 ConsumerGroupPartitionMetadata ConsumerGroupPartitionMetadataKey ConsumerGroupPartitionMetadataValue<'a>, ..=0, |_| 0;
    /// A member.
    5 ConsumerGroupMemberMetadata ConsumerGroupMemberMetadataKey ConsumerGroupMemberMetadataValue<'a>, ..=0, |_| 0;
    /// Epoch of a target assignment.
    6 ConsumerGroupTargetAssignmentMetadata ConsumerGroupTargetAssignmentMetadataKey ConsumerGroupTargetAssignmentMetadataValue, ..=0, |_| 0;
    /// What a member is to have.
    7 ConsumerGroupTargetAssignmentMember ConsumerGroupTargetAssignmentMemberKey ConsumerGroupTargetAssignmentMemberValue, ..=0, |_| 0;
    /// What a member has.
    8 ConsumerGroupCurrentMemberAssignment ConsumerGroupCurrentMemberAssignmentKey ConsumerGroupCurrentMemberAssignmentValue, ..=0, |_| 0;
    /// What a regular expression stands for.
    16 ConsumerGroupRegularExpression ConsumerGroupRegularExpressionKey ConsumerGroupRegularExpressionValue<'a>, ..=0, |_| 0;
}

/// A value in the version that it begins with; `None` is a tombstone.
pub(crate) fn decode_value<'a, V: Message<'a>>(
    bytes: Option<&'a [u8]>,
    version_max: i16,
) -> Result<Option<V>, DecodeError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let mut reader = Reader::new(bytes);
    let version = reader.fixed::<i16>()?;
    if !(0..=version_max).contains(&version) {
        return Err(DecodeError::Version(version));
    }
    V::decode_all(&bytes[bytes.len() - reader.remaining()..], version).map(Some)
}

/// A message with 16 bits ahead: a key's kind or a value's version.
pub(crate) fn encode<'a>(first: i16, message: &impl Message<'a>, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.put(&first.to_be_bytes());
    message.encode(&mut writer, version);
    writer.finish_contiguous()
}

#[cfg(test)]
mod tests;
