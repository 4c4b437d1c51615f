//! tokio on one thread: a task for each connection; the disk by blocking threads, which is what tokio offers for files.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{ReadWriteFlags, pwritev2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{BLOCK_BYTES, BUFFER_BYTES, FILE_BYTES, Work, appended, block, open_direct, whole};

/// The file and how many blocks it was given so far.
struct Target {
    file: std::fs::File,
    blocks: AtomicU64,
}

pub(super) fn run(work: Work, port: u16, dir: &Path) -> io::Result<()> {
    let target = match work {
        Work::Echo => None,
        Work::Append => Some(Arc::new(Target { file: open_direct(dir)?, blocks: AtomicU64::new(0) })),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(connection(stream, target.clone()));
        }
    })
}

async fn connection(mut stream: TcpStream, target: Option<Arc<Target>>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut begin = 0;
        while let Some(len) = whole(&buffer[begin..filled]) {
            let message = &buffer[begin..begin + len];
            match &target {
                None => stream.write_all(message).await?,
                Some(target) => {
                    append(target.clone(), &message[4..]).await?;
                    stream.write_all(&appended()).await?;
                }
            }
            begin += len;
        }
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
    }
}

async fn append(target: Arc<Target>, message: &[u8]) -> io::Result<()> {
    let block = block(message);
    let write = move || {
        let at = target.blocks.fetch_add(1, Ordering::Relaxed) * BLOCK_BYTES % FILE_BYTES;
        let written = pwritev2(&target.file, &[IoSlice::new(&block.0)], at, ReadWriteFlags::DSYNC)?;
        assert_eq!(written, block.0.len(), "short write");
        Ok(())
    };
    tokio::task::spawn_blocking(write).await.expect("the write does not panic")
}
