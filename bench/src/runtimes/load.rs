//! Ping-pong on many connections from one thread: each connection has one message under way, and sends the next when the answer is there.
//!
//! One thread with epoll and blocking nothing: on the load's core it must cost less than any server does on the other.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::Serialize;

use crate::proc;

/// A server that answers nobody for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Taken from the kernel at once.
const EVENTS_MAX: usize = 512;

/// What to do to a server.
pub(super) struct Load {
    pub(super) port: u16,
    pub(super) connections: usize,
    /// Without the length in front.
    pub(super) request_bytes: usize,
    /// Without the length in front.
    pub(super) answer_bytes: usize,
    pub(super) warm: Duration,
    pub(super) measure: Duration,
    /// Process whose CPU time is charged.
    pub(super) server: u32,
}

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) messages: u64,
    pub(super) messages_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// User and system time of the server for each message, in microseconds.
    pub(super) server_cpu_us: f64,
    /// Of the span, how much the load's thread was at work: near 1, the load was the limit.
    pub(super) load_core_share: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { messages_per_s, p50_us, p99_us, server_cpu_us, load_core_share, .. } = self;
        write!(
            f,
            "{messages_per_s:.0}/s, p50 {p50_us:.0} us, p99 {p99_us:.0} us, server {server_cpu_us:.2} us, load core {:.0} %",
            load_core_share * 100.0
        )
    }
}

struct Connection {
    stream: TcpStream,
    /// Of the answer, so far.
    received: usize,
    sent: Instant,
}

impl Load {
    pub(super) fn run(&self) -> io::Result<Measured> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let request = framed(self.request_bytes);
        let mut connections = Vec::with_capacity(self.connections);
        for at in 0..self.connections {
            let stream = TcpStream::connect(("127.0.0.1", self.port))
                .map_err(|error| io::Error::new(error.kind(), format!("connection {at}: {error}")))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
            connections.push(Connection { stream, received: 0, sent: Instant::now() });
        }
        for connection in &mut connections {
            send(connection, &request)?;
        }
        let mut answer = vec![0; 4 + self.answer_bytes];
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut latency = Histogram::<u64>::new(3).expect("three digits is a legal precision");
        let began = Instant::now();
        let mut span: Option<(Instant, f64, Duration)> = None;
        loop {
            events.clear();
            let patience = Timespec { tv_sec: SILENCE_MAX.as_secs() as i64, tv_nsec: 0 };
            epoll::wait(&epoll, spare_capacity(&mut events), Some(&patience))?;
            if events.is_empty() {
                let words = format!("no answer on any connection for {} s", SILENCE_MAX.as_secs());
                return Err(io::Error::new(ErrorKind::TimedOut, words));
            }
            let now = Instant::now();
            match span {
                None if now - began >= self.warm => {
                    latency.reset();
                    span = Some((now, proc::threads_cpu_s(self.server)?, proc::thread_cpu()));
                }
                Some((since, server_s, own)) if now - since >= self.measure => {
                    let used_s = proc::threads_cpu_s(self.server)? - server_s;
                    return Ok(measured(&latency, now - since, used_s, proc::thread_cpu() - own));
                }
                _ => {}
            }
            for event in &events {
                let connection = &mut connections[event.data.u64() as usize];
                let received = match connection.stream.read(&mut answer[connection.received..]) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(received) => received,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                // The answers of all connections are alike, so that one buffer serves them: what is checked is the length.
                connection.received += received;
                if connection.received == answer.len() {
                    if answer[..4] != (self.answer_bytes as u32).to_be_bytes() {
                        return Err(io::Error::new(ErrorKind::InvalidData, "an answer of another length"));
                    }
                    let _ = latency.record(connection.sent.elapsed().as_nanos() as u64);
                    send(connection, &request)?;
                }
            }
        }
    }
}

fn measured(latency: &Histogram<u64>, span: Duration, server_s: f64, load: Duration) -> Measured {
    let messages = latency.len();
    Measured {
        messages,
        messages_per_s: messages as f64 / span.as_secs_f64(),
        p50_us: latency.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latency.value_at_quantile(0.99) as f64 / 1e3,
        server_cpu_us: server_s * 1e6 / messages.max(1) as f64,
        load_core_share: load.as_secs_f64() / span.as_secs_f64(),
    }
}

fn send(connection: &mut Connection, request: &[u8]) -> io::Result<()> {
    connection.received = 0;
    connection.sent = Instant::now();
    // The one message under way always fits into the socket's empty buffer.
    match connection.stream.write(request)? {
        all if all == request.len() => Ok(()),
        some => Err(io::Error::new(ErrorKind::WriteZero, format!("the socket took {some} bytes only"))),
    }
}

/// `bytes` bytes with their length in front.
fn framed(bytes: usize) -> Vec<u8> {
    let mut frame = (bytes as u32).to_be_bytes().to_vec();
    frame.resize(4 + bytes, 0x5a);
    frame
}
