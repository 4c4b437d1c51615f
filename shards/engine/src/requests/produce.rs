//! Produce (0): the batches go to the owners of their partitions, the answer when all have reached their tier.
//!
//! `acks=0` gets no answer; an error then closes the connection, as that is all a client can notice.

mod vouched;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use floe_wire::primitives::{DecodeError, Records};

use self::vouched::Vouched;
pub use self::vouched::Vouching;
use super::split::{Split, bounded};
use super::{Caller, Pending, Wait, codes};
use crate::batch::{Refused, check_keys, judge};
use crate::config::TopicSettings;
use crate::connection::Ending;
use crate::event::Effects;
use crate::limits::{SHARED_ANSWERS_BYTES, SPARE_ANSWERS_MAX, SPARE_PARTITIONS_MAX};
use crate::log::BatchInfo;
use crate::mesh::{Call, ProducePart, Produced};
use crate::metadata::Topic;
use crate::shard::Shard;
use crate::time::Time;

/// The client that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";

/// A produce whose owners work.
#[derive(Debug)]
pub struct ProduceWait {
    response: ProduceResponse<'static>,
    /// Owners that have not answered.
    left: usize,
    /// When the last of the others had it durable.
    durable_ns: u64,
    silent: bool,
    failed: bool,
    /// Of a produce with a transactional id.
    vouched: Option<Box<Vouched>>,
}

impl Shard {
    pub(super) fn produce(
        &mut self,
        now: Time,
        caller: Caller,
        client_id: Option<&str>,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ProduceRequest::decode_all(body, caller.version)?;
        bounded(request.topic_data.iter().map(|data| data.partition_data.len()))?;
        if request.transactional_id.is_some() && self.waits_for_coordinator(caller.conn) {
            self.produce_later(caller, client_id, body.clone());
            return Ok(());
        }
        let refusal = match request.acks {
            -1..=1 => None,
            _ => Some(Refused::new(codes::INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1.")),
        };
        let mut wait = ProduceWait {
            response: self.spare_answers.pop().unwrap_or_default(),
            left: 0,
            durable_ns: now.mono_ns,
            silent: request.acks == 0,
            failed: false,
            vouched: request.transactional_id.as_deref().map(|id| Box::new(Vouched::new(id))),
        };
        let mut spare = wait.response.responses.pop();
        wait.response.responses.reserve_exact(request.topic_data.len());
        let mut split = Split::new(self.shards);
        for (data, topic_at) in request.topic_data.into_iter().zip(0..) {
            let mut target = self.target(&data, caller.version, refusal.as_ref());
            if let Ok((topic, _)) = &target
                && topic.is_internal()
                && client_id != Some(ADMIN_CLIENT)
            {
                let why = format!("Cannot append to internal topic {}", topic.name);
                target = Err(Refused::new(codes::INVALID_TOPIC_EXCEPTION, why));
            }
            let mut answer_of_topic = spare.take().unwrap_or_default();
            answer_of_topic.partition_responses.reserve_exact(data.partition_data.len());
            for (partition, partition_at) in data.partition_data.into_iter().zip(0..) {
                let index = partition.index;
                let mut answer = PartitionProduceResponse { index, base_offset: -1, ..Default::default() };
                let accepted = accept(&target, index, partition.records, body, caller.version, now.wall_ms);
                let accepted = accepted.and_then(|(topic, batch, info)| {
                    let at = (topic_at, partition_at);
                    let part = ProducePart { at, topic: topic.id, partition: index, batch, info, verified: None };
                    if let Some(vouched) = &mut wait.vouched {
                        vouched.push(&part)?;
                    }
                    Ok((topic, part))
                });
                match accepted {
                    Ok((topic, part)) => split.push(topic.shard_of(index, self.shards), part),
                    Err(refused) => {
                        wait.failed = true;
                        self.metrics.errors.count(refused.code);
                        refuse(&mut answer, refused);
                    }
                }
                answer_of_topic.partition_responses.push(answer);
            }
            answer_of_topic.name.to_mut().push_str(&data.name);
            answer_of_topic.topic_id = data.topic_id;
            wait.response.responses.push(answer_of_topic);
        }
        wait.left = split.owners().count();
        let nobody = wait.left == 0;
        self.called(caller.conn, split.owners());
        let token = self.wait(caller, Wait::Produce(wait));
        if nobody {
            self.produced(now, token, (Vec::new(), now.mono_ns), fx);
        }
        for (owner, parts) in split.into_calls() {
            self.call(now, owner, token, Call::Produce { parts, since_ns: now.mono_ns }, fx);
        }
        Ok(())
    }

    /// The topic that batches are for, with its settings.
    fn target(&self, data: &TopicProduceData<'_>, version: i16, refusal: Option<&Refused>) -> Target {
        if let Some(refusal) = refusal {
            return Err(refusal.clone());
        }
        let unknown = |code| Refused::new(code, "This server does not host this topic.");
        let topic = self.topic(&data.name, data.topic_id, version >= 13).map_err(unknown)?;
        let settings = self.owner.settings.get(&topic.id).expect("every topic of the image has settings");
        Ok((topic, settings.clone()))
    }

    /// An owner has answered (or there was none to ask).
    pub(crate) fn produced(
        &mut self,
        now: Time,
        token: u64,
        (parts, durable_ns): (Vec<Produced>, u64),
        fx: &mut Effects,
    ) {
        let Some(Pending { caller, wait: Wait::Produce(wait) }) = self.pending.get_mut(&token) else { return };
        let caller = *caller;
        wait.left = wait.left.saturating_sub(1);
        wait.durable_ns = wait.durable_ns.max(durable_ns);
        for mut part in parts {
            if wait.vouched.as_mut().is_some_and(|vouched| !vouched.answered(&part)) {
                continue;
            }
            if part.guard.is_some() {
                part.error_code = codes::INVALID_TXN_STATE;
                part.message = Some("The batch is not of an open transaction.".to_owned());
            }
            self.metrics.errors.count(part.error_code);
            wait.enter(part);
        }
        if wait.left > 0 {
            return;
        }
        if wait.vouched.as_ref().is_some_and(|vouched| vouched.has_unverified()) {
            return self.ask_later(now, token, fx);
        }
        let Some(Pending { wait: Wait::Produce(wait), .. }) = self.pending.remove(&token) else { return };
        self.metrics.acknowledge_ns.record(now.mono_ns.saturating_sub(wait.durable_ns));
        let ending = match (wait.silent, wait.failed) {
            (true, true) => Ending::Close,
            (true, false) => Ending::Silence,
            (false, _) => {
                if self.answers.capacity() == 0 {
                    self.answers.reserve(SHARED_ANSWERS_BYTES);
                }
                caller.reply_in(&mut self.answers, &wait.response, Vec::new())
            }
        };
        let in_transaction = wait.vouched.is_some();
        self.keep_spare(wait.response);
        self.finish(caller, ending, fx);
        if in_transaction && self.waits_for_coordinator(caller.conn) {
            self.produce_on(now, caller.conn, fx);
        }
    }

    /// Keeps an answer that was given for the memory it has, if it is of the usual kind: one topic, few partitions.
    fn keep_spare(&mut self, mut answer: ProduceResponse<'static>) {
        let [topic] = &mut answer.responses[..] else { return };
        if topic.partition_responses.capacity() > SPARE_PARTITIONS_MAX || self.spare_answers.len() >= SPARE_ANSWERS_MAX
        {
            return;
        }
        topic.partition_responses.clear();
        topic.name.to_mut().clear();
        self.spare_answers.push(answer);
    }
}

impl ProduceWait {
    fn enter(&mut self, part: Produced) {
        self.failed |= part.error_code != codes::NONE;
        let answer = self.answer(part.at);
        answer.error_code = part.error_code;
        answer.base_offset = part.base_offset;
        answer.log_append_time_ms = part.append_time_ms;
        answer.log_start_offset = part.log_start;
        answer.error_message = part.message.map(Cow::Owned);
    }
}

/// A topic to append to, or why none of its partitions takes anything.
type Target = Result<(Arc<Topic>, Arc<TopicSettings>), Refused>;

/// The batch of one partition, if it can be taken.
fn accept<'t>(
    target: &'t Target,
    partition: i32,
    records: Records<'_>,
    body: &Bytes,
    version: i16,
    wall_ms: i64,
) -> Result<(&'t Topic, Bytes, BatchInfo), Refused> {
    let (topic, settings) = target.as_ref().map_err(Clone::clone)?;
    if !topic.has(partition) {
        return Err(Refused::new(codes::UNKNOWN_TOPIC_OR_PARTITION, "The topic has no such partition."));
    }
    let Records::Borrowed(bytes) = records else {
        return Err(Refused::new(codes::INVALID_RECORD, "There are no records."));
    };
    let (batch, info) = judge(body.slice_ref(bytes), settings, version, wall_ms)?;
    check_keys(&batch, settings, &topic.name, partition)?;
    Ok((topic, batch, info))
}

fn refuse(answer: &mut PartitionProduceResponse<'static>, refused: Refused) {
    answer.error_code = refused.code;
    answer.error_message = Some(refused.message);
    answer.record_errors = refused
        .records
        .into_iter()
        .map(|(batch_index, why)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(Cow::Owned(why)),
        })
        .collect();
}
