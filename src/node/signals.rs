//! Signals: the first SIGTERM or SIGINT asks for a clean shutdown, the second ends the process at once.

use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::problem::{Exit, Outcome, Tried};

/// Begins to listen. The receiver gets the name of the first signal; nobody has to read it.
pub fn listen() -> Outcome<flume::Receiver<&'static str>> {
    let say = || "cannot listen to signals".to_owned();
    let mut signals = Signals::new([SIGTERM, SIGINT]).tried(say)?;
    let (to, from) = flume::bounded(1);
    thread::Builder::new()
        .name("floe-signals".to_owned())
        .spawn(move || {
            let mut asked = false;
            for signal in signals.forever() {
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                if asked {
                    tracing::warn!("{name} again: ending at once; the journal is replayed at the next start");
                    std::process::exit(i32::from(Exit::Interrupted.code()));
                }
                asked = true;
                let _ = to.send(name);
            }
        })
        .tried(say)?;
    Ok(from)
}
