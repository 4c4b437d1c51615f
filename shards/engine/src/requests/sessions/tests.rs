use std::borrow::Cow;

use floe_wire::messages::fetch::{FetchTopic, ForgottenTopic};

use super::*;

const CONN: ConnId = ConnId(1);

fn at(ms: u64) -> Time {
    Time { mono_ns: ms * 1_000_000, wall_ms: 0 }
}

fn request(session: (i32, i32), add: &[(&'static str, i32)], forget: &[(&'static str, i32)]) -> FetchRequest<'static> {
    let part = |partition| FetchPartition { partition, partition_max_bytes: 1, ..FetchPartition::default() };
    FetchRequest {
        session_id: session.0,
        session_epoch: session.1,
        topics: add
            .iter()
            .map(|(name, partition)| FetchTopic {
                topic: Cow::Borrowed(name),
                partitions: vec![part(*partition)],
                ..FetchTopic::default()
            })
            .collect(),
        forgotten_topics_data: forget
            .iter()
            .map(|(name, partition)| ForgottenTopic {
                topic: Cow::Borrowed(name),
                partitions: vec![*partition],
                ..ForgottenTopic::default()
            })
            .collect(),
        ..FetchRequest::default()
    }
}

/// Begins a session with partitions 0.. of one topic.
fn begin(sessions: &mut Sessions, now: Time, conn: ConnId, partitions: i32) -> i32 {
    let key = TopicKey { name: "t".into(), id: TopicId::ZERO };
    let topics = vec![SessionTopic { key, found: Err(3) }];
    let asked = Asked { leader_epoch: -1, offset: 0, last_epoch: -1, bytes_max: 1 };
    let entries =
        (0..partitions).map(|partition| Entry { topic: 0, partition, asked, high_watermark: 5, log_start: 0 });
    sessions.begin(now, conn, false, topics, entries)
}

fn named(session: &Session) -> Vec<(&str, i32)> {
    session.entries.iter().map(|e| (session.topics[e.topic as usize].key.name.as_ref(), e.partition)).collect()
}

#[test]
fn epochs_and_ids_follow_kafkas_rules() {
    let mut sessions = Sessions::new(1, 10);
    let id = begin(&mut sessions, at(0), CONN, 2);
    assert!(id > 0);
    let mut enter = |conn, session, by_id| sessions.enter(at(1), conn, &request(session, &[], &[]), by_id);
    for (conn, session, by_id, want, why) in [
        (CONN, (0, -1), false, Ok(Mode::Plain), "no session wanted"),
        (CONN, (0, 0), false, Ok(Mode::Begin), "a new one wanted"),
        (CONN, (id + 1, 1), false, Err(codes::FETCH_SESSION_ID_NOT_FOUND), "unknown"),
        (ConnId(2), (id, 1), false, Err(codes::FETCH_SESSION_ID_NOT_FOUND), "another connection's"),
        (CONN, (id, 2), false, Err(codes::INVALID_FETCH_SESSION_EPOCH), "too far"),
        (CONN, (id, 1), true, Err(codes::FETCH_SESSION_TOPIC_ID_ERROR), "names, then ids"),
        (CONN, (id, 1), false, Ok(Mode::Session(id)), "next"),
        (CONN, (id, 1), false, Err(codes::INVALID_FETCH_SESSION_EPOCH), "once more"),
        (CONN, (id, 2), false, Ok(Mode::Session(id)), "next"),
        (ConnId(2), (id, 0), false, Ok(Mode::Begin), "another connection cannot end it"),
        (CONN, (id, 3), false, Ok(Mode::Session(id)), "still there"),
        (CONN, (id, -1), false, Ok(Mode::Plain), "ended"),
        (CONN, (id, 4), false, Err(codes::FETCH_SESSION_ID_NOT_FOUND), "gone"),
    ] {
        assert_eq!(enter(conn, session, by_id), want, "{why}");
    }
    assert_eq!(sessions.count(), (0, 0));
}

#[test]
fn the_epoch_after_the_last_is_1() {
    let mut sessions = Sessions::new(1, 10);
    let id = begin(&mut sessions, at(0), CONN, 1);
    sessions.get_mut(id).unwrap().epoch = i32::MAX;
    assert_eq!(sessions.enter(at(1), CONN, &request((id, i32::MAX), &[], &[]), false), Ok(Mode::Session(id)));
    assert_eq!(sessions.enter(at(1), CONN, &request((id, 1), &[], &[]), false), Ok(Mode::Session(id)));
}

#[test]
fn partitions_come_change_and_go() {
    let mut sessions = Sessions::new(1, 10);
    let id = begin(&mut sessions, at(0), CONN, 3);
    sessions.get_mut(id).unwrap().first = 2;
    sessions.enter(at(1), CONN, &request((id, 1), &[("u", 7), ("t", 1)], &[("t", 0), ("x", 0)]), false).unwrap();
    assert_eq!(sessions.count(), (1, 3));
    let session = sessions.get_mut(id).unwrap();
    assert_eq!(named(session), [("t", 1), ("t", 2), ("u", 7)]);
    assert_eq!((session.first, session.entries[0].high_watermark), (1, 5), "what the client knows is not told again");
    sessions.enter(at(2), CONN, &request((id, 2), &[], &[("t", 1), ("t", 2)]), false).unwrap();
    assert_eq!(named(sessions.get_mut(id).unwrap()), [("u", 7)]);
    let last = sessions.enter(at(3), CONN, &request((id, 3), &[], &[("u", 7)]), false);
    assert_eq!((last, sessions.count()), (Ok(Mode::Plain), (0, 0)), "an empty session is none");
}

#[test]
fn room_is_made_by_what_is_idle_only() {
    let mut sessions = Sessions::new(1, 2);
    let (a, b) = (begin(&mut sessions, at(0), CONN, 1), begin(&mut sessions, at(10), CONN, 1));
    assert!(a > 0 && b > 0 && a != b);
    assert_eq!(begin(&mut sessions, at(FETCH_SESSION_IDLE_MS - 1), CONN, 1), 0, "both are in use");
    sessions.enter(at(FETCH_SESSION_IDLE_MS), CONN, &request((a, 1), &[], &[]), false).unwrap();
    let c = begin(&mut sessions, at(FETCH_SESSION_IDLE_MS + 10), ConnId(2), 1);
    assert!(c > 0 && sessions.get_mut(b).is_none() && sessions.get_mut(a).is_some());
    let too_many = FETCH_SESSION_PARTITIONS_MAX as i32;
    assert_eq!(begin(&mut sessions, at(FETCH_SESSION_IDLE_MS + 11), CONN, too_many), 0, "bound on partitions");
    sessions.disconnected(CONN);
    assert_eq!(sessions.count(), (1, 1));
    let none = Sessions::new(1, 0).enter(at(0), CONN, &request((0, 0), &[], &[]), false);
    assert_eq!(none, Ok(Mode::Plain));
}
