use super::Answered::{Acked, InDoubt, Lost, Refused};
use super::*;
use crate::oracle::TopicIx;

const G: GroupIx = GroupIx(0);
const TP: Tp = Tp { topic: TopicIx(0), partition: 0 };

/// What happens to one offset: a commit of that number is sent, is answered, or a fetch that was sent at a moment finds a commit.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send(u64),
    SendExpiring(u64),
    Delete(u64),
    Answer(u64, Answered),
    /// The whole group.
    DeleteGroup(u64),
    AnswerGroup(u64, Answered),
    /// Sent then, finds this.
    Fetch(u64, Option<u64>),
    Damage,
}
use Step::{Answer, AnswerGroup, Damage, Delete, DeleteGroup, Fetch, Send, SendExpiring};

/// Steps happen at 10, 20, 30, ...: whether the book finds something.
fn judge(steps: &[Step]) -> bool {
    let mut book = Ledger::default();
    for (step, now_ns) in steps.iter().zip((1..).map(|n| n * 10)) {
        match *step {
            Send(id) => assert_eq!(book.committing(G, TP, Some(id as i64), false, now_ns), id),
            SendExpiring(id) => assert_eq!(book.committing(G, TP, Some(id as i64), true, now_ns), id),
            Delete(id) => assert_eq!(book.committing(G, TP, None, false, now_ns), id),
            Answer(id, answered) => book.committed(G, TP, id, answered, now_ns),
            DeleteGroup(id) => assert_eq!(book.deleting(G, now_ns), id),
            AnswerGroup(id, answered) => book.deleted(G, id, answered, now_ns),
            Fetch(sent_ns, found) => book.fetched(G, TP, found.map(|id| (id, id as i64)), sent_ns, now_ns),
            Damage => book.lost(),
        }
    }
    !book.take_violations().is_empty()
}

#[test]
fn offsets_are_what_the_last_commit_made_them() {
    #[rustfmt::skip]
    let rows: &[(&str, &[Step], bool)] = &[
        ("the acknowledged one",             &[Send(1), Answer(1, Acked), Fetch(25, Some(1))], false),
        ("nothing, after one acknowledged",  &[Send(1), Answer(1, Acked), Fetch(25, None)], true),
        ("nothing, asked before the answer", &[Send(1), Answer(1, Acked), Fetch(15, None)], false),
        ("the one before",                   &[Send(1), Answer(1, Acked), Send(2), Answer(2, Acked), Fetch(45, Some(1))], true),
        ("the one before, asked before",     &[Send(1), Answer(1, Acked), Send(2), Answer(2, Acked), Fetch(35, Some(1))], false),
        ("the later one",                    &[Send(1), Answer(1, Acked), Send(2), Answer(2, Acked), Fetch(45, Some(2))], false),
        ("either of two at once",            &[Send(1), Send(2), Answer(1, Acked), Answer(2, Acked), Fetch(45, Some(1))], false),
        ("shown once, and then the other",   &[Send(1), Send(2), Answer(1, Acked), Answer(2, Acked), Fetch(45, Some(1)), Fetch(55, Some(2))], true),
        ("one refused",                      &[Send(1), Answer(1, Refused), Fetch(25, Some(1))], true),
        ("one in doubt",                     &[Send(1), Answer(1, InDoubt), Fetch(25, Some(1))], false),
        ("one in doubt, not there",          &[Send(1), Answer(1, InDoubt), Fetch(25, None)], false),
        ("one in doubt, shown, and gone",    &[Send(1), Answer(1, InDoubt), Fetch(25, Some(1)), Fetch(35, None)], true),
        ("one lost, after a later one",      &[Send(1), Answer(1, Lost), Send(2), Answer(2, Acked), Fetch(45, Some(1))], false),
        ("one that expired",                 &[SendExpiring(1), Answer(1, Acked), Fetch(25, None)], false),
        ("one deleted",                      &[Send(1), Answer(1, Acked), Delete(2), Answer(2, Acked), Fetch(45, None)], false),
        ("one deleted, there",               &[Send(1), Answer(1, Acked), Delete(2), Answer(2, Acked), Fetch(45, Some(1))], true),
        ("group deleted",                    &[Send(1), Answer(1, Acked), DeleteGroup(2), AnswerGroup(2, Acked), Fetch(45, None)], false),
        ("group deleted, one there",         &[Send(1), Answer(1, Acked), DeleteGroup(2), AnswerGroup(2, Acked), Fetch(45, Some(1))], true),
        ("group not empty, one gone",        &[Send(1), Answer(1, Acked), DeleteGroup(2), AnswerGroup(2, Refused), Fetch(45, None)], true),
        ("group deleted perhaps",            &[Send(1), Answer(1, Acked), DeleteGroup(2), AnswerGroup(2, Lost), Fetch(45, None)], false),
        ("group deleted perhaps, one there", &[Send(1), Answer(1, Acked), DeleteGroup(2), AnswerGroup(2, Lost), Fetch(45, Some(1))], false),
        ("deleted before a commit",          &[DeleteGroup(1), AnswerGroup(1, Acked), Send(2), Answer(2, Acked), Fetch(45, None)], true),
        ("deleted meanwhile",                &[DeleteGroup(1), Send(2), Answer(2, Acked), AnswerGroup(1, Acked), Fetch(45, None)], false),
        ("deleted meanwhile, not answered",  &[DeleteGroup(1), AnswerGroup(1, Lost), Send(2), Answer(2, Acked), Fetch(45, None)], false),
        ("damaged: anything",                &[Send(1), Answer(1, Acked), Damage, Fetch(35, None)], false),
        ("damaged, then acknowledged",       &[Send(1), Answer(1, Acked), Damage, Send(2), Answer(2, Acked), Fetch(55, None)], true),
    ];
    for (what, steps, found) in rows {
        assert_eq!(judge(steps), *found, "{what}");
    }
}

fn set(partitions: &[i32]) -> BTreeSet<Tp> {
    partitions.iter().map(|partition| Tp { partition: *partition, ..TP }).collect()
}

/// A book of a group that an offset keeps in existence.
fn anchored() -> Ledger {
    let mut book = Ledger::default();
    let id = book.committing(G, TP, Some(1), false, 1);
    book.committed(G, TP, id, Acked, 2);
    book
}

#[test]
fn a_partition_has_one_owner_in_a_generation() {
    let sync = |book: &mut Ledger, generation, who: &str, partitions: &[i32], times| {
        book.synced((G, generation), who, &set(partitions), true, times, &|_| true);
        book.take_violations().len()
    };
    let mut book = anchored();
    assert_eq!(sync(&mut book, 1, "a", &[0, 1], (10, 11)), 0);
    assert_eq!(sync(&mut book, 1, "a", &[0, 1], (12, 13)), 0, "the same again");
    assert_eq!(sync(&mut book, 1, "b", &[2], (12, 13)), 0);
    assert_eq!(sync(&mut book, 1, "b", &[1], (14, 15)), 1, "given twice");
    assert_eq!(sync(&mut book, 2, "b", &[1], (16, 17)), 0, "in the next generation");
    assert_eq!(sync(&mut book, 1, "a", &[0], (15, 18)), 0, "a late answer");
    assert_eq!(sync(&mut book, 1, "a", &[0], (20, 21)), 1, "back to an older generation");
    book.joined((G, 3), "a", &set(&[0]), (20, 22), &|_| true);
    assert_eq!(sync(&mut book, 3, "b", &[0], (23, 24)), 1, "a still has it");
    let mut book = Ledger::default();
    assert_eq!(sync(&mut book, 7, "a", &[0], (10, 11)), 0);
    assert_eq!(sync(&mut book, 1, "b", &[0], (12, 13)), 0, "the group may be another one: nothing kept it");
}

#[test]
fn a_consumer_gets_what_nobody_holds() {
    let mut book = anchored();
    book.holds(G, "a", set(&[0, 1]).into_iter().map(|tp| (tp, 100)));
    book.given(G, "b", &set(&[2]), 1_000, 50);
    book.given(G, "a", &set(&[1]), 1_000, 50);
    book.given(G, "b", &set(&[1]), 1_000, 100);
    book.given(G, "b", &set(&[1]), 40, 50);
    assert!(book.take_violations().is_empty(), "another one, its own, one that may be free, told too late to tell");
    book.given(G, "b", &set(&[1]), 1_000, 99);
    assert_eq!(book.take_violations().len(), 1);
    book.holds_nothing(G, "a");
    book.given(G, "b", &set(&[1]), 1_000, 99);
    book.told_epoch(G, "b", 5, 50, &|_| true);
    book.told_epoch(G, "b", 5, 60, &|_| true);
    assert!(book.take_violations().is_empty());
    book.told_epoch(G, "b", 4, 70, &|_| true);
    assert_eq!(book.take_violations().len(), 1);
}
