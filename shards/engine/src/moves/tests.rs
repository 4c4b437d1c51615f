use super::*;

const OWN: ShardId = ShardId(1);
const WINDOW: u32 = 8;
const INTERVAL_MS: u64 = 1000;

/// A shard of four, and a connection on it.
struct Bed {
    moves: Moves,
    traffic: Traffic,
    now: Time,
}

impl Bed {
    fn new() -> Bed {
        let moves = Moves::new(OWN, 4, WINDOW, INTERVAL_MS);
        // The clock has run for a while.
        Bed { moves, traffic: Traffic::default(), now: Time { mono_ns: 50 * SECOND_NS, wall_ms: 0 } }
    }

    /// Requests that call these owners, over and over until the window ends, a millisecond apart: where the connection goes.
    fn window(&mut self, owners: &[&[u16]]) -> Option<u16> {
        for at in 0..WINDOW as usize {
            self.now.mono_ns += 1_000_000;
            let called = owners[at % owners.len()].iter().map(|owner| ShardId(*owner));
            let to = self.moves.called(self.now, &mut self.traffic, called);
            if at + 1 == WINDOW as usize {
                return to.map(|to| to.0);
            }
            assert_eq!(to, None, "the window has not ended");
        }
        unreachable!("the window ends")
    }

    fn loads(mut self, loads: [u64; 4]) -> Bed {
        self.moves.loads = loads.to_vec();
        self
    }
}

/// What it is about, whom the requests call, and where the connection goes.
type Row = (&'static str, &'static [&'static [u16]], Option<u16>);

#[test]
fn a_connection_goes_where_it_is_clearly_more_at_home() {
    let rows: &[Row] = &[
        ("all at another shard", &[&[3]], Some(3)),
        ("all here", &[&[1]], None),
        ("nowhere", &[&[]], None),
        ("every shard in every request", &[&[0, 1, 2, 3]], None),
        ("all but this one in every request: any would save a hop", &[&[0, 2, 3]], Some(3)),
        ("half here, half there", &[&[1], &[2]], None),
        ("a quarter here, three quarters there", &[&[1], &[2], &[2], &[2]], Some(2)),
        ("three of eight here, five there", &[&[1], &[2], &[1], &[2], &[1], &[2], &[2], &[2]], None),
        ("all shards in turn", &[&[0], &[1], &[2], &[3]], None),
        ("another shard in half of the requests, the rest nowhere", &[&[2], &[]], Some(2)),
        ("another shard in fewer", &[&[2], &[], &[2], &[], &[2], &[], &[], &[]], None),
    ];
    for (what, owners, expect) in rows {
        assert_eq!(Bed::new().window(owners), *expect, "{what}");
    }
}

#[test]
fn a_window_forgets_the_one_before() {
    let mut bed = Bed::new();
    assert_eq!(bed.window(&[&[1]]), None);
    assert_eq!(bed.window(&[&[2]]), Some(2));
    assert_eq!(bed.window(&[&[1]]), None);
}

#[test]
fn a_connection_that_has_come_stays_for_a_while() {
    let mut bed = Bed::new();
    bed.moves.came(bed.now, &mut bed.traffic);
    assert_eq!(bed.window(&[&[2]]), None, "it has just come");
    bed.now.mono_ns += INTERVAL_MS * 1_000_000;
    assert_eq!(bed.window(&[&[2]]), Some(2));
}

#[test]
fn nothing_moves_with_one_shard_or_when_switched_off() {
    assert!(!Moves::new(ShardId(0), 1, WINDOW, 0).is_on());
    assert!(!Moves::new(ShardId(0), 4, 0, 0).is_on());
    assert!(Moves::new(ShardId(0), 2, WINDOW, 0).is_on());
}

#[test]
fn a_shard_gives_so_many_away_in_a_second() {
    let mut bed = Bed::new();
    let mut moved = 0;
    let began_ns = bed.now.mono_ns;
    while bed.now.mono_ns < began_ns + SECOND_NS - 10_000_000 {
        moved += u32::from(bed.window(&[&[2]]).is_some());
        bed.moves.loads.fill(0);
    }
    assert_eq!(moved, MOVES_PER_SECOND_MAX);
    bed.now.mono_ns += SECOND_NS;
    assert_eq!(bed.window(&[&[2]]), Some(2), "the next second");
}

#[test]
fn nothing_moves_to_where_there_would_be_clearly_more_to_do() {
    const LIGHT: u64 = LOAD_LIGHT_NS;
    let rows: &[(&str, [u64; 4], Option<u16>)] = &[
        ("nobody has anything to do", [0; 4], Some(2)),
        ("all have the same to do", [LIGHT * 2; 4], Some(2)),
        ("the other one has little to do", [LIGHT * 2, LIGHT * 2, LIGHT / 2, LIGHT * 2], Some(2)),
        ("the other one has more, but light work still", [0, 0, LIGHT / 2, 0], Some(2)),
        ("the other one has twice as much", [LIGHT, LIGHT, LIGHT * 2, LIGHT], None),
        ("this one has as much as the other one", [0, LIGHT * 2, LIGHT * 2, 0], Some(2)),
        ("this one has less than the others", [LIGHT * 2, LIGHT / 4, LIGHT * 2, LIGHT * 2], None),
    ];
    for (what, loads, expect) in rows {
        assert_eq!(Bed::new().loads(*loads).window(&[&[2]]), *expect, "{what}");
    }
    // Bytes are work as well: 100 MB within some milliseconds is all that a core can do.
    let mut bed = Bed::new().loads([0, LIGHT, LIGHT, 0]);
    bed.traffic.bytes(100 << 20);
    assert_eq!(bed.window(&[&[2]]), None);
}

#[test]
fn those_that_move_count_at_once() {
    const BUSY: u64 = LOAD_LIGHT_NS * 4;
    // Each is a hundredth of what this shard does; the other one takes some, not all.
    let mut bed = Bed::new().loads([BUSY; 4]);
    let mut moved = 0;
    for _ in 0..50 {
        bed.traffic.bytes((BUSY / 100 / 600) * 1024 * u64::from(WINDOW) / 1000);
        moved += usize::from(bed.window(&[&[2]]).is_some());
    }
    assert!((5..30).contains(&moved), "{moved} of 50");
}

#[test]
fn a_shard_tells_its_load_when_it_has_changed() {
    let mut moves = Moves::new(OWN, 2, WINDOW, 0);
    let at = |seconds| Time { mono_ns: seconds * SECOND_NS, wall_ms: 0 };
    assert_eq!(moves.look(at(1), 100, 0), None, "since when is not known");
    assert_eq!(moves.look(at(2), 1100, 0), Some(1000 * REQUEST_COST_NS));
    assert_eq!(moves.look(at(3), 2100, 0), None, "as told");
    assert_eq!(moves.look(at(5), 4100, 2048 * 1024), Some(1000 * REQUEST_COST_NS + 1024 * KIBIBYTE_COST_NS));
    assert_eq!(moves.look(at(6), 4100, 2048 * 1024), Some(0));
    assert_eq!(moves.loads, [0, 0]);
    moves.heard(ShardId(0), 7);
    assert_eq!(moves.loads, [7, 0]);
}
