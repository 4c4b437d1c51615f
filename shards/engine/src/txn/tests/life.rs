//! Time passes: transactions that take too long, ids that nobody uses; and who may ask what when.

use super::*;

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    for crash in [false, true] {
        let mut world = World::new();
        let me = world.init(None).expect("an identity");
        world.add(me, Adding::Implicit).expect("added");
        world.pass(Duration::from_secs(30));
        if crash {
            world = world.crash();
        }
        world.pass(Duration::from_secs(29));
        assert_eq!(world.state(), "Ongoing");
        // Looked at every ten seconds.
        world.pass(Duration::from_secs(11));
        assert_eq!(world.state(), "PrepareAbort");
        assert_eq!(world.mark(), [(producer(me.id, me.epoch + 1), false, 2, 3)]);
        assert_eq!(world.end(me, true, true), Err(codes::INVALID_TXN_STATE));
        assert_eq!(world.add(me, Adding::Implicit), Err(codes::PRODUCER_FENCED));
        assert_eq!(world.init(None), Ok(producer(me.id, me.epoch + 2)));
    }
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let mut world = World::new();
    let me = world.init(None).expect("an identity");
    world.pass(Duration::from_secs(6 * 86_400));
    assert_eq!(world.init(Some(me)), Ok(producer(me.id, 1)), "used");
    world.pass(Duration::from_secs(6 * 86_400));
    world = world.crash();
    assert_eq!(world.state(), "Empty");
    world.pass(Duration::from_secs(86_400 + 3600));
    assert_eq!(world.log.last(), Some(&TxnRecord { id: ID.into(), value: None }));
    assert_eq!(world.describe(), Err(codes::TRANSACTIONAL_ID_NOT_FOUND));
    assert_eq!(world.end(producer(me.id, 1), true, true), Err(codes::INVALID_PRODUCER_ID_MAPPING));
    assert_eq!(world.add(producer(me.id, 1), Adding::Named), Err(codes::INVALID_PRODUCER_ID_MAPPING));
    let new = world.init(Some(producer(me.id, 1))).expect("an identity");
    assert!(new.id != me.id && new.epoch == 0);
    assert_eq!(world.coordinator.metrics().states.iter().sum::<u64>(), 1);
}

#[test]
fn nobody_is_answered_by_the_wrong_coordinator() {
    let mut coordinator = Coordinator::new(TxnSettings::default());
    let now = Time::default();
    let ask = |coordinator: &mut Coordinator, partition, id: &str| {
        let call = TxnCall { partition, id: id.into(), request: TxnRequest::Describe };
        coordinator.request(now, (ShardId(0), 1), call).answers.remove(0).1
    };
    coordinator.load(PARTITION);
    let rows = [
        (PARTITION, ID, codes::COORDINATOR_LOAD_IN_PROGRESS),
        (PARTITION + 1, ID, codes::NOT_COORDINATOR),
        (PARTITION, "", codes::INVALID_REQUEST),
    ];
    for (partition, id, code) in rows {
        assert_eq!(ask(&mut coordinator, partition, id), TxnAnswer::Described(Err(code)), "{partition} {id:?}");
    }
    coordinator.loaded(now, PARTITION);
    let unknown = TxnAnswer::Described(Err(codes::TRANSACTIONAL_ID_NOT_FOUND));
    assert_eq!(ask(&mut coordinator, PARTITION, ID), unknown);
}

#[test]
fn timeouts_have_bounds() {
    let mut world = World::new();
    for (timeout_ms, ok) in [(0, false), (-1, false), (1, true), (900_000, true), (900_001, false), (i32::MAX, false)] {
        let answer = world.call(TxnRequest::Init { timeout_ms, known: None, fresh: 5 });
        match answer {
            TxnAnswer::Initialized(Ok(_)) => assert!(ok, "{timeout_ms}"),
            TxnAnswer::Initialized(Err(code)) => {
                assert!(!ok && code == codes::INVALID_TRANSACTION_TIMEOUT, "{timeout_ms}");
            }
            answer => panic!("{answer:?}"),
        }
    }
}

#[test]
fn who_waits_is_told_when_the_partition_goes() {
    let mut world = World::new();
    let me = world.init(None).expect("an identity");
    world.add(me, Adding::Implicit).expect("added");
    let next = world.end(me, true, true).expect("it ends");
    let waits = world.ask(ID, adding_of(next, Adding::Implicit));
    for decision in world.coordinator.unload(PARTITION, codes::NOT_COORDINATOR) {
        world.carry_out(decision);
    }
    assert_eq!(world.answers.remove(&waits), Some(TxnAnswer::Added(Err(codes::NOT_COORDINATOR))));
    assert_eq!((world.endings(), world.coordinator.next_deadline()), (Vec::new(), None));
}

#[test]
fn lists_are_filtered() {
    let mut world = World::new();
    for id in ["a", "b"] {
        world.ask(id, TxnRequest::Init { timeout_ms: 60_000, known: None, fresh: if id == "a" { 1 } else { 2 } });
    }
    let topics = vec![(Name::from("out"), vec![0])];
    world
        .ask("b", TxnRequest::AddPartitions { producer: producer(2, 0), topics, adding: Adding::Named, beside: false });
    world.pass(Duration::from_secs(5));
    let filter = |states: &[&str], producers: &[i64], longer_than_ms| TxnFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        producers: producers.to_vec(),
        longer_than_ms,
    };
    let rows: &[(TxnFilter, &[&str])] = &[
        (filter(&[], &[], -1), &["a", "b"]),
        (filter(&["Ongoing"], &[], -1), &["b"]),
        (filter(&["Empty", "nonsense"], &[], -1), &["a"]),
        (filter(&["nonsense"], &[], -1), &[]),
        (filter(&[], &[2, 3], -1), &["b"]),
        (filter(&["Ongoing"], &[], 4999), &["b"]),
        (filter(&["Ongoing"], &[], 5000), &[]),
    ];
    for (filter, want) in rows {
        let asked = world.ask("", TxnRequest::List(filter.clone()));
        let Some(TxnAnswer::Listed(Ok(listed))) = world.answers.remove(&asked) else { panic!("no list") };
        let ids: Vec<&str> = listed.iter().map(|listed| &*listed.id).collect();
        assert_eq!(&ids, want, "{filter:?}");
    }
}
