//! compio: a task for each connection, sockets and file through its ring.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncRead, AsyncWriteAt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::Runtime;

use super::{BUFFER_BYTES, Block, Place, Work, appended, block, direct_and_durable, file_path, whole};

struct Target {
    file: File,
    place: RefCell<Place>,
}

impl IoBuf for Block {
    fn as_init(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn run(work: Work, port: u16, dir: &Path) -> io::Result<()> {
    let path = file_path(dir);
    Runtime::new()?.block_on(async {
        let target = match work {
            Work::Echo => None,
            Work::Append => {
                let file = OpenOptions::new().write(true).custom_flags(direct_and_durable()).open(path).await?;
                Some(Rc::new(Target { file, place: RefCell::default() }))
            }
        };
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            compio::runtime::spawn(connection(stream, target.clone())).detach();
        }
    })
}

async fn connection(mut stream: TcpStream, target: Option<Rc<Target>>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut answer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let filled = buffer.len();
        let BufResult(read, slice) = stream.read(buffer.slice(filled..)).await;
        buffer = slice.into_inner();
        if read? == 0 {
            return Ok(());
        }
        let mut begin = 0;
        while let Some(len) = whole(&buffer[begin..]) {
            let message = &buffer[begin..begin + len];
            answer.clear();
            match &target {
                None => answer.extend_from_slice(message),
                Some(target) => {
                    append(target, &message[4..]).await?;
                    answer.extend_from_slice(&appended());
                }
            }
            let BufResult(written, back) = stream.write_all(answer).await;
            answer = back;
            written?;
            begin += len;
        }
        buffer.drain(..begin);
    }
}

async fn append(target: &Target, message: &[u8]) -> io::Result<()> {
    let at = target.place.borrow_mut().next();
    let BufResult(written, block) = (&target.file).write_at(block(message), at).await;
    assert_eq!(written?, block.0.len(), "short write");
    Ok(())
}
