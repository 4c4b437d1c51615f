//! The shadow model of the cluster: which topics the broker has promised to have, and which it may or must not have.

use std::collections::BTreeSet;

use floe_wire::ids::TopicId;

use crate::oracle::{Oracle, Tier, TopicIx, Tp};
use crate::rng::Rng;

/// Where a topic is in its life, as far as answers have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// Creation was asked for; it may be there or not.
    Creating,
    /// Creation was acknowledged: it is there.
    Live,
    /// Deletion was asked for; it may be there or not.
    Deleting,
    /// Deletion was acknowledged: it is gone for good.
    Deleted,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name in the run.
    pub ix: TopicIx,
    /// Its name on the wire.
    pub name: String,
    /// Its identity, once known.
    pub id: TopicId,
    /// Where it is in its life.
    pub state: TopicState,
    /// Partitions that are there for certain.
    pub partitions: i32,
    /// Partitions that were asked for; at least `partitions`.
    pub partitions_asked: i32,
    /// Its durability.
    pub tier: Tier,
    /// Its configuration at creation.
    pub configs: Vec<(String, String)>,
}

/// All topics of a run, dead ones too.
#[derive(Debug, Default)]
pub struct Topics {
    list: Vec<Topic>,
    /// Percent of the topics that are compacted.
    pub compacted_percent: u32,
    /// All of them are of tier `flushed`, and nothing of them is ever deleted.
    pub plain: bool,
    /// Requests that are to come a second time.
    pub late: Vec<super::txns::ghost::Late>,
    /// What groups looked like before a restart.
    pub portraits: super::groups::portrait::Portraits,
    producer_ids: BTreeSet<(i64, i16)>,
}

impl Topics {
    /// Draws a new topic. Nothing is sent yet.
    pub fn draw(&mut self, rng: &mut Rng, oracle: &mut Oracle) -> TopicIx {
        let mut tier = *rng.pick(&[Tier::Flushed, Tier::Flushed, Tier::Flushed, Tier::Written, Tier::Memory]);
        let mut retention = rng.percent(20);
        let mut append_time = rng.percent(15);
        if self.plain {
            (tier, retention, append_time) = (Tier::Flushed, false, false);
        }
        let ix = oracle.add_topic(tier, retention, append_time);
        let mut configs: Vec<(String, String)> = vec![(
            "floe.durability".into(),
            match tier {
                Tier::Flushed => "flushed",
                Tier::Written => "written",
                Tier::Memory => "memory",
            }
            .into(),
        )];
        // Mostly the broker's, which is smaller than what a topic may ask for.
        if rng.percent(20) {
            configs.push(("segment.bytes".into(), rng.range(1 << 20, 3 << 20).to_string()));
        }
        if rng.percent(20) {
            configs.push(("segment.ms".into(), rng.range(200, 5_000).to_string()));
        }
        if retention {
            if rng.percent(50) {
                configs.push(("retention.bytes".into(), rng.range(10_000, 400_000).to_string()));
            } else {
                configs.push(("retention.ms".into(), rng.range(300, 10_000).to_string()));
            }
        } else {
            configs.push(("retention.ms".into(), "-1".into()));
            configs.push(("retention.bytes".into(), "-1".into()));
        }
        if self.compacted_percent > 0 && rng.percent(self.compacted_percent) {
            let delete_retention_ms = *rng.pick(&[0, 400, 86_400_000]);
            oracle.allow_compaction(ix);
            oracle.delete_retention(ix, delete_retention_ms);
            let policy = if retention { "compact,delete" } else { "compact" };
            configs.push(("cleanup.policy".into(), policy.into()));
            configs.push(("min.cleanable.dirty.ratio".into(), rng.pick(&["0.0", "0.0", "0.3"]).to_string()));
            configs.push(("min.compaction.lag.ms".into(), rng.pick(&[0, 0, 200]).to_string()));
            configs.push(("delete.retention.ms".into(), delete_retention_ms.to_string()));
        }
        if append_time {
            configs.push(("message.timestamp.type".into(), "LogAppendTime".into()));
        }
        let partitions = rng.log_range(1, 6) as i32;
        let name = format!("topic-{}", ix.0);
        self.list.push(Topic {
            ix,
            name,
            id: TopicId::ZERO,
            state: TopicState::Creating,
            partitions: 0,
            partitions_asked: partitions,
            tier,
            configs,
        });
        ix
    }

    /// A topic.
    pub fn get(&self, ix: TopicIx) -> &Topic {
        &self.list[ix.0]
    }

    /// A topic, to be changed.
    pub fn get_mut(&mut self, ix: TopicIx) -> &mut Topic {
        &mut self.list[ix.0]
    }

    /// All topics.
    pub fn all(&self) -> &[Topic] {
        &self.list
    }

    /// Topics that are there for certain.
    pub fn live(&self) -> Vec<TopicIx> {
        self.list.iter().filter(|t| t.state == TopicState::Live).map(|t| t.ix).collect()
    }

    /// Whether this topic is there for certain.
    pub fn is_live(&self, ix: TopicIx) -> bool {
        self.get(ix).state == TopicState::Live
    }

    /// Partitions that are there for certain, of all topics that are.
    pub fn live_partitions(&self) -> Vec<Tp> {
        self.list
            .iter()
            .filter(|t| t.state == TopicState::Live)
            .flat_map(|t| (0..t.partitions).map(|partition| Tp { topic: t.ix, partition }))
            .collect()
    }

    /// Any one of them.
    pub fn draw_live(&self, rng: &mut Rng) -> Option<TopicIx> {
        let live = self.live();
        (!live.is_empty()).then(|| *rng.pick(&live))
    }

    /// The topic that answers to this name or id (names are not used twice).
    pub fn find(&self, name: &str, id: TopicId) -> Option<&Topic> {
        self.list.iter().find(|t| if id.is_zero() { t.name == name } else { t.id == id })
    }

    /// The broker gave out this producer id and epoch: nobody may have got it before.
    pub fn take_producer_id(&mut self, identity: (i64, i16), oracle: &mut Oracle) {
        if identity.0 < 0 || !self.producer_ids.insert(identity) {
            oracle.fail(format!("InitProducerId: {identity:?} was given out before, or is none"));
        }
    }
}
