//! Open files, and the operations on them that block whatever a ring does: opening, creating, renaming, listing. They run on
//! helper threads; every one of them is durable when it has ended (the folder is synced where a name came or went).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use bytes::Bytes;
use floe_engine::event::{DirEntry, DiskError, DiskErrorKind, DiskOp, DiskOutput, FileHandle};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::limits::{SYNC_THREADS, SYNCFS_DIRTY_BYTES_MAX, ZEROS_BYTES};
use crate::memory::AlignedBuf;

/// What a [`FileHandle`] is in this driver.
#[derive(Debug)]
pub struct OpenFile {
    /// The file; closed when the last handle goes.
    pub file: File,
    /// Opened with O_DIRECT.
    pub direct: bool,
    /// For messages, relative to the data directory.
    pub path: String,
}

impl OpenFile {
    /// What the handle stands for; only handles of this driver exist in its process.
    pub fn of(handle: &FileHandle) -> &OpenFile {
        handle.get().expect("a file that this driver opened")
    }
}

/// An error of the system as the engine knows it.
pub fn disk_error(what: &str, path: &str, error: &io::Error) -> DiskError {
    let kind = match error.kind() {
        ErrorKind::NotFound => DiskErrorKind::NotFound,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskErrorKind::NoSpace,
        ErrorKind::FileTooLarge => DiskErrorKind::TooLarge,
        _ => DiskErrorKind::Io,
    };
    DiskError { kind, message: format!("cannot {what} {path}: {error}") }
}

/// Does one blocking operation. `Read`, `Write` and `Sync` are the ring's and do not come here. `witness` is a file of the same file system that nobody
/// else syncs it by: what went wrong since it was last used (or opened) is reported to it.
pub fn run(root: &Path, op: DiskOp, witness: &File) -> Result<DiskOutput, DiskError> {
    match op {
        DiskOp::Open { path, create, direct } => {
            let (file, len) = open(root, &path, create, direct).map_err(|error| disk_error("open", &path, &error))?;
            Ok(DiskOutput::Opened { file: FileHandle::new(OpenFile { file, direct, path }), len })
        }
        DiskOp::Preallocate { file, offset, len, grow } => {
            let file = OpenFile::of(&file);
            let flags = if grow { FallocateFlags::empty() } else { FallocateFlags::KEEP_SIZE };
            match fallocate(file.file.as_fd(), flags, offset, len) {
                Err(error) if error == Errno::NOSPC || error == Errno::DQUOT => {
                    Err(disk_error("reserve space in", &file.path, &error.into()))
                }
                // A hint: where the file system cannot, writes find their space later.
                _ => Ok(DiskOutput::Done),
            }
        }
        DiskOp::SyncAll { files } => {
            sync_all(&files, witness).map_err(|(path, error)| disk_error("sync", path, &error))?;
            Ok(DiskOutput::Done)
        }
        DiskOp::WriteZeros { file, offset, len } => {
            let file = OpenFile::of(&file);
            write_zeros(file, offset, len).map_err(|error| disk_error("fill with zeros", &file.path, &error))?;
            Ok(DiskOutput::Done)
        }
        DiskOp::Truncate { file, len } => {
            let file = OpenFile::of(&file);
            let done = file.file.set_len(len).and_then(|()| file.file.sync_all());
            done.map_err(|error| disk_error("truncate", &file.path, &error))?;
            Ok(DiskOutput::Done)
        }
        DiskOp::ReadFile { path, bytes_max } => {
            let bytes = read_file(root, &path, bytes_max).map_err(|error| disk_error("read", &path, &error))?;
            Ok(DiskOutput::Data(Bytes::from(bytes)))
        }
        DiskOp::ReplaceFile { path, data } => {
            replace(root, &path, &data).map_err(|error| disk_error("replace", &path, &error))?;
            Ok(DiskOutput::Done)
        }
        DiskOp::Remove { path } => {
            remove(&root.join(&path)).map_err(|error| disk_error("remove", &path, &error))?;
            Ok(DiskOutput::Done)
        }
        DiskOp::List { path } => {
            let entries = list(&root.join(&path)).map_err(|error| disk_error("list", &path, &error))?;
            Ok(DiskOutput::Entries(entries))
        }
        DiskOp::Read { .. } | DiskOp::Write { .. } | DiskOp::Sync { .. } => unreachable!("done by the ring"),
    }
}

/// Syncs many files. One after the other each would write its own metadata and wait for a flush of the device, so the whole file system is
/// synced instead: unless others have left much in the page cache that would have to be written, too.
fn sync_all<'a>(files: &'a [FileHandle], witness: &File) -> Result<(), (&'a str, io::Error)> {
    let first = OpenFile::of(&files[0]);
    if dirty_bytes().is_none_or(|bytes| bytes > SYNCFS_DIRTY_BYTES_MAX) {
        return sync_each(files);
    }
    // The files may have been open for long, or since just now: whatever failed since the last time is reported, and that was before anything of
    // this was written.
    let synced = rustix::fs::syncfs(witness).map_err(io::Error::from);
    // Without a journal ext4 writes the last metadata behind the flush that syncfs ends with; the sync of a file ends with another one.
    synced.and_then(|()| first.file.sync_data()).map_err(|error| (first.path.as_str(), error))
}

/// Syncs files by several threads: each mostly waits for the device.
fn sync_each(files: &[FileHandle]) -> Result<(), (&str, io::Error)> {
    thread::scope(|scope| {
        let share = files.len().div_ceil(SYNC_THREADS);
        let sync = |file: &'_ FileHandle| OpenFile::of(file).file.sync_data();
        let threads: Vec<_> = files
            .chunks(share)
            .map(|share| {
                scope.spawn(move || {
                    let failed = share.iter().find_map(|file| Some((file, sync(file).err()?)));
                    failed.map(|(file, error)| (OpenFile::of(file).path.as_str(), error))
                })
            })
            .collect();
        let failed = threads.into_iter().filter_map(|thread| thread.join().expect("syncing does not panic")).last();
        failed.map_or(Ok(()), Err)
    })
}

/// What the whole machine has in the page cache and not yet on a disk.
fn dirty_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Dirty:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

fn open(root: &Path, path: &str, create: bool, direct: bool) -> io::Result<(File, u64)> {
    let full = root.join(path);
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(if direct { libc::O_DIRECT } else { 0 });
    let file = match options.open(&full) {
        Err(error) if create && error.kind() == ErrorKind::NotFound => {
            let folder = parent(&full);
            make_folders(root, folder)?;
            options.create(true).open(&full)?
        }
        other => other?,
    };
    let len = file.metadata()?.len();
    // Nothing is written to a file before its name is durable. So one with content has a durable name; an empty one may be what a process
    // left that was killed before it had synced the folder.
    if create && len == 0 {
        sync_folder(parent(&full))?;
    }
    Ok((file, len))
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("paths lie under the data directory")
}

/// Creates what is missing of `folder`, each one durably. As with files: nothing is made in a folder before its name is durable, so only an empty
/// one can be a killed process's.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    make_folders(root, parent(folder))?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent(folder)),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_zeros(file: &OpenFile, mut offset: u64, len: u64) -> io::Result<()> {
    let end = offset + len;
    // Space first: a full disk is found out before anything is written.
    match fallocate(file.file.as_fd(), FallocateFlags::empty(), offset, len) {
        Err(rustix::io::Errno::OPNOTSUPP) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    // SAFETY: zeroed at first.
    let zeros = unsafe { AlignedBuf::zeroed(ZEROS_BYTES).freeze(ZEROS_BYTES) };
    while offset < end {
        let count = (end - offset).min(ZEROS_BYTES as u64) as usize;
        let written = rustix::io::pwrite(&file.file, &zeros[..count], offset)?;
        offset += written as u64;
    }
    file.file.sync_all()
}

fn read_file(root: &Path, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(root.join(path))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn replace(root: &Path, path: &str, data: &[u8]) -> io::Result<()> {
    let full = root.join(path);
    let folder = parent(&full);
    make_folders(root, folder)?;
    let mut beside = full.clone().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(data)?;
    file.sync_all()?;
    fs::rename(&beside, &full)?;
    sync_folder(folder)
}

fn remove(path: &Path) -> io::Result<()> {
    let done = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(parent(path)),
    }
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let folder = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut entries = Vec::new();
    for entry in folder {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let len = if metadata.is_dir() { 0 } else { metadata.len() };
        entries.push(DirEntry { name, len, is_dir: metadata.is_dir() });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
