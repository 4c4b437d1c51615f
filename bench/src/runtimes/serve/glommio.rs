//! glommio: a task for each connection, sockets and file through its rings, with the executor's defaults.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::io::{DmaFile, OpenOptions};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutor, spawn_local};

use super::{BLOCK_BYTES, BUFFER_BYTES, Place, Work, appended, direct_and_durable, file_path, whole};

struct Target {
    file: DmaFile,
    place: RefCell<Place>,
}

pub(super) fn run(work: Work, port: u16, dir: &Path) -> io::Result<()> {
    let path = file_path(dir);
    // Not bound by glommio: the process is bound to its core already.
    LocalExecutor::default().run(async {
        let target = match work {
            Work::Echo => None,
            Work::Append => {
                let file = OpenOptions::new().write(true).custom_flags(direct_and_durable()).dma_open(path).await?;
                Some(Rc::new(Target { file, place: RefCell::default() }))
            }
        };
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(connection(stream, target.clone())).detach();
        }
    })
}

async fn connection(mut stream: TcpStream, target: Option<Rc<Target>>) -> io::Result<()> {
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
                    append(target, &message[4..]).await?;
                    stream.write_all(&appended()).await?;
                }
            }
            begin += len;
        }
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
    }
}

async fn append(target: &Target, message: &[u8]) -> io::Result<()> {
    let at = target.place.borrow_mut().next();
    let mut block = target.file.alloc_dma_buffer(BLOCK_BYTES as usize);
    block.as_bytes_mut()[..message.len()].copy_from_slice(message);
    block.as_bytes_mut()[message.len()..].fill(0);
    let written = target.file.write_at(block, at).await?;
    assert_eq!(written as u64, BLOCK_BYTES, "short write");
    Ok(())
}
