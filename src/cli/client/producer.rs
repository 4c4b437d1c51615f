//! Writing records: collected into one batch per partition, sent to the leaders, tried again while that is safe.
//!
//! Invariants: a record counts as delivered only when its leader said so (or with acks=0 when it was handed to the socket). A batch
//! whose fate is unknown (the connection broke after it was sent) is sent again only by an idempotent producer, with its
//! old sequence number.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use floe_wire::primitives::Records;

use super::connection::{Answer, error_of};
use super::keys::ApiKey;
use super::partitioner::Partitioner;
use super::record::NewRecord;
use super::{Cluster, Topic};
use crate::problem::{Outcome, Problem};

/// A batch is sent when its records have this many bytes: under every broker's default `max.message.bytes`.
const BATCH_BYTES: usize = 512 << 10;

/// Records in one batch at most, however small.
const BATCH_RECORDS: usize = 50_000;

/// All batches together are sent when they have this many bytes.
const PENDING_BYTES: usize = 4 << 20;

/// How a producer behaves.
#[derive(Clone, Debug)]
pub(in crate::cli) struct ProducerOptions {
    /// 0, 1 or -1 (all).
    pub(in crate::cli) acks: i16,
    /// Compression of batches.
    pub(in crate::cli) codec: Codec,
    /// Whether repeats are recognised by the broker.
    pub(in crate::cli) idempotent: bool,
}

/// A producer for one topic.
#[derive(Debug)]
pub(in crate::cli) struct Producer {
    topic: Topic,
    options: ProducerOptions,
    partitioner: Partitioner,
    producer: Option<(i64, i16)>,
    sequences: HashMap<i32, i32>,
    pending: BTreeMap<i32, Vec<NewRecord>>,
    pending_bytes: usize,
    sticky_bytes: usize,
    /// Records that the brokers took.
    pub(in crate::cli) delivered: u64,
}

/// A batch on its way.
#[derive(Debug)]
struct Outgoing {
    partition: i32,
    records: u64,
    bytes: Bytes,
}

impl Producer {
    /// Finds the topic (creating it on first use where the broker does that) and the producer id.
    pub(in crate::cli) fn new(cluster: &mut Cluster, topic: &str, options: ProducerOptions) -> Outcome<Producer> {
        let topic = cluster.topic(topic, true)?;
        let producer = if options.idempotent { Some(producer_id(cluster)?) } else { None };
        Ok(Producer {
            topic,
            options,
            partitioner: Partitioner::new(),
            producer,
            sequences: HashMap::new(),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            sticky_bytes: 0,
            delivered: 0,
        })
    }

    /// Whether records wait to be sent.
    pub(in crate::cli) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes a record; sends when enough have come together.
    pub(in crate::cli) fn push(&mut self, cluster: &mut Cluster, mut record: NewRecord) -> Outcome {
        let count = self.topic.partitions.len() as i32;
        let partition = match record.partition {
            Some(partition) if (0..count).contains(&partition) => partition,
            Some(partition) => {
                return Err(Problem::new(format!("topic `{}` has no partition {partition}", self.topic.name))
                    .next(format!("use one from 0 to {}, or leave it out", count - 1)));
            }
            None => self.partitioner.partition(record.key.as_deref(), count),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        record.timestamp_ms.get_or_insert(now);
        let bytes = weight(&record);
        if record.key.is_none() && record.partition.is_none() {
            self.sticky_bytes += bytes;
            if self.sticky_bytes >= BATCH_BYTES / 8 {
                self.sticky_bytes = 0;
                self.partitioner.next_turn();
            }
        }
        if self.has_pending() && self.pending_bytes + bytes > PENDING_BYTES {
            self.flush(cluster)?;
        }
        self.pending.entry(partition).or_default().push(record);
        self.pending_bytes += bytes;
        Ok(())
    }

    /// Sends what waits and waits for the answers.
    pub(in crate::cli) fn flush(&mut self, cluster: &mut Cluster) -> Outcome {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.sticky_bytes = 0;
        self.partitioner.next_turn();
        // Batches of one partition leave in order, one per round: round r holds every partition's r-th batch.
        let mut rounds: Vec<Vec<Outgoing>> = Vec::new();
        for (partition, records) in pending {
            for (round, chunk) in chunks(&records).into_iter().enumerate() {
                let outgoing = self.build(partition, chunk)?;
                if rounds.len() == round {
                    rounds.push(Vec::new());
                }
                rounds[round].push(outgoing);
            }
        }
        for round in rounds {
            self.send_round(cluster, round)?;
        }
        Ok(())
    }

    fn build(&mut self, partition: i32, records: &[NewRecord]) -> Outcome<Outgoing> {
        let mut builder = BatchBuilder::new(self.options.codec);
        if let Some((id, epoch)) = self.producer {
            let sequence = self.sequences.entry(partition).or_insert(0);
            builder.producer(id, epoch, *sequence);
            *sequence = ((i64::from(*sequence) + records.len() as i64) & 0x7fff_ffff) as i32;
        }
        for record in records {
            let headers: Vec<(&str, Option<&[u8]>)> =
                record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            builder.push(BatchRecord {
                timestamp: record.timestamp_ms.unwrap_or(0),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            });
        }
        Ok(Outgoing { partition, records: records.len() as u64, bytes: builder.finish() })
    }

    fn send_round(&mut self, cluster: &mut Cluster, mut round: Vec<Outgoing>) -> Outcome {
        let until = Instant::now() + cluster.timeout();
        let mut pause = Duration::from_millis(50);
        loop {
            let mut again: Vec<Outgoing> = Vec::new();
            let mut last: Option<Problem> = None;
            let mut by_leader: BTreeMap<i32, Vec<Outgoing>> = BTreeMap::new();
            for outgoing in round {
                let leader =
                    self.topic.partitions.iter().find(|p| p.index == outgoing.partition).map_or(-1, |p| p.leader);
                by_leader.entry(leader).or_default().push(outgoing);
            }
            for (leader, batches) in by_leader {
                let (rest, problem) = self.send_to(cluster, leader, batches)?;
                again.extend(rest);
                last = problem.or(last);
            }
            if again.is_empty() {
                return Ok(());
            }
            if Instant::now() + pause > until {
                let records: u64 = again.iter().map(|outgoing| outgoing.records).sum();
                let last = last.unwrap_or_else(|| Problem::new("the brokers did not take them"));
                return Err(
                    Problem::new(format!("{records} records were not delivered in time")).because_of(last.to_string())
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
            self.topic = cluster.topic(&self.topic.name.clone(), true)?;
            round = again;
        }
    }

    /// Sends batches to one leader. Gives back those to be tried again, and why.
    fn send_to(
        &mut self,
        cluster: &mut Cluster,
        leader: i32,
        batches: Vec<Outgoing>,
    ) -> Outcome<(Vec<Outgoing>, Option<Problem>)> {
        let timeout_ms = cluster.timeout().as_millis().min(i32::MAX as u128) as i32;
        let connection = match cluster.broker(leader) {
            Ok(connection) => connection,
            // Nothing was sent yet, so trying again is safe.
            Err(problem) => return Ok((batches, Some(problem))),
        };
        let version = connection.version(ApiKey::Produce, 3, 13)?;
        let data = batches
            .iter()
            .map(|outgoing| PartitionProduceData {
                index: outgoing.partition,
                records: Records::Borrowed(&outgoing.bytes),
            })
            .collect();
        let request = ProduceRequest {
            acks: self.options.acks,
            timeout_ms,
            topic_data: vec![TopicProduceData {
                name: self.topic.name.as_str().into(),
                topic_id: self.topic.id,
                partition_data: data,
            }],
            ..ProduceRequest::default()
        };
        let sent = if self.options.acks == 0 {
            connection.send(ApiKey::Produce, version, &request).map(|()| None)
        } else {
            connection.ask(ApiKey::Produce, version, &request).map(Some)
        };
        drop(request);
        match sent {
            Ok(None) => {
                self.delivered += batches.iter().map(|outgoing| outgoing.records).sum::<u64>();
                Ok((Vec::new(), None))
            }
            Ok(Some(answer)) => {
                let codes = codes(&answer)?;
                self.settle(&answer, batches, &codes)
            }
            Err(problem) => {
                cluster.drop_broker(leader);
                if self.options.idempotent {
                    return Ok((batches, Some(problem)));
                }
                let records: u64 = batches.iter().map(|outgoing| outgoing.records).sum();
                Err(problem.next(format!(
                    "{records} records may or may not have been written; use --idempotent to have them sent again without doubling"
                )))
            }
        }
    }

    fn settle(
        &mut self,
        answer: &Answer,
        batches: Vec<Outgoing>,
        codes: &HashMap<i32, (i16, String)>,
    ) -> Outcome<(Vec<Outgoing>, Option<Problem>)> {
        let mut again = Vec::new();
        let mut why = None;
        for outgoing in batches {
            let (code, message) = codes
                .get(&outgoing.partition)
                .cloned()
                .unwrap_or((-1, "the answer leaves the partition out".to_owned()));
            let error = error_of(code);
            match error {
                // A repeat that was already there is as good as written now.
                ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => self.delivered += outgoing.records,
                _ => {
                    let problem = answer.refused(code, Some(&message)).next(match error {
                        ErrorCode::MESSAGE_TOO_LARGE => format!(
                            "let the topic take larger batches: floe topic alter {} --config max.message.bytes=N (this one has {} bytes)",
                            self.topic.name,
                            outgoing.bytes.len()
                        ),
                        _ => format!("partition {}-{}; see the broker's log", self.topic.name, outgoing.partition),
                    });
                    // After a timeout in the broker the batch may be there: only an idempotent producer may repeat it.
                    let repeat_is_safe = self.options.idempotent || error != ErrorCode::REQUEST_TIMED_OUT;
                    if !error.retriable() || !repeat_is_safe {
                        return Err(problem);
                    }
                    again.push(outgoing);
                    why = Some(problem);
                }
            }
        }
        Ok((again, why))
    }
}

/// Error code and words by partition.
fn codes(answer: &Answer) -> Outcome<HashMap<i32, (i16, String)>> {
    let response: ProduceResponse = answer.decode()?;
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    Ok(partitions
        .map(|partition| {
            let message = partition.error_message.as_deref().unwrap_or_default().to_owned();
            (partition.index, (partition.error_code, message))
        })
        .collect())
}

fn producer_id(cluster: &mut Cluster) -> Outcome<(i64, i16)> {
    let until = Instant::now() + cluster.timeout();
    let connection = cluster.any();
    let version = connection.version(ApiKey::InitProducerId, 0, 4)?;
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    loop {
        let answer = connection.ask(ApiKey::InitProducerId, version, &request)?;
        let response: InitProducerIdResponse = answer.decode()?;
        if response.error_code == 0 {
            return Ok((response.producer_id, response.producer_epoch));
        }
        if !error_of(response.error_code).retriable() || Instant::now() > until {
            return Err(answer.refused(response.error_code, None));
        }
        std::thread::sleep(super::RETRY_PAUSE);
    }
}

/// Bytes of a record, near enough for cutting batches.
fn weight(record: &NewRecord) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + len(value) + 4).sum();
    len(&record.key) + len(&record.value) + headers + 16
}

/// Cuts the records of one partition into batches.
fn chunks(records: &[NewRecord]) -> Vec<&[NewRecord]> {
    let mut cuts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (i, record) in records.iter().enumerate() {
        let more = weight(record);
        if i > from && (bytes + more > BATCH_BYTES || i - from >= BATCH_RECORDS) {
            cuts.push(&records[from..i]);
            (from, bytes) = (i, 0);
        }
        bytes += more;
    }
    if from < records.len() {
        cuts.push(&records[from..]);
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_by_bytes_and_never_lose_a_record() {
        let record = |bytes: usize| NewRecord { value: Some(vec![0; bytes]), ..NewRecord::default() };
        for (sizes, expect) in [
            (vec![], vec![]),
            (vec![1], vec![1]),
            (vec![BATCH_BYTES * 2, 1], vec![1, 1]),
            (vec![1, BATCH_BYTES * 2, 1], vec![1, 1, 1]),
            (vec![BATCH_BYTES / 2 - 16, BATCH_BYTES / 2 - 16, 1], vec![2, 1]),
        ] {
            let records: Vec<NewRecord> = sizes.iter().map(|size| record(*size)).collect();
            let lens: Vec<usize> = chunks(&records).iter().map(|chunk| chunk.len()).collect();
            assert_eq!(lens, expect, "{sizes:?}");
        }
    }
}
