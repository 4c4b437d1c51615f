//! One connection to one broker: frames out, frames in, strictly one after the other, in the versions that both sides know.
//!
//! Invariant: after an error in the middle of a frame the connection is not used again (the caller drops it).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::frame;
use floe_wire::messages::Message;
use floe_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use floe_wire::primitives::{Reader, Writer};

use super::keys::ApiKey;
use crate::config::listeners;
use crate::problem::{Outcome, Problem};

/// The largest answer that is read. Fetches ask for less; this only stops a peer that is no Kafka broker.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The name under which brokers know this client.
const CLIENT_ID: &str = "floe-cli";

/// One API of a broker's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ApiRange {
    /// Its number.
    pub(in crate::cli) key: i16,
    /// Oldest version.
    pub(in crate::cli) min: i16,
    /// Newest version.
    pub(in crate::cli) max: i16,
}

/// A connection whose broker has said what it understands.
#[derive(Debug)]
pub(in crate::cli) struct Connection {
    stream: TcpStream,
    address: String,
    correlation_id: i32,
    ranges: HashMap<i16, ApiRange>,
}

impl Connection {
    /// Connects and asks for the broker's versions.
    pub(in crate::cli) fn open(host: &str, port: u16, timeout: Duration) -> Outcome<Connection> {
        let address = listeners::shown(host, port);
        let advice = || {
            format!(
                "check that a broker listens there (`floe serve` does on 127.0.0.1:9092) and is reachable from here: {address}"
            )
        };
        let resolved = (host, port).to_socket_addrs().map_err(|error| {
            Problem::new(format!("cannot resolve the broker's name {host}")).because(error).next(
                "check the name; a broker tells clients the name it advertises (`floe serve --advertise HOST:PORT`)",
            )
        })?;
        let mut last = None;
        for candidate in resolved {
            match TcpStream::connect_timeout(&candidate, CONNECT_MAX.min(timeout)) {
                Ok(stream) => {
                    let options = stream
                        .set_nodelay(true)
                        .and_then(|()| stream.set_read_timeout(Some(timeout)))
                        .and_then(|()| stream.set_write_timeout(Some(timeout)));
                    options.map_err(|error| {
                        Problem::new(format!("cannot use the connection to {address}")).because(error)
                    })?;
                    let mut connection = Connection { stream, address, correlation_id: 0, ranges: HashMap::new() };
                    connection.learn_versions()?;
                    return Ok(connection);
                }
                Err(error) => last = Some(error),
            }
        }
        let problem = Problem::new(format!("cannot connect to the broker at {address}")).next(advice());
        Err(match last {
            Some(error) => problem.because(error),
            None => problem.because_of("the name has no address"),
        })
    }

    /// The broker's table in the order of numbers.
    pub(in crate::cli) fn ranges(&self) -> Vec<ApiRange> {
        let mut ranges: Vec<ApiRange> = self.ranges.values().copied().collect();
        ranges.sort_by_key(|range| range.key);
        ranges
    }

    /// Who is at the other end.
    pub(in crate::cli) fn address(&self) -> &str {
        &self.address
    }

    /// The newest version of `api` that the broker knows and that is between `oldest` and `newest`.
    pub(in crate::cli) fn version(&self, api: ApiKey, oldest: i16, newest: i16) -> Outcome<i16> {
        let name = api.name();
        let Some(theirs) = self.ranges.get(&(api as i16)) else {
            return Err(Problem::new(format!("the broker at {} does not support {name}", self.address)).next(
                "`floe api-versions` lists what it supports; this command needs another broker, or a newer one",
            ));
        };
        let version = newest.min(theirs.max);
        if version < oldest.max(theirs.min) {
            return Err(Problem::new(format!(
                "the broker at {} supports {name} in versions {} to {}, this program in {oldest} to {newest}",
                self.address, theirs.min, theirs.max
            ))
            .next("use a broker and a floe of nearer ages"));
        }
        Ok(version)
    }

    /// Sends a request and waits for its answer.
    pub(in crate::cli) fn ask<'m>(&mut self, api: ApiKey, version: i16, request: &impl Message<'m>) -> Outcome<Answer> {
        self.send(api, version, request)?;
        let body = self.receive(api, version)?;
        Ok(Answer { address: self.address.clone(), api, version, body })
    }

    /// Sends a request that has no answer (produce with acks=0).
    pub(in crate::cli) fn send<'m>(&mut self, api: ApiKey, version: i16, request: &impl Message<'m>) -> Outcome {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut writer = Writer::new();
        frame::RequestHeader {
            api_key: api as i16,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(CLIENT_ID.into()),
        }
        .encode(&mut writer);
        request.encode(&mut writer, version);
        let body = writer.finish_contiguous();
        let mut framed = Vec::with_capacity(body.len() + 4);
        framed.extend_from_slice(&(body.len() as u32).to_be_bytes());
        framed.extend_from_slice(&body);
        self.stream.write_all(&framed).map_err(|error| self.lost(api, error))
    }

    fn receive(&mut self, api: ApiKey, version: i16) -> Outcome<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(|error| self.lost(api, error))?;
        let size = u32::from_be_bytes(size) as usize;
        if !(4..=ANSWER_BYTES_MAX).contains(&size) {
            return Err(nonsense(&self.address, api, format!("it announced an answer of {size} bytes")));
        }
        // Grows with what really arrives: a peer that lies about the size does not make us reserve it.
        let mut answer = Vec::with_capacity(size.min(1 << 20));
        let got =
            (&mut self.stream).take(size as u64).read_to_end(&mut answer).map_err(|error| self.lost(api, error))?;
        if got < size {
            return Err(self.lost(api, std::io::ErrorKind::UnexpectedEof.into()));
        }
        let answer = Bytes::from(answer);
        let mut reader = Reader::new(&answer);
        let correlation_id = frame::decode_response_header(&mut reader, api.api(), version)
            .map_err(|error| nonsense(&self.address, api, format!("its answer's header cannot be read: {error}")))?;
        if correlation_id != self.correlation_id {
            return Err(nonsense(
                &self.address,
                api,
                format!("it answered request {}, not {}", correlation_id, self.correlation_id),
            ));
        }
        let rest = reader.remaining();
        Ok(answer.slice(answer.len() - rest..))
    }

    fn learn_versions(&mut self) -> Outcome {
        // KIP-511: a broker that does not know our version answers in v0 with an error and its range.
        for version in [3, 0] {
            let request = ApiVersionsRequest {
                client_software_name: CLIENT_ID.into(),
                client_software_version: env!("CARGO_PKG_VERSION").into(),
            };
            let answer = self.ask(ApiKey::ApiVersions, version, &request)?;
            let unsupported = answer.body.get(..2) == Some(&ErrorCode::UNSUPPORTED_VERSION.code().to_be_bytes());
            if unsupported && version > 0 {
                continue;
            }
            let response: ApiVersionsResponse = answer.decode()?;
            if response.error_code != 0 {
                return Err(answer.refused(response.error_code, None));
            }
            self.ranges = response
                .api_keys
                .iter()
                .map(|api| (api.api_key, ApiRange { key: api.api_key, min: api.min_version, max: api.max_version }))
                .collect();
            return Ok(());
        }
        Ok(())
    }

    /// An answer can be read and is none to what was asked.
    pub(in crate::cli) fn nonsense(&self, api: ApiKey, why: &str) -> Problem {
        nonsense(&self.address, api, why)
    }

    fn lost(&self, api: ApiKey, error: std::io::Error) -> Problem {
        use std::io::ErrorKind::{TimedOut, UnexpectedEof, WouldBlock};
        match error.kind() {
            WouldBlock | TimedOut => {
                Problem::new(format!("the broker at {} did not answer {} in time", self.address, api.name()))
                    .next("look at the broker's log, or wait longer with --timeout-ms")
            }
            UnexpectedEof => Problem::new(format!(
                "the broker at {} closed the connection instead of answering {}",
                self.address,
                api.name()
            ))
            .next("look at the broker's log for the reason (a listener with TLS also does this)"),
            _ => Problem::new(format!("the connection to the broker at {} broke during {}", self.address, api.name()))
                .because(error),
        }
    }
}

/// A broker's answer: the bytes after the response header, and what is needed to say what is wrong with it.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    address: String,
    api: ApiKey,
    version: i16,
    body: Bytes,
}

impl Answer {
    /// What it says.
    pub(in crate::cli) fn decode<'a, R: Message<'a>>(&'a self) -> Outcome<R> {
        R::decode(&mut Reader::new(&self.body), self.version)
            .map_err(|error| nonsense(&self.address, self.api, error.to_string()))
    }

    /// It says, by this code and in these words, that the broker refused.
    pub(in crate::cli) fn refused(&self, code: i16, message: Option<&str>) -> Problem {
        refused(&self.address, self.api, code, message)
    }
}

fn nonsense(address: &str, api: ApiKey, why: impl Into<String>) -> Problem {
    Problem::new(format!("the answer of {address} to {} makes no sense", api.name()))
        .because_of(why)
        .next("check that this is the Kafka port of a broker, in plain text (no TLS)")
}

/// What everybody is told about a topic that is not there.
pub(in crate::cli) fn no_topic(name: &str) -> Problem {
    Problem::new(format!("there is no topic `{name}`"))
        .next(format!("create it: floe topic create {name}"))
        .next("see what there is: floe topic list")
}

/// A broker's refusal in its own words.
pub(in crate::cli) fn refused(address: &str, api: ApiKey, code: i16, message: Option<&str>) -> Problem {
    let name = ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |error| error.name().to_owned());
    let problem = Problem::new(format!("the broker at {address} refused {}: {name}", api.name()));
    match message {
        Some(message) if !message.is_empty() => problem.because_of(message),
        _ => problem,
    }
}

/// The error of a code; a code that this program does not know counts as an unknown error of the broker.
pub(in crate::cli) fn error_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR)
}
