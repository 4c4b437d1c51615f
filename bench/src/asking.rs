//! Requests as bytes and back, and a blocking connection for what is asked before and after a load.
//!
//! In the versions that clients of today use, which are flexible: here the declarations of `floe-wire` do it. That the same bytes mean the same to Apache
//! Kafka is seen by measuring it with them.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use floe_wire::api::Api;
use floe_wire::errors::ErrorCode;
use floe_wire::frame::{RequestHeader, decode_response_header};
use floe_wire::messages::Message;
use floe_wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use floe_wire::primitives::{Reader, Writer};

use crate::client::read_frame;

/// FindCoordinator.
const FIND_COORDINATOR: (i16, i16) = (10, 4);
/// How long the broker may say that it is not ready.
pub const READY_MAX: Duration = Duration::from_secs(120);

/// A whole request with its size.
pub fn frame<'m>((key, version): (i16, i16), correlation_id: i32, request: &impl Message<'m>) -> Vec<u8> {
    let mut writer = Writer::new();
    let header =
        RequestHeader { api_key: key, api_version: version, correlation_id, client_id: Some("floe-bench".into()) };
    header.encode(&mut writer);
    request.encode(&mut writer, version);
    let body = writer.finish_contiguous();
    let mut framed = (body.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(&body);
    framed
}

/// Reads an answer to the request that was sent with this id.
pub fn answer<'a, M: Message<'a>>((key, version): (i16, i16), correlation_id: i32, bytes: &'a [u8]) -> io::Result<M> {
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(format!("answer to API {key}: {error}"));
    let mut reader = Reader::new(bytes);
    let api = Api::of(key).ok_or_else(|| wrong(&"unknown"))?;
    let answered = decode_response_header(&mut reader, api, version).map_err(|error| wrong(&error))?;
    if answered != correlation_id {
        return Err(wrong(&format!("it answers request {answered}, not {correlation_id}")));
    }
    M::decode(&mut reader, version).map_err(|error| wrong(&error))
}

/// Whether a coordinator that says this will soon say something else.
pub fn is_moving(code: i16) -> bool {
    let moving =
        [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR];
    moving.iter().any(|moving| moving.code() == code)
}

/// A blocking connection.
pub struct Asking {
    stream: TcpStream,
    correlation: i32,
}

impl Asking {
    /// Connects to a broker on this machine.
    pub fn connect(port: u16) -> io::Result<Asking> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Asking { stream, correlation: 0 })
    }

    /// Asks; the answer's bytes are for [`Asking::read`].
    pub fn ask<'m>(&mut self, api: (i16, i16), request: &impl Message<'m>) -> io::Result<Vec<u8>> {
        self.correlation += 1;
        self.stream.write_all(&frame(api, self.correlation, request))?;
        read_frame(&mut self.stream)
    }

    /// Reads the answer to what was asked last.
    pub fn read<'a, M: Message<'a>>(&self, api: (i16, i16), bytes: &'a [u8]) -> io::Result<M> {
        answer(api, self.correlation, bytes)
    }

    /// Lets the broker make the topic that keeps this kind of key (`floe_wire::messages::find_coordinator`), and waits until a coordinator answers.
    pub fn find_coordinator(&mut self, key: &str, key_type: i8) -> io::Result<()> {
        let request = FindCoordinatorRequest { key: key.into(), key_type, coordinator_keys: vec![key.into()] };
        let began = Instant::now();
        loop {
            let bytes = self.ask(FIND_COORDINATOR, &request)?;
            let response: FindCoordinatorResponse<'_> = self.read(FIND_COORDINATOR, &bytes)?;
            match response.coordinators.first().map(|found| found.error_code) {
                Some(0) => return Ok(()),
                Some(code) if is_moving(code) && began.elapsed() < READY_MAX => sleep(Duration::from_millis(50)),
                code => return Err(io::Error::other(format!("FindCoordinator: error {code:?}"))),
            }
        }
    }
}
