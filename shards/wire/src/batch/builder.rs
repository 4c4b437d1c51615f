//! Makes batches: from records (clients, tests), or from a batch in another codec (`compression.type` of a topic).

use bytes::Bytes;

use super::{BatchError, BatchHeader, HEADER_BYTES, LENGTH_END, seal, walk};
use crate::compression::{Codec, CodecError, compress, decompress};

/// Why no batch came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// What went in is no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The records could not be compressed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A record to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchRecord<'a> {
    /// Milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Names and values of its headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Collects records into one batch with base offset 0.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    /// Id, epoch, first sequence.
    producer: (i64, i16, i32),
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    body: Vec<u8>,
    record: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            producer: (-1, -1, -1),
            attributes: codec as i16,
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            body: Vec::new(),
            record: Vec::new(),
        }
    }

    /// Makes it an idempotent producer's.
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        self.producer = (id, epoch, base_sequence);
    }

    /// Makes it part of its producer's transaction.
    pub fn transactional(&mut self) {
        self.attributes |= super::TRANSACTIONAL;
    }

    /// Sets further attributes (transactional, control); for tests of those who refuse them.
    pub fn attributes(&mut self, bits: i16) {
        self.attributes |= bits;
    }

    /// Number of records so far.
    pub fn records_count(&self) -> i32 {
        self.count
    }

    /// Bytes of the records so far, before compression.
    pub fn records_bytes(&self) -> usize {
        self.body.len()
    }

    /// Adds a record.
    pub fn push(&mut self, record: BatchRecord<'_>) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let out = &mut self.record;
        out.clear();
        out.push(0);
        varlong(out, record.timestamp.wrapping_sub(self.base_timestamp));
        varlong(out, i64::from(self.count));
        nullable(out, record.key);
        nullable(out, record.value);
        varlong(out, record.headers.len() as i64);
        for (name, value) in record.headers {
            nullable(out, Some(name.as_bytes()));
            nullable(out, *value);
        }
        varlong(&mut self.body, out.len() as i64);
        self.body.extend_from_slice(out);
        self.count += 1;
    }

    /// The batch.
    ///
    /// # Panics
    /// When it has no records, or more than 2 GiB.
    pub fn finish(self) -> Bytes {
        assert!(self.count > 0, "a batch has at least one record");
        let packed = match self.codec {
            Codec::None => self.body,
            codec => compress(codec, &self.body).expect("compressing into memory does not fail"),
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + packed.len());
        out.extend_from_slice(&0_i64.to_be_bytes());
        out.extend_from_slice(&length(packed.len()).to_be_bytes());
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.attributes.to_be_bytes());
        out.extend_from_slice(&(self.count - 1).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&self.producer.0.to_be_bytes());
        out.extend_from_slice(&self.producer.1.to_be_bytes());
        out.extend_from_slice(&self.producer.2.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&packed);
        seal(&mut out);
        Bytes::from(out)
    }
}

/// The same batch in another codec. Its records are looked at on the way, as [`super::validate`] does with those that are not compressed. More than
/// `bytes_max` bytes of decompressed records are an error.
pub fn recompress(batch: &[u8], codec: Codec, bytes_max: usize) -> Result<Bytes, BuildError> {
    let header = BatchHeader::decode(batch)?;
    let need = header.total_bytes();
    let body = batch.get(HEADER_BYTES..need).ok_or(BatchError::Truncated { need, have: batch.len() })?;
    let old = header.codec().ok_or(BatchError::Codec((header.attributes & 7) as u8))?;
    let mut plain = Vec::new();
    decompress(old, body, bytes_max, &mut plain)?;
    walk(&header, &plain)?;
    let packed = compress(codec, &plain)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + packed.len());
    out.extend_from_slice(&batch[..HEADER_BYTES]);
    out[8..LENGTH_END].copy_from_slice(&length(packed.len()).to_be_bytes());
    let attributes = (header.attributes & !7) | codec as i16;
    out[21..23].copy_from_slice(&attributes.to_be_bytes());
    out.extend_from_slice(&packed);
    seal(&mut out);
    Ok(Bytes::from(out))
}

/// The length field of a batch with so many bytes of records.
fn length(records_bytes: usize) -> i32 {
    i32::try_from(records_bytes + HEADER_BYTES - LENGTH_END).expect("a batch is smaller than 2 GiB")
}

fn nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varlong(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

pub(super) fn varlong(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}
