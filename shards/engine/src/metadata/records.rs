//! The records of the metadata log, to bytes and back. A change is one frame: all of its records count, or none.
//!
//! Frame: length of the body (u32), CRC-32 of the body (u32), then the body: number of the change (u64), records. Little-endian. Each record
//! begins with its kind; a kind that is not known ends in an error, because it was written by a newer Floe.

use floe_wire::ids::TopicId;

use crate::config::Values;
use crate::limits::METADATA_FRAME_BYTES_MAX;

/// Bytes of a frame before its body.
pub const FRAME_HEADER_BYTES: usize = 8;

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The cluster's identity.
    Cluster {
        /// Its id.
        id: String,
    },
    /// A topic came to be.
    CreateTopic {
        /// Its identity.
        id: TopicId,
        /// Its name.
        name: String,
        /// Its partitions.
        partitions: i32,
        /// Where they begin in the row of shards.
        placement: u32,
        /// Its own settings.
        configs: Values,
    },
    /// A topic is gone.
    DeleteTopic {
        /// Which.
        id: TopicId,
    },
    /// A topic has more partitions.
    Partitions {
        /// Which.
        id: TopicId,
        /// How many now.
        partitions: i32,
    },
    /// A topic's setting changed.
    TopicConfig {
        /// Which topic.
        id: TopicId,
        /// Which setting.
        name: String,
        /// `None`: back to what the broker says.
        value: Option<String>,
    },
    /// The broker's setting changed.
    BrokerConfig {
        /// Which.
        name: String,
        /// `None`: back to what the configuration says.
        value: Option<String>,
    },
    /// A setting of every broker changed.
    ClusterConfig {
        /// Which.
        name: String,
        /// `None`: back to what the configuration says.
        value: Option<String>,
    },
    /// Producer ids below this may be in use.
    ProducerIds {
        /// The first that is free.
        next: i64,
    },
    /// In a snapshot: a topic that was deleted before it, and whose files may still be there.
    Deleted {
        /// Which.
        id: TopicId,
    },
    /// Where the next topic begins in the row of shards.
    Placement {
        /// There.
        next: u32,
    },
}

/// What stands at a place of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole change and the bytes it takes.
    Whole {
        /// Its number.
        version: u64,
        /// Its records.
        records: Vec<Record>,
        /// Bytes with the header.
        bytes: usize,
    },
    /// Nothing whole.
    Broken,
    /// Whole, and not understood; the reason.
    Unknown(String),
}

/// A change as a frame.
pub fn encode(version: u64, records: &[Record]) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    frame.extend_from_slice(&version.to_le_bytes());
    records.iter().for_each(|record| put(&mut frame, record));
    let len = (frame.len() - FRAME_HEADER_BYTES) as u32;
    let crc = crc32fast::hash(&frame[FRAME_HEADER_BYTES..]);
    frame[..4].copy_from_slice(&len.to_le_bytes());
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// What stands at the beginning of `bytes`.
pub fn decode(bytes: &[u8]) -> Frame {
    decode_within(bytes, METADATA_FRAME_BYTES_MAX)
}

/// The same, with a bound of its own on the body.
pub fn decode_within(bytes: &[u8], bytes_max: usize) -> Frame {
    let mut head = Fields(bytes);
    let (Some(len), Some(crc)) = (head.u32(), head.u32()) else { return Frame::Broken };
    let len = len as usize;
    let Some(body) = head.0.get(..len).filter(|_| (8..=bytes_max).contains(&len)) else {
        return Frame::Broken;
    };
    if crc32fast::hash(body) != crc {
        return Frame::Broken;
    }
    let mut fields = Fields(body);
    let Some(version) = fields.u64() else { return Frame::Broken };
    let mut records = Vec::new();
    while let Some(kind) = fields.0.first().copied() {
        match fields.record() {
            Some(record) => records.push(record),
            None => return Frame::Unknown(format!("change {version} has a record of kind {kind} that is not known")),
        }
    }
    Frame::Whole { version, records, bytes: FRAME_HEADER_BYTES + len }
}

fn put(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Cluster { id } => {
            out.push(1);
            put_text(out, id);
        }
        Record::CreateTopic { id, name, partitions, placement, configs } => {
            out.push(2);
            out.extend_from_slice(&id.0);
            put_text(out, name);
            out.extend_from_slice(&partitions.to_le_bytes());
            out.extend_from_slice(&placement.to_le_bytes());
            out.extend_from_slice(&(configs.len() as u32).to_le_bytes());
            for (name, value) in configs {
                put_text(out, name);
                put_text(out, value);
            }
        }
        Record::DeleteTopic { id } => {
            out.push(3);
            out.extend_from_slice(&id.0);
        }
        Record::Partitions { id, partitions } => {
            out.push(4);
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&partitions.to_le_bytes());
        }
        Record::TopicConfig { id, name, value } => {
            out.push(5);
            out.extend_from_slice(&id.0);
            put_text(out, name);
            put_optional(out, value.as_deref());
        }
        Record::BrokerConfig { name, value } => {
            out.push(6);
            put_text(out, name);
            put_optional(out, value.as_deref());
        }
        Record::ClusterConfig { name, value } => {
            out.push(9);
            put_text(out, name);
            put_optional(out, value.as_deref());
        }
        Record::Deleted { id } => {
            out.push(10);
            out.extend_from_slice(&id.0);
        }
        Record::ProducerIds { next } => {
            out.push(7);
            out.extend_from_slice(&next.to_le_bytes());
        }
        Record::Placement { next } => {
            out.push(8);
            out.extend_from_slice(&next.to_le_bytes());
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    text.into_iter().for_each(|text| put_text(out, text));
}

/// Takes fields from the front; every length is held against what is left.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let len = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).ok()
    }

    fn optional(&mut self) -> Option<Option<String>> {
        match self.array::<1>()? {
            [0] => Some(None),
            _ => self.text().map(Some),
        }
    }

    fn record(&mut self) -> Option<Record> {
        Some(match self.array::<1>()?[0] {
            1 => Record::Cluster { id: self.text()? },
            2 => Record::CreateTopic {
                id: TopicId(self.array()?),
                name: self.text()?,
                partitions: self.u32()? as i32,
                placement: self.u32()?,
                configs: self.configs()?,
            },
            3 => Record::DeleteTopic { id: TopicId(self.array()?) },
            4 => Record::Partitions { id: TopicId(self.array()?), partitions: self.u32()? as i32 },
            5 => Record::TopicConfig { id: TopicId(self.array()?), name: self.text()?, value: self.optional()? },
            6 => Record::BrokerConfig { name: self.text()?, value: self.optional()? },
            7 => Record::ProducerIds { next: self.u64()? as i64 },
            8 => Record::Placement { next: self.u32()? },
            10 => Record::Deleted { id: TopicId(self.array()?) },
            9 => Record::ClusterConfig { name: self.text()?, value: self.optional()? },
            _ => return None,
        })
    }

    fn configs(&mut self) -> Option<Values> {
        let mut configs = Values::new();
        for _ in 0..self.u32()? {
            configs.insert(self.text()?, self.text()?);
        }
        Some(configs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back() {
        let id = TopicId([7; 16]);
        let records = vec![
            Record::Cluster { id: "c".into() },
            Record::CreateTopic {
                id,
                name: "t".into(),
                partitions: 3,
                placement: 9,
                configs: [("retention.ms".to_owned(), "1".to_owned())].into(),
            },
            Record::Partitions { id, partitions: 5 },
            Record::TopicConfig { id, name: "a".into(), value: None },
            Record::BrokerConfig { name: "b".into(), value: Some(String::new()) },
            Record::ClusterConfig { name: "c".into(), value: Some("d".into()) },
            Record::ProducerIds { next: i64::MAX },
            Record::Placement { next: u32::MAX },
            Record::Deleted { id },
            Record::DeleteTopic { id },
        ];
        let mut frame = encode(12, &records);
        assert_eq!(decode(&frame), Frame::Whole { version: 12, records, bytes: frame.len() });
        for cut in 0..frame.len() {
            assert_eq!(decode(&frame[..cut]), Frame::Broken);
        }
        for at in 0..frame.len() {
            frame[at] ^= 0x10;
            assert_eq!(decode(&frame), Frame::Broken, "a changed byte at {at}");
            frame[at] ^= 0x10;
        }
    }

    #[test]
    fn a_newer_record_is_named() {
        let mut frame = encode(3, &[Record::ProducerIds { next: 1 }]);
        frame[16] = 99;
        let crc = crc32fast::hash(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(decode(&frame), Frame::Unknown(reason) if reason.contains("kind 99")));
    }
}
