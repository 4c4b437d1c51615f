//! `floe api-versions`: which requests in which versions a broker understands, asked over the wire, or Floe's own table.

use clap::Args;
use floe_wire::api::{APIS, Api};
use serde_json::json;

use super::Bootstrap;
use super::client::Cluster;
use super::client::connection::ApiRange;
use super::output::Output;
use crate::problem::Outcome;

#[derive(Debug, Args)]
pub(super) struct ApiVersionsArgs {
    /// Floe's own table, without asking a broker.
    #[arg(long)]
    local: bool,
    /// Print as JSON, one API a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) fn run(args: ApiVersionsArgs) -> Outcome {
    let ranges = if args.local { local() } else { Cluster::connect(&args.bootstrap)?.any().ranges() };
    let mut output = Output::new();
    if args.json {
        for range in &ranges {
            output.json(&json!({"key": range.key, "name": name(range.key), "min": range.min, "max": range.max}))?;
        }
    } else {
        let rows: Vec<Vec<String>> = ranges
            .iter()
            .map(|range| vec![range.key.to_string(), name(range.key), range.min.to_string(), range.max.to_string()])
            .collect();
        output.table(&["key", "name", "oldest", "newest"], &rows)?;
    }
    output.flush()
}

/// What this program's broker advertises.
fn local() -> Vec<ApiRange> {
    APIS.iter().map(|api| ApiRange { key: api.key, min: api.min_advertised, max: api.max }).collect()
}

fn name(key: i16) -> String {
    Api::of(key).map_or_else(|| "(unknown to this program)".to_owned(), |api| api.name.to_owned())
}
