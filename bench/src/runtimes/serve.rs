//! The servers of `bench runtimes`, one file for each executor; what they share: how a connection's bytes become messages, and the file appended to.

mod compio;
mod floe;
mod glommio;
mod tokio;

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{APPEND_BYTES, FILE_BYTES, FILE_NAME, Runtime, Work};
use crate::disk::Block;

/// Bytes that a connection's buffer has room for; the largest message and its length fit several times.
const BUFFER_BYTES: usize = 4096;
const BLOCK_BYTES: u64 = size_of::<Block>() as u64;

/// Serves until the process is killed.
pub(super) fn run(runtime: Runtime, work: Work, port: u16, dir: &Path) -> io::Result<()> {
    match runtime {
        Runtime::Floe => floe::run(work, port, dir),
        Runtime::Glommio => glommio::run(work, port, dir),
        Runtime::Tokio => tokio::run(work, port, dir),
        Runtime::Compio => compio::run(work, port, dir),
    }
}

/// Length of the first whole message in `received`, with the 4 bytes of its length.
fn whole(received: &[u8]) -> Option<usize> {
    let end = 4 + u32::from_be_bytes(*received.first_chunk()?) as usize;
    assert!(end <= BUFFER_BYTES, "the load sends no such message");
    (end <= received.len()).then_some(end)
}

/// The answer when a message is durable: its length, and as many zeros.
fn appended() -> [u8; 8] {
    let mut answer = [0; 8];
    answer[..4].copy_from_slice(&(APPEND_BYTES.1 as u32).to_be_bytes());
    answer
}

/// A block with the message in it.
fn block(message: &[u8]) -> Box<Block> {
    let mut block: Box<Block> = Box::new(Block([0; 4096]));
    block.0[..message.len()].copy_from_slice(message);
    block
}

/// Where the next block goes: on from the last one, from the start again when the file is full.
#[derive(Default)]
struct Place(u64);

impl Place {
    fn next(&mut self) -> u64 {
        let at = self.0;
        self.0 = (at + BLOCK_BYTES) % FILE_BYTES;
        at
    }
}

fn file_path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// Flags by which every write is direct and durable when it ends, for those that cannot say so for a single write. What it does is the same.
fn direct_and_durable() -> i32 {
    (rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC).bits() as i32
}

/// The file for `pwritev2`.
fn open_direct(dir: &Path) -> io::Result<std::fs::File> {
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    std::fs::OpenOptions::new().write(true).custom_flags(flags).open(file_path(dir))
}
