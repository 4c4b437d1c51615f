//! How many clients there may be from one address, and how long an idle one stays: bare sockets against the running broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the listener takes everybody in");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Asks ApiVersions 0: whether there was an answer; false: the broker has closed.
fn is_served(stream: &mut TcpStream) -> bool {
    if stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).is_err() {
        return false;
    }
    let mut size = [0; 4];
    if stream.read_exact(&mut size).is_err() {
        return false;
    }
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).is_ok()
}

/// One that is served, as soon as there is room again.
fn one_more(address: SocketAddr) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut stream = connect(address);
        if is_served(&mut stream) {
            return stream;
        }
        assert!(Instant::now() < end, "nobody is let in any more");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_address_has_so_many_connections_on_all_cores_together() {
    let broker = Broker::start_with(3, &["--set", "max.connections.per.ip=4"]);
    let mut inside: Vec<TcpStream> = (0..4).map(|_| one_more(broker.address)).collect();
    for _ in 0..6 {
        assert!(!is_served(&mut connect(broker.address)), "a fifth one");
    }
    assert!(inside.iter_mut().all(is_served), "those inside have not noticed");
    drop(inside.pop());
    inside.push(one_more(broker.address));
    assert!(!is_served(&mut connect(broker.address)));
}

#[test]
fn the_idle_are_let_go_and_the_busy_stay() {
    let broker = Broker::start_with(2, &["--set", "connections.max.idle.ms=700"]);
    let idle: Vec<TcpStream> = (0..2).map(|_| connect(broker.address)).collect();
    let mut busy: Vec<TcpStream> = (0..2).map(|_| connect(broker.address)).collect();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            for mut stream in idle {
                assert_eq!(stream.read(&mut [0]).expect("an end, not a timeout"), 0);
            }
        });
        while !waiting.is_finished() {
            assert!(busy.iter_mut().all(is_served), "who asks is not idle");
            thread::sleep(Duration::from_millis(20));
        }
        waiting.join().expect("the idle ones are closed");
    });
    let (_, page) = broker.admin_page("/metrics").expect("the admin port answers");
    let closed =
        page.lines().filter_map(|line| line.strip_prefix("floe_connections_idle_closed_total")?.rsplit_once(' '));
    assert!(closed.map(|(_, count)| count.parse::<u64>().expect("a count")).sum::<u64>() >= 2, "{page}");
}
