//! Hostile connections to the running broker while a real client works beside them: the client must not notice, the broker must not end,
//! and its memory must not follow what the frames claim.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::frame::RequestHeader;
use floe_wire::messages::Message;
use floe_wire::messages::delete_records::*;
use floe_wire::messages::fetch::*;
use floe_wire::messages::init_producer_id::*;
use floe_wire::messages::list_offsets::*;
use floe_wire::messages::produce::*;
use floe_wire::primitives::{Records, Writer};

use crate::broker::Broker;
use crate::clients::{CLIENTS, CODECS};

/// Memory that hostile connections may make the broker take: what an attack claims is hundreds of times that.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// How many kinds of attack there are.
const KINDS: u64 = 10;
/// What almost valid requests are about.
const TOPIC: &str = "hostile-kcat-none";

/// SplitMix64: repeatable noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(2))).ok()?;
    Some(stream)
}

/// A whole frame: size, header of an API and version, and a body.
fn frame(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut header = [api_key.to_be_bytes(), version.to_be_bytes()].concat();
    header.extend_from_slice(&7_i32.to_be_bytes());
    header.extend_from_slice(&(-1_i16).to_be_bytes());
    let mut bytes = ((header.len() + body.len()) as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(body);
    bytes
}

/// A whole frame with a message of the protocol in it.
fn message<'a>(api_key: i16, version: i16, body: &impl Message<'a>) -> Vec<u8> {
    let mut writer = Writer::new();
    RequestHeader { api_key, api_version: version, correlation_id: 7, client_id: None }.encode(&mut writer);
    body.encode(&mut writer, version);
    let bytes = writer.finish_contiguous();
    [&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat()
}

/// Requests as a client sends them, about a topic that nobody else uses.
fn plausible() -> Vec<Vec<u8>> {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    builder.producer(3, 0, 0);
    (0..50).for_each(|i| builder.push(BatchRecord { timestamp: i, value: Some(b"ice"), ..Default::default() }));
    let batch = builder.finish();
    let mut requests = Vec::new();
    for version in [3, 9, 12] {
        let partition = PartitionProduceData { records: Records::Borrowed(&batch), ..Default::default() };
        let topic = TopicProduceData { name: TOPIC.into(), partition_data: vec![partition], ..Default::default() };
        let body = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
        requests.push(message(0, version, &body));
    }
    for version in [4, 7, 12] {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
        let body = FetchRequest { max_wait_ms: 10, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
        requests.push(message(1, version, &body));
    }
    for version in [1, 6, 11] {
        let partition = ListOffsetsPartition { timestamp: 20, ..Default::default() };
        let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
        requests.push(message(2, version, &ListOffsetsRequest { topics: vec![topic], ..Default::default() }));
    }
    for version in [0, 2] {
        let partition = DeleteRecordsPartition { partition_index: 0, offset: 1 };
        let topic = DeleteRecordsTopic { name: TOPIC.into(), partitions: vec![partition] };
        requests.push(message(21, version, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 }));
    }
    for version in [0, 5] {
        requests.push(message(22, version, &InitProducerIdRequest::default()));
    }
    requests
}

/// One attack of a kind.
fn attack(kind: u64, address: SocketAddr, noise: &mut Noise) {
    let Some(mut stream) = connect(address) else { return };
    let mut send = |bytes: &[u8]| {
        // A broker that has closed already did what it should.
        let _ = stream.write_all(bytes);
    };
    match kind % KINDS {
        // Noise without any frame.
        0 => send(&noise.bytes(4096)),
        // Sizes that cannot be: negative, none, too small for a header, as large as can be said.
        1 => send(&[(-1_i32), i32::MIN, 0, 3, i32::MAX][noise.next() as usize % 5].to_be_bytes()),
        // A large frame is announced, a little of it comes, and then nothing.
        2 => {
            send(&(90_i32 << 20).to_be_bytes());
            send(&noise.bytes(1000));
        }
        // A frame of noise.
        3 => {
            let body = noise.bytes(2000);
            send(&(body.len() as i32).to_be_bytes());
            send(&body);
        }
        // A body of noise under every API and version there is, and some that are not.
        4 => {
            for _ in 0..20 {
                let body = noise.bytes(noise.0 as usize % 300);
                send(&frame((noise.next() % 80) as i16, (noise.next() % 20) as i16, &body));
            }
        }
        // Arrays of two billion topics.
        5 => {
            for (key, version) in [(0, 3), (0, 9), (1, 4), (1, 12), (2, 1), (3, 1), (3, 9), (19, 2), (20, 1), (37, 0)] {
                let mut body = [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f].to_vec();
                body.extend(noise.bytes(64));
                send(&frame(key, version, &body));
            }
        }
        // A frame that comes byte by byte and never to its end.
        6 => {
            for byte in &frame(3, 1, &[0, 0, 0, 1, 0, 3])[..] {
                send(&[*byte]);
                thread::sleep(Duration::from_millis(5));
            }
        }
        // Requests without end, whose answers are never read.
        7 => {
            let metadata = frame(3, 1, &[0xff, 0xff, 0xff, 0xff]).repeat(500);
            for _ in 0..20 {
                send(&metadata);
            }
            return;
        }
        // Almost what a client sends: a few bytes are others.
        8 => {
            for mut frame in plausible() {
                for _ in 0..noise.next() % 4 {
                    let at = 4 + noise.next() as usize % (frame.len() - 4);
                    frame[at] = [noise.next() as u8, 0, 0xff, 0x7f][noise.next() as usize % 4];
                }
                send(&frame);
            }
        }
        // Half a header.
        _ => send(&[0, 0, 0, 30, 0, 3]),
    }
    // Some wait for an answer, some are gone at once.
    if noise.next().is_multiple_of(2) {
        let mut answer = [0; 4096];
        while stream.read(&mut answer).is_ok_and(|got| got > 0) {}
    }
}

fn a_client_works_undisturbed(cores: usize) {
    let mut broker = Broker::start(cores);
    let address = broker.address;
    let bootstrap = broker.bootstrap();
    // Once without anybody beside it: what the clients' own work takes is not the attack's.
    let work = |run: &str| {
        for name in ["confluent", "aiokafka"] {
            let client = CLIENTS.iter().find(|client| client.name == name).expect("a known client");
            let topics: Vec<String> = CODECS.iter().map(|codec| format!("{run}-{name}-{codec}")).collect();
            client.run(&bootstrap, "write", &topics).unwrap();
            client.run(&bootstrap, "verify", &topics).unwrap();
        }
    };
    work("before");
    let kcat = CLIENTS.iter().find(|client| client.name == "kcat").expect("a known client");
    kcat.run(&bootstrap, "write", &[TOPIC.to_owned()]).unwrap();
    let before = broker.resident_bytes();
    let (is_over, attacks) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Over on a panic of the client too: the scope waits for every thread in it.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        for lane in 0..4_u64 {
            let (is_over, attacks) = (&is_over, &attacks);
            scope.spawn(move || {
                let mut noise = Noise(lane);
                let mut kind = lane;
                // Every kind at least once, however fast the client was.
                while !is_over.load(Ordering::Relaxed) || kind < lane + KINDS {
                    attack(kind, address, &mut noise);
                    attacks.fetch_add(1, Ordering::Relaxed);
                    kind += 1;
                }
            });
        }
        let _over = Over(&is_over);
        work("beside");
    });
    broker.assert_alive();
    let after = broker.resident_bytes();
    let count = attacks.load(Ordering::Relaxed);
    println!("{count} attacks on {cores} cores: {} MiB before, {} MiB after", before >> 20, after >> 20);
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes resident before {count} attacks, {after} after");
    work("after");
}

#[test]
fn a_client_on_one_core_is_not_disturbed_by_hostile_connections() {
    a_client_works_undisturbed(1);
}

#[test]
fn a_client_on_four_cores_is_not_disturbed_by_hostile_connections() {
    a_client_works_undisturbed(4);
}
