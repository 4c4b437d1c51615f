//! ListConfigResources (74): the resources that have settings (KIP-1142).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which kinds.
    struct ListConfigResourcesRequest[] flexible 0 {
        /// Kinds of resource; none is all.
        resource_types: Vec<i8>, 1..;
    }
}

message! {
    /// The resources.
    struct ListConfigResourcesResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// The resources.
        config_resources: Vec<ConfigResource<'a>>, 0;
    }
}

message! {
    /// A resource.
    struct ConfigResource['a] {
        /// Its name.
        resource_name: Cow<'a, str>, 0;
        /// Its kind; 16 is client metrics.
        resource_type: i8, 1.., = 16;
    }
}
