//! The topics that a regular expression of a group's members stands for.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which expression.
    struct ConsumerGroupRegularExpressionKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The expression.
        regular_expression: Cow<'a, str>, 0;
    }
}

message! {
    /// What it stands for.
    struct ConsumerGroupRegularExpressionValue['a] flexible 0 {
        /// The topics, by name.
        topics: Vec<Cow<'a, str>>, 0;
        /// Version of the metadata that it was held against.
        version: i64, 0;
        /// When it was held against it, in milliseconds since 1970.
        timestamp: i64, 0;
    }
}
