//! Ports, looked at before anything else happens: a broker that cannot listen must not touch its data directory.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use floe_engine::config::Listener;

use crate::config::listeners::shown;
use crate::problem::{Outcome, Problem};

/// How long a port may stay taken before the start is refused: a killed broker's sockets were seen to live some milliseconds longer.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Between two tries.
const LINGER_TURN: Duration = Duration::from_millis(10);

/// Takes the port of a listener. Port 0 becomes a real one here, so that it is known before clients are told.
pub fn take(listener: &mut Listener) -> Outcome<TcpListener> {
    let bound = bind(&listener.bind_host, listener.bind_port, "--listen HOST:PORT")?;
    let address = local(&bound)?;
    if listener.bind_port == 0 {
        listener.bind_port = address.port();
    }
    if listener.advertised_port == 0 {
        listener.advertised_port = address.port();
    }
    Ok(bound)
}

/// Binds a port, or says who may have it.
pub fn bind(host: &str, port: u16, flag: &str) -> Outcome<TcpListener> {
    let place = shown(host, port);
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map(Iterator::collect).map_err(|error| {
        Problem::new(format!("cannot listen on {place}: the name cannot be resolved"))
            .because(error)
            .next(format!("give an address of this host with {flag}"))
    })?;
    patiently(|| TcpListener::bind(addresses.as_slice())).map_err(|error| {
        let problem = Problem::new(format!("cannot listen on {place}"));
        match error.kind() {
            ErrorKind::AddrInUse => problem
                .because_of("another process has the port")
                .next(format!("see which: ss -ltnp 'sport = :{port}'"))
                .next(format!("stop it, or listen elsewhere with {flag}")),
            ErrorKind::AddrNotAvailable => problem
                .because_of("this host does not have that address")
                .next(format!("see which it has: ip address; listen on one of them with {flag}, and tell clients another one with --advertise")),
            ErrorKind::PermissionDenied => problem
                .because_of("ports under 1024 are for privileged processes")
                .next(format!("take a higher port with {flag}")),
            _ => problem.because(error).next(format!("listen elsewhere with {flag}")),
        }
    })
}

/// Tries again for a while as long as the port is taken: when a broker was killed, the kernel takes its rings down after the process is
/// gone, and they hold its sockets until their last write has ended. A restart must not fail for that, nor begin before it.
fn patiently(bind: impl Fn() -> io::Result<TcpListener>) -> io::Result<TcpListener> {
    let end = Instant::now() + LINGER_MAX;
    loop {
        match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < end => thread::sleep(LINGER_TURN),
            done => return done,
        }
    }
}

fn local(bound: &TcpListener) -> Outcome<SocketAddr> {
    bound.local_addr().map_err(|error| Problem::new("cannot read the address of a listener").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(host: &str, port: u16) -> Listener {
        Listener {
            name: "PLAINTEXT".to_owned(),
            bind_host: host.to_owned(),
            bind_port: port,
            advertised_host: host.to_owned(),
            advertised_port: port,
        }
    }

    #[test]
    fn a_taken_port_is_told_with_the_command_that_shows_who_has_it() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let problem = take(&mut listener("127.0.0.1", port)).unwrap_err().to_string();
        assert!(
            problem.contains("another process has the port") && problem.contains(&format!("sport = :{port}")),
            "{problem}"
        );
        let problem = take(&mut listener("192.0.2.1", 9092)).unwrap_err().to_string();
        assert!(problem.contains("does not have that address"), "{problem}");
    }

    #[test]
    fn port_0_becomes_a_real_one() {
        let mut any = listener("127.0.0.1", 0);
        let address = take(&mut any).unwrap().local_addr().unwrap();
        assert!(address.port() != 0 && any.bind_port == address.port() && any.advertised_port == address.port());
    }
}
