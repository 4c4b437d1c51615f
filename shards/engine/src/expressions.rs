//! Regular expressions of clients: subscriptions to topics, and filters of transactional ids. Linear in the length of names; Kafka's syntax is RE2's, ours that of the `regex` crate, which
//! has the same roots (no back references, no look-around).
//!
//! An expression must match a name as a whole. Compiled expressions are not kept: they are needed when topics come or go, or when a member brings one;
//! kept, each might hold memory as large as its limits (decision 0012).

use regex::{Regex, RegexBuilder};

use crate::group::Name;
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_PROGRAM_BYTES_MAX};
use crate::metadata::Image;

/// An expression, checked and ready.
#[derive(Debug)]
pub struct Expression(Regex);

impl Expression {
    /// Checks what a client sent; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Expression, String> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("it has {} bytes; {EXPRESSION_BYTES_MAX} are the most", text.len()));
        }
        // By itself first: `a)(b` would become valid between the parentheses that make it match as a whole.
        compile(text)?;
        compile(&format!(r"\A(?:{text})\z")).map(Expression)
    }

    /// Whether it matches all of a text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Names of the topics that match, rising. The broker's own match no expression.
    pub fn topics(&self, image: &Image) -> Vec<Name> {
        let topics = image.topics().filter(|topic| !topic.is_internal() && self.0.is_match(&topic.name));
        topics.map(|topic| Name::from(topic.name.as_str())).collect()
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(EXPRESSION_PROGRAM_BYTES_MAX)
        .dfa_size_limit(EXPRESSION_PROGRAM_BYTES_MAX)
        .nest_limit(64)
        .build()
        // The crate points at the place over several lines; the last says what is wrong there.
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string())
}

#[cfg(test)]
mod tests {
    use super::Expression;
    use crate::group::test_image as image;

    #[test]
    fn expressions_match_whole_names() {
        let image =
            image(&[("__consumer_offsets", 1), ("bar", 1), ("foo", 1), ("foo-1", 1), ("foo.2", 1), ("xfoo", 1)]);
        for (expression, expected) in [
            ("foo", &["foo"][..]),
            ("foo.*", &["foo", "foo-1", "foo.2"]),
            ("foo|bar", &["bar", "foo"]),
            ("fo|foo", &["foo"]),
            (".*", &["bar", "foo", "foo-1", "foo.2", "xfoo"]),
            ("[^x].*[0-9]", &["foo-1", "foo.2"]),
            (r"(?i)FOO\.\d", &["foo.2"]),
            ("nothing", &[]),
        ] {
            let topics = Expression::new(expression).unwrap().topics(&image);
            assert_eq!(topics.iter().map(|name| &**name).collect::<Vec<_>>(), expected, "{expression}");
        }
    }

    #[test]
    fn bad_and_hostile_expressions_are_refused() {
        let long = "a".repeat(5000);
        for expression in ["(", "a)(b", "[", "*", r"(a)\1", "a(?=b)", "((a{500}){500}){500}", &"(".repeat(200), &long] {
            let error = Expression::new(expression).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{expression}: {error}");
        }
    }
}
