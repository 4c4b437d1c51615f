//! Topics and records through the commands and a broker: what goes in comes out.

use crate::scratch::Scratch;
use crate::serving::Serving;

#[test]
fn topics_are_made_listed_and_removed() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    let rows: &[(&[&str], i32, &[&str])] = &[
        (&["topic", "list"], 0, &[]),
        (
            &["topic", "create", "ice", "-p", "3", "-c", "retention.ms=1000"],
            0,
            &["created topic ice with 3 partitions"],
        ),
        (&["topic", "create", "ice"], 1, &["TOPIC_ALREADY_EXISTS", "--if-not-exists"]),
        (&["topic", "create", "ice", "--if-not-exists"], 0, &["there already"]),
        (&["topic", "create", "no/slash"], 1, &["INVALID_TOPIC_EXCEPTION"]),
        (&["topic", "create", "bad", "-c", "retention.m=1"], 1, &["retention.m"]),
        (&["topic", "list"], 0, &["ice"]),
        (&["consume", "snow", "--exit"], 1, &["no topic `snow`", "floe topic create snow"]),
        (&["consume", "ice", "--exit", "--partitions", "9"], 1, &["has no partition 9", "from 0 to 2"]),
        (
            &["topic", "alter", "ice", "-p", "5", "-c", "segment.ms=5", "--delete-config", "retention.ms"],
            0,
            &["has 5 partitions now"],
        ),
        (&["topic", "alter", "ice", "-p", "2"], 1, &["INVALID_PARTITIONS", "can only grow"]),
        (&["topic", "alter", "ice", "-c", "retention.ms=-5"], 1, &["INVALID_CONFIG", "at least -1"]),
        (&["topic", "alter", "snow", "-p", "2"], 1, &["no topic `snow`"]),
        (&["topic", "alter", "snow", "-c", "retention.ms=5"], 1, &["no topic `snow`"]),
        (&["topic", "describe", "ice"], 0, &["5 partitions", "segment.ms  5", "next offset"]),
        (
            &["topic", "describe", "ice", "--all-configs", "--json"],
            0,
            &["\"retention.ms\":{\"value\":\"-1\",\"source\":\"broker's start\""],
        ),
        (&["topic", "delete", "snow"], 1, &["no topic `snow`", "floe topic list", "--if-exists"]),
        (&["topic", "delete", "snow", "ice", "--if-exists"], 0, &["deleted topic ice", "no topic snow"]),
    ];
    for (args, code, parts) in rows {
        broker.floe(&scratch, args).expect(*code, parts);
    }
    assert_eq!(broker.floe(&scratch, &["topic", "list"]).out, "");
}

#[test]
fn every_codec_and_acknowledgement_brings_records_back_as_they_were() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    let lines: String = (0..2000).map(|i| format!("{{\"key\":\"k{i}\",\"value\":\"v{i}\"}}\n")).collect();
    for flags in [
        &["--codec", "none", "--acks", "1"][..],
        &["--codec", "gzip"],
        &["--codec", "snappy", "--acks", "0"],
        &["--codec", "lz4", "--idempotent"],
        &["--codec", "zstd", "--idempotent"],
    ] {
        let topic = format!("t-{}", flags[1]);
        let mut args = vec!["produce", &topic, "--json"];
        args.extend(flags);
        broker.floe_reading(&scratch, &args, &lines).expect(0, &["delivered 2000 records"]);
        let read = broker.floe(
            &scratch,
            &["consume", &topic, "--count", "2000", "--format", "{\"key\":\"%k\",\"value\":\"%s\"}\\n"],
        );
        assert!(read.out == lines, "{flags:?}: {} lines came back: {}", read.out.lines().count(), read.err);
    }
}

#[test]
fn keys_nulls_headers_and_times_come_back_and_json_is_the_same_both_ways() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    let flags = [
        "produce",
        "ice",
        "-K",
        ":",
        "-Z",
        "NULL",
        "-H",
        "colour=blue",
        "-H",
        "bare",
        "--timestamp",
        "2026-01-31T12:00:00Z",
    ];
    broker.floe_reading(&scratch, &flags, "a:1\nb:NULL\nNULL:\n").expect(0, &["delivered 3 records"]);
    let json = broker.floe(&scratch, &["consume", "ice", "--exit", "--json"]).out;
    let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3, "{json}");
    assert_eq!((rows[0]["key"].as_str(), rows[0]["value"].as_str()), (Some("a"), Some("1")));
    assert!(rows[1]["value"].is_null() && rows[2]["key"].is_null() && rows[2]["value"] == "", "{json}");
    assert_eq!(rows[0]["timestamp"], 1_769_860_800_000_i64);
    assert_eq!(rows[0]["headers"].to_string(), r#"[{"key":"colour","value":"blue"},{"key":"bare","value":null}]"#);

    broker.floe_reading(&scratch, &["produce", "copy", "--json"], &json).expect(0, &["delivered 3 records"]);
    let copy = broker.floe(&scratch, &["consume", "copy", "--exit", "--json"]).out;
    assert_eq!(copy.replace("\"copy\"", "\"ice\""), json);
}

#[test]
fn reading_begins_and_ends_where_it_is_told() {
    let scratch = Scratch::new();
    let broker = Serving::start(&scratch, &[]);
    for i in 0..10 {
        let (line, time) = (format!("{i}\n"), format!("{}", 1_700_000_000_000_i64 + i * 1000));
        broker.floe_reading(&scratch, &["produce", "ice", "--timestamp", &time, "--quiet"], &line).expect(0, &[]);
    }
    let rows: &[(&[&str], &str)] = &[
        (&["--exit"], "0123456789"),
        (&["--from", "beginning", "--count", "2"], "01"),
        (&["--from", "offset:7", "--exit"], "789"),
        (&["--from", "-3", "--exit"], "789"),
        (&["--from", "-2", "--count", "1"], "8"),
        (&["--from", "time:1700000004500", "--exit"], "56789"),
        (&["--from", "time:2023-11-14T22:13:28Z", "--exit"], "89"),
        (&["--from", "time:1800000000000", "--exit"], ""),
        (&["--from", "end", "--exit"], ""),
        (&["--from", "offset:100", "--exit"], ""),
        (&["--partitions", "0", "--from", "9", "--exit"], "9"),
    ];
    for (flags, expect) in rows {
        let mut args = vec!["consume", "ice", "--format", "%s"];
        args.extend(*flags);
        let run = broker.floe(&scratch, &args);
        run.expect(0, &[]);
        assert_eq!(run.out, *expect, "{flags:?}");
    }
    broker
        .floe(&scratch, &["consume", "ice", "--from", "offset:100"])
        .expect(1, &["no offset 100", "--from beginning"]);
}
