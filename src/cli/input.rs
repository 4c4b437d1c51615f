//! What `produce` reads: lines of text, JSON lines or whole files, turned into records one at a time, with a bound on each.

use std::io::{BufRead, Read};

use super::client::record::{Header, NewRecord};

/// A record's bytes before compression. Brokers refuse records past `max.message.bytes` (1 MiB by default) anyway; this only keeps a
/// file without line ends from filling the memory.
const RECORD_BYTES_MAX: u64 = 256 << 20;

/// How lines become records.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// Lines are JSON objects.
    pub(super) json: bool,
    /// What stands between key and value on a line.
    pub(super) key_separator: Option<Vec<u8>>,
    /// A key or value of exactly this text is null.
    pub(super) null_marker: Option<Vec<u8>>,
    /// The key of every record that has none of its own.
    pub(super) key: Option<Vec<u8>>,
    /// Headers of every record, before its own.
    pub(super) headers: Vec<Header>,
    /// The partition of every record that names none.
    pub(super) partition: Option<i32>,
    /// The timestamp of every record that has none.
    pub(super) timestamp_ms: Option<i64>,
}

impl Shape {
    /// The record that a line stands for.
    pub(super) fn line(&self, line: &[u8]) -> Result<NewRecord, String> {
        let mut record = if self.json {
            let line = std::str::from_utf8(line).map_err(|_| "this is not UTF-8, and so not JSON".to_owned())?;
            NewRecord::from_json(line)?
        } else {
            self.plain(line)
        };
        self.complete(&mut record);
        Ok(record)
    }

    /// The record that a whole file stands for.
    pub(super) fn whole(&self, content: Vec<u8>) -> NewRecord {
        let mut record =
            NewRecord { value: self.unless_null(&content).map(|_| content.clone()), ..NewRecord::default() };
        self.complete(&mut record);
        record
    }

    fn plain(&self, line: &[u8]) -> NewRecord {
        let split = self.key_separator.as_ref().and_then(|separator| {
            let at = line.windows(separator.len().max(1)).position(|window| window == separator.as_slice())?;
            Some((&line[..at], &line[at + separator.len()..]))
        });
        let (key, value) = match split {
            Some((key, value)) => (self.unless_null(key), value),
            None => (None, line),
        };
        NewRecord { key, value: self.unless_null(value), ..NewRecord::default() }
    }

    fn unless_null(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        (self.null_marker.as_deref() != Some(bytes)).then(|| bytes.to_vec())
    }

    fn complete(&self, record: &mut NewRecord) {
        if record.key.is_none() {
            record.key.clone_from(&self.key);
        }
        if !self.headers.is_empty() {
            record.headers.splice(0..0, self.headers.iter().cloned());
        }
        record.partition = record.partition.or(self.partition);
        record.timestamp_ms = record.timestamp_ms.or(self.timestamp_ms);
    }
}

/// The next line without its end; `None` at the end of the input.
pub(super) fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let read = from.by_ref().take(RECORD_BYTES_MAX + 1).read_until(b'\n', line)?;
    if read as u64 > RECORD_BYTES_MAX {
        return Err(std::io::Error::other(format!("a line is longer than {RECORD_BYTES_MAX} bytes")));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(read > 0)
}

/// A whole file within the bound.
pub(super) fn whole_file(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(RECORD_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > RECORD_BYTES_MAX {
        return Err(std::io::Error::other(format!("the file is longer than {RECORD_BYTES_MAX} bytes")));
    }
    Ok(content)
}

/// A header from `name=value`; without `=` its value is null.
pub(super) fn header(text: &str) -> Header {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.as_bytes().to_vec())),
        None => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let keyed =
            Shape { key_separator: Some(b"::".to_vec()), null_marker: Some(b"NULL".to_vec()), ..Shape::default() };
        let rows: &[(&Shape, &str, Option<&str>, Option<&str>)] = &[
            (&Shape::default(), "a::b", None, Some("a::b")),
            (&Shape::default(), "", None, Some("")),
            (&Shape::default(), "NULL", None, Some("NULL")),
            (&keyed, "a::b::c", Some("a"), Some("b::c")),
            (&keyed, "::b", Some(""), Some("b")),
            (&keyed, "a::", Some("a"), Some("")),
            (&keyed, "a", None, Some("a")),
            (&keyed, "a::NULL", Some("a"), None),
            (&keyed, "NULL::b", None, Some("b")),
        ];
        for (shape, line, key, value) in rows {
            let record = shape.line(line.as_bytes()).unwrap();
            let bytes = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
            assert_eq!((record.key, record.value), (bytes(key), bytes(value)), "{line}");
        }
    }

    #[test]
    fn what_the_flags_give_completes_each_record() {
        let shape = Shape {
            json: true,
            key: Some(b"K".to_vec()),
            headers: vec![header("h=1"), header("n")],
            partition: Some(4),
            ..Shape::default()
        };
        let own = shape.line(br#"{"key":"k","value":"v","partition":1,"headers":{"own":"2"}}"#).unwrap();
        assert_eq!((own.key.as_deref(), own.partition), (Some(&b"k"[..]), Some(1)));
        assert_eq!(own.headers.iter().map(|h| h.0.as_str()).collect::<Vec<_>>(), ["h", "n", "own"]);
        let bare = shape.line(b"{}").unwrap();
        assert_eq!((bare.key.as_deref(), bare.partition, bare.value), (Some(&b"K"[..]), Some(4), None));
    }

    #[test]
    fn line_ends_are_dropped() {
        let mut input = &b"a\r\nb\n\nc"[..];
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while next_line(&mut input, &mut line).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["a", "b", "", "c"]);
    }
}
