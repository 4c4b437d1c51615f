//! The measured part of docs/TUNING.md: which settings of the sweep answer which wish. Everything in it was measured; what was not is not said.

use super::pictures::batch_text;
use super::{Point, Sweep};
use crate::compare::spread::short;

/// The measured part begins behind this line.
pub const BEGIN: &str = "<!-- measured: written by `floe-bench sweep`, not by hand -->";
/// And ends before this one.
pub const END: &str = "<!-- end of what was measured -->";

/// A page with its measured part replaced; none when it has no marks.
pub fn fill(page: &str, measured: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{}\n\n{END}{tail}", measured.trim()))
}

/// The measured part; `origin` says on which machine, at which commit, by which command.
pub fn measured(sweep: &Sweep, origin: &str) -> String {
    let mut text = format!(
        "{origin}. Records of {} bytes, acks=1, durability `flushed`, each point at {:.0} % of the highest rate that its settings reach, {} s a run, \
         median of {}.\n\n",
        sweep.record_bytes,
        sweep.share * 100.0,
        short(sweep.seconds),
        sweep.turns
    );
    let disturbed = sweep.points.iter().filter(|point| point.disturbed).count();
    if disturbed > 0 {
        text += &format!(
            "**{disturbed} of {} points were disturbed by other work on the machine: not to be quoted.**\n\n",
            sweep.points.len()
        );
    }
    for (name, _) in super::pictures::all(sweep) {
        text += &format!("![Latency against bandwidth](pictures/{name}.png)\n\n");
    }
    text += "| wish | profile | linger | batch | partitions | MB/s | p50 ms | p99 ms | broker CPU s/GB |\n";
    text += "|---|---|--:|--:|--:|--:|--:|--:|--:|\n";
    for (wish, point) in wishes(&sweep.points) {
        text += &format!("| {wish} | {} |\n", cells(point));
    }
    text += "\n<details><summary>All points</summary>\n\n| profile | linger | batch | partitions | MB/s | p50 ms | p99 ms | broker CPU s/GB |\n";
    text += "|---|--:|--:|--:|--:|--:|--:|--:|\n";
    for point in &sweep.points {
        let limit = if point.client_was_the_limit { " (client-limited)" } else { "" };
        text += &format!("| {}{limit} |\n", cells(point));
    }
    text + "\n</details>\n"
}

fn cells(point: &Point) -> String {
    format!(
        "`{}` | {} ms | {} | {} | {} | {} | {} | {}",
        point.profile,
        point.linger_ms,
        batch_text(point.batch_bytes),
        point.partitions,
        point.mb_per_s,
        point.p50_ms,
        point.p99_ms,
        point.cpu_s_per_gb
    )
}

/// Each wish with the point that answers it best; a wish that no point answers is left out.
fn wishes(points: &[Point]) -> Vec<(String, &Point)> {
    let least = |pick: fn(&Point) -> f64| points.iter().min_by(|left, right| pick(left).total_cmp(&pick(right)));
    let most_within = |p99_ms: f64| {
        let within = points.iter().filter(|point| point.p99_ms.median <= p99_ms);
        within.max_by(|left, right| left.mb_per_s.median.total_cmp(&right.mb_per_s.median))
    };
    let mut found = Vec::new();
    found.extend(least(|point| point.p50_ms.median).map(|point| ("the shortest median".to_owned(), point)));
    found.extend(least(|point| point.p99_ms.median).map(|point| ("the shortest p99".to_owned(), point)));
    for limit in [1.0, 2.0, 5.0, 20.0] {
        found.extend(most_within(limit).map(|point| (format!("most MB/s with a p99 of at most {limit} ms"), point)));
    }
    found.extend(most_within(f64::INFINITY).map(|point| ("most MB/s".to_owned(), point)));
    found.extend(least(|point| point.cpu_s_per_gb.median).map(|point| ("least broker CPU a GB".to_owned(), point)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::spread::Spread;

    fn point(profile: &str, linger_ms: f64, mb: f64, p99: f64) -> Point {
        let one = |value: f64| Spread { median: value, min: value, max: value, runs: 1 };
        Point {
            profile: profile.to_owned(),
            linger_ms,
            batch_bytes: 16384,
            partitions: 1,
            mb_per_s: one(mb),
            p50_ms: one(p99 / 2.0),
            p99_ms: one(p99),
            cpu_s_per_gb: one(100.0 / mb),
            client_was_the_limit: false,
            disturbed: profile == "bandwidth",
        }
    }

    fn sweep() -> Sweep {
        let points = vec![
            point("latency", 0.0, 50.0, 0.4),
            point("balanced", 1.0, 400.0, 1.9),
            point("bandwidth", 5.0, 900.0, 30.0),
        ];
        Sweep { record_bytes: 1024, share: 0.7, seconds: 3.0, turns: 1, points }
    }

    #[test]
    fn a_wish_gets_the_best_point_within_it() {
        let sweep = sweep();
        let found: Vec<(String, &str)> =
            wishes(&sweep.points).into_iter().map(|(wish, point)| (wish, point.profile.as_str())).collect();
        let of = |part: &str| found.iter().find(|(wish, _)| wish.contains(part)).map(|(_, profile)| *profile);
        assert_eq!(of("shortest p99"), Some("latency"));
        assert_eq!(of("at most 1 ms"), Some("latency"));
        assert_eq!(of("at most 2 ms"), Some("balanced"));
        assert_eq!(of("at most 20 ms"), Some("balanced"));
        assert_eq!(found.iter().find(|(wish, _)| wish == "most MB/s").map(|(_, profile)| *profile), Some("bandwidth"));
        assert!(
            wishes(&sweep.points[2..]).iter().all(|(wish, _)| !wish.contains("at most")),
            "a wish without an answer is left out"
        );
    }

    #[test]
    fn only_what_is_between_the_marks_is_written() {
        let page = format!("# Tuning\n\nwords\n\n{BEGIN}\nold\n{END}\n\nmore words\n");
        let new = fill(&page, &measured(&sweep(), "a machine")).expect("has marks");
        assert!(new.starts_with("# Tuning\n\nwords") && new.ends_with("more words\n") && !new.contains("\nold\n"));
        assert!(new.contains("| most MB/s | `bandwidth` | 5 ms |") && new.contains("pictures/tuning-profile.png"));
        assert!(new.contains("1 of 3 points were disturbed"));
        assert_eq!(fill(&new, "again").and_then(|text| fill(&text, "again")), fill(&new, "again"));
        assert_eq!(fill("no marks", "x"), None);
    }

    #[test]
    fn docs_have_the_marks() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/TUNING.md");
        let page = std::fs::read_to_string(path).expect("docs/TUNING.md");
        assert!(fill(&page, "").is_some());
    }
}
