//! Floe's reactor with a machine that echoes or appends, in the engine's place.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_engine::config::BrokerConfig;
use floe_engine::event::{
    ConnId, DiskOp, DiskOutput, Effect, Effects, FileHandle, Input, Machine, OpId, Reply, ReplyPart,
};
use floe_engine::time::{Deadline, Time};
use floe_reactor::run::{self, Event, Plan};

use super::{Block, FILE_NAME, Place, Work, appended, block};

/// The operation that opens the file; those after it are writes.
const OPEN: OpId = OpId(0);

struct Server {
    work: Work,
    file: Option<FileHandle>,
    place: Place,
    last_op: u64,
    /// Who waits for which write.
    writing: HashMap<OpId, ConnId>,
}

impl Machine for Server {
    fn handle(&mut self, _: Time, input: Input, fx: &mut Effects) {
        match input {
            Input::Boot(_) if self.work == Work::Append => {
                let what = DiskOp::Open { path: FILE_NAME.to_owned(), create: false, direct: true };
                fx.push(Effect::Disk { op: OPEN, what });
            }
            Input::Boot(_) => fx.push(Effect::Ready),
            Input::Frame { conn, frame } => match self.work {
                Work::Echo => {
                    let prefix = (frame.len() as u32).to_be_bytes();
                    reply(conn, Bytes::from([&prefix, &frame[..]].concat()), fx);
                }
                Work::Append => self.append(conn, &frame, fx),
            },
            Input::DiskDone { op, result } => match result {
                Ok(DiskOutput::Opened { file, .. }) => {
                    self.file = Some(file);
                    fx.push(Effect::Ready);
                }
                Ok(_) => {
                    let conn = self.writing.remove(&op).expect("every write has somebody who waits");
                    reply(conn, Bytes::copy_from_slice(&appended()), fx);
                }
                Err(error) => fx.push(Effect::Fatal { message: error.message }),
            },
            _ => {}
        }
    }

    fn end_of_round(&mut self, _: Time, _: &mut Effects) {}

    fn next_deadline(&self) -> Option<Deadline> {
        None
    }
}

impl Server {
    fn append(&mut self, conn: ConnId, message: &[u8], fx: &mut Effects) {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.writing.insert(op, conn);
        let what = DiskOp::Write {
            file: self.file.clone().expect("open before anybody connects"),
            offset: self.place.next(),
            data: Bytes::from_owner(Aligned(block(message))),
            dsync: true,
        };
        fx.push(Effect::Disk { op, what });
    }
}

/// A block that `Bytes` can own.
struct Aligned(Box<Block>);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

fn reply(conn: ConnId, bytes: Bytes, fx: &mut Effects) {
    fx.push(Effect::Reply { conn, reply: Reply { parts: vec![ReplyPart::Mem(bytes)] } });
}

pub(super) fn run(work: Work, port: u16, dir: &Path) -> io::Result<()> {
    let plan = Plan {
        data_dir: dir.to_owned(),
        config: Arc::new(BrokerConfig::default()),
        seed: [0; 32],
        cpus: vec![0],
        // The process is bound to its core already.
        pin: false,
        spin: Duration::ZERO,
        listeners: vec![TcpListener::bind(("127.0.0.1", port))?],
    };
    let server = move |_| Server { work, file: None, place: Place::default(), last_op: 0, writing: HashMap::new() };
    let shards = run::start(plan, server)?;
    loop {
        match shards.events().recv() {
            Ok(Event::Ready) => {}
            Ok(Event::Fatal(message)) => return Err(io::Error::other(message)),
            Ok(Event::Stopped) | Err(_) => return Ok(()),
        }
    }
}
