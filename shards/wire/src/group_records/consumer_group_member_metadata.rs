//! A member of a group of the next-generation protocol: who it is and what it wants. A tombstone ends the member.

use std::borrow::Cow;

use crate::declare::message;
use crate::primitives::{Context, DecodeError, Field, Reader, Writer};

message! {
    /// Which member.
    struct ConsumerGroupMemberMetadataKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The member's id.
        member_id: Cow<'a, str>, 0;
    }
}

message! {
    /// The member.
    struct ConsumerGroupMemberMetadataValue['a] flexible 0 {
        /// Its name as a static member.
        instance_id: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// Its rack.
        rack_id: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// Its client id.
        client_id: Cow<'a, str>, 0;
        /// Its host.
        client_host: Cow<'a, str>, 0;
        /// The topics it wants, by name.
        subscribed_topic_names: Vec<Cow<'a, str>>, 0;
        /// The topics it wants, by regular expression.
        subscribed_topic_regex: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// How long it may take to give up partitions, in milliseconds.
        rebalance_timeout_ms: i32, 0, = -1;
        /// The assignor it wants.
        server_assignor: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// What only a member of the classic protocol has, while the group is being migrated. Kafka's default is not null but an empty
        /// structure, so null is written as well.
        classic_member_metadata: ClassicMember<'a>, 0, tag 0, = ClassicMember(Some(ClassicMemberMetadata::default()));
    }
}

message! {
    /// A member of the classic protocol.
    struct ClassicMemberMetadata['a] {
        /// Not heard of for so long it is dead, in milliseconds.
        session_timeout_ms: i32, 0;
        /// The assignment strategies that it knows, best first.
        supported_protocols: Vec<ClassicProtocol<'a>>, 0;
    }
}

/// What a member of the classic protocol has. Nullable, in the form that this takes in a tagged field: 0 ahead of it is null there, where
/// it is -1 in any other field.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicMember<'a>(pub Option<ClassicMemberMetadata<'a>>);

impl<'a> Field<'a> for ClassicMember<'a> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        match reader.uvarint()? {
            0 => Ok(ClassicMember(None)),
            _ => ClassicMemberMetadata::read(reader, ctx).map(|metadata| ClassicMember(Some(metadata))),
        }
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        writer.uvarint(u32::from(self.0.is_some()));
        if let Some(metadata) = &self.0 {
            metadata.write(writer, ctx);
        }
    }
}

#[cfg(test)]
impl crate::oracle::Sample for ClassicMember<'_> {
    fn sample(dice: &mut crate::oracle::Dice) -> Self {
        ClassicMember(crate::oracle::Sample::sample(dice))
    }
}

message! {
    /// An assignment strategy.
    struct ClassicProtocol['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// What the member gave for it: a subscription.
        metadata: Cow<'a, [u8]>, 0;
    }
}
