//! All groups of one shard: which partitions of `__consumer_offsets` are here, their groups, and when each is to be looked at again.
//!
//! Invariants: a group stands in the partition that its records go to; an entry without a trace (no member, no record, no offset) is not kept;
//! every group with a deadline has one entry among the deadlines, no later than its own.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::api::{Asker, GroupAnswer, GroupCall, GroupRequest, ListFilter, ListedGroup};
use super::audit::{Audit, Audited, GroupMetrics, Look};
use super::entry::Entry;
use super::records::GroupRecord;
use super::{Caller, Context, Decision, GroupSettings, Name};
use crate::event::LogLevel;
use crate::hosted::Position;
use crate::limits::{GROUPS_MAX, OFFSETS_EXPIRED_AT_ONCE};
use crate::metadata::Image;
use crate::requests::codes;
use crate::time::{Deadline, Time};
use crate::uuids::Uuids;

/// The coordinator of all groups of one shard.
#[derive(Debug, Default)]
pub struct Coordinator {
    settings: GroupSettings,
    ids: Uuids,
    partitions: BTreeMap<i32, Partition>,
    /// Groups by when they are looked at, one entry for each that has something to wait for.
    deadlines: BTreeSet<(Deadline, i32, Name)>,
    /// Groups in `partitions`.
    groups: usize,
    sweep: Sweep,
    /// Of the decision that is under way.
    audit: Audit,
    audited: Audited,
}

#[derive(Debug, Default)]
struct Partition {
    loading: bool,
    groups: BTreeMap<Name, Entry>,
    /// Groups with offsets of open transactions, by producer. They may be gone already.
    writers: BTreeMap<i64, BTreeSet<Name>>,
}

/// A walk over all groups for offsets that expired or whose topics are gone: one group a step.
#[derive(Debug, Default)]
struct Sweep {
    /// When the next walk begins, `None` before the first time something has loaded.
    next: Option<Deadline>,
    /// The group after which the walk goes on, while there is one.
    under_way: Option<(i32, Name)>,
    /// The group under way had more than fits in one decision: how many offsets it had then.
    more: Option<usize>,
}

impl Coordinator {
    /// None yet.
    pub fn new(settings: GroupSettings, ids: Uuids) -> Coordinator {
        Coordinator { settings, ids, ..Coordinator::default() }
    }

    /// A partition of `__consumer_offsets` has come to this shard: its groups answer COORDINATOR_LOAD_IN_PROGRESS until [`Coordinator::loaded`].
    pub fn load(&mut self, partition: i32) {
        self.forget(partition);
        self.partitions.insert(partition, Partition { loading: true, ..Partition::default() });
    }

    /// A record of the partition, while it loads, in the order of the log.
    pub fn replay(&mut self, partition: i32, record: GroupRecord, position: Position) {
        self.put(None, partition, &record, position);
    }

    /// The end of a producer's transaction stands in the partition's log: offsets that it has committed count from now on, or are dropped. Live (with the
    /// time) as in replay.
    pub fn end_txn(&mut self, now: Option<Time>, partition: i32, producer: i64, committed: bool) {
        let Some(home) = self.partitions.get_mut(&partition) else { return };
        for name in home.writers.remove(&producer).unwrap_or_default() {
            let Some(entry) = home.groups.get_mut(&name) else { continue };
            let audit = &mut self.audit;
            entry.offsets.end(producer, committed, |topic, partition, from, to| {
                audit.rewinds += 1;
                audit.line(LogLevel::Info, || {
                    format!(
                        "group {name}: offset of {topic}-{partition} rewound from {from} to {to} by the transaction of producer {producer}"
                    )
                });
            });
        }
        match now {
            Some(_) => self.audit.keep(&mut self.audited),
            None => self.audit.forget(),
        }
    }

    /// The partition has been read to its end: its groups are served. Members that it knows have a whole session timeout from now.
    pub fn loaded(&mut self, now: Time, partition: i32) {
        let Some(home) = self.partitions.get_mut(&partition) else { return };
        home.loading = false;
        let before = home.groups.len();
        home.groups.retain(|_, entry| !entry.is_vacant());
        self.groups -= before - home.groups.len();
        for (name, entry) in &mut home.groups {
            entry.loaded(now);
            schedule(&mut self.deadlines, partition, name, entry);
        }
        self.sweep.next.get_or_insert_with(|| now.after(self.settings.offsets_check()));
    }

    /// The partition is gone (topic deleted) or failed: its groups are forgotten. What waits is answered with `error_code`.
    pub fn unload(&mut self, partition: i32, error_code: i16) -> Vec<Decision> {
        let home = self.forget(partition);
        let waiting = home.groups.into_values().filter_map(|mut entry| {
            let mut decision = Decision { partition, ..Decision::default() };
            entry.dissolve(error_code, &mut decision);
            (!decision.answers.is_empty()).then_some(decision)
        });
        waiting.collect()
    }

    /// Somebody asks. Groups of partitions that were never given to [`Coordinator::load`] answer NOT_COORDINATOR.
    pub fn request(&mut self, now: Time, image: &Image, asker: Asker, call: GroupCall) -> Decision {
        let GroupCall { partition, group, client_id, client_host, request } = call;
        let caller = Caller { asker, client_id, client_host };
        let refused = match self.partitions.get(&partition) {
            _ if group.is_empty() && request.needs_group() => codes::INVALID_GROUP_ID,
            None => codes::NOT_COORDINATOR,
            Some(home) if home.loading => codes::COORDINATOR_LOAD_IN_PROGRESS,
            Some(home) if self.groups >= GROUPS_MAX && !home.groups.contains_key(&group) => {
                codes::COORDINATOR_NOT_AVAILABLE
            }
            Some(home) => {
                if let GroupRequest::List(filter) = &request {
                    let listed = Decision::answer(asker, GroupAnswer::Listed(Ok(home.list(filter))));
                    return Decision { partition, ..listed };
                }
                codes::NONE
            }
        };
        if refused != codes::NONE {
            return Decision { partition, ..Decision::answer(asker, request.refuse(refused)) };
        }
        let mut decision = self.with(now, image, partition, &group, |entry, cx| entry.request(cx, &caller, request));
        decision.partition = partition;
        self.settle(&decision);
        decision
    }

    /// Something that is due by now: sessions that ended, rebalances to complete, offsets that expired, topics that changed. To be called until `None`,
    /// each decision taken to its end before the next call.
    pub fn due(&mut self, now: Time, image: &Image) -> Option<Decision> {
        loop {
            let (partition, group) = match self.deadlines.first() {
                Some((deadline, partition, group)) if now.reached(*deadline) => (*partition, group.clone()),
                _ => return self.sweep(now, image),
            };
            let decision = self.with(now, image, partition, &group, |entry, cx| entry.due(cx));
            if let Some(mut decision) = decision {
                decision.partition = partition;
                self.settle(&decision);
                return Some(decision);
            }
            self.audit.keep(&mut self.audited);
        }
    }

    /// The records of a decision were appended, the first one at this offset: they hold.
    pub fn apply(&mut self, now: Time, decision: &Decision, base_offset: i64) {
        let producer = decision.txn.map(|txn| txn.producer.id);
        for (record, at) in decision.records.iter().zip(base_offset..) {
            self.put(Some(now), decision.partition, record, Position { offset: at, producer });
        }
        self.audit.keep(&mut self.audited);
    }

    /// They were not, for `error_code`: groups take back what they had begun. The answers, as errors.
    pub fn refused(&mut self, now: Time, decision: Decision, error_code: i16) -> Decision {
        self.audit.forget();
        let Decision { partition, records, mut answers, .. } = decision;
        if let Some(home) = self.partitions.get_mut(&partition) {
            for record in &records {
                let name = record.group();
                if let Some(entry) = home.groups.get_mut(name) {
                    let deleter = entry.refused(now, record);
                    answers.extend(deleter.map(|asker| (asker, GroupAnswer::Deleted(error_code))));
                    schedule(&mut self.deadlines, partition, name, entry);
                }
            }
        }
        let answers = answers.into_iter().map(|(asker, answer)| (asker, answer.failed(error_code))).collect();
        Decision { partition, answers, ..Decision::default() }
    }

    /// Topics were created, widened or deleted: groups that read them have something due; offsets of deleted topics go. A group of which only a part
    /// has been read has nothing due: what it decided would stand behind records that it has not seen.
    pub fn image_changed(&mut self, image: &Image) {
        let mut gone = false;
        for (partition, home) in self.partitions.iter_mut().filter(|(_, home)| !home.loading) {
            for (name, entry) in &mut home.groups {
                gone |= entry.image_changed(image);
                schedule(&mut self.deadlines, *partition, name, entry);
            }
        }
        if gone {
            self.sweep = Sweep { next: Some(Deadline(0)), ..Sweep::default() };
        }
    }

    /// When [`Coordinator::due`] is to be called at the latest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        let group = self.deadlines.first().map(|(deadline, _, _)| *deadline);
        group.into_iter().chain(self.sweep.next).min()
    }

    /// Lines for the broker's log since the last call.
    pub fn take_lines(&mut self) -> Vec<(LogLevel, String)> {
        mem::take(&mut self.audited.lines)
    }

    /// Committed offsets that are to be looked at, since the last call.
    pub fn take_looks(&mut self) -> Vec<Look> {
        self.audited.take_looks()
    }

    /// Some were: where their partitions end.
    pub fn looked<'a>(&mut self, looked: impl Iterator<Item = (&'a Look, i64)>) {
        self.audited.looked(looked);
    }

    /// What a scrape shows.
    pub fn metrics(&self) -> GroupMetrics {
        let mut metrics = GroupMetrics { counts: self.audited.counts.clone(), ..GroupMetrics::default() };
        let mut groups = BTreeMap::new();
        for entry in self.partitions.values().flat_map(|home| home.groups.values()) {
            *groups.entry((entry.kind(), entry.state())).or_insert(0) += 1;
            metrics.members += entry.members() as u64;
            metrics.offsets += entry.offsets.len() as u64;
        }
        metrics.groups = groups.into_iter().map(|((kind, state), count)| (kind, state, count)).collect();
        metrics
    }
}

impl Coordinator {
    /// Lets a group decide; one that has no trace yet or none any more is not kept.
    fn with<T>(
        &mut self,
        now: Time,
        image: &Image,
        partition: i32,
        name: &Name,
        decide: impl FnOnce(&mut Entry, &mut Context<'_>) -> T,
    ) -> T {
        let home = self.partitions.get_mut(&partition).expect("the partition was looked up");
        let mut cx = Context { now, image, settings: &self.settings, ids: &mut self.ids, audit: &mut self.audit };
        let Some(entry) = home.groups.get_mut(name) else {
            let mut entry = Entry::new(name.clone());
            let decided = decide(&mut entry, &mut cx);
            if !entry.is_vacant() {
                schedule(&mut self.deadlines, partition, name, &mut entry);
                home.groups.insert(name.clone(), entry);
                self.groups += 1;
            }
            return decided;
        };
        let decided = decide(entry, &mut cx);
        self.keep(partition, name);
        decided
    }

    /// A record holds. Live and in replay this is the only way to durable state.
    fn put(&mut self, now: Option<Time>, partition: i32, record: &GroupRecord, position: Position) {
        let Some(home) = self.partitions.get_mut(&partition) else { return };
        let name = record.group();
        if !home.groups.contains_key(name) {
            home.groups.insert(name.clone(), Entry::new(name.clone()));
            self.groups += 1;
        }
        let entry = home.groups.get_mut(name).expect("it was put there");
        entry.apply(now, record, position, &mut self.audited.counts);
        if let Some(producer) = position.producer {
            home.writers.entry(producer).or_default().insert(name.clone());
        }
        // While it loads, what has no trace now may have one with the next record.
        if now.is_some() {
            self.keep(partition, name);
        }
    }

    /// Enters a group's deadline anew, or forgets the group when it has no trace.
    fn keep(&mut self, partition: i32, name: &Name) {
        let Some(home) = self.partitions.get_mut(&partition) else { return };
        let Some(entry) = home.groups.get_mut(name) else { return };
        if !entry.is_vacant() {
            schedule(&mut self.deadlines, partition, name, entry);
            return;
        }
        if let Some(deadline) = entry.scheduled {
            self.deadlines.remove(&(deadline, partition, name.clone()));
        }
        home.groups.remove(name);
        self.groups -= 1;
    }

    /// A decision without records holds at once.
    fn settle(&mut self, decision: &Decision) {
        if decision.records.is_empty() {
            self.audit.keep(&mut self.audited);
        }
    }

    fn forget(&mut self, partition: i32) -> Partition {
        let home = self.partitions.remove(&partition).unwrap_or_default();
        self.groups -= home.groups.len();
        self.deadlines.retain(|(_, of, _)| *of != partition);
        home
    }

    /// Goes on with the walk over all groups, until one has something to write.
    fn sweep(&mut self, now: Time, image: &Image) -> Option<Decision> {
        if !self.sweep.next.is_some_and(|next| now.reached(next)) {
            return None;
        }
        while let Some((partition, name)) = self.unfinished().or_else(|| self.after(self.sweep.under_way.as_ref())) {
            let before = self.offsets_of(partition, &name);
            let decision = self.with(now, image, partition, &name, |entry, cx| entry.sweep(cx));
            self.sweep.under_way = Some((partition, name));
            let Some(mut decision) = decision else { continue };
            self.sweep.more = before.filter(|_| decision.records.len() >= OFFSETS_EXPIRED_AT_ONCE);
            decision.partition = partition;
            self.settle(&decision);
            return Some(decision);
        }
        self.sweep = Sweep { next: Some(now.after(self.settings.offsets_check())), ..Sweep::default() };
        None
    }

    /// The group under way, when it had more than one decision takes and the last one was not refused.
    fn unfinished(&mut self) -> Option<(i32, Name)> {
        let had = self.sweep.more.take()?;
        let (partition, name) = self.sweep.under_way.clone()?;
        self.offsets_of(partition, &name).is_some_and(|has| has < had).then_some((partition, name))
    }

    fn offsets_of(&self, partition: i32, name: &Name) -> Option<usize> {
        let home = self.partitions.get(&partition).filter(|home| !home.loading)?;
        home.groups.get(name).map(|entry| entry.offsets.len())
    }

    /// The group that follows on the walk.
    fn after(&self, last: Option<&(i32, Name)>) -> Option<(i32, Name)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = last.map_or(i32::MIN, |(partition, _)| *partition);
        let mut homes = self.partitions.range(from..).filter(|(_, home)| !home.loading);
        homes.find_map(|(partition, home)| {
            let behind = match last {
                Some((here, name)) if here == partition => Excluded(&**name),
                _ => Unbounded,
            };
            let (name, _) = home.groups.range::<str, _>((behind, Unbounded)).next()?;
            Some((*partition, name.clone()))
        })
    }
}

impl Partition {
    fn list(&self, filter: &ListFilter) -> Vec<ListedGroup> {
        let passes = |wanted: &[String], is: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        let listed = self
            .groups
            .iter()
            .filter(|(_, entry)| passes(&filter.states, entry.state()) && passes(&filter.types, entry.kind()));
        listed.map(|(name, entry)| entry.list(name.clone())).collect()
    }
}

/// Enters when a group is to be looked at.
fn schedule(deadlines: &mut BTreeSet<(Deadline, i32, Name)>, partition: i32, name: &Name, entry: &mut Entry) {
    let next = entry.next_deadline();
    if next == entry.scheduled {
        return;
    }
    if let Some(old) = entry.scheduled {
        deadlines.remove(&(old, partition, name.clone()));
    }
    if let Some(next) = next {
        deadlines.insert((next, partition, name.clone()));
    }
    entry.scheduled = next;
}
