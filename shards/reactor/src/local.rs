//! Clients on this host: no network lies between, so nothing is to be paced or probed for.
//!
//! The system's congestion control is for the network. BBR, which many servers have by default, sends by timers and needs 2 to 4 times the CPU of
//! Reno over loopback (docs/decisions/0019-clients-on-the-same-host.md). Reno is part of every kernel, allowed to everybody, and uses no timers of its own.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use rustix::net::sockopt;

/// See `tcp(7)`, `tcp_available_congestion_control`.
const FOR_THIS_HOST: &str = "reno";

/// Prepares a listener that only clients on this host can reach: what it accepts inherits from it. A socket that has once been paced keeps some of
/// that, so this is better than to choose later.
pub fn prepare(listener: &TcpListener) {
    if listener.local_addr().is_ok_and(|bound| bound.ip().to_canonical().is_loopback()) {
        choose(listener);
    }
}

/// Looks at a client that any listener has accepted.
pub fn met(socket: impl AsFd, peer: SocketAddr) {
    let own = rustix::net::getsockname(&socket).ok().and_then(|own| SocketAddr::try_from(own).ok());
    if own.is_some_and(|own| own.ip() == peer.ip()) {
        choose(socket);
    }
}

/// A kernel that refuses paces as it is told to: slower, and nothing worse.
fn choose(socket: impl AsFd) {
    if let Err(error) = sockopt::set_tcp_congestion(socket, FOR_THIS_HOST) {
        tracing::debug!("connections of this host stay with the system's congestion control: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    fn accepted(on: Ipv4Addr) -> (TcpStream, SocketAddr, TcpStream) {
        let listener = TcpListener::bind((on, 0)).unwrap();
        prepare(&listener);
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        (socket, peer, client)
    }

    #[test]
    fn what_a_listener_on_loopback_accepts_is_not_paced() {
        let (socket, _, client) = accepted(Ipv4Addr::LOCALHOST);
        assert_eq!(sockopt::tcp_congestion(&socket).unwrap(), FOR_THIS_HOST);
        // The other side keeps what the system has.
        let system = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
        assert_eq!(sockopt::tcp_congestion(&client).unwrap(), system.trim());
    }

    #[test]
    fn clients_of_this_host_are_known_on_every_listener_and_others_keep_what_the_system_has() {
        let (socket, peer, _client) = accepted(Ipv4Addr::UNSPECIFIED);
        let system = sockopt::tcp_congestion(&socket).unwrap();
        met(&socket, SocketAddr::from(([192, 0, 2, 1], peer.port())));
        assert_eq!(sockopt::tcp_congestion(&socket).unwrap(), system);
        met(&socket, peer);
        assert_eq!(sockopt::tcp_congestion(&socket).unwrap(), FOR_THIS_HOST);
    }
}
