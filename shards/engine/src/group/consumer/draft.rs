//! The group as it would be after a heartbeat, before any of it is written down: whose subscriptions count, what topics they name, what follows for the
//! target. Reads the group, changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crc_fast::{CrcAlgorithm, Digest};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::ConsumerGroup;
use super::assignors::{self, Assignable, AssignableMember, AssignableTopic};
use super::partitions::Partitions;
use crate::expressions::Expression;
use crate::group::records::{ExpressionTopics, GroupRecord, MemberMetadata};
use crate::group::{Context, GroupSettings, Name};
use crate::metadata::Image;

/// The group with one change of its members.
pub(super) struct Draft<'a> {
    pub group: &'a ConsumerGroup,
    /// A member that is new or has changed.
    pub with: Option<(&'a Name, &'a MemberMetadata)>,
    /// Members that leave; or the one whose place `with` takes.
    pub without: BTreeSet<&'a Name>,
    /// Expressions that were matched anew; `None`: nobody subscribes to it any more.
    pub expressions: BTreeMap<Name, Option<ExpressionTopics>>,
}

impl<'a> Draft<'a> {
    /// Its members.
    fn members(&self) -> impl Iterator<Item = (&'a Name, &'a MemberMetadata)> {
        let (with, without) = (self.with, &self.without);
        let changed = with.map(|(name, _)| name);
        let others = self.group.members.iter().map(|(name, member)| (name, &member.metadata));
        others.filter(move |(name, _)| Some(*name) != changed && !without.contains(*name)).chain(with)
    }

    /// Whether somebody subscribes to the expression.
    pub(super) fn uses(&self, expression: &Name) -> bool {
        self.members().any(|(_, metadata)| metadata.expression.as_ref() == Some(expression))
    }

    /// Expressions that somebody subscribes to.
    pub(super) fn expressions_used(&self) -> BTreeSet<&'a Name> {
        self.members().filter_map(|(_, metadata)| metadata.expression.as_ref()).collect()
    }

    /// Matches the group's expressions against the topics there are now. Gives records of those that match others than before.
    pub(super) fn match_again(&mut self, cx: &Context<'_>) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for name in self.expressions_used().into_iter().filter(|name| self.group.expressions.contains_key(*name)) {
            // It was valid when it was taken; another version of the library might think otherwise: then it matches nothing new.
            let Ok(expression) = Expression::new(name) else { continue };
            let topics = expression.topics(cx.image);
            if topics != self.matched(name) {
                records.push(self.matches(cx, name, topics));
            }
        }
        records
    }

    /// The expression matches these topics.
    pub(super) fn matches(&mut self, cx: &Context<'_>, expression: &Name, topics: Vec<Name>) -> GroupRecord {
        let matched = ExpressionTopics { topics, version: cx.image.version as i64, matched_ms: cx.now.wall_ms };
        self.expressions.insert(expression.clone(), Some(matched.clone()));
        GroupRecord::Expression {
            group: self.group.group.clone(),
            expression: expression.clone(),
            value: Some(matched),
        }
    }

    fn matched(&self, expression: &Name) -> &[Name] {
        let matched = match self.expressions.get(expression) {
            Some(changed) => changed.as_ref(),
            None => self.group.expressions.get(expression),
        };
        matched.map_or(&[], |matched| &matched.topics)
    }

    /// Names of all topics that somebody subscribes to, rising.
    fn subscribed(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        // Most members of a group subscribe to the same: the list before is compared, not entered again.
        let mut before: &[Name] = &[];
        for (_, metadata) in self.members() {
            if *before != *metadata.topics {
                names.extend(metadata.topics.iter().map(|name| &**name));
                before = &metadata.topics;
            }
        }
        for expression in self.expressions_used() {
            names.extend(self.matched(expression).iter().map(|name| &**name));
        }
        names
    }

    /// Tells subscribed topics with their partitions apart; 0 when none of them exists. It is kept with the group's epoch, and so shall not depend on the
    /// version of a library: CRC-64.
    pub(super) fn metadata_hash(&self, image: &Image) -> i64 {
        let (mut digest, mut any) = (Digest::new(CrcAlgorithm::Crc64Nvme), false);
        for topic in self.subscribed().into_iter().filter_map(|name| image.topic(name)) {
            any = true;
            digest.update(&topic.id.0);
            digest.update(&topic.partitions.to_le_bytes());
            digest.update(topic.name.as_bytes());
        }
        if any { digest.finalize() as i64 } else { 0 }
    }

    /// Who shall own what.
    pub(super) fn target(&self, image: &Image, settings: &GroupSettings) -> Vec<(&'a Name, Partitions)> {
        let topics = self.subscribed().into_iter().filter_map(|name| image.topic(name));
        let mut topics: Vec<_> = topics.map(|topic| (topic.id, topic.partitions, topic.name.as_str())).collect();
        topics.sort_unstable();
        let by_name: HashMap<&str, usize, FxBuildHasher> =
            topics.iter().enumerate().map(|(at, (_, _, name))| (*name, at)).collect();
        let mut given = Assignable {
            topics: topics
                .iter()
                .map(|(id, partitions, _)| AssignableTopic { id: *id, partitions: *partitions })
                .collect(),
            ..Assignable::default()
        };
        let mut subscriptions: HashMap<(&[Name], Option<&Name>), usize, FxBuildHasher> = HashMap::default();
        let mut names = Vec::new();
        for (name, metadata) in self.members() {
            let key = (metadata.topics.as_slice(), metadata.expression.as_ref());
            let subscription = *subscriptions.entry(key).or_insert_with(|| {
                let matched = metadata.expression.as_ref().map_or(&[][..], |expression| self.matched(expression));
                let wanted: BTreeSet<usize> =
                    metadata.topics.iter().chain(matched).filter_map(|name| by_name.get(&**name).copied()).collect();
                given.subscriptions.push(wanted.into_iter().collect());
                given.subscriptions.len() - 1
            });
            // A member that takes a static member's place inherits what that one was to own.
            let place = if self.with.is_some_and(|(with, _)| with == name) && !self.group.targets.contains_key(name) {
                self.without.first().copied().unwrap_or(name)
            } else {
                name
            };
            names.push(name);
            given.members.push(AssignableMember {
                id: name,
                instance: metadata.instance_id.as_deref(),
                subscription,
                before: self.group.targets.get(place).map_or(&[], Vec::as_slice),
            });
        }
        let wanted = preferred(self.members().map(|(_, metadata)| metadata));
        let assignor = wanted.as_deref().filter(|name| supports(settings, name));
        let shares = assignors::assign(assignor.unwrap_or_else(|| super::default_assignor(settings)), &given);
        names.into_iter().zip(shares).collect()
    }
}

/// The assignor most of these members ask for; the first by name of several such.
pub(super) fn preferred<'a>(members: impl Iterator<Item = &'a MemberMetadata>) -> Option<Name> {
    let mut votes: BTreeMap<&Name, usize> = BTreeMap::new();
    for assignor in members.filter_map(|metadata| metadata.assignor.as_ref()) {
        *votes.entry(assignor).or_default() += 1;
    }
    votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.clone())
}

/// Whether the broker offers the assignor.
pub(super) fn supports(settings: &GroupSettings, name: &str) -> bool {
    assignors::NAMES.contains(&name) && settings.consumer_assignors.iter().any(|offered| offered == name)
}
