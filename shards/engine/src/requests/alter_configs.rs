//! AlterConfigs (33) and IncrementalAlterConfigs (44, KIP-339): what is asked is made one kind of change, held against the image for those who
//! only want to know, and else decided by the controller.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};
use floe_wire::messages::incremental_alter_configs as incremental;
use floe_wire::messages::incremental_alter_configs::IncrementalAlterConfigsRequest;
use floe_wire::primitives::DecodeError;

use super::describe_configs::kind;
use super::split::bounded;
use super::topics::{check_name, refused};
use super::{Caller, Wait, codes};
use crate::event::Effects;
use crate::metadata::{Change, ChangeDone, ConfigChange, ConfigOp, Refusal, Resource};
use crate::shard::Shard;

/// Kafka's code and what it is about.
type Wrong = (i16, String);

/// An answer in the making; `places` are the results that the controller fills in.
#[derive(Debug)]
pub struct ConfigsWait {
    results: Vec<Outcome>,
    places: Vec<usize>,
}

/// What became of one resource.
#[derive(Debug)]
struct Outcome {
    kind: i8,
    name: String,
    wrong: Option<Wrong>,
}

/// One resource of a request, of either API.
struct Asked<'a> {
    kind: i8,
    name: &'a str,
    replace: bool,
    /// Name, operation, value.
    configs: Vec<(&'a str, i8, Option<&'a str>)>,
}

impl Shard {
    pub(super) fn alter_configs(&mut self, caller: Caller, body: &Bytes, fx: &mut Effects) -> Result<(), DecodeError> {
        let request = AlterConfigsRequest::decode_all(body, caller.version)?;
        bounded(request.resources.iter().map(|resource| resource.configs.len()))?;
        let resources = request.resources.iter().map(|resource| Asked {
            kind: resource.resource_type,
            name: &resource.resource_name,
            replace: true,
            configs: resource.configs.iter().map(|c| (c.name.as_ref(), 0, c.value.as_deref())).collect(),
        });
        self.alter(caller, &resources.collect::<Vec<_>>(), request.validate_only, fx);
        Ok(())
    }

    pub(super) fn incremental_alter_configs(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = IncrementalAlterConfigsRequest::decode_all(body, caller.version)?;
        bounded(request.resources.iter().map(|resource| resource.configs.len()))?;
        let resources = request.resources.iter().map(|resource| Asked {
            kind: resource.resource_type,
            name: &resource.resource_name,
            replace: false,
            configs: resource
                .configs
                .iter()
                .map(|c| (c.name.as_ref(), c.config_operation, c.value.as_deref()))
                .collect(),
        });
        self.alter(caller, &resources.collect::<Vec<_>>(), request.validate_only, fx);
        Ok(())
    }

    fn alter(&mut self, caller: Caller, resources: &[Asked<'_>], validate_only: bool, fx: &mut Effects) {
        let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        resources.iter().for_each(|asked| *counts.entry((asked.kind, asked.name)).or_default() += 1);
        let mut wait = ConfigsWait { results: Vec::with_capacity(resources.len()), places: Vec::new() };
        let mut changes = Vec::new();
        for asked in resources {
            let change = if counts[&(asked.kind, asked.name)] > 1 {
                Err((codes::INVALID_REQUEST, "Each resource must appear at most once.".to_owned()))
            } else {
                self.config_change(asked)
            };
            let wrong = match change {
                Err(wrong) => Some(wrong),
                Ok(change) if validate_only => {
                    change.records(&self.image).err().map(|refusal| said(asked.kind, asked.name, &refusal))
                }
                Ok(change) => {
                    wait.places.push(wait.results.len());
                    changes.push(change);
                    None
                }
            };
            wait.results.push(Outcome { kind: asked.kind, name: asked.name.to_owned(), wrong });
        }
        if changes.is_empty() {
            return self.altered(caller, wait, ChangeDone::default(), fx);
        }
        let token = self.wait(caller, Wait::Configs(wait));
        self.change(token, Change::Configs(changes), fx);
    }

    fn config_change(&self, asked: &Asked<'_>) -> Result<ConfigChange, Wrong> {
        let resource = match asked.kind {
            kind::TOPIC => {
                check_name(asked.name)?;
                let unknown = || said(asked.kind, asked.name, &Refusal::Unknown);
                Resource::Topic(self.image.topic(asked.name).ok_or_else(unknown)?.id)
            }
            kind::BROKER if asked.name.is_empty() => Resource::Cluster,
            kind::BROKER => {
                self.check_broker(asked.name)?;
                Resource::Broker
            }
            other => return Err((codes::INVALID_REQUEST, format!("Unexpected resource type {other}."))),
        };
        let mut names = BTreeSet::new();
        let mut ops = Vec::with_capacity(asked.configs.len());
        for (name, operation, value) in &asked.configs {
            if !names.insert(*name) {
                return Err((codes::INVALID_REQUEST, "Error due to duplicate config keys".into()));
            }
            let given = || {
                let missing = || (codes::INVALID_REQUEST, format!("Null value not supported for : {name}"));
                value.map(str::to_owned).ok_or_else(missing)
            };
            let op = match operation {
                0 => ConfigOp::Set(given()?),
                1 => ConfigOp::Delete,
                2 => ConfigOp::Append(given()?),
                3 => ConfigOp::Subtract(given()?),
                other => return Err((codes::INVALID_REQUEST, format!("Unknown operation type {other} for {name}"))),
            };
            ops.push(((*name).to_owned(), op));
        }
        Ok(ConfigChange { resource, replace: asked.replace, ops })
    }

    /// The controller has answered (or was not asked).
    pub(super) fn altered(&mut self, caller: Caller, mut wait: ConfigsWait, done: ChangeDone, fx: &mut Effects) {
        for (place, part) in wait.places.into_iter().zip(done.parts) {
            let result = &mut wait.results[place];
            result.wrong = part.err().map(|refusal| said(result.kind, &result.name, &refusal));
        }
        let results = wait.results.into_iter().map(|result| {
            let (error_code, error_message) = match result.wrong {
                Some((code, message)) => (code, Some(Cow::Owned(message))),
                None => (codes::NONE, None),
            };
            (error_code, error_message, result.kind, Cow::Owned(result.name))
        });
        let ending = if caller.api.key == 44 {
            let responses = results.map(|(error_code, error_message, resource_type, resource_name)| {
                incremental::AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
            });
            let responses = responses.collect();
            let response = incremental::IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses };
            caller.reply(&response, Vec::new())
        } else {
            let responses = results.map(|(error_code, error_message, resource_type, resource_name)| {
                AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
            });
            caller.reply(&AlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }, Vec::new())
        };
        self.finish(caller, ending, fx);
    }
}

/// Kafka's code and words for a refusal.
fn said(kind: i8, name: &str, refusal: &Refusal) -> Wrong {
    match refusal {
        // Kafka keeps INVALID_REQUEST for the settings of brokers, because that is what clients know (KAFKA-13609).
        Refusal::Config(message) if kind == kind::BROKER => (codes::INVALID_REQUEST, message.clone()),
        Refusal::Unknown => (codes::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{name}' does not exist.")),
        other => refused(other),
    }
}
