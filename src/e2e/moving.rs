//! Connections move between cores while a real client produces and consumes, which notices nothing.

use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::clients::{finish, python};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The values of a metric, by shard.
fn metric(broker: &Broker, name: &str) -> Vec<u64> {
    let (_, page) = broker.admin_page("/metrics").expect("the admin port answers");
    let of_name = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once(' '));
    of_name.map(|(_, value)| value.parse::<f64>().expect("a number") as u64).collect()
}

fn moves(values: &[&str], records: &str) -> u64 {
    let mut broker = Broker::start_with(4, values);
    let said = finish(python("moving_client.py").args([&broker.bootstrap(), records]));
    let moved = metric(&broker, "floe_connections_moved_total").into_iter().sum();
    assert!(said.is_ok(), "after {moved} moves: {}\n{}", said.unwrap_err(), broker.log());
    let end = Instant::now() + PATIENCE;
    while metric(&broker, "floe_connections").iter().any(|count| *count > 0) {
        assert!(Instant::now() < end, "connections stay: {:?}", metric(&broker, "floe_connections"));
        thread::sleep(Duration::from_millis(20));
    }
    broker.assert_alive();
    moved
}

#[test]
fn a_client_whose_connections_move_all_the_time_loses_nothing() {
    let often = [
        ["--set", "connections.move=true"],
        ["--set", "connections.move.requests=8"],
        ["--set", "connections.move.interval.ms=0"],
    ];
    // Eight partitions on four cores, one after the other: the producer follows them, and mostly the consumer as well.
    let moved = moves(&often.concat(), "2000");
    assert!(moved >= 8, "{moved} moves");
}

#[test]
fn nothing_moves_when_it_is_switched_off() {
    assert_eq!(moves(&["--set", "connections.move=false", "--set", "connections.move.requests=8"], "300"), 0);
}
