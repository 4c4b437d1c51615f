//! What a member brings, by either protocol, and what follows: for what is known of it, for the group's epoch and target, for the member's next step.
//!
//! Reads the group, changes nothing: the records of a [`Step`] do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use floe_wire::ids::TopicId;

use super::draft::Draft;
use super::partitions::{Partitions, count};
use super::reconcile::{Goal, reconcile};
use super::{ConsumerGroup, Member, nothing_owned};
use crate::event::LogLevel;
use crate::expressions::Expression;
use crate::group::records::{CurrentAssignment, GroupRecord, MemberMetadata, TargetEpoch};
use crate::group::{Context, Name};
use crate::requests::codes;

/// What a member shall own, sorted.
type Target<'a> = Cow<'a, [(TopicId, Vec<i32>)]>;

/// Kafka's code and message.
#[derive(Debug)]
pub(super) struct Refusal(pub i16, pub String);

/// Who speaks: where it stood before.
pub(super) struct Speaker<'a> {
    pub id: Name,
    /// As it is known; a static member that comes back under another id is known under the old one.
    pub known: Option<&'a Member>,
    /// The id whose place it takes.
    pub replaces: Option<&'a Name>,
}

/// What it brings.
pub(super) struct Brought<'a> {
    /// As it describes itself now; `None`: as before.
    pub changed: Option<MemberMetadata>,
    /// What it says it owns, sorted; `None`: it does not say.
    pub owned: Option<&'a [(TopicId, Vec<i32>)]>,
    /// Topics may have changed since the group was last compared with them.
    pub must_compare: bool,
}

/// What follows.
pub(super) struct Step<'a> {
    pub records: Vec<GroupRecord>,
    /// Where the member stands when these hold.
    pub after: Cow<'a, CurrentAssignment>,
    /// It owns others than before.
    pub moved: bool,
}

impl ConsumerGroup {
    /// The heart of it: what the member changes, what follows for the group, and the member's next step.
    pub(super) fn advance<'a>(
        &'a self,
        cx: &mut Context<'_>,
        speaker: &Speaker<'a>,
        brought: Brought<'_>,
    ) -> Result<Step<'a>, Refusal> {
        let (group, id) = (&self.group, &speaker.id);
        let Brought { changed, owned, must_compare } = brought;
        let mut records = Vec::new();
        let is_new = speaker.known.is_none();
        let metadata = changed.as_ref().or(speaker.known.map(|member| &member.metadata)).expect("new members change");
        let without: BTreeSet<&Name> = speaker.replaces.into_iter().collect();
        let mut draft = Draft { group: self, with: Some((id, metadata)), without, expressions: BTreeMap::new() };

        // What the member says of itself.
        if let Some(place) = speaker.replaces {
            cx.audit.line(LogLevel::Info, || format!("group {group}: static member {id} takes the place of {place}"));
            records.extend(self.without_member(place));
        } else if is_new {
            cx.audit.line(LogLevel::Info, || format!("group {group}: member {id} joins"));
        }
        let mut bump = is_new;
        if changed.is_some() || speaker.replaces.is_some() {
            let value = Some(metadata.clone());
            records.push(GroupRecord::Member { group: group.clone(), member: id.clone(), value });
            let before = speaker.known.map(|member| &member.metadata);
            bump |= before.is_none_or(|before| before.topics != metadata.topics);
            bump |= before.is_none_or(|before| before.expression != metadata.expression);
            records.extend(expressions_changed(cx, &mut draft, before, metadata)?);
        }

        // What follows for the group.
        let mut epoch = self.epoch.epoch;
        if bump || must_compare {
            if must_compare {
                records.extend(draft.match_again(cx));
            }
            let metadata_hash = draft.metadata_hash(cx.image);
            if bump || metadata_hash != self.epoch.metadata_hash {
                records.push(self.next_epoch(cx, metadata_hash));
                epoch = self.epoch.epoch.saturating_add(1);
            }
        }
        let (target_epoch, target) = self.target_for(cx, &draft, speaker, epoch, &mut records);

        // The member's next step.
        let before = match speaker.known {
            Some(member) if speaker.replaces.is_none() => Cow::Borrowed(&member.current),
            // It owns what the one before it owned, and is behind every target.
            Some(member) => {
                Cow::Owned(CurrentAssignment { assigned: member.current.assigned.clone(), ..nothing_owned() })
            }
            None => Cow::Owned(nothing_owned()),
        };
        let is_mine = |owner: &Name| owner == id || Some(owner) == speaker.replaces;
        let is_free = |topic, partition| self.owners.get(&(topic, partition)).is_none_or(is_mine);
        let goal = Goal { epoch: target_epoch, target: &target, owned, is_free };
        let next = reconcile(&before, &goal);
        if is_new || speaker.replaces.is_some() || next.is_some() {
            records.push(self.current_record(id, next.as_ref().unwrap_or(&before).clone()));
        }
        let moved = next.as_ref().is_some_and(|next| next.assigned != before.assigned);
        Ok(Step { records, after: next.map_or(before, Cow::Owned), moved })
    }

    /// Where the member stands.
    pub(super) fn current_record(&self, id: &Name, current: CurrentAssignment) -> GroupRecord {
        GroupRecord::Current { group: self.group.clone(), member: id.clone(), value: Some(current) }
    }

    /// The member's target: as it is, or computed anew for everybody when the group's epoch has passed it by.
    fn target_for<'a>(
        &'a self,
        cx: &mut Context<'_>,
        draft: &Draft<'_>,
        speaker: &Speaker<'_>,
        epoch: i32,
        records: &mut Vec<GroupRecord>,
    ) -> (i32, Target<'a>) {
        let group = &self.group;
        let place = speaker.replaces.unwrap_or(&speaker.id);
        let before = self.targets.get(place).map_or(&[][..], Vec::as_slice);
        if epoch <= self.target_epoch.epoch {
            if speaker.replaces.is_some() {
                let (group, member) = (group.clone(), speaker.id.clone());
                records.push(GroupRecord::Target { group, member, value: Some(before.to_vec()) });
            }
            return (self.target_epoch.epoch, before.into());
        }
        let mut mine = Partitions::new();
        for (member, target) in draft.target(cx.image, cx.settings) {
            if *member == speaker.id {
                mine.clone_from(&target);
            }
            if self.targets.get(member) != Some(&target) {
                let (group, member) = (group.clone(), member.clone());
                records.push(GroupRecord::Target { group, member, value: Some(target) });
            }
        }
        cx.audit.line(LogLevel::Info, || {
            format!("group {group}: epoch {epoch}, {} partitions for {id}", count(&mine), id = speaker.id)
        });
        let value = Some(TargetEpoch { epoch, computed_ms: cx.now.wall_ms });
        records.push(GroupRecord::TargetEpoch { group: group.clone(), value });
        (epoch, mine.into())
    }
}

/// Records about expressions, when a member goes from one to another.
fn expressions_changed(
    cx: &Context<'_>,
    draft: &mut Draft<'_>,
    before: Option<&MemberMetadata>,
    metadata: &MemberMetadata,
) -> Result<Vec<GroupRecord>, Refusal> {
    let old = before.and_then(|before| before.expression.as_ref());
    let new = metadata.expression.as_ref();
    let mut records = Vec::new();
    if old == new {
        return Ok(records);
    }
    if let Some(text) = new
        && !draft.group.expressions.contains_key(text)
    {
        let expression = Expression::new(text).map_err(|why| {
            Refusal(
                codes::INVALID_REGULAR_EXPRESSION,
                format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {why}."),
            )
        })?;
        let topics = expression.topics(cx.image);
        records.push(draft.matches(cx, text, topics));
    }
    if let Some(text) = old.filter(|text| !draft.uses(text)) {
        draft.expressions.insert(text.clone(), None);
        let (group, expression) = (draft.group.group.clone(), text.clone());
        records.push(GroupRecord::Expression { group, expression, value: None });
    }
    Ok(records)
}
