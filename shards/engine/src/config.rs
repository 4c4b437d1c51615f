//! The broker's settings as the engine needs them: typed, validated, the same object on every shard.

/// The broker's settings. Made by the node from file, environment and flags.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// `cluster.id`-to-be, shown to clients. Chosen at the first start and kept in the metadata log when empty.
    pub cluster_id: String,
    /// Where clients connect, and what they are told to connect to.
    pub listeners: Vec<Listener>,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A name for people, such as `PLAINTEXT`.
    pub name: String,
    /// Host or address to bind.
    pub bind_host: String,
    /// Port to bind.
    pub bind_port: u16,
    /// Host that clients are told.
    pub advertised_host: String,
    /// Port that clients are told.
    pub advertised_port: u16,
}
