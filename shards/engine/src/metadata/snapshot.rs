//! `metadata/snapshot`: the image at one change, so that the log holds only the changes after it and a start reads a bounded amount.
//!
//! It is one frame of [`super::records`] with the number of that change, replaced as a whole. Crash story: the snapshot is replaced first, and
//! durable, before the log is cut to nothing. In between the log has changes that the snapshot has as well; a start passes over those, and
//! finishes what was begun. A log whose first change does not follow the snapshot has lost its beginning.

use floe_wire::ids::TopicId;

use super::image::Image;
use super::records::{self, Frame, Record};
use crate::limits::METADATA_BYTES_MAX;

/// Its path.
pub(super) const PATH: &str = "metadata/snapshot";

/// What a snapshot holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The image.
    pub image: Image,
    /// Topics deleted before it, whose files may still be there.
    pub deleted: Vec<TopicId>,
}

/// The file's bytes; `None` when they would be more than can be read back.
pub(super) fn encode<'a>(image: &Image, deleted: impl Iterator<Item = &'a TopicId>) -> Option<Vec<u8>> {
    let mut records = image.records();
    records.extend(deleted.map(|id| Record::Deleted { id: *id }));
    let frame = records::encode(image.version, &records);
    (frame.len() as u64 <= METADATA_BYTES_MAX).then_some(frame)
}

/// Reads what [`encode`] made; the reason when it cannot.
pub(super) fn decode(bytes: &[u8]) -> Result<Snapshot, String> {
    let (version, records) = match records::decode_within(bytes, METADATA_BYTES_MAX as usize) {
        Frame::Whole { version, records, bytes: len } if len == bytes.len() => (version, records),
        Frame::Unknown(reason) => return Err(format!("{reason}; it was written by a newer Floe")),
        Frame::Whole { .. } | Frame::Broken => return Err("it is damaged".into()),
    };
    let mut snapshot = Snapshot::default();
    for record in &records {
        snapshot.image.apply(record)?;
        if let Record::Deleted { id } = record {
            snapshot.deleted.push(*id);
        }
    }
    snapshot.image.version = version;
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_damage_is_seen() {
        let mut image = Image::default();
        image.version = 9;
        let record = Record::BrokerConfig { name: "a".into(), value: Some("b".into()) };
        image.apply(&record).unwrap();
        let deleted = [TopicId([3; 16])];
        let mut bytes = encode(&image, deleted.iter()).unwrap();
        assert_eq!(decode(&bytes), Ok(Snapshot { image, deleted: deleted.into() }));
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
            bytes[at] ^= 1;
            assert!(decode(&bytes).is_err(), "byte {at}");
            bytes[at] ^= 1;
        }
        bytes.push(0);
        assert!(decode(&bytes).is_err(), "something behind it");
    }
}
