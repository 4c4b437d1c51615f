//! The control batch that ends a transaction: one record whose key says how and whose value says which coordinator wrote it. Kafka's format: key
//! `version: i16, type: i16` (0 aborted, 1 committed), value `version: i16, coordinator epoch: i32`, both version 0, big-endian.

use bytes::Bytes;
use floe_wire::batch::{BatchBuilder, BatchHeader, BatchRecord, records};
use floe_wire::compression::Codec;

use super::TxnEnd;

/// Attributes: transactional, control.
const ATTRIBUTES: i16 = 0x30;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// The batch, with base offset 0.
pub(super) fn batch(producer_id: i64, epoch: i16, end: TxnEnd, now_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.producer(producer_id, epoch, -1);
    builder.attributes(ATTRIBUTES);
    let mut key = [0; 4];
    key[2..].copy_from_slice(&if end.committed { COMMIT } else { ABORT }.to_be_bytes());
    let mut value = [0; 6];
    value[2..].copy_from_slice(&end.coordinator_epoch.to_be_bytes());
    builder.push(BatchRecord { timestamp: now_ms, key: Some(&key), value: Some(&value), headers: &[] });
    builder.finish()
}

/// What a control batch says; `None` when it is cut off, emptied by compaction, or of a kind that is not known: higher versions only add to the
/// end, as Kafka reads them.
pub(crate) fn read(bytes: &[u8]) -> Option<TxnEnd> {
    let header = BatchHeader::decode(bytes).ok()?;
    let bytes = bytes.get(..header.total_bytes())?;
    let mut scratch = Vec::new();
    let record = records(bytes, &mut scratch).ok()?.next()?.ok()?;
    let i16_at = |bytes: &[u8], at: usize| Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (key, value) = (record.key?, record.value?);
    if i16_at(key, 0)? < 0 || i16_at(value, 0)? < 0 {
        return None;
    }
    let committed = match i16_at(key, 2)? {
        ABORT => false,
        COMMIT => true,
        _ => return None,
    };
    let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
    Some(TxnEnd { committed, coordinator_epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that Kafka writes, field by field, and back.
    #[test]
    fn as_kafka_writes_it() {
        for (committed, kind) in [(false, 0), (true, 1)] {
            let end = TxnEnd { committed, coordinator_epoch: 0x0102_0304 };
            let batch = batch(77, 5, end, 1000);
            let header = BatchHeader::decode(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional() && header.crc_holds(&batch));
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 5, -1));
            assert_eq!((header.records_count, header.last_offset_delta, header.max_timestamp), (1, 0, 1000));
            // Length, attributes, timestamp and offset deltas, key, value, headers.
            let record = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 1, 2, 3, 4, 0];
            assert_eq!(batch[61..], record);
            assert_eq!(read(&batch), Some(end));
            for len in 0..batch.len() {
                assert_eq!(read(&batch[..len]), None, "cut at {len}");
            }
        }
    }

    #[test]
    fn what_is_something_else_ends_nothing() {
        let rows: [(&[u8], &[u8], &str); 5] = [
            (&[0, 0, 0, 2], &[0, 0, 0, 0, 0, 1], "a leader change"),
            (&[0, 0, 0], &[0, 0, 0, 0, 0, 1], "a key that is cut"),
            (&[0, 0, 0, 1], &[0, 0, 0, 0, 0], "a value that is cut"),
            (&[0xff, 0xff, 0, 1], &[0, 0, 0, 0, 0, 1], "a version below 0"),
            (&[], &[], "nothing"),
        ];
        for (key, value, why) in rows {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.attributes(ATTRIBUTES);
            builder.push(BatchRecord { timestamp: 0, key: Some(key), value: Some(value), headers: &[] });
            assert_eq!(read(&builder.finish()), None, "{why}");
        }
    }
}
