//! What members of classic groups of type `consumer` tell each other through the coordinator: subscriptions to the leader, assignments
//! from it. To the broker they are opaque, but when a group changes its protocol or is shown to people.
//!
//! Both begin with their version, 16 bits. A newer one than is known is read as the newest known: fields only come behind (KIP-429).

use std::borrow::Cow;

use bytes::Bytes;

use crate::declare::message;
use crate::messages::Message;
use crate::primitives::{DecodeError, Reader, Writer};

/// Protocol type of the groups whose members speak this.
pub const PROTOCOL_TYPE: &str = "consumer";

/// Newest version known of both.
pub const VERSION_MAX: i16 = 3;

message! {
    /// What a member wants, and what it has.
    struct Subscription['a] flexible 4 {
        /// The topics that it wants.
        topics: Vec<Cow<'a, str>>, 0;
        /// Whatever its assignor needs.
        user_data: Option<Cow<'a, [u8]>>, 0;
        /// What it owns (KIP-429).
        owned_partitions: Vec<TopicPartition<'a>>, 1..;
        /// The generation in which it got that; -1 is unknown (KIP-792).
        generation_id: i32, 2.., = -1;
        /// Its rack (KIP-881).
        rack_id: Option<Cow<'a, str>>, 3..;
    }
}

message! {
    /// What a member gets.
    struct Assignment['a] flexible 4 {
        /// The partitions.
        assigned_partitions: Vec<TopicPartition<'a>>, 0;
        /// Whatever its assignor wants it to keep.
        user_data: Option<Cow<'a, [u8]>>, 0;
    }
}

message! {
    /// Partitions of a topic.
    struct TopicPartition['a] {
        /// The topic.
        topic: Cow<'a, str>, 0;
        /// The partitions.
        partitions: Vec<i32>, 0;
    }
}

impl<'a> Subscription<'a> {
    /// Reads what a member gave when it joined, and its version as given.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<(i16, Subscription<'a>), DecodeError> {
        from_bytes(bytes)
    }

    /// What a member of that version gives.
    pub fn to_bytes(&self, version: i16) -> Bytes {
        to_bytes(self, version)
    }
}

impl<'a> Assignment<'a> {
    /// Reads what a leader gave, and its version as given.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<(i16, Assignment<'a>), DecodeError> {
        from_bytes(bytes)
    }

    /// What a member of that version gets.
    pub fn to_bytes(&self, version: i16) -> Bytes {
        to_bytes(self, version)
    }
}

fn from_bytes<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<(i16, M), DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.fixed::<i16>()?;
    if version < 0 {
        return Err(DecodeError::Version(version));
    }
    Ok((version, M::decode(&mut reader, version.min(VERSION_MAX))?))
}

fn to_bytes<'a>(message: &impl Message<'a>, version: i16) -> Bytes {
    let version = version.clamp(0, VERSION_MAX);
    let mut writer = Writer::new();
    writer.put(&version.to_be_bytes());
    message.encode(&mut writer, version);
    writer.finish_contiguous()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn owned() -> Vec<TopicPartition<'static>> {
        vec![TopicPartition { topic: "ice".into(), partitions: vec![3, 9] }]
    }

    /// Topics and user data; what is owned; the generation; the rack: as `ConsumerProtocol` of kafka-clients 4.3.1 wrote the same values.
    const SUBSCRIPTION: [&str; 4] = [
        "0000000200036963650004736e6f77000000020102",
        "000000010003696365000000020000000300000009",
        "00000007",
        "00056e6f727468",
    ];

    #[test]
    fn a_subscription_is_as_java_writes_it() {
        let full = Subscription {
            topics: vec!["ice".into(), "snow".into()],
            user_data: Some(Cow::Borrowed(&[1, 2])),
            owned_partitions: owned(),
            generation_id: 7,
            rack_id: Some("north".into()),
        };
        for version in 0..=VERSION_MAX {
            let bytes = full.to_bytes(version);
            assert_eq!(hex(&bytes), format!("{version:04x}{}", SUBSCRIPTION[..=version as usize].concat()));
            let (found, again) = Subscription::from_bytes(&bytes).expect("ours");
            assert_eq!((found, again.to_bytes(version)), (version, bytes.clone()));
            assert_eq!(again == full, version == VERSION_MAX, "older ones lack something");
        }
    }

    #[test]
    fn an_assignment_is_as_java_writes_it() {
        let assignment = Assignment { assigned_partitions: owned(), user_data: None };
        for version in 0..=VERSION_MAX {
            let bytes = assignment.to_bytes(version);
            assert_eq!(hex(&bytes), format!("{version:04x}000000010003696365000000020000000300000009ffffffff"));
            assert_eq!(Assignment::from_bytes(&bytes), Ok((version, assignment.clone())));
        }
    }

    #[test]
    fn a_newer_version_is_read_as_the_newest_known() {
        let assignment = Assignment { assigned_partitions: owned(), user_data: None };
        let mut bytes = assignment.to_bytes(VERSION_MAX).to_vec();
        bytes[1] = 9;
        bytes.extend(b"what version 9 added");
        assert_eq!(Assignment::from_bytes(&bytes), Ok((9, assignment)));
        bytes[0] = 0x80;
        assert_eq!(Assignment::from_bytes(&bytes), Err(DecodeError::Version(i16::MIN + 9)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(version in 0..5_u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&[0, version], bytes.as_slice()].concat();
            let _ = Subscription::from_bytes(&bytes);
            let _ = Assignment::from_bytes(&bytes);
        }
    }
}
