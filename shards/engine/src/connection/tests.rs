use super::*;

const CONN: ConnId = ConnId(1);
const NOW: Time = Time { mono_ns: 7, wall_ms: 0 };

struct Bed {
    now: Time,
    connection: Connection,
    pressure: Pressure,
    metrics: ShardMetrics,
    fx: Effects,
}

impl Bed {
    fn new() -> Bed {
        let mut connection = Connection::new(NOW, "127.0.0.1:1".parse().unwrap(), 0, ShardId(0));
        connection.standing = Standing::Counted;
        Bed {
            now: NOW,
            connection,
            pressure: Pressure::default(),
            metrics: ShardMetrics::default(),
            fx: Effects::new(),
        }
    }

    /// Reads a request of an API; the numbers of those that begin.
    fn read(&mut self, key: u8) -> Vec<u64> {
        self.connection.take(self.now, Bytes::copy_from_slice(&[0, key, 0, 0]), &mut self.pressure);
        self.begin()
    }

    fn begin(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.connection.next(CONN, (self.now, 0), &mut self.metrics, &mut self.fx))
            .map(|(request, _)| request)
            .collect()
    }

    fn end(&mut self, request: u64, ending: Ending) {
        self.connection.end((CONN, request), self.now, ending, (&mut self.pressure, &mut self.metrics), &mut self.fx);
    }

    fn reply(&mut self, request: u64, bytes: usize) {
        let parts = vec![ReplyPart::Mem(vec![0; bytes].into())];
        self.end(request, Ending::Reply(Reply { parts }));
    }

    /// What the driver was told since last asked: `r`eply, `c`lose, `p`ause, go `o`n, `d`etach.
    fn told(&mut self) -> String {
        let name = |effect| match effect {
            Effect::Reply { .. } => 'r',
            Effect::Close { .. } => 'c',
            Effect::PauseReads { .. } => 'p',
            Effect::ResumeReads { .. } => 'o',
            Effect::Detach { .. } => 'd',
            other => panic!("{other:?}"),
        };
        self.fx.drain(..).map(name).collect()
    }
}

#[test]
fn replies_keep_the_order_of_requests() {
    let mut bed = Bed::new();
    let numbers: Vec<u64> = (0..3).flat_map(|_| bed.read(3)).collect();
    bed.reply(numbers[1], 10);
    assert_eq!(bed.told(), "");
    bed.end(numbers[0], Ending::Silence);
    assert_eq!(bed.told(), "r");
    bed.end(numbers[2], Ending::Close);
    assert_eq!(bed.told(), "c");
    assert!(bed.connection.is_closed() && bed.read(3).is_empty());
}

#[test]
fn too_many_at_once_stop_the_reading() {
    let mut bed = Bed::new();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX - 1 {
        assert_eq!(bed.read(0).len(), 1);
    }
    assert_eq!(bed.told(), "");
    assert_eq!(bed.read(0).len(), 1);
    assert_eq!(bed.told(), "p");
    assert!(bed.read(0).is_empty(), "it had been read already");
    bed.end(0, Ending::Silence);
    assert_eq!(bed.begin(), [REQUESTS_IN_FLIGHT_MAX as u64]);
    for request in 1..=REQUESTS_IN_FLIGHT_MAX as u64 / 2 {
        bed.end(request, Ending::Silence);
    }
    assert!(bed.connection.wants_turn() && bed.begin().is_empty());
    assert_eq!(bed.told(), "o");
    assert!(!bed.connection.wants_turn());
}

#[test]
fn one_fetch_at_a_time_and_nothing_overtakes_the_next() {
    let mut bed = Bed::new();
    assert_eq!((bed.read(1), bed.read(0)), (vec![0], vec![1]));
    assert_eq!((bed.read(1), bed.read(0)), (vec![], vec![]), "a second fetch waits, and what is behind it");
    assert_eq!(bed.told(), "p");
    bed.reply(1, 5);
    assert!(bed.begin().is_empty());
    bed.reply(0, 5);
    assert_eq!(bed.begin(), [2, 3]);
    assert_eq!(bed.told(), "rro");
}

#[test]
fn who_does_not_read_answers_is_not_read_from() {
    let mut bed = Bed::new();
    bed.read(1);
    bed.reply(0, UNSENT_BYTES_MAX as usize);
    assert_eq!(bed.connection.unsent_since_ns(), Some(7));
    assert!(bed.read(3).is_empty());
    assert_eq!(bed.told(), "rp");
    bed.connection.sent(NOW, &mut bed.pressure, &mut bed.metrics);
    assert_eq!((bed.metrics.send_ns.count(), bed.metrics.request_ns[1].count()), (1, 1));
    assert_eq!((bed.begin(), bed.told()), (vec![1], "o".to_owned()));
}

#[test]
fn what_is_held_is_given_back_however_it_ends() {
    for ends in 0..6 {
        let mut bed = Bed::new();
        for _ in 0..3 {
            bed.read(1);
            bed.read(0);
        }
        bed.read(1);
        for request in 0..ends {
            bed.reply(request, 100);
            bed.begin();
        }
        assert!(bed.pressure.held() != (0, 0));
        if ends == 3 {
            bed.end(3, Ending::Close);
        }
        bed.connection.waits(ends, 70 + ends);
        bed.connection.waits(99, 1);
        let abandoned = bed.connection.gone(&mut bed.pressure);
        assert!(abandoned.iter().all(|token| *token == 70 + ends), "{abandoned:?}");
        assert_eq!(bed.pressure.held(), (0, 0), "{ends}");
    }
}

#[test]
fn waiting_for_a_turn_working_and_being_paused_are_timed() {
    let mut bed = Bed::new();
    let at = |ns| Time { mono_ns: ns, wall_ms: 0 };
    bed.now = at(1000);
    assert_eq!((bed.read(1), bed.read(1)), (vec![0], vec![]), "the second fetch waits and stops the reading");
    bed.now = at(3000);
    bed.reply(0, 5);
    assert_eq!(bed.begin(), [1]);
    assert_eq!((bed.metrics.turn_ns.count(), bed.metrics.turn_ns.sum_ns()), (2, 2000));
    assert_eq!(
        (bed.metrics.paused_ns, bed.metrics.working_ns),
        (2000, 0),
        "a fetch is no work: it may wait for records"
    );
    assert_eq!((bed.read(0), bed.read(3)), (vec![2], vec![3]));
    bed.now = at(4000);
    bed.reply(3, 5);
    assert_eq!(bed.metrics.working_ns, 0, "one of two is still at work");
    bed.now = at(9000);
    bed.reply(2, 5);
    assert_eq!(bed.metrics.working_ns, 6000);
}

#[test]
fn what_is_to_move_begins_nothing_more_and_rests_when_all_is_sent() {
    let mut bed = Bed::new();
    let first = bed.read(0)[0];
    bed.connection.go(ShardId(1));
    bed.connection.may_go(CONN, &mut bed.fx);
    assert!(bed.read(0).is_empty() && bed.read(1).is_empty(), "they wait for the next shard");
    assert_eq!(bed.told(), "p");
    bed.reply(first, 10);
    bed.connection.may_go(CONN, &mut bed.fx);
    assert_eq!(bed.told(), "r", "its answer is not sent yet");
    bed.connection.sent(NOW, &mut bed.pressure, &mut bed.metrics);
    assert!(bed.connection.wants_turn());
    bed.connection.may_go(CONN, &mut bed.fx);
    bed.connection.may_go(CONN, &mut bed.fx);
    assert_eq!(bed.told(), "d", "once");
    assert!(bed.connection.is_going() && bed.begin().is_empty());
    // A frame that was read before.
    assert!(bed.read(3).is_empty());
    assert_eq!(bed.connection.leave(&mut bed.pressure), ShardId(1));
    assert_eq!(bed.pressure.held(), (0, 0), "nothing of it is here");
    let mut there = Pressure::default();
    bed.connection.arrive(&mut there);
    assert_eq!(there.held(), (12, 0));
    assert_eq!(bed.begin().len(), 3, "what waited begins there, in order");
    assert_eq!(bed.told(), "", "the driver reads anyway");
}

#[test]
fn a_fetch_that_waits_holds_the_move_up_and_nothing_else() {
    let mut bed = Bed::new();
    let fetch = bed.read(1)[0];
    bed.connection.go(ShardId(1));
    let produce = bed.read(0)[0];
    bed.reply(fetch, 10);
    assert!(bed.read(0).is_empty(), "now it is about to go");
    bed.reply(produce, 10);
    bed.connection.sent(NOW, &mut bed.pressure, &mut bed.metrics);
    bed.connection.sent(NOW, &mut bed.pressure, &mut bed.metrics);
    bed.connection.may_go(CONN, &mut bed.fx);
    assert_eq!(bed.told(), "rprd");
}

#[test]
fn what_is_not_counted_yet_or_closed_does_not_move() {
    let mut bed = Bed::new();
    bed.connection.standing = Standing::Asked;
    bed.connection.go(ShardId(1));
    bed.connection.may_go(CONN, &mut bed.fx);
    assert_eq!(bed.told(), "");
    bed.connection.standing = Standing::Counted;
    bed.connection.close(&mut bed.pressure);
    bed.connection.may_go(CONN, &mut bed.fx);
    assert_eq!(bed.told(), "");
}

#[test]
fn nothing_begins_before_the_image_that_its_client_has_seen() {
    let mut bed = Bed::new();
    bed.connection.image_version_min = 5;
    assert!(bed.read(3).is_empty());
    assert_eq!(bed.told(), "p");
    assert!(bed.connection.next(CONN, (NOW, 4), &mut bed.metrics, &mut bed.fx).is_none());
    assert!(bed.connection.next(CONN, (NOW, 5), &mut bed.metrics, &mut bed.fx).is_some());
}
