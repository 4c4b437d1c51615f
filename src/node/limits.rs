//! Resource limits of the process: taken as high as the system allows, as sockets, segments and rings all count against them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lifts the soft limits of open files and locked memory to the hard ones. Returns lines for the log about what stayed low.
pub fn raise() -> Vec<String> {
    let mut notes = Vec::new();
    for (resource, name) in [(Resource::Nofile, "open files"), (Resource::Memlock, "locked memory")] {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum
            && let Err(error) = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum })
        {
            notes.push(format!(
                "cannot raise the limit of {name} from {:?} to {:?}: {error}",
                limit.current, limit.maximum
            ));
        }
    }
    if let Some(files) = getrlimit(Resource::Nofile).current
        && files < 4096
    {
        notes.push(format!(
            "only {files} files may be open; connections and segments will run out of them. Raise the hard limit: ulimit -Hn 65536 (as root) or LimitNOFILE= in the service unit"
        ));
    }
    notes
}
