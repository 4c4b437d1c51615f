//! The whole as clients see it: brokers, topics page by page, more partitions.

use floe_wire::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use floe_wire::messages::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use floe_wire::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use floe_wire::messages::list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use floe_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::*;

/// Name, error code and partitions of each topic, then where to go on.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

impl Node {
    fn page(&mut self, names: &[&'static str], limit: i32, cursor: Option<(String, i32)>) -> Page {
        let cursor = cursor.map(|(name, partition_index)| Cursor { topic_name: name.into(), partition_index });
        let topics = names.iter().map(|name| TopicRequest { name: (*name).into() }).collect();
        self.send(75, 0, &DescribeTopicPartitionsRequest { topics, response_partition_limit: limit, cursor });
        let response = DescribeTopicPartitionsResponse::decode_all(self.reply(75, 0), 0).unwrap();
        let topics = response.topics.into_iter().map(|topic| {
            let numbers = topic.partitions.iter().map(|p| p.partition_index).collect();
            (topic.name.unwrap().into_owned(), topic.error_code, numbers)
        });
        let next = response.next_cursor.map(|cursor| (cursor.topic_name.into_owned(), cursor.partition_index));
        (topics.collect(), next)
    }

    pub(super) fn grow(
        &mut self,
        topics: &[(&'static str, i32, Option<Vec<i32>>)],
        validate_only: bool,
    ) -> Vec<(i16, String)> {
        let topics = topics.iter().map(|(name, count, brokers)| CreatePartitionsTopic {
            name: (*name).into(),
            count: *count,
            assignments: brokers
                .as_ref()
                .map(|all| all.iter().map(|id| CreatePartitionsAssignment { broker_ids: vec![*id] }).collect()),
        });
        let request = CreatePartitionsRequest { topics: topics.collect(), timeout_ms: 1000, validate_only };
        self.send(37, 3, &request);
        let response = CreatePartitionsResponse::decode_all(self.reply(37, 3), 3).unwrap();
        let results = response.results.into_iter();
        results.map(|r| (r.error_code, r.error_message.unwrap_or_default().into_owned())).collect()
    }
}

#[test]
fn topics_come_page_by_page() {
    let mut node = Node::start(2, BTreeMap::new());
    for (name, partitions) in [("a", 3), ("b", 1), ("c", 2)] {
        node.create(name, partitions, 1);
    }
    for limit in 1..=7 {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let (topics, next) = node.page(&[], limit, cursor);
            let count: usize = topics.iter().map(|topic| topic.2.len()).sum();
            assert!(count <= limit as usize);
            seen.extend(topics.into_iter().flat_map(|(name, code, partitions)| {
                assert_eq!(code, codes::NONE);
                partitions.into_iter().map(move |partition| format!("{name}{partition}"))
            }));
            pages += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a0", "a1", "a2", "b0", "c0", "c1"], "limit {limit}");
        assert_eq!(pages, 6usize.div_ceil(limit as usize));
    }
    let (some, next) = node.page(&["c", "x", "a", "a/b"], 100, None);
    let codes_of: Vec<_> = some.iter().map(|(name, code, _)| (name.as_str(), *code)).collect();
    assert_eq!(
        codes_of,
        [
            ("a", codes::NONE),
            ("a/b", codes::INVALID_TOPIC_EXCEPTION),
            ("c", codes::NONE),
            ("x", codes::UNKNOWN_TOPIC_OR_PARTITION)
        ]
    );
    assert_eq!(next, None);
    assert_eq!(node.page(&["a", "c"], 100, Some(("b".into(), 7))).0, [("c".into(), codes::NONE, vec![0, 1])]);
    assert_eq!(node.page(&["a"], 100, Some(("a".into(), -1))).0, [("a".into(), codes::INVALID_REQUEST, vec![])]);
    assert_eq!(node.page(&["a"], -5, None).1, Some(("a".into(), 1)), "at least one partition a page");
}

#[test]
fn a_topic_gets_more_partitions_on_every_shard() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 1, 1);
    let ok = (codes::NONE, String::new());
    assert_eq!(node.grow(&[("t", 4, None)], true), std::slice::from_ref(&ok));
    assert_eq!(node.page(&["t"], 100, None).0[0].2.len(), 1, "it was only a question");
    let done = node.grow(&[("t", 4, None), ("u", 2, None)], false);
    assert_eq!((done[0].0, done[1].0), (codes::NONE, codes::UNKNOWN_TOPIC_OR_PARTITION));
    for partition in 0..4 {
        node.produce("t", partition, &batch(), -1);
        assert_eq!(node.produced(), (codes::NONE, 0), "partition {partition}");
    }
    for (count, brokers, code, message) in [
        (4, None, codes::INVALID_PARTITIONS, "Topic already has 4 partition(s)."),
        (3, None, codes::INVALID_PARTITIONS, "The topic t currently has 4 partition(s); 3 would not be an increase."),
        (i32::MIN, None, codes::INVALID_PARTITIONS, "would not be an increase."),
        (i32::MAX, None, codes::INVALID_PARTITIONS, "at most"),
        (6, Some(vec![1]), codes::INVALID_REPLICA_ASSIGNMENT, "Attempted to add 2 additional partition(s), but only 1"),
        (5, Some(vec![2]), codes::INVALID_REPLICA_ASSIGNMENT, "includes broker 2, but no such broker is registered."),
    ] {
        let done = node.grow(&[("t", count, brokers)], false);
        assert!(done[0].0 == code && done[0].1.contains(message), "{count}: {done:?}");
    }
    let twice = node.grow(&[("t", 5, None), ("t", 6, None)], false);
    assert!(twice.iter().all(|(code, _)| *code == codes::INVALID_REQUEST));
    assert_eq!(node.grow(&[("t", 5, Some(vec![1]))], false), [ok]);
    let mut again = Node::start(3, node.files);
    assert_eq!(again.page(&["t"], 100, None).0[0].2.len(), 5);
}

#[test]
fn the_cluster_is_one_broker() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    for (endpoint_type, code) in
        [(1, codes::NONE), (2, codes::MISMATCHED_ENDPOINT_TYPE), (3, codes::UNSUPPORTED_ENDPOINT_TYPE)]
    {
        node.send(60, 2, &DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() });
        let cluster = DescribeClusterResponse::decode_all(node.reply(60, 2), 2).unwrap();
        assert_eq!((cluster.error_code, cluster.brokers.len()), (code, usize::from(code == codes::NONE)));
        if let Some(broker) = cluster.brokers.first() {
            assert_eq!((broker.broker_id, &*broker.host, broker.port), (1, "here", 9092));
            assert_eq!((cluster.controller_id, cluster.cluster_id.len()), (1, 32));
        }
    }
    node.send(46, 0, &ListPartitionReassignmentsRequest::default());
    let under_way = ListPartitionReassignmentsResponse::decode_all(node.reply(46, 0), 0).unwrap();
    assert_eq!((under_way.error_code, under_way.topics.len()), (codes::NONE, 0));
    for (version, resource_types, code, names) in [
        (0, vec![], codes::NONE, vec![]),
        (1, vec![], codes::NONE, vec!["t", "1"]),
        (1, vec![2], codes::NONE, vec!["t"]),
        (1, vec![4, 16], codes::NONE, vec!["1"]),
        (1, vec![2, 3], codes::UNSUPPORTED_VERSION, vec![]),
    ] {
        node.send(74, version, &ListConfigResourcesRequest { resource_types });
        let listed = ListConfigResourcesResponse::decode_all(node.reply(74, version), version).unwrap();
        let found: Vec<&str> = listed.config_resources.iter().map(|r| r.resource_name.as_ref()).collect();
        assert_eq!((listed.error_code, found), (code, names));
    }
}

#[test]
fn operations_are_told_to_those_who_ask() {
    let (topic, cluster, not_asked) = (3576, 8096, i32::MIN);
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 1, 1);
    let named =
        |name: &'static str| MetadataRequestTopic { name: Some(name.into()), ..MetadataRequestTopic::default() };
    let unknown = floe_wire::ids::TopicId([9; 16]);
    for (version, of_cluster, of_topics) in [(8, true, true), (8, false, true), (10, true, false), (9, false, false)] {
        node.send(
            3,
            version,
            &MetadataRequest {
                topics: Some(vec![named("t"), named("absent")]),
                include_cluster_authorized_operations: of_cluster,
                include_topic_authorized_operations: of_topics,
                ..MetadataRequest::default()
            },
        );
        let response = MetadataResponse::decode_all(node.reply(3, version), version).unwrap();
        assert_eq!(response.cluster_authorized_operations, if of_cluster { cluster } else { not_asked });
        let got: Vec<i32> = response.topics.iter().map(|topic| topic.topic_authorized_operations).collect();
        assert_eq!(got, [if of_topics { topic } else { not_asked }; 2]);
    }
    let by_id = MetadataRequestTopic { name: None, topic_id: unknown };
    for topics in [None, Some(vec![by_id])] {
        let wants = if topics.is_none() { topic } else { not_asked };
        node.send(
            3,
            12,
            &MetadataRequest { topics, include_topic_authorized_operations: true, ..MetadataRequest::default() },
        );
        let response = MetadataResponse::decode_all(node.reply(3, 12), 12).unwrap();
        assert_eq!(response.topics[0].topic_authorized_operations, wants);
    }
    // As confluent-kafka 2.16 asks for all topics: the null array takes four bytes, not one.
    let header = [0, 3, 0, 13, 0, 0, 0, 5, 0, 7, b'r', b'd', b'k', b'a', b'f', b'k', b'a', 0];
    for (body, answered) in
        [(&[0u8, 0, 0, 0, 1, 0, 0][..], true), (&[0, 0, 0, 0, 1, 0, 0, 0], false), (&[1, 0, 0, 0, 1, 0, 0], false)]
    {
        let mut node = Node::start(1, BTreeMap::new());
        node.create("t", 1, 1);
        let frame = Bytes::from([&header[..], body].concat());
        node.input(0, Input::Frame { conn: CONN, frame });
        assert_eq!(node.closed, !answered, "{body:?}");
        if answered {
            assert_eq!(MetadataResponse::decode_all(node.reply(3, 13), 13).unwrap().topics.len(), 1);
        }
    }
    for include_cluster_authorized_operations in [false, true] {
        node.send(
            60,
            1,
            &DescribeClusterRequest {
                include_cluster_authorized_operations,
                endpoint_type: 1,
                ..DescribeClusterRequest::default()
            },
        );
        let response = DescribeClusterResponse::decode_all(node.reply(60, 1), 1).unwrap();
        let wants = if include_cluster_authorized_operations { cluster } else { not_asked };
        assert_eq!(response.cluster_authorized_operations, wants);
    }
    let topics = ["t", "absent"].map(|name| TopicRequest { name: name.into() }).to_vec();
    node.send(75, 0, &DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, cursor: None });
    let response = DescribeTopicPartitionsResponse::decode_all(node.reply(75, 0), 0).unwrap();
    assert!(response.topics.iter().all(|answer| answer.topic_authorized_operations == topic), "always told here");
}
