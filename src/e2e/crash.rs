//! kill -9 of the broker under load from a real client, twenty times in a run: no acknowledged record is lost, none stands twice, the
//! order of every partition is the producer's.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::broker::Broker;
use crate::clients::{finish, python};

/// Deaths in one run.
const KILLS: usize = 20;
/// More than cores, so that each has several.
const PARTITIONS: usize = 8;

fn killed_again_and_again(cores: usize) {
    // A journal of the smallest size: it comes round several times in a run, and recovery meets every state of settling.
    let mut broker = Broker::start_with(cores, &["--set", "num.partitions=8", "--set", "journal.bytes=50331648"]);
    let log = broker.dir.join("acknowledged");
    let place = [&broker.bootstrap(), "crash", &PARTITIONS.to_string(), log.to_str().expect("a readable path")]
        .map(str::to_owned);
    let mut producer = python("crash_producer.py")
        .args(&place)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the producer starts");
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        // Dies only after it has taken something since its last start, and then a little later each time.
        let lines = |least: usize| {
            let lines = std::fs::read_to_string(&log).unwrap_or_default().lines().count();
            (lines > least).then_some(lines)
        };
        let mut turns = 0;
        acknowledged = loop {
            if let Some(lines) = lines(acknowledged) {
                break lines;
            }
            broker.assert_alive();
            turns += 1;
            assert!(turns < 1200, "nothing acknowledged for a minute after kill {kill}:\n{}", broker.log());
            thread::sleep(Duration::from_millis(50));
        };
        thread::sleep(Duration::from_millis(37 * (kill as u64 % 11)));
        broker.kill();
        broker.resume(cores);
    }
    // Closing its input ends the producer, once all is acknowledged.
    drop(producer.stdin.take());
    let output = producer.wait_with_output().expect("the producer ends");
    assert!(output.status.success(), "the producer: {}", String::from_utf8_lossy(&output.stderr));
    let check = |broker: &Broker| match finish(python("crash_checker.py").args(&place)) {
        Ok(said) => print!("{KILLS} kills on {cores} cores: {said}"),
        Err(said) => panic!("{said}\nthe broker:\n{}", broker.log()),
    };
    check(&broker);
    // And what stands there stays, after one more.
    broker.kill();
    broker.resume(cores);
    check(&broker);
}

#[test]
fn twenty_kills_lose_and_double_nothing_on_one_core() {
    killed_again_and_again(1);
}

#[test]
fn twenty_kills_lose_and_double_nothing_on_four_cores() {
    killed_again_and_again(4);
}
