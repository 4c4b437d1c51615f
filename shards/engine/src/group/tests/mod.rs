//! Coordinators in virtual time, each rule of Kafka a row or a scenario.

use super::partition_of;

#[test]
fn groups_lie_where_kafka_puts_them() {
    // Java: "hello".hashCode() is 99162322, "polygenelubricants".hashCode() is Integer.MIN_VALUE, "\u{1f980}" is two units.
    for (group, partitions, expected) in [
        ("hello", 50, 22),
        ("polygenelubricants", 50, 0),
        ("", 50, 0),
        ("hello", 1, 0),
        ("\u{1f980}", 50, (55358 * 31 + 56704) % 50),
    ] {
        assert_eq!(partition_of(group, partitions), expected, "{group}");
    }
}
