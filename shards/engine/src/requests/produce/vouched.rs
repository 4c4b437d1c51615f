//! Produce in a transaction: what would open one on a partition is asked of the transaction's coordinator first, then sent to its owner again (KIP-890).
//!
//! While a connection's request is being asked about, its later transactional produces wait, as those of a Kafka connection do: a batch that passed the
//! first one of a transaction would look like a gap. Those that were on their way already come back to be asked about as well, in their order: none of them
//! before an earlier one with a batch for the same partition has come to stand there: what goes to the owner again may come back once more (below), and
//! whatever had gone behind it would find the transaction open and look like a gap.
//!
//! The end of the producer's transaction before may be written while somebody asks: then what the coordinator says is void, and it is asked once more.

use std::collections::VecDeque;

use floe_wire::errors::ErrorCode;
use floe_wire::ids::TopicId;
use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use super::super::split::Split;
use super::super::{Caller, Pending, Wait, codes};
use super::{PartitionProduceResponse, ProduceWait, refuse};
use crate::batch::Refused;
use crate::event::{ConnId, Effects};
use crate::group::Name;
use crate::limits::VOUCH_ROUNDS_MAX;
use crate::mesh::{Call, ProducePart, Produced, Verified};
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{Adding, Producer, TxnAnswer, TxnRequest};

/// From this version on a partition comes into a transaction by being written to, and epochs rise with each transaction.
const ADDS_SINCE: i16 = 12;
/// From this version on clients know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 11;

/// What of a produce belongs to a transaction.
#[derive(Debug)]
pub struct Vouched {
    id: Name,
    /// Whose transaction it is, by the first of its batches.
    producer: Option<Producer>,
    /// Batches that have not been appended, to be sent again.
    parts: Vec<ProducePart>,
    /// Those that would open a transaction.
    unverified: Vec<ProducePart>,
    /// Every owner has answered, and the coordinator is not asked yet.
    ready: bool,
    /// Those that were sent again.
    resent: Vec<ProducePart>,
    /// How often the coordinator was asked.
    rounds: u32,
}

/// A connection whose transactional produces wait.
#[derive(Debug, Default)]
pub struct Vouching {
    /// Its requests that are being asked about, or are to be.
    asked: usize,
    /// Those that wait for them: tokens.
    waiting: VecDeque<u64>,
}

impl Vouched {
    pub(super) fn new(id: &str) -> Vouched {
        Vouched {
            id: id.into(),
            producer: None,
            parts: Vec::new(),
            unverified: Vec::new(),
            ready: false,
            resent: Vec::new(),
            rounds: 0,
        }
    }

    /// A batch of the request; one that is not of the request's producer is refused.
    pub(super) fn push(&mut self, part: &ProducePart) -> Result<(), Refused> {
        if !part.info.is_transactional() {
            return Ok(());
        }
        let producer = Producer { id: part.info.producer_id, epoch: part.info.producer_epoch };
        if self.producer.get_or_insert(producer).id != producer.id {
            let why = "Transactional records contained more than one producer ID";
            return Err(Refused::new(codes::INVALID_PRODUCER_ID_MAPPING, why));
        }
        self.parts.push(part.clone());
        Ok(())
    }

    /// An owner has answered about one of the batches. `false`: it is to be asked about.
    pub(super) fn answered(&mut self, produced: &Produced) -> bool {
        let place = |parts: &[ProducePart]| parts.iter().position(|part| part.at == produced.at);
        let part = match (place(&self.parts), place(&self.resent)) {
            (Some(at), _) => self.parts.swap_remove(at),
            (_, Some(at)) => self.resent.swap_remove(at),
            _ => return true,
        };
        let Some(guard) = produced.guard else { return true };
        // Filled in with what the version of the request says when it is sent again.
        self.unverified.push(ProducePart { verified: Some(Verified { guard, epoch_rises: false }), ..part });
        false
    }

    pub(super) fn has_unverified(&self) -> bool {
        !self.unverified.is_empty()
    }

    /// Partitions whose batches have not come to stand, as far as is known.
    fn unsettled(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.parts.iter().chain(&self.unverified).chain(&self.resent).map(|part| (part.topic, part.partition))
    }
}

impl Shard {
    /// Whether a transactional produce of this connection has to wait for those before it.
    pub(super) fn waits_for_coordinator(&self, conn: ConnId) -> bool {
        !self.vouching.is_empty() && self.vouching.contains_key(&conn)
    }

    /// It waits.
    pub(super) fn produce_later(&mut self, caller: Caller, client_id: Option<&str>, body: bytes::Bytes) {
        let token = self.wait(caller, Wait::ProduceLater(client_id.map(Into::into), body));
        self.vouching.entry(caller.conn).or_default().waiting.push_back(token);
    }

    /// Every owner has answered, and something would open a transaction: the coordinator is asked when those before it are settled.
    pub(super) fn ask_later(&mut self, now: Time, token: u64, fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Produce(wait) }) = self.pending.get_mut(&token) else { return };
        let conn = caller.conn;
        wait.vouched.as_mut().expect("it has batches to ask about").ready = true;
        self.vouching.entry(conn).or_default().asked += 1;
        self.ask_in_turn(now, conn, fx);
    }

    /// Asks about the connection's requests that wait for nothing before them any more.
    pub(super) fn ask_in_turn(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let mut unsettled: HashSet<(TopicId, i32), FxBuildHasher> = HashSet::default();
        let mut asks = Vec::new();
        for token in connection.tokens() {
            let Some(Pending { wait: Wait::Produce(wait), .. }) = self.pending.get_mut(&token) else { continue };
            let Some(vouched) = &mut wait.vouched else { continue };
            if vouched.ready && !vouched.unsettled().any(|place| unsettled.contains(&place)) {
                vouched.ready = false;
                asks.push(token);
            }
            unsettled.extend(vouched.unsettled());
        }
        for token in asks {
            self.ask_for_produce(now, token, fx);
        }
    }

    /// Asks the coordinator about what would open a transaction.
    fn ask_for_produce(&mut self, now: Time, token: u64, fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Produce(wait) }) = self.pending.get_mut(&token) else { return };
        let caller = *caller;
        let vouched = wait.vouched.as_mut().expect("it has batches to ask about");
        vouched.unverified.sort_unstable_by_key(|part| part.at);
        let mut topics: Vec<(Name, Vec<i32>)> = Vec::new();
        let mut last = None;
        for part in &vouched.unverified {
            if last != Some(part.at.0) {
                last = Some(part.at.0);
                let name = self.image.topic_by_id(part.topic).map_or("", |topic| &topic.name);
                topics.push((Name::from(name), Vec::new()));
            }
            topics.last_mut().expect("pushed above").1.push(part.partition);
        }
        let producer = vouched.producer.expect("it has batches");
        let adding = if caller.version >= ADDS_SINCE { Adding::Implicit } else { Adding::Verify };
        let id = vouched.id.clone();
        if adding == Adding::Verify && !self.verifies_transactions {
            // As Kafka has it: the client is believed.
            let believed = topics.iter().map(|(_, partitions)| vec![codes::NONE; partitions.len()]).collect();
            return self.produce_vouched(now, token, TxnAnswer::Added(Ok(believed)), fx);
        }
        let beside = self.lie_beside(&id, &topics);
        let request = TxnRequest::AddPartitions { producer, topics, adding, beside };
        if let Err(code) = self.call_txn(now, (token, 0), id, request, fx) {
            self.produce_vouched(now, token, TxnAnswer::Added(Err(code)), fx);
        }
    }

    /// The coordinator has answered: what it vouches for goes to the owners again.
    pub(in crate::requests) fn produce_vouched(&mut self, now: Time, token: u64, answer: TxnAnswer, fx: &mut Effects) {
        let shards = self.shards;
        let Some(Pending { caller, wait: Wait::Produce(wait) }) = self.pending.get_mut(&token) else { return };
        let caller = *caller;
        let TxnAnswer::Added(added) = answer else { unreachable!("{answer:?} to added partitions") };
        let vouched = wait.vouched.as_mut().expect("it was asked about");
        let parts = std::mem::take(&mut vouched.unverified);
        vouched.rounds += 1;
        let once_more = vouched.rounds < VOUCH_ROUNDS_MAX;
        let codes: Vec<i16> = match added {
            Ok(codes) => codes.into_iter().flatten().collect(),
            Err(code) => vec![code; parts.len()],
        };
        assert!(codes.len() == parts.len(), "every partition is answered");
        let mut split = Split::new(shards);
        for (mut part, code) in parts.into_iter().zip(codes) {
            let topic = self.image.topic_by_id(part.topic);
            match topic.filter(|topic| topic.has(part.partition)) {
                Some(topic) if code == codes::NONE => {
                    let verified = part.verified.as_mut().expect("it has a guard");
                    verified.epoch_rises = caller.version >= ADDS_SINCE;
                    if once_more && let Some(vouched) = &mut wait.vouched {
                        vouched.resent.push(part.clone());
                    }
                    split.push(topic.shard_of(part.partition, shards), part);
                }
                Some(_) => {
                    let refused = not_vouched_for(code, caller.version);
                    self.metrics.errors.count(refused.code);
                    wait.refuse(&part, refused);
                }
                None => {
                    let code = codes::UNKNOWN_TOPIC_OR_PARTITION;
                    wait.refuse(&part, Refused::new(code, "The topic has been deleted."));
                }
            }
        }
        wait.left = split.owners().count();
        if wait.left == 0 {
            self.produced(now, token, (Vec::new(), now.mono_ns), fx);
        }
        for (owner, parts) in split.into_calls() {
            self.call(now, owner, token, Call::Produce { parts, since_ns: now.mono_ns }, fx);
        }
        self.stop_asking(now, caller.conn, fx);
    }

    /// What a connection's request was asked is known: the requests behind it go on, if none before them is still asked about.
    fn stop_asking(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        let Some(vouching) = self.vouching.get_mut(&conn) else { return };
        vouching.asked -= 1;
        self.produce_on(now, conn, fx);
    }

    /// Something became of one of the connection's requests: those behind it go on, if they may. What has not been sent yet goes when no owner can find
    /// anything before it wanting: a batch that is on its way back would leave a gap, as what it waits for may have opened the transaction meanwhile.
    pub(super) fn produce_on(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        let Some(vouching) = self.vouching.get(&conn) else { return };
        if vouching.asked > 0 {
            return self.ask_in_turn(now, conn, fx);
        }
        let on_its_way = |token| match self.pending.get(&token) {
            Some(Pending { wait: Wait::Produce(wait), .. }) => {
                wait.vouched.as_ref().is_some_and(|vouched| !vouched.parts.is_empty() || vouched.has_unverified())
            }
            _ => false,
        };
        if self.connections.get(&conn).is_some_and(|connection| connection.tokens().any(on_its_way)) {
            return;
        }
        let waiting = self.vouching.remove(&conn).map(|vouching| vouching.waiting).unwrap_or_default();
        for token in waiting {
            let Some(Pending { caller, wait: Wait::ProduceLater(client_id, body) }) = self.pending.remove(&token)
            else {
                continue;
            };
            self.produce(now, caller, client_id.as_deref(), &body, fx).expect("it could be decoded before");
        }
    }
}

impl ProduceWait {
    fn refuse(&mut self, part: &ProducePart, refused: Refused) {
        self.failed = true;
        refuse(self.answer(part.at), refused);
    }

    pub(super) fn answer(&mut self, (topic, partition): (u32, u32)) -> &mut PartitionProduceResponse<'static> {
        &mut self.response.responses[topic as usize].partition_responses[partition as usize]
    }
}

/// A coordinator's code as Kafka tells it to producers: what is over soon becomes an error that clients of every age try again after.
fn not_vouched_for(code: i16, version: i16) -> Refused {
    let code = match code {
        codes::PRODUCER_FENCED => codes::INVALID_PRODUCER_EPOCH,
        codes::TRANSACTION_ABORTABLE if version < ABORTABLE_SINCE => codes::INVALID_TXN_STATE,
        code => code,
    };
    match code {
        codes::INVALID_TXN_STATE => Refused::new(code, "Partition was not added to the transaction"),
        codes::COORDINATOR_LOAD_IN_PROGRESS | codes::COORDINATOR_NOT_AVAILABLE | codes::NOT_COORDINATOR => later(code),
        codes::CONCURRENT_TRANSACTIONS if version < ADDS_SINCE => later(code),
        code => Refused::new(code, "The transaction's coordinator does not know of this."),
    }
}

fn later(code: i16) -> Refused {
    let name = ErrorCode::from_code(code).map_or("?", |error| error.name());
    let why = "Unable to verify the partition has been added to the transaction. Underlying error";
    Refused::new(codes::NOT_ENOUGH_REPLICAS, format!("{why}: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinators_codes_as_producers_get_them() {
        let retry = codes::NOT_ENOUGH_REPLICAS;
        let rows = [
            (codes::PRODUCER_FENCED, codes::INVALID_PRODUCER_EPOCH, codes::INVALID_PRODUCER_EPOCH),
            (codes::INVALID_TXN_STATE, codes::INVALID_TXN_STATE, codes::INVALID_TXN_STATE),
            (codes::TRANSACTION_ABORTABLE, codes::INVALID_TXN_STATE, codes::TRANSACTION_ABORTABLE),
            (codes::COORDINATOR_LOAD_IN_PROGRESS, retry, retry),
            (codes::COORDINATOR_NOT_AVAILABLE, retry, retry),
            (codes::NOT_COORDINATOR, retry, retry),
            (codes::CONCURRENT_TRANSACTIONS, retry, codes::CONCURRENT_TRANSACTIONS),
            (
                codes::INVALID_PRODUCER_ID_MAPPING,
                codes::INVALID_PRODUCER_ID_MAPPING,
                codes::INVALID_PRODUCER_ID_MAPPING,
            ),
        ];
        for (code, old, new) in rows {
            assert_eq!((not_vouched_for(code, 10).code, not_vouched_for(code, 12).code), (old, new), "{code}");
        }
    }
}
