//! DeleteTopics (20): by name, from version 6 on by name or id.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Topics to delete.
    struct DeleteTopicsRequest['a] flexible 4 {
        /// By name or id.
        topics: Vec<DeleteTopicState<'a>>, 6..;
        /// By name.
        topic_names: Vec<Cow<'a, str>>, 0..=5;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, 0;
    }
}

message! {
    /// A topic to delete.
    struct DeleteTopicState['a] {
        /// By name.
        name: Option<Cow<'a, str>>, 6..;
        /// By id.
        topic_id: TopicId, 6..;
    }
}

message! {
    /// What became of the topics.
    struct DeleteTopicsResponse['a] flexible 4 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// By topic.
        responses: Vec<DeletableTopicResult<'a>>, 0;
    }
}

message! {
    /// What became of a topic.
    struct DeletableTopicResult['a] {
        /// Its name.
        name: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// Its id.
        topic_id: TopicId, 6..;
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 5..;
    }
}
