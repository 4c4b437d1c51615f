//! Small questions about the whole: DescribeCluster (60), ListPartitionReassignments (46), ListConfigResources (74).

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use floe_wire::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use floe_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use floe_wire::primitives::DecodeError;

use super::describe_configs::kind;
use super::{Caller, codes, operations};
use crate::event::Effects;
use crate::shard::Shard;

/// Kinds of resource that ListConfigResources knows since version 1: topic, broker, broker logger, client metrics, group.
const LISTED: &[i8] = &[kind::TOPIC, kind::BROKER, 8, CLIENT_METRICS, 32];
const CLIENT_METRICS: i8 = 16;

impl Shard {
    pub(super) fn describe_cluster(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeClusterRequest::decode_all(body, caller.version)?;
        let mut response = DescribeClusterResponse {
            endpoint_type: request.endpoint_type,
            cluster_id: Cow::Owned(self.image.cluster_id.clone()),
            ..DescribeClusterResponse::default()
        };
        let listener = self.connections.get(&caller.conn).map_or(0, |connection| connection.listener);
        let wrong = match request.endpoint_type {
            1 => None,
            2 => {
                let message =
                    "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
                Some((codes::MISMATCHED_ENDPOINT_TYPE, message.to_owned()))
            }
            other => Some((codes::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}"))),
        };
        if let Some((code, message)) = wrong {
            (response.error_code, response.error_message) = (code, Some(Cow::Owned(message)));
        } else if let Some(listener) = self.config.listeners.get(usize::from(listener)) {
            response.controller_id = self.config.node_id;
            if request.include_cluster_authorized_operations {
                response.cluster_authorized_operations = operations::CLUSTER;
            }
            response.brokers.push(DescribeClusterBroker {
                broker_id: self.config.node_id,
                host: Cow::Owned(listener.advertised_host.clone()),
                port: i32::from(listener.advertised_port),
                ..DescribeClusterBroker::default()
            });
        }
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
        Ok(())
    }

    /// A partition has one place, and nothing is on its way to another.
    pub(super) fn list_partition_reassignments(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        ListPartitionReassignmentsRequest::decode_all(body, caller.version)?;
        let response =
            ListPartitionReassignmentsResponse { error_message: None, ..ListPartitionReassignmentsResponse::default() };
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
        Ok(())
    }

    pub(super) fn list_config_resources(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ListConfigResourcesRequest::decode_all(body, caller.version)?;
        let mut response = ListConfigResourcesResponse::default();
        // Version 0 asks for client metrics alone, of which there are none.
        let all = caller.version > 0 && request.resource_types.is_empty();
        let wants = |kind| all || request.resource_types.contains(&kind);
        if request.resource_types.iter().any(|kind| !LISTED.contains(kind)) {
            response.error_code = codes::UNSUPPORTED_VERSION;
        } else {
            if wants(kind::TOPIC) {
                let topics = self.image.topics().map(|topic| Cow::Owned(topic.name.clone()));
                let topics = topics.map(|resource_name| ConfigResource { resource_name, resource_type: kind::TOPIC });
                response.config_resources.extend(topics);
            }
            if wants(kind::BROKER) {
                let resource_name = Cow::Owned(self.config.node_id.to_string());
                response.config_resources.push(ConfigResource { resource_name, resource_type: kind::BROKER });
            }
        }
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
        Ok(())
    }
}
