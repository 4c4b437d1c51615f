//! OS threads for what would hold a shard up: file operations that block, and sendfile of cold data (4-12 ms in one call).
//! Shared by all shards; each job carries the sender for its result.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use bytes::{Buf, Bytes};
use floe_engine::event::{DiskOp, FileHandle, OpId};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::files::{self, OpenFile};
use crate::inbox::{Outside, Sender};
use crate::limits::{FILE_THREADS, SEND_THREADS, SENDFILE_BYTES_MAX};

/// A file operation.
pub struct Job {
    /// Comes back with the result.
    pub op: OpId,
    /// What to do.
    pub what: DiskOp,
    /// The shard's witness of the file system's errors ([`files::run`]).
    pub witness: Arc<File>,
    /// Whom to tell.
    pub results: Sender,
}

/// Part of a file for a socket, and what goes before it.
pub struct SendJob {
    /// The connection's slot on its shard.
    pub slot: u32,
    /// To where; blocking, with a send timeout.
    pub socket: Arc<OwnedFd>,
    /// Sent first: the head of the response. Its own trip through the ring would cost the shard a round for every response.
    pub head: Bytes,
    /// From where the rest comes.
    pub file: FileHandle,
    /// First byte.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// Whom to tell.
    pub results: Sender,
}

/// The threads' queues. The threads end when the last clone of this is dropped.
pub struct Helpers {
    files: flume::Sender<Job>,
    sends: flume::Sender<SendJob>,
}

impl Helpers {
    /// Starts the threads. Paths of file operations are relative to `root`.
    pub fn start(root: PathBuf) -> io::Result<Helpers> {
        let (files, file_jobs) = flume::unbounded::<Job>();
        let (sends, send_jobs) = flume::unbounded::<SendJob>();
        for number in 0..FILE_THREADS {
            let (jobs, root) = (file_jobs.clone(), root.clone());
            let work = move || {
                for Job { op, what, witness, results } in jobs {
                    results.send(Outside::DiskDone { op, result: files::run(&root, what, &witness) });
                }
            };
            thread::Builder::new().name(format!("floe-file-{number}")).spawn(work)?;
        }
        for number in 0..SEND_THREADS {
            let jobs = send_jobs.clone();
            let work = move || {
                for job in jobs {
                    let (slot, results) = (job.slot, job.results.clone());
                    let result = send(job);
                    results.send(Outside::FileSent { slot, result });
                }
            };
            thread::Builder::new().name(format!("floe-send-{number}")).spawn(work)?;
        }
        Ok(Helpers { files, sends })
    }

    /// Queues a file operation.
    pub fn file(&self, job: Job) {
        self.files.send(job).expect("file threads live as long as the queue");
    }

    /// Queues a sendfile.
    pub fn send(&self, job: SendJob) {
        self.sends.send(job).expect("send threads live as long as the queue");
    }
}

/// Sends as much as the socket takes within its timeout: 0 bytes when that is none.
fn send(mut job: SendJob) -> io::Result<u64> {
    let mut sent = 0;
    while !job.head.is_empty() {
        // The file's bytes complete the packet.
        match rustix::net::send(&*job.socket, &job.head, SendFlags::MORE | SendFlags::NOSIGNAL) {
            Ok(count) => {
                job.head.advance(count);
                sent += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(sent),
            Err(error) => return Err(error.into()),
        }
    }
    let count = job.len.min(SENDFILE_BYTES_MAX) as usize;
    loop {
        match rustix::fs::sendfile(&*job.socket, &OpenFile::of(&job.file).file, Some(&mut job.offset), count) {
            // The file is shorter than was promised to the client.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => return Ok(sent + count as u64),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(sent),
            Err(error) => return Err(error.into()),
        }
    }
}
