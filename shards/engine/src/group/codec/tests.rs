//! What a coordinator writes down is what it reads.

use super::*;

fn name(text: &str) -> Arc<str> {
    text.into()
}

/// One of every kind, with everything that can stand in it.
fn all() -> Vec<GroupRecord> {
    let (group, member) = (name("g"), name("m"));
    let topics = vec![(TopicId([1; 16]), vec![0, 2]), (TopicId([2; 16]), vec![5])];
    vec![
        GroupRecord::Offset {
            group: group.clone(),
            topic: name("t"),
            partition: 7,
            value: Some(CommittedOffset {
                offset: 1 << 40,
                leader_epoch: 3,
                metadata: name("why"),
                commit_ms: 1_700_000_000_000,
                expire_ms: -1,
                topic_id: TopicId([9; 16]),
            }),
        },
        GroupRecord::Classic {
            group: group.clone(),
            value: Some(ClassicState {
                protocol_type: name("consumer"),
                generation: 4,
                protocol: Some(name("range")),
                leader: Some(member.clone()),
                since_ms: 5,
                members: vec![ClassicMember {
                    id: member.clone(),
                    instance_id: Some(name("i")),
                    client_id: name("c"),
                    client_host: name("/127.0.0.1"),
                    session_timeout_ms: 6,
                    rebalance_timeout_ms: 7,
                    subscription: Bytes::from_static(b"sub"),
                    assignment: Bytes::from_static(b"ass"),
                }],
            }),
        },
        GroupRecord::Epoch { group: group.clone(), value: Some(GroupEpoch { epoch: 8, metadata_hash: -9 }) },
        GroupRecord::Member {
            group: group.clone(),
            member: member.clone(),
            value: Some(MemberMetadata {
                instance_id: None,
                rack_id: Some(name("r")),
                client_id: name("c"),
                client_host: name("/::1"),
                topics: vec![name("a"), name("b")],
                expression: Some(name("a.*")),
                rebalance_timeout_ms: 10,
                assignor: Some(name("uniform")),
                classic: Some(ClassicMemberMetadata {
                    session_timeout_ms: 11,
                    protocols: vec![(name("range"), Bytes::from_static(b"x"))],
                }),
            }),
        },
        GroupRecord::TargetEpoch { group: group.clone(), value: Some(TargetEpoch { epoch: 12, computed_ms: 13 }) },
        GroupRecord::Target { group: group.clone(), member: member.clone(), value: Some(topics.clone()) },
        GroupRecord::Current {
            group: group.clone(),
            member,
            value: Some(CurrentAssignment {
                member_epoch: 14,
                previous_epoch: 13,
                state: MemberState::UnreleasedPartitions,
                assigned: topics.clone(),
                revoking: topics,
            }),
        },
        GroupRecord::Expression {
            group,
            expression: name("a.*"),
            value: Some(ExpressionTopics { topics: vec![name("a")], version: 15, matched_ms: 16 }),
        },
    ]
}

/// The same with its value gone.
fn tombstone(record: &GroupRecord) -> GroupRecord {
    let mut record = record.clone();
    match &mut record {
        GroupRecord::Offset { value, .. } => *value = None,
        GroupRecord::Classic { value, .. } => *value = None,
        GroupRecord::Epoch { value, .. } => *value = None,
        GroupRecord::Member { value, .. } => *value = None,
        GroupRecord::TargetEpoch { value, .. } => *value = None,
        GroupRecord::Target { value, .. } => *value = None,
        GroupRecord::Current { value, .. } => *value = None,
        GroupRecord::Expression { value, .. } => *value = None,
    }
    record
}

#[test]
fn what_is_written_is_read() {
    for record in all() {
        for record in [tombstone(&record), record] {
            let (key, value) = encode(&record);
            assert_eq!(decode(&key, value.as_deref()), Ok(Some(record)));
        }
    }
}

#[test]
fn a_member_is_in_kafkas_states() {
    let states = [MemberState::Stable, MemberState::UnrevokedPartitions, MemberState::UnreleasedPartitions];
    let numbers = [current::STATE_STABLE, current::STATE_UNREVOKED_PARTITIONS, current::STATE_UNRELEASED_PARTITIONS];
    assert_eq!(states.map(|state| state as i8), numbers);
}

#[test]
fn unknown_kinds_are_passed_over_and_damage_is_not() {
    for (key, value, expected) in [
        (&[0, 99, 1, 2][..], Some(&[][..]), Ok(None)),
        // A share group's.
        (&[0, 11, 0, 1, b'g'], None, Ok(None)),
        // Kafka 4.0's topics of a group.
        (&[0, 4, 0, 1, b'g'], None, Ok(None)),
    ] {
        assert_eq!(decode(key, value), expected, "{key:?}");
    }
    for record in all() {
        let (key, value) = encode(&record);
        let value = value.unwrap();
        for cut in 0..key.len() {
            assert!(decode(&key[..cut], Some(&value)).is_err(), "{record:?} with a key of {cut}");
        }
        for cut in 0..value.len() {
            assert!(decode(&key, Some(&value[..cut])).is_err(), "{record:?} with a value of {cut}");
        }
    }
}
