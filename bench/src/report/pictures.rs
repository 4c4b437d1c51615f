//! Which pictures a comparison has: latency percentiles, throughput over time, broker CPU, and how many times better.

use hdrhistogram::Histogram;

use crate::broker::Subject;
use crate::compare::book::{Heading, Run};
use crate::compare::rows::{Better, ROWS, Row, Source};
use crate::compare::spread::Spread;
use crate::compare::summary;
use crate::outcome::{self, Latency, Outcome};
use crate::plot::Svg;
use crate::plot::bars::{self, Bar, Group};
use crate::plot::lines::{self, Axis, Series, Style};
use crate::plot::scale::Scale;
use crate::workload::Kind;

/// A picture of a report.
pub struct Picture {
    /// Its file, without an ending.
    pub name: String,
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The drawing.
    pub drawing: Svg,
}

/// All pictures that these runs allow.
pub fn all(heading: &Heading, runs: &[Run]) -> Vec<Picture> {
    let mut found: Vec<Picture> = Vec::new();
    found.extend(ratios(heading, runs));
    found.extend(costs(heading, runs, "cpu_s_gb", "Broker CPU for 10^9 bytes of values", "seconds, less is better"));
    found.extend(costs(heading, runs, "cpu_us_msg", "Broker CPU for one message", "microseconds, less is better"));
    for row in ROWS.iter().filter(|row| heading.rows.iter().any(|name| name == row.name)) {
        found.extend(latencies(heading, runs, row));
        found.extend(throughput(heading, runs, row));
    }
    found
}

/// Each subject has its colour in every picture.
fn colour(subject: Subject) -> usize {
    crate::compare::rows::ALL.iter().position(|&known| known == subject).unwrap_or(0)
}

fn outcomes<'a>(runs: &'a [Run], row: &Row, subject: Subject) -> impl Iterator<Item = &'a Outcome> {
    let (row, subject) = (row.name, subject.name());
    runs.iter().filter(move |run| run.row == row && run.subject == subject).filter_map(|run| run.outcome.as_ref())
}

/// The latency that a workload is about, if it is about one.
fn latency_of(outcome: &Outcome) -> Option<&Latency> {
    match outcome.workload.kind {
        // Without a schedule a latency only tells how long the queue of requests is.
        _ if outcome.workload.rate.is_none() && outcome.workload.rate_share.is_none() => None,
        Kind::EndToEnd => outcome.end_to_end_latency.as_ref(),
        _ => outcome.produce_latency.as_ref(),
    }
}

/// All turns of a subject as one histogram, in nanoseconds.
fn merged<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Option<Histogram<u64>> {
    // One that grows: those that come out of a file do not.
    let mut sum = outcome::histogram();
    for histogram in outcomes.filter_map(latency_of).filter_map(|latency| latency.histogram().ok()) {
        sum.add(&histogram).expect("a histogram that grows takes every other");
    }
    (!sum.is_empty()).then_some(sum)
}

/// One value for every step of a percentile axis that is logarithmic towards 100 %: (1 / (1 - quantile), milliseconds).
pub fn percentile_points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let last = (histogram.len().max(1) as f64).log10();
    let steps = (last * 24.0).ceil().max(1.0) as usize;
    (0..=steps)
        .map(|at| {
            let rarity = 10f64.powf(last * at as f64 / steps as f64);
            (rarity, histogram.value_at_quantile(1.0 - 1.0 / rarity).max(1) as f64 / 1e6)
        })
        .collect()
}

/// The axis for [`percentile_points`] up to this rarity.
pub fn percentile_axis(rarest: f64) -> Axis {
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let mut marks = vec![(2.0, "50 %".to_owned())];
    marks.extend(names.iter().enumerate().map(|(power, name)| (10f64.powi(power as i32), (*name).to_owned())));
    marks.retain(|(value, _)| *value <= rarest * 1.001);
    marks.sort_by(|left, right| left.0.total_cmp(&right.0));
    Axis { label: "percentile".to_owned(), scale: Scale::Log { min: 1.0, max: rarest.max(10.0) }, marks: Some(marks) }
}

fn latencies(heading: &Heading, runs: &[Run], row: &Row) -> Option<Picture> {
    let series: Vec<Series> = summary::subjects(heading)
        .into_iter()
        .filter_map(|subject| {
            let histogram = merged(outcomes(runs, row, subject))?;
            let points = percentile_points(&histogram);
            Some(Series { name: subject.name().to_owned(), colour: colour(subject), points })
        })
        .collect();
    let values = || series.iter().flat_map(|line| &line.points);
    let rarest = values().map(|point| point.0).fold(0.0, f64::max);
    let (min, max) = values().fold((f64::MAX, 0.0f64), |(min, max), point| (min.min(point.1), max.max(point.1)));
    if series.is_empty() {
        return None;
    }
    let title = format!("Latency: {}", row.about);
    let y = Axis::new("milliseconds", Scale::log(min, max));
    let drawing = lines::draw(&title, &percentile_axis(rarest), &y, &series, Style::Line);
    Some(Picture { name: format!("latency-{}", row.name), title, drawing })
}

/// Lines over the seconds of a run, one for each turn.
fn throughput(heading: &Heading, runs: &[Run], row: &Row) -> Option<Picture> {
    let bytes = row.figures.contains(&"mb_s");
    let mut series = Vec::new();
    for subject in summary::subjects(heading) {
        for outcome in outcomes(runs, row, subject).filter(|outcome| latency_of(outcome).is_none()) {
            let unit = if bytes { outcome.workload.record_bytes as f64 / 1e6 } else { 1e-3 };
            let seconds = outcome.main_flow().records_per_second.iter().enumerate();
            let points = seconds.map(|(at, &records)| (at as f64 + 1.0, records as f64 * unit)).collect();
            series.push(Series { name: subject.name().to_owned(), colour: colour(subject), points });
        }
    }
    let largest =
        |pick: fn(&(f64, f64)) -> f64| series.iter().flat_map(|line| &line.points).map(pick).fold(0.0, f64::max);
    let (longest, most) = (largest(|point| point.0), largest(|point| point.1));
    if longest < 2.0 {
        return None;
    }
    let title = format!("Throughput: {}", row.about);
    let unit = if bytes { "MB/s" } else { "thousand messages/s" };
    let (x, y) = (Axis::new("seconds", Scale::linear(longest)), Axis::new(unit, Scale::linear(most)));
    let drawing = lines::draw(&title, &x, &y, &series, Style::Line);
    Some(Picture { name: format!("throughput-{}", row.name), title, drawing })
}

/// Bars of one cost in every row that shows it; dots on a logarithmic axis when they differ too much for bars.
fn costs(heading: &Heading, runs: &[Run], key: &str, title: &str, unit: &str) -> Option<Picture> {
    let subjects = summary::subjects(heading);
    let mut groups = Vec::new();
    for line in summary::lines(heading, runs).iter().filter(|line| line.kind.key == key) {
        let bars = subjects.iter().zip(&line.figures).filter_map(|(&subject, value)| {
            Some(Bar { name: subject.name().to_owned(), colour: colour(subject), value: (*value)? })
        });
        let group = Group { label: line.row.about.to_owned(), bars: bars.collect() };
        groups.extend((!group.bars.is_empty()).then_some(group));
    }
    let (min, max) = span(&groups)?;
    let scale = if max / min > 30.0 { Scale::log(min, max) } else { Scale::linear(max) };
    let drawing = bars::draw(title, unit, &groups, scale, None);
    Some(Picture { name: key.replace('_', "-"), title: title.to_owned(), drawing })
}

/// How many times better the left one of each pair is, whichever way is better.
fn ratios(heading: &Heading, runs: &[Run]) -> Option<Picture> {
    let pairs = summary::pairs(heading);
    let mut groups: Vec<Group> = Vec::new();
    let lines = summary::lines(heading, runs);
    // Two figures of a row tell its story; the others are in the table.
    let told = |line: &&summary::Line| {
        line.row.figures.iter().take(2).any(|key| *key == line.kind.key)
            && !matches!(line.row.source, Source::Rdkafka(_))
    };
    for line in lines.iter().filter(told) {
        let bars = pairs.iter().enumerate().filter_map(|(at, &pair)| {
            let ratio = line.ratios[at]?;
            let value = match line.kind.better {
                Better::Higher => ratio,
                Better::Lower if ratio.min > 0.0 => {
                    Spread { median: 1.0 / ratio.median, min: 1.0 / ratio.max, max: 1.0 / ratio.min, runs: ratio.runs }
                }
                _ => return None,
            };
            Some(Bar { name: summary::pair_name(pair), colour: at, value })
        });
        let group = Group { label: format!("{}: {}", line.row.name, line.kind.label), bars: bars.collect() };
        groups.extend((!group.bars.is_empty()).then_some(group));
    }
    let (min, max) = span(&groups)?;
    let title = "How many times better";
    let unit =
        "right of 1: the first of the pair is better, left of 1: worse (lines: smallest to largest of the turns)";
    let drawing = bars::draw(title, unit, &groups, Scale::log(min.min(0.5), max.max(2.0)), Some(1.0));
    Some(Picture { name: "ratios".to_owned(), title: title.to_owned(), drawing })
}

fn span(groups: &[Group]) -> Option<(f64, f64)> {
    let values: Vec<f64> =
        groups.iter().flat_map(|group| &group.bars).flat_map(|bar| [bar.value.min, bar.value.max]).collect();
    let found = values.iter().copied().filter(|value| *value > 0.0);
    let (min, max) = found.fold((f64::MAX, 0.0f64), |(min, max), value| (min.min(value), max.max(value)));
    (max > 0.0).then_some((min, max))
}
