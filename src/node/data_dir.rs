//! The data directory as a whole: created, held by one process at a time, and of a format that this program reads. What is inside belongs
//! to the engine.
//!
//! Invariant: whoever has a [`DataDir`] holds `floe.lock`. The kernel lets go of the lock when the process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::problem::{Outcome, Problem, Tried};

/// The newest format of the data directory that this program knows; docs/FORMAT.md describes it.
pub const FORMAT: u32 = 1;

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    /// Where, absolute.
    pub path: PathBuf,
    /// Whether it was made by this opening.
    pub is_new: bool,
    _lock: File,
}

/// What format.json says. Fields may be added; a reader ignores those that it does not know, as only `format` decides.
#[derive(Debug, Serialize, Deserialize)]
struct FormatFile {
    format: u32,
    /// The program that wrote it first, for people.
    #[serde(default)]
    created_by: String,
}

impl DataDir {
    /// Takes the directory for serving: creates it when it is not there.
    pub fn serve(path: &Path) -> Outcome<DataDir> {
        fs::create_dir_all(path).map_err(|error| {
            Problem::new(format!("cannot create the data directory {}", path.display()))
                .because(error)
                .next("choose a directory that this user may write with --data-dir DIR")
        })?;
        let path = absolute(path)?;
        let lock = hold(&path)?;
        let is_new = match read_format(&path)? {
            Some(()) => false,
            None => {
                refuse_foreign(&path)?;
                write_format(&path)?;
                true
            }
        };
        Ok(DataDir { path, is_new, _lock: lock })
    }

    /// Takes the directory for reading, as `floe dump-log` does: it has to be there, and nobody may be serving from it.
    pub fn inspect(path: &Path) -> Outcome<DataDir> {
        let path = absolute(path)?;
        if read_format(&path)?.is_none() {
            return Err(Problem::new(format!(
                "{} is not a data directory of Floe: it has no format.json",
                path.display()
            ))
            .next("give the directory that the broker was started with (--data-dir, or data.dir in floe.toml)"));
        }
        let lock = hold(&path)?;
        Ok(DataDir { path, is_new: false, _lock: lock })
    }
}

fn absolute(path: &Path) -> Outcome<PathBuf> {
    path.canonicalize().map_err(|error| {
        Problem::new(format!("cannot open the data directory {}", path.display()))
            .because(error)
            .next("give the directory that the broker was started with (--data-dir, or data.dir in floe.toml)")
    })
}

fn hold(path: &Path) -> Outcome<File> {
    let lock_path = path.join("floe.lock");
    let mut lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(|error| {
            Problem::new(format!("cannot open {}", lock_path.display()))
                .because(error)
                .next(format!("give this user the right to write in {}, or choose another --data-dir", path.display()))
        })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's own words; only a hint, as they are written after the lock was taken.
            let _ = (&lock).take(64).read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(pid) => format!("process {pid} holds it"),
                Err(_) => "another process holds it".to_owned(),
            };
            return Err(Problem::new(format!("the data directory {} is in use", path.display()))
                .because_of(format!("{holder} ({} is locked)", lock_path.display()))
                .next("stop that broker first, or choose another --data-dir"));
        }
        Err(TryLockError::Error(error)) => {
            return Err(Problem::new(format!("cannot lock {}", lock_path.display()))
                .because(error)
                .next("use a local file system (ext4, XFS); some network file systems have no locks"));
        }
    }
    // The process id is for people and for the message above; losing it loses nothing.
    let _ = lock.set_len(0);
    let _ = lock.rewind();
    let _ = writeln!(lock, "{}", std::process::id());
    Ok(lock)
}

/// `Some` when the format is one that this program reads, `None` when there is no format.json.
fn read_format(path: &Path) -> Outcome<Option<()>> {
    let file = path.join("format.json");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Problem::new(format!("cannot read {}", file.display()))
                .because(error)
                .next("give this user the right to read the data directory"));
        }
    };
    let format: FormatFile = serde_json::from_str(&text).map_err(|error| {
        Problem::new(format!("{} is damaged", file.display())).because(error).next(format!(
            "if this is a data directory of Floe, write {{\"format\":1}} into the file (1 is the only format so far); otherwise choose another --data-dir, not {}",
            path.display()
        ))
    })?;
    if format.format > FORMAT {
        return Err(Problem::new(format!(
            "the data directory {} has format {}, and this program (floe {}) reads up to format {FORMAT}",
            path.display(),
            format.format,
            env!("CARGO_PKG_VERSION")
        ))
        .next("start the newer floe that wrote it, or choose another --data-dir; nothing was changed"));
    }
    Ok(Some(()))
}

/// A directory with other things in it is most likely a slip of the hand; writing into it would mix two things up.
fn refuse_foreign(path: &Path) -> Outcome {
    let entries = fs::read_dir(path).tried(|| format!("cannot list {}", path.display()))?;
    for entry in entries {
        let name = entry.tried(|| format!("cannot list {}", path.display()))?.file_name();
        // "lost+found" is there on a fresh file system mounted for the data.
        if name != "floe.lock" && name != "format.json.new" && name != "lost+found" {
            return Err(Problem::new(format!("{} is neither empty nor a data directory of Floe", path.display()))
                .because_of(format!("it has no format.json, but it has `{}`", name.to_string_lossy()))
                .next("choose an empty or a new directory with --data-dir DIR"));
        }
    }
    Ok(())
}

fn write_format(path: &Path) -> Outcome {
    let say = || format!("cannot write {}", path.join("format.json").display());
    let format = FormatFile { format: FORMAT, created_by: format!("floe {}", env!("CARGO_PKG_VERSION")) };
    let text = serde_json::to_string(&format).tried(say)?;
    // Written aside and renamed: after a crash there is no format.json or a whole one.
    let aside = path.join("format.json.new");
    let mut file = File::create(&aside).tried(say)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).tried(say)?;
    fs::rename(&aside, path.join("format.json")).tried(say)?;
    File::open(path).and_then(|folder| folder.sync_all()).tried(say)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for each test, removed when dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("floe-data-dir-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn first_start_marks_it_and_the_second_finds_it() {
        let scratch = Scratch::new("first");
        let path = scratch.0.join("made/by/serve");
        assert!(DataDir::serve(&path).unwrap().is_new);
        assert!(!DataDir::serve(&path).unwrap().is_new);
        assert!(DataDir::inspect(&path).is_ok());
    }

    #[test]
    fn one_process_at_a_time() {
        let scratch = Scratch::new("lock");
        let held = DataDir::serve(&scratch.0).unwrap();
        for problem in [DataDir::serve(&scratch.0).unwrap_err(), DataDir::inspect(&scratch.0).unwrap_err()] {
            let text = problem.to_string();
            assert!(text.contains("is in use") && text.contains(&scratch.0.display().to_string()), "{text}");
            assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        }
        drop(held);
        assert!(DataDir::serve(&scratch.0).is_ok());
    }

    #[test]
    fn what_is_not_ours_or_newer_is_refused_untouched() {
        let rows = [
            ("format.json", "{\"format\":2,\"created_by\":\"floe 9\"}", "has format 2"),
            ("format.json", "{", "is damaged"),
            ("thesis.tex", "x", "neither empty nor a data directory of Floe"),
        ];
        for (file, content, expect) in rows {
            let scratch = Scratch::new("refuse");
            fs::write(scratch.0.join(file), content).unwrap();
            let text = DataDir::serve(&scratch.0).unwrap_err().to_string();
            assert!(text.contains(expect), "{text}");
            assert_eq!(fs::read_to_string(scratch.0.join(file)).unwrap(), content);
        }
        let scratch = Scratch::new("inspect");
        let text = DataDir::inspect(&scratch.0).unwrap_err().to_string();
        assert!(text.contains("not a data directory of Floe"), "{text}");
        assert!(!scratch.0.join("floe.lock").exists(), "inspecting leaves nothing behind");
    }
}
