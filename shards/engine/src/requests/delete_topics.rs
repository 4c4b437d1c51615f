//! DeleteTopics (20): by name or by id; decided by the controller, answered when no shard has them any more.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::topics::refused;
use super::{Caller, Wait, codes};
use crate::event::Effects;
use crate::metadata::{Change, ChangeDone};
use crate::shard::Shard;

/// An answer in the making; `places` are the results that the controller fills in.
#[derive(Debug)]
pub struct DeleteWait {
    response: DeleteTopicsResponse<'static>,
    places: Vec<usize>,
}

impl Shard {
    pub(super) fn delete_topics(&mut self, caller: Caller, body: &Bytes, fx: &mut Effects) -> Result<(), DecodeError> {
        let request = DeleteTopicsRequest::decode_all(body, caller.version)?;
        bounded(std::iter::once(request.topic_names.len() + request.topics.len()))?;
        let names = request.topic_names.iter().map(|name| (Some(name.as_ref()), TopicId::ZERO));
        let states = request.topics.iter().map(|state| (state.name.as_deref(), state.topic_id));
        let mut response = DeleteTopicsResponse::default();
        let (mut places, mut ids, mut before) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (name, id) in names.chain(states) {
            let found = match name {
                Some(_) if !id.is_zero() => {
                    Err((codes::INVALID_REQUEST, "You may not specify both topic name and topic id."))
                }
                Some(name) => {
                    let unknown = "This server does not host this topic-partition.";
                    self.image.topic(name).ok_or((codes::UNKNOWN_TOPIC_OR_PARTITION, unknown))
                }
                None => {
                    let unknown = "This server does not host this topic ID.";
                    self.image.topic_by_id(id).ok_or((codes::UNKNOWN_TOPIC_ID, unknown))
                }
            };
            let checked = found.and_then(|topic| match self.delete_enabled {
                // Clients before version 3 do not know the code that says it better.
                false if caller.version < 3 => Err((codes::INVALID_REQUEST, "Topic deletion is disabled.")),
                false => Err((codes::TOPIC_DELETION_DISABLED, "Topic deletion is disabled.")),
                true if !before.insert(topic.id) => Err((codes::INVALID_REQUEST, "Duplicate topic name.")),
                true => Ok(topic),
            });
            let mut result = DeletableTopicResult {
                name: name.map(|name| Cow::Owned(name.to_owned())),
                topic_id: id,
                ..DeletableTopicResult::default()
            };
            match checked {
                Ok(topic) => {
                    (result.name, result.topic_id) = (Some(Cow::Owned(topic.name.clone())), topic.id);
                    places.push(response.responses.len());
                    ids.push(topic.id);
                }
                Err((code, message)) => (result.error_code, result.error_message) = (code, Some(message.into())),
            }
            response.responses.push(result);
        }
        let wait = DeleteWait { response, places };
        if ids.is_empty() {
            self.deleted(caller, wait, ChangeDone::default(), fx);
        } else {
            let token = self.wait(caller, Wait::Delete(wait));
            self.change(token, Change::Delete(ids), fx);
        }
        Ok(())
    }

    /// The controller has answered (or was not asked).
    pub(super) fn deleted(&mut self, caller: Caller, wait: DeleteWait, done: ChangeDone, fx: &mut Effects) {
        let DeleteWait { mut response, places } = wait;
        for (place, part) in places.into_iter().zip(done.parts) {
            if let Err(refusal) = part {
                let (code, message) = refused(&refusal);
                let result = &mut response.responses[place];
                (result.error_code, result.error_message) = (code, Some(Cow::Owned(message)));
            }
        }
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
    }
}
