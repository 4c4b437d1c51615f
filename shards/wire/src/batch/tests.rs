use bytes::Bytes;
use kafka_protocol::records::{RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
use proptest::prelude::*;

use super::*;

const MAX: usize = 1 << 20;

fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    builder.producer(7, 1, 40);
    builder.push(BatchRecord {
        timestamp: 1000,
        key: Some(b"k"),
        value: Some(b"v"),
        headers: &[("h", Some(b"x")), ("n", None)],
    });
    builder.push(BatchRecord { timestamp: 900, key: None, value: Some(&[9; 5000]), headers: &[] });
    builder.push(BatchRecord { timestamp: 1100, key: Some(b""), value: None, headers: &[] });
    builder.finish().to_vec()
}

#[test]
fn built_batches_hold_and_read_back_in_every_codec() {
    for codec in Codec::ALL {
        let mut bytes = batch(codec);
        stamp(&mut bytes, 500, 3);
        let header = validate(&bytes, MAX).unwrap().header;
        assert_eq!(
            (header.base_offset, header.last_offset(), header.partition_leader_epoch),
            (500, 502, 3),
            "{codec:?}"
        );
        assert_eq!((header.base_timestamp, header.max_timestamp, header.codec()), (1000, 1100, Some(codec)));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 1, 40));
        let mut scratch = Vec::new();
        let read: Vec<_> = records(&bytes, &mut scratch).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            read.iter().map(|r| (r.offset, r.timestamp)).collect::<Vec<_>>(),
            [(500, 1000), (501, 900), (502, 1100)]
        );
        assert_eq!((read[0].key, read[0].value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(read[0].headers, [HeaderView { key: "h", value: Some(b"x") }, HeaderView { key: "n", value: None }]);
        assert_eq!((read[1].key, read[1].value.unwrap().len()), (None, 5000));
        assert_eq!((read[2].key, read[2].value), (Some(&b""[..]), None));
    }
}

#[test]
fn an_independent_decoder_reads_ours_and_ours_reads_its() {
    for codec in Codec::ALL {
        let mut bytes = Bytes::from(batch(codec));
        let theirs = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        assert_eq!(theirs.len(), 3, "{codec:?}");
        assert_eq!((theirs[1].offset, theirs[1].timestamp, theirs[1].producer_id), (1, 900, 7));
        assert_eq!(theirs[1].value.as_deref(), Some(&[9; 5000][..]));
        let compression = match codec {
            Codec::None => kafka_protocol::records::Compression::None,
            Codec::Gzip => kafka_protocol::records::Compression::Gzip,
            Codec::Snappy => kafka_protocol::records::Compression::Snappy,
            Codec::Lz4 => kafka_protocol::records::Compression::Lz4,
            Codec::Zstd => kafka_protocol::records::Compression::Zstd,
        };
        let mut out = bytes::BytesMut::new();
        RecordBatchEncoder::encode(&mut out, theirs.iter(), &RecordEncodeOptions { version: 2, compression }).unwrap();
        assert_eq!(validate(&out, MAX).unwrap().header.records_count, 3, "{codec:?}");
        let mut scratch = Vec::new();
        assert_eq!(records(&out, &mut scratch).unwrap().map(Result::unwrap).count(), 3, "{codec:?}");
    }
}

#[test]
fn recompressing_keeps_the_records() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let bytes = recompress(&batch(from), to, MAX).unwrap();
            assert_eq!(validate(&bytes, MAX).unwrap().header.codec(), Some(to), "{from:?} to {to:?}");
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let old = batch(from);
            let (new, old) = (records(&bytes, &mut a).unwrap(), records(&old, &mut b).unwrap());
            assert!(new.map(Result::unwrap).eq(old.map(Result::unwrap)));
        }
    }
}

#[test]
fn timestamps_are_those_of_the_records_where_they_can_be_seen() {
    for codec in Codec::ALL {
        let validated = validate(&batch(codec), MAX).unwrap();
        let lowest = if codec == Codec::None { 900 } else { 1000 };
        assert_eq!((validated.timestamp_min, validated.timestamp_max), (lowest, 1100), "{codec:?}");
    }
}

#[test]
fn append_time_is_every_records_time() {
    let mut bytes = batch(Codec::Gzip);
    stamp_log_append_time(&mut bytes, 77);
    assert!(validate(&bytes, MAX).unwrap().header.is_log_append_time());
    let mut scratch = Vec::new();
    assert!(records(&bytes, &mut scratch).unwrap().all(|record| record.unwrap().timestamp == 77));
}

#[test]
fn bad_batches_are_refused_by_name() {
    let good = batch(Codec::None);
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        if at > CRC_AT {
            seal(&mut bad);
        }
        validate(&bad, MAX).unwrap_err()
    };
    assert_eq!(with(MAGIC_AT, &[1]), BatchError::Magic(1));
    assert_eq!(with(8, &48_i32.to_be_bytes()), BatchError::Length(48));
    assert_eq!(with(8, &(-1_i32).to_be_bytes()), BatchError::Length(-1));
    assert_eq!(with(CRC_AT, &[0; 4]), BatchError::Crc);
    assert_eq!(with(22, &[5]), BatchError::Codec(5));
    assert_eq!(with(57, &4_i32.to_be_bytes()), BatchError::Count { records_count: 4, last_offset_delta: 2 });
    assert_eq!(with(51, &(-1_i16).to_be_bytes()), BatchError::Producer);
    assert_eq!(with(HEADER_BYTES, &[1]), BatchError::Record(0));
    // The first record is `len attributes timestamp-delta offset-delta key-len k value-len v header-count ...`.
    assert_eq!(with(HEADER_BYTES + 3, &[2]), BatchError::Record(0), "an offset that is not the next");
    assert_eq!(with(HEADER_BYTES + 4, &[60]), BatchError::Record(0), "a key longer than its record");
    assert_eq!(with(HEADER_BYTES + 8, &[0x7e]), BatchError::Record(0), "more headers than bytes");
    assert!(matches!(validate(&good[..good.len() - 1], MAX), Err(BatchError::Truncated { .. })));
    assert!(matches!(validate(&good, 100), Err(BatchError::TooLarge { .. })));
    let two = [good.clone(), good.clone()].concat();
    assert_eq!(validate(&two, MAX), Err(BatchError::Trailing(good.len())));
    assert_eq!(batches(&two).map(Result::unwrap).count(), 2);
    assert_eq!(batches(&two[..two.len() - 1]).filter(Result::is_err).count(), 1);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), codec in 0_u8..8) {
        let _ = validate(&bytes, MAX);
        let _ = batches(&bytes).count();
        if bytes.len() > HEADER_BYTES {
            // A header that holds, so that the records are reached.
            let len = (bytes.len() - LENGTH_END) as i32;
            bytes[8..12].copy_from_slice(&len.to_be_bytes());
            bytes[MAGIC_AT] = 2;
            bytes[22] = codec;
            seal(&mut bytes);
        }
        let _ = validate(&bytes, MAX);
        let mut scratch = Vec::new();
        if let Ok(records) = records_capped(&bytes, &mut scratch, 1 << 16) {
            let _ = records.count();
        }
        prop_assert!(scratch.capacity() <= 1 << 18);
        let _ = recompress(&bytes, Codec::None, 1 << 16);
    }
}
