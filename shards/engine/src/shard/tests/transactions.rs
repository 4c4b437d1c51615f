//! What readers see of transactions, over whole shards: `read_committed` and `read_uncommitted` in Fetch and ListOffsets, and who waits for what.

use floe_wire::batch::{BatchBuilder, BatchHeader, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::messages::describe_producers::{DescribeProducersRequest, DescribeProducersResponse, TopicRequest};

use super::*;
use crate::log::{AppendError, BatchInfo, TxnEnd};
use crate::mesh::Verified;

/// Offsets of the batches, last stable offset, high watermark, aborted transactions (producer, first offset).
type Seen = (Vec<i64>, i64, i64, Option<Vec<(i64, i64)>>);

const T: i64 = 1_700_000_000_000;

/// A batch of one record of a producer's transaction.
fn of_txn(producer: (i64, i16, i32), timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.producer(producer.0, producer.1, producer.2);
    builder.attributes(0x10);
    builder.push(BatchRecord { timestamp, value: Some(b"value"), ..BatchRecord::default() });
    builder.finish().to_vec()
}

impl Node {
    fn log(&mut self) -> &mut ShardLog {
        self.shards[0].log.as_mut().expect("it is ready")
    }

    fn ix(&mut self) -> crate::log::PartitionIx {
        let topic = self.shards[0].image.topic("t").expect("it was made").id;
        self.log().find(topic, 0).expect("it is there")
    }

    /// Appends a batch of a transaction on shard 0 as if its coordinator had been asked.
    fn in_txn(&mut self, producer: (i64, i16, i32), timestamp: i64) {
        let (now, ix, batch) = (self.now, self.ix(), of_txn(producer, timestamp));
        let info = BatchInfo::of(&BatchHeader::decode(&batch).unwrap());
        if let Err(AppendError::Unverified { guard }) = self.log().append(now, ix, &batch, &info, 0) {
            let verified = Some(Verified { guard, epoch_rises: true });
            self.log().append_verified(now, ix, &batch, &info, 0, verified).unwrap();
        }
        self.round();
    }

    fn end_txn(&mut self, producer: (i64, i16), committed: bool) {
        let (now, ix) = (self.now, self.ix());
        self.log().append_end(now, ix, producer, TxnEnd { committed, coordinator_epoch: 4 }, 2, 0).unwrap();
        self.round();
    }

    /// Lets what was appended reach the disk.
    fn round(&mut self) {
        self.input(0, Input::Mesh { from: ShardId(0), msg: MeshMsg::Unwatch { token: 0 } });
    }

    fn fetch_from(&mut self, fetch_offset: i64, isolation_level: i8, max_wait_ms: i32) {
        let partition = FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
        let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() };
        let request =
            FetchRequest { max_wait_ms, min_bytes: 1, isolation_level, topics: vec![topic], ..FetchRequest::default() };
        self.send(1, 11, &request);
    }

    fn seen(&mut self) -> Seen {
        let response = FetchResponse::decode_all(self.reply(1, 11), 11).unwrap();
        let p = &response.responses[0].partitions[0];
        assert_eq!(p.error_code, codes::NONE);
        let Records::Borrowed(records) = p.records else { panic!("records, if only none") };
        let offsets = floe_wire::batch::batches(records).map(|batch| batch.unwrap().header.base_offset).collect();
        let aborted = p.aborted_transactions.as_ref();
        let aborted = aborted.map(|all| all.iter().map(|a| (a.producer_id, a.first_offset)).collect());
        (offsets, p.last_stable_offset, p.high_watermark, aborted)
    }

    fn read_as(&mut self, offset: i64, isolation_level: i8) -> Seen {
        self.fetch_from(offset, isolation_level, 0);
        self.seen()
    }

    fn offset_for(&mut self, timestamp: i64, isolation_level: i8) -> i64 {
        let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { isolation_level, topics: vec![topic], ..ListOffsetsRequest::default() };
        self.send(2, 7, &request);
        ListOffsetsResponse::decode_all(self.reply(2, 7), 7).unwrap().topics[0].partitions[0].offset
    }
}

#[test]
fn readers_of_what_is_committed_stop_at_the_last_stable_offset() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    node.produce("t", 0, &batch(), -1);
    node.produced();
    node.in_txn((1, 0, 0), T + 10);
    node.in_txn((2, 0, 0), T + 20);
    node.end_txn((1, 1), true);
    assert_eq!(node.read_as(0, 0), (vec![0, 1, 2, 3], 2, 4, None));
    assert_eq!(node.read_as(0, 1), (vec![0, 1], 2, 4, Some(vec![])));
    assert_eq!(node.read_as(2, 1), (vec![], 2, 4, Some(vec![])), "from there on nothing");
    node.end_txn((2, 1), false);
    assert_eq!(node.read_as(0, 1), (vec![0, 1, 2, 3, 4], 5, 5, Some(vec![(2, 2)])));
    assert_eq!(node.read_as(3, 1), (vec![3, 4], 5, 5, Some(vec![(2, 2)])), "it began before, and ends here");
    assert_eq!(node.read_as(5, 1), (vec![], 5, 5, Some(vec![])));
    let mut again = Node::start(1, node.files);
    assert_eq!(again.read_as(0, 1), (vec![0, 1, 2, 3, 4], 5, 5, Some(vec![(2, 2)])), "after a restart");
}

#[test]
fn a_waiting_reader_of_what_is_committed_is_woken_by_the_end() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    node.in_txn((1, 0, 0), T);
    node.fetch_from(0, 1, 500);
    assert!(node.replies.is_empty());
    node.in_txn((1, 0, 1), T);
    assert!(node.replies.is_empty(), "there is more, and none of it for this one");
    node.end_txn((1, 1), true);
    assert_eq!(node.seen(), (vec![0, 1, 2], 3, 3, Some(vec![])));
    node.in_txn((1, 1, 0), T);
    node.fetch_from(3, 0, 500);
    assert_eq!(node.seen(), (vec![3], 3, 4, None), "the others wait for nothing");
}

#[test]
fn offsets_by_time_are_those_that_may_be_read() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    node.produce("t", 0, &batch(), -1);
    node.produced();
    node.in_txn((1, 0, 0), T + 10);
    let rows = [
        (LATEST, 2, 1, "the end"),
        (EARLIEST, 0, 0, "the start"),
        (T, 0, 0, "what is stable"),
        (T + 10, 1, -1, "what is open"),
        (-3, 1, -1, "the highest timestamp stands in what is open"),
    ];
    for (timestamp, uncommitted, committed, why) in rows {
        assert_eq!((node.offset_for(timestamp, 0), node.offset_for(timestamp, 1)), (uncommitted, committed), "{why}");
    }
    node.end_txn((1, 1), false);
    assert_eq!((node.offset_for(LATEST, 1), node.offset_for(T + 10, 1)), (3, 1), "aborted records have offsets");
}

#[test]
fn producers_are_described_with_their_transactions() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    node.in_txn((1, 0, 0), T + 5);
    node.in_txn((2, 3, 0), T + 6);
    node.end_txn((1, 1), true);
    let topic = TopicRequest { name: "t".into(), partition_indexes: vec![0] };
    node.send(61, 0, &DescribeProducersRequest { topics: vec![topic] });
    let response = DescribeProducersResponse::decode_all(node.reply(61, 0), 0).unwrap();
    let all = response.topics[0].partitions[0].active_producers.iter();
    let seen: Vec<_> = all
        .map(|p| {
            (
                p.producer_id,
                p.producer_epoch,
                p.last_sequence,
                p.last_timestamp,
                p.coordinator_epoch,
                p.current_txn_start_offset,
            )
        })
        .collect();
    let now = node.now.wall_ms;
    assert_eq!(seen, [(1, 1, -1, now, 4, -1), (2, 3, 0, T + 6, -1, 1)]);
}

/// Nobody vouches for a batch without a transactional id.
#[test]
fn a_transactional_batch_of_nobody_is_refused() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    node.produce("t", 0, &of_txn((1, 0, 0), T), -1);
    assert_eq!(node.produced(), (codes::INVALID_TXN_STATE, -1));
    assert_eq!(node.read_as(0, 0).0, [0; 0]);
}

/// What a Java producer with a transactional id does, over shards that need not own the same partitions.
mod producer {
    use floe_wire::messages::add_partitions_to_txn::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic,
    };
    use floe_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
    use floe_wire::messages::find_coordinator::FindCoordinatorRequest;

    use super::*;

    const ID: &str = "app";

    impl Node {
        /// A node with topic `t` and a producer: its id and epoch.
        fn with_producer(shards: u16) -> (Node, (i64, i16)) {
            let mut node = Node::start(shards, BTreeMap::new());
            node.create("t", 2, 1);
            let request = FindCoordinatorRequest {
                key_type: 1,
                coordinator_keys: vec![ID.into()],
                ..FindCoordinatorRequest::default()
            };
            node.send(10, 5, &request);
            node.replies.clear();
            let request = InitProducerIdRequest {
                transactional_id: Some(ID.into()),
                transaction_timeout_ms: 60_000,
                ..InitProducerIdRequest::default()
            };
            node.send(22, 4, &request);
            let response = InitProducerIdResponse::decode_all(node.reply(22, 4), 4).unwrap();
            assert_eq!(response.error_code, codes::NONE);
            (node, (response.producer_id, response.producer_epoch))
        }

        /// A request with a batch for each of these partitions: producer and epoch, then partition and sequence.
        fn txn_frame(&self, version: i16, producer: (i64, i16), parts: &[(i32, i32)]) -> Input {
            let batches: Vec<_> =
                parts.iter().map(|(_, sequence)| of_txn((producer.0, producer.1, *sequence), T)).collect();
            let data = parts.iter().zip(&batches);
            let data = data
                .map(|((index, _), batch)| PartitionProduceData { index: *index, records: Records::Borrowed(batch) });
            let topic =
                TopicProduceData { name: "t".into(), partition_data: data.collect(), ..TopicProduceData::default() };
            let request = ProduceRequest {
                acks: -1,
                transactional_id: Some(ID.into()),
                topic_data: vec![topic],
                ..ProduceRequest::default()
            };
            let mut writer = Writer::new();
            let header = RequestHeader { api_key: 0, api_version: version, correlation_id: 5, client_id: None };
            header.encode(&mut writer);
            request.encode(&mut writer, version);
            Input::Frame { conn: self.conn, frame: writer.finish_contiguous() }
        }

        fn send_txn(&mut self, version: i16, producer: (i64, i16), parts: &[(i32, i32)]) {
            let frame = self.txn_frame(version, producer, parts);
            self.input(self.at, frame);
        }

        /// The answers to them: error and offset.
        fn answers(&mut self, version: i16) -> Vec<(i16, i64)> {
            let response = ProduceResponse::decode_all(self.reply(0, version), version).unwrap();
            let parts = response.responses[0].partition_responses.iter();
            parts.map(|part| (part.error_code, part.base_offset)).collect()
        }

        /// AddPartitionsToTxn with one partition: its error.
        fn add(&mut self, version: i16, producer: (i64, i16), partition: i32) -> i16 {
            let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![partition] };
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: ID.into(),
                v3_and_below_producer_id: producer.0,
                v3_and_below_producer_epoch: producer.1,
                v3_and_below_topics: vec![topic],
                ..AddPartitionsToTxnRequest::default()
            };
            self.send(24, version, &request);
            let response = AddPartitionsToTxnResponse::decode_all(self.reply(24, version), version).unwrap();
            response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        }

        fn end(&mut self, version: i16, producer: (i64, i16), committed: bool) -> (i16, i64, i16) {
            let (producer_id, producer_epoch) = producer;
            let request = EndTxnRequest { transactional_id: ID.into(), producer_id, producer_epoch, committed };
            self.send(26, version, &request);
            let response = EndTxnResponse::decode_all(self.reply(26, version), version).unwrap();
            (response.error_code, response.producer_id, response.producer_epoch)
        }
    }

    #[test]
    fn transactions_of_version_2_begin_by_being_written_to() {
        for shards in [1, 2, 3] {
            let (mut node, (id, epoch)) = Node::with_producer(shards);
            node.send_txn(12, (id, epoch), &[(0, 0), (1, 0)]);
            assert_eq!(node.answers(12), [(codes::NONE, 0), (codes::NONE, 0)], "{shards} shards");
            node.send_txn(12, (id, epoch), &[(0, 1)]);
            assert_eq!(node.answers(12), [(codes::NONE, 1)]);
            assert_eq!(node.read_as(0, 1), (vec![], 0, 2, Some(vec![])));
            let (error, same, next) = node.end(5, (id, epoch), true);
            assert_eq!((error, same, next), (codes::NONE, id, epoch + 1));
            assert_eq!(node.read_as(0, 1), (vec![0, 1, 2], 3, 3, Some(vec![])));
            // What was delayed past the end opens nothing.
            node.send_txn(12, (id, epoch), &[(0, 2)]);
            assert_eq!(node.answers(12), [(codes::INVALID_PRODUCER_EPOCH, -1)]);
            node.send_txn(12, (id, next), &[(0, 0)]);
            assert_eq!(node.answers(12), [(codes::NONE, 3)]);
            assert_eq!(node.end(5, (id, next), false).0, codes::NONE);
            assert_eq!(node.read_as(3, 1), (vec![3, 4], 5, 5, Some(vec![(id, 3)])));
            assert_eq!(node.shards.iter().map(|shard| shard.vouching.len()).sum::<usize>(), 0);
        }
    }

    /// On one shard everything goes through one journal: what opens a transaction goes with what is written, and its end with markers and completion.
    #[test]
    fn a_transaction_on_one_shard_is_two_journal_writes() {
        let (mut node, mut producer) = Node::with_producer(1);
        for parts in [&[(0, 0)][..], &[(0, 0), (1, 0)]] {
            for committed in [true, false] {
                let before = node.log().metrics().commits;
                node.send_txn(12, producer, parts);
                assert!(node.answers(12).iter().all(|(code, _)| *code == codes::NONE));
                assert_eq!(node.log().metrics().commits, before + 1);
                let (error, id, epoch) = node.end(5, producer, committed);
                assert_eq!(error, codes::NONE);
                assert_eq!(node.log().metrics().commits, before + 2);
                assert_eq!(
                    node.shards[0].owner.txns.coordinator.next_deadline().filter(|at| at.0 == 0),
                    None,
                    "it is over"
                );
                producer = (id, epoch);
            }
        }
        let end = node.log().metrics().commits;
        node.round();
        assert_eq!(node.log().metrics().commits, end, "nothing comes after");
        let (_, _, _, aborted) = node.read_as(0, 1);
        assert_eq!(aborted.map(|aborted| aborted.len()), Some(2));
    }

    #[test]
    fn batches_sent_together_go_in_together() {
        for shards in [1, 2, 3] {
            let (mut node, producer) = Node::with_producer(shards);
            // Before any of them is answered: the first is asked about, the others are not taken for gaps.
            let frames =
                (0..20).map(|sequence| (node.at, node.txn_frame(12, producer, &[(0, sequence), (1, sequence)])));
            let frames = frames.collect();
            node.inputs(frames);
            let replies = std::mem::take(&mut node.replies);
            assert_eq!(replies.len(), 20, "{shards} shards");
            for (reply, offset) in replies.into_iter().zip(0..) {
                node.replies = vec![reply];
                assert_eq!(node.answers(12), [(codes::NONE, offset); 2], "{shards} shards");
            }
            assert!(node.shards.iter().all(|shard| shard.vouching.is_empty()));
        }
    }

    #[test]
    fn batches_for_one_owner_do_not_pass_earlier_ones_that_wait_for_two() {
        for shards in [1, 2, 3] {
            let (mut node, producer) = Node::with_producer(shards);
            let parts = |n: i32| if n % 2 == 0 { vec![(0, n), (1, n / 2)] } else { vec![(0, n)] };
            let frames = (0..10).map(|n| (node.at, node.txn_frame(12, producer, &parts(n)))).collect();
            node.inputs(frames);
            let replies = std::mem::take(&mut node.replies);
            assert_eq!(replies.len(), 10, "{shards} shards");
            for (reply, n) in replies.into_iter().zip(0..) {
                node.replies = vec![reply];
                let answers = node.answers(12);
                assert_eq!(answers[0], (codes::NONE, n), "{shards} shards: {answers:?}");
            }
            assert!(node.shards.iter().all(|shard| shard.vouching.is_empty()));
        }
    }

    /// A marker of the transaction before, sent twice, reaches the partition while the coordinator is asked about the next one: what it says is void then, and
    /// it is asked once more.
    #[test]
    fn the_coordinator_is_asked_again_when_a_marker_came_between() {
        let mut asked_again = 0;
        for partition in [0, 1] {
            let (mut node, (id, epoch)) = Node::with_producer(2);
            assert_eq!(node.add(3, (id, epoch), partition), codes::NONE);
            node.delays = Some(Box::new(|msg| matches!(msg, MeshMsg::Answer { answer: Answer::Produced { .. }, .. })));
            node.send_txn(9, (id, epoch), &[(partition, 0)]);
            if node.delayed.is_empty() {
                // The partition is where the connection is.
                continue;
            }
            asked_again += 1;
            let topic = node.shards[0].image.topic("t").expect("it was made").id;
            let (now, owner) = (node.now, usize::from(1 - node.at));
            let log = node.shards[owner].log.as_mut().expect("it is ready");
            let ix = log.find(topic, partition).expect("it is there");
            let end = TxnEnd { committed: true, coordinator_epoch: 0 };
            log.append_end(now, ix, (id, epoch), end, 0, 0).unwrap();
            node.deliver();
            assert_eq!(node.answers(9), [(codes::NONE, 1)], "behind the marker");
        }
        assert_eq!(asked_again, 1);
    }

    /// The marker that fences a producer stands in the partition before it is on the disk. If it never comes there, a crash takes it back, and the producer is
    /// what it was: so nobody is told before.
    #[test]
    fn whoever_is_fenced_is_told_when_that_is_durable() {
        let (mut node, (id, epoch)) = Node::with_producer(1);
        node.send_txn(12, (id, epoch), &[(0, 0)]);
        assert_eq!(node.answers(12), [(codes::NONE, 0)]);
        node.writing = Some(Vec::new());
        let request =
            EndTxnRequest { transactional_id: ID.into(), producer_id: id, producer_epoch: epoch, committed: true };
        node.send(26, 5, &request);
        // The same producer's delayed batch, on another connection.
        let (first, other) = (node.conn, ConnId(77));
        let peer = "127.0.0.1:5001".parse().unwrap();
        node.input(0, Input::Connected { conn: other, peer, listener: 0 });
        node.conn = other;
        node.send_txn(12, (id, epoch), &[(0, 1)]);
        node.conn = first;
        assert!(node.replies.is_empty(), "a crash now would take it back");
        let mut before = Node::start(1, node.files.clone());
        assert_eq!(
            before.read_as(0, 1),
            (vec![], 0, 1, Some(vec![])),
            "the transaction is open, and its producer who it was"
        );
        node.write();
        assert_eq!(node.replies.len(), 2);
        let fenced = node.replies.remove(0);
        let response = EndTxnResponse::decode_all(node.reply(26, 5), 5).unwrap();
        assert_eq!((response.error_code, response.producer_epoch), (codes::NONE, epoch + 1));
        node.replies = vec![fenced];
        assert_eq!(node.answers(12), [(codes::INVALID_PRODUCER_EPOCH, -1)]);
    }

    /// The second batch of a transaction is on its way back while the first one opens it: a third must not go to the partition now.
    #[test]
    fn a_batch_does_not_pass_one_that_is_on_its_way_back() {
        let mut passed = 0;
        for partition in [0, 1] {
            let (mut node, producer) = Node::with_producer(2);
            let mut answers = 0;
            node.delays = Some(Box::new(move |msg| {
                let produced = matches!(msg, MeshMsg::Answer { answer: Answer::Produced { .. }, .. });
                answers += usize::from(produced);
                produced && answers == 2
            }));
            let frames = (0..2).map(|sequence| (node.at, node.txn_frame(12, producer, &[(partition, sequence)])));
            let frames = frames.collect();
            node.inputs(frames);
            if node.delayed.is_empty() {
                // The partition is where the connection is.
                continue;
            }
            passed += 1;
            node.send_txn(12, producer, &[(partition, 2)]);
            node.deliver();
            let replies = std::mem::take(&mut node.replies);
            assert_eq!(replies.len(), 3);
            for (reply, offset) in replies.into_iter().zip(0..) {
                node.replies = vec![reply];
                assert_eq!(node.answers(12), [(codes::NONE, offset)]);
            }
        }
        assert_eq!(passed, 1);
    }

    #[test]
    fn a_connection_that_goes_takes_what_waits_along() {
        let (mut node, producer) = Node::with_producer(3);
        let frames = (0..5).map(|sequence| (node.at, node.txn_frame(12, producer, &[(0, sequence)])));
        let mut inputs: std::collections::VecDeque<_> = frames.collect();
        inputs.push_back((node.at, Input::Disconnected { conn: node.conn }));
        node.inputs(inputs);
        assert!(node.shards.iter().all(|shard| shard.vouching.is_empty() && shard.pending.is_empty()));
    }

    #[test]
    fn older_clients_are_believed_where_nobody_is_to_ask() {
        for shards in [1, 2] {
            let (mut node, (id, epoch)) = Node::with_producer(shards);
            let off = ("transaction.partition.verification.enable", 0, Some("false"));
            assert_eq!(node.incremental(&[(4, "", &[off])]), [(codes::NONE, String::new())]);
            node.send_txn(9, (id, epoch), &[(0, 0), (1, 0)]);
            assert_eq!(node.answers(9), [(codes::NONE, 0), (codes::NONE, 0)], "{shards} shards");
            node.send_txn(9, (id, epoch), &[(1, 1)]);
            assert_eq!(node.answers(9), [(codes::NONE, 1)]);
            assert!(node.shards.iter().all(|shard| shard.vouching.is_empty()));
            // What adds partitions by itself asks all the same.
            node.send_txn(12, (id + 1, 0), &[(1, 0)]);
            assert_eq!(node.answers(12), [(codes::INVALID_PRODUCER_ID_MAPPING, -1)]);
        }
    }

    #[test]
    fn older_clients_have_to_add_partitions_first() {
        let (mut node, (id, epoch)) = Node::with_producer(2);
        for (version, code) in [(9, codes::INVALID_TXN_STATE), (11, codes::TRANSACTION_ABORTABLE)] {
            node.send_txn(version, (id, epoch), &[(1, 0)]);
            assert_eq!(node.answers(version), [(code, -1)], "version {version}");
        }
        assert_eq!(node.add(3, (id, epoch), 1), codes::NONE);
        node.send_txn(9, (id, epoch), &[(0, 0), (1, 0)]);
        assert_eq!(node.answers(9), [(codes::INVALID_TXN_STATE, -1), (codes::NONE, 0)], "each for itself");
        assert_eq!(node.end(3, (id, epoch), true).0, codes::NONE);
        node.send_txn(9, (id, epoch), &[(1, 1)]);
        assert_eq!(node.answers(9), [(codes::INVALID_TXN_STATE, -1)], "the next transaction has to be begun");
        node.send_txn(12, (id + 1, 0), &[(1, 0)]);
        assert_eq!(node.answers(12), [(codes::INVALID_PRODUCER_ID_MAPPING, -1)]);
    }
}
