//! What each request is answered in each state, as Kafka's `TransactionCoordinator` answers it.

use super::super::records::Txn;
use super::super::rules::{Outcome, unborn};
use super::*;

const NOW: i64 = 5000;
const FRESH: i64 = 99;

/// Producer 7 at epoch 4, in this state, its last change from epoch 3.
fn txn(state: State) -> Txn {
    let open = matches!(state, State::Ongoing | State::PrepareCommit | State::PrepareAbort);
    let topics = if open { vec![(Name::from("out"), vec![0, 2])] } else { Vec::new() };
    let last_epoch = if state == State::Ongoing { -1 } else { 3 };
    Txn {
        producer: producer(7, 4),
        previous_id: 7,
        timeout_ms: 60_000,
        state,
        topics,
        start_ms: 1000,
        version: 2,
        last_epoch,
        ..unborn(7)
    }
}

/// What came of it: a code, or the state and the producer written down, or nothing to write.
fn told<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    match outcome {
        Outcome::Refused(code) => format!("error {code}"),
        Outcome::Done(_) => "done".into(),
        Outcome::Changes(txn, _) => format!("{} {}:{}", txn.state.name(), txn.producer.id, txn.producer.epoch),
        Outcome::Wait => "wait".into(),
    }
}

const FENCED: &str = "error 90";
const MAPPING: &str = "error 49";
const STATE: &str = "error 48";
const CONCURRENT: &str = "error 51";

#[test]
fn ends_of_version_2() {
    use State::*;
    // State, epoch asked with (3: the end before asked again, 4: the current one, 2 and 5: neither), what an abort and what a commit come to.
    let rows: &[(State, i16, &str, &str, &str)] = &[
        (Empty, 3, FENCED, FENCED, "no end was before"),
        (Empty, 4, "CompleteAbort 7:5", STATE, "an abort of nothing gives an epoch; nothing cannot be committed"),
        (Ongoing, 3, FENCED, FENCED, "a delayed end of the transaction before (KAFKA-17754)"),
        (Ongoing, 4, "PrepareAbort 7:5", "PrepareCommit 7:5", "the end"),
        (Ongoing, 5, FENCED, FENCED, "nobody has this epoch"),
        (PrepareCommit, 3, STATE, CONCURRENT, "asked again while it goes on"),
        (PrepareCommit, 4, FENCED, FENCED, "the next transaction cannot end before this one"),
        (PrepareAbort, 3, CONCURRENT, STATE, "asked again while it goes on"),
        (PrepareAbort, 4, FENCED, FENCED, "the next transaction cannot end before this one"),
        (CompleteCommit, 3, STATE, "done", "asked again when it is over"),
        (CompleteCommit, 4, "CompleteAbort 7:5", STATE, "of the next transaction, which has written nothing"),
        (CompleteCommit, 2, FENCED, FENCED, "long ago"),
        (CompleteAbort, 3, "done", STATE, "asked again when it is over"),
        (CompleteAbort, 4, "CompleteAbort 7:5", STATE, "of the next transaction, which has written nothing"),
        (CompleteAbort, 5, FENCED, FENCED, "nobody has this epoch"),
    ];
    for (state, epoch, abort, commit, why) in rows {
        for (committed, want) in [(false, abort), (true, commit)] {
            let outcome = txn(*state).end_bumping(NOW, producer(7, *epoch), committed, None);
            assert_eq!(told(outcome), **want, "{state:?} {epoch} committed {committed}: {why}");
        }
        let other = txn(*state).end_bumping(NOW, producer(8, *epoch), true, None);
        assert_eq!(told(other), MAPPING, "another producer id");
    }
}

#[test]
fn ends_before_version_2() {
    use State::*;
    let rows: &[(State, &str, &str)] = &[
        (Empty, STATE, STATE),
        (Ongoing, "PrepareAbort 7:4", "PrepareCommit 7:4"),
        (PrepareCommit, STATE, CONCURRENT),
        (PrepareAbort, CONCURRENT, STATE),
        (CompleteCommit, STATE, "done"),
        (CompleteAbort, "done", STATE),
    ];
    for (state, abort, commit) in rows {
        for (committed, want) in [(false, abort), (true, commit)] {
            assert_eq!(told(txn(*state).end(NOW, producer(7, 4), committed)), **want, "{state:?} {committed}");
            for epoch in [3, 5] {
                assert_eq!(told(txn(*state).end(NOW, producer(7, epoch), committed)), FENCED, "{state:?} {epoch}");
            }
            assert_eq!(told(txn(*state).end(NOW, producer(8, 4), committed)), MAPPING, "{state:?}");
        }
    }
}

#[test]
fn adding_and_verifying_partitions() {
    use State::*;
    let (new, known) = (vec![(Name::from("out"), vec![0, 1])], vec![(Name::from("out"), vec![2])]);
    let rows: &[(State, &str, &str, Result<i16, i16>)] = &[
        (Empty, "Ongoing 7:4", "Ongoing 7:4", Ok(120)),
        (Ongoing, "Ongoing 7:4", "done", Ok(0)),
        (PrepareCommit, "wait", "wait", Err(51)),
        (PrepareAbort, "wait", "wait", Err(51)),
        (CompleteCommit, "Ongoing 7:4", "Ongoing 7:4", Ok(120)),
        (CompleteAbort, "Ongoing 7:4", "Ongoing 7:4", Ok(120)),
    ];
    for (state, adds_new, adds_known, verified) in rows {
        for adding in [Adding::Named, Adding::Implicit] {
            let add = |who, topics| told(txn(*state).add_partitions(NOW, who, topics, adding));
            assert_eq!(add(producer(7, 4), &new), *adds_new, "{state:?}");
            assert_eq!(add(producer(7, 4), &known), *adds_known, "{state:?}");
            assert_eq!(add(producer(7, 3), &known), FENCED, "{state:?}: a delayed produce of the transaction before");
            assert_eq!(add(producer(7, 5), &known), FENCED, "{state:?}");
            assert_eq!(add(producer(8, 4), &known), MAPPING, "{state:?}");
        }
        let verify = |who| txn(*state).verify(who, &known).map(|codes| codes[0][0]);
        assert_eq!(verify(producer(7, 4)), *verified, "{state:?}");
        assert_eq!(verify(producer(7, 3)), Err(90), "{state:?}");
        assert_eq!(verify(producer(8, 4)), Err(49), "{state:?}");
    }
    let Outcome::Changes(begun, ()) = txn(CompleteCommit).add_partitions(NOW, producer(7, 4), &known, Adding::Named)
    else {
        panic!("a transaction begins")
    };
    assert_eq!((begun.start_ms, begun.version, begun.topics), (NOW, 0, known.clone()));
    let Outcome::Changes(grown, ()) = txn(Ongoing).add_partitions(NOW, producer(7, 4), &new, Adding::Implicit) else {
        panic!("it grows")
    };
    assert_eq!((grown.start_ms, grown.version), (1000, 2));
    assert_eq!(grown.topics, [(Name::from("out"), vec![0, 1, 2])]);
}

#[test]
fn producers_begin_and_come_back() {
    use State::*;
    let exhausted = |state| Txn { producer: producer(7, i16::MAX - 1), ..txn(state) };
    let rows: &[(Txn, Option<Producer>, &str, &str)] = &[
        (unborn(99), None, "Empty 99:0", "never heard of"),
        (unborn(99), Some(producer(5, 3)), "Empty 99:0", "forgotten meanwhile: it gets a new identity"),
        (txn(Empty), None, "Empty 7:5", "another instance fences the one before"),
        (txn(CompleteCommit), None, "Empty 7:5", "another instance fences the one before"),
        (txn(CompleteAbort), Some(producer(7, 4)), "Empty 7:5", "it goes on after an error (KIP-360)"),
        (txn(CompleteAbort), Some(producer(7, 3)), "Empty 7:4", "it asks again and is told the same"),
        (txn(CompleteAbort), Some(producer(7, 2)), FENCED, "another instance came between"),
        (txn(Empty), Some(producer(8, 4)), FENCED, "another instance has another id"),
        (txn(Ongoing), None, "PrepareAbort 7:5", "what is open is aborted first"),
        (txn(Ongoing), Some(producer(7, 4)), "PrepareAbort 7:5", "what is open is aborted first"),
        (txn(PrepareCommit), None, CONCURRENT, "an end goes on"),
        (txn(PrepareAbort), Some(producer(7, 4)), CONCURRENT, "an end goes on"),
        (exhausted(Empty), None, "Empty 99:0", "no epochs left: another id"),
        (exhausted(CompleteCommit), Some(producer(7, i16::MAX - 1)), "Empty 99:0", "no epochs left: another id"),
    ];
    for (before, known, want, why) in rows {
        assert_eq!(told(before.init(NOW, 1000, *known, FRESH)), *want, "{before:?} {known:?}: {why}");
    }
    // It asks again for the id that came after its last epoch.
    let Outcome::Changes(rotated, _) = exhausted(Empty).init(NOW, 1000, Some(producer(7, i16::MAX - 1)), FRESH) else {
        panic!("another id")
    };
    let again = rotated.init(NOW, 1000, Some(producer(7, i16::MAX - 1)), 100);
    assert_eq!(told(again), "Empty 99:0");
    assert_eq!(told(rotated.init(NOW, 1000, Some(producer(7, 5)), 100)), FENCED);
}

#[test]
fn the_last_epoch_is_the_coordinators() {
    let before = Txn { producer: producer(7, i16::MAX - 1), ..txn(State::Ongoing) };
    // An end takes another id, which is the producer's when the end is over.
    let Outcome::Changes(ended, told_to) = before.end_bumping(NOW, before.producer, true, Some(FRESH)) else {
        panic!("it ends")
    };
    assert_eq!((ended.producer, told_to), (producer(7, i16::MAX), producer(FRESH, 0)));
    let over = ended.completed(NOW);
    assert_eq!((over.producer, over.previous_id, over.next_id), (producer(FRESH, 0), 7, -1));
    // The same end again, during and after; then the next transaction, during and after.
    assert_eq!(told(ended.end_bumping(NOW, before.producer, true, Some(100))), CONCURRENT);
    assert_eq!(told(over.end_bumping(NOW, before.producer, true, Some(100))), "done");
    let topics = [(Name::from("out"), vec![0])];
    assert_eq!(told(ended.add_partitions(NOW, told_to, &topics, Adding::Implicit)), "wait");
    assert_eq!(told(over.add_partitions(NOW, told_to, &topics, Adding::Implicit)), "Ongoing 99:0");
    // Without an id at hand nothing is decided; a fence takes the last epoch, and whoever claims that is refused.
    assert_eq!(told(before.end_bumping(NOW, before.producer, true, None)), "error 15");
    let fenced = before.fence(NOW).completed(NOW);
    assert_eq!(fenced.producer, producer(7, i16::MAX));
    assert_eq!(told(fenced.end_bumping(NOW, fenced.producer, false, Some(FRESH))), FENCED);
    assert_eq!(told(fenced.add_partitions(NOW, fenced.producer, &topics, Adding::Named)), FENCED);
    assert_eq!(told(fenced.init(NOW, 1000, None, FRESH)), "Empty 99:0");
}

/// A producer that was slow finds its transaction aborted by the coordinator, which took its epoch: nobody has come in its place. What it asks tells it so
/// by the code that Kafka answers; Java's producer dies of PRODUCER_FENCED, and its abort goes well.
#[test]
fn a_producer_whose_transaction_took_too_long() {
    use State::*;
    let ending = txn(Ongoing).fence(NOW);
    let over = ending.completed(NOW);
    assert_eq!(
        (ending.state, ending.producer, over.state, over.producer),
        (PrepareAbort, producer(7, 5), CompleteAbort, producer(7, 5))
    );
    let (slow, topics) = (producer(7, 4), [(Name::from("out"), vec![0])]);
    type Asks<'a> = &'a dyn Fn(&Txn) -> String;
    let rows: &[(&str, Asks, &str, &str)] = &[
        ("EndTxn 5, abort", &|txn| told(txn.end_bumping(NOW, slow, false, None)), CONCURRENT, "done"),
        ("EndTxn 5, commit", &|txn| told(txn.end_bumping(NOW, slow, true, None)), STATE, STATE),
        ("EndTxn 4, abort", &|txn| told(txn.end(NOW, slow, false)), FENCED, FENCED),
        ("AddPartitionsToTxn", &|txn| told(txn.add_partitions(NOW, slow, &topics, Adding::Named)), FENCED, FENCED),
        (
            "Produce, TxnOffsetCommit",
            &|txn| told(txn.add_partitions(NOW, slow, &topics, Adding::Implicit)),
            FENCED,
            FENCED,
        ),
        ("InitProducerId, naming itself", &|txn| told(txn.init(NOW, 1000, Some(slow), FRESH)), CONCURRENT, FENCED),
        ("InitProducerId", &|txn| told(txn.init(NOW, 1000, None, FRESH)), CONCURRENT, "Empty 7:6"),
    ];
    for (asked, what, while_it_ends, when_it_is_over) in rows {
        assert_eq!((&*what(&ending), &*what(&over)), (*while_it_ends, *when_it_is_over), "{asked}");
    }
    // Its abort told it the epoch that goes on; asked after a restart as well.
    let Outcome::Done(next) = over.end_bumping(NOW, slow, false, None) else { panic!("it is over") };
    assert_eq!(told(over.add_partitions(NOW, next, &topics, Adding::Implicit)), "Ongoing 7:5");
}

/// The answer to an end is lost with the broker. What the log says is enough to answer the same end again, wherever the crash came.
#[test]
fn an_end_that_is_asked_again_after_a_restart() {
    let before = txn(State::Ongoing);
    for committed in [true, false] {
        let Outcome::Changes(ended, next) = before.end_bumping(NOW, before.producer, committed, None) else {
            panic!("it ends")
        };
        // A restart forgets the epoch before.
        let restarted = |txn: &Txn| Txn { last_epoch: -1, ..txn.clone() };
        let again = |txn: &Txn| restarted(txn).end_bumping(NOW, before.producer, committed, None);
        let begun = format!("Prepare{} 7:5", if committed { "Commit" } else { "Abort" });
        assert_eq!(told(again(&before)), begun, "nothing was written");
        assert_eq!(told(again(&ended)), CONCURRENT, "it was decided");
        let Outcome::Done(told_again) = again(&ended.completed(NOW)) else { panic!("it is over") };
        assert_eq!(told_again, next);
    }
}
