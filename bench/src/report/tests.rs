//! The report of a made-up comparison: everything is in it, it is whole, its pictures show something.

use std::fs;

#[cfg(feature = "plots")]
use resvg::tiny_skia::Pixmap;

use super::compare::{self, FILE};
use super::pictures;
use crate::compare::book::{Heading, Run};
use crate::compare::quiet::Neighbours;
use crate::compare::rows::{self, ROWS, Source};
use crate::outcome::{BrokerCost, Check, ClientCost, Flow, Latency, Outcome, histogram};
use crate::workload::Workload;

fn heading() -> Heading {
    Heading {
        machine: "a CPU & two cores".to_owned(),
        commit: "abc1234".to_owned(),
        unix_seconds: 1_790_000_000,
        command: "compare kafka".to_owned(),
        quick: true,
        turns: 2,
        rows: ROWS.iter().map(|row| row.name.to_owned()).collect(),
        subjects: rows::ALL.iter().map(|subject| subject.name().to_owned()).collect(),
        seconds: None,
    }
}

fn outcome(file: &str, slowness: f64) -> Outcome {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads").join(format!("{file}.toml"));
    let workload = Workload::load(&path).expect("a workload");
    let mut latencies = histogram();
    for at in 1..20_000u64 {
        let tail = if at % 500 == 0 { 30.0 } else { 1.0 };
        latencies.record((slowness * tail * (90_000 + at * 5) as f64) as u64).expect("grows");
    }
    let records = (3e6 / slowness) as u64;
    let flow = Flow {
        records,
        bytes: records * workload.record_bytes as u64,
        requests: records / 10,
        errors: 0,
        seconds: 10.0,
        records_per_second: (0..10u64).map(|at| records / 10 + at * 1000).collect(),
    };
    let consumes = workload.consumes();
    Outcome {
        workload,
        broker: "a broker".to_owned(),
        unix_seconds: 1_790_000_000,
        seconds: 10.0,
        produced: flow.clone(),
        consumed: if consumes { flow } else { Flow::default() },
        produce_latency: Latency::of(&latencies),
        end_to_end_latency: Latency::of(&latencies).filter(|_| consumes),
        send_delay: None,
        client: ClientCost { cpu_s: 9.0, busy_share: 0.9, was_the_limit: false },
        broker_cost: Some(BrokerCost {
            cpu_s: slowness * 2.0,
            rss_idle: 9_000_000,
            rss_connected: 90_000_000,
            rss_max: 100_000_000,
            start_up_s: None,
        }),
        check: Check::default(),
    }
}

fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for row in ROWS {
        for (at, subject) in row.subjects.iter().enumerate() {
            for turn in 1..=2 {
                let slowness = (1 + 3 * at) as f64 * (1.0 + 0.1 * turn as f64);
                let outcome = match row.source {
                    Source::Workload(file) => Some(outcome(file, slowness)),
                    _ => None,
                };
                let figures = match &outcome {
                    Some(outcome) => rows::figures(outcome),
                    None => row.figures.iter().map(|key| ((*key).to_owned(), slowness)).collect(),
                };
                let neighbours = Neighbours {
                    others_share: if turn == 2 && at == 0 { 0.2 } else { 0.0 },
                    busiest: vec![("rustc".to_owned(), 0.4)],
                    ..Neighbours::default()
                };
                runs.push(Run {
                    row: row.name.to_owned(),
                    subject: subject.name().to_owned(),
                    turn,
                    unix_seconds: 1_790_000_000,
                    figures,
                    outcome,
                    neighbours,
                    remarks: vec!["<b>a remark</b>".to_owned()],
                    failure: (row.name == "restart" && at == 1).then(|| "it broke".to_owned()),
                });
            }
        }
    }
    runs
}

/// Every tag is closed, in order; what needs no closing is known.
fn is_whole(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(1) {
        let tag = part.split_once('>').ok_or_else(|| format!("<{part} has no end"))?.0;
        let name = tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default();
        if let Some(closed) = name.strip_prefix('/') {
            let last = open.pop();
            if last != Some(closed) {
                return Err(format!("</{closed}> closes {last:?}"));
            }
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

#[test]
fn a_report_is_whole_and_has_every_row() {
    let (heading, runs) = (heading(), runs());
    let html = compare::page(&heading, &runs, &pictures::all(&heading, &runs));
    is_whole(&html).expect("whole");
    for row in ROWS {
        assert!(html.contains(&format!("<b>{}</b>", row.name)), "{} is missing", row.name);
    }
    for wanted in [
        "a CPU &amp; two cores",
        "None of its figures may be quoted",
        "were disturbed",
        "&lt;b&gt;a remark&lt;/b&gt;",
        "failed: it broke",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let markdown = compare::markdown(&heading, &runs);
    assert!(ROWS.iter().all(|row| markdown.contains(row.about)));
    // A page that needs nothing else, and says nothing about where it was made.
    for text in [&html, &markdown] {
        for place in ["http://", "https://", "src=", "/home/", "/tmp/", env!("CARGO_MANIFEST_DIR")] {
            assert!(!text.contains(place), "{place}");
        }
    }
}

// Needs pictures: `cargo test -p floe-bench --features plots`.
#[cfg(feature = "plots")]
#[test]
fn pictures_and_histograms_are_files() {
    let folder = std::env::temp_dir().join(format!("floe-bench-{}-report", std::process::id()));
    fs::create_dir_all(&folder).expect("made");
    let chosen = ["produce-1k-1p", "latency-1k", "end-to-end-half"];
    let rows = chosen.map(str::to_owned).to_vec();
    let mut runs = runs();
    runs.retain(|run| chosen.contains(&run.row.as_str()));
    compare::write(&folder, &Heading { rows, ..heading() }, &runs).expect("written");
    assert!(folder.join(FILE).exists() && folder.join("table.md").exists());
    let files = |under: &str, ending: &str| {
        let entries = fs::read_dir(folder.join(under)).expect("there").flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect::<Vec<_>>()
    };
    let pictures = files("", "png");
    for name in [
        "ratios",
        "cpu-s-gb",
        "cpu-us-msg",
        "latency-latency-1k",
        "latency-end-to-end-half",
        "throughput-produce-1k-1p",
    ] {
        assert!(pictures.iter().any(|path| path.file_stem().is_some_and(|stem| stem == name)), "{name}");
    }
    for path in &pictures {
        let drawn = Pixmap::decode_png(&fs::read(path).expect("there")).expect("a PNG");
        assert!(drawn.width() == 1720 && drawn.height() > 400, "{}", path.display());
        let inked = drawn.pixels().iter().filter(|pixel| pixel.red() < 200).count();
        assert!(inked > 2000, "{} is nearly empty: {inked}", path.display());
    }
    assert_eq!(files("histograms", "hdr").len(), files("histograms", "hgrm").len());
    let text = fs::read_to_string(folder.join("histograms/latency-1k-floe-1-produce.hgrm")).expect("there");
    assert!(text.contains("1/(1-Percentile)") && text.contains("Total count    =        19999"), "{text}");
    // To look at: a report is judged by eye as well.
    if std::env::var_os("FLOE_BENCH_KEEP_REPORT").is_none() {
        fs::remove_dir_all(&folder).expect("removed");
    }
}

#[test]
fn a_report_of_nothing_is_whole() {
    let folder = std::env::temp_dir().join(format!("floe-bench-{}-nothing", std::process::id()));
    fs::create_dir_all(&folder).expect("made");
    compare::write(&folder, &heading(), &[]).expect("written");
    is_whole(&fs::read_to_string(folder.join(FILE)).expect("there")).expect("whole");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_tag_left_open_is_found() {
    assert!(is_whole("<p>a<b>c</b></p>").is_ok());
    assert!(is_whole("<p><b></p></b>").is_err() && is_whole("<p>").is_err());
}
