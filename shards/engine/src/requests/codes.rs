//! The numbers of those of Kafka's errors that Floe answers with, out of the wire's table.

use floe_wire::errors::ErrorCode;

pub const NONE: i16 = ErrorCode::NONE.code();
pub const OFFSET_OUT_OF_RANGE: i16 = ErrorCode::OFFSET_OUT_OF_RANGE.code();
pub const CORRUPT_MESSAGE: i16 = ErrorCode::CORRUPT_MESSAGE.code();
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.code();
pub const LEADER_NOT_AVAILABLE: i16 = ErrorCode::LEADER_NOT_AVAILABLE.code();
pub const NOT_LEADER_OR_FOLLOWER: i16 = ErrorCode::NOT_LEADER_OR_FOLLOWER.code();
pub const MESSAGE_TOO_LARGE: i16 = ErrorCode::MESSAGE_TOO_LARGE.code();
pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.code();
pub const COORDINATOR_NOT_AVAILABLE: i16 = ErrorCode::COORDINATOR_NOT_AVAILABLE.code();
pub const INVALID_TOPIC_EXCEPTION: i16 = ErrorCode::INVALID_TOPIC_EXCEPTION.code();
pub const NOT_ENOUGH_REPLICAS: i16 = ErrorCode::NOT_ENOUGH_REPLICAS.code();
pub const INVALID_REQUIRED_ACKS: i16 = ErrorCode::INVALID_REQUIRED_ACKS.code();
pub const INVALID_TIMESTAMP: i16 = ErrorCode::INVALID_TIMESTAMP.code();
pub const UNSUPPORTED_VERSION: i16 = ErrorCode::UNSUPPORTED_VERSION.code();
pub const TOPIC_ALREADY_EXISTS: i16 = ErrorCode::TOPIC_ALREADY_EXISTS.code();
pub const INVALID_PARTITIONS: i16 = ErrorCode::INVALID_PARTITIONS.code();
pub const INVALID_REPLICATION_FACTOR: i16 = ErrorCode::INVALID_REPLICATION_FACTOR.code();
pub const INVALID_REPLICA_ASSIGNMENT: i16 = ErrorCode::INVALID_REPLICA_ASSIGNMENT.code();
pub const INVALID_CONFIG: i16 = ErrorCode::INVALID_CONFIG.code();
pub const INVALID_REQUEST: i16 = ErrorCode::INVALID_REQUEST.code();
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.code();
pub const INVALID_PRODUCER_EPOCH: i16 = ErrorCode::INVALID_PRODUCER_EPOCH.code();
pub const INVALID_TXN_STATE: i16 = ErrorCode::INVALID_TXN_STATE.code();
pub const KAFKA_STORAGE_ERROR: i16 = ErrorCode::KAFKA_STORAGE_ERROR.code();
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = ErrorCode::FETCH_SESSION_ID_NOT_FOUND.code();
pub const INVALID_FETCH_SESSION_EPOCH: i16 = ErrorCode::INVALID_FETCH_SESSION_EPOCH.code();
pub const FETCH_SESSION_TOPIC_ID_ERROR: i16 = ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR.code();
pub const TOPIC_DELETION_DISABLED: i16 = ErrorCode::TOPIC_DELETION_DISABLED.code();
pub const UNKNOWN_LEADER_EPOCH: i16 = ErrorCode::UNKNOWN_LEADER_EPOCH.code();
pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.code();
pub const INVALID_RECORD: i16 = ErrorCode::INVALID_RECORD.code();
pub const UNKNOWN_TOPIC_ID: i16 = ErrorCode::UNKNOWN_TOPIC_ID.code();
