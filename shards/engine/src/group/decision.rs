//! What a group coordinator gives back (see [`crate::hosted`]), and its answers as errors.

use super::Coordinator;
use super::api::{Commit, ConsumerDescribed};
use super::api::{ConsumerHeartbeatAnswer, Described, GroupAnswer, GroupRequest, Joined, Synced};
use crate::requests::codes;

/// What was decided.
pub type Decision = crate::hosted::Decision<Coordinator>;

impl GroupAnswer {
    /// The same answer as an error, for when its records could not be written, or its partition went away.
    #[must_use]
    pub fn failed(self, error_code: i16) -> GroupAnswer {
        match self {
            GroupAnswer::Joined(joined) => Joined::error(joined.member, error_code),
            GroupAnswer::Synced(_) => Synced::error(error_code),
            GroupAnswer::Heartbeat(_) => GroupAnswer::Heartbeat(error_code),
            GroupAnswer::Left(_) => GroupAnswer::Left(Err(error_code)),
            GroupAnswer::Committed(mut all) => {
                for code in all.iter_mut().flatten().filter(|code| **code == codes::NONE) {
                    *code = error_code;
                }
                GroupAnswer::Committed(all)
            }
            GroupAnswer::Unverified { .. } => self,
            GroupAnswer::Fetched(_) => GroupAnswer::Fetched(Err(error_code)),
            GroupAnswer::OffsetsDeleted(_) => GroupAnswer::OffsetsDeleted(Err(error_code)),
            GroupAnswer::ConsumerHeartbeat(answer) => GroupAnswer::ConsumerHeartbeat(ConsumerHeartbeatAnswer {
                error_code,
                member: answer.member,
                ..Default::default()
            }),
            GroupAnswer::Listed(_) => GroupAnswer::Listed(Err(error_code)),
            GroupAnswer::Described(_) => GroupAnswer::Described(Described { error_code, ..Default::default() }),
            GroupAnswer::ConsumerDescribed(_) => {
                GroupAnswer::ConsumerDescribed(ConsumerDescribed { error_code, ..Default::default() })
            }
            GroupAnswer::Deleted(_) => GroupAnswer::Deleted(error_code),
        }
    }
}

impl GroupAnswer {
    /// The answer to a commit whose transaction has to be vouched for first.
    #[must_use]
    pub fn unverified(self, guard: u64) -> GroupAnswer {
        let GroupAnswer::Committed(codes) = self else { unreachable!("{self:?} of a transaction") };
        GroupAnswer::Unverified { guard, codes }
    }
}

impl GroupRequest {
    /// Whether a group without a name is refused: Kafka keeps taking offsets under the empty name, and describing and deleting it.
    pub fn needs_group(&self) -> bool {
        matches!(
            self,
            GroupRequest::Join(_)
                | GroupRequest::Sync(_)
                | GroupRequest::Heartbeat(_)
                | GroupRequest::Leave(_)
                | GroupRequest::ConsumerHeartbeat(_)
                | GroupRequest::ConsumerDescribe
                | GroupRequest::TxnCommit(..)
        )
    }

    /// Its answer when the whole is refused.
    #[must_use]
    pub fn refuse(self, error_code: i16) -> GroupAnswer {
        match self {
            GroupRequest::Join(join) => Joined::error(join.member, error_code),
            GroupRequest::Sync(_) => Synced::error(error_code),
            GroupRequest::Heartbeat(_) => GroupAnswer::Heartbeat(error_code),
            GroupRequest::Leave(_) => GroupAnswer::Left(Err(error_code)),
            GroupRequest::Commit(commit) | GroupRequest::TxnCommit(commit, _) => {
                GroupAnswer::Committed(commit.refuse(error_code))
            }
            GroupRequest::Fetch(_) => GroupAnswer::Fetched(Err(error_code)),
            GroupRequest::DeleteOffsets(_) => GroupAnswer::OffsetsDeleted(Err(error_code)),
            GroupRequest::ConsumerHeartbeat(heartbeat) => GroupAnswer::ConsumerHeartbeat(ConsumerHeartbeatAnswer {
                error_code,
                member: Some(heartbeat.member),
                ..ConsumerHeartbeatAnswer::default()
            }),
            GroupRequest::List(_) => GroupAnswer::Listed(Err(error_code)),
            GroupRequest::Describe => GroupAnswer::Described(Described { error_code, ..Described::default() }),
            GroupRequest::ConsumerDescribe => {
                GroupAnswer::ConsumerDescribed(ConsumerDescribed { error_code, ..ConsumerDescribed::default() })
            }
            GroupRequest::Delete => GroupAnswer::Deleted(error_code),
        }
    }
}

impl Commit {
    /// The same code for everything.
    pub fn refuse(&self, error_code: i16) -> Vec<Vec<i16>> {
        self.topics.iter().map(|topic| vec![error_code; topic.partitions.len()]).collect()
    }
}
