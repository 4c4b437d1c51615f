//! The cluster as one shard sees it: an immutable value, replaced as a whole when something changes. Plain data.
//!
//! Invariants: names and ids are unique; a topic's placement never changes, so a partition stays on its shard while the number of shards stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_wire::ids::TopicId;

use super::records::Record;
use crate::config::{Dynamic, Values};
use crate::event::ShardId;
use crate::group::OFFSETS_TOPIC;
use crate::txn::TXN_TOPIC;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its identity for life.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Number of partitions, at least 1.
    pub partitions: i32,
    /// Where its partitions begin in the row of shards.
    pub placement: u32,
    /// Its own settings, by topic names.
    pub configs: Values,
}

impl Topic {
    /// The shard that owns a partition.
    pub fn shard_of(&self, partition: i32, shards: u16) -> ShardId {
        let at = u64::from(self.placement) + u64::from(partition.unsigned_abs());
        ShardId((at % u64::from(shards.max(1))) as u16)
    }

    /// Whether it is the broker's own: clients may read it, and leave writing to the broker.
    pub fn is_internal(&self) -> bool {
        self.name == OFFSETS_TOPIC || self.name == TXN_TOPIC
    }

    /// Whether there is such a partition.
    pub fn has(&self, partition: i32) -> bool {
        (0..self.partitions).contains(&partition)
    }
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Number of the last change in it.
    pub version: u64,
    /// Identity of the cluster; empty before the first start is over.
    pub cluster_id: String,
    /// Settings changed on the running broker.
    pub dynamic: Dynamic,
    /// Producer ids below this have been given out.
    pub next_producer_id: i64,
    /// Where the next topic begins in the row of shards.
    pub next_placement: u32,
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    /// Names with `.` or `_`, by what they are when both are the same.
    by_flat_name: BTreeMap<Arc<str>, Arc<str>>,
}

impl Image {
    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// A topic whose name differs from this one in `.` and `_` alone.
    pub fn colliding(&self, name: &str) -> Option<&str> {
        let other = self.by_flat_name.get(flat(name)?.as_str())?;
        (&**other != name).then_some(&**other)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// All topics from this name on.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> + use<'a> {
        let from = (std::ops::Bound::Included(name), std::ops::Bound::Unbounded);
        self.by_name.range::<str, _>(from).map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// Takes a change in. What does not fit (a record about a topic that is not there) says what is wrong: the records are damaged.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Cluster { id } => self.cluster_id.clone_from(id),
            Record::CreateTopic { id, name, partitions, placement, configs } => {
                if self.by_name.contains_key(name.as_str()) || self.by_id.contains_key(id) {
                    return Err(format!("topic {name} ({id}) is created twice"));
                }
                self.next_placement = placement.wrapping_add(partitions.unsigned_abs());
                if let Some(flat) = flat(name) {
                    self.by_flat_name.insert(flat.into(), name.as_str().into());
                }
                self.put(Topic {
                    id: *id,
                    name: name.clone(),
                    partitions: *partitions,
                    placement: *placement,
                    configs: configs.clone(),
                });
            }
            Record::DeleteTopic { id } => {
                let topic = self.by_id.remove(id).ok_or_else(|| format!("topic {id} is deleted and was not there"))?;
                self.by_name.remove(topic.name.as_str());
                if let Some(flat) = flat(&topic.name)
                    && self.by_flat_name.get(flat.as_str()).is_some_and(|name| **name == *topic.name)
                {
                    self.by_flat_name.remove(flat.as_str());
                }
            }
            Record::Partitions { id, partitions } => {
                let mut topic = self.cloned(*id)?;
                topic.partitions = *partitions;
                self.put(topic);
            }
            Record::TopicConfig { id, name, value } => {
                let mut topic = self.cloned(*id)?;
                set(&mut topic.configs, name, value.as_deref());
                self.put(topic);
            }
            Record::BrokerConfig { name, value } => set(&mut self.dynamic.broker, name, value.as_deref()),
            Record::ClusterConfig { name, value } => set(&mut self.dynamic.cluster, name, value.as_deref()),
            Record::ProducerIds { next } => self.next_producer_id = *next,
            Record::Placement { next } => self.next_placement = *next,
            // About files, not about the image.
            Record::Deleted { .. } => {}
        }
        Ok(())
    }

    /// Records that make this image out of an empty one.
    pub fn records(&self) -> Vec<Record> {
        let mut records =
            vec![Record::Cluster { id: self.cluster_id.clone() }, Record::ProducerIds { next: self.next_producer_id }];
        records.extend(self.topics().map(|topic| Record::CreateTopic {
            id: topic.id,
            name: topic.name.clone(),
            partitions: topic.partitions,
            placement: topic.placement,
            configs: topic.configs.clone(),
        }));
        let owned = |(name, value): (&String, &String)| (name.clone(), Some(value.clone()));
        let broker = self.dynamic.broker.iter().map(owned);
        records.extend(broker.map(|(name, value)| Record::BrokerConfig { name, value }));
        let cluster = self.dynamic.cluster.iter().map(owned);
        records.extend(cluster.map(|(name, value)| Record::ClusterConfig { name, value }));
        // Behind the topics, each of which moves it.
        records.push(Record::Placement { next: self.next_placement });
        records
    }

    fn cloned(&self, id: TopicId) -> Result<Topic, String> {
        let topic = self.by_id.get(&id).ok_or_else(|| format!("topic {id} is changed and not there"))?;
        Ok(Topic::clone(topic))
    }

    fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.by_name.insert(topic.name.as_str().into(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }
}

/// What a name is when `.` and `_` are the same; `None` when it has neither.
fn flat(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

fn set(values: &mut Values, name: &str, value: Option<&str>) {
    match value {
        Some(value) => values.insert(name.to_owned(), value.to_owned()),
        None => values.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_one_partition_spread_evenly() {
        let mut image = Image::default();
        let mut on_shard = [0; 4];
        for n in 1..=16u8 {
            let record = Record::CreateTopic {
                id: TopicId([n; 16]),
                name: format!("t{n}"),
                partitions: 1,
                placement: image.next_placement,
                configs: Values::new(),
            };
            image.apply(&record).unwrap();
            on_shard[image.topic(&format!("t{n}")).unwrap().shard_of(0, 4).0 as usize] += 1;
        }
        assert_eq!(on_shard, [4; 4]);
        let mut again = Image::default();
        image.records().iter().for_each(|record| again.apply(record).unwrap());
        assert_eq!(again, image);
    }
}
