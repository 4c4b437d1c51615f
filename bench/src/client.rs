//! The few requests that the benchmarks send themselves, written by hand in old versions that every broker of today still takes.
//!
//! Deliberately not floe-wire: what measures the broker must not share its mistakes, and must cost next to nothing itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use crc_fast::CrcAlgorithm;

/// How long the partitions of a new topic may be without a leader.
const LEADERS_MAX: Duration = Duration::from_secs(60);
/// How long the first records into all partitions of a topic may take.
const TOUCH_MAX: Duration = Duration::from_secs(120);

/// A blocking connection.
pub struct Client {
    stream: TcpStream,
    correlation: i32,
}

impl Client {
    /// Connects to a broker on this machine.
    pub fn connect(port: u16) -> io::Result<Client> {
        Client::connect_to(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Connects to any broker.
    pub fn connect_to(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client { stream, correlation: 0 })
    }

    /// Asks what the broker speaks: the first answer of a starting broker.
    pub fn api_versions(&mut self) -> io::Result<()> {
        let answer = self.call(18, 0, &[])?;
        if answer.get(..2) == Some(&[0, 0]) { Ok(()) } else { Err(io::Error::other("ApiVersions refused")) }
    }

    /// Creates a topic of one replica, waits until every partition has a leader, and touches each: see [`Client::touch`].
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        let mut body = 1i32.to_be_bytes().to_vec();
        string(&mut body, name);
        body.extend_from_slice(&partitions.to_be_bytes());
        body.extend_from_slice(&1i16.to_be_bytes());
        body.extend_from_slice(&0i32.to_be_bytes()); // assignments
        body.extend_from_slice(&0i32.to_be_bytes()); // configs
        body.extend_from_slice(&60_000i32.to_be_bytes());
        body.push(0); // validate only
        let answer = self.call(19, 2, &body)?;
        let at = 4 + 4 + 2 + name.len();
        match be16(&answer, at) {
            Some(0 | 36) => {}
            code => return Err(io::Error::other(format!("CreateTopics of {name}: error {code:?}"))),
        }
        self.await_leaders(name, partitions)?;
        self.touch(name, partitions)
    }

    /// Writes a record into every partition. The first one into a partition is dear: Kafka keeps and syncs a file for the new leader epoch, which
    /// takes it milliseconds, so that the first seconds of a load on 1,000 partitions would measure nothing else.
    pub fn touch(&mut self, topic: &str, partitions: i32) -> io::Result<()> {
        let (began, record) = (Instant::now(), batch(1, 16));
        for partition in 0..partitions {
            if began.elapsed() > TOUCH_MAX {
                let reached = format!("{topic}: {partition} of {partitions} partitions took a first record");
                return Err(io::Error::other(format!("{reached} in {} s", TOUCH_MAX.as_secs())));
            }
            // A leader that has just been told may not know it yet.
            while let Err(error) = self.produce(topic, partition, &record) {
                if began.elapsed() > TOUCH_MAX || error.kind() != io::ErrorKind::Other {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn await_leaders(&mut self, topic: &str, partitions: i32) -> io::Result<()> {
        let began = Instant::now();
        while let Err(error) = self.log_ends(topic, 0..partitions) {
            if began.elapsed() > LEADERS_MAX || error.kind() != io::ErrorKind::Other {
                let waited = began.elapsed().as_secs();
                return Err(io::Error::other(format!("{topic} has no leader after {waited} s: {error}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Creates topics of one replica, and waits until every partition has a leader. Writes nothing into them.
    pub fn create_topics(&mut self, names: &[String], partitions: i32, configs: &[(String, String)]) -> io::Result<()> {
        // In portions, because a broker bounds how long one request may keep it busy.
        for names in names.chunks(50) {
            let mut body = (names.len() as i32).to_be_bytes().to_vec();
            for name in names {
                string(&mut body, name);
                body.extend_from_slice(&partitions.to_be_bytes());
                body.extend_from_slice(&1i16.to_be_bytes());
                body.extend_from_slice(&0i32.to_be_bytes()); // assignments
                body.extend_from_slice(&(configs.len() as i32).to_be_bytes());
                for (key, value) in configs {
                    string(&mut body, key);
                    string(&mut body, value);
                }
            }
            body.extend_from_slice(&120_000i32.to_be_bytes());
            body.push(0); // validate only
            let answer = self.call(19, 2, &body)?;
            // Of each topic: name, error, message or none.
            let mut at = 8;
            for _ in names {
                let name_bytes = usize::from(be16(&answer, at).unwrap_or(0));
                let code = be16(&answer, at + 2 + name_bytes);
                if code != Some(0) {
                    return Err(io::Error::other(format!("CreateTopics: error {code:?}")));
                }
                let message_bytes = be16(&answer, at + 4 + name_bytes).filter(|&bytes| bytes != u16::MAX).unwrap_or(0);
                at += 6 + name_bytes + usize::from(message_bytes);
            }
        }
        names.iter().try_for_each(|name| self.await_leaders(name, partitions))
    }

    /// Deletes topics; those that do not exist are no error.
    pub fn delete_topics(&mut self, names: &[String]) -> io::Result<()> {
        for names in names.chunks(50) {
            let mut body = (names.len() as i32).to_be_bytes().to_vec();
            names.iter().for_each(|name| string(&mut body, name));
            body.extend_from_slice(&60_000i32.to_be_bytes());
            self.call(20, 1, &body)?;
        }
        Ok(())
    }

    /// Produces one batch with acks=1 and waits for the answer.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> io::Result<()> {
        let request = produce_body(topic, partition, batch);
        let answer = self.call(0, 3, &request)?;
        check_produced(&answer)
    }

    /// Where the logs of these partitions end, added up: all that was ever acknowledged.
    pub fn log_ends(&mut self, topic: &str, partitions: Range<i32>) -> io::Result<u64> {
        let mut body = (-1i32).to_be_bytes().to_vec(); // not a replica
        body.extend_from_slice(&1i32.to_be_bytes());
        string(&mut body, topic);
        body.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
        for partition in partitions.clone() {
            body.extend_from_slice(&partition.to_be_bytes());
            body.extend_from_slice(&(-1i64).to_be_bytes()); // the latest
        }
        let answer = self.call(2, 1, &body)?;
        // One topic, then of each partition: index, error, timestamp, offset.
        let rows = answer.get(4 + 2 + topic.len() + 4..).unwrap_or_default();
        if rows.len() != partitions.len() * 22 {
            return Err(io::Error::other("ListOffsets: not one row for each partition"));
        }
        let mut sum = 0;
        for row in rows.chunks_exact(22) {
            match be16(row, 4) {
                Some(0) => sum += u64::from_be_bytes(row[14..].try_into().expect("eight bytes")),
                code => return Err(io::Error::other(format!("ListOffsets of {topic}: error {code:?}"))),
            }
        }
        Ok(sum)
    }

    /// Both directions as separate sockets, for a sender that does not wait.
    pub fn split(self) -> io::Result<(TcpStream, TcpStream)> {
        let other = self.stream.try_clone()?;
        Ok((self.stream, other))
    }

    fn call(&mut self, key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.correlation += 1;
        self.stream.write_all(&frame(key, version, self.correlation, body))?;
        let answer = read_frame(&mut self.stream)?;
        if answer.get(..4) != Some(&self.correlation.to_be_bytes()) {
            return Err(io::Error::other("answer to another request"));
        }
        Ok(answer[4..].to_vec())
    }
}

/// A whole request with its size.
pub fn frame(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let client = "floe-bench";
    let mut out = Vec::with_capacity(body.len() + 32);
    out.extend_from_slice(&((10 + client.len() + body.len()) as i32).to_be_bytes());
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    string(&mut out, client);
    out.extend_from_slice(body);
    out
}

/// Reads one answer, without its size.
pub fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut answer = vec![0; i32::from_be_bytes(size).max(0) as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Produce version 3, acks=1, one batch for one partition.
pub fn produce_body(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() + topic.len() + 32);
    body.extend_from_slice(&(-1i16).to_be_bytes()); // no transactional id
    body.extend_from_slice(&1i16.to_be_bytes());
    body.extend_from_slice(&30_000i32.to_be_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    string(&mut body, topic);
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&partition.to_be_bytes());
    body.extend_from_slice(&(batch.len() as i32).to_be_bytes());
    body.extend_from_slice(batch);
    body
}

/// An answer to [`produce_body`], without its correlation id: was it taken?
pub fn check_produced(answer: &[u8]) -> io::Result<()> {
    let topic_bytes = usize::from(be16(answer, 4).unwrap_or(0));
    match be16(answer, 4 + 2 + topic_bytes + 4 + 4) {
        Some(0) => Ok(()),
        code => Err(io::Error::other(format!("produce: error {code:?}"))),
    }
}

/// A record batch of `records` records with values of `value_bytes` bytes each, uncompressed, no producer id.
pub fn batch(records: i32, value_bytes: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for delta in 0..records {
        let mut record = vec![0u8]; // attributes
        varint(&mut record, 0); // timestamp delta
        varint(&mut record, i64::from(delta));
        varint(&mut record, -1); // no key
        varint(&mut record, value_bytes as i64);
        record.resize(record.len() + value_bytes, b'x');
        varint(&mut record, 0); // headers
        varint(&mut payload, record.len() as i64);
        payload.extend_from_slice(&record);
    }
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let mut covered = 0i16.to_be_bytes().to_vec(); // attributes; the CRC covers everything from here on
    covered.extend_from_slice(&(records - 1).to_be_bytes());
    covered.extend_from_slice(&now_ms.to_be_bytes());
    covered.extend_from_slice(&now_ms.to_be_bytes());
    covered.extend_from_slice(&(-1i64).to_be_bytes());
    covered.extend_from_slice(&(-1i16).to_be_bytes());
    covered.extend_from_slice(&(-1i32).to_be_bytes());
    covered.extend_from_slice(&records.to_be_bytes());
    covered.extend_from_slice(&payload);
    let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &covered) as u32;
    let mut out = 0i64.to_be_bytes().to_vec();
    out.extend_from_slice(&((4 + 1 + 4 + covered.len()) as i32).to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&covered);
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A signed number as record batches write it.
pub(crate) fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
