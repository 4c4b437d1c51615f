//! What was found as tables: medians with the smallest and the largest, ratios formed turn by turn.

use super::runs::{Closed, Streamed};
use super::{Found, PARTITIONS, Plan};
use crate::broker::Subject;
use crate::compare::spread::{Spread, ratio, short};
use crate::report;

/// Prints both tables, and what is to be said about them.
pub fn print(plan: &Plan, found: &Found) {
    println!("{}", closed(plan, found));
    println!("{}", streams(plan, found));
    let limited = found.closed.iter().chain(&found.alone).map(|run| run.client_share);
    let most = limited.chain(found.streamed.iter().map(|run| run.client_share)).fold(0.0, f64::max);
    println!("the load used at most {:.0} % of its core", most * 100.0);
    found.remarks.iter().for_each(|remark| println!("disturbed: {remark}"));
}

/// A figure by turn.
type Turns = Vec<(usize, f64)>;

fn shown(turns: &Turns) -> String {
    let values: Vec<f64> = turns.iter().map(|(_, value)| *value).collect();
    Spread::of(&values).map_or("-".to_owned(), |spread| spread.to_string())
}

/// A row with a cell for each subject; beside a rival how many times its figure Floe's is.
fn row(plan: &Plan, name: String, of: impl Fn(Subject) -> Turns) -> Vec<String> {
    let mut cells = vec![name];
    cells.extend(plan.subjects.iter().map(|subject| shown(&of(*subject))));
    if let [first, second] = plan.subjects[..] {
        cells.push(ratio(&of(first), &of(second)).map_or("-".to_owned(), |spread| spread.to_string()));
    }
    cells
}

fn header<'a>(plan: &Plan, first: &'a str) -> Vec<&'a str> {
    let mut header = vec![first];
    header.extend(plan.subjects.iter().map(|subject| subject.name()));
    if plan.subjects.len() == 2 {
        header.push("ratio");
    }
    header
}

fn closed(plan: &Plan, found: &Found) -> comfy_table::Table {
    type Figure = fn(&Closed) -> Option<f64>;
    let figures: [(&str, bool, Figure); 9] = [
        ("transactions/s", false, |run| Some(run.per_s)),
        ("commit p50, ms", false, |run| Some(run.commit_us[0] as f64 / 1e3)),
        ("commit p99, ms", false, |run| Some(run.commit_us[1] as f64 / 1e3)),
        ("produce p99, ms (with the wait for the markers before)", false, |run| Some(run.produce_us[1] as f64 / 1e3)),
        ("transaction p50, ms", false, |run| Some(run.whole_us[0] as f64 / 1e3)),
        ("transaction p99, ms", false, |run| Some(run.whole_us[1] as f64 / 1e3)),
        ("broker CPU a transaction, us", false, |run| Some(run.cpu_us)),
        ("one producer: transaction p50, ms", true, |run| Some(run.whole_us[0] as f64 / 1e3)),
        ("one producer: journal writes a transaction", true, |run| run.journal_writes.map(|[commits, _]| commits)),
    ];
    let mut rows = Vec::new();
    for partitions in PARTITIONS {
        for (name, alone, figure) in figures {
            let runs = if alone { &found.alone } else { &found.closed };
            let of = |subject: Subject| {
                let runs = runs.iter().filter(|run| run.partitions == partitions && run.subject == subject.name());
                runs.filter_map(|run| Some((run.turn, figure(run)?))).collect::<Turns>()
            };
            rows.push(row(plan, format!("{partitions}: {name}"), of));
        }
    }
    report::table(&header(plan, "partitions a transaction: figure"), rows)
}

fn streams(plan: &Plan, found: &Found) -> comfy_table::Table {
    let mut rows = Vec::new();
    for &bytes in &plan.batches_bytes {
        let of = |subject: Subject, transactional: bool, figure: fn(&Streamed) -> f64| {
            let runs = found.streamed.iter().filter(move |run| {
                run.batch_bytes == bytes && run.transactional == transactional && run.subject == subject.name()
            });
            runs.map(|run| (run.turn, figure(run))).collect::<Turns>()
        };
        type Figure = fn(&Streamed) -> f64;
        let figures: [(&str, Figure); 2] = [("MB/s", |run| run.mb_per_s), ("CPU s/GB", |run| run.cpu_s_per_gb)];
        for (name, figure) in figures {
            for (kind, transactional) in [("idempotent", false), ("transactional", true)] {
                let name = format!("{} KiB: {kind}, {name}", bytes >> 10);
                rows.push(row(plan, name, |subject| of(subject, transactional, figure)));
            }
            let mut cells = vec![format!("{} KiB: transactional / idempotent, {name}", bytes >> 10)];
            cells.extend(plan.subjects.iter().map(|subject| {
                let times = ratio(&of(*subject, true, figure), &of(*subject, false, figure));
                times.map_or("-".to_owned(), |times| {
                    format!("{:.3} ({}..{})", times.median, short(times.min), short(times.max))
                })
            }));
            cells.resize(header(plan, "").len(), String::new());
            rows.push(cells);
        }
    }
    report::table(&header(plan, "batches: figure"), rows)
}
