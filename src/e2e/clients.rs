//! The clients: real ones, each driven by a program in `clients/` that knows the commands `write` and `verify` and the same records as all
//! the others (`clients/records.py`), so that whatever one has written any other can check byte by byte.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// All codecs, by Kafka's names.
pub const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];

/// Records of a topic: enough for every mix of key, value and headers, the last one close to 1 MiB.
pub const RECORDS: &str = "120";

/// How a client's program is started.
enum Program {
    Python(&'static str),
    Node(&'static str),
    Java,
}

/// A client library, or kcat.
pub struct Client {
    /// Its name inside topic names: without a dash.
    pub name: &'static str,
    program: Program,
}

/// All of them.
pub const CLIENTS: &[Client] = &[
    Client { name: "confluent", program: Program::Python("confluent_client.py") },
    Client { name: "kafkapython", program: Program::Python("kafka_python_client.py") },
    Client { name: "aiokafka", program: Program::Python("aiokafka_client.py") },
    Client { name: "kafkajs", program: Program::Node("kafkajs_client.js") },
    Client { name: "platformatic", program: Program::Node("platformatic_client.js") },
    Client { name: "java", program: Program::Java },
    Client { name: "kcat", program: Program::Python("kcat_client.py") },
];

/// What a client cannot read from any broker, Apache Kafka included: @platformatic/kafka knows only raw snappy, not the framing of
/// xerial's library, in which Java has written it ever since and which two others took over.
pub fn reads(reader: &str, writer: &str, codec: &str) -> bool {
    !(reader == "platformatic" && codec == "snappy" && ["kafkapython", "aiokafka", "java"].contains(&writer))
}

impl Client {
    /// Runs one command over topics; a failure is what the client said.
    pub fn run(&self, bootstrap: &str, command: &str, topics: &[String]) -> Result<(), String> {
        // An hour in the past: no broker takes the records for ones from the future, none removes them as too old.
        let t0 = (started_ms() - 3_600_000).to_string();
        let mut arguments = vec![bootstrap, command, RECORDS, &t0];
        arguments.extend(topics.iter().map(String::as_str));
        let mut process = match self.program {
            Program::Python(file) => python(file),
            Program::Node(file) => node(file),
            Program::Java => java("JavaClient"),
        };
        finish(process.args(arguments)).map(drop).map_err(|said| format!("{} {command}: {said}", self.name))
    }
}

/// A Python program of `clients/`.
pub fn python(file: &str) -> Command {
    let mut command = limited(cache().join("venv/bin/python"));
    command.arg(program(file));
    command
}

/// A JavaScript program of `clients/`.
pub fn node(file: &str) -> Command {
    // One that tools.sh got because the system's is too old.
    let own = cache().join("node/node_modules/.bin/node");
    let mut command = limited(if own.exists() { own } else { "node".into() });
    command.arg(program(file)).env("FLOE_E2E_NPM", cache().join("npm"));
    command
}

/// A Java program of `clients/`.
pub fn java(class: &str) -> Command {
    let jars = std::fs::read_to_string(cache().join("java/classpath")).expect("src/e2e/tools.sh wrote the class path");
    let classes = cache().join("java/classes");
    let mut command = limited("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.args([&format!("{}:{}", classes.display(), jars.trim()), class]);
    command
}

/// A command that ends after five minutes, whatever it hangs on and whatever becomes of the test.
pub fn limited(program: impl Into<OsString>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "300"]).arg(program.into());
    command
}

/// kill -9 of what [`limited`] has started; `timeout` stands between and would pass on only what it can catch.
pub fn kill_limited(mut child: Child) {
    while child.try_wait().expect("it can be waited for").is_none() {
        let below = finish(Command::new("pgrep").args(["-P", &child.id().to_string()]));
        for pid in below.unwrap_or_default().split_whitespace() {
            // It may have ended by itself meanwhile.
            let _ = finish(Command::new("kill").args(["-9", pid]));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs to the end; gives what went to standard output, or on failure everything that was said.
pub fn finish(command: &mut Command) -> Result<String, String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// When this test run began, for topic names and record timestamps.
pub fn started_ms() -> u128 {
    static STARTED: OnceLock<u128> = OnceLock::new();
    *STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis())
}

fn program(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/e2e/clients").join(file)
}

/// Where the clients are; gets them when they are not there yet.
fn cache() -> PathBuf {
    static READY: OnceLock<()> = OnceLock::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    READY.get_or_init(|| {
        let got = finish(&mut Command::new(root.join("src/e2e/tools.sh")));
        got.map(drop).unwrap_or_else(|said| panic!("src/e2e/tools.sh: {said}"));
    });
    root.join(".cache")
}
