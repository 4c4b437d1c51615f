//! AlterConfigs (33): replaces all settings of a resource.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// New settings.
    struct AlterConfigsRequest['a] flexible 2 {
        /// By resource.
        resources: Vec<AlterConfigsResource<'a>>, 0;
        /// Only say whether it would work.
        validate_only: bool, 0;
    }
}

message! {
    /// A resource's new settings.
    struct AlterConfigsResource['a] {
        /// 2: topic; 4: broker.
        resource_type: i8, 0;
        /// Its name.
        resource_name: Cow<'a, str>, 0;
        /// The settings.
        configs: Vec<AlterableConfig<'a>>, 0;
    }
}

message! {
    /// A setting.
    struct AlterableConfig['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its value.
        value: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
    }
}

message! {
    /// What became of it.
    struct AlterConfigsResponse['a] flexible 2 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By resource.
        responses: Vec<AlterConfigsResourceResponse<'a>>, 0;
    }
}

message! {
    /// What became of a resource's.
    struct AlterConfigsResourceResponse['a] {
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// As asked for.
        resource_type: i8, 0;
        /// As asked for.
        resource_name: Cow<'a, str>, 0;
    }
}
