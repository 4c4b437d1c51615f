//! A steady producer: a record into each partition every few milliseconds, at its time whatever the broker does.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::client::{self, Client};

/// Bytes of a record.
const VALUE_BYTES: usize = 100;

/// It goes on until it is stopped.
pub struct Feed {
    over: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    sender: JoinHandle<io::Result<u64>>,
}

impl Feed {
    /// Begins; a connection for each partition, so that none waits for another one.
    pub fn start(port: u16, topic: &str, partitions: i32, interval: Duration) -> io::Result<Feed> {
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut sockets = Vec::new();
        for _ in 0..partitions {
            let (sender, mut receiver) = Client::connect(port)?.split()?;
            let refused = refused.clone();
            // Ends with the connection.
            thread::spawn(move || {
                while let Ok(answer) = client::read_frame(&mut receiver) {
                    if client::check_produced(answer.get(4..).unwrap_or_default()).is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            sockets.push(sender);
        }
        let (topic, stop) = (topic.to_owned(), over.clone());
        let sender = thread::spawn(move || send(&mut sockets, &topic, interval, &stop));
        Ok(Feed { over, refused, sender })
    }

    /// Ends it; how many records there were.
    pub fn stop(self) -> Result<u64, String> {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| "the producer panicked".to_owned())?;
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            return Err(format!("{refused} records were refused"));
        }
        sent.map_err(|error| format!("producing: {error}"))
    }
}

fn send(sockets: &mut [TcpStream], topic: &str, interval: Duration, over: &AtomicBool) -> io::Result<u64> {
    let began = Instant::now();
    let step = interval / sockets.len().max(1) as u32;
    let mut sent: u64 = 0;
    while !over.load(Ordering::Relaxed) {
        let due = began + step.mul_f64(sent as f64);
        sleep(due.saturating_duration_since(Instant::now()));
        let at = (sent % sockets.len() as u64) as usize;
        let body = client::produce_body(topic, at as i32, &client::batch(1, VALUE_BYTES));
        sockets[at].write_all(&client::frame(0, 3, sent as i32, &body))?;
        sent += 1;
    }
    for socket in sockets {
        socket.shutdown(std::net::Shutdown::Both)?;
    }
    Ok(sent)
}
