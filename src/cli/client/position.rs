//! Where reading begins, as a person says it: `beginning`, `end`, `offset:N`, `time:...`, `-N`.

use std::str::FromStr;

/// A place to begin reading, the same for every partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Position {
    /// The first record that is there.
    Beginning,
    /// Only what is written from now on.
    End,
    /// This offset.
    Offset(i64),
    /// The first record with this timestamp or a later one, in milliseconds since the epoch.
    Time(i64),
    /// This many offsets before the end.
    Last(i64),
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        let whole = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        match text {
            "beginning" | "start" | "earliest" => return Ok(Position::Beginning),
            "end" | "latest" => return Ok(Position::End),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("offset:") {
            return whole(rest)
                .map(Position::Offset)
                .ok_or_else(|| format!("`{rest}` is not an offset (a number from 0)"));
        }
        if let Some(rest) = text.strip_prefix("time:") {
            return moment(rest).map(Position::Time);
        }
        if let Some(last) = text.strip_prefix('-').and_then(whole) {
            return Ok(Position::Last(last));
        }
        match whole(text) {
            Some(offset) => Ok(Position::Offset(offset)),
            None => Err(
                "write beginning, end, offset:N, time:2026-01-31T12:00:00Z, time:MILLISECONDS, or -N for the last N"
                    .to_owned(),
            ),
        }
    }
}

/// A moment in milliseconds since the epoch: as a number, or as RFC 3339 with its offset from UTC.
pub(in crate::cli) fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond()).map_err(|_| {
        format!("`{text}` is neither a time such as 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+01:00 nor milliseconds since 1970")
    })
}

/// A moment for people, in UTC.
pub(in crate::cli) fn shown(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_as_people_write_them() {
        let rows = [
            ("beginning", Some(Position::Beginning)),
            ("end", Some(Position::End)),
            ("offset:7", Some(Position::Offset(7))),
            ("7", Some(Position::Offset(7))),
            ("-5", Some(Position::Last(5))),
            ("time:1700000000000", Some(Position::Time(1_700_000_000_000))),
            ("time:1970-01-01T00:00:01Z", Some(Position::Time(1000))),
            ("time:1970-01-01T01:00:01.5+01:00", Some(Position::Time(1500))),
            ("offset:-1", None),
            ("time:yesterday", None),
            ("middle", None),
        ];
        for (text, expect) in rows {
            assert_eq!(text.parse::<Position>().ok(), expect, "{text}");
        }
        assert_eq!(shown(1500), "1970-01-01T00:00:01.500Z");
    }
}
