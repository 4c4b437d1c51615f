//! `floe consume --group`: as a member of a consumer group, beside members of any other client. What was printed is committed, at the latest five seconds
//! later, when the group changes and at the end, which is also Ctrl-C: then it leaves the group.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::super::client::consumer::Consumer;
use super::super::client::member::{Member, Standing};
use super::super::client::{Cluster, groups};
use super::super::output::Output;
use super::{ConsumeArgs, Printer, WAIT};
use crate::problem::{Exit, Outcome, Problem};

/// Signals closer to each other are one.
const TWICE: Duration = Duration::from_millis(500);
/// How long a record may have been printed and not be committed.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

pub(super) fn run(args: &ConsumeArgs, group: &str, printer: &mut Printer<'_>) -> Outcome {
    let over = ended_by_signals()?;
    let mut cluster = Cluster::connect(&args.bootstrap)?;
    // Says at once that there is no such topic.
    cluster.topic(&args.topic, false)?;
    let mut output = Output::new();
    let mut member = Member::join(&mut cluster, group, &args.topic)?;
    loop {
        let mut share = Share::of(args, group, &mut cluster, &member)?;
        if stderr().is_terminal() && stdout().is_terminal() {
            eprintln!("partitions of {} in group {group}: {:?}; Ctrl-C leaves it", args.topic, member.assigned());
        }
        let standing = loop {
            if over.load(Ordering::Relaxed) || printer.left == 0 || args.exit && share.consumer.at_end() {
                output.flush()?;
                share.commit(&mut cluster, &mut member)?;
                return member.leave();
            }
            share.read(args, &mut cluster, printer, &mut output)?;
            let standing = match member.keep(&mut cluster)? {
                Standing::Same if share.last_commit.elapsed() > COMMIT_EVERY => {
                    share.commit(&mut cluster, &mut member)?
                }
                standing => standing,
            };
            if standing != Standing::Same {
                break standing;
            }
        };
        if standing == Standing::Changing {
            share.commit(&mut cluster, &mut member)?;
        }
        member.rejoin(&mut cluster, standing)?;
    }
}

/// What this member reads until the group changes.
struct Share {
    consumer: Consumer,
    committed: BTreeMap<i32, i64>,
    last_commit: Instant,
}

impl Share {
    fn of(args: &ConsumeArgs, group: &str, cluster: &mut Cluster, member: &Member) -> Outcome<Share> {
        let mut consumer =
            Consumer::new(cluster, &args.topic, Some(member.assigned()), args.from, args.read_committed)?;
        let committed = groups::committed(cluster, group)?;
        let own = committed.into_iter().filter(|((topic, _), _)| *topic == args.topic);
        let own: BTreeMap<i32, i64> = own.map(|((_, partition), committed)| (partition, committed.offset)).collect();
        for (partition, from, to) in consumer.go_on_at(cluster, &own)? {
            eprintln!(
                "offset {from} of {}-{partition}, which was committed, is not there; going on at {to}",
                args.topic
            );
        }
        Ok(Share { consumer, committed: own, last_commit: Instant::now() })
    }

    /// One round; without anything to read it waits as long.
    fn read(
        &mut self,
        args: &ConsumeArgs,
        cluster: &mut Cluster,
        printer: &mut Printer<'_>,
        output: &mut Output,
    ) -> Outcome {
        if self.consumer.positions().is_empty() {
            std::thread::sleep(WAIT);
            return Ok(());
        }
        self.consumer.poll(cluster, WAIT, args.exit, |record| printer.print(&record, output))?;
        output.flush()
    }

    /// Commits what is new. Everything that was read has been handed on by now.
    fn commit(&mut self, cluster: &mut Cluster, member: &mut Member) -> Outcome<Standing> {
        self.last_commit = Instant::now();
        let positions = self.consumer.positions();
        let new = positions.iter().filter(|(partition, next)| self.committed.get(partition) != Some(next));
        let new: BTreeMap<i32, i64> = new.map(|(partition, next)| (*partition, *next)).collect();
        let standing = member.commit(cluster, &new)?;
        if standing == Standing::Same {
            self.committed.extend(new);
        }
        Ok(standing)
    }
}

/// Set by the first SIGINT or SIGTERM; a second one ends the process at once.
fn ended_by_signals() -> Outcome<Arc<AtomicBool>> {
    let over = Arc::new(AtomicBool::new(false));
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).map_err(|error| Problem::new("cannot listen to signals").because(error))?;
    let set = over.clone();
    std::thread::spawn(move || {
        let mut first = None;
        for _ in signals.forever() {
            set.store(true, Ordering::Relaxed);
            // Who passes a terminal's Ctrl-C on (`timeout` does) sends it twice.
            if first.get_or_insert_with(Instant::now).elapsed() > TWICE {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        }
    });
    Ok(over)
}
