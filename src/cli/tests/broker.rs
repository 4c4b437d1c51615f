//! What an operator does with a broker: start, look, stop, start again; and what is refused while it runs.

use std::fs;

use rustix::process::Signal;

use crate::scratch::Scratch;
use crate::serving::Serving;

#[test]
fn sigterm_ends_it_with_0_and_everything_is_there_afterwards_on_any_number_of_cores() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    broker.floe(&scratch, &["topic", "create", "ice", "--partitions", "3"]).expect(0, &["created topic ice with 3"]);
    let lines: String = (0..300).map(|i| format!("key-{i}\tvalue-{i}\n")).collect();
    broker.floe_reading(&scratch, &["produce", "ice", "-K", "\\t"], &lines).expect(0, &["delivered 300 records"]);
    let read = ["consume", "ice", "--exit", "--format", "%p %o %k %s\\n"];
    let mut before: Vec<String> = broker.floe(&scratch, &read).out.lines().map(str::to_owned).collect();
    assert_eq!(before.len(), 300);
    assert_eq!(broker.end(Signal::TERM), Some(0));

    let broker = Serving::start(&scratch, &["--cores", "2", "--oversubscribe"]);
    assert!(broker.log().contains("2 shards"), "{}", broker.log());
    let mut after: Vec<String> = broker.floe(&scratch, &read).out.lines().map(str::to_owned).collect();
    before.sort();
    after.sort();
    assert_eq!(before, after);
    // Ctrl-C is the same as SIGTERM.
    assert_eq!(broker.end(Signal::INT), Some(0));
}

#[test]
fn kill_9_loses_nothing_that_was_delivered() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    let lines: String = (0..500).map(|i| format!("{i}\n")).collect();
    broker.floe_reading(&scratch, &["produce", "ice"], &lines).expect(0, &["delivered 500"]);
    assert_eq!(broker.end(Signal::KILL), None);
    let broker = Serving::start(&scratch, &[]);
    assert_eq!(broker.floe(&scratch, &["consume", "ice", "--exit"]).out, lines);
}

#[test]
fn a_held_directory_and_a_taken_port_are_refused_with_who_has_them() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    let holder = format!("process {}", broker.pid());
    let anywhere = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "none"];
    scratch.floe(&anywhere).expect(1, &["is in use", &holder, "choose another --data-dir"]);
    scratch.floe(&["dump-log"]).expect(1, &["is in use", &holder]);
    let there = ["serve", "--listen", &broker.address, "--admin-listen", "none", "--data-dir", "other"];
    scratch.floe(&there).expect(1, &["another process has the port", "ss -ltnp"]);
    assert!(!scratch.path().join("other").exists(), "a broker that cannot listen made its directory");
    scratch
        .floe(&["check", "--listen", &broker.address])
        .expect(1, &["bad   port", "bad   data directory", "is in use"]);
    // All of that left the running one alone.
    broker.floe(&scratch, &["topic", "list"]).expect(0, &[]);
}

#[test]
fn the_log_says_where_clients_are_sent_and_health_and_metrics_answer() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &["--advertise", "127.0.0.1:0"]);
    let log = broker.log();
    for part in ["data directory", "(new)", "listener PLAINTEXT: 127.0.0.1:", "health and metrics: http://"] {
        assert!(log.contains(part), "no `{part}` in\n{log}");
    }
    broker.floe_reading(&scratch, &["produce", "ice"], "one\n").expect(0, &[]);
    assert!(broker.page("/healthz").starts_with("HTTP/1.1 200"));
    assert!(broker.page("/readyz").starts_with("HTTP/1.1 200"), "{}", broker.page("/readyz"));
    let metrics = broker.page("/metrics");
    assert!(metrics.contains("shard=\"0\"") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
}

#[test]
fn each_listener_tells_its_own_address_and_a_wrong_one_is_explained() {
    let scratch = Scratch::new();
    let listen = ["--listen", "IN://127.0.0.1:0,OUT://127.0.0.1:0", "--advertise", "OUT://127.0.0.1:1"];
    let broker = Serving::start(&scratch, &listen);
    broker.floe_reading(&scratch, &["produce", "ice"], "one\n").expect(0, &["delivered 1 record"]);
    let log = broker.log();
    let outside =
        log.split("listener OUT: ").nth(1).and_then(|rest| rest.split(';').next()).expect("the second listener");
    assert!(log.contains("told 127.0.0.1:1\n"), "{log}");
    scratch.floe(&["topic", "list", "-b", outside]).expect(0, &["ice"]);
    let lost = scratch.floe(&["consume", "ice", "--exit", "-b", outside]);
    lost.expect(1, &["cannot connect", "127.0.0.1:1", "told this address", "--advertise"]);
}

#[test]
fn settings_of_file_and_environment_reach_the_running_broker() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("floe.toml"), "num.partitions = 4\nauto.create.topics.enable = true\n").unwrap();
    let broker = Serving::start(&scratch, &["--set", "auto.create.topics.enable=false"]);
    broker.floe(&scratch, &["topic", "create", "ice"]).expect(0, &["with 4 partitions"]);
    broker.floe_reading(&scratch, &["produce", "snow", "--timeout-ms", "500"], "x\n").expect(1, &["no topic `snow`"]);
}

#[test]
fn api_versions_are_told_as_they_are_documented() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    let told = broker.floe(&scratch, &["api-versions", "--json"]);
    told.expect(0, &["ApiVersions"]);
    let own = scratch.floe(&["api-versions", "--local", "--json"]).out;
    for line in told.out.lines() {
        assert!(own.lines().any(|own| own == line), "the broker says {line}, the table\n{own}");
    }
}

#[test]
fn dump_log_shows_what_was_written_and_marks_what_is_damaged() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    broker.floe(&scratch, &["topic", "create", "ice", "-c", "retention.ms=3600000"]).expect(0, &[]);
    broker.floe_reading(&scratch, &["produce", "ice", "-K", ":"], "a:wonderful\nb:2\n").expect(0, &[]);
    assert_eq!(broker.end(Signal::TERM), Some(0));

    let dump = scratch.floe(&["dump-log"]);
    dump.expect(
        0,
        &["metadata/log", "topic ice", "retention.ms = 3600000", "checkpoint-", "/j0", "ice-0", "offsets 0..1"],
    );
    let dump = scratch.floe(&["dump-log", "--records", "--json"]);
    dump.expect(0, &["\"partition\":\"ice-0\"", "\"value\":\"wonderful\""]);
    for line in dump.out.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(!scratch.floe(&["dump-log", "--only", "metadata"]).out.contains("/j0"));

    let journal = scratch.path().join("data/journal/g1x1/s0/j0");
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.windows(9).position(|window| window == b"wonderful").expect("the record is in the journal");
    bytes[at] ^= 1;
    fs::write(&journal, bytes).unwrap();
    scratch.floe(&["dump-log"]).expect(1, &["DAMAGED", "had been acknowledged", "backup"]);
}

#[test]
fn dump_log_gets_through_whatever_stands_in_the_files() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &["--set", "settle.bytes=1MiB", "--set", "log.segment.bytes=1MiB"]);
    let lines = format!("{}\n", "snow".repeat(500)).repeat(5000);
    broker.floe_reading(&scratch, &["produce", "ice", "--codec", "none"], &lines).expect(0, &["delivered 5000"]);
    assert_eq!(broker.end(Signal::TERM), Some(0));
    let whole = scratch.floe(&["dump-log"]);
    whole.expect(0, &["metadata/log", "checkpoint-a", "/j0", ".log", ".idx"]);

    let mut files = vec![];
    let mut folders = vec![scratch.path().join("data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let list = if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
    }
    files.retain(|path| !path.ends_with("format.json") && !path.ends_with("floe.lock"));
    assert!(files.len() > 5, "{files:?}");
    for path in files {
        let name = path.strip_prefix(scratch.path().join("data")).unwrap().to_str().unwrap().to_owned();
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        for at in (0..flipped.len()).step_by(flipped.len() / 7 + 1) {
            flipped[at] ^= 0x55;
        }
        for bad in [vec![], good[..good.len() / 2].to_vec(), vec![0xff; 5000], flipped] {
            fs::write(&path, bad).unwrap();
            let run = scratch.floe(&["dump-log", "--records", "--only", &name]);
            assert!(run.code == 0 || run.code == 1, "{}: {}\n{}", path.display(), run.code, run.err);
        }
        fs::write(&path, good).unwrap();
    }
    assert_eq!(scratch.floe(&["dump-log"]).out, whole.out, "dump-log changes nothing");
}
