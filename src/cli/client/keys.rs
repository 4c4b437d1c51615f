//! The APIs that the commands use, by name.

use floe_wire::api::Api;

/// One of them; the number is Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ApiKey {
    /// Writes batches.
    Produce = 0,
    /// Reads batches.
    Fetch = 1,
    /// Finds offsets by time, and the ends.
    ListOffsets = 2,
    /// Brokers and topics.
    Metadata = 3,
    /// Remembers how far a group has come.
    OffsetCommit = 8,
    /// Says how far.
    OffsetFetch = 9,
    /// Which broker coordinates a group.
    FindCoordinator = 10,
    /// Comes into a classic group.
    JoinGroup = 11,
    /// Says that a member lives.
    Heartbeat = 12,
    /// Goes out of a classic group.
    LeaveGroup = 13,
    /// Learns what a member gets.
    SyncGroup = 14,
    /// Shows classic groups.
    DescribeGroups = 15,
    /// The groups there are.
    ListGroups = 16,
    /// What a broker understands.
    ApiVersions = 18,
    /// Makes topics.
    CreateTopics = 19,
    /// Removes topics.
    DeleteTopics = 20,
    /// Gives a producer its id.
    InitProducerId = 22,
    /// Ends transactions in partitions.
    WriteTxnMarkers = 27,
    /// Shows settings.
    DescribeConfigs = 32,
    /// Adds partitions.
    CreatePartitions = 37,
    /// Removes groups.
    DeleteGroups = 42,
    /// Changes settings.
    IncrementalAlterConfigs = 44,
    /// Who writes to partitions.
    DescribeProducers = 61,
    /// Shows transactional ids.
    DescribeTransactions = 65,
    /// The transactional ids there are.
    ListTransactions = 66,
    /// Shows groups of the next-generation protocol.
    ConsumerGroupDescribe = 69,
}

impl ApiKey {
    /// Its row in the wire's table.
    pub(in crate::cli) fn api(self) -> &'static Api {
        Api::of(self as i16).expect("each of these is declared")
    }

    /// Kafka's name.
    pub(in crate::cli) fn name(self) -> &'static str {
        self.api().name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_names() {
        let all = [
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::OffsetCommit,
            ApiKey::OffsetFetch,
            ApiKey::FindCoordinator,
            ApiKey::JoinGroup,
            ApiKey::Heartbeat,
            ApiKey::LeaveGroup,
            ApiKey::SyncGroup,
            ApiKey::DescribeGroups,
            ApiKey::ListGroups,
            ApiKey::ApiVersions,
            ApiKey::CreateTopics,
            ApiKey::DeleteTopics,
            ApiKey::InitProducerId,
            ApiKey::DescribeConfigs,
            ApiKey::CreatePartitions,
            ApiKey::DeleteGroups,
            ApiKey::IncrementalAlterConfigs,
            ApiKey::ConsumerGroupDescribe,
        ];
        for key in all {
            assert_eq!(format!("{key:?}"), key.name());
        }
    }
}
