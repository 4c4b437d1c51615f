//! The settings that exist: name, kind, default and what each is for. Floe's own stand here; those with Kafka's names come from
//! the engine's table. Nothing else in the node knows a setting's name as a string that a person may write.

/// What a value may be, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Whole {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number of bytes: `1048576`, `1MiB`, `2GiB`.
    Size {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// Words separated by commas, each one of these.
    Words(&'static [&'static str]),
    /// A real number.
    Real,
}

impl Kind {
    /// The value in the one form in which it is kept, or what is wrong with it.
    pub fn normal(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        match self {
            Kind::Text => Ok(text.to_owned()),
            Kind::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok("true".to_owned()),
                "false" | "no" | "off" | "0" => Ok("false".to_owned()),
                _ => Err(format!("`{text}` is neither true nor false")),
            },
            Kind::Whole { min, max } => {
                let number: i64 =
                    text.replace('_', "").parse().map_err(|_| format!("`{text}` is not a whole number"))?;
                within(number, *min, *max)
            }
            Kind::Size { min, max } => within(bytes(text)?, *min, *max),
            Kind::Word(words) => one_of(text, words),
            Kind::Words(words) => {
                let each: Result<Vec<String>, String> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .map(|word| one_of(word, words))
                    .collect();
                Ok(each?.join(","))
            }
            Kind::Real => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number.to_string()),
                _ => Err(format!("`{text}` is not a number")),
            },
        }
    }

    /// What may be written, for messages and the reference.
    pub fn expects(&self) -> String {
        match self {
            Kind::Text => "a text".to_owned(),
            Kind::Switch => "true or false".to_owned(),
            Kind::Whole { min, max } => format!("a whole number {}", range(*min, *max)),
            Kind::Size { min, max } => format!("bytes, {} (1048576, 1MiB, 2GiB)", range(*min, *max)),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Words(words) => format!("a list of {}", words.join(", ")),
            Kind::Real => "a number".to_owned(),
        }
    }

    /// Whether TOML wants the value without quotes.
    pub fn is_bare(&self) -> bool {
        matches!(self, Kind::Switch | Kind::Whole { .. } | Kind::Size { .. } | Kind::Real)
    }
}

fn one_of(text: &str, words: &[&'static str]) -> Result<String, String> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .map(|word| (*word).to_owned())
        .ok_or_else(|| format!("`{text}` is not one of {}", words.join(", ")))
}

fn within(number: i64, min: i64, max: i64) -> Result<String, String> {
    if number < min || number > max {
        return Err(format!("{number} is out of range: it has to be {}", range(min, max)));
    }
    Ok(number.to_string())
}

fn range(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => "of any size".to_owned(),
        (min, i64::MAX) => format!("from {min} up"),
        (i64::MIN, max) => format!("up to {max}"),
        (min, max) => format!("from {min} to {max}"),
    }
}

/// A number of bytes with an optional unit. Units are powers of 1024 with or without the `i`, as in every broker's manual.
pub fn bytes(text: &str) -> Result<i64, String> {
    let bad = || format!("`{text}` is not a number of bytes such as 1048576, 1MiB or 2GiB");
    let compact = text.trim().replace('_', "");
    let digits_end = compact.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(compact.len());
    let number: i64 = compact[..digits_end].parse().map_err(|_| bad())?;
    let shift = match compact[digits_end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(bad()),
    };
    number.checked_mul(1i64 << shift).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_one_form() {
        let rows: &[(Kind, &str, Result<&str, &str>)] = &[
            (Kind::Switch, "Yes", Ok("true")),
            (Kind::Switch, "maybe", Err("neither true nor false")),
            (Kind::Whole { min: 1, max: 9 }, "7", Ok("7")),
            (Kind::Whole { min: 1, max: 9 }, "10", Err("from 1 to 9")),
            (Kind::Whole { min: -1, max: i64::MAX }, "-2", Err("from -1 up")),
            (Kind::Whole { min: 1, max: 9 }, "x", Err("not a whole number")),
            (Kind::Size { min: 0, max: i64::MAX }, "2GiB", Ok("2147483648")),
            (Kind::Size { min: 0, max: i64::MAX }, "1 MB", Ok("1048576")),
            (Kind::Size { min: 0, max: i64::MAX }, "4_096", Ok("4096")),
            (Kind::Size { min: 0, max: i64::MAX }, "9999999TiB", Err("not a number of bytes")),
            (Kind::Size { min: 0, max: i64::MAX }, "5 parsecs", Err("not a number of bytes")),
            (Kind::Word(&["a", "b"]), "B", Ok("b")),
            (Kind::Word(&["a", "b"]), "c", Err("not one of a, b")),
            (Kind::Words(&["delete", "compact"]), "delete, compact", Ok("delete,compact")),
            (Kind::Real, "0.5", Ok("0.5")),
            (Kind::Real, "nan", Err("not a number")),
        ];
        for (kind, text, expect) in rows {
            match (kind.normal(text), expect) {
                (Ok(got), Ok(want)) => assert_eq!(&got, want, "{kind:?} {text}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{kind:?} {text}: {got}"),
                (got, want) => panic!("{kind:?} {text}: {got:?}, wanted {want:?}"),
            }
        }
    }
}
