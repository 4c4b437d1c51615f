//! The judge judged: each table row is a history, and whether it must be condemned.

use super::*;

/// A step of a history on one partition.
enum Step {
    Ack(i64, RecordId),
    Show(i64, RecordId),
    /// A fetch answer naming this high watermark.
    End(i64),
    Start(i64),
    Delete(i64),
    Deleted(i64),
    Crash(Ending),
    Lookup(i64, Option<(i64, i64)>),
    /// A consumer gets a record whose bytes are not those sent.
    Corrupt(i64, RecordId),
}
use Step::*;

const R: [RecordId; 4] = [RecordId(1), RecordId(2), RecordId(3), RecordId(4)];

/// Records 1..=3 are of one idempotent producer, in this order, with timestamps 100, 200, 300; record 4 is of one without idempotence (400).
fn judge(tier: Tier, steps: &[Step]) -> Vec<String> {
    let mut oracle = Oracle::new();
    let topic = oracle.add_topic(tier, false, false);
    let tp = Tp { topic, partition: 0 };
    for i in 0..4u64 {
        let (once, order) = if i < 3 { (true, Some((1, i))) } else { (false, None) };
        oracle.sending(Sent { tp, timestamp_ms: (i as i64 + 1) * 100, keyed: false, once, order });
    }
    for step in steps {
        let expected = oracle.expect(tp);
        match *step {
            Ack(offset, record) => oracle.acked(tp, offset, &[record], None),
            Show(offset, record) => {
                let made = content::content(record);
                let timestamp_ms = oracle.record(record).unwrap().timestamp_ms;
                let (key, value) = (made.key.as_deref(), made.value.as_deref());
                oracle.seen(tp, Seen { offset, timestamp_ms, key, value, headers: &made.headers });
            }
            Corrupt(offset, record) => {
                let made = content::content(record);
                let mut value = made.value.unwrap();
                *value.last_mut().unwrap() ^= 1;
                let value = Some(&value[..]);
                let timestamp_ms = oracle.record(record).unwrap().timestamp_ms;
                oracle.seen(tp, Seen { offset, timestamp_ms, key: made.key.as_deref(), value, headers: &made.headers });
            }
            End(offset) => oracle.high_watermark(tp, &expected, offset),
            Start(offset) => oracle.log_start(tp, &expected, offset),
            Delete(before) => oracle.deleting(tp, before),
            Deleted(low) => oracle.deleted(tp, low),
            Crash(ending) => oracle.crashed(ending),
            Lookup(timestamp, answer) => oracle.looked_up(tp, &expected, timestamp, answer),
        }
    }
    oracle.violations().to_vec()
}

fn check(tier: Tier, rows: &[(&str, bool, &[Step])]) {
    for (name, holds, steps) in rows {
        let found = judge(tier, steps);
        assert_eq!(found.is_empty(), *holds, "{name}: {found:?}");
    }
}

#[test]
fn flushed() {
    check(
        Tier::Flushed,
        &[
            ("acknowledged and read back", true, &[Ack(0, R[0]), Ack(1, R[1]), End(2), Show(0, R[0]), Show(1, R[1])]),
            ("survives power loss", true, &[Ack(0, R[0]), Crash(Ending::Power), End(1), Show(0, R[0])]),
            ("acknowledged and lost", false, &[Ack(0, R[0]), Crash(Ending::Power), End(0)]),
            ("shown and lost", false, &[Show(0, R[0]), Crash(Ending::Power), End(0)]),
            ("lost in a kill", false, &[Ack(0, R[0]), Crash(Ending::Process), End(0)]),
            ("offset used again", false, &[Show(0, R[0]), Crash(Ending::Power), Ack(0, R[1])]),
            ("twice", false, &[Ack(0, R[0]), Show(1, R[0])]),
            ("twice without idempotence", true, &[Ack(0, R[3]), Show(1, R[3]), Show(0, R[3])]),
            ("out of order", false, &[Ack(0, R[1]), Ack(1, R[0])]),
            ("out of order, found later", false, &[Ack(1, R[0]), Show(0, R[2])]),
            ("high watermark back", false, &[End(5), End(4)]),
            ("other bytes", false, &[Corrupt(0, R[0])]),
            ("out of order when shown", false, &[Show(0, R[0]), Show(1, R[2]), Show(2, R[1])]),
            ("log start moves by itself", false, &[Ack(0, R[0]), Start(1)]),
            ("log start moves as asked", true, &[Ack(0, R[0]), Delete(1), Start(1), Start(0), Deleted(1), Start(1)]),
            ("deletion comes back", false, &[Ack(0, R[0]), Delete(1), Deleted(1), Crash(Ending::Power), Start(0)]),
            ("deleted more than asked", false, &[Ack(0, R[0]), Delete(1), Deleted(2)]),
            (
                "tail damaged at rest: a suffix may go",
                true,
                &[Ack(0, R[0]), Ack(1, R[1]), Crash(Ending::TailDamaged), End(1), Show(0, R[0]), Ack(1, R[1])],
            ),
            (
                "tail damaged at rest: not the middle",
                false,
                &[Ack(0, R[0]), Ack(1, R[1]), Crash(Ending::TailDamaged), End(2), Show(1, R[1]), Show(0, R[3])],
            ),
            ("lookup", true, &[Ack(0, R[0]), Ack(1, R[1]), Lookup(150, Some((1, 200))), Lookup(500, None)]),
            ("lookup too late", false, &[Ack(0, R[0]), Ack(1, R[1]), Lookup(50, Some((1, 200)))]),
            ("lookup too old", false, &[Ack(0, R[0]), Lookup(150, Some((0, 100)))]),
            ("lookup finds nothing", false, &[Ack(0, R[0]), Lookup(50, None)]),
        ],
    );
}

#[test]
fn lesser_tiers() {
    let lost: &[Step] =
        &[Ack(0, R[0]), Ack(1, R[1]), Crash(Ending::Power), End(1), Show(0, R[0]), Ack(1, R[2]), Show(1, R[2])];
    check(
        Tier::Written,
        &[
            ("power loss may cost the tail", true, lost),
            ("a kill must not", false, &[Ack(0, R[0]), Crash(Ending::Process), End(0)]),
        ],
    );
    check(
        Tier::Memory,
        &[
            ("power loss may cost the tail", true, lost),
            ("so may a kill", true, &[Ack(0, R[0]), Crash(Ending::Process), End(0), Ack(0, R[1])]),
            ("a clean stop must not", false, &[Ack(0, R[0]), Crash(Ending::Clean), End(0)]),
            (
                "sent again and at its old place by chance: it vouches for nothing",
                true,
                &[Show(0, R[0]), Show(1, R[3]), Crash(Ending::Power), Ack(1, R[3]), Show(0, R[3])],
            ),
            ("what survived stays", false, &[Ack(0, R[0]), Crash(Ending::Power), Show(0, R[0]), End(0)]),
            (
                "a survivor vouches for all before it",
                false,
                &[Ack(0, R[0]), Ack(1, R[1]), Crash(Ending::Power), Show(1, R[1]), Show(0, R[3])],
            ),
        ],
    );
}

#[test]
fn nobodys_bytes() {
    let mut oracle = Oracle::new();
    let topic = oracle.add_topic(Tier::Flushed, false, false);
    let tp = Tp { topic, partition: 0 };
    oracle.seen(tp, Seen { offset: 0, timestamp_ms: 0, key: None, value: Some(b"garbage!"), headers: &[] });
    assert_eq!(oracle.violations().len(), 1);
}

#[test]
fn compaction_may_take_what_something_later_stands_for() {
    let content = |n: u64| content::content(RecordId(n));
    let keyed: Vec<u64> = (1..2000).filter(|n| content(*n).key.is_some() && content(*n).value.is_some()).collect();
    let (first, second) = keyed
        .iter()
        .find_map(|a| Some((*a, *keyed.iter().find(|b| *b > a && content(**b).key == content(*a).key)?)))
        .unwrap();
    let other = *keyed.iter().find(|n| content(**n).key != content(first).key).unwrap();
    let keyless = (1..2000).find(|n| content(*n).key.is_none()).unwrap();
    // What stands at offsets 0 to 2, which of them are shown, whether that is right.
    let rows: [([u64; 3], &[usize], bool); 6] = [
        ([first, second, other], &[0, 1, 2], true),
        ([first, second, other], &[1, 2], true),
        ([first, second, other], &[0, 2], false),
        ([first, other, keyless], &[0, 1], true),
        ([first, other, keyless], &[1, 2], false),
        ([second, other, first], &[1], false),
    ];
    for (records, shown, holds) in rows {
        let mut oracle = Oracle::new();
        let topic = oracle.add_topic(Tier::Flushed, false, false);
        oracle.allow_compaction(topic);
        let tp = Tp { topic, partition: 0 };
        for _ in 0..2000 {
            oracle.sending(Sent { tp, timestamp_ms: 5, keyed: false, once: true, order: None });
        }
        oracle.acked(tp, 0, &records.map(RecordId), None);
        let offsets: Vec<i64> = shown.iter().map(|i| *i as i64).collect();
        oracle.compacted(tp, 0, 3, &offsets);
        oracle.all_shown(tp);
        assert_eq!(oracle.violations().is_empty(), holds, "{records:?}, {shown:?} shown: {:?}", oracle.violations());
    }
}
