//! One member of a classic group: what it said when it joined, what it was assigned, where it waits, and until when it is believed to be alive.

use std::time::Duration;

use bytes::Bytes;

use crate::group::api::Asker;
use crate::group::records::ClassicMember;
use crate::group::{Name, millis};
use crate::time::{Deadline, Time};

/// A member.
#[derive(Debug)]
pub struct Member {
    /// Of a static member.
    pub instance: Option<Name>,
    pub client_id: Name,
    pub client_host: Name,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// In its order of preference, with its metadata. Of a member known from the log alone: the one that was chosen.
    pub protocols: Vec<(Name, Bytes)>,
    pub assignment: Bytes,
    /// Who waits for the answer to its join.
    pub joining: Option<Asker>,
    /// Who waits for the answer to its sync.
    pub syncing: Option<Asker>,
    /// It has not seen a generation yet. Such a one may be dropped while it waits in a join: it sends no heartbeats, and its client may be gone.
    pub is_new: bool,
    /// When it is taken for dead; `None` while its group is read from the log.
    pub session: Option<Deadline>,
}

impl Member {
    /// As the log tells.
    pub fn restored(record: &ClassicMember, protocol: Option<&Name>) -> Member {
        Member {
            instance: record.instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            session_timeout: millis(record.session_timeout_ms),
            rebalance_timeout: millis(record.rebalance_timeout_ms),
            protocols: protocol.map(|protocol| (protocol.clone(), record.subscription.clone())).into_iter().collect(),
            assignment: record.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
        }
    }

    /// As the log shall tell, with its metadata for `protocol`.
    pub fn record(&self, id: &Name, protocol: Option<&str>) -> ClassicMember {
        ClassicMember {
            id: id.clone(),
            instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout.as_millis() as i32,
            rebalance_timeout_ms: self.rebalance_timeout.as_millis() as i32,
            subscription: protocol.and_then(|protocol| self.metadata(protocol)).cloned().unwrap_or_default(),
            assignment: self.assignment.clone(),
        }
    }

    /// Its metadata for a protocol.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| **name == *protocol).map(|(_, metadata)| metadata)
    }

    /// It was heard of.
    pub fn alive(&mut self, now: Time) {
        self.session = Some(now.after(self.session_timeout));
    }

    /// Whether silence does not count: it waits for an answer.
    pub fn is_waiting(&self) -> bool {
        (self.joining.is_some() && !self.is_new) || self.syncing.is_some()
    }
}
