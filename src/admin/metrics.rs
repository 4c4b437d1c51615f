//! The shards' counters as rows of the metrics page, labelled by shard.

use floe_engine::metrics::{Histogram, RequestKind, ShardMetrics};
use floe_engine::txn::records::State;
use floe_wire::errors::ErrorCode;

use super::page::{Buckets, Labels, Number, Page};
use super::process;

/// The page of one moment; `None` for a shard that gave no answer in time.
pub fn page(shards: &[Option<ShardMetrics>]) -> Page {
    let mut page = Page::default();
    for (shard, metrics) in shards.iter().enumerate() {
        let up = Number::Level(f64::from(u8::from(metrics.is_some())));
        page.add("floe_shard_up", "Whether the shard answers", label(shard), up);
        if let Some(metrics) = metrics {
            of_shard(&mut page, shard, metrics);
        }
    }
    let process = process::read();
    for (shard, thread) in process.shards {
        let help = "CPU time of the shard's thread, user and system";
        page.add("floe_shard_cpu_seconds", help, label(shard), Number::Seconds(thread.ran_seconds));
        let help = "Time for which the shard's thread could have run and had no CPU";
        page.add("floe_shard_cpu_wait_seconds", help, label(shard), Number::Seconds(thread.waited_seconds));
    }
    let level = |value: u64| Number::Level(value as f64);
    let none = Labels::new;
    page.add("process_resident_memory_bytes", "Memory in use", none(), level(process.resident_bytes));
    let cpu = Number::Seconds(process.user_seconds + process.system_seconds);
    page.add("process_cpu_seconds", "CPU time, user and system", none(), cpu);
    page.add("process_threads", "Threads", none(), level(process.threads));
    page.add("process_open_fds", "Open files and sockets", none(), level(process.open_files));
    page
}

fn label(shard: usize) -> Labels {
    vec![("shard", shard.to_string())]
}

fn of_shard(page: &mut Page, shard: usize, metrics: &ShardMetrics) {
    for (api, count) in metrics.requests.iter() {
        let mut labels = label(shard);
        labels.push(("api", api.name.to_owned()));
        page.add("floe_requests", "Requests taken, by API", labels, Number::Count(count));
    }
    let log = &metrics.log;
    let counts = [
        ("floe_request_bytes", "Bytes of requests", metrics.bytes_in),
        ("floe_reply_bytes", "Bytes of replies", metrics.bytes_out),
        ("floe_connections_moved", "Connections given to the core that owns what they use", metrics.connections_moved),
        ("floe_connections_refused", "Connections refused, or closed for what they sent", metrics.connections_refused),
        ("floe_connections_idle_closed", "Connections closed for having been idle", metrics.connections_idle_closed),
        ("floe_fetch_holds", "Times that fetches of a client were to wait for its rebalance", metrics.fetch_holds),
        ("floe_slow_readers_closed", "Connections closed for not reading answers", metrics.slow_readers_closed),
        ("floe_admissions_closed", "Times that reading from all clients was stopped", metrics.admissions_closed),
        ("floe_journal_commits", "Journal commits", log.commits),
        ("floe_journal_commits_flushed", "Journal commits made durable", log.commits_flushed),
        ("floe_journal_batches", "Record batches appended", log.batches),
        ("floe_journal_batch_bytes", "Bytes of record batches appended", log.batch_bytes),
        ("floe_journal_bytes", "Bytes written to the journal, with headers and padding", log.journal_bytes),
        ("floe_settle_rounds", "Rounds of moving records from the journal to segments", log.settle_rounds),
        ("floe_settled_bytes", "Bytes written to segments", log.settled_bytes),
        ("floe_carried_bytes", "Bytes written to the journal again", log.carried_bytes),
        ("floe_checkpoints", "Checkpoints written", log.checkpoints),
        ("floe_reads_hot", "Reads answered from memory", log.reads_hot),
        ("floe_reads_file", "Reads answered by sendfile", log.reads_sent_from_file),
        ("floe_reads_cold", "Reads that waited for the disk", log.reads_cold),
        ("floe_direct_batches", "Batches written straight to their segment", log.direct_batches),
        ("floe_direct_bytes", "Bytes written straight to segments, ahead of their commit", log.direct_bytes),
        ("floe_segments_removed", "Segments removed by retention or DeleteRecords", log.segments_removed),
        ("floe_compaction_runs", "Runs of compaction begun", log.compaction_runs),
        ("floe_compaction_read_bytes", "Bytes of segments read by compaction", log.compaction_read_bytes),
        ("floe_compaction_written_bytes", "Bytes of segments written by compaction", log.compaction_written_bytes),
        ("floe_compaction_removed_bytes", "Bytes that compaction has removed", log.compaction_removed_bytes),
    ];
    for (name, help, count) in counts {
        page.add(name, help, label(shard), Number::Count(count));
    }
    for (code, count) in metrics.errors.iter() {
        let mut labels = label(shard);
        let name = ErrorCode::from_code(code).map_or_else(|| code.to_string(), |error| error.name().to_owned());
        labels.push(("error", name));
        page.add(
            "floe_errors",
            "Partitions answered with an error in produce, fetch and lookups of offsets, by its name",
            labels,
            Number::Count(count),
        );
    }
    groups(page, shard, metrics);
    transactions(page, shard, metrics);
    spreads(page, shard, metrics);
    for (tier, count) in ["flushed", "written", "memory"].into_iter().zip(log.acks) {
        let mut labels = label(shard);
        labels.push(("tier", tier.to_owned()));
        page.add(
            "floe_acknowledged_batches",
            "Batches acknowledged, by the durability they had then",
            labels,
            Number::Count(count),
        );
    }
    let seconds = [
        ("floe_admission_closed_seconds", "Time for which no client was read from", metrics.admission_closed_ns),
        (
            "floe_connections_paused_seconds",
            "Time for which connections were not read for what they had at work or unread, summed over connections",
            metrics.paused_ns,
        ),
        (
            "floe_connections_working_seconds",
            "Time for which connections had requests other than Fetch at work, summed over connections",
            metrics.working_ns,
        ),
        ("floe_shard_polled_seconds", "Time spent looking for work instead of sleeping", metrics.driver.polled_ns),
    ];
    for (name, help, ns) in seconds {
        page.add(name, help, label(shard), Number::Seconds(ns as f64 / 1e9));
    }
    let levels = [
        ("floe_fetch_sessions", "Fetch sessions", metrics.fetch_sessions),
        ("floe_fetch_session_partitions", "Partitions in fetch sessions", metrics.fetch_session_partitions),
        ("floe_request_bytes_held", "Bytes of requests without an answer yet", metrics.request_bytes_held),
        ("floe_answer_bytes_held", "Memory in answers that are not sent", metrics.answer_bytes_held),
        ("floe_connections", "Connections open", metrics.connections),
        ("floe_unsettled_bytes", "Bytes in the journal that are in no segment yet", log.unsettled_bytes),
        ("floe_log_memory_bytes", "Memory held by the newest records", log.memory_bytes),
    ];
    for (name, help, value) in levels {
        page.add(name, help, label(shard), Number::Level(value as f64));
    }
    let help = "Share of bytes not compacted of the partition where it is highest";
    let ratio = log.compaction_dirty_ppm_max as f64 / 1e6;
    page.add("floe_compaction_dirty_ratio", help, label(shard), Number::Level(ratio));
}

fn groups(page: &mut Page, shard: usize, metrics: &ShardMetrics) {
    let (groups, host) = (&metrics.groups, &metrics.group_host);
    for (kind, state, count) in &groups.groups {
        let mut labels = label(shard);
        labels.extend([("type", (*kind).to_owned()), ("state", (*state).to_owned())]);
        page.add("floe_groups", "Consumer groups, by type and state", labels, Number::Level(*count as f64));
    }
    let counts = [
        ("floe_group_rebalances", "Rebalances begun", groups.counts.rebalances),
        ("floe_group_commits", "Offsets committed", groups.counts.commits),
        ("floe_group_rewinds", "Offsets committed that were lower than the one before", groups.counts.rewinds),
        (
            "floe_group_offsets_beyond_end",
            "Offsets committed beyond the end of their partition",
            groups.counts.beyond_end,
        ),
        ("floe_group_skips", "Offsets moved ahead by somebody who is no member of the group", groups.counts.skips),
        ("floe_group_offsets_expired", "Committed offsets that expired", groups.counts.expired),
        (
            "floe_group_offsets_deleted",
            "Committed offsets deleted on request, with their group or their topic",
            groups.counts.deleted,
        ),
        ("floe_group_records", "Records appended to __consumer_offsets", host.records),
        ("floe_group_record_bytes", "Bytes of their batches", host.record_bytes),
        ("floe_group_refusals", "Decisions of groups that could not be written", host.refused),
        ("floe_group_replayed_records", "Records of __consumer_offsets read back at start", host.replayed),
    ];
    for (name, help, count) in counts {
        page.add(name, help, label(shard), Number::Count(count));
    }
    let levels = [
        ("floe_group_members", "Members of all groups", groups.members),
        ("floe_group_offsets", "Partitions with a committed offset, over all groups", groups.offsets),
        ("floe_group_partitions", "Partitions of __consumer_offsets whose groups are here", host.partitions),
        ("floe_group_partitions_loading", "Of them, those whose groups are not served yet", host.loading),
        ("floe_group_requests_waiting", "Requests to groups that are not answered yet", host.waiting),
    ];
    for (name, help, value) in levels {
        page.add(name, help, label(shard), Number::Level(value as f64));
    }
    let spreads = [
        (
            "floe_group_rebalance_seconds",
            "From a rebalance's beginning until every member could have its assignment",
            &groups.counts.rebalance_ns,
        ),
        ("floe_group_load_seconds", "From beginning to read a partition of groups to serving them", &host.load_ns),
    ];
    for (name, about, histogram) in spreads {
        page.add(name, about, label(shard), spread(histogram));
    }
}

fn transactions(page: &mut Page, shard: usize, metrics: &ShardMetrics) {
    let (txns, host) = (&metrics.txns, &metrics.txn_host);
    for (state, count) in State::ALL.iter().zip(txns.states).filter(|(_, count)| *count > 0) {
        let mut labels = label(shard);
        labels.push(("state", state.name().to_owned()));
        page.add("floe_transactional_ids", "Transactional ids, by state", labels, Number::Level(count as f64));
    }
    let counts = [
        ("floe_transactions_committed", "Transactions committed", txns.committed),
        ("floe_transactions_aborted", "Transactions aborted", txns.aborted),
        ("floe_transaction_markers", "Markers that partitions took", txns.markers),
        ("floe_transaction_marker_retries", "Ends some of whose markers had to be sent again", txns.marker_retries),
        ("floe_transaction_records", "Records appended to __transaction_state", host.records),
        ("floe_transaction_record_bytes", "Bytes of their batches", host.record_bytes),
        ("floe_transaction_refusals", "Decisions about transactions that could not be written", host.refused),
        ("floe_transaction_replayed_records", "Records of __transaction_state read back at start", host.replayed),
    ];
    for (name, help, count) in counts {
        page.add(name, help, label(shard), Number::Count(count));
    }
    let levels = [
        ("floe_transaction_partitions", "Partitions of __transaction_state whose ids are here", host.partitions),
        ("floe_transaction_partitions_loading", "Of them, those whose ids are not served yet", host.loading),
        ("floe_transaction_requests_waiting", "Requests about transactions that are not answered yet", host.waiting),
    ];
    for (name, help, value) in levels {
        page.add(name, help, label(shard), Number::Level(value as f64));
    }
    let spreads = [
        ("floe_transaction_marker_seconds", "From an end's being decided to its completion", &txns.marker_ns),
        ("floe_transaction_load_seconds", "From beginning to read a partition of ids to serving them", &host.load_ns),
    ];
    for (name, about, histogram) in spreads {
        page.add(name, about, label(shard), spread(histogram));
    }
}

fn spreads(page: &mut Page, shard: usize, metrics: &ShardMetrics) {
    for kind in RequestKind::ALL {
        let mut labels = label(shard);
        labels.push(("kind", kind.name().to_owned()));
        let about = "From a request's arrival to its answer; of a fetch with the time it waits for records";
        page.add("floe_request_seconds", about, labels, spread(&metrics.request_ns[kind as usize]));
    }
    let stages = [
        (
            "floe_receive_seconds",
            "From a request's first bytes to all of it; 0 for those that came whole",
            &metrics.driver.receive_ns,
        ),
        ("floe_turn_seconds", "From a request's arrival until it is begun: those before it go first", &metrics.turn_ns),
        (
            "floe_round_seconds",
            "Work of a shard's round: decoding, deciding and preparing what follows, for all requests that came",
            &metrics.driver.round_ns,
        ),
        ("floe_mesh_hop_seconds", "From a message to another shard until that shard takes it", &metrics.driver.hop_ns),
        (
            "floe_journal_wait_seconds",
            "From the first batch of a journal commit to its submission",
            &metrics.log.commit_wait_ns,
        ),
        ("floe_produce_append_seconds", "From a produce's arrival to its being appended", &metrics.append_ns),
        ("floe_produce_durable_seconds", "From then until its records are as durable as wanted", &metrics.durable_ns),
        ("floe_produce_acknowledge_seconds", "From then until it is answered", &metrics.acknowledge_ns),
        ("floe_send_seconds", "From an answer until the kernel has taken it", &metrics.send_ns),
        ("floe_journal_commit_seconds", "From a journal commit's submission to its completion", &metrics.log.commit_ns),
    ];
    for (name, about, histogram) in stages {
        page.add(name, about, label(shard), spread(histogram));
    }
}

fn spread(histogram: &Histogram) -> Number {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let bound = |ns: Option<u64>| ns.map_or(f64::INFINITY, seconds);
    let counts = histogram.buckets().map(|(ns, count)| (bound(ns), count)).collect();
    Number::Spread(Buckets { sum: seconds(histogram.sum_ns()), counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_numbers_stand_on_the_page() {
        let mut metrics =
            ShardMetrics { fetch_sessions: 4, admission_closed_ns: 1_500_000_000, ..ShardMetrics::default() };
        metrics.request_ns[1].record(3_000_000);
        metrics.durable_ns.record(700_000);
        metrics.turn_ns.record(1);
        metrics.log.commit_wait_ns.record(2_000_000);
        metrics.driver.hop_ns.record(0);
        (metrics.working_ns, metrics.paused_ns, metrics.driver.polled_ns) = (250_000_000, 500_000_000, 750_000_000);
        metrics.groups.groups.push(("classic", "Stable", 2));
        metrics.groups.counts.rewinds = 3;
        metrics.groups.counts.skips = 2;
        metrics.groups.counts.beyond_end = 1;
        metrics.group_host.records = 5;
        metrics.errors.count(3);
        metrics.errors.count(159);
        let text = page(&[Some(metrics), None]).text();
        for line in [
            "floe_shard_up{shard=\"1\"} 0.0",
            "floe_fetch_sessions{shard=\"0\"} 4.0",
            "floe_admission_closed_seconds_total{shard=\"0\"} 1.5",
            "floe_errors_total{shard=\"0\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1",
            "floe_groups{shard=\"0\",type=\"classic\",state=\"Stable\"} 2.0",
            "floe_group_rewinds_total{shard=\"0\"} 3",
            "floe_group_skips_total{shard=\"0\"} 2",
            "floe_group_offsets_beyond_end_total{shard=\"0\"} 1",
            "floe_group_records_total{shard=\"0\"} 5",
            "floe_group_load_seconds_count{shard=\"0\"} 0",
            "floe_request_seconds_sum{shard=\"0\",kind=\"fetch\"} 0.003",
            "floe_request_seconds_bucket{le=\"0.003145728\",shard=\"0\",kind=\"fetch\"} 1",
            "floe_request_seconds_bucket{le=\"+Inf\",shard=\"0\",kind=\"produce\"} 0",
            "floe_produce_durable_seconds_count{shard=\"0\"} 1",
            "floe_turn_seconds_count{shard=\"0\"} 1",
            "floe_journal_wait_seconds_sum{shard=\"0\"} 0.002",
            "floe_mesh_hop_seconds_count{shard=\"0\"} 1",
            "floe_receive_seconds_count{shard=\"0\"} 0",
            "floe_round_seconds_count{shard=\"0\"} 0",
            "floe_connections_working_seconds_total{shard=\"0\"} 0.25",
            "floe_connections_paused_seconds_total{shard=\"0\"} 0.5",
            "floe_shard_polled_seconds_total{shard=\"0\"} 0.75",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
