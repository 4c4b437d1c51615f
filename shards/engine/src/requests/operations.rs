//! What a client may do with a resource, as Kafka writes it: a bit for each operation, by its number in Kafka's `AclOperation` (KIP-430). There are
//! no access rules, so every operation that exists for a kind of resource is allowed.

const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

/// With a topic.
pub const TOPIC: i32 = bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// With the cluster.
pub const CLUSTER: i32 =
    bits(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);

/// With a group.
pub const GROUP: i32 = bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// Where nobody has asked.
pub const NOT_ASKED: i32 = i32::MIN;

const fn bits(operations: &[u32]) -> i32 {
    let (mut bits, mut at) = (0, 0);
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that an Apache Kafka broker without an authorizer answers.
    #[test]
    fn all_operations_are_kafkas_numbers() {
        assert_eq!((TOPIC, CLUSTER, NOT_ASKED), (3576, 8096, -2_147_483_648));
    }
}
