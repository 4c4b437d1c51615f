//! The `floe` binary from outside: what each command says, and the code with which it ends. Here without a broker; `broker` has those
//! that run one.

mod broker;
mod groups;
mod peer;
mod records;
mod scratch;
mod serving;

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use scratch::{Scratch, silent_port};

#[test]
fn help_and_version_are_no_errors() {
    let scratch = Scratch::new();
    scratch.floe(&["--help"]).expect(
        0,
        &["Exit codes", "130", "serve", "topic", "group", "produce", "consume", "check", "dump-log", "api-versions"],
    );
    scratch.floe(&["--version"]).expect(0, &[env!("CARGO_PKG_VERSION")]);
    scratch.floe(&["serve", "--help"]).expect(0, &["--data-dir", "--advertise", "--oversubscribe", "--print-config"]);
    scratch.floe(&[]).expect(2, &["Usage"]);
    scratch.floe(&["sevre"]).expect(2, &["serve"]);
    scratch.floe(&["serve", "--lisen", "x"]).expect(2, &["--listen"]);
}

#[test]
fn print_config_shows_sources_and_can_be_fed_back() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("floe.toml"), "log.retention.ms = 1000\nnum.partitions = 3\n").unwrap();
    let first = scratch.floe_with(
        &["serve", "--print-config", "--cores", "1", "--profile", "latency", "--set", "log.segment.bytes=2097152"],
        &[("FLOE_NUM_PARTITIONS", "5")],
        "",
    );
    first.expect(
        0,
        &[
            "log.retention.ms = 1000",
            "# floe.toml, line 1",
            "num.partitions = 5",
            "# environment, FLOE_NUM_PARTITIONS",
            "log.segment.bytes = 2097152",
            "# flag --set",
            "# profile latency",
            "# default",
        ],
    );
    fs::write(scratch.path().join("again.toml"), &first.out).unwrap();
    let second = scratch.floe(&["serve", "--print-config", "--config", "again.toml"]);
    let settings = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting).trim().to_owned())
            .collect()
    };
    assert_eq!(settings(&first.out), settings(&second.out));
}

#[test]
fn listening_everywhere_says_which_name_clients_are_told() {
    let scratch = Scratch::new();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let run = scratch.floe(&["serve", "--print-config", "--listen", "0.0.0.0:9092"]);
    run.expect(0, &["every interface", &host, "--advertise"]);
    let run = scratch.floe(&["serve", "--print-config", "--listen", "0.0.0.0:9092", "--advertise", "b.example:9092"]);
    run.expect(0, &["advertised.listeners = \"b.example:9092\""]);
    assert!(!run.out.contains("every interface"), "{}", run.out);
}

#[test]
fn serve_refuses_what_cannot_be_before_it_touches_anything() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let rows: &[(&[&str], i32, &[&str])] = &[
        (
            &["serve", "--set", "log.retention.m=1"],
            2,
            &["no setting `log.retention.m`", "did you mean `log.retention.ms`?"],
        ),
        (&["serve", "--set", "novalue"], 2, &["has no `=`"]),
        (&["serve", "--durability", "perhaps"], 2, &["not one of flushed, written, memory"]),
        (&["serve", "--profile", "fast"], 2, &["latency, balanced, bandwidth"]),
        (&["serve", "--config", "missing.toml"], 2, &["missing.toml"]),
        (&["serve", "--cores", "5000"], 2, &["--oversubscribe"]),
        (&["serve", "--listen", "nowhere"], 2, &["HOST:PORT"]),
        (&["serve", "--listen", "127.0.0.1:0", "--advertise", "0.0.0.0:1"], 2, &["every interface"]),
        (&["serve", "--listen", &taken, "--admin-listen", "none"], 1, &["another process has the port", "ss -ltnp"]),
        (&["serve", "--listen", "127.0.0.1:0", "--admin-listen", &taken], 1, &["another process has the port"]),
    ];
    for (args, code, parts) in rows {
        scratch.floe(args).expect(*code, parts);
        assert!(!scratch.path().join("data").exists(), "{args:?} made a data directory");
    }
    fs::write(scratch.path().join("bad.toml"), "num.partitions = 1\nlog.retention.ms = = 2\n").unwrap();
    scratch.floe(&["serve", "--config", "bad.toml"]).expect(2, &["bad.toml, line 2: this is not TOML"]);
    scratch.floe_with(&["serve"], &[("FLOE_NUM_PARTITION", "1")], "").expect(2, &["did you mean FLOE_NUM_PARTITIONS?"]);
}

#[test]
fn serve_refuses_a_directory_that_is_not_its_own() {
    let scratch = Scratch::new();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--data-dir", "d"];
    let data = scratch.path().join("d");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("format.json"), "{\"format\":99}").unwrap();
    scratch.floe(&serve).expect(1, &["format 99", "newer floe"]);
    fs::remove_file(data.join("format.json")).unwrap();
    fs::write(data.join("thesis.tex"), "x").unwrap();
    fs::remove_file(data.join("floe.lock")).unwrap();
    scratch.floe(&serve).expect(1, &["neither empty nor a data directory of Floe", "thesis.tex"]);
    fs::remove_file(data.join("thesis.tex")).unwrap();
    let lock = fs::File::create(data.join("floe.lock")).unwrap();
    lock.lock().unwrap();
    scratch.floe(&serve).expect(1, &["is in use", "floe.lock"]);
    fs::write(data.join("format.json"), "{\"format\":1}").unwrap();
    scratch.floe(&["dump-log", "--data-dir", "d"]).expect(1, &["is in use"]);
}

#[test]
fn commands_without_a_broker_say_where_they_looked() {
    let scratch = Scratch::new();
    let nobody = format!("127.0.0.1:{}", silent_port());
    let rows: &[&[&str]] = &[
        &["topic", "list"],
        &["topic", "create", "t"],
        &["topic", "describe", "t"],
        &["topic", "alter", "t", "--partitions", "2"],
        &["topic", "delete", "t"],
        &["produce", "t"],
        &["consume", "t"],
        &["api-versions"],
    ];
    for args in rows {
        let mut args = args.to_vec();
        args.extend(["--bootstrap", &nobody]);
        scratch.floe(&args).expect(1, &["cannot connect to the broker", &nobody, "to do:"]);
    }
    scratch.floe_with(&["topic", "list"], &[("FLOE_BOOTSTRAP", &nobody)], "").expect(1, &[&nobody]);
}

#[test]
fn wrong_flags_of_client_commands_are_refused_before_connecting() {
    let scratch = Scratch::new();
    let rows: &[(&[&str], &str)] = &[
        (&["topic", "list", "--bootstrap", "nowhere"], "no port"),
        (&["topic", "create", "t", "--config", "x"], "has no `=`"),
        (&["topic", "alter", "t"], "nothing to change"),
        (&["topic", "delete"], "TOPICS"),
        (&["group", "delete"], "GROUPS"),
        (&["group", "reset-offsets", "g", "--to-earliest"], "--all-topics"),
        (&["group", "reset-offsets", "g", "--all-topics"], "--to-earliest"),
        (&["group", "reset-offsets", "g", "-t", "t", "--all-topics", "--to-latest"], "cannot be used with"),
        (&["group", "reset-offsets", "g", "-t", "t", "--to-latest", "--to-current"], "cannot be used with"),
        (&["group", "reset-offsets", "g", "-t", "t", "--to-latest", "--dry-run", "--execute"], "cannot be used with"),
        (&["group", "reset-offsets", "g", "-t", "t:x", "--to-latest"], "--topic orders:0,2-4"),
        (&["group", "reset-offsets", "g", "-t", "t", "--by-duration", "an hour"], "PnDTnHnMnS"),
        (&["group", "reset-offsets", "g", "-t", "t", "--to-datetime", "yesterday"], "2026-01-31T12:00:00Z"),
        (&["produce", "t", "--acks", "2"], "possible values"),
        (&["produce", "t", "--codec", "rar"], "possible values"),
        (&["produce", "t", "--idempotent", "--acks", "1"], "--acks all"),
        (&["produce", "t", "--json", "--key-separator", ":"], "cannot be used with"),
        (&["produce", "t", "--timestamp", "yesterday"], "2026-01-31T12:00:00Z"),
        (&["consume", "t", "--from", "middle"], "offset:N"),
        (&["consume", "t", "--format", "%q"], "there is no `%q`"),
        (&["consume", "t", "--partitions", "x"], "neither a partition nor a range"),
        (&["consume", "t", "--exit", "--follow"], "cannot be used with"),
        (&["consume", "t", "--group", "g", "--partitions", "0"], "cannot be used with"),
    ];
    for (args, part) in rows {
        scratch.floe(args).expect(2, &[part]);
    }
}

#[test]
fn a_peer_that_is_no_broker_is_told_as_such() {
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    scratch.floe(&["topic", "list", "--bootstrap", &address]).expect(1, &["makes no sense", "Kafka port"]);
    peer.join().unwrap();
}

#[test]
fn api_versions_prints_the_own_table() {
    let scratch = Scratch::new();
    let run = scratch.floe(&["api-versions", "--local"]);
    run.expect(0, &["Produce", "Fetch", "Metadata", "ApiVersions", "newest"]);
    let run = scratch.floe(&["api-versions", "--local", "--json"]);
    run.expect(0, &[]);
    for line in run.out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(row["min"].as_i64().unwrap() <= row["max"].as_i64().unwrap(), "{row}");
    }
}

#[test]
fn check_looks_at_the_machine() {
    let scratch = Scratch::new();
    let port = silent_port();
    let run = scratch.floe(&["check", "--listen", &format!("127.0.0.1:{port}"), "--json"]);
    for line in run.out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let grade = row["grade"].as_str().unwrap();
        assert!(["ok", "warn", "bad"].contains(&grade), "{row}");
        assert_eq!(row["mend"].is_string(), grade != "ok", "{row}");
    }
    assert!(run.out.lines().count() > 5, "{}", run.out);
}

#[test]
fn dump_log_wants_a_data_directory() {
    let scratch = Scratch::new();
    scratch.floe(&["dump-log", "--data-dir", "nowhere"]).expect(1, &["nowhere", "--data-dir"]);
    scratch.floe(&["dump-log", "--data-dir", "."]).expect(1, &["not a data directory of Floe"]);
}
