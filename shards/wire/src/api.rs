//! The APIs that Floe declares: key, name, versions, and where their headers change.

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Kafka's key.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// First version that a client is told. For Produce lower than what is answered (KAFKA-18659).
    pub min_advertised: i16,
    /// First version that is decoded.
    pub min: i16,
    /// Last version.
    pub max: i16,
    /// First version with tagged fields (KIP-482).
    pub flexible_since: i16,
}

const fn api(key: i16, name: &'static str, min: i16, max: i16, flexible_since: i16) -> Api {
    Api { key, name, min_advertised: min, min, max, flexible_since }
}

/// Key of ApiVersions, whose response header never has tagged fields: a client reads it before it knows the broker's versions (KIP-511).
pub const API_VERSIONS: i16 = 18;

/// All of them, by key.
pub const APIS: &[Api] = &[
    Api { key: 0, name: "Produce", min_advertised: 0, min: 3, max: 13, flexible_since: 9 },
    api(1, "Fetch", 4, 18, 12),
    api(2, "ListOffsets", 1, 11, 6),
    api(3, "Metadata", 0, 13, 9),
    api(8, "OffsetCommit", 2, 10, 8),
    api(9, "OffsetFetch", 1, 10, 6),
    api(10, "FindCoordinator", 0, 6, 3),
    api(11, "JoinGroup", 0, 9, 6),
    api(12, "Heartbeat", 0, 4, 4),
    api(13, "LeaveGroup", 0, 5, 4),
    api(14, "SyncGroup", 0, 5, 4),
    api(15, "DescribeGroups", 0, 6, 5),
    api(16, "ListGroups", 0, 5, 3),
    api(API_VERSIONS, "ApiVersions", 0, 4, 3),
    api(19, "CreateTopics", 2, 7, 5),
    api(20, "DeleteTopics", 1, 6, 4),
    api(21, "DeleteRecords", 0, 2, 2),
    api(22, "InitProducerId", 0, 5, 2),
    api(23, "OffsetForLeaderEpoch", 2, 4, 4),
    api(24, "AddPartitionsToTxn", 0, 5, 3),
    api(25, "AddOffsetsToTxn", 0, 4, 3),
    api(26, "EndTxn", 0, 5, 3),
    api(27, "WriteTxnMarkers", 1, 2, 1),
    api(28, "TxnOffsetCommit", 0, 5, 3),
    api(32, "DescribeConfigs", 1, 4, 4),
    api(33, "AlterConfigs", 0, 2, 2),
    api(35, "DescribeLogDirs", 1, 5, 2),
    api(37, "CreatePartitions", 0, 3, 2),
    api(42, "DeleteGroups", 0, 2, 2),
    api(44, "IncrementalAlterConfigs", 0, 1, 1),
    api(46, "ListPartitionReassignments", 0, 0, 0),
    api(47, "OffsetDelete", 0, 0, 1),
    api(60, "DescribeCluster", 0, 2, 0),
    api(61, "DescribeProducers", 0, 0, 0),
    api(65, "DescribeTransactions", 0, 0, 0),
    api(66, "ListTransactions", 0, 2, 0),
    api(68, "ConsumerGroupHeartbeat", 0, 1, 0),
    api(69, "ConsumerGroupDescribe", 0, 1, 0),
    api(74, "ListConfigResources", 0, 1, 0),
    api(75, "DescribeTopicPartitions", 0, 0, 0),
];

impl Api {
    /// The row of a key.
    pub fn of(key: i16) -> Option<&'static Api> {
        APIS.iter().find(|api| api.key == key)
    }

    /// Whether requests of this version have tagged fields in their header (header version 2).
    pub fn request_header_flexible(&self, version: i16) -> bool {
        version >= self.flexible_since
    }

    /// Whether responses of this version have tagged fields in their header (header version 1).
    pub fn response_header_flexible(&self, version: i16) -> bool {
        self.key != API_VERSIONS && version >= self.flexible_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/COMPATIBILITY.md is what people read; this table is what is true.
    #[test]
    fn the_document_says_what_the_table_says() {
        let document = include_str!("../../../docs/COMPATIBILITY.md");
        let table =
            document.lines().skip_while(|line| !line.starts_with("| API")).take_while(|line| line.starts_with('|'));
        let rows: Vec<&str> = table.skip(2).collect();
        assert_eq!(rows.len(), APIS.len(), "one row for each API");
        for (api, row) in APIS.iter().zip(rows) {
            let versions = if api.min == api.max { format!("{}", api.min) } else { format!("{}-{}", api.min, api.max) };
            let told = if api.min_advertised == api.min {
                String::new()
            } else {
                format!(" (advertised from {})", api.min_advertised)
            };
            let start = format!("| {} | {} | {versions}{told} |", api.name, api.key);
            assert!(row.starts_with(&start), "docs/COMPATIBILITY.md has {row:?}, expected {start:?}");
        }
    }
}
