//! ApiVersions (18): what a broker speaks (KIP-511, KIP-584). The response header has no tagged fields in any version.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Asks for the supported APIs.
    struct ApiVersionsRequest['a] flexible 3 {
        /// The client library.
        client_software_name: Cow<'a, str>, 3..;
        /// Its version.
        client_software_version: Cow<'a, str>, 3..;
    }
}

message! {
    /// The supported APIs and features.
    struct ApiVersionsResponse['a] flexible 3 {
        /// Error code.
        error_code: i16, 0;
        /// The APIs.
        api_keys: Vec<ApiVersion>, 0;
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Features the broker supports.
        supported_features: Vec<SupportedFeatureKey<'a>>, 3.., tag 0;
        /// Epoch of the finalized features; -1 is unknown.
        finalized_features_epoch: i64, 3.., tag 1, = -1;
        /// Features that are on.
        finalized_features: Vec<FinalizedFeatureKey<'a>>, 3.., tag 2;
        /// Left from Kafka's migration off ZooKeeper.
        zk_migration_ready: bool, 3.., tag 3;
    }
}

message! {
    /// One API.
    struct ApiVersion[] {
        /// Its key.
        api_key: i16, 0;
        /// First version.
        min_version: i16, 0;
        /// Last version.
        max_version: i16, 0;
    }
}

message! {
    /// A feature that can be turned on.
    struct SupportedFeatureKey['a] {
        /// Its name.
        name: Cow<'a, str>, 3..;
        /// Lowest level.
        min_version: i16, 3..;
        /// Highest level.
        max_version: i16, 3..;
    }
}

message! {
    /// A feature that is on.
    struct FinalizedFeatureKey['a] {
        /// Its name.
        name: Cow<'a, str>, 3..;
        /// Highest level in force.
        max_version_level: i16, 3..;
        /// Lowest level in force.
        min_version_level: i16, 3..;
    }
}
