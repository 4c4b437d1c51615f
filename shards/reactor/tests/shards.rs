//! The driver with a small machine in the engine's place: real rings, real sockets, real files.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_engine::config::BrokerConfig;
use floe_engine::event::{
    AdminReply, AdminRequest, ConnId, DiskOp, DiskOutput, Effect, Effects, FileHandle, FileRange, Input, Luggage,
    Machine, OpId, Reply, ReplyPart, ShardId,
};
use floe_engine::mesh::MeshMsg;
use floe_engine::metrics::DriverMetrics;
use floe_engine::time::{Deadline, Time};
use floe_reactor::memory::AlignedBuf;
use floe_reactor::run::{self, Event, Plan, Shards};

/// Length of the file that the machine writes at its start and sends on request.
const FILE_BYTES: usize = 3 << 20;

/// Messages to the next shard that one request of that kind calls for: far more than the queue between them holds.
const FLOOD_MESSAGES: usize = 20_000;

/// What a request's first byte asks for.
const ECHO: u8 = b'e';
const FILE: u8 = b'f';
const CLOSE: u8 = b'c';
const MESH: u8 = b'm';
const FLOOD: u8 = b'o';
const PAUSE: u8 = b'p';
const LATER: u8 = b'l';
const BEYOND: u8 = b'b';
const GO: u8 = b'g';
const GO_LATER: u8 = b'G';

/// Answers requests of the kinds above; written for this test only.
#[derive(Default)]
struct Small {
    shard: u16,
    shards: u16,
    file: Option<FileHandle>,
    paused: Vec<ConnId>,
    later: Vec<(Deadline, ConnId)>,
    peers: HashMap<ConnId, SocketAddr>,
    /// Replies on their way.
    unsent: HashMap<ConnId, usize>,
    /// Connections that are to go to the next shard, with what they asked for meanwhile; whether that has begun.
    going: HashMap<ConnId, (Vec<Bytes>, bool)>,
    going_later: Vec<(Deadline, ConnId)>,
}

/// What goes along with a connection.
type Bag = (SocketAddr, Vec<Bytes>);

fn pattern(at: usize) -> u8 {
    (at * 31 / 7) as u8
}

impl Small {
    fn reply(&mut self, conn: ConnId, parts: Vec<ReplyPart>, fx: &mut Effects) {
        *self.unsent.entry(conn).or_default() += 1;
        let body = Reply { parts };
        let prefix = Bytes::copy_from_slice(&(body.len() as u32).to_be_bytes());
        let parts = std::iter::once(ReplyPart::Mem(prefix)).chain(body.parts).collect();
        fx.push(Effect::Reply { conn, reply: Reply { parts } });
    }

    fn say(&mut self, conn: ConnId, text: &'static [u8], fx: &mut Effects) {
        self.reply(conn, vec![ReplyPart::Mem(Bytes::from_static(text))], fx);
    }

    fn range(&self, offset: usize, len: usize) -> ReplyPart {
        let file = self.file.clone().expect("opened at the start");
        ReplyPart::File(FileRange { file, offset: offset as u64, len: len as u64 })
    }

    fn may_go(&mut self, conn: ConnId, fx: &mut Effects) {
        if let Some((_, begun @ false)) = self.going.get_mut(&conn)
            && self.unsent.get(&conn).is_none_or(|unsent| *unsent == 0)
        {
            *begun = true;
            fx.push(Effect::Detach { conn });
        }
    }

    fn frame(&mut self, now: Time, conn: ConnId, frame: Bytes, fx: &mut Effects) {
        if let Some((held, _)) = self.going.get_mut(&conn) {
            return held.push(frame);
        }
        match frame[0] {
            GO => {
                self.going.insert(conn, (Vec::new(), false));
                self.may_go(conn, fx);
            }
            GO_LATER => self.going_later.push((now.after(Duration::from_millis(20)), conn)),
            ECHO => self.reply(conn, vec![ReplyPart::Mem(frame)], fx),
            FILE => {
                let middle = ReplyPart::Mem(Bytes::from_static(b"between"));
                let parts = vec![self.range(0, FILE_BYTES - 5), middle, self.range(FILE_BYTES - 5, 5)];
                self.reply(conn, parts, fx);
            }
            BEYOND => self.reply(conn, vec![self.range(FILE_BYTES - 5, 10)], fx),
            CLOSE => {
                self.say(conn, b"bye", fx);
                fx.push(Effect::Close { conn });
            }
            MESH => {
                let to = ShardId((self.shard + 1) % self.shards);
                fx.push(Effect::Mesh { to, msg: MeshMsg::Wake { token: conn.0 } });
            }
            FLOOD => {
                let to = ShardId((self.shard + 1) % self.shards);
                let wake = || Effect::Mesh { to, msg: MeshMsg::Wake { token: conn.0 } };
                fx.extend(std::iter::repeat_with(wake).take(FLOOD_MESSAGES));
            }
            PAUSE => {
                self.paused.push(conn);
                fx.push(Effect::PauseReads { conn });
                self.later.push((now.after(Duration::from_millis(50)), conn));
            }
            LATER => self.later.push((now.after(Duration::from_millis(5)), conn)),
            _ => fx.push(Effect::Close { conn }),
        }
    }
}

impl Machine for Small {
    fn handle(&mut self, now: Time, input: Input, fx: &mut Effects) {
        match input {
            Input::Boot(boot) => {
                (self.shard, self.shards) = (boot.shard.0, boot.shards);
                let path = format!("deep/er/file-{}", self.shard);
                fx.push(Effect::Disk { op: OpId(1), what: DiskOp::Open { path, create: true, direct: true } });
            }
            Input::DiskDone { op: OpId(1), result } => {
                let Ok(DiskOutput::Opened { file, len: 0 }) = result else { panic!("{result:?}") };
                let mut buf = AlignedBuf::zeroed(FILE_BYTES);
                for at in 0..FILE_BYTES {
                    // SAFETY: within the buffer, which nobody else knows yet.
                    unsafe { buf.at(at).write(pattern(at)) };
                }
                // SAFETY: zeroed at first, and written since.
                let data = unsafe { buf.freeze(FILE_BYTES) };
                let what = DiskOp::Write { file, offset: 0, data, dsync: true };
                fx.push(Effect::Disk { op: OpId(2), what });
            }
            Input::DiskDone { op: OpId(2), result: Ok(DiskOutput::Done) } => {
                let path = format!("deep/er/file-{}", self.shard);
                fx.push(Effect::Disk { op: OpId(3), what: DiskOp::Open { path, create: false, direct: false } });
            }
            Input::DiskDone { op: OpId(3), result } => {
                let Ok(DiskOutput::Opened { file, len }) = result else { panic!("{result:?}") };
                assert_eq!(len, FILE_BYTES as u64);
                self.file = Some(file.clone());
                let what = DiskOp::Read { file, offset: FILE_BYTES as u64 - 10, len: 100, piece: DiskOp::WHOLE };
                fx.push(Effect::Disk { op: OpId(4), what });
            }
            Input::DiskDone { op: OpId(4), result } => {
                let Ok(DiskOutput::Data(data)) = result else { panic!("{result:?}") };
                assert_eq!(data, (FILE_BYTES - 10..FILE_BYTES).map(pattern).collect::<Vec<_>>());
                let file = self.file.clone().expect("opened before");
                let what = DiskOp::Read { file, offset: 10, len: FILE_BYTES as u64, piece: 5000 };
                fx.push(Effect::Disk { op: OpId(5), what });
            }
            Input::DiskDone { op: OpId(5), result } => {
                let Ok(DiskOutput::Data(data)) = result else { panic!("{result:?}") };
                assert_eq!(data, (10..FILE_BYTES).map(pattern).collect::<Vec<_>>(), "put together from pieces");
                fx.push(Effect::Ready);
            }
            Input::DiskDone { op, result } => panic!("{op:?} {result:?}"),
            Input::Connected { conn, peer, .. } => {
                self.peers.insert(conn, peer);
            }
            Input::Disconnected { conn } => {
                self.peers.remove(&conn).expect("connected before");
                self.going.remove(&conn);
                self.unsent.remove(&conn);
            }
            Input::ReplySent { conn, .. } => {
                *self.unsent.get_mut(&conn).expect("a reply was sent") -= 1;
                self.may_go(conn, fx);
            }
            Input::Detached { conn } => {
                let peer = self.peers.remove(&conn).expect("connected before");
                self.unsent.remove(&conn);
                let (held, begun) = self.going.remove(&conn).expect("it was to go");
                assert!(begun);
                let bag: Bag = (peer, held);
                let to = ShardId((self.shard + 1) % self.shards);
                fx.push(Effect::Attach { conn, to, luggage: Luggage::new(bag) });
            }
            Input::Attached { conn, luggage } => {
                let (peer, held) = luggage.open::<Bag>();
                self.peers.insert(conn, peer);
                self.reply(conn, vec![ReplyPart::Mem(vec![b'0' + self.shard as u8].into())], fx);
                held.into_iter().for_each(|frame| self.frame(now, conn, frame, fx));
            }
            Input::Frame { conn, frame } => {
                assert!(!self.paused.contains(&conn), "its reads are paused");
                self.frame(now, conn, frame, fx);
            }
            Input::Mesh { from, msg: MeshMsg::Wake { token } } => {
                // Once round: the second shard sends it back.
                fx.push(Effect::Mesh { to: from, msg: MeshMsg::Unwatch { token } });
            }
            Input::Mesh { msg: MeshMsg::Unwatch { token }, .. } => self.say(ConnId(token), b"round", fx),
            Input::Timer => {
                let due = self.going_later.extract_if(.., |(deadline, _)| now.reached(*deadline)).collect::<Vec<_>>();
                for (_, conn) in due {
                    if self.peers.contains_key(&conn) {
                        self.going.entry(conn).or_default();
                        self.may_go(conn, fx);
                    }
                }
                let due = self.later.extract_if(.., |(deadline, _)| now.reached(*deadline)).collect::<Vec<_>>();
                for (_, conn) in due {
                    if let Some(at) = self.paused.iter().position(|paused| *paused == conn) {
                        self.paused.swap_remove(at);
                        fx.push(Effect::ResumeReads { conn });
                    }
                    self.say(conn, b"later", fx);
                }
            }
            Input::Admin { token, request: AdminRequest::Ready } => {
                let reply = AdminReply::Ready(Err(format!("{} clients", self.peers.len())));
                fx.push(Effect::AdminReply { token, reply });
            }
            Input::Admin { token, request: AdminRequest::Metrics } => {
                fx.push(Effect::AdminReply { token, reply: AdminReply::Metrics(Box::default()) });
            }
            Input::Shutdown => fx.push(Effect::Stopped),
            _ => {}
        }
    }

    fn end_of_round(&mut self, _: Time, _: &mut Effects) {}

    fn next_deadline(&self) -> Option<Deadline> {
        self.later.iter().chain(&self.going_later).map(|(deadline, _)| *deadline).min()
    }
}

/// Running shards in a folder of their own, which goes with them.
struct Running {
    shards: Option<Shards>,
    address: SocketAddr,
    folder: PathBuf,
}

impl Running {
    fn start(name: &str, count: usize) -> Running {
        Running::start_spinning(name, count, Duration::ZERO)
    }

    fn start_spinning(name: &str, count: usize, spin: Duration) -> Running {
        let folder = std::env::temp_dir().join(format!("floe-reactor-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Plan {
            data_dir: folder.clone(),
            config: Arc::new(BrokerConfig::default()),
            seed: [0; 32],
            cpus: vec![0; count],
            pin: false,
            cpu_latency_us: None,
            spin,
            listeners: vec![listener],
        };
        let shards = run::start(plan, |_| Small::default()).unwrap();
        assert!(matches!(shards.events().recv().unwrap(), Event::Ready));
        Running { shards: Some(shards), address, folder }
    }

    fn measured(&self, shard: usize) -> DriverMetrics {
        let asker = self.shards.as_ref().unwrap().asker();
        match asker.ask(shard, AdminRequest::Metrics, Duration::from_secs(5)) {
            Some(AdminReply::Metrics(metrics)) => metrics.driver,
            other => panic!("{other:?}"),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let shards = self.shards.take().expect("until now");
        shards.shutdown();
        assert!(matches!(shards.events().recv().unwrap(), Event::Stopped));
        shards.exit();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn request(kind: u8, len: usize) -> Vec<u8> {
    let mut body: Vec<u8> = (0..len).map(pattern).collect();
    body[0] = kind;
    [&(len as u32).to_be_bytes()[..], &body].concat()
}

fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).unwrap();
    let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut body).unwrap();
    body
}

#[test]
fn requests_of_every_size_in_pieces_of_every_size_come_back() {
    let running = Running::start("echo", 2);
    for len in [4, 5, 100, 16 << 10, 300_000, 5 << 20] {
        for piece in [1, 3, 4096, 1 << 20, usize::MAX] {
            if len / piece > 2000 {
                continue;
            }
            let mut stream = running.connect();
            let request = request(ECHO, len);
            for part in request.chunks(piece.min(request.len())) {
                stream.write_all(part).unwrap();
            }
            assert!(answer(&mut stream) == request[4..], "{len} bytes in pieces of {piece}");
        }
    }
}

#[test]
fn a_pipeline_is_answered_in_order_also_by_a_client_that_reads_late() {
    let running = Running::start("pipeline", 1);
    let mut stream = running.connect();
    let lens: Vec<usize> = (0..400).map(|n| 4 + n * 97).collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = lens.clone();
    let thread = std::thread::spawn(move || {
        for len in sent {
            writer.write_all(&request(ECHO, len)).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    for len in lens {
        assert!(answer(&mut stream) == request(ECHO, len)[4..], "{len}");
    }
    thread.join().unwrap();
}

#[test]
fn ranges_of_files_leave_between_memory() {
    let running = Running::start("file", 1);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| running.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&[request(FILE, 4), request(FILE, 4), request(ECHO, 9)].concat()).unwrap();
    }
    // Long enough for every socket to be full and for the helpers' timeouts.
    std::thread::sleep(Duration::from_millis(300));
    let file: Vec<u8> = (0..FILE_BYTES).map(pattern).collect();
    let whole = [&file[..FILE_BYTES - 5], b"between", &file[FILE_BYTES - 5..]].concat();
    for stream in &mut streams {
        assert!(answer(stream) == whole);
        assert!(answer(stream) == whole);
        assert!(answer(stream) == request(ECHO, 9)[4..]);
    }
    // More than there is: the promised length cannot be kept, so the connection ends.
    streams[0].write_all(&request(BEYOND, 4)).unwrap();
    let mut rest = Vec::new();
    let _ = streams[0].read_to_end(&mut rest);
    assert!(rest.len() < 14, "{rest:?}");
}

#[test]
fn sizes_that_cannot_be_end_the_connection() {
    let running = Running::start("sizes", 1);
    for size in [i32::MIN, -1, 0, 3, 104_857_601, i32::MAX] {
        let mut stream = running.connect();
        stream.write_all(&size.to_be_bytes()).unwrap();
        let end = stream.read(&mut [0; 1]);
        assert!(matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{size}");
    }
    let mut stream = running.connect();
    stream.write_all(&request(ECHO, 4)).unwrap();
    assert_eq!(answer(&mut stream).len(), 4);
}

#[test]
fn close_sends_what_was_to_be_sent() {
    let running = Running::start("close", 2);
    for _ in 0..10 {
        let mut stream = running.connect();
        stream.write_all(&[request(FILE, 4), request(CLOSE, 4), request(ECHO, 4)].concat()).unwrap();
        assert_eq!(answer(&mut stream).len(), FILE_BYTES + 7);
        assert_eq!(answer(&mut stream), b"bye");
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

#[test]
fn paused_connections_wait_and_timers_come() {
    let running = Running::start("pause", 1);
    let mut stream = running.connect();
    stream.write_all(&request(PAUSE, 4)).unwrap();
    std::thread::sleep(Duration::from_millis(10));
    stream.write_all(&[request(ECHO, 6), request(LATER, 4)].concat()).unwrap();
    assert_eq!(answer(&mut stream), b"later");
    assert_eq!(answer(&mut stream).len(), 6);
    assert_eq!(answer(&mut stream), b"later");
}

#[test]
fn shards_reach_each_other_awake_and_asleep() {
    let running = Running::start("mesh", 3);
    for _ in 0..30 {
        let mut stream = running.connect();
        stream.write_all(&request(MESH, 4)).unwrap();
        assert_eq!(answer(&mut stream), b"round");
        stream.write_all(&request(MESH, 4).repeat(1000)).unwrap();
        for _ in 0..1000 {
            assert_eq!(answer(&mut stream), b"round");
        }
    }
}

#[test]
fn a_flood_between_shards_holds_clients_up_and_loses_nothing() {
    let running = Running::start("flood", 2);
    let mut stream = running.connect();
    for _ in 0..3 {
        stream.write_all(&[request(FLOOD, 4), request(ECHO, 9).repeat(200)].concat()).unwrap();
        let (mut round, mut echoed) = (0, 0);
        for _ in 0..FLOOD_MESSAGES + 200 {
            match answer(&mut stream) {
                said if said == b"round" => round += 1,
                said => echoed += usize::from(said.len() == 9),
            }
        }
        assert_eq!((round, echoed), (FLOOD_MESSAGES, 200));
    }
}

#[test]
fn the_admin_thread_gets_answers_and_sees_clients_go() {
    let running = Running::start("admin", 1);
    let asker = running.shards.as_ref().unwrap().asker();
    let ask = || match asker.ask(0, AdminRequest::Ready, Duration::from_secs(5)) {
        Some(AdminReply::Ready(Err(text))) => text,
        other => panic!("{other:?}"),
    };
    let streams: Vec<TcpStream> = (0..20).map(|_| running.connect()).collect();
    while ask() != "20 clients" {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(streams);
    while ask() != "0 clients" {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn requests_in_pieces_hops_between_shards_and_rounds_are_timed() {
    let running = Running::start("measured", 2);
    let mut stream = running.connect();
    stream.write_all(&request(ECHO, 100)).unwrap();
    answer(&mut stream);
    // Which of the two serves it is theirs to say.
    let shard = (0..2).find(|shard| running.measured(*shard).receive_ns.count() == 1).expect("one took it in");
    assert_eq!(running.measured(shard).receive_ns.sum_ns(), 0, "it came whole");
    let whole = request(ECHO, 100);
    // Until the shard has seen the first half alone: a busy machine may keep it from looking in between.
    let mut sent = 1;
    while running.measured(shard).receive_ns.sum_ns() == 0 {
        stream.write_all(&whole[..50]).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        stream.write_all(&whole[50..]).unwrap();
        answer(&mut stream);
        sent += 1;
    }
    let measured = running.measured(shard);
    assert_eq!(measured.receive_ns.count(), sent);
    assert!(measured.round_ns.count() >= 2 && measured.round_ns.sum_ns() > 0);
    let hops = |shard| running.measured(shard).hop_ns.count();
    let before = hops(0) + hops(1);
    stream.write_all(&request(MESH, 4)).unwrap();
    answer(&mut stream);
    assert_eq!(hops(0) + hops(1), before + 2, "there and back");
    assert_eq!(measured.polled_ns, 0, "nobody spins");
}

#[test]
fn time_spent_spinning_is_told_apart() {
    let running = Running::start_spinning("spinning", 1, Duration::from_millis(5));
    while running.measured(0).polled_ns < 1_000_000 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_connection_goes_round_the_shards_between_two_requests() {
    let running = Running::start("go", 3);
    let mut stream = running.connect();
    let mut writer = stream.try_clone().unwrap();
    let requests: Vec<Vec<u8>> =
        (0..300).map(|n| request(if n % 3 == 0 { GO } else { ECHO }, 4 + n * n * 7 % 60_000)).collect();
    let sent = requests.concat();
    let thread = std::thread::spawn(move || {
        // Pieces end anywhere in a request.
        for (piece, at) in sent.chunks(70_001).zip(0..) {
            writer.write_all(piece).unwrap();
            if at % 4 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let mut shard = 0;
    for request in requests {
        if request[4] == GO {
            shard = (shard + 1) % 3;
            assert_eq!(answer(&mut stream), [b'0' + shard]);
        } else {
            assert!(answer(&mut stream) == request[4..]);
        }
    }
    thread.join().unwrap();
}

#[test]
fn what_a_cancelled_receive_has_brought_goes_along() {
    let running = Running::start("cancel", 2);
    let large = request(ECHO, 5 << 20);
    for first in [0, 1, 3, 4, 5, 20_000, 100_000, 3 << 20] {
        let mut stream = running.connect();
        stream.write_all(&request(GO_LATER, 4)).unwrap();
        // So the receive waits for the whole of a long request when it is cancelled.
        stream.write_all(&large[..first]).unwrap();
        assert_eq!(answer(&mut stream).len(), 1);
        stream.write_all(&large[first..]).unwrap();
        assert!(answer(&mut stream) == large[4..], "after {first} bytes");
    }
}

#[test]
fn clients_that_leave_while_their_connection_moves_leave_nothing() {
    let running = Running::start("leave", 3);
    let asker = running.shards.as_ref().unwrap().asker();
    for n in 0..300 {
        let mut stream = running.connect();
        let count = 1 + n % 5;
        stream.write_all(&request(if n % 2 == 0 { GO } else { GO_LATER }, 4).repeat(count)).unwrap();
        stream.write_all(&request(ECHO, 70_000)[..n * 200]).unwrap();
        match n % 4 {
            0 => {}
            1 => std::thread::sleep(Duration::from_micros(n as u64 * 10)),
            2 => stream.shutdown(std::net::Shutdown::Write).unwrap(),
            _ => assert_eq!(answer(&mut stream).len(), 1),
        }
    }
    for shard in 0..3 {
        let count = || match asker.ask(shard, AdminRequest::Ready, Duration::from_secs(5)) {
            Some(AdminReply::Ready(Err(text))) => text,
            other => panic!("{other:?}"),
        };
        while count() != "0 clients" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
