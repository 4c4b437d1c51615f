//! Reads floe.toml as a flat list of dotted names with their text and line: `log.retention.ms = 1` is a nested table to TOML, and a
//! setting with that name to us. Knows no setting.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::problem::{Outcome, Problem};

/// One setting as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The dotted name.
    pub name: String,
    /// The value as text; the items of an array joined by commas, as Kafka's list settings have them.
    pub text: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// Reads the text of a file. `path` is for messages only.
pub fn read(path: &str, text: &str) -> Outcome<Vec<Line>> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, &span));
        Problem::usage(format!("{path}, line {line}: this is not TOML: {}", error.message()))
            .next("write settings as `name = value`, texts in double quotes; docs/OPERATIONS.md has the list")
    })?;
    let mut lines = Vec::new();
    flatten(path, text, "", table.get_ref(), &mut lines)?;
    lines.sort_by_key(|line| line.line);
    Ok(lines)
}

fn flatten(path: &str, text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut Vec<Line>) -> Outcome {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        if let DeValue::Table(inner) = value.get_ref() {
            flatten(path, text, &name, inner, lines)?;
            continue;
        }
        let line = line_of(text, &key.span());
        if lines.iter().any(|other| other.name == name) {
            return Err(
                Problem::usage(format!("{path}, line {line}: `{name}` is set twice")).next("keep one of the two lines")
            );
        }
        let value = scalar(value.get_ref()).ok_or_else(|| {
            Problem::usage(format!("{path}, line {line}: `{name}` has a value of a kind that no setting takes"))
                .next("give a text, a number, true or false, or a list of texts")
        })?;
        lines.push(Line { name, text: value, line });
    }
    Ok(())
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => match number.radix() {
            10 => number.as_str().trim_start_matches('+').to_owned(),
            radix => i64::from_str_radix(number.as_str(), radix).ok()?.to_string(),
        },
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| if matches!(item.get_ref(), DeValue::Array(_)) { None } else { scalar(item.get_ref()) })
                .collect();
            items?.join(",")
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> Vec<(String, String, usize)> {
        read("floe.toml", text).unwrap().into_iter().map(|line| (line.name, line.text, line.line)).collect()
    }

    #[test]
    fn dotted_and_nested_names_are_the_same() {
        let rows = [
            "log.retention.ms = 5",
            "[log]\nretention.ms = 5",
            "[log.retention]\nms = 5",
            "\"log.retention.ms\" = 5",
            "log = { retention = { ms = 5 } }",
        ];
        for text in rows {
            let lines = flat(text);
            assert_eq!(lines.len(), 1, "{text}");
            assert_eq!((lines[0].0.as_str(), lines[0].1.as_str()), ("log.retention.ms", "5"), "{text}");
        }
    }

    #[test]
    fn values_become_text_and_lines_are_counted() {
        let text = "a = \"x\"\nb = true\n# c\nd = [\"p\", \"q\"]\ne = 0x10\nf = 1_000\ng = 1.5\nh = -1";
        let row = |name: &str, text: &str, line| (name.to_owned(), text.to_owned(), line);
        assert_eq!(
            flat(text),
            vec![
                row("a", "x", 1),
                row("b", "true", 2),
                row("d", "p,q", 4),
                row("e", "16", 5),
                row("f", "1000", 6),
                row("g", "1.5", 7),
                row("h", "-1", 8),
            ]
        );
    }

    #[test]
    fn refusals_name_file_and_line() {
        let rows = [
            ("a = 1\nb = = 2\n", "floe.toml, line 2: this is not TOML"),
            ("a.b = 1\n\"a.b\" = 2\n", "`a.b` is set twice"),
            ("a = 1979-05-27\n", "floe.toml, line 1: `a` has a value of a kind"),
        ];
        for (text, expect) in rows {
            let problem = read("floe.toml", text).unwrap_err().to_string();
            assert!(problem.contains(expect), "{text}: {problem}");
        }
    }
}
