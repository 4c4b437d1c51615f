//! DescribeConfigs (32): the settings of topics and of this broker, each with where its value comes from (KIP-226, KIP-569). Answered from the
//! image and the configuration that every shard has. No setting is a secret.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::{Caller, codes};
use crate::config::{CONFIGS, Kind, Resolved, Source, Values};
use crate::event::Effects;
use crate::limits::DESCRIBED_RESOURCES_MAX;
use crate::shard::Shard;

/// Kafka's numbers for the kinds of resource.
pub(super) mod kind {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
}

/// What the answer is to hold of each setting.
#[derive(Clone, Copy)]
struct Depth {
    synonyms: bool,
    documentation: bool,
}

impl Shard {
    pub(super) fn describe_configs(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeConfigsRequest::decode_all(body, caller.version)?;
        bounded(request.resources.iter().map(|of| of.configuration_keys.as_ref().map_or(0, Vec::len)))?;
        let depth = Depth { synonyms: request.include_synonyms, documentation: request.include_documentation };
        let mut results = Vec::with_capacity(request.resources.len());
        for (at, asked) in request.resources.iter().enumerate() {
            let configs = if at < DESCRIBED_RESOURCES_MAX {
                self.configs_of(asked, depth)
            } else {
                let message = format!("A request describes at most {DESCRIBED_RESOURCES_MAX} resources.");
                Err((codes::INVALID_REQUEST, message))
            };
            let (error_code, error_message, configs) = match configs {
                Ok(configs) => (codes::NONE, None, configs),
                Err((code, message)) => (code, Some(Cow::Owned(message)), Vec::new()),
            };
            results.push(DescribeConfigsResult {
                error_code,
                error_message,
                resource_type: asked.resource_type,
                resource_name: Cow::Borrowed(&asked.resource_name),
                configs,
            });
        }
        let response = DescribeConfigsResponse { throttle_time_ms: 0, results };
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
        Ok(())
    }

    fn configs_of(
        &self,
        asked: &DescribeConfigsResource<'_>,
        depth: Depth,
    ) -> Result<Vec<DescribeConfigsResourceResult<'static>>, (i16, String)> {
        let name = asked.resource_name.as_ref();
        // No names are all names, as Kafka takes it.
        let keys = asked.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
        let wanted = |name: &str| keys.is_none_or(|keys| keys.iter().any(|key| key == name));
        let mut configs = Vec::new();
        match asked.resource_type {
            kind::TOPIC => {
                super::topics::check_name(name)?;
                let topic = self.image.topic(name).ok_or_else(|| {
                    let message = "This server does not host this topic-partition.";
                    (codes::UNKNOWN_TOPIC_OR_PARTITION, message.to_owned())
                })?;
                let all = self.topic_configs(&topic.configs).filter(|(name, _)| wanted(name));
                configs.extend(all.map(|(name, resolved)| entry(name, &resolved, false, depth)));
            }
            kind::BROKER if name.is_empty() => {
                // What was set for every broker, and nothing else.
                for def in CONFIGS.iter().filter(|def| wanted(def.name)) {
                    let mut resolved = self.config.resolve(def, &self.image.dynamic);
                    resolved.synonyms.retain(|(_, _, source)| *source == Source::DynamicCluster);
                    if !resolved.synonyms.is_empty() {
                        configs.push(entry(def.name, &resolved, false, depth));
                    }
                }
            }
            kind::BROKER => {
                self.check_broker(name)?;
                for def in CONFIGS.iter().filter(|def| wanted(def.name)) {
                    let resolved = self.config.resolve(def, &self.image.dynamic);
                    configs.push(entry(def.name, &resolved, !def.dynamic, depth));
                }
                let fixed = self.fixed_configs().into_iter().filter(|config| wanted(config.name));
                configs.extend(fixed.map(|config| config.at(depth)));
            }
            other => return Err((codes::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
        }
        Ok(configs)
    }

    /// Every setting of a topic that has `configs` of its own, by the topic's names.
    pub(super) fn topic_configs(&self, configs: &Values) -> impl Iterator<Item = (&'static str, Resolved)> {
        let named = CONFIGS.iter().filter_map(|def| Some((def.topic?, def)));
        named.map(|(name, def)| (name, self.config.resolve_topic(def, configs, &self.image.dynamic)))
    }

    /// A broker resource is named by the broker's id.
    pub(super) fn check_broker(&self, name: &str) -> Result<(), (i16, String)> {
        let mine = self.config.node_id;
        let message = match name.parse::<i32>() {
            Ok(id) if id == mine => return Ok(()),
            Ok(id) => format!("Unexpected broker id, expected {mine} or empty string, but received {id}"),
            Err(_) => format!("Broker id must be an integer, but it is: {name}"),
        };
        Err((codes::INVALID_REQUEST, message))
    }

    /// What a broker is known by, and what only a restart changes.
    fn fixed_configs(&self) -> Vec<Fixed> {
        let addresses = |of: fn(&crate::config::Listener) -> (&str, u16)| {
            let all = self.config.listeners.iter().map(|listener| {
                let (host, port) = of(listener);
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("{}://{host}:{port}", listener.name)
            });
            all.collect::<Vec<_>>().join(",")
        };
        let advertised = addresses(|listener| (&listener.advertised_host, listener.advertised_port));
        let bound = addresses(|listener| (&listener.bind_host, listener.bind_port));
        vec![
            Fixed { name: "advertised.listeners", value: advertised, kind: 7, about: "What clients connect to." },
            Fixed { name: "listeners", value: bound, kind: 7, about: "What the broker listens on." },
            Fixed { name: "node.id", value: self.config.node_id.to_string(), kind: 3, about: "The broker's id." },
        ]
    }
}

/// A setting that is not in the table, because nothing in the engine is made of it.
struct Fixed {
    name: &'static str,
    value: String,
    kind: i8,
    about: &'static str,
}

impl Fixed {
    fn at(self, depth: Depth) -> DescribeConfigsResourceResult<'static> {
        let source = Source::StaticBroker.wire();
        let value = Some(Cow::Owned(self.value));
        let synonym = DescribeConfigsSynonym { name: Cow::Borrowed(self.name), value: value.clone(), source };
        DescribeConfigsResourceResult {
            name: Cow::Borrowed(self.name),
            value,
            read_only: true,
            config_source: source,
            is_sensitive: false,
            synonyms: depth.synonyms.then_some(synonym).into_iter().collect(),
            config_type: self.kind,
            documentation: depth.documentation.then_some(Cow::Borrowed(self.about)),
        }
    }
}

fn entry(
    name: &'static str,
    resolved: &Resolved,
    read_only: bool,
    depth: Depth,
) -> DescribeConfigsResourceResult<'static> {
    let synonyms = resolved.synonyms.iter().filter(|_| depth.synonyms);
    DescribeConfigsResourceResult {
        name: Cow::Borrowed(name),
        value: Some(Cow::Owned(resolved.value().to_owned())),
        read_only,
        config_source: resolved.source().wire(),
        is_sensitive: false,
        synonyms: synonyms
            .map(|(name, value, source)| DescribeConfigsSynonym {
                name: Cow::Borrowed(*name),
                value: Some(Cow::Owned(value.clone())),
                source: source.wire(),
            })
            .collect(),
        config_type: match resolved.def.kind {
            Kind::Switch => 1,
            Kind::Word(_) => 2,
            Kind::Int { .. } => 3,
            Kind::Long { .. } => 5,
            Kind::Fraction => 6,
            Kind::Words(_) => 7,
        },
        documentation: depth.documentation.then_some(Cow::Borrowed(resolved.def.about)),
    }
}
