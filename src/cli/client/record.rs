//! A record as the command line sees it, and its JSON form: the same shape is read by `produce --json` and printed by `consume --json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use floe_wire::batch::RecordView;
use serde_json::{Map, Value, json};

/// A header: a name, and bytes that may be missing.
pub(in crate::cli) type Header = (String, Option<Vec<u8>>);

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct NewRecord {
    /// Where to; by key or in turn when `None`.
    pub(in crate::cli) partition: Option<i32>,
    /// Its key.
    pub(in crate::cli) key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub(in crate::cli) value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub(in crate::cli) headers: Vec<Header>,
    /// Milliseconds since the epoch; now when `None`.
    pub(in crate::cli) timestamp_ms: Option<i64>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ReadRecord {
    /// From which partition.
    pub(in crate::cli) partition: i32,
    /// At which offset.
    pub(in crate::cli) offset: i64,
    /// Milliseconds since the epoch.
    pub(in crate::cli) timestamp_ms: i64,
    /// Its key.
    pub(in crate::cli) key: Option<Vec<u8>>,
    /// Its value.
    pub(in crate::cli) value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub(in crate::cli) headers: Vec<Header>,
}

impl ReadRecord {
    /// The record as the wire has it, with bytes of its own.
    pub(in crate::cli) fn of(partition: i32, record: &RecordView<'_>) -> ReadRecord {
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        ReadRecord {
            partition,
            offset: record.offset,
            timestamp_ms: record.timestamp,
            key: bytes(record.key),
            value: bytes(record.value),
            headers: record.headers.iter().map(|header| (header.key.to_owned(), bytes(header.value))).collect(),
        }
    }

    /// One object: bytes that are UTF-8 as text, others as base64 in a field that says so.
    pub(in crate::cli) fn to_json(&self, topic: &str) -> Value {
        let mut object = Map::new();
        object.insert("topic".to_owned(), json!(topic));
        object.insert("partition".to_owned(), json!(self.partition));
        object.insert("offset".to_owned(), json!(self.offset));
        object.insert("timestamp".to_owned(), json!(self.timestamp_ms));
        put(&mut object, "key", self.key.as_deref());
        put(&mut object, "value", self.value.as_deref());
        let headers = self.headers.iter().map(|(name, value)| {
            let mut header = Map::new();
            header.insert("key".to_owned(), json!(name));
            put(&mut header, "value", value.as_deref());
            Value::Object(header)
        });
        object.insert("headers".to_owned(), Value::Array(headers.collect()));
        Value::Object(object)
    }
}

impl NewRecord {
    /// Reads an object as [`ReadRecord::to_json`] prints it. Every field may be missing; headers may also be one object
    /// of names and texts; a value that is no text stands for its JSON. Topic and offset are ignored.
    pub(in crate::cli) fn from_json(line: &str) -> Result<NewRecord, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("this is not JSON: {error}"))?;
        let Value::Object(object) = value else { return Err("this is not a JSON object".to_owned()) };
        let known =
            ["topic", "partition", "offset", "timestamp", "key", "key_base64", "value", "value_base64", "headers"];
        if let Some(stray) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("there is no field `{stray}`; the fields are {}", known.join(", ")));
        }
        Ok(NewRecord {
            partition: match object.get("partition") {
                None | Some(Value::Null) => None,
                Some(number) => Some(
                    number
                        .as_i64()
                        .and_then(|n| i32::try_from(n).ok())
                        .ok_or("`partition` is not a partition number")?,
                ),
            },
            timestamp_ms: match object.get("timestamp") {
                None | Some(Value::Null) => None,
                Some(number) => Some(number.as_i64().ok_or("`timestamp` is not a number of milliseconds")?),
            },
            key: take(&object, "key")?,
            value: take(&object, "value")?,
            headers: match object.get("headers") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Object(pairs)) => {
                    let pair = |name: &String| Ok::<Header, String>((name.clone(), take(pairs, name)?));
                    pairs.keys().map(pair).collect::<Result<_, _>>()?
                }
                Some(Value::Array(items)) => items.iter().map(header_of).collect::<Result<_, _>>()?,
                Some(_) => return Err("`headers` is neither a list nor an object".to_owned()),
            },
        })
    }
}

fn header_of(item: &Value) -> Result<Header, String> {
    let object = item.as_object().ok_or("a header is not an object with `key` and `value`")?;
    let name = object.get("key").and_then(Value::as_str).ok_or("a header has no `key`")?;
    Ok((name.to_owned(), take(object, "value")?))
}

fn put(object: &mut Map<String, Value>, field: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(field.to_owned(), Value::Null),
        Some((_, Ok(text))) => object.insert(field.to_owned(), json!(text)),
        Some((bytes, Err(_))) => object.insert(format!("{field}_base64"), json!(BASE64.encode(bytes))),
    };
}

fn take(object: &Map<String, Value>, field: &str) -> Result<Option<Vec<u8>>, String> {
    let coded_field = format!("{field}_base64");
    if let Some(coded) = object.get(&coded_field) {
        let coded = coded.as_str().ok_or_else(|| format!("`{coded_field}` is not a text"))?;
        return BASE64.decode(coded).map(Some).map_err(|error| format!("`{coded_field}` is not base64: {error}"));
    }
    Ok(match object.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone().into_bytes()),
        Some(other) => Some(other.to_string().into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read() {
        let record = ReadRecord {
            partition: 3,
            offset: 9,
            timestamp_ms: 1_700_000_000_000,
            key: Some(b"k".to_vec()),
            value: Some(vec![0xff, 0x00]),
            headers: vec![
                ("h".to_owned(), None),
                ("h".to_owned(), Some(vec![0xfe])),
                ("t".to_owned(), Some(b"x".to_vec())),
            ],
        };
        let read = NewRecord::from_json(&record.to_json("ice").to_string()).unwrap();
        assert_eq!(read.partition, Some(3));
        assert_eq!(read.timestamp_ms, Some(1_700_000_000_000));
        assert_eq!((read.key, read.value, read.headers), (record.key, record.value, record.headers));
    }

    #[test]
    fn what_people_write_by_hand_is_understood() {
        let read = |line: &str| NewRecord::from_json(line);
        assert_eq!(read("{}").unwrap(), NewRecord::default());
        assert_eq!(read(r#"{"value":{"a":1}}"#).unwrap().value.unwrap(), br#"{"a":1}"#);
        assert_eq!(read(r#"{"headers":{"a":"b"}}"#).unwrap().headers, vec![("a".to_owned(), Some(b"b".to_vec()))]);
        for (line, expect) in [
            ("x", "not JSON"),
            ("[]", "not a JSON object"),
            (r#"{"vaule":"x"}"#, "no field `vaule`"),
            (r#"{"key_base64":"*"}"#, "not base64"),
            (r#"{"partition":"x"}"#, "not a partition number"),
            (r#"{"headers":[1]}"#, "not an object"),
        ] {
            assert!(read(line).unwrap_err().contains(expect), "{line}");
        }
    }
}
