//! A picture for each knob: every point of the sweep by its bandwidth and latency, coloured by that knob's value, and for each value the line of
//! points that none of the same colour beats in both.

use super::{Point, Sweep};
use crate::plot::Svg;
use crate::plot::lines::{self, Axis, Series, Style};
use crate::plot::scale::Scale;

/// The value of a knob in a point, as it is shown.
type Knob = fn(&Point) -> String;

/// Name of the file and drawing, for every knob that has more than one value; the profile always.
pub fn all(sweep: &Sweep) -> Vec<(String, Svg)> {
    let knobs: [(&str, &str, Knob); 4] = [
        ("profile", "profile", |point| point.profile.clone()),
        ("linger", "linger", |point| format!("{} ms", point.linger_ms)),
        ("batch", "batch size", |point| batch_text(point.batch_bytes)),
        ("partitions", "partitions", |point| point.partitions.to_string()),
    ];
    let mut found = Vec::new();
    for (name, title, value) in knobs {
        let series = series(&sweep.points, value);
        if series.len() > 1 || (name == "profile" && !series.is_empty()) {
            found.push((format!("tuning-{name}"), draw(title, sweep, &series)));
        }
    }
    found
}

/// A batch size as people say it.
pub fn batch_text(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn series(points: &[Point], value: Knob) -> Vec<Series> {
    let mut found: Vec<Series> = Vec::new();
    for point in points {
        let name = value(point);
        let at = found.iter().position(|series| series.name == name).unwrap_or_else(|| {
            let colour = found.len() % crate::plot::COLOURS;
            found.push(Series { name, colour, points: Vec::new() });
            found.len() - 1
        });
        found[at].points.push((point.mb_per_s.median, point.p99_ms.median));
    }
    found
}

fn draw(knob: &str, sweep: &Sweep, series: &[Series]) -> Svg {
    let points = || sweep.points.iter();
    let (low, high) = span(points().map(|point| point.mb_per_s.median));
    let (short, long) = span(points().map(|point| point.p99_ms.median));
    let title = format!("Latency against bandwidth, by {knob}");
    let x = Axis::new("MB/s (lines: what nothing of the same colour beats in both)", Scale::log(low, high));
    let y = Axis::new("p99 of the acknowledgement, milliseconds", Scale::log(short, long));
    lines::draw(&title, &x, &y, series, Style::Front)
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.filter(|value| *value > 0.0).fold((f64::MAX, 0.0), |(min, max), value| (min.min(value), max.max(value)))
}
