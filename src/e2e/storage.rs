//! What a full disk and a damaged file do to clients: the one makes producers wait and nobody else, the other costs its own partition.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use floe_wire::batch;
use floe_wire::messages::Message;
use floe_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use floe_wire::primitives::{Reader, Records, Writer};

use crate::broker::Broker;
use crate::clients::{finish, limited, python};

#[test]
fn producers_wait_on_a_full_disk_and_go_on_when_there_is_room() {
    let Some(namespace) = private_mounts() else {
        println!("SKIPPED: no file system of limited size can be mounted here (unshare --mount is not permitted)");
        return;
    };
    let broker =
        Broker::start_on_tmpfs(&namespace, "650m", &["--set", "settle.bytes=8MiB", "--set", "journal.bytes=48MiB"]);
    let log = broker.dir.join("broker.log");
    let said = finish(python("full_disk_client.py").arg(broker.bootstrap()).arg(&log));
    print!("full disk: {}", said.unwrap_or_else(|said| panic!("{said}\nthe broker:\n{}", broker.log())));
}

/// The command that gives a process mounts of its own, as far as this user may.
fn private_mounts() -> Option<Vec<&'static str>> {
    [vec!["unshare", "--mount"], vec!["unshare", "--user", "--map-root-user", "--mount"]].into_iter().find(|way| {
        let mount = ["sh", "-c", "mount -t tmpfs -o size=1m floe /mnt"];
        Command::new(way[0]).args(&way[1..]).args(mount).output().is_ok_and(|output| output.status.success())
    })
}

/// Lines of a kilobyte, no two alike.
const LINES: usize = 8_000;

#[test]
fn a_damaged_segment_costs_its_own_partition_and_never_gives_wrong_records() {
    let mut broker = Broker::start_with(1, &["--set", "settle.bytes=1MiB"]);
    let lines = broker.dir.join("lines");
    let text: String =
        (0..LINES).map(|i| format!("{i} {}\n", char::from(b'a' + (i % 26) as u8).to_string().repeat(1000))).collect();
    fs::write(&lines, &text).unwrap();
    write_lines(&broker, "damaged", &lines);
    let segment = only_segment(&broker.data);
    write_lines(&broker, "healthy", &lines);
    assert!(broker.terminate().success());

    let whole = fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    fs::write(&segment, &damaged).unwrap();
    broker.resume(1);

    let (taken, error) = read_until_error(broker.address, "damaged");
    assert_eq!(error, KAFKA_STORAGE_ERROR, "after {taken} records");
    assert!(taken < LINES as i64);
    // The log says which file and what to do.
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    let log = broker.log();
    assert!(log.contains(&name) && log.contains("accept-loss"), "{log}");
    assert_eq!(read_lines(&broker, "healthy"), text);
    write_lines(&broker, "healthy", &lines);

    // The operator accepts the loss: the rest is served, and what is served is right.
    assert!(broker.terminate().success());
    fs::write(broker.data.join("accept-loss"), "damaged-0\n").unwrap();
    broker.resume(1);
    let rest = read_lines(&broker, "damaged");
    let rest: Vec<&str> = rest.lines().collect();
    assert!(rest.len() < LINES && rest.len() > LINES / 2, "{} of {LINES} lines are left", rest.len());
    let mut all = text.lines();
    assert!(rest.iter().all(|line| all.any(|other| other == *line)), "a line that was never written, or out of order");
    assert_eq!(read_lines(&broker, "healthy").len(), 2 * text.len());

    // Undamaged again, everything is there.
    assert!(broker.terminate().success());
    fs::remove_file(broker.data.join("accept-loss")).unwrap();
    fs::write(&segment, &whole).unwrap();
    broker.resume(1);
    assert_eq!(read_lines(&broker, "damaged"), text);
}

const KAFKA_STORAGE_ERROR: i16 = 56;

fn write_lines(broker: &Broker, topic: &str, lines: &Path) {
    let mut kcat = limited("kcat");
    kcat.args(["-b", &broker.bootstrap(), "-P", "-t", topic, "-p", "0", "-X", "batch.num.messages=50", "-l"])
        .arg(lines);
    finish(&mut kcat).unwrap();
}

fn read_lines(broker: &Broker, topic: &str) -> String {
    let mut kcat = limited("kcat");
    kcat.args(["-b", &broker.bootstrap(), "-C", "-q", "-t", topic, "-p", "0", "-o", "beginning", "-e"]);
    finish(&mut kcat).unwrap()
}

/// The one segment of the one partition there is.
fn only_segment(data: &Path) -> PathBuf {
    // It is made when the first records are settled, some time after they were acknowledged.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_dir(data.join("partitions")).is_ok_and(|mut entries| entries.next().is_some()) {
        assert!(Instant::now() < deadline, "nothing was settled");
        sleep(Duration::from_millis(20));
    }
    let folders: Vec<_> = fs::read_dir(data.join("partitions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].join("00000000000000000000.log")
}

/// Fetches a partition from its start: records taken, each batch checked, and the error after them (0 at the end of the log).
fn read_until_error(address: SocketAddr, topic: &str) -> (i64, i16) {
    let mut next = 0;
    loop {
        let answer = fetch(address, topic, next);
        let response = FetchResponse::decode_all(&answer, 4).expect("a response");
        let partition = &response.responses[0].partitions[0];
        let Records::Borrowed(bytes) = partition.records else { return (next, partition.error_code) };
        let start = next;
        for found in batch::batches(bytes).map_while(Result::ok) {
            batch::validate_prefix(found.bytes, 1 << 30).expect("a whole batch");
            next = found.header.last_offset() + 1;
        }
        if partition.error_code != 0 || next == start {
            return (next, partition.error_code);
        }
    }
}

/// The body of an answer to Fetch 4, by hand: a client library would hide the error and try again.
fn fetch(address: SocketAddr, topic: &str, offset: i64) -> Vec<u8> {
    let partition =
        FetchPartition { partition: 0, fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let request =
        FetchRequest { max_wait_ms: 100, min_bytes: 0, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
    let mut writer = Writer::new();
    writer.put(&[0, 1, 0, 4, 0, 0, 0, 7, 0xff, 0xff]);
    request.encode(&mut writer, 4);
    let body = writer.finish_contiguous();
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.write_all(&(body.len() as i32).to_be_bytes()).expect("sent");
    stream.write_all(&body).expect("sent");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("a whole answer");
    let mut reader = Reader::new(&answer);
    assert_eq!(reader.take(4), Ok(&[0, 0, 0, 7][..]), "the answer's correlation id");
    answer[4..].to_vec()
}
