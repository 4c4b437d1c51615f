//! What a change of settings makes of those a resource has (KIP-339): pure, used by who only wants to know and by the controller, which decides.
//!
//! Invariant: what comes out has been held against the table, so every value in an image can be parsed.

use floe_wire::ids::TopicId;

use super::controller::Refusal;
use super::image::Image;
use super::records::Record;
use crate::config::{ConfigDef, Kind, Values, broker_def, check_topic, topic_def};

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(TopicId),
    /// This broker.
    Broker,
    /// Every broker of the cluster.
    Cluster,
}

/// What happens to one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// It gets this value.
    Set(String),
    /// It goes back to what is behind it.
    Delete,
    /// A list gets these elements, where it has them not.
    Append(String),
    /// A list loses these elements.
    Subtract(String),
}

/// New settings of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whose.
    pub resource: Resource,
    /// What is not named goes back to what is behind it.
    pub replace: bool,
    /// By name.
    pub ops: Vec<(String, ConfigOp)>,
}

impl ConfigChange {
    /// The records that make the change in `image`; none when nothing would change.
    pub fn records(&self, image: &Image) -> Result<Vec<Record>, Refusal> {
        let has = match self.resource {
            Resource::Topic(id) => &image.topic_by_id(id).ok_or(Refusal::Unknown)?.configs,
            Resource::Broker => &image.dynamic.broker,
            Resource::Cluster => &image.dynamic.cluster,
        };
        let mut gets = if self.replace { Values::new() } else { has.clone() };
        for (name, op) in &self.ops {
            let def = self.def(name).map_err(Refusal::Config)?;
            let value = match op {
                ConfigOp::Set(value) => Some(value.trim().to_owned()),
                ConfigOp::Delete => None,
                ConfigOp::Append(value) => Some(edit(def, name, gets.get(name), value, true)?),
                ConfigOp::Subtract(value) => Some(edit(def, name, gets.get(name), value, false)?),
            };
            match value {
                Some(value) => {
                    def.check(name, &value).map_err(Refusal::Config)?;
                    gets.insert(name.clone(), value);
                }
                None => {
                    gets.remove(name);
                }
            }
        }
        if let Resource::Topic(_) = self.resource {
            check_topic(&gets).map_err(Refusal::Config)?;
        }
        let gone = has.keys().filter(|name| !gets.contains_key(*name)).map(|name| (name.clone(), None));
        let set = gets.iter().filter(|(name, value)| has.get(*name) != Some(value));
        let set = set.map(|(name, value)| (name.clone(), Some(value.clone())));
        Ok(gone.chain(set).map(|(name, value)| self.record(name, value)).collect())
    }

    fn record(&self, name: String, value: Option<String>) -> Record {
        match self.resource {
            Resource::Topic(id) => Record::TopicConfig { id, name, value },
            Resource::Broker => Record::BrokerConfig { name, value },
            Resource::Cluster => Record::ClusterConfig { name, value },
        }
    }

    fn def(&self, name: &str) -> Result<&'static ConfigDef, String> {
        if let Resource::Topic(_) = self.resource {
            return topic_def(name).ok_or_else(|| format!("Unknown topic config name: {name}"));
        }
        let def = broker_def(name).ok_or_else(|| format!("Unknown broker config name: {name}"))?;
        if def.name != name || !def.dynamic {
            return Err(format!("Cannot update these configs dynamically: Set({name})"));
        }
        Ok(def)
    }
}

fn edit(def: &ConfigDef, name: &str, has: Option<&String>, elements: &str, add: bool) -> Result<String, Refusal> {
    if !matches!(def.kind, Kind::Words(_)) {
        let what = if add { "APPEND" } else { "SUBTRACT" };
        return Err(Refusal::Config(format!("Can't {what} to key {name} because its type is not LIST.")));
    }
    let has = has.map_or(def.default, String::as_str);
    let mut list: Vec<&str> = has.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    for element in elements.split(',').map(str::trim) {
        if !add {
            list.retain(|word| *word != element);
        } else if !list.contains(&element) {
            list.push(element);
        }
    }
    Ok(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn operations() {
        let id = TopicId([1; 16]);
        let mut image = Image::default();
        let configs: Values = [text("retention.ms", "5"), text("segment.ms", "6")].into();
        let topic = Record::CreateTopic { id, name: "t".into(), partitions: 1, placement: 0, configs };
        image.apply(&topic).unwrap();
        let set = |value: &str| ConfigOp::Set(value.into());
        let after = |replace, ops: &[(&str, ConfigOp)]| {
            let ops = ops.iter().map(|(name, op)| ((*name).to_owned(), op.clone())).collect();
            let records = ConfigChange { resource: Resource::Topic(id), replace, ops }.records(&image)?;
            let mut image = image.clone();
            records.iter().for_each(|record| image.apply(record).unwrap());
            Ok::<_, Refusal>((records.len(), image.topic("t").unwrap().configs.clone()))
        };
        let both = [text("retention.ms", "5"), text("segment.ms", "6")];
        // Whether to replace, what to do, how many records come of it, what is set then.
        type Row<'a> = (bool, &'a [(&'a str, ConfigOp)], usize, &'a [(String, String)]);
        let rows: &[Row<'_>] = &[
            (false, &[("retention.ms", set("7"))], 1, &[text("retention.ms", "7"), text("segment.ms", "6")]),
            (false, &[("retention.ms", set("5"))], 0, &both),
            (false, &[("retention.ms", ConfigOp::Delete)], 1, &[text("segment.ms", "6")]),
            (false, &[("retention.bytes", ConfigOp::Delete)], 0, &both),
            (true, &[("retention.ms", set("7"))], 2, &[text("retention.ms", "7")]),
            (true, &[], 2, &[]),
            (true, &[("cleanup.policy", ConfigOp::Append("delete".into()))], 3, &[text("cleanup.policy", "delete")]),
            (
                true,
                &[("cleanup.policy", ConfigOp::Append("compact".into()))],
                3,
                &[text("cleanup.policy", "delete,compact")],
            ),
        ];
        for (replace, ops, records, configs) in rows {
            let configs: Values = configs.iter().cloned().collect();
            assert_eq!(after(*replace, ops), Ok((*records, configs)), "{ops:?}");
        }
        for (name, op, message) in [
            ("no.such", set("1"), "Unknown topic config name: no.such"),
            ("no.such", ConfigOp::Delete, "Unknown topic config name: no.such"),
            ("retention.ms", ConfigOp::Append("1".into()), "because its type is not LIST."),
            ("retention.ms", set("-2"), "it must be at least -1"),
            ("cleanup.policy", ConfigOp::Append("squash".into()), "it must be made of delete, compact"),
            ("max.compaction.lag.ms", set("0"), "it must be at least 1"),
            ("min.cleanable.dirty.ratio", set("1.5"), "it must lie between 0 and 1"),
            ("cleanup.policy", ConfigOp::Subtract("delete".into()), "it must be made of delete, compact"),
        ] {
            let refusal = after(false, &[(name, op)]).unwrap_err();
            assert!(matches!(&refusal, Refusal::Config(text) if text.ends_with(message)), "{refusal:?}");
        }
    }

    #[test]
    fn a_broker_changes_only_what_can_change_while_it_runs() {
        let image = Image::default();
        let change = |resource, name: &str| {
            let ops = vec![(name.to_owned(), ConfigOp::Set("2048".into()))];
            ConfigChange { resource, replace: false, ops }.records(&image)
        };
        for resource in [Resource::Broker, Resource::Cluster] {
            assert_eq!(change(resource, "log.retention.ms").map(|records| records.len()), Ok(1));
            for name in ["journal.bytes", "log.retention.hours"] {
                let message = format!("Cannot update these configs dynamically: Set({name})");
                assert_eq!(change(resource, name), Err(Refusal::Config(message)));
            }
        }
        assert_eq!(change(Resource::Topic(TopicId([9; 16])), "retention.ms"), Err(Refusal::Unknown));
    }
}
