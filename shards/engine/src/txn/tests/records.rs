//! What is written down comes back; what no coordinator can make sense of is passed over.

use floe_wire::txn_records::{TransactionLogKey, TransactionLogValue, encode_key, encode_value};

use super::super::records::{decode, encode};
use super::super::rules::unborn;
use super::*;

#[test]
fn records_come_back_as_written() {
    let mut txn = unborn(7);
    for state in State::ALL {
        txn.state = state;
        txn.add(&[(Name::from("b"), vec![3, 1, 3]), (Name::from("a"), vec![0])]);
        let (key, value) = encode(&TxnRecord { id: ID.into(), value: Some(txn.clone()) });
        let again = decode(&key, value.as_deref()).expect("ours");
        match state {
            State::Dead | State::PrepareEpochFence => assert_eq!(again, None, "{state:?} is never written"),
            // Before the first transaction Kafka has no partitions at all.
            State::Empty => {
                let value = super::super::records::Txn { topics: Vec::new(), ..txn.clone() };
                assert_eq!(again, Some(TxnRecord { id: ID.into(), value: Some(value) }));
            }
            _ => assert_eq!(again, Some(TxnRecord { id: ID.into(), value: Some(txn.clone()) })),
        }
    }
    let (key, value) = encode(&TxnRecord { id: ID.into(), value: None });
    assert_eq!(decode(&key, value.as_deref()), Ok(Some(TxnRecord { id: ID.into(), value: None })));
}

#[test]
fn what_is_not_known_is_passed_over() {
    let key = encode_key(&TransactionLogKey { transactional_id: ID.into() });
    for status in [-1, 6, 7, 8] {
        let value = TransactionLogValue { transaction_status: status, ..TransactionLogValue::default() };
        assert_eq!(decode(&key, Some(&encode_value(&value, 1))), Ok(None), "{status}");
    }
    assert_eq!(decode(&[0, 9], None), Ok(None), "another kind");
    assert!(decode(&key, Some(&[0, 1, 0])).is_err());
}
