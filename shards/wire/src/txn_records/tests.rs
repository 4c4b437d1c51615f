//! Bytes laid out by hand from Kafka's schema are read and written the same; any bytes are read without harm.

use proptest::prelude::*;

use super::*;
use crate::oracle::{Dice, Sample};

fn key() -> TransactionLogKey<'static> {
    TransactionLogKey { transactional_id: "pay".into() }
}

fn value() -> TransactionLogValue<'static> {
    TransactionLogValue {
        producer_id: 4000,
        previous_producer_id: -1,
        next_producer_id: -1,
        producer_epoch: 3,
        transaction_timeout_ms: 60_000,
        transaction_status: 1,
        transaction_partitions: Some(vec![PartitionsSchema { topic: "out".into(), partition_ids: vec![0, 2] }]),
        transaction_last_update_timestamp_ms: 1_700_000_000_000,
        transaction_start_timestamp_ms: 1_699_999_999_000,
        client_transaction_version: 0,
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

const KEY: &str = "0000 0003 706179";
const V0: &str = "0000 0000000000000fa0 0003 0000ea60 01 00000001 0003 6f7574 00000002 00000000 00000002 0000018bcfe56800 0000018bcfe56418";
const V1: &str =
    "0001 0000000000000fa0 0003 0000ea60 01 02 04 6f7574 03 00000000 00000002 00 0000018bcfe56800 0000018bcfe56418";

#[test]
fn the_bytes_are_those_of_the_schema() {
    let tagged =
        TransactionLogValue { previous_producer_id: 7, next_producer_id: 9, client_transaction_version: 2, ..value() };
    let empty = TransactionLogValue { transaction_partitions: None, ..value() };
    let rows = [
        (0, value(), V0.to_owned()),
        (0, empty.clone(), V0.replace("00000001 0003 6f7574 00000002 00000000 00000002", "ffffffff")),
        (1, value(), format!("{V1} 00")),
        (1, empty, format!("{} 00", V1.replace("02 04 6f7574 03 00000000 00000002 00", "00"))),
        (1, tagged, format!("{V1} 03 00 08 0000000000000007 01 08 0000000000000009 02 02 0002")),
    ];
    assert_eq!(encode_key(&key()), bytes_of(KEY));
    for (version, value, hex) in rows {
        let bytes = bytes_of(&hex);
        assert_eq!(encode_value(&value, version), bytes, "{value:?}");
        assert_eq!(decode(&bytes_of(KEY), Some(&bytes)), Ok(Some((key(), Some(value)))));
    }
    assert_eq!(decode(&bytes_of(KEY), None), Ok(Some((key(), None))), "a tombstone");
}

#[test]
fn every_value_comes_back_as_written() {
    for seed in 0..200 {
        let value = TransactionLogValue::sample(&mut Dice::new(seed));
        let (key, bytes) = (bytes_of(KEY), encode_value(&value, 1));
        let (_, again) = decode(&key, Some(&bytes)).expect("ours").expect("a kind that is known");
        assert_eq!(again.as_ref(), Some(&value));
    }
}

#[test]
fn what_is_not_known_is_told_apart() {
    assert_eq!(decode(&[0, 1, 0, 0], None), Ok(None), "another kind of key");
    assert_eq!(decode(&bytes_of(KEY), Some(&[0, 2])), Err(DecodeError::Version(2)));
    assert_eq!(decode(&bytes_of(KEY), Some(&[0xff, 0xff])), Err(DecodeError::Version(-1)));
    assert_eq!(decode(&[0], None), Err(DecodeError::Truncated { needed: 2, left: 1 }));
    let trailing = bytes_of(&format!("{V0} 00"));
    assert_eq!(decode(&bytes_of(KEY), Some(&trailing)), Err(DecodeError::Trailing(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_bytes_make_a_decoder_panic(version in 0..3_u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes_of(KEY), Some(&[&[0, version], bytes.as_slice()].concat()));
        let _ = decode(&bytes, Some(&bytes));
    }
}
