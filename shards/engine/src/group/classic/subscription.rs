//! Which topics the members of a consumer group read: their metadata begin with a version and the topics, whatever the assignor.

use std::collections::BTreeSet;

use super::{ClassicGroup, State};

impl ClassicGroup {
    /// Whether offsets of a topic are in use. Where subscriptions cannot be read all topics are, as in Kafka.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        if !self.is_consumers() || self.state == State::Empty {
            return false;
        }
        self.subscribed().is_none_or(|topics| topics.contains(topic))
    }

    /// What the members subscribed to for the generation's protocol; `None` when it cannot be read.
    pub(super) fn subscribed(&self) -> Option<BTreeSet<&str>> {
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            if let Some(metadata) = member.metadata(protocol) {
                read(metadata, &mut topics)?;
            }
        }
        Some(topics)
    }
}

/// ConsumerProtocolSubscription: version, topics, and what later versions append.
fn read<'a>(metadata: &'a [u8], topics: &mut BTreeSet<&'a str>) -> Option<()> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    for _ in 0..i32::from_be_bytes(*count).max(0) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (topic, after) = after.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        topics.insert(std::str::from_utf8(topic).ok()?);
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_read_and_damaged_ones_refused() {
        let rows: &[(&[u8], Option<&[&str]>)] = &[
            (b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff", Some(&["a", "bc"])),
            (b"\0\0\0\0\0\0", Some(&[])),
            (b"\0\0\xff\xff\xff\xff", Some(&[])),
            (b"", None),
            (b"\xff\xff\0\0\0\0", None),
            (b"\0\0\x7f\xff\xff\xff\0\x01a", None),
            (b"\0\0\0\0\0\x01\xff\xffa", None),
            (b"\0\0\0\0\0\x01\0\x01\xff", None),
        ];
        for (bytes, expected) in rows {
            let mut topics = BTreeSet::new();
            let read = read(bytes, &mut topics).map(|()| topics.into_iter().collect::<Vec<_>>());
            assert_eq!(read.as_deref(), *expected, "{bytes:?}");
        }
    }
}
