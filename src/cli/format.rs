//! The `--format` of `consume`: kcat's percent codes, parsed once, then applied to each record.

use super::client::record::ReadRecord;

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLen,
    Value,
    ValueLen,
    Headers,
}

impl Format {
    /// Reads a format such as `%p %o %k: %s\n`.
    pub(super) fn parse(text: &str) -> Result<Format, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let part = match c {
                '\\' => {
                    literal.push(escaped(&mut rest)?);
                    continue;
                }
                '%' => match rest.next() {
                    Some('%') => {
                        literal.push(b'%');
                        continue;
                    }
                    Some('t') => Part::Topic,
                    Some('p') => Part::Partition,
                    Some('o') => Part::Offset,
                    Some('T') => Part::Timestamp,
                    Some('k') => Part::Key,
                    Some('K') => Part::KeyLen,
                    Some('s') => Part::Value,
                    Some('S') => Part::ValueLen,
                    Some('h') => Part::Headers,
                    other => {
                        let shown = other.map(String::from).unwrap_or_default();
                        return Err(format!("there is no `%{shown}`; there are %t %p %o %T %k %K %s %S %h %%"));
                    }
                },
                other => {
                    literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Format { parts })
    }

    /// Appends the record to `out`. A missing key or value is nothing, and its length -1, as with kcat.
    pub(super) fn write(&self, topic: &str, record: &ReadRecord, out: &mut Vec<u8>) {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64).to_string();
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Topic => out.extend_from_slice(topic.as_bytes()),
                Part::Partition => out.extend_from_slice(record.partition.to_string().as_bytes()),
                Part::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Part::Timestamp => out.extend_from_slice(record.timestamp_ms.to_string().as_bytes()),
                Part::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Part::KeyLen => out.extend_from_slice(len(&record.key).as_bytes()),
                Part::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Part::ValueLen => out.extend_from_slice(len(&record.value).as_bytes()),
                Part::Headers => {
                    for (i, (name, value)) in record.headers.iter().enumerate() {
                        if i > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(name.as_bytes());
                        out.push(b'=');
                        out.extend_from_slice(value.as_deref().unwrap_or(b"NULL"));
                    }
                }
            }
        }
    }
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = rest.by_ref().take(2).collect();
            let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
            byte.ok_or_else(|| format!("`\\x{digits}` is not a byte: \\x takes two hexadecimal digits"))
        }
        other => Err(format!(
            "there is no `\\{}`; there are \\n \\t \\r \\0 \\\\ \\xHH",
            other.map(String::from).unwrap_or_default()
        )),
    }
}

/// Turns the escapes of [`Format`] in a delimiter into bytes.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => bytes.push(escaped(&mut rest)?),
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_replaced() {
        let record = ReadRecord {
            partition: 2,
            offset: 40,
            timestamp_ms: 1234,
            key: Some("é".as_bytes().to_vec()),
            value: None,
            headers: vec![("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None)],
        };
        let rows = [
            ("%t/%p@%o %T\\n", "ice/2@40 1234\n"),
            ("%k(%K) %s(%S)", "é(2) (-1)"),
            ("%h", "a=1,b=NULL"),
            ("100%% \\x41\\t|", "100% A\t|"),
        ];
        for (format, expect) in rows {
            let mut out = Vec::new();
            Format::parse(format).unwrap().write("ice", &record, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{format}");
        }
        for wrong in ["%q", "%", "\\q", "\\x1", "\\"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }
}
