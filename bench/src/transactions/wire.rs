//! What is sent often: record batches that are laid out once, and Produce version 12 (transaction version 2: a partition comes into the transaction by
//! being written to) around them, by hand. Everything else is rare and goes by [`crate::asking`].

use crc_fast::{CrcAlgorithm, checksum, checksum_combine};

use crate::generator::records::BATCH_HEADER_BYTES;

/// Produce.
pub const PRODUCE: (i16, i16) = (0, 12);

// Offsets in the header of a batch, format 2.
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const PRODUCER_AT: usize = 43;
/// Attributes: part of a transaction.
const TRANSACTIONAL: i16 = 0x10;
/// The ends of the last partition, the last topic and the request: no tagged fields in any of them.
const END: [u8; 3] = [0; 3];

/// Who writes: producer id and epoch.
pub type Identity = (i64, i16);

/// A batch whose records never change; what does is in its header, and the CRC-32C is put together from that of both parts.
pub struct Batch {
    header: [u8; BATCH_HEADER_BYTES],
    /// The records, and [`END`].
    rest: Vec<u8>,
    rest_crc: u64,
    /// Records in it.
    pub records: i32,
    /// Bytes of their values.
    pub value_bytes: u64,
}

impl Batch {
    /// So many records with values of so many bytes.
    pub fn new(records: i32, value_bytes: usize, transactional: bool) -> Batch {
        let bytes = crate::client::batch(records, value_bytes);
        let (header, rest) = bytes.split_first_chunk().expect("a batch has a header");
        let mut header: [u8; BATCH_HEADER_BYTES] = *header;
        let attributes = if transactional { TRANSACTIONAL } else { 0 };
        header[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        let rest_crc = checksum(CrcAlgorithm::Crc32Iscsi, rest);
        let rest = [rest, &END].concat();
        Batch { header, rest, rest_crc, records, value_bytes: records as u64 * value_bytes as u64 }
    }

    /// Its header for this producer and first sequence.
    fn header(&self, (id, epoch): Identity, sequence: i32) -> [u8; BATCH_HEADER_BYTES] {
        let mut header = self.header;
        let producer = &mut header[PRODUCER_AT..];
        producer[..8].copy_from_slice(&id.to_be_bytes());
        producer[8..10].copy_from_slice(&epoch.to_be_bytes());
        producer[10..14].copy_from_slice(&sequence.to_be_bytes());
        let rest_bytes = (self.rest.len() - END.len()) as u64;
        let crc = checksum(CrcAlgorithm::Crc32Iscsi, &header[ATTRIBUTES_AT..]);
        let crc = checksum_combine(CrcAlgorithm::Crc32Iscsi, crc, self.rest_crc, rest_bytes) as u32;
        header[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        header
    }

    /// Bytes of the whole batch.
    fn bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.rest.len() - END.len()
    }

    /// What [`produce`] leaves to be sent behind a request of one batch: the records and the end of the request.
    pub fn body(&self) -> &[u8] {
        &self.rest
    }
}

/// A Produce request with one batch for each of these partitions and first sequences, acks=all, appended to `out`. Of a single batch only the header: its
/// [`Batch::body`] has to follow. Tells how many bytes these are.
pub fn produce(
    out: &mut Vec<u8>,
    correlation: i32,
    transactional_id: Option<&str>,
    topic: &str,
    (batch, identity): (&Batch, Identity),
    partitions: &[(i32, i32)],
) -> usize {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&PRODUCE.0.to_be_bytes());
    out.extend_from_slice(&PRODUCE.1.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    out.extend_from_slice(&[0, 10]);
    out.extend_from_slice(b"floe-bench");
    out.push(0); // no tagged fields in the header
    match transactional_id {
        Some(id) => compact(out, id.as_bytes()),
        None => out.push(0),
    }
    out.extend_from_slice(&(-1i16).to_be_bytes());
    out.extend_from_slice(&30_000i32.to_be_bytes());
    unsigned(out, 2); // one topic
    compact(out, topic.as_bytes());
    unsigned(out, partitions.len() + 1);
    let alone = partitions.len() == 1;
    for (at, (partition, sequence)) in partitions.iter().enumerate() {
        out.extend_from_slice(&partition.to_be_bytes());
        unsigned(out, batch.bytes() + 1);
        out.extend_from_slice(&batch.header(identity, *sequence));
        if !alone {
            // The last one brings the end of topic and request, those before it only their own.
            let end = if at + 1 == partitions.len() { batch.rest.len() } else { batch.rest.len() - 2 };
            out.extend_from_slice(&batch.rest[..end]);
        }
    }
    let body_bytes = if alone { batch.rest.len() } else { 0 };
    let size = (out.len() - begin - 4 + body_bytes) as i32;
    out[begin..begin + 4].copy_from_slice(&size.to_be_bytes());
    body_bytes
}

fn compact(out: &mut Vec<u8>, bytes: &[u8]) {
    unsigned(out, bytes.len() + 1);
    out.extend_from_slice(bytes);
}

fn unsigned(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use floe_wire::batch::validate;
    use floe_wire::frame::RequestHeader;
    use floe_wire::messages::Message;
    use floe_wire::messages::produce::ProduceRequest;
    use floe_wire::primitives::{Reader, Records};

    use super::*;

    /// Another decoder reads the same, to the last byte, and finds the batches whole.
    #[test]
    fn requests_are_what_another_decoder_reads() {
        for (partitions, transactional) in
            [(vec![(7, 300)], true), (vec![(0, 0), (1, 5), (99, 1)], true), (vec![(3, 9)], false)]
        {
            let batch = Batch::new(3, 1000, transactional);
            let id = transactional.then_some("a-transactional-id");
            let mut out = Vec::new();
            let body = produce(&mut out, 42, id, "topic", (&batch, (77, 5)), &partitions);
            out.extend_from_slice(&batch.body()[..body]);
            assert_eq!(out[..4], (out.len() as u32 - 4).to_be_bytes());
            let mut reader = Reader::new(&out[4..]);
            let header = RequestHeader::decode(&mut reader).expect("a header");
            assert_eq!((header.api_key, header.api_version, header.correlation_id), (0, 12, 42));
            let rest = &out[out.len() - reader.remaining()..];
            let request = ProduceRequest::decode_all(rest, 12).expect("a Produce request");
            assert_eq!((request.acks, request.transactional_id.as_deref()), (-1, id));
            let topic = &request.topic_data[0];
            assert_eq!((&*topic.name, topic.partition_data.len()), ("topic", partitions.len()));
            for (part, (partition, sequence)) in topic.partition_data.iter().zip(&partitions) {
                let Records::Borrowed(bytes) = part.records else { panic!("no records") };
                let valid = validate(bytes, 1 << 20).expect("a valid batch");
                let header = valid.header;
                assert_eq!((part.index, header.base_sequence), (*partition, *sequence));
                assert_eq!((header.producer_id, header.producer_epoch, header.records_count), (77, 5, 3));
                assert_eq!(header.is_transactional(), transactional);
            }
        }
    }
}
