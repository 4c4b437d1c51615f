//! Who said what: values from defaults, profile, file, environment and flags, the later ones winning, each with its source kept for
//! `--print-config` and for messages. Knows names and kinds, not meanings.

use std::collections::BTreeMap;
use std::fmt;

use super::document::Line;
use super::keys::Kind;
use crate::problem::{Outcome, Problem};

/// A setting that exists.
#[derive(Clone, Debug)]
pub struct Key {
    /// Dotted name.
    pub name: String,
    /// What it may be.
    pub kind: Kind,
    /// Value when nobody says anything, in normal form.
    pub default: String,
    /// One or two sentences.
    pub about: String,
    /// Another spelling of a setting (`log.retention.hours`): without a value and not printed unless somebody gives one.
    pub is_alias: bool,
}

/// Where a value came from, weakest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The profile of this name.
    Profile(String),
    /// A line of the file.
    File {
        /// Which file.
        path: String,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Profile(name) => write!(f, "profile {name}"),
            Source::File { path, line } => write!(f, "{path}, line {line}"),
            Source::Environment(name) => write!(f, "environment, {name}"),
            Source::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value and who said it.
#[derive(Clone, Debug)]
pub struct Value {
    /// In the kind's normal form.
    pub text: String,
    /// Who.
    pub source: Source,
}

/// All settings that exist with the value of the strongest layer so far.
#[derive(Clone, Debug)]
pub struct Layers {
    keys: Vec<Key>,
    /// Kafka's other spellings of a setting that exists here, with what to write instead.
    elsewhere: &'static [(&'static str, &'static str)],
    values: BTreeMap<String, Value>,
}

/// Variables that begin with `FLOE_` and are no settings: the command line's own, the tests', and those that container platforms make up
/// for a service that happens to be called "floe".
const ENVIRONMENT_EXEMPT: &[&str] = &[
    "FLOE_CONFIG",
    "FLOE_LOG",
    "FLOE_BOOTSTRAP",
    "FLOE_BIN",
    "FLOE_PORT",
    "FLOE_SERVICE_",
    "FLOE_PORT_",
    "FLOE_E2E_",
    "FLOE_TEST_",
    "FLOE_BENCH_",
    "FLOE_SIM_",
];

impl Layers {
    /// Nobody said anything yet.
    pub fn new(keys: Vec<Key>, elsewhere: &'static [(&'static str, &'static str)]) -> Layers {
        Layers { keys, elsewhere, values: BTreeMap::new() }
    }

    /// The settings in the order of the table.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Takes the lines of a file in.
    pub fn file(&mut self, path: &str, lines: Vec<Line>) -> Outcome {
        for line in lines {
            let source = Source::File { path: path.to_owned(), line: line.line };
            self.set(&line.name, &line.text, source)?;
        }
        Ok(())
    }

    /// Takes `FLOE_*` variables in: `FLOE_LOG_RETENTION_MS` is `log.retention.ms`.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Outcome {
        let mut variables: Vec<(String, String)> = variables.filter(|(name, _)| name.starts_with("FLOE_")).collect();
        variables.sort();
        for (variable, text) in variables {
            let exempt = |known: &&str| variable == *known || (known.ends_with('_') && variable.starts_with(*known));
            if let Some(name) = self.keys.iter().map(|key| &key.name).find(|name| variable_of(name) == variable) {
                let name = name.clone();
                self.set(&name, &text, Source::Environment(variable))?;
            } else if !ENVIRONMENT_EXEMPT.iter().any(exempt) {
                let near = nearest(&variable, self.keys.iter().map(|key| variable_of(&key.name)));
                let problem = Problem::usage(format!("environment: there is no setting for {variable}"));
                return Err(match near {
                    Some(near) => problem.next(format!("did you mean {near}?")),
                    None => problem.next(format!("unset {variable}; `floe serve --print-config` lists what exists")),
                });
            }
        }
        Ok(())
    }

    /// Takes one value in. Layers may come in any order; the stronger source stays.
    pub fn set(&mut self, name: &str, text: &str, source: Source) -> Outcome {
        let place = match &source {
            Source::File { path, line } => format!("{path}, line {line}"),
            Source::Environment(variable) => format!("environment, {variable}"),
            Source::Flag(flag) => format!("flag {flag}"),
            Source::Profile(name) => format!("profile {name}"),
            Source::Default => "defaults".to_owned(),
        };
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            let problem = Problem::usage(format!("{place}: there is no setting `{name}`"));
            if let Some((_, instead)) = self.elsewhere.iter().find(|(other, _)| *other == name) {
                return Err(problem.next(*instead));
            }
            return Err(match nearest(name, self.keys.iter().map(|key| key.name.clone())) {
                Some(near) => problem.next(format!("did you mean `{near}`?")),
                None => problem.next("remove it; `floe serve --print-config` lists the settings that exist"),
            });
        };
        let text = key.kind.normal(text).map_err(|wrong| {
            Problem::usage(format!("{place}: `{name}`: {wrong}")).next(format!("give `{name}` {}", key.kind.expects()))
        })?;
        if self.values.get(name).is_none_or(|old| old.source <= source) {
            self.values.insert(name.to_owned(), Value { text, source });
        }
        Ok(())
    }

    /// The value in force.
    ///
    /// # Panics
    /// When the name is not in the table: callers name settings by constants.
    pub fn get(&self, name: &str) -> Value {
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        let key = self.keys.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("no setting {name}"));
        Value { text: key.default.clone(), source: Source::Default }
    }

    /// The settings as a floe.toml that gives the same settings again; the source of each value beside it.
    pub fn print(&self) -> String {
        let width = self.keys.iter().map(|key| key.name.len() + 3 + self.written(key).len()).max().unwrap_or(0).min(64);
        let mut out = String::new();
        for key in &self.keys {
            let value = self.get(&key.name);
            if key.is_alias && value.source == Source::Default {
                continue;
            }
            // A name that continues another one would make that one a table to TOML; in quotes it is one word.
            let continues = |other: &Key| key.name.starts_with(&format!("{}.", other.name));
            let name = if self.keys.iter().any(continues) { format!("\"{}\"", key.name) } else { key.name.clone() };
            let line = format!("{name} = {}", self.written(key));
            out.push_str(&format!("{line:width$}  # {}\n", value.source));
        }
        out
    }

    fn written(&self, key: &Key) -> String {
        let value = self.get(&key.name);
        if key.kind.is_bare() && !value.text.is_empty() {
            value.text
        } else {
            toml::Value::String(value.text).to_string()
        }
    }
}

/// The environment variable of a setting.
pub fn variable_of(name: &str) -> String {
    format!("FLOE_{}", name.to_ascii_uppercase().replace(['.', '-'], "_"))
}

/// The known name that a person most likely meant.
pub fn nearest(wrong: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|name| (strsim::jaro_winkler(wrong, &name).max(same_words(wrong, &name)), name))
        .filter(|(likeness, _)| *likeness > 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// 1 when both consist of the same words in any order or case (`retention.log.ms`, `log_retention_ms`), else 0.
fn same_words(a: &str, b: &str) -> f64 {
    let words = |text: &str| {
        let mut words: Vec<String> = text.to_ascii_lowercase().split(['.', '_', '-']).map(str::to_owned).collect();
        words.sort();
        words
    };
    if words(a) == words(b) { 0.99 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    fn layers() -> Layers {
        let key = |name: &str, kind: Kind, default: &str| Key {
            name: name.to_owned(),
            kind,
            default: default.to_owned(),
            about: String::new(),
            is_alias: false,
        };
        Layers::new(
            vec![
                key("data.dir", Kind::Text, "./data"),
                key("log.retention.ms", Kind::Whole { min: -1, max: i64::MAX }, "604800000"),
                key("cache.bytes", Kind::Size { min: 0, max: i64::MAX }, "0"),
                key("oversubscribe", Kind::Switch, "false"),
                key("spin", Kind::Whole { min: 0, max: 9 }, "0"),
                key("spin.us", Kind::Whole { min: 0, max: 9 }, "0"),
            ],
            &[("log.dirs", "write `data.dir`")],
        )
    }

    fn file(layers: &mut Layers, text: &str) -> Outcome {
        layers.file("floe.toml", document::read("floe.toml", text)?)
    }

    #[test]
    fn the_stronger_layer_wins_in_any_order() {
        let flag = || Source::Flag("--x".to_owned());
        let mut layers = layers();
        layers.set("log.retention.ms", "4", flag()).unwrap();
        layers.environment([("FLOE_LOG_RETENTION_MS".to_owned(), "3".to_owned())].into_iter()).unwrap();
        file(&mut layers, "log.retention.ms = 2\ncache.bytes = \"1MiB\"").unwrap();
        layers.set("cache.bytes", "1", Source::Profile("latency".to_owned())).unwrap();
        layers.set("spin", "1", Source::Profile("latency".to_owned())).unwrap();
        assert_eq!(layers.get("log.retention.ms").text, "4");
        assert_eq!(layers.get("cache.bytes").text, "1048576");
        assert_eq!(layers.get("cache.bytes").source, Source::File { path: "floe.toml".to_owned(), line: 2 });
        assert_eq!(layers.get("spin").source, Source::Profile("latency".to_owned()));
        assert_eq!(layers.get("data.dir").text, "./data");
        assert_eq!(layers.get("data.dir").source, Source::Default);
    }

    #[test]
    fn wrong_names_and_values_are_refused_with_what_to_do() {
        let rows = [
            ("log.retention.m = 1", "no setting `log.retention.m`", "did you mean `log.retention.ms`?"),
            ("log_retention_ms = 1", "no setting `log_retention_ms`", "did you mean `log.retention.ms`?"),
            ("zebra = 1", "floe.toml, line 1: there is no setting `zebra`", "remove it"),
            ("log.dirs = \"/x\"", "no setting `log.dirs`", "write `data.dir`"),
            ("\nspin = 10", "floe.toml, line 2: `spin`: 10 is out of range", "a whole number from 0 to 9"),
        ];
        for (text, what, next) in rows {
            let problem = file(&mut layers(), text).unwrap_err();
            assert_eq!(problem.exit(), crate::problem::Exit::Usage);
            let problem = problem.to_string();
            assert!(problem.contains(what) && problem.contains(next), "{text}: {problem}");
        }
    }

    #[test]
    fn unknown_variables_are_refused_but_not_the_platforms() {
        let set = |name: &str| layers().environment([(name.to_owned(), "1".to_owned())].into_iter());
        for name in ["FLOE_SERVICE_HOST", "FLOE_PORT_9092_TCP", "FLOE_PORT", "FLOE_CONFIG", "HOME"] {
            assert!(set(name).is_ok(), "{name}");
        }
        let problem = set("FLOE_LOG_RETENTION_M").unwrap_err().to_string();
        assert!(problem.contains("did you mean FLOE_LOG_RETENTION_MS?"), "{problem}");
        assert!(set("FLOE_LOGS_RETENTION").is_err());
    }

    #[test]
    fn what_is_printed_gives_the_same_again() {
        let mut first = layers();
        file(&mut first, "data.dir = \"/a \\\"b\\\" c\"\nspin = 1\noversubscribe = true").unwrap();
        first.set("spin.us", "2", Source::Flag("--set".to_owned())).unwrap();
        let printed = first.print();
        assert!(printed.contains("# default") && printed.contains("# flag --set"), "{printed}");
        let mut second = layers();
        file(&mut second, &printed).unwrap();
        for key in first.keys() {
            assert_eq!(first.get(&key.name).text, second.get(&key.name).text, "{}", key.name);
        }
    }
}
