//! A connection that never blocks: whole answers out of what has arrived, requests into what the kernel takes.
//!
//! Readiness is edge-triggered: after a short read or write the kernel tells when to go on.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

/// Room for answers at first; a larger answer makes more.
const INBOUND_BYTES: usize = 64 << 10;
/// A claimed answer above this is taken for garbage.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// One connection. Its two directions are apart, so that the next request can leave while an answer is still being looked at.
pub struct Socket {
    /// The connection itself.
    pub stream: Rc<TcpStream>,
    /// What comes.
    pub answers: Answers,
    /// What goes.
    pub requests: Requests,
}

/// Answers as they arrive.
#[derive(Default)]
pub struct Answers {
    inbound: Vec<u8>,
    filled: usize,
}

/// Requests as they leave.
#[derive(Default)]
pub struct Requests {
    /// Requests are appended here; [`Requests::flush`] sends them.
    pub bytes: Vec<u8>,
    sent: usize,
}

impl Socket {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Socket> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Socket { stream: Rc::new(stream), answers: Answers::default(), requests: Requests::default() })
    }
}

impl Requests {
    /// Bytes of requests that the kernel has not taken yet, a body apart.
    pub fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends what it can: the requests, and behind them `body`, of which so many bytes remain in the end.
    pub fn flush(&mut self, mut stream: &TcpStream, body: &[u8]) -> io::Result<usize> {
        let mut body_sent = 0;
        while self.sent < self.bytes.len() || body_sent < body.len() {
            let parts = [IoSlice::new(&self.bytes[self.sent..]), IoSlice::new(&body[body_sent..])];
            match stream.write_vectored(&parts) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let of_requests = written.min(self.bytes.len() - self.sent);
                    self.sent += of_requests;
                    body_sent += written - of_requests;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
        Ok(body.len() - body_sent)
    }
}

impl Answers {
    /// Reads what has arrived and hands every whole answer, without its size, to `each`.
    pub fn read(&mut self, mut stream: &TcpStream, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.inbound.is_empty() {
            self.inbound.resize(INBOUND_BYTES, 0);
        }
        loop {
            let room = self.inbound.len() - self.filled;
            match stream.read(&mut self.inbound[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.filled += read;
                    self.hand_out(&mut each)?;
                    if read < room {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn hand_out(&mut self, each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut at = 0;
        while let Some(size) = self.inbound[at..self.filled].first_chunk::<4>() {
            let size = u32::from_be_bytes(*size) as usize;
            if size > ANSWER_BYTES_MAX {
                return Err(io::Error::other("an answer of more than a gigabyte"));
            }
            if self.filled - at < 4 + size {
                if self.inbound.len() < 4 + size {
                    self.inbound.resize(4 + size, 0);
                }
                break;
            }
            each(&self.inbound[at + 4..at + 4 + size])?;
            at += 4 + size;
        }
        self.inbound.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn requests_and_answers_survive_being_cut_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let mut socket = Socket::connect(listener.local_addr().expect("bound")).expect("connects");
        let (mut other, _) = listener.accept().expect("accepts");
        // Sends everything back: what is more than the buffers hold goes in pieces.
        let echo = thread::spawn(move || std::io::copy(&mut other.try_clone().expect("clones"), &mut other));
        let sizes = [0usize, 1, 3, 100_000, 5, 3_000_000, 70_000];
        for (at, size) in sizes.iter().enumerate() {
            socket.requests.bytes.extend_from_slice(&(*size as u32).to_be_bytes());
            socket.requests.bytes.extend(std::iter::repeat_n(at as u8, *size));
        }
        let body = [&2u32.to_be_bytes()[..], b"ab"].concat();
        let (mut unsent, mut seen) = (body.len(), Vec::new());
        while seen.len() < sizes.len() + 1 {
            if socket.requests.unsent() > 0 || unsent > 0 {
                let rest = &body[body.len() - unsent..];
                unsent = socket.requests.flush(&socket.stream, rest).expect("sends");
            }
            let Socket { stream, answers, .. } = &mut socket;
            answers
                .read(stream, |answer| {
                    assert!(answer.windows(2).all(|pair| pair[0] == pair[1] || answer == b"ab"));
                    seen.push(answer.len());
                    Ok(())
                })
                .expect("reads");
            thread::yield_now();
        }
        assert_eq!(seen, [&sizes[..], &[2]].concat());
        drop(socket);
        echo.join().expect("no panic").expect("the end of the connection is not an error");
    }
}
