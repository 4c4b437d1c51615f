//! Topics made and deleted.

use floe_wire::ids::TopicId;
use floe_wire::messages::create_topics::{CreatableReplicaAssignment, CreatableTopicConfig, CreatableTopicResult};
use floe_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};

use super::*;

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic<'static> {
    CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: factor,
        ..CreatableTopic::default()
    }
}

fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> CreatableTopic<'static> {
    let assignments = partitions.iter().map(|(partition_index, ids)| CreatableReplicaAssignment {
        partition_index: *partition_index,
        broker_ids: ids.to_vec(),
    });
    CreatableTopic { assignments: assignments.collect(), ..topic(name, -1, -1) }
}

fn configured(name: &str, config: &'static str, value: Option<&'static str>) -> CreatableTopic<'static> {
    let config = CreatableTopicConfig { name: config.into(), value: value.map(Into::into) };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

impl Node {
    fn make(
        &mut self,
        topics: Vec<CreatableTopic<'static>>,
        validate_only: bool,
    ) -> Vec<CreatableTopicResult<'static>> {
        self.send(19, 7, &CreateTopicsRequest { topics, timeout_ms: 1000, validate_only });
        CreateTopicsResponse::decode_all(self.reply(19, 7), 7).unwrap().topics
    }
}

#[test]
fn a_made_topic_is_described() {
    let mut node = Node::start(2, BTreeMap::new());
    let ask = || vec![configured("t", "retention.ms", Some(" 5 ")), assigned("u", &[(1, &[1]), (0, &[1])])];
    let question = node.make(ask(), true);
    assert!(question.iter().all(|t| t.error_code == codes::NONE && t.topic_id.is_zero()));
    let made = node.make(ask(), false);
    assert_eq!((made[0].error_code, made[0].num_partitions, made[0].replication_factor), (codes::NONE, 1, 1));
    assert_eq!(made[1].num_partitions, 2);
    assert!(!made[0].topic_id.is_zero() && made[0].topic_id != made[1].topic_id);
    let configs = made[0].configs.as_ref().unwrap();
    let one =
        |name: &str| configs.iter().find(|c| c.name == name).map(|c| (c.value.as_deref().unwrap(), c.config_source));
    assert_eq!((one("retention.ms"), one("retention.bytes")), (Some(("5", 1)), Some(("-1", 5))));
    assert_eq!(question[0].configs, made[0].configs);
}

#[test]
fn a_topic_that_cannot_be_is_refused_in_kafkas_words() {
    let mut node = Node::start(1, BTreeMap::new());
    assert_eq!(node.create("a.b", 1, 1), codes::NONE);
    let long = "x".repeat(250);
    for (asked, code, message) in [
        (topic("a.b", 1, 1), codes::TOPIC_ALREADY_EXISTS, "Topic 'a.b' already exists."),
        (topic("a_b", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "Topic 'a_b' collides with existing topic: a.b"),
        (topic("", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "Topic name is invalid: the empty string is not allowed"),
        (topic("..", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "'.' or '..' is not allowed"),
        (topic("a/b", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "'a/b' contains one or more characters other than"),
        (topic(&long, 1, 1), codes::INVALID_TOPIC_EXCEPTION, "longer than the max allowed length 249"),
        (topic("t", 0, 1), codes::INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."),
        (topic("t", -2, 1), codes::INVALID_PARTITIONS, "non-positive"),
        (topic("t", i32::MAX, 1), codes::INVALID_PARTITIONS, "at most"),
        (topic("t", 10_001, 1), codes::POLICY_VIOLATION, "Excessively large number of partitions per request"),
        (topic("t", 1, 0), codes::INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0, or -1"),
        (topic("t", 1, 3), codes::INVALID_REPLICATION_FACTOR, "The target replication factor of 3 cannot be reached"),
        (assigned("t", &[(0, &[1]), (0, &[1])]), codes::INVALID_REPLICA_ASSIGNMENT, "Found multiple manual partition"),
        (assigned("t", &[(1, &[1])]), codes::INVALID_REPLICA_ASSIGNMENT, "consecutive 0-based integer sequence"),
        (assigned("t", &[(0, &[])]), codes::INVALID_REPLICA_ASSIGNMENT, "empty replica list"),
        (assigned("t", &[(0, &[1, 2])]), codes::INVALID_REPLICA_ASSIGNMENT, "includes broker 2, but no such broker"),
        (
            CreatableTopic { num_partitions: 1, ..assigned("t", &[(0, &[1])]) },
            codes::INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (configured("t", "no.such", Some("1")), codes::INVALID_CONFIG, "Unknown topic config name: no.such"),
        (configured("t", "retention.ms", None), codes::INVALID_CONFIG, "Null value not supported for topic configs"),
        (
            configured("t", "retention.ms", Some("x")),
            codes::INVALID_CONFIG,
            "Invalid value x for configuration retention.ms",
        ),
    ] {
        for validate_only in [true, false] {
            let made = node.make(vec![asked.clone()], validate_only).remove(0);
            let said = made.error_message.unwrap_or_default();
            assert!(made.error_code == code && said.contains(message), "{}: {} {said}", asked.name, made.error_code);
            assert_eq!((made.num_partitions, made.replication_factor), (-1, -1));
        }
    }
    let made = node.make(vec![topic("d", 1, 1), topic("x_y", 1, 1), topic("x.y", 1, 1), topic("d", 1, 1)], false);
    let codes_of: Vec<i16> = made.iter().map(|t| t.error_code).collect();
    let (none, twice) = (codes::NONE, codes::INVALID_REQUEST);
    assert_eq!(codes_of, [twice, none, codes::INVALID_TOPIC_EXCEPTION, twice], "within one request too");
}

#[test]
fn thousands_of_topics_are_made_at_once_and_one_by_one() {
    let mut node = Node::start(2, BTreeMap::new());
    let made = node.make((0..2000).map(|n| topic(&format!("many.{n}"), 5, 1)).collect(), false);
    assert!(made.iter().all(|t| t.error_code == codes::NONE));
    for n in 0..300 {
        assert_eq!(node.make(vec![topic(&format!("single_{n}"), 1, 1)], false)[0].error_code, codes::NONE);
    }
    let again = Node::start(2, node.files);
    assert!(again.shards.iter().all(|shard| shard.image.topic_count() == 2300));
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut node = Node::start(2, BTreeMap::new());
    let made = node.make(vec![topic("a", 1, 1), topic("b", 1, 1), topic("c.c", 1, 1)], false);
    let state = |name: Option<&'static str>, topic_id| DeleteTopicState { name: name.map(Into::into), topic_id };
    let none = TopicId::ZERO;
    let topics = vec![
        state(Some("a"), none),
        state(None, made[1].topic_id),
        state(None, made[1].topic_id),
        state(Some("x"), none),
        state(None, TopicId([9; 16])),
        state(Some("c.c"), made[2].topic_id),
    ];
    node.send(20, 6, &DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() });
    let response = DeleteTopicsResponse::decode_all(node.reply(20, 6), 6).unwrap();
    let seen: Vec<_> = response.responses.iter().map(|r| (r.name.as_deref(), r.error_code)).collect();
    assert_eq!(
        seen,
        [
            (Some("a"), codes::NONE),
            (Some("b"), codes::NONE),
            (None, codes::INVALID_REQUEST),
            (Some("x"), codes::UNKNOWN_TOPIC_OR_PARTITION),
            (None, codes::UNKNOWN_TOPIC_ID),
            (Some("c.c"), codes::INVALID_REQUEST),
        ]
    );
    assert_eq!((node.create("a", 1, 1), node.create("c_c", 1, 1)), (codes::NONE, codes::INVALID_TOPIC_EXCEPTION));
    node.send(20, 4, &DeleteTopicsRequest { topic_names: vec!["c.c".into()], ..DeleteTopicsRequest::default() });
    let response = DeleteTopicsResponse::decode_all(node.reply(20, 4), 4).unwrap();
    assert_eq!(response.responses[0].error_code, codes::NONE);
    assert_eq!(node.create("c_c", 1, 1), codes::NONE, "the name is free again");
}

#[test]
fn requests_about_topics_are_bounded() {
    let at_most = crate::limits::REQUEST_PARTITIONS_MAX - 1;
    for (count, closed) in [(at_most, false), (at_most + 1, true)] {
        let mut node = Node::start(1, BTreeMap::new());
        node.create("t", 3, 1);
        let named = MetadataRequestTopic { name: Some("t".into()), ..MetadataRequestTopic::default() };
        node.send(3, 8, &MetadataRequest { topics: Some(vec![named; count]), ..MetadataRequest::default() });
        assert_eq!(node.closed, closed);
        if !closed {
            let response = MetadataResponse::decode_all(node.reply(3, 8), 8).unwrap();
            assert_eq!(response.topics.len(), 1, "named often, described once");
        }
        let mut node = Node::start(1, BTreeMap::new());
        let topic_names = vec!["t".into(); count];
        node.send(20, 4, &DeleteTopicsRequest { topic_names, ..DeleteTopicsRequest::default() });
        assert_eq!((node.closed, node.replies.len()), (closed, usize::from(!closed)));
    }
}
