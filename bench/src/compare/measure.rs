//! One run of one row by one subject: the load, what the device wrote, what the neighbours did.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::book::Run;
use super::pool::Pool;
use super::quiet::Mark;
use super::rows::{self, Rdkafka, Row, Source};
use super::{Plan, generator};
use crate::broker::{Broker, Place, Subject};
use crate::client::Client;
use crate::load::{self, To};
use crate::outcome::Outcome;
use crate::{disk, restart};

/// What a run gave, before what is known about its surroundings is added.
#[derive(Default)]
struct Found {
    figures: Vec<(String, f64)>,
    outcome: Option<Outcome>,
    remarks: Vec<String>,
}

/// Measures; what fails becomes a run with a failure.
pub fn run(plan: &Plan, pool: &mut Pool, row: &Row, subject: Subject, turn: usize) -> Run {
    let place = &plan.place;
    let cores = [place.broker_core, place.load_core];
    // Warming, if it is due, belongs to no run.
    let needs_broker = matches!(row.source, Source::Workload(_) | Source::Rdkafka(_));
    let up = if needs_broker {
        pool.turn_to(subject)
    } else {
        pool.stop_all();
        Ok(())
    };
    // What an earlier run left in the page cache is written back before, not beside this one.
    rustix::fs::sync();
    let before = Mark::now(&cores);
    let device_before = device_bytes(&place.scratch);
    let found = up.and_then(|()| match row.source {
        Source::Workload(_) => workload(plan, pool, row, subject),
        Source::Rdkafka(shape) => rdkafka(plan, pool, shape, subject, turn),
        Source::StartUp => start_up(plan, subject),
        Source::Restart => recover(plan, subject),
    });
    let after = Mark::now(&cores);
    let neighbours = before.until(&after, &pool.pids(), cores.len());
    let (mut found, failure) = match found {
        Ok(found) => (found, None),
        Err(problem) => (Found::default(), Some(plan.without_places(&problem))),
    };
    if let Some(outcome) = &found.outcome
        && outcome.workload.kind == crate::workload::Kind::Produce
        && let (Some(before), Some(after)) = (device_before, device_after(&place.scratch))
    {
        // Of the whole run with its warm-up: the device cannot be asked when the warm-up ended.
        let produced = outcome.check.acknowledged * outcome.workload.record_bytes as u64;
        found.figures.push(("device_bytes".to_owned(), after.saturating_sub(before) as f64 / produced.max(1) as f64));
    }
    if row.figures.contains(&rows::DISK_RATE) && failure.is_none() {
        // In the same run: what a disk gives differs from hour to hour on a machine that others share.
        match disk::sequential(&place.scratch, 3.0) {
            Ok(own) => {
                let produced = found.figures.iter().find(|(key, _)| key == "mb_s").map_or(0.0, |&(_, value)| value);
                found.figures.push((rows::DISK_RATE.to_owned(), own.mb_per_s));
                found.figures.push(("disk_share".to_owned(), produced / own.mb_per_s));
                found.remarks.push(format!("the disk's own rate is by {}", own.by));
            }
            Err(error) => found.remarks.push(format!("the disk's own rate is not known: {error}")),
        }
    }
    if failure.is_some() {
        pool.drop(subject);
    }
    let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Run {
        row: row.name.to_owned(),
        subject: subject.name().to_owned(),
        turn,
        unix_seconds,
        figures: found.figures,
        outcome: found.outcome,
        neighbours,
        remarks: found.remarks,
        failure,
    }
}

fn workload(plan: &Plan, pool: &mut Pool, row: &Row, subject: Subject) -> Result<Found, String> {
    let workload = plan.workload(row)?;
    let resident = pool.get(subject)?;
    let outcome = generator::run(&workload, &resident.place, subject, &resident.broker)?;
    let mut remarks = Vec::new();
    if outcome.client.was_the_limit {
        remarks.push(format!("the client was the limit ({:.0} % of its core)", outcome.client.busy_share * 100.0));
    }
    let errors = outcome.produced.errors + outcome.consumed.errors;
    if errors > 0 {
        remarks.push(format!("{errors} requests were answered with an error"));
    }
    if !outcome.check.is_clean() {
        let check = &outcome.check;
        return Err(format!(
            "what was read is not what was written: {} missing, {} out of order, {} corrupt",
            check.missing, check.out_of_order, check.corrupt
        ));
    }
    Ok(Found { figures: rows::figures(&outcome), outcome: Some(outcome), remarks })
}

fn rdkafka(plan: &Plan, pool: &mut Pool, shape: Rdkafka, subject: Subject, turn: usize) -> Result<Found, String> {
    let resident = pool.get(subject)?;
    let (broker, place) = (&resident.broker, &resident.place);
    let name = format!("rdkafka-{turn}");
    let mut client = Client::connect(place.port).map_err(|error| error.to_string())?;
    let partitions = if shape == Rdkafka::Scatter { 1000 } else { 1 };
    client.create_topic(&name, partitions).map_err(|error| error.to_string())?;
    let seconds = plan.seconds.unwrap_or(10.0);
    let moved = match shape {
        Rdkafka::Stream => load::produce(broker, place, &name, To::One(0), 1024, seconds, &load::STREAM)?,
        Rdkafka::Scatter => {
            let properties = ["batch.num.messages=10", "linger.ms=5000", "max.in.flight=1000"];
            load::produce(broker, place, &name, To::AnyOf(partitions), 256, seconds, &properties)?
        }
        Rdkafka::Hot => load::consume_again(broker, place, &name, load::HOT)?,
        Rdkafka::CatchUp => load::consume_again(broker, place, &name, load::CATCH_UP)?,
    };
    client.delete_topics(&[name]).map_err(|error| error.to_string())?;
    let figures = [
        ("mb_s", moved.mb_per_s()),
        ("k_msg_s", moved.records_per_s() / 1e3),
        ("cpu_s_gb", moved.cpu_per_gb()),
        ("cpu_us_msg", moved.cpu_us_per_record()),
        ("rss_max_mb", moved.rss_max as f64 / 1e6),
    ];
    Ok(Found { figures: figures.map(|(key, value)| (key.to_owned(), value)).to_vec(), ..Found::default() })
}

/// A broker of its own beside the waiting ones, on both cores.
fn start_up(plan: &Plan, subject: Subject) -> Result<Found, String> {
    let place = Place { both_cores: true, ..plan.beside() };
    fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    let broker = Broker::start(&place, subject)?;
    sleep(Duration::from_secs(2));
    let figures = [("start_ms", broker.start_up.as_secs_f64() * 1e3), ("rss_idle_mb", broker.rss() as f64 / 1e6)];
    Ok(Found { figures: figures.map(|(key, value)| (key.to_owned(), value)).to_vec(), ..Found::default() })
}

fn recover(plan: &Plan, subject: Subject) -> Result<Found, String> {
    let place = plan.beside();
    fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    let found = restart::one(&place, subject, plan.restart_partitions, plan.restart_bytes)?;
    let figures = [
        ("data_gb", found.data_bytes as f64 / 1e9),
        ("first_answer_s", found.first_answer_s),
        ("first_produce_s", found.first_produce_s),
    ];
    Ok(Found { figures: figures.map(|(key, value)| (key.to_owned(), value)).to_vec(), ..Found::default() })
}

/// Bytes that the device below `path` has written since the machine was started; none when the file system has no such device.
fn device_bytes(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // The seventh field; sectors are 512 bytes here whatever the device has.
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
}

/// The same when everything has got there.
fn device_after(path: &Path) -> Option<u64> {
    rustix::fs::sync();
    device_bytes(path)
}
