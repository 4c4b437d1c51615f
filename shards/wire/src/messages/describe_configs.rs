//! DescribeConfigs (32): settings in force, with where they come from (KIP-226, KIP-569).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Whose settings.
    struct DescribeConfigsRequest['a] flexible 4 {
        /// The resources.
        resources: Vec<DescribeConfigsResource<'a>>, 0;
        /// Whether the answer lists all values behind the one in force.
        include_synonyms: bool, 1..;
        /// Whether the answer explains the settings.
        include_documentation: bool, 3..;
    }
}

message! {
    /// A resource.
    struct DescribeConfigsResource['a] {
        /// 2: topic; 4: broker.
        resource_type: i8, 0;
        /// Its name.
        resource_name: Cow<'a, str>, 0;
        /// Which settings; null is all.
        configuration_keys: Option<Vec<Cow<'a, str>>>, 0, = Some(Vec::new());
    }
}

message! {
    /// Settings.
    struct DescribeConfigsResponse['a] flexible 4 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By resource.
        results: Vec<DescribeConfigsResult<'a>>, 0;
    }
}

message! {
    /// A resource's settings.
    struct DescribeConfigsResult['a] {
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// As asked for.
        resource_type: i8, 0;
        /// As asked for.
        resource_name: Cow<'a, str>, 0;
        /// The settings.
        configs: Vec<DescribeConfigsResourceResult<'a>>, 0;
    }
}

message! {
    /// A setting.
    struct DescribeConfigsResourceResult['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its value.
        value: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// Whether it cannot be changed.
        read_only: bool, 0;
        /// Where the value comes from.
        config_source: i8, 1.., = -1;
        /// Whether the value is a secret.
        is_sensitive: bool, 0;
        /// All values behind it.
        synonyms: Vec<DescribeConfigsSynonym<'a>>, 1..;
        /// Its type.
        config_type: i8, 3..;
        /// What it does.
        documentation: Option<Cow<'a, str>>, 3.., = Some(Cow::Borrowed(""));
    }
}

message! {
    /// A value behind the one in force.
    struct DescribeConfigsSynonym['a] {
        /// The setting it stands under.
        name: Cow<'a, str>, 1..;
        /// Its value.
        value: Option<Cow<'a, str>>, 1.., = Some(Cow::Borrowed(""));
        /// Where it comes from.
        source: i8, 1..;
    }
}
