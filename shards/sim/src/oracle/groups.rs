//! What must be true of consumer groups: the judge's book of who was given what and which offsets were committed.
//!
//! - In one generation of a classic group a partition belongs to one member; nobody is given what another member of that generation said it still has
//!   (cooperative groups). A member of a consumer group is given a partition only when nobody else holds it: whoever had it has said that it gave it
//!   up, has left, or may have been removed by now (its session, or the time to give something up, may be over). The same holds for both kinds of members
//!   of a mixed group, whichever kind of group that is.
//! - Generations and epochs do not go back as long as something keeps the group alive (a committed offset that nothing takes away).
//! - A committed offset is what the last acknowledged commit made it. What was never answered may or may not have come to pass; what was refused
//!   has not; what was once shown is not taken back. A crash excuses nothing.
//!
//! Times are virtual nanoseconds. What was asked at one and answered at another happened in between; the book says only what follows from that.

use std::collections::{BTreeMap, BTreeSet};

use super::Tp;

/// A group of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupIx(pub usize);

impl GroupIx {
    /// Its name on the wire.
    pub fn name(self) -> String {
        format!("group-{}", self.0)
    }
}

/// A commit that was lost with its connection may be carried out so long afterwards.
const GHOST_NS: u64 = 2_000_000_000;

/// A commit, by number.
pub type CommitId = u64;

/// The book.
#[derive(Debug, Default)]
pub struct Ledger {
    groups: BTreeMap<GroupIx, Group>,
    last_commit: CommitId,
    violations: Vec<String>,
    /// Assignments judged.
    pub assigned: u64,
    /// Times that members of mixed groups found them changed from one protocol to the other.
    pub migrated: u64,
    /// Offsets acknowledged.
    pub committed: u64,
    /// Offsets read and judged.
    pub fetched: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// Of a mixed group: whether it was one of the classic protocol when a member of it joined last.
    is_classic: Option<bool>,
    /// The highest generation that a sync told, and when.
    generation: (i32, u64),
    /// By generation: who was given a partition, and when.
    owners: BTreeMap<(i32, Tp), (String, u64)>,
    /// By generation: who said when it joined that it still has a partition.
    claims: BTreeMap<(i32, Tp), (String, u64)>,
    /// By member id: the last epoch told, and when.
    epochs: BTreeMap<String, (i32, u64)>,
    /// By holder: what it has.
    held: BTreeMap<String, BTreeMap<Tp, Held>>,
    offsets: BTreeMap<Tp, Offset>,
    /// Offsets of it were deleted, or may have been.
    deleted: bool,
    /// The group's own deletions that may still come to pass: number, when sent, and when it has come to pass if it ever does.
    deletions: Vec<(CommitId, u64, Option<u64>)>,
}

/// A partition in a consumer's hands.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Until when the coordinator must count it as held.
    until_ns: u64,
}

/// Everything that may be the committed offset of a partition.
#[derive(Debug, Default)]
struct Offset {
    commits: Vec<Commit>,
    /// Nothing committed is no answer to a fetch sent from then on.
    none_dead_ns: Option<u64>,
    /// What stood before may have been lost: anything goes, until a commit is acknowledged.
    anything: bool,
}

#[derive(Debug)]
struct Commit {
    id: CommitId,
    /// `None`: it deletes.
    offset: Option<i64>,
    may_expire: bool,
    sent_ns: u64,
    /// When it had come to pass, if it ever does. `None`: not answered yet.
    done_ns: Option<u64>,
    acked: bool,
    /// It is no answer to a fetch that is sent from then on: something later has certainly come to pass.
    dead_ns: Option<u64>,
}

/// How a commit was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It holds.
    Acked,
    /// It never will.
    Refused,
    /// It may or may not hold, and nothing will come of it any more.
    InDoubt,
    /// The connection is gone.
    Lost,
}

impl Ledger {
    /// What was found since the last call.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// The node has ended: a generation that was told to those who joined, but to none in a sync, may come again with other members.
    pub fn crashed(&mut self) {
        self.groups.values_mut().for_each(|group| group.claims.clear());
    }

    /// The newest records of journals were damaged: whatever stood there may be gone.
    pub fn lost(&mut self) {
        for group in self.groups.values_mut() {
            let offsets = std::mem::take(&mut group.offsets);
            let deletions = std::mem::take(&mut group.deletions);
            *group = Group { deleted: group.deleted, deletions, ..Group::default() };
            for (tp, mut offset) in offsets {
                offset.commits.retain(|commit| commit.done_ns.is_none());
                (offset.anything, offset.none_dead_ns) = (true, None);
                group.offsets.insert(tp, offset);
            }
        }
    }

    /// A commit is about to be sent; `offset` `None`: a deletion. Its number goes into its metadata.
    pub fn committing(
        &mut self,
        group: GroupIx,
        tp: Tp,
        offset: Option<i64>,
        may_expire: bool,
        now_ns: u64,
    ) -> CommitId {
        self.last_commit += 1;
        let id = self.last_commit;
        let g = self.groups.entry(group).or_default();
        g.deleted |= offset.is_none();
        g.deletions.retain(|(_, _, done_ns)| done_ns.is_none_or(|done_ns| done_ns > now_ns));
        let deletions = &g.deletions;
        let of = g.offsets.entry(tp).or_insert_with(|| {
            // The first commit for the partition may be carried out before a deletion that is on the way.
            let commits = deletions.iter().map(|(id, sent_ns, done_ns)| Commit::deletion(*id, *sent_ns, *done_ns));
            Offset { commits: commits.collect(), ..Offset::default() }
        });
        let commit = Commit { id, offset, may_expire, sent_ns: now_ns, done_ns: None, acked: false, dead_ns: None };
        of.commits.push(commit);
        id
    }

    /// The group is about to be deleted with all its offsets.
    pub fn deleting(&mut self, group: GroupIx, now_ns: u64) -> CommitId {
        self.last_commit += 1;
        let id = self.last_commit;
        let g = self.groups.entry(group).or_default();
        g.deleted = true;
        g.deletions.push((id, now_ns, None));
        g.offsets.values_mut().for_each(|of| of.commits.push(Commit::deletion(id, now_ns, None)));
        id
    }

    /// That was answered.
    pub fn deleted(&mut self, group: GroupIx, id: CommitId, answered: Answered, now_ns: u64) {
        let g = self.groups.entry(group).or_default();
        match answered {
            Answered::Lost => {
                let own = g.deletions.iter_mut().filter(|(of, ..)| *of == id);
                own.for_each(|(_, _, done_ns)| *done_ns = Some(now_ns + GHOST_NS));
            }
            _ => g.deletions.retain(|(of, ..)| *of != id),
        }
        let tps: Vec<Tp> = g.offsets.keys().copied().collect();
        tps.into_iter().for_each(|tp| self.committed(group, tp, id, answered, now_ns));
    }

    /// A commit was answered.
    pub fn committed(&mut self, group: GroupIx, tp: Tp, id: CommitId, answered: Answered, now_ns: u64) {
        let of = self.groups.entry(group).or_default().offsets.entry(tp).or_default();
        let Some(at) = of.commits.iter().position(|commit| commit.id == id) else { return };
        match answered {
            Answered::Refused => {
                of.commits.remove(at);
            }
            Answered::InDoubt => of.commits[at].done_ns = Some(now_ns),
            Answered::Lost => of.commits[at].done_ns = Some(now_ns + GHOST_NS),
            Answered::Acked => {
                self.committed += 1;
                let commit = &mut of.commits[at];
                (commit.acked, commit.done_ns) = (true, Some(now_ns));
                let (sent_ns, deletes) = (commit.sent_ns, commit.offset.is_none());
                of.anything = false;
                if !deletes {
                    of.none_dead_ns.get_or_insert(now_ns);
                }
                of.bury(id, sent_ns, now_ns);
            }
        }
    }

    /// A fetch that was sent at `sent_ns` found this: the number of the commit in its metadata with the offset, or nothing.
    pub fn fetched(&mut self, group: GroupIx, tp: Tp, found: Option<(CommitId, i64)>, sent_ns: u64, now_ns: u64) {
        self.fetched += 1;
        let of = self.groups.entry(group).or_default().offsets.entry(tp).or_default();
        let alive = |commit: &Commit| commit.dead_ns.is_none_or(|dead_ns| sent_ns < dead_ns);
        if of.anything {
            return;
        }
        let Some((id, offset)) = found else {
            let vanishes = |commit: &Commit| alive(commit) && (commit.offset.is_none() || commit.may_expire);
            if of.none_dead_ns.is_some_and(|dead_ns| dead_ns <= sent_ns) && !of.commits.iter().any(vanishes) {
                let text =
                    format!("{}: no offset is committed for {tp}, expected {}", group.name(), of.describe(sent_ns));
                self.violations.push(text);
            }
            return;
        };
        match of.commits.iter_mut().find(|commit| commit.id == id && commit.offset == Some(offset)) {
            Some(commit) if alive(commit) => {
                // It stands now, so it will stand until something later comes: also when its own answer was lost.
                if commit.done_ns.is_none_or(|done_ns| done_ns > now_ns) && !commit.acked {
                    commit.done_ns = Some(now_ns);
                }
                of.none_dead_ns.get_or_insert(now_ns);
                of.bury(id, sent_ns, now_ns);
            }
            _ => {
                let expected = of.describe(sent_ns);
                let text = format!(
                    "{}: the committed offset of {tp} is {offset} of commit {id}, expected {expected}",
                    group.name()
                );
                self.violations.push(text);
            }
        }
    }

    /// Whether something has kept the group in existence since then.
    fn anchored(&self, group: GroupIx, since_ns: u64, is_live: &dyn Fn(Tp) -> bool) -> bool {
        let Some(g) = self.groups.get(&group).filter(|g| !g.deleted) else { return false };
        let holds = |commit: &Commit| commit.acked && commit.done_ns.is_some_and(|done_ns| done_ns <= since_ns);
        g.offsets.iter().any(|(tp, of)| {
            is_live(*tp) && of.commits.iter().any(holds) && !of.commits.iter().any(|commit| commit.may_expire)
        })
    }

    /// A member of a classic group was told its generation, and had said that it still has `claims`.
    pub fn joined(
        &mut self,
        (group, generation): (GroupIx, i32),
        who: &str,
        claims: &BTreeSet<Tp>,
        (sent_ns, now_ns): (u64, u64),
        is_live: &dyn Fn(Tp) -> bool,
    ) {
        let (highest, since_ns) = self.groups.entry(group).or_default().generation;
        if generation < highest && since_ns <= sent_ns && self.anchored(group, since_ns, is_live) {
            let name = group.name();
            self.violations.push(format!("{name}: {who} joined generation {generation} after {highest}"));
        }
        let g = self.groups.entry(group).or_default();
        for tp in claims {
            g.claims.insert((generation, *tp), (who.to_owned(), now_ns));
        }
    }

    /// A member of a classic group was given its assignment.
    pub fn synced(
        &mut self,
        (group, generation): (GroupIx, i32),
        who: &str,
        given: &BTreeSet<Tp>,
        cooperative: bool,
        (sent_ns, now_ns): (u64, u64),
        is_live: &dyn Fn(Tp) -> bool,
    ) {
        self.assigned += 1;
        let name = group.name();
        let (highest, since_ns) = self.groups.entry(group).or_default().generation;
        if generation < highest && since_ns <= sent_ns && self.anchored(group, since_ns, is_live) {
            self.violations.push(format!("{name}: {who} was given generation {generation} after {highest}"));
        }
        for tp in given {
            let g = &self.groups[&group];
            let owner = g.owners.get(&(generation, *tp)).filter(|(owner, _)| owner != who).cloned();
            let claim = g.claims.get(&(generation, *tp)).filter(|(owner, _)| cooperative && owner != who).cloned();
            for (how, (other, then_ns)) in
                owner.map(|o| ("belongs to", o)).into_iter().chain(claim.map(|c| ("is held by", c)))
            {
                // The generation may be one of a group made anew.
                if self.anchored(group, then_ns, is_live) {
                    self.violations
                        .push(format!("{name}: {who} was given {tp}, which {how} {other} in generation {generation}"));
                }
            }
            let g = self.groups.entry(group).or_default();
            g.owners.insert((generation, *tp), (who.to_owned(), now_ns));
        }
        let g = self.groups.entry(group).or_default();
        // A late answer tells an old generation; a group made anew begins at the first.
        if generation >= highest || since_ns <= sent_ns {
            g.generation = (generation, now_ns);
        }
    }
}

impl Ledger {
    /// A member of a consumer group, or of a mixed one, was told its epoch.
    pub fn told_epoch(&mut self, group: GroupIx, member: &str, epoch: i32, now_ns: u64, is_live: &dyn Fn(Tp) -> bool) {
        self.assigned += 1;
        let before = self.groups.entry(group).or_default().epochs.get(member).copied();
        if let Some((highest, since_ns)) = before
            && epoch < highest
            && self.anchored(group, since_ns, is_live)
        {
            let name = group.name();
            self.violations.push(format!("{name}: member {member} was told epoch {epoch} after {highest}"));
        }
        let g = self.groups.entry(group).or_default();
        g.epochs.insert(member.to_owned(), (epoch, now_ns));
    }

    /// A classic member of a mixed group has joined, and was told a leader (then it is a classic group) or none.
    pub fn joined_mixed(&mut self, group: GroupIx, is_classic: bool) {
        let before = self.groups.entry(group).or_default().is_classic.replace(is_classic);
        self.migrated += u64::from(before.is_some_and(|before| before != is_classic));
    }

    /// It is not a member any more, or may have been none: in a mixed group, which is made anew by whoever comes when it is empty, it may be told any epoch.
    pub fn forget_epoch(&mut self, group: GroupIx, member: &str) {
        self.groups.entry(group).or_default().epochs.remove(member);
    }

    /// A member of a consumer group (`who` names it beyond its id) was given these partitions that it did not have. It is a member for certain until
    /// `until_ns`: told later than that, they may be somebody else's by now.
    pub fn given(&mut self, group: GroupIx, who: &str, gained: &BTreeSet<Tp>, until_ns: u64, now_ns: u64) {
        if now_ns >= until_ns {
            return;
        }
        let g = self.groups.entry(group).or_default();
        for tp in gained {
            let holder =
                g.held.iter().filter(|(other, _)| other.as_str() != who).find_map(|(other, held)| {
                    held.get(tp).filter(|held| now_ns < held.until_ns).map(|held| (other, held))
                });
            if let Some((other, held)) = holder {
                let ms = (held.until_ns - now_ns) / 1_000_000;
                let text = format!(
                    "{}: {who} was given {tp}, which {other} holds and need not have given up for {ms} ms",
                    group.name()
                );
                self.violations.push(text);
            }
        }
    }

    /// What a member of a consumer group has, by its last answer; the coordinator counts it as held until these moments.
    pub fn holds(&mut self, group: GroupIx, who: &str, held: impl Iterator<Item = (Tp, u64)>) {
        let held = held.map(|(tp, until_ns)| (tp, Held { until_ns })).collect();
        self.groups.entry(group).or_default().held.insert(who.to_owned(), held);
    }

    /// It has nothing any more.
    pub fn holds_nothing(&mut self, group: GroupIx, who: &str) {
        self.groups.entry(group).or_default().held.remove(who);
    }
}

impl Commit {
    fn deletion(id: CommitId, sent_ns: u64, done_ns: Option<u64>) -> Commit {
        Commit { id, offset: None, may_expire: false, sent_ns, done_ns, acked: false, dead_ns: None }
    }
}

impl Offset {
    /// The commit `id` stood at some moment between `from_ns` and `now_ns`: what had come to pass before that does not stand any more.
    fn bury(&mut self, id: CommitId, from_ns: u64, now_ns: u64) {
        for commit in &mut self.commits {
            if commit.id != id && commit.done_ns.is_some_and(|done_ns| done_ns <= from_ns) {
                commit.dead_ns.get_or_insert(now_ns);
            }
        }
        let old_ns = now_ns.saturating_sub(120_000_000_000);
        self.commits.retain(|commit| commit.dead_ns.is_none_or(|dead_ns| dead_ns >= old_ns));
    }

    fn describe(&self, sent_ns: u64) -> String {
        let alive = self.commits.iter().filter(|commit| commit.dead_ns.is_none_or(|dead_ns| sent_ns < dead_ns));
        let all: Vec<String> = alive.map(|c| format!("{:?} of commit {}", c.offset, c.id)).collect();
        if all.is_empty() { "none".into() } else { all.join(" or ") }
    }
}

#[cfg(test)]
mod tests;
