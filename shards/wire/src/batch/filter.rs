//! A batch with some of its records: what compaction leaves of one. Everything else stays as it was, so that offsets, sequences and the
//! producer can still be told; records that stay are not encoded anew.

use super::builder::varlong;
use super::records::{length, nullable};
use super::{BatchError, BatchHeader, CRC_FROM, DELETE_HORIZON, HEADER_BYTES, LENGTH_END, MAX_TIMESTAMP_AT, seal};
use crate::compression::{Codec, compress, decompress};
use crate::primitives::Reader;

/// Bytes ahead of the base timestamp.
const BASE_TIMESTAMP_AT: usize = 27;
const RECORDS_COUNT_AT: usize = 57;
const CODEC: i16 = 0x07;
/// The timestamp of a batch without records: there is none.
const NO_TIMESTAMP: i64 = -1;

/// One record as it stands in its batch, decompressed.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Relative to the batch's base offset.
    pub offset_delta: i64,
    /// Relative to the batch's base timestamp, in milliseconds.
    pub timestamp_delta: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Whether it has a value; one without deletes its key.
    pub has_value: bool,
    /// All of it, with its length.
    whole: &'a [u8],
    attributes: u8,
    /// From the key's length on.
    rest: &'a [u8],
}

/// Iterates over the records of a batch and takes no memory for it; ends after the first error. Offsets rise, within the batch.
#[derive(Clone, Debug)]
pub struct RawRecords<'a> {
    header: BatchHeader,
    reader: Reader<'a>,
    body: &'a [u8],
    next: i32,
    last_delta: i64,
}

/// The records of the batch `bytes`. `scratch` holds them when they are compressed, at most `bytes_max` bytes of them.
pub fn raw_records<'a>(
    bytes: &'a [u8],
    scratch: &'a mut Vec<u8>,
    bytes_max: usize,
) -> Result<RawRecords<'a>, BatchError> {
    let header = BatchHeader::decode(bytes)?;
    let need = header.total_bytes();
    let packed = bytes.get(HEADER_BYTES..need).ok_or(BatchError::Truncated { need, have: bytes.len() })?;
    let body = match header.codec().ok_or(BatchError::Codec((header.attributes & CODEC) as u8))? {
        Codec::None => packed,
        // An empty batch says nothing about its codec.
        _ if header.records_count == 0 => packed,
        codec => {
            decompress(codec, packed, bytes_max, scratch)?;
            scratch.as_slice()
        }
    };
    Ok(RawRecords { header, reader: Reader::new(body), body, next: 0, last_delta: -1 })
}

impl<'a> RawRecords<'a> {
    /// Header of the batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of all records, decompressed.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    fn record(&mut self) -> Option<RawRecord<'a>> {
        let from = self.body.len() - self.reader.remaining();
        let len = length(&mut self.reader).ok()??;
        let body = self.reader.take(len).ok()?;
        let whole = &self.body[from..self.body.len() - self.reader.remaining()];
        let mut r = Reader::new(body);
        let attributes = r.take(1).ok()?[0];
        let timestamp_delta = r.varlong().ok()?;
        let offset_delta = r.varlong().ok()?;
        if offset_delta <= self.last_delta || offset_delta > i64::from(self.header.last_offset_delta) {
            return None;
        }
        self.last_delta = offset_delta;
        let rest = &body[body.len() - r.remaining()..];
        let key = nullable(&mut r).ok()?;
        let has_value = nullable(&mut r).ok()?.is_some();
        let count = length(&mut r).ok()??;
        for _ in 0..count {
            nullable(&mut r).ok()??;
            nullable(&mut r).ok()?;
        }
        (r.remaining() == 0).then_some(RawRecord {
            offset_delta,
            timestamp_delta,
            key,
            has_value,
            whole,
            attributes,
            rest,
        })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.header.records_count {
            let behind = self.next < i32::MAX && self.reader.remaining() > 0;
            self.next = i32::MAX;
            return behind.then_some(Err(BatchError::Record(self.header.records_count)));
        }
        let at = self.next;
        let record = self.record();
        self.next = if record.is_some() { at + 1 } else { i32::MAX };
        Some(record.ok_or(BatchError::Record(at)))
    }
}

/// Writes the batch `batch` behind `out`, with only `kept` of its records (in their order), in the same codec. With a delete horizon, that stands in
/// place of the base timestamp (KIP-534). The highest timestamp is that of the records left.
pub fn rewrite<'a>(
    batch: &[u8],
    kept: impl Iterator<Item = RawRecord<'a>>,
    delete_horizon_ms: Option<i64>,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let header = BatchHeader::decode(batch)?;
    let base = delete_horizon_ms.unwrap_or(header.base_timestamp);
    let shift = header.base_timestamp.wrapping_sub(base);
    let mut body = Vec::new();
    let mut count = 0_i32;
    let mut max_timestamp = i64::MIN;
    let mut head = Vec::new();
    for record in kept {
        if shift == 0 {
            body.extend_from_slice(record.whole);
        } else {
            head.clear();
            head.push(record.attributes);
            varlong(&mut head, record.timestamp_delta.wrapping_add(shift));
            varlong(&mut head, record.offset_delta);
            varlong(&mut body, (head.len() + record.rest.len()) as i64);
            body.extend_from_slice(&head);
            body.extend_from_slice(record.rest);
        }
        count += 1;
        max_timestamp = max_timestamp.max(header.base_timestamp.wrapping_add(record.timestamp_delta));
    }
    let mut attributes = header.attributes;
    if delete_horizon_ms.is_some() {
        attributes |= DELETE_HORIZON;
    }
    if header.is_log_append_time() {
        max_timestamp = header.max_timestamp;
    }
    if count == 0 {
        // The header alone, which says which sequence its producer had come to.
        return empty(batch, out);
    }
    let packed = match header.codec().ok_or(BatchError::Codec((attributes & CODEC) as u8))? {
        Codec::None => body,
        codec => compress(codec, &body)?,
    };
    let length = i32::try_from(packed.len() + HEADER_BYTES - LENGTH_END).map_err(|_| BatchError::Record(0))?;
    let from = out.len();
    out.extend_from_slice(&batch[..HEADER_BYTES]);
    out.extend_from_slice(&packed);
    let made = &mut out[from..];
    made[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    made[CRC_FROM..CRC_FROM + 2].copy_from_slice(&attributes.to_be_bytes());
    made[BASE_TIMESTAMP_AT..MAX_TIMESTAMP_AT].copy_from_slice(&base.to_be_bytes());
    made[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    made[RECORDS_COUNT_AT..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
    seal(made);
    Ok(())
}

/// Writes the header of `batch` behind `out`, as a batch without records: which offsets it had, and which sequences of its producer.
pub fn empty(batch: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    let header = BatchHeader::decode(batch)?;
    let from = out.len();
    out.extend_from_slice(&batch[..HEADER_BYTES]);
    let made = &mut out[from..];
    made[8..LENGTH_END].copy_from_slice(&((HEADER_BYTES - LENGTH_END) as i32).to_be_bytes());
    let attributes = header.attributes & !(CODEC | DELETE_HORIZON);
    made[CRC_FROM..CRC_FROM + 2].copy_from_slice(&attributes.to_be_bytes());
    made[BASE_TIMESTAMP_AT..MAX_TIMESTAMP_AT].copy_from_slice(&NO_TIMESTAMP.to_be_bytes());
    made[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&NO_TIMESTAMP.to_be_bytes());
    made[RECORDS_COUNT_AT..HEADER_BYTES].fill(0);
    seal(made);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchRecord, records, stamp};

    fn built(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        builder.producer(7, 1, 40);
        for (i, value) in [Some(b"a".as_slice()), None, Some(b"c"), Some(b"d")].into_iter().enumerate() {
            let key = [i as u8];
            let headers = [("h", Some(b"x".as_slice()))];
            builder.push(BatchRecord { timestamp: 100 - i as i64, key: Some(&key), value, headers: &headers });
        }
        let mut batch = builder.finish().to_vec();
        stamp(&mut batch, 1000, 3);
        batch
    }

    /// Offset, timestamp, key, value of each.
    fn read(batch: &[u8]) -> Vec<(i64, i64, u8, Option<Vec<u8>>)> {
        let mut scratch = Vec::new();
        let all = records(batch, &mut scratch).unwrap();
        all.map(|r| r.unwrap())
            .map(|r| {
                assert_eq!((r.headers.len(), r.headers[0].key), (1, "h"));
                (r.offset, r.timestamp, r.key.unwrap()[0], r.value.map(<[u8]>::to_vec))
            })
            .collect()
    }

    #[test]
    fn what_stays_is_as_it_was() {
        for codec in Codec::ALL {
            let batch = built(codec);
            let before = BatchHeader::decode(&batch).unwrap();
            for horizon in [None, Some(500), Some(-3)] {
                let mut scratch = Vec::new();
                let raw = raw_records(&batch, &mut scratch, 1 << 20).unwrap();
                let mut out = b"ahead".to_vec();
                let kept = raw.map(Result::unwrap).filter(|r| r.offset_delta % 2 == 1);
                rewrite(&batch, kept, horizon, &mut out).unwrap();
                let made = &out[5..];
                let after = BatchHeader::decode(made).unwrap();
                assert!(after.crc_holds(made) && after.total_bytes() == made.len(), "{codec:?}");
                assert_eq!(read(made), [(1001, 99, 1, None), (1003, 97, 3, Some(b"d".to_vec()))]);
                assert_eq!(after.has_delete_horizon(), horizon.is_some());
                let expected = BatchHeader {
                    batch_length: after.batch_length,
                    crc: after.crc,
                    attributes: after.attributes,
                    base_timestamp: horizon.unwrap_or(100),
                    max_timestamp: 99,
                    records_count: 2,
                    ..before
                };
                assert_eq!((after, after.codec()), (expected, Some(codec)));
            }
            let mut out = Vec::new();
            rewrite(&batch, std::iter::empty(), Some(1), &mut out).unwrap();
            let after = BatchHeader::decode(&out).unwrap();
            assert!(after.crc_holds(&out) && out.len() == HEADER_BYTES);
            assert_eq!((after.base_offset, after.last_offset(), after.records_count), (1000, 1003, 0));
            assert_eq!((after.producer_id, after.base_sequence, after.codec()), (7, 40, Some(Codec::None)));
            assert_eq!(raw_records(&out, &mut Vec::new(), 0).unwrap().count(), 0);
        }
    }

    #[test]
    fn offsets_that_do_not_rise_within_the_batch_are_seen() {
        let batch = built(Codec::None);
        // The second record's offset delta.
        let at = HEADER_BYTES + 1 + batch[HEADER_BYTES] as usize / 2 + 3;
        assert_eq!(batch[at], 2);
        for (delta, holds) in [(2, true), (0, false), (8, false), (1, false), (4, false)] {
            let mut batch = batch.clone();
            batch[at] = delta;
            let mut scratch = Vec::new();
            let all: Result<Vec<_>, _> = raw_records(&batch, &mut scratch, 0).unwrap().collect();
            assert_eq!(all.is_ok(), holds, "{delta}");
        }
        let mut longer = batch.clone();
        longer[57..61].copy_from_slice(&3_i32.to_be_bytes());
        assert!(raw_records(&longer, &mut Vec::new(), 0).unwrap().any(|r| r.is_err()), "bytes behind the last record");
    }
}
