//! What a restart keeps, with another number of cores too, and what the admin HTTP says.

use crate::broker::Broker;
use crate::clients::{CLIENTS, CODECS, Client};

fn client(name: &str) -> &'static Client {
    CLIENTS.iter().find(|client| client.name == name).expect("a known client")
}

fn topics(run: &str, writer: &str) -> Vec<String> {
    CODECS.iter().map(|codec| format!("{run}-{writer}-{codec}")).collect()
}

#[test]
fn a_restart_with_another_number_of_cores_keeps_all_data() {
    let mut broker = Broker::start(4);
    let mut written = topics("first", "aiokafka");
    client("aiokafka").run(&broker.bootstrap(), "write", &written).unwrap();
    // Down from four cores to one and up again to three, after a clean end and after a crash; what comes in between is kept as well.
    for (cores, run, is_clean) in [(1, "second", true), (3, "third", false), (4, "fourth", true), (4, "fifth", false)] {
        if is_clean {
            assert!(broker.terminate().success(), "a clean end:\n{}", broker.log());
        } else {
            broker.kill();
        }
        broker.resume(cores);
        client("aiokafka").run(&broker.bootstrap(), "verify", &written).unwrap();
        let more = topics(run, "aiokafka");
        client("aiokafka").run(&broker.bootstrap(), "write", &more).unwrap();
        written.extend(more);
    }
    client("confluent").run(&broker.bootstrap(), "verify", &written).unwrap();
}

#[test]
fn health_and_metrics_are_told_over_http() {
    let broker = Broker::start(2);
    client("kcat").run(&broker.bootstrap(), "write", &topics("one", "kcat")).unwrap();
    for page in ["/healthz", "/readyz"] {
        let (status, _) = broker.admin_page(page).unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK", "{page}");
    }
    assert_eq!(broker.admin_page("/nothing").unwrap().0, "HTTP/1.1 404 Not Found");
    let (status, page) = broker.admin_page("/metrics").unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    let samples = parse(&page);
    let sum = |name: &str| -> f64 {
        let rows: Vec<f64> = samples.iter().filter(|(sample, _)| sample.starts_with(name)).map(|row| row.1).collect();
        assert!(!rows.is_empty(), "no sample {name} in:\n{page}");
        rows.iter().sum()
    };
    // Five topics of 120 records, a request or more each.
    assert!(sum("floe_requests_total") >= 5.0, "{page}");
    assert!(sum("floe_journal_commits_total") >= 1.0, "{page}");
}

/// Name with labels, and value, of each sample; what is not in the text format of OpenMetrics fails the test.
fn parse(page: &str) -> Vec<(String, f64)> {
    let mut samples = Vec::new();
    let mut is_over = false;
    for line in page.lines() {
        assert!(!is_over, "a line behind the end: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            is_over = comment == "EOF";
            let known = ["TYPE ", "HELP ", "UNIT "].iter().any(|word| comment.starts_with(word));
            assert!(is_over || known, "an unknown comment: {line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a sample without a value: {line}"));
        let bare = name.split('{').next().unwrap_or_default();
        assert!(!bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
        assert!(!name.contains('{') || name.ends_with('}'), "labels without an end: {line}");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        samples.push((name.to_owned(), value));
    }
    assert!(is_over, "the page has no end");
    samples
}
