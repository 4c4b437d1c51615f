//! All runs of a comparison as one table: a line for each figure of each row, the subjects beside one another, then the ratios.

use super::book::{Heading, Run};
use super::rows::{self, Better, Kind, PAIRS, ROWS, Row};
use super::spread::{self, Spread, short};
use crate::broker::Subject;
use crate::report;

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// Row.
    pub row: &'static Row,
    /// Figure.
    pub kind: Kind,
    /// By subject, in the order of [`subjects`].
    pub figures: Vec<Option<Spread>>,
    /// By pair, in the order of [`pairs`].
    pub ratios: Vec<Option<Spread>>,
}

/// The subjects of a comparison.
pub fn subjects(heading: &Heading) -> Vec<Subject> {
    rows::ALL.iter().copied().filter(|subject| heading.subjects.iter().any(|name| name == subject.name())).collect()
}

/// The pairs whose ratios it has.
pub fn pairs(heading: &Heading) -> Vec<(Subject, Subject)> {
    let subjects = subjects(heading);
    PAIRS.iter().copied().filter(|(left, right)| subjects.contains(left) && subjects.contains(right)).collect()
}

/// The table.
pub fn lines(heading: &Heading, runs: &[Run]) -> Vec<Line> {
    let (subjects, pairs) = (subjects(heading), pairs(heading));
    let wanted = ROWS.iter().filter(|row| heading.rows.iter().any(|name| name == row.name));
    let mut found = Vec::new();
    for row in wanted {
        for key in row.figures {
            let by = |subject: Subject| values(runs, row, subject, key);
            let spread =
                |subject: &Subject| Spread::of(&by(*subject).into_iter().map(|(_, value)| value).collect::<Vec<_>>());
            let kind = rows::kind_of(key);
            let ratio = |&(left, right): &(Subject, Subject)| {
                spread::ratio(&by(left), &by(right)).filter(|_| kind.better != Better::Neither)
            };
            found.push(Line {
                row,
                kind,
                figures: subjects.iter().map(spread).collect(),
                ratios: pairs.iter().map(ratio).collect(),
            });
        }
    }
    found
}

/// The values of a figure with their turns.
pub fn values(runs: &[Run], row: &Row, subject: Subject, key: &str) -> Vec<(usize, f64)> {
    let matching = runs.iter().filter(|run| run.row == row.name && run.subject == subject.name());
    matching.filter_map(|run| Some((run.turn, run.figure(key)?))).collect()
}

/// A ratio as it is shown: how many times the other's figure, and whether that is worse.
pub fn ratio_text(kind: Kind, ratio: &Spread) -> String {
    let worse = is_worse(kind, ratio);
    let spread =
        if ratio.min == ratio.max { String::new() } else { format!(" ({}..{})", short(ratio.min), short(ratio.max)) };
    format!("{}x{spread}{}", short(ratio.median), if worse { " worse" } else { "" })
}

/// Is the left one of the pair behind, by more than a twentieth?
pub fn is_worse(kind: Kind, ratio: &Spread) -> bool {
    match kind.better {
        Better::Higher => ratio.median < 0.95,
        Better::Lower => ratio.median > 1.05,
        Better::Neither => false,
    }
}

/// How a pair's column is headed.
pub fn pair_name((left, right): (Subject, Subject)) -> String {
    format!("{} / {}", left.name(), right.name())
}

/// What the reader has to know about single runs: who disturbed, what was the limit, what failed. Equal remarks of a row are one.
pub fn remarks(runs: &[Run]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for run in runs {
        let mut said: Vec<String> = run.remarks.clone();
        said.extend(run.failure.as_ref().map(|failure| format!("failed: {failure}")));
        let disturbed = run.neighbours.remark().filter(|_| run.failure.is_none());
        said.extend(disturbed.map(|remark| format!("disturbed: {remark}")));
        found.extend(said.into_iter().map(|text| format!("{}, {}, turn {}: {text}", run.row, run.subject, run.turn)));
    }
    found
}

/// Prints the table with its remarks.
pub fn print(heading: &Heading, runs: &[Run]) {
    let (subjects, pairs) = (subjects(heading), pairs(heading));
    let mut header = vec!["workload".to_owned(), "figure".to_owned()];
    header.extend(subjects.iter().map(|subject| subject.name().to_owned()));
    header.extend(pairs.iter().map(|&pair| pair_name(pair)));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let dash = || "-".to_owned();
    let cells = lines(heading, runs).into_iter().map(|line| {
        let mut cells = vec![line.row.name.to_owned(), line.kind.label.to_owned()];
        cells.extend(line.figures.iter().map(|figure| figure.map_or_else(dash, |figure| figure.to_string())));
        cells.extend(line.ratios.iter().map(|ratio| ratio.map_or_else(dash, |ratio| ratio_text(line.kind, &ratio))));
        cells
    });
    println!("{}", report::table(&header, cells));
    println!(
        "median (smallest..largest) of the turns; a ratio is the left one's figure divided by the right one's, turn by turn"
    );
    if heading.quick {
        println!("--quick: this shows that everything runs; it is nothing to quote");
    }
    for remark in remarks(runs) {
        println!("! {remark}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_which_way_is_worse() {
        let times = |median: f64| Spread { median, min: median, max: median, runs: 1 };
        let (rate, cost, busy) = (rows::kind_of("mb_s"), rows::kind_of("cpu_s_gb"), rows::kind_of("client_busy"));
        for (kind, median, want) in [
            (rate, 4.0, "4.00x"),
            (rate, 0.5, "0.500x worse"),
            (rate, 0.97, "0.970x"),
            (cost, 0.2, "0.200x"),
            (cost, 2.0, "2.00x worse"),
            (busy, 2.0, "2.00x"),
        ] {
            assert_eq!(ratio_text(kind, &times(median)), want);
        }
        let wide = Spread { median: 2.0, min: 1.0, max: 3.0, runs: 3 };
        assert_eq!(ratio_text(rate, &wide), "2.00x (1.00..3.00)");
    }
}
