use floe_wire::batch::{BatchBuilder, BatchRecord};

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn settings() -> TopicSettings {
    crate::config::BrokerConfig::default().topic_settings(&Default::default(), &Default::default())
}

fn built(codec: Codec, timestamps: &[i64], attributes: i16, producer: Option<(i64, i16, i32)>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    builder.attributes(attributes);
    if let Some((id, epoch, sequence)) = producer {
        builder.producer(id, epoch, sequence);
    }
    for timestamp in timestamps {
        builder.push(BatchRecord { timestamp: *timestamp, value: Some(b"value"), ..BatchRecord::default() });
    }
    builder.finish().to_vec()
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = built(Codec::None, &[NOW], 0, None);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch
}

#[test]
fn every_refusal_has_kafkas_code() {
    let tight = TopicSettings { timestamp_before_ms_max: 1000, message_bytes_max: 200, ..settings() };
    let good = built(Codec::None, &[NOW], 0, None);
    let rows: &[(&str, Vec<u8>, i16, i16)] = &[
        ("good", good.clone(), 3, codes::NONE),
        ("no timestamp", built(Codec::None, &[-1, NOW], 0, None), 9, codes::NONE),
        ("nothing", Vec::new(), 9, codes::INVALID_RECORD),
        ("cut off", good[..good.len() - 1].to_vec(), 9, codes::INVALID_RECORD),
        ("two batches", [good.clone(), good.clone()].concat(), 9, codes::INVALID_RECORD),
        ("format 1", with(16, &[1]), 9, codes::INVALID_RECORD),
        ("format 0", with(16, &[0]), 9, codes::INVALID_RECORD),
        ("flipped bit", with(64, &[0x55]), 9, codes::CORRUPT_MESSAGE),
        ("length below a header", with(8, &[0, 0, 0, 9]), 9, codes::CORRUPT_MESSAGE),
        ("base offset", with(7, &[1]), 9, codes::INVALID_RECORD),
        ("too large", built(Codec::None, &[NOW; 30], 0, None), 9, codes::MESSAGE_TOO_LARGE),
        ("control", built(Codec::None, &[NOW], 0x20, None), 9, codes::INVALID_RECORD),
        ("transactional", built(Codec::None, &[NOW], 0x10, Some((1, 0, 0))), 9, codes::NONE),
        ("transactional, of nobody", built(Codec::None, &[NOW], 0x10, None), 9, codes::INVALID_RECORD),
        ("delete horizon", built(Codec::None, &[NOW], 0x40, None), 9, codes::INVALID_RECORD),
        ("append time", built(Codec::None, &[NOW], 0x08, None), 9, codes::INVALID_TIMESTAMP),
        ("no sequence", built(Codec::None, &[NOW], 0, Some((1, 0, -1))), 9, codes::INVALID_RECORD),
        ("zstd", built(Codec::Zstd, &[NOW], 0, None), 7, codes::NONE),
        ("zstd too early", built(Codec::Zstd, &[NOW], 0, None), 6, codes::UNSUPPORTED_COMPRESSION_TYPE),
        ("old", built(Codec::None, &[NOW, NOW - 1001], 0, None), 9, codes::INVALID_TIMESTAMP),
        ("old, compressed", built(Codec::Lz4, &[NOW - 1001], 0, None), 9, codes::INVALID_TIMESTAMP),
        ("of the future", built(Codec::Gzip, &[NOW + 3_600_001], 0, None), 9, codes::INVALID_TIMESTAMP),
    ];
    for (why, bytes, version, code) in rows {
        let judged = judge(bytes.clone().into(), &tight, *version, NOW);
        assert_eq!(judged.as_ref().map_or_else(|refused| refused.code, |_| codes::NONE), *code, "{why}: {judged:?}");
    }
}

#[test]
fn the_records_to_blame_are_named() {
    let timestamps: Vec<i64> = (0..300).map(|at| if at == 3 { NOW } else { NOW + 4_000_000 }).collect();
    let refused = judge(built(Codec::None, &timestamps, 0, None).into(), &settings(), 9, NOW).unwrap_err();
    assert_eq!(refused.records.len(), RECORD_ERRORS_MAX);
    assert_eq!(refused.records[2..4].iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 4]);
    assert!(refused.records[0].1.contains(&(NOW + 4_000_000).to_string()));
}

#[test]
fn a_topics_codec_replaces_the_producers() {
    for (from, to) in Codec::ALL.into_iter().flat_map(|from| Codec::ALL.map(|to| (from, to))) {
        let settings = TopicSettings { recompress_to: Some(to), ..settings() };
        let came: Bytes = built(from, &[NOW; 50], 0, Some((7, 1, 3))).into();
        let (bytes, info) = judge(came.clone(), &settings, 9, NOW).unwrap();
        assert_eq!(bytes == came, from == to, "what has the codec already is not touched");
        let validated = batch::validate(&bytes, 1 << 20).unwrap();
        assert_eq!(validated.header.codec(), Some(to));
        assert_eq!((info.producer_id, info.base_sequence, info.record_count), (7, 3, 50));
        assert_eq!((info.bytes, info.attributes), (bytes.len() as u64, to as i16));
    }
}

#[test]
fn recompressing_has_bounds_and_looks_at_the_records() {
    let to = |codec, message_bytes_max| TopicSettings { recompress_to: Some(codec), message_bytes_max, ..settings() };
    let small = built(Codec::Zstd, &[NOW; 1000], 0, None);
    let judged = judge(small.clone().into(), &to(Codec::None, 2000), 9, NOW);
    assert_eq!(judged.unwrap_err().code, codes::MESSAGE_TOO_LARGE, "larger than the topic takes once unpacked");
    // 65 MiB of zeros in some kilobytes.
    let mut builder = BatchBuilder::new(Codec::Zstd);
    let zeros = vec![0; 65 << 20];
    builder.push(BatchRecord { timestamp: NOW, value: Some(&zeros), ..BatchRecord::default() });
    let judged = judge(builder.finish(), &to(Codec::Lz4, 1 << 20), 9, NOW);
    assert_eq!(judged.unwrap_err().code, codes::MESSAGE_TOO_LARGE);
    let mut damaged = small;
    damaged.truncate(70);
    let len = (damaged.len() - 12) as i32;
    damaged[8..12].copy_from_slice(&len.to_be_bytes());
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &damaged[21..]) as u32;
    damaged[17..21].copy_from_slice(&crc.to_be_bytes());
    let judged = judge(damaged.into(), &to(Codec::Gzip, 1 << 20), 9, NOW);
    assert_eq!(judged.unwrap_err().code, codes::CORRUPT_MESSAGE);
}

#[test]
fn a_compacted_topic_takes_only_records_with_keys() {
    let values = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let compacted = crate::config::BrokerConfig::default().topic_settings(&values, &Default::default());
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        for key in [Some(b"k".as_slice()), None, Some(b""), None] {
            builder.push(BatchRecord { timestamp: NOW, key, value: None, headers: &[] });
        }
        let mixed = builder.finish();
        let refused = check_keys(&mixed, &compacted, "t", 3).unwrap_err();
        let why = "Compacted topic cannot accept message without key in topic partition t-3.";
        assert_eq!(refused.code, codes::INVALID_RECORD);
        assert_eq!(refused.records, [(1, why.to_owned()), (3, why.to_owned())], "{codec:?}");
        assert_eq!(check_keys(&mixed, &settings(), "t", 3), Ok(()), "{codec:?}");
        let mut builder = BatchBuilder::new(codec);
        builder.push(BatchRecord { timestamp: NOW, key: Some(b""), ..BatchRecord::default() });
        assert_eq!(check_keys(&builder.finish(), &compacted, "t", 3), Ok(()));
    }
    let mut nonsense = built(Codec::Zstd, &[NOW], 0, None);
    nonsense[61..].fill(7);
    assert_eq!(check_keys(&nonsense, &compacted, "t", 0).unwrap_err().code, codes::CORRUPT_MESSAGE);
}
