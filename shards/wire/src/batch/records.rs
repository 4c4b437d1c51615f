//! The records of one batch, read one by one without copying what is not compressed.

use super::{BatchError, BatchHeader, HEADER_BYTES};
use crate::compression::{Codec, decompress};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::primitives::{DecodeError, Reader};

/// Fields of a header of a record: at least a byte each.
const HEADER_FIELD_BYTES: usize = 2;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds (the append's where the batch says so).
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Vec<HeaderView<'a>>,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// Its name.
    pub key: &'a str,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// Iterates over the records of a batch; ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    reader: Reader<'a>,
    next: i32,
}

/// The records of the batch `bytes`. `scratch` holds them when they are compressed.
pub fn records<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Records<'a>, BatchError> {
    records_capped(bytes, scratch, DECOMPRESSED_BYTES_MAX)
}

/// [`records`] with another bound on what compressed records may become.
pub fn records_capped<'a>(
    bytes: &'a [u8],
    scratch: &'a mut Vec<u8>,
    bytes_max: usize,
) -> Result<Records<'a>, BatchError> {
    let header = BatchHeader::decode(bytes)?;
    let need = header.total_bytes();
    let body = bytes.get(HEADER_BYTES..need).ok_or(BatchError::Truncated { need, have: bytes.len() })?;
    let plain = match header.codec().ok_or(BatchError::Codec((header.attributes & 7) as u8))? {
        Codec::None => body,
        codec => {
            decompress(codec, body, bytes_max, scratch)?;
            scratch.as_slice()
        }
    };
    Ok(Records { header, reader: Reader::new(plain), next: 0 })
}

impl<'a> Records<'a> {
    /// Header of the batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn record(&mut self) -> Result<RecordView<'a>, DecodeError> {
        let len = length(&mut self.reader)?.ok_or(DecodeError::NegativeLength(-1))?;
        let mut r = Reader::new(self.reader.take(len)?);
        r.take(1)?; // Attributes: unused so far.
        let timestamp_delta = r.varlong()?;
        let offset_delta = r.varlong()?;
        let key = nullable(&mut r)?;
        let value = nullable(&mut r)?;
        let count = length(&mut r)?.ok_or(DecodeError::NegativeLength(-1))?;
        // A header has two bytes at least; memory is taken as they come.
        let mut headers = Vec::with_capacity(count.min(r.remaining() / HEADER_FIELD_BYTES).min(16));
        for _ in 0..count {
            let key = nullable(&mut r)?.ok_or(DecodeError::NegativeLength(-1))?;
            let key = std::str::from_utf8(key).map_err(|_| DecodeError::Utf8)?;
            headers.push(HeaderView { key, value: nullable(&mut r)? });
        }
        if r.remaining() > 0 {
            return Err(DecodeError::Trailing(r.remaining()));
        }
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.wrapping_add(timestamp_delta)
        };
        Ok(RecordView { offset: self.header.base_offset.wrapping_add(offset_delta), timestamp, key, value, headers })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.header.records_count {
            return None;
        }
        let at = self.next;
        let record = self.record().map_err(|_| BatchError::Record(at));
        self.next = if record.is_ok() { at + 1 } else { i32::MAX };
        // Bytes behind the last record: it was not the last.
        if record.is_ok() && self.next == self.header.records_count && self.reader.remaining() > 0 {
            return Some(Err(BatchError::Record(self.next)));
        }
        Some(record)
    }
}

/// Whether the records fill `body` exactly, each of them whole, with offsets that rise by one. Gives their lowest and highest timestamp.
/// Takes no memory.
pub(super) fn walk(header: &BatchHeader, body: &[u8]) -> Result<(i64, i64), BatchError> {
    let mut reader = Reader::new(body);
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for record in 0..header.records_count {
        let delta = step(&mut reader, record).ok_or(BatchError::Record(record))?;
        let timestamp = header.base_timestamp.wrapping_add(delta);
        (min, max) = (min.min(timestamp), max.max(timestamp));
    }
    if reader.remaining() > 0 {
        return Err(BatchError::Record(header.records_count));
    }
    if header.is_log_append_time() {
        (min, max) = (header.max_timestamp, header.max_timestamp);
    }
    Ok((min, max))
}

/// Looks at one record: its timestamp delta, `None` when it is not whole or not the next one.
fn step(reader: &mut Reader<'_>, number: i32) -> Option<i64> {
    let len = length(reader).ok()??;
    let mut r = Reader::new(reader.take(len).ok()?);
    r.take(1).ok()?;
    let timestamp_delta = r.varlong().ok()?;
    if r.varlong().ok()? != i64::from(number) {
        return None;
    }
    nullable(&mut r).ok()?;
    nullable(&mut r).ok()?;
    let count = length(&mut r).ok()??;
    if count > r.remaining() / HEADER_FIELD_BYTES {
        return None;
    }
    for _ in 0..count {
        nullable(&mut r).ok()??;
        nullable(&mut r).ok()?;
    }
    (r.remaining() == 0).then_some(timestamp_delta)
}

pub(super) fn length(reader: &mut Reader<'_>) -> Result<Option<usize>, DecodeError> {
    match reader.varlong()? {
        -1 => Ok(None),
        len => usize::try_from(len).map(Some).map_err(|_| DecodeError::NegativeLength(len)),
    }
}

pub(super) fn nullable<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    let Some(len) = length(reader)? else { return Ok(None) };
    reader.take(len).map(Some)
}
