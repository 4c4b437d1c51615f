//! The way of an end: durable, markers, completion, through refusals and crashes.

use super::*;

fn opened(adding: Adding) -> (World, Producer) {
    let mut world = World::new();
    let me = world.init(None).expect("an identity");
    assert_eq!(world.add(me, adding), Ok(vec![vec![0, 0], vec![0]]));
    (world, me)
}

#[test]
fn a_commit_writes_each_partition_its_marker_and_completes() {
    for (bumps, adding) in [(false, Adding::Named), (true, Adding::Implicit)] {
        let (mut world, me) = opened(adding);
        let raised = producer(me.id, me.epoch + i16::from(bumps));
        assert_eq!(world.end(me, true, bumps), Ok(raised));
        assert_eq!(world.state(), "PrepareCommit");
        assert_eq!(world.mark(), [(raised, true, if bumps { 2 } else { 0 }, 3)]);
        assert_eq!(world.state(), "CompleteCommit");
        // Asked again it is the same, and the next transaction begins.
        assert_eq!(world.end(me, true, bumps), Ok(raised));
        assert!(world.add(raised, adding).is_ok());
        assert_eq!(world.state(), "Ongoing");
        assert_eq!(world.end(me, true, bumps).err(), bumps.then_some(codes::PRODUCER_FENCED), "a delayed end");
    }
}

#[test]
fn no_marker_goes_out_before_the_end_is_durable() {
    let (mut world, me) = opened(Adding::Implicit);
    world.held = Some(Vec::new());
    assert!(world.end(me, true, true).is_ok());
    world.pump();
    assert_eq!(world.endings(), []);
    for key in world.held.take().expect("it is held") {
        world.coordinator.durable(world.now, key);
    }
    assert_eq!(world.endings().len(), 1);
}

#[test]
fn what_comes_during_an_end_waits_for_it() {
    let (mut world, me) = opened(Adding::Implicit);
    let next = world.end(me, false, true).expect("it ends");
    let waits = world.ask(ID, adding_of(next, Adding::Implicit));
    assert_eq!(world.answers.remove(&waits), None);
    world.mark();
    assert_eq!(world.answers.remove(&waits), Some(TxnAnswer::Added(Ok(vec![vec![0, 0], vec![0]]))));
    assert_eq!(world.state(), "Ongoing");
    // Not longer than a second, and not more than so many.
    let next = world.end(next, false, true).expect("it ends");
    let asked: Vec<u64> = (0..101).map(|_| world.ask(ID, adding_of(next, Adding::Implicit))).collect();
    let concurrent = Some(TxnAnswer::Added(Err(codes::CONCURRENT_TRANSACTIONS)));
    assert_eq!(world.answers.remove(&asked[100]), concurrent);
    world.pass(Duration::from_millis(999));
    assert!(world.answers.is_empty());
    world.pass(Duration::from_millis(1));
    assert!(asked[..100].iter().all(|asked| world.answers.remove(asked) == concurrent));
    world.mark();
    assert!(world.answers.is_empty());
}

#[test]
fn markers_are_repeated_until_each_is_taken_or_needs_none() {
    let (mut world, me) = opened(Adding::Implicit);
    world.end(me, true, true).expect("it ends");
    let ending = world.endings().remove(0);
    let outcomes = [codes::NOT_ENOUGH_REPLICAS, codes::NONE, codes::KAFKA_STORAGE_ERROR];
    for (place, code) in ending.partitions.iter().zip(outcomes) {
        world.coordinator.marked(world.now, &ending.key, ending.producer, place, code);
    }
    assert_eq!(world.endings(), [], "not at once");
    world.pass(Duration::from_millis(100));
    let again = world.endings().remove(0);
    assert_eq!(again.partitions, [ending.partitions[0].clone(), ending.partitions[2].clone()]);
    world.answer_markers(&again, codes::UNKNOWN_TOPIC_OR_PARTITION);
    world.pump();
    assert_eq!(world.state(), "CompleteCommit");
    // A late answer says nothing about what has begun since.
    world.answer_markers(&ending, codes::NONE);
    world.pump();
    assert_eq!(world.state(), "CompleteCommit");
}

#[test]
fn an_end_goes_on_after_a_crash_wherever_it_was() {
    for committed in [true, false] {
        let (mut world, me) = opened(Adding::Implicit);
        let raised = world.end(me, committed, true).expect("it ends");
        // Nothing was sent; something was sent and its answer lost; everything was answered and the completion lost.
        for _ in 0..3 {
            world = world.crash();
            assert_eq!(world.endings()[0].committed, committed);
        }
        world = world.crash();
        world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
        assert_eq!(world.mark(), [(raised, committed, 2, 3)]);
        assert!(world.state().starts_with("Prepare"), "what cannot be written stays due");
        world.disk_full = None;
        world.pump();
        assert!(world.state().starts_with("Complete"));
        world = world.crash();
        assert_eq!(world.endings(), []);
        assert!(world.add(raised, Adding::Implicit).is_ok());
    }
}

#[test]
fn a_refused_end_changes_nothing() {
    let (mut world, me) = opened(Adding::Implicit);
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(world.end(me, true, true), Err(codes::COORDINATOR_NOT_AVAILABLE));
    assert_eq!((world.state(), world.endings()), ("Ongoing", Vec::new()));
    world.disk_full = None;
    assert!(world.end(me, true, true).is_ok());
}

#[test]
fn a_new_instance_aborts_what_the_old_one_left_open() {
    for adding in [Adding::Named, Adding::Implicit] {
        let (mut world, old) = opened(adding);
        assert_eq!(world.init(None), Err(codes::CONCURRENT_TRANSACTIONS));
        assert_eq!(world.init(None), Err(codes::CONCURRENT_TRANSACTIONS));
        let version = if adding == Adding::Implicit { 2 } else { 0 };
        assert_eq!(world.mark(), [(producer(old.id, old.epoch + 1), false, version, 3)]);
        assert_eq!(world.init(None), Ok(producer(old.id, old.epoch + 2)));
        for bumps in [true, false] {
            assert_eq!(world.end(old, true, bumps), Err(codes::PRODUCER_FENCED));
        }
        assert_eq!(world.add(old, adding), Err(codes::PRODUCER_FENCED));
    }
}

/// Partitions on the coordinator's own shard: their markers stand in its journal behind the end.
#[test]
fn an_end_is_over_at_once_where_every_marker_shares_its_journal() {
    let (mut world, me) = opened(Adding::Implicit);
    world.held = Some(Vec::new());
    let raised = world.end(me, true, true).expect("it ends");
    let decided = world.coordinator.next_decided().expect("it was decided");
    assert_eq!((decided.producer, decided.committed, decided.version, decided.partitions.len()), (raised, true, 2, 3));
    assert_eq!(world.coordinator.next_decided(), None, "once");
    for place in &decided.partitions {
        assert_eq!(
            world.log.last().and_then(|record| record.value.as_ref()).map(|txn| txn.state),
            Some(State::PrepareCommit)
        );
        world.coordinator.marked_beside(&decided.key, raised, place);
    }
    world.pump();
    assert_eq!(world.state(), "CompleteCommit");
    // The next one has begun and ended before the first end is durable: only when it is durable itself its markers go out.
    assert!(world.add(raised, Adding::Implicit).is_ok());
    let last = world.end(raised, false, true).expect("it ends");
    let held = world.held.take().expect("it is held");
    assert_eq!(held.len(), 2);
    world.coordinator.durable(world.now, held[0].clone());
    assert_eq!(world.endings(), []);
    world.coordinator.durable(world.now, held[1].clone());
    assert_eq!(world.mark(), [(last, false, 2, 3)]);
    assert_eq!(world.state(), "CompleteAbort");
    assert_eq!(world.coordinator.next_decided(), None, "it is over");
}

#[test]
fn markers_for_other_shards_go_out_when_the_end_is_durable() {
    let (mut world, me) = opened(Adding::Implicit);
    world.held = Some(Vec::new());
    let raised = world.end(me, true, true).expect("it ends");
    let decided = world.coordinator.next_decided().expect("it was decided");
    world.coordinator.marked_beside(&decided.key, raised, &decided.partitions[1]);
    // Somebody else's, and one that is gone, say nothing.
    world.coordinator.marked_beside(&decided.key, me, &decided.partitions[0]);
    world.coordinator.marked_beside(&decided.key, raised, &decided.partitions[1]);
    world.pump();
    assert_eq!((world.state(), world.endings()), ("PrepareCommit", Vec::new()));
    let key = world.held.take().expect("it is held").remove(0);
    world.coordinator.durable(world.now, key);
    let ending = world.endings().remove(0);
    assert_eq!(ending.partitions, [decided.partitions[0].clone(), decided.partitions[2].clone()]);
    world.answer_markers(&ending, codes::NONE);
    world.pump();
    assert_eq!(world.state(), "CompleteCommit");
}

/// Who only appends behind it is told before it is durable; who tells a client is not.
#[test]
fn only_what_is_granted_is_told_at_once() {
    let mut world = World::new();
    let me = world.init(None).expect("an identity");
    for (asked, adding, at_once) in [
        (me, Adding::Verify, false),
        (producer(me.id, me.epoch + 1), Adding::Implicit, false),
        (me, Adding::Implicit, true),
        (me, Adding::Implicit, true),
        (me, Adding::Verify, true),
    ] {
        for beside in [true, false] {
            let TxnRequest::AddPartitions { producer, topics, adding, .. } = adding_of(asked, adding) else { panic!() };
            let request = TxnRequest::AddPartitions { producer, topics, adding, beside };
            let call = TxnCall { partition: PARTITION, id: ID.into(), request };
            let decision = world.coordinator.request(world.now, (ShardId(0), 0), call);
            assert_eq!(decision.at_once, at_once && beside, "{adding:?} {beside}");
            if beside {
                continue;
            }
            world.carry_out(decision);
            world.answers.clear();
        }
    }
}
