//! What Kafka wrote is read and written again byte by byte; any bytes are read without harm.

use proptest::prelude::*;

use super::*;
use crate::oracle::Dice;

/// All of `__consumer_offsets` of a Kafka 4.3.1 after its clients worked: `key value`, in hexadecimal digits; `-` is a tombstone.
///
/// A classic group with a static member, a group of the next-generation protocol with a rack, a regular expression and a member of the
/// classic protocol, one that only commits and is deleted; then all leave.
const KAFKA: &str = include_str!("../../tests/golden/consumer_offsets.txt");

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    hex.as_bytes().chunks(2).map(digits).collect()
}

/// Kind of a record and whether it has a value.
fn kind(record: &GroupRecord<'_>) -> (i16, bool) {
    let key = record.key();
    (i16::from_be_bytes([key[0], key[1]]), record.value().is_some())
}

#[test]
fn what_kafka_wrote_is_written_the_same() {
    let mut kinds = std::collections::BTreeSet::new();
    for line in KAFKA.lines() {
        let (key, value) = line.split_once(' ').expect("two columns");
        let (key, value) = (bytes_of(key), (value != "-").then(|| bytes_of(value)));
        let record = GroupRecord::decode(&key, value.as_deref()).expect(line).expect("a kind that is known");
        assert_eq!(record.key(), key, "{record:?}");
        assert_eq!(record.value().as_deref(), value.as_deref(), "{record:?}");
        kinds.insert(kind(&record));
    }
    let with_value = [1, 2, 3, 5, 6, 7, 8, 16].map(|kind| (kind, true));
    // Kind 4 is not written any more; a group that ends takes away what an older Kafka may have left.
    let tombstones = [1, 2, 3, 4, 5, 6, 7, 8, 16].map(|kind| (kind, false));
    for kind in with_value.iter().chain(&tombstones) {
        assert!(kinds.contains(kind), "no {kind:?} in what Kafka wrote: {kinds:?}");
    }
}

#[test]
fn every_kind_comes_back_as_written() {
    for seed in 0..200 {
        for record in GroupRecord::samples(&mut Dice::new(seed)) {
            let (key, value) = (record.key(), record.value());
            let again = GroupRecord::decode(&key, value.as_deref()).expect("ours").expect("a kind that is known");
            assert_eq!((again.key(), again.value()), (key, value), "{record:?}");
        }
    }
}

/// Of a commit, as Kafka's own schemas have the versions that it does not write any more.
#[test]
fn older_versions_are_read() {
    let key = bytes_of("0000000566726f7374000369636500000003");
    for (value, expected) in [
        ("0000000000000000002a00046e6f746500000000000003e8", commit(-1, -1)),
        ("0001000000000000002a00046e6f746500000000000003e800000000000007d0", commit(-1, 2000)),
        ("0003000000000000002a0000000500046e6f746500000000000003e8", commit(5, -1)),
    ] {
        let value = bytes_of(value);
        let key_fields = OffsetCommitKey { group: "frost".into(), topic: "ice".into(), partition: 3 };
        let expected = GroupRecord::OffsetCommit(key_fields, Some(expected));
        assert_eq!(GroupRecord::decode(&key, Some(&value)), Ok(Some(expected)));
    }
    let expiring =
        GroupRecord::decode(&key, Some(&bytes_of("0001000000000000002a00046e6f746500000000000003e800000000000007d0")))
            .map(|record| record.and_then(|record| record.value()));
    assert!(matches!(expiring, Ok(Some(value)) if value[..2] == [0, 1]), "an expiry is not lost when written again");
}

fn commit(leader_epoch: i32, expire_timestamp: i64) -> OffsetCommitValue<'static> {
    OffsetCommitValue {
        offset: 42,
        leader_epoch,
        metadata: "note".into(),
        commit_timestamp: 1000,
        expire_timestamp,
        topic_id: crate::ids::TopicId::ZERO,
    }
}

#[test]
fn what_is_not_known_is_told_apart() {
    let key = [0, 3, 0, 1, b'g'];
    assert_eq!(GroupRecord::decode(&[0, 9, 0, 1, b'g'], None), Ok(None), "a kind of record of others");
    assert_eq!(GroupRecord::decode(&key, Some(&[0, 1, 0])), Err(DecodeError::Version(1)));
    assert_eq!(GroupRecord::decode(&key, Some(&[0xff, 0xff])), Err(DecodeError::Version(-1)));
    assert_eq!(GroupRecord::decode(&key[..1], None), Err(DecodeError::Truncated { needed: 2, left: 1 }));
    assert_eq!(GroupRecord::decode(&[&key[..], &[0]].concat(), None), Err(DecodeError::Trailing(1)));
    // Two billion members, in a value of 20 bytes.
    let value = [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
    let error = GroupRecord::decode(&[0, 2, 0, 1, b'g'], Some(&value));
    assert_eq!(error, Err(DecodeError::Truncated { needed: 0x7fff_ffff, left: 0 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_bytes_make_a_decoder_panic(kind in 0..17_u8, version in 0..5_u8, bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
        let key = [0, kind, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 0];
        for end in [5, 8, 12] {
            let _ = GroupRecord::decode(&key[..end], Some(&[&[0, version], bytes.as_slice()].concat()));
        }
        let _ = GroupRecord::decode(&bytes, Some(&bytes[cut.min(bytes.len())..]));
    }
}
