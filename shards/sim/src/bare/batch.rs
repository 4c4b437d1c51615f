//! Record batches (format v2, uncompressed) written and read by forty lines of their own, so that what judges the log shares no code with it.

use crate::content::{Content, RecordId, content};

/// Bytes before the records.
const HEADER_BYTES: usize = 61;

/// A batch of these records. `producer`: id, epoch and sequence of the first record.
pub fn build(records: &[(RecordId, i64)], producer: Option<(i64, i16, i32)>) -> Vec<u8> {
    let base_ms = records[0].1;
    let max_ms = records.iter().map(|r| r.1).max().unwrap_or(base_ms);
    let (id, epoch, sequence) = producer.unwrap_or((-1, -1, -1));
    let mut out = Vec::new();
    out.extend_from_slice(&0i64.to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes()); // length, set below
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&0u32.to_be_bytes()); // CRC, set below
    out.extend_from_slice(&0i16.to_be_bytes());
    out.extend_from_slice(&(records.len() as i32 - 1).to_be_bytes());
    out.extend_from_slice(&base_ms.to_be_bytes());
    out.extend_from_slice(&max_ms.to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&(records.len() as i32).to_be_bytes());
    for (i, (record, timestamp_ms)) in records.iter().enumerate() {
        let Content { key, value, headers } = content(*record);
        let mut body = vec![0];
        varint(&mut body, timestamp_ms - base_ms);
        varint(&mut body, i as i64);
        field(&mut body, key.as_deref());
        field(&mut body, value.as_deref());
        varint(&mut body, headers.len() as i64);
        for (name, value) in &headers {
            field(&mut body, Some(name.as_bytes()));
            field(&mut body, value.as_deref());
        }
        varint(&mut out, body.len() as i64);
        out.extend_from_slice(&body);
    }
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out
}

/// A batch as it was read.
pub struct ReadBatch {
    /// Offset of its first record, when it was made.
    pub base: i64,
    /// The same of its last one.
    pub last: i64,
    /// Its records.
    pub records: Vec<Read>,
}

/// A record as it was read.
pub struct Read {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// Its bytes.
    pub content: Content,
}

/// The batches in `bytes`; what is wrong with the first bad one. Only of a compacted partition records may be missing.
pub fn read(mut bytes: &[u8], compacted: bool) -> Result<Vec<ReadBatch>, String> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < HEADER_BYTES {
            return Err(format!("{} bytes at the end are no batch", bytes.len()));
        }
        let i64_at = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let base = i64_at(0);
        let len = i32_at(8) as usize + 12;
        if len < HEADER_BYTES || len > bytes.len() || bytes[16] != 2 {
            return Err(format!("a batch of {len} bytes, {} are there", bytes.len()));
        }
        if crc32c(&bytes[21..len]) != i32_at(17) as u32 {
            return Err(format!("a bad batch was served: CRC of the batch at {base}"));
        }
        let append_time = bytes[22] & 8 != 0;
        let (base_ms, max_ms, count) = (i64_at(27), i64_at(35), i32_at(57));
        let mut at = &bytes[HEADER_BYTES..len];
        let mut records: Vec<Read> = Vec::new();
        let last = base + i64::from(i32_at(23));
        for i in 0..count {
            let after = records.last().map_or(base - 1, |r| r.offset);
            let mut next = || -> Option<(i64, i64, Content)> {
                let _length = take_varint(&mut at)?;
                at = at.get(1..)?;
                let delta_ms = take_varint(&mut at)?;
                let offset_delta = take_varint(&mut at)?;
                let offset = base + offset_delta;
                if offset <= after || offset > last || (!compacted && offset_delta != i64::from(i)) {
                    return None;
                }
                let (key, value) = (take_field(&mut at)?, take_field(&mut at)?);
                let headers = (0..take_varint(&mut at)?)
                    .map(|_| Some((String::from_utf8(take_field(&mut at)??).ok()?, take_field(&mut at)?)))
                    .collect::<Option<Vec<_>>>()?;
                Some((delta_ms, offset, Content { key, value, headers }))
            };
            let (delta_ms, offset, content) =
                next().ok_or_else(|| format!("record {i} of the batch at {base} does not parse"))?;
            let timestamp_ms = if append_time { max_ms } else { base_ms + delta_ms };
            records.push(Read { offset, timestamp_ms, content });
        }
        if !compacted && records.last().is_none_or(|r| r.offset != last) {
            return Err(format!("the batch at {base} does not hold the records up to {last}"));
        }
        if !at.is_empty() {
            return Err(format!("{} bytes behind the records of the batch at {base}", at.len()));
        }
        batches.push(ReadBatch { base, last, records });
        bytes = &bytes[len..];
    }
    Ok(batches)
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut v = ((value << 1) ^ (value >> 63)) as u64;
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn take_varint(at: &mut &[u8]) -> Option<i64> {
    let mut v = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = at.split_first()?;
        *at = rest;
        v |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((v >> 1) as i64 ^ -((v & 1) as i64));
        }
    }
    None
}

fn field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |b| b.len() as i64));
    out.extend_from_slice(bytes.unwrap_or(&[]));
}

fn take_field(at: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let len = take_varint(at)?;
    if len < 0 {
        return Some(None);
    }
    let (bytes, rest) = at.split_at_checked(len as usize)?;
    *at = rest;
    Some(Some(bytes.to_vec()))
}

/// CRC-32C, bit by bit from a table made at compile time.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::identify;

    #[test]
    fn what_is_built_is_read() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let records: Vec<(RecordId, i64)> = (1..200).map(|n| (RecordId(n), 1_000 + n as i64)).collect();
        let mut bytes = build(&records, Some((7, 0, 3)));
        let read_back = read(&bytes, false).unwrap();
        assert_eq!(read_back.len(), 1);
        for (i, record) in read_back[0].records.iter().enumerate() {
            let made = &record.content;
            assert_eq!(identify(made.key.as_deref(), made.value.as_deref(), &made.headers), Some(records[i].0));
            assert_eq!((record.offset, record.timestamp_ms), (i as i64, records[i].1));
            assert_eq!(*made, content(records[i].0));
        }
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        assert!(read(&bytes, true).is_err());
    }
}
