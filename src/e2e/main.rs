//! Real clients against a real broker. Each client is a program in `clients/` with the commands `create`, `produce` and `verify`, and
//! all of them know the same records, so that whatever one has written any other can check byte by byte.
//!
//! The tests need a broker and the clients (`src/e2e/tools.sh` gets them), so a plain `cargo test` leaves them out and says so;
//! `scripts/dev e2e HOST:PORT` runs them. Pointed at Apache Kafka they show that the suite itself asks for nothing but Kafka's behaviour.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A client: its name, how its program is started, the codecs that it can write and read.
struct Client {
    name: &'static str,
    codecs: &'static [&'static str],
}

const ALL: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
const CLIENTS: &[Client] = &[
    Client { name: "confluent", codecs: ALL },
    Client { name: "kafka_python", codecs: ALL },
    Client { name: "aiokafka", codecs: ALL },
    Client { name: "kafkajs", codecs: &["none", "gzip", "snappy"] },
    Client { name: "java", codecs: ALL },
];

/// Records a topic: enough for every mix of key, value and headers, the last one close to 1 MiB.
const RECORDS: &str = "120";

/// The broker under test, and a moment that record timestamps and topic names start from.
struct Bench {
    bootstrap: String,
    start: u128,
}

impl Bench {
    fn new() -> Self {
        let bootstrap =
            std::env::var("FLOE_E2E_BOOTSTRAP").expect("FLOE_E2E_BOOTSTRAP=host:port names the broker to test");
        let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
        Bench { bootstrap, start }
    }

    /// Runs one command of a client to its end; anything but success fails the test with what the client said.
    fn run(&self, client: &str, command: &str, topic: &str, codec: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = root.join(".cache");
        let mut process = program(root, &cache, client);
        // An hour in the past: no broker takes the records for ones from the future, none removes them as too old.
        let t0 = (self.start - 3_600_000).to_string();
        process.args([&self.bootstrap, command, topic, codec, RECORDS, "7", &t0]);
        process.env("FLOE_E2E_NPM", cache.join("npm"));
        let output = process.output().unwrap_or_else(|error| panic!("{client} does not start: {error}"));
        assert!(
            output.status.success(),
            "{client} {command} {topic} ({codec}): {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Every codec of one client: create, produce, read back.
    fn client(&self, name: &str) {
        let client = CLIENTS.iter().find(|client| client.name == name).expect("a known client");
        for codec in client.codecs {
            let topic = format!("e2e-{name}-{codec}-{}", self.start);
            for command in ["create", "produce", "verify"] {
                self.run(name, command, &topic, codec);
            }
        }
    }
}

/// How a client's program is started. A client that hangs is ended after two minutes.
fn program(root: &Path, cache: &Path, client: &str) -> Command {
    let clients = root.join("src/e2e/clients");
    let mut process = Command::new("timeout");
    process.arg("120");
    match client {
        "java" => {
            let jars = std::fs::read_to_string(cache.join("java/classpath")).expect("src/e2e/tools.sh has been run");
            let classes: PathBuf = cache.join("java/classes");
            process.args(["java", "-Xmx256m", "-cp", &format!("{}:{}", classes.display(), jars.trim()), "JavaClient"]);
        }
        "kafkajs" => {
            process.arg("node").arg(clients.join("kafkajs_client.js"));
        }
        "kcat" => {
            process.arg(clients.join("kcat_client.sh"));
        }
        python => {
            process.arg(cache.join("venv/bin/python")).arg(clients.join(format!("{python}_client.py")));
        }
    }
    process
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn confluent_writes_and_reads_every_codec() {
    Bench::new().client("confluent");
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn kafka_python_writes_and_reads_every_codec() {
    Bench::new().client("kafka_python");
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn aiokafka_writes_and_reads_every_codec() {
    Bench::new().client("aiokafka");
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn kafkajs_writes_and_reads_its_codecs() {
    Bench::new().client("kafkajs");
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn java_writes_and_reads_every_codec() {
    Bench::new().client("java");
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn kcat_writes_and_reads_every_codec() {
    let bench = Bench::new();
    for codec in ALL {
        let topic = format!("e2e-kcat-{codec}-{}", bench.start);
        // kcat cannot create a topic other than by writing to it.
        bench.run("kcat", "write", &topic, codec);
        bench.run("kcat", "lines", &topic, codec);
    }
}

#[test]
#[ignore = "needs a broker: scripts/dev e2e HOST:PORT"]
fn every_client_reads_what_every_other_wrote() {
    let bench = Bench::new();
    for writer in CLIENTS {
        let topic = format!("e2e-cross-{}-{}", writer.name, bench.start);
        bench.run(writer.name, "create", &topic, "gzip");
        bench.run(writer.name, "produce", &topic, "gzip");
        for reader in CLIENTS {
            bench.run(reader.name, "verify", &topic, "gzip");
        }
    }
}
