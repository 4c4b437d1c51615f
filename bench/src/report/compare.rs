//! The report of a comparison: one HTML page that needs nothing else, the same table as Markdown, its pictures as PNG, and the raw histograms.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;

use super::pictures::{self, Picture};
use crate::compare::book::{self, Heading, Run};
use crate::compare::rows::ROWS;
use crate::compare::summary::{self, Line};
use crate::outcome::Latency;
use crate::plot::{self, svg::escape};

/// The page.
pub const FILE: &str = "report.html";

/// What a page looks like; light or dark as the reader's system is.
const STYLE: &str = include_str!("report.css");

/// Writes everything into `folder`.
pub fn write(folder: &Path, heading: &Heading, runs: &[Run]) -> Result<(), String> {
    let pictures = pictures::all(heading, runs);
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    put(FILE, page(heading, runs, &pictures).as_bytes())?;
    put("table.md", markdown(heading, runs).as_bytes())?;
    for picture in &pictures {
        put(&format!("{}.png", picture.name), &plot::png(&picture.drawing)?)?;
    }
    let histograms = folder.join("histograms");
    fs::create_dir_all(&histograms).map_err(|error| format!("{}: {error}", histograms.display()))?;
    for run in runs {
        let Some(outcome) = &run.outcome else { continue };
        let kinds = [("produce", &outcome.produce_latency), ("end-to-end", &outcome.end_to_end_latency)];
        for (kind, latency) in kinds.into_iter().filter_map(|(kind, latency)| Some((kind, latency.as_ref()?))) {
            let name = format!("histograms/{}-{}-{}-{kind}", run.row, run.subject.replace(' ', "-"), run.turn);
            let raw = STANDARD.decode(&latency.hdr_v2_base64).map_err(|error| format!("{name}: {error}"))?;
            put(&format!("{name}.hdr"), &raw)?;
            put(&format!("{name}.hgrm"), percentiles(latency)?.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes the report of a comparison that was measured before, the newest one when none is named.
pub fn again(folder: Option<&Path>) -> Result<(), String> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => book::newest(Path::new(super::RESULTS))?,
    };
    let (heading, runs) = book::read(&folder)?;
    summary::print(&heading, &runs);
    write(&folder, &heading, &runs)?;
    println!("report: {}", folder.join(FILE).display());
    Ok(())
}

/// A histogram as text, the way HdrHistogram's own tools write and plot it; milliseconds.
fn percentiles(latency: &Latency) -> Result<String, String> {
    let histogram: Histogram<u64> = latency.histogram()?;
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for point in histogram.iter_quantiles(5) {
        let (value, quantile) = (point.value_iterated_to() as f64 / 1e6, point.quantile());
        let rarity = if quantile < 1.0 { format!("{:14.2}", 1.0 / (1.0 - quantile)) } else { format!("{:>14}", "inf") };
        let count = histogram.count_between(0, point.value_iterated_to());
        text += &format!("{value:12.3} {quantile:2.12} {count:10} {rarity}\n");
    }
    let (mean, deviation, max) = (histogram.mean() / 1e6, histogram.stdev() / 1e6, histogram.max() as f64 / 1e6);
    text += &format!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n");
    text += &format!("#[Max     = {max:12.3}, Total count    = {:12}]\n", histogram.len());
    Ok(text)
}

fn when(unix_seconds: u64) -> String {
    jiff::Timestamp::from_second(unix_seconds as i64)
        .map_or_else(|_| "unknown".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// The table for docs/BENCHMARKS.md.
pub(super) fn markdown(heading: &Heading, runs: &[Run]) -> String {
    let (subjects, pairs) = (summary::subjects(heading), summary::pairs(heading));
    let mut text = format!(
        "{}, {}, commit {}, `{}`; median (smallest..largest) of {} turns{}.\n\n| workload | figure |",
        when(heading.unix_seconds),
        heading.machine,
        heading.commit,
        heading.command,
        heading.turns,
        if heading.quick { "; quick, not to be quoted" } else { "" }
    );
    subjects.iter().for_each(|subject| text += &format!(" {} |", subject.name()));
    pairs.iter().for_each(|&pair| text += &format!(" {} |", summary::pair_name(pair)));
    text += "\n|---|---|";
    text += &"--:|".repeat(subjects.len() + pairs.len());
    text.push('\n');
    let mut last = "";
    for Line { row, kind, figures, ratios } in summary::lines(heading, runs) {
        let about = if row.name == last { "" } else { row.about };
        last = row.name;
        text += &format!("| {about} | {} |", kind.label);
        for figure in figures {
            text += &figure.map_or_else(|| " - |".to_owned(), |figure| format!(" {figure} |"));
        }
        for ratio in ratios {
            text += &ratio.map_or_else(|| " |".to_owned(), |ratio| format!(" {} |", summary::ratio_text(kind, &ratio)));
        }
        text.push('\n');
    }
    let remarks = summary::remarks(runs);
    if !remarks.is_empty() {
        text += "\n";
        remarks.iter().for_each(|remark| text += &format!("- {remark}\n"));
    }
    text
}

pub(super) fn page(heading: &Heading, runs: &[Run], pictures: &[Picture]) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Floe beside Kafka</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Floe beside Kafka</h1>\n"
    );
    html += &format!(
        "<p class=\"facts\">{} · {} · commit {} · <code>{}</code></p>\n",
        escape(&when(heading.unix_seconds)),
        escape(&heading.machine),
        escape(&heading.commit),
        escape(&heading.command)
    );
    if heading.quick {
        html += "<p class=\"warning\">A quick run: it shows that everything works. None of its figures may be quoted.</p>\n";
    }
    let disturbed = runs.iter().filter(|run| run.neighbours.disturbed()).count();
    if disturbed > 0 {
        html += &format!(
            "<p class=\"warning\">{disturbed} of {} runs were disturbed by other work on the machine; the remarks name them.</p>\n",
            runs.len()
        );
    }
    html += METHOD;
    html += &table(heading, runs);
    for picture in pictures {
        html += &format!("<figure>\n{}</figure>\n", picture.drawing.inline(&picture.title));
    }
    let remarks = summary::remarks(runs);
    if !remarks.is_empty() {
        html += "<h2>Remarks on single runs</h2>\n<ul class=\"remarks\">\n";
        remarks.iter().for_each(|remark| html += &format!("<li>{}</li>\n", escape(remark)));
        html += "</ul>\n";
    }
    html += "</main>\n</body>\n</html>\n";
    html
}

const METHOD: &str = "<p>Both brokers run on one core, the load on the other, over loopback, in turns on the same workload. A figure is the \
median of the turns with the smallest and the largest; a ratio is the left one's figure divided by the right one's, turn by turn. \
<em>floe</em> acknowledges when a record is on stable storage, <em>floe written</em> when the file system has it. <em>kafka</em> is as shipped and \
acknowledges from the page cache, <em>kafka durable</em> has <code>flush.messages=1</code>. MB and GB are 10<sup>6</sup> and 10<sup>9</sup> bytes \
of record values. Latency counts from when a record was due, not from when it could be sent.</p>\n";

fn table(heading: &Heading, runs: &[Run]) -> String {
    let (subjects, pairs) = (summary::subjects(heading), summary::pairs(heading));
    let mut html = "<div class=\"wide\">\n<table>\n<thead><tr><th>workload</th><th>figure</th>".to_owned();
    subjects.iter().for_each(|subject| html += &format!("<th>{}</th>", escape(subject.name())));
    pairs.iter().for_each(|&pair| html += &format!("<th>{}</th>", escape(&summary::pair_name(pair))));
    html += "</tr></thead>\n";
    let lines = summary::lines(heading, runs);
    for row in ROWS {
        let lines: Vec<&Line> = lines.iter().filter(|line| line.row.name == row.name).collect();
        if lines.is_empty() {
            continue;
        }
        html += &format!(
            "<tbody>\n<tr><th class=\"row\" rowspan=\"{}\"><b>{}</b><span>{}</span>",
            lines.len(),
            escape(row.name),
            escape(row.about)
        );
        if !row.aim.is_empty() {
            html += &format!("<span>aim: {}</span>", escape(row.aim));
        }
        html += "</th>";
        for (at, line) in lines.iter().enumerate() {
            html += if at == 0 { "" } else { "<tr>" };
            html += &format!("<td class=\"figure\">{}</td>", escape(line.kind.label));
            for figure in &line.figures {
                html += &figure.map_or_else(|| "<td>–</td>".to_owned(), |figure| format!("<td>{figure}</td>"));
            }
            for ratio in &line.ratios {
                html += &match ratio {
                    None => "<td></td>".to_owned(),
                    Some(ratio) => {
                        let class = if summary::is_worse(line.kind, ratio) { "worse" } else { "ratio" };
                        format!("<td class=\"{class}\">{}</td>", escape(&summary::ratio_text(line.kind, ratio)))
                    }
                };
            }
            html += "</tr>\n";
        }
        html += "</tbody>\n";
    }
    html + "</table>\n</div>\n"
}
