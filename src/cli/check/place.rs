//! What `floe check` finds out about the data directory, what lies below it, and the ports. Leaves nothing behind.

use std::fs;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::Grade::{Bad, Worse};
use super::{Finding, device};
use crate::config::{Config, listeners};
use crate::node::data_dir::DataDir;

/// Free space that is left for records once the journals are there.
const FREE_BYTES_WANTED: u64 = 1 << 30;

/// Everything about where data will lie and clients will come in.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let folder = existing(&config.data_dir);
    let journals = config.cpus.len() as u64 * config.broker.log_settings().journal_bytes;
    let mut findings = vec![
        data_dir(&config.data_dir),
        writable(&folder, &config.data_dir),
        file_system(&folder),
        free_space(&folder, journals + FREE_BYTES_WANTED),
    ];
    findings.extend(device::look(&folder));
    for listener in &config.broker.listeners {
        findings.push(port("port", &listener.bind_host, listener.bind_port, "--listen HOST:PORT"));
    }
    if let Some((host, admin)) = &config.admin_listen {
        findings.push(port("admin port", host, *admin, "--admin-listen HOST:PORT"));
    }
    findings
}

/// The nearest folder that exists: the data directory itself is made by the first start.
fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn data_dir(path: &Path) -> Finding {
    let what = "data directory";
    let shown = path.display();
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Err(_) if !path.exists() => Finding::good(what, format!("{shown} will be made by the first start")),
        Err(error) => Finding::with(Bad, what, format!("cannot look into {shown}: {error}"), give_it(path)),
        Ok(true) => Finding::good(what, format!("{shown} is empty")),
        Ok(false) => match DataDir::inspect(path) {
            Ok(_) => Finding::good(what, format!("{shown} is one of Floe, of a format that this program reads")),
            Err(problem) => Finding::with(Bad, what, problem.summary(), problem.steps()),
        },
    }
}

/// Tries what the journals need: a file opened with O_DIRECT.
fn writable(folder: &Path, data_dir: &Path) -> Finding {
    let shown = folder.display();
    match device::nameless_file(folder, rustix::fs::OFlags::DIRECT) {
        Ok(_) => Finding::good("direct writes", format!("{shown} takes O_DIRECT")),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Finding::with(
            Bad,
            "direct writes",
            format!("the file system of {shown} does not know O_DIRECT, which the journals are written with"),
            "put the data on ext4 or XFS: mkfs.xfs /dev/DISK && mount /dev/DISK /var/lib/floe, then --data-dir /var/lib/floe",
        ),
        Err(error) => {
            Finding::with(Bad, "direct writes", format!("cannot write in {shown}: {error}"), give_it(data_dir))
        }
    }
}

/// Makes the data directory this user's, and no more than that.
fn give_it(data_dir: &Path) -> String {
    let (user, shown) = (rustix::process::getuid().as_raw(), data_dir.display());
    let what = if data_dir.exists() { "chown -R" } else { "install -d -o" };
    format!("{what} {user} {shown} (as root), or choose another --data-dir")
}

fn file_system(folder: &Path) -> Finding {
    match rustix::fs::statfs(folder) {
        Ok(stat) => kind_of_file_system(stat.f_type as u64, &folder.display().to_string()),
        Err(error) => Finding::with(
            Bad,
            "file system",
            format!("cannot look at {}: {error}", folder.display()),
            "choose a --data-dir that this user may read",
        ),
    }
}

/// By the numbers that the kernel gives file systems (linux/magic.h).
fn kind_of_file_system(magic: u64, folder: &str) -> Finding {
    let what = "file system";
    let mend = "put the data on ext4 or XFS of a local disk, with --data-dir";
    match magic & 0xffff_ffff {
        0xef53 => Finding::good(what, "ext4"),
        0x5846_5342 => Finding::good(what, "XFS"),
        0x0102_1994 => {
            Finding::with(Worse, what, format!("{folder} is in memory (tmpfs): nothing outlives the machine"), mend)
        }
        0x794c_7630 => Finding::with(
            Worse,
            what,
            format!("{folder} is a container's own layer (overlay): slow, and gone with the container"),
            "mount a volume there: docker run -v floe-data:/var/lib/floe, with --data-dir /var/lib/floe",
        ),
        0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x517b => Finding::with(
            Worse,
            what,
            format!("{folder} is on a network: what is acknowledged is only as durable as its server"),
            mend,
        ),
        0x9123_683e => Finding::with(
            Worse,
            what,
            format!("{folder} is on Btrfs, which copies what is overwritten, as the journals are"),
            format!("chattr +C {folder} before the first start, or ext4 or XFS"),
        ),
        0x2fc1_2fc1 => Finding::with(Worse, what, format!("{folder} is on ZFS, which caches what Floe caches"), mend),
        other => Finding::good(what, format!("number {other:x}, which Floe was not measured on")),
    }
}

fn free_space(folder: &Path, wanted: u64) -> Finding {
    match rustix::fs::statvfs(folder) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let shown = format!("{} MiB free on the file system of {}", free >> 20, folder.display());
            if free >= wanted {
                return Finding::good("disk space", shown);
            }
            Finding::with(
                Bad,
                "disk space",
                format!("{shown}; the journals and the first records want {} MiB", wanted >> 20),
                "free some (df -h, du -xh --max-depth=2 / | sort -h | tail), choose another --data-dir, or give journal.bytes less",
            )
        }
        Err(error) => Finding::with(
            Bad,
            "disk space",
            format!("cannot look at {}: {error}", folder.display()),
            "choose a --data-dir that this user may read",
        ),
    }
}

fn port(what: &str, host: &str, port: u16, flag: &str) -> Finding {
    let place = listeners::shown(host, port);
    let addresses: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Finding::with(
                Bad,
                what,
                format!("{place}: {error}"),
                format!("give an address of this host with {flag}"),
            );
        }
    };
    match TcpListener::bind(addresses.as_slice()) {
        Ok(_) => Finding::good(what, format!("{place} is free")),
        Err(error) => Finding::with(
            Bad,
            what,
            format!("{place} cannot be listened on: {error}"),
            format!("ss -ltnp 'sport = :{port}' shows who has it; stop that, or listen elsewhere with {flag}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade::{self, Good};
    use super::*;

    #[test]
    fn file_systems_by_their_numbers() {
        let rows: &[(u64, Grade, &str)] = &[
            (0xef53, Good, "ext4"),
            (0x0102_1994, Worse, "in memory"),
            (0x794c_7630, Worse, "docker run -v"),
            (0x6969, Worse, "on a network"),
            (0xffff_ffff_fe53_4d42, Worse, "on a network"),
            (1, Good, "number 1"),
        ];
        for (magic, grade, part) in rows {
            let finding = kind_of_file_system(*magic, "/d");
            assert_eq!(finding.grade, *grade, "{finding:?}");
            assert!(format!("{finding:?}").contains(part), "{finding:?} lacks {part}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_stands_for_the_one_above() {
        let deep = std::env::temp_dir().join("floe-not-there/deeper");
        assert_eq!(existing(&deep), std::env::temp_dir());
        assert_eq!(free_space(Path::new("/nowhere/at/all"), 0).grade, Bad);
        assert_eq!(free_space(&std::env::temp_dir(), 0).grade, Good);
        assert_eq!(free_space(&std::env::temp_dir(), u64::MAX).grade, Bad);
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("floe-check-place-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        writable(&folder, &folder);
        assert_eq!(data_dir(&folder).grade, Good);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(give_it(&folder).starts_with("chown -R"));
        assert!(give_it(&folder.join("data")).starts_with("install -d"));
        fs::write(folder.join("thesis.tex"), "x").unwrap();
        assert_eq!(data_dir(&folder).grade, Bad);
        fs::remove_dir_all(&folder).unwrap();
    }
}
