//! The shards' counters as rows of the metrics page, labelled by shard.

use floe_engine::metrics::ShardMetrics;
use floe_wire::api::APIS;

use super::page::{Labels, Number, Page};
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
    for (api, count) in APIS.iter().zip(metrics.requests).filter(|(_, count)| *count > 0) {
        let mut labels = label(shard);
        labels.push(("api", api.name.to_owned()));
        page.add("floe_requests", "Requests taken, by API", labels, Number::Count(count));
    }
    let log = &metrics.log;
    let counts = [
        ("floe_request_bytes", "Bytes of requests", metrics.bytes_in),
        ("floe_reply_bytes", "Bytes of replies", metrics.bytes_out),
        ("floe_request_errors", "Partitions and topics answered with an error", metrics.errors),
        ("floe_connections_refused", "Connections closed for what they sent", metrics.connections_refused),
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
        ("floe_segments_removed", "Segments removed by retention or DeleteRecords", log.segments_removed),
    ];
    for (name, help, count) in counts {
        page.add(name, help, label(shard), Number::Count(count));
    }
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
    let closed = Number::Seconds(metrics.admission_closed_ns as f64 / 1e9);
    page.add("floe_admission_closed_seconds", "Time for which no client was read from", label(shard), closed);
    let levels = [
        ("floe_request_bytes_held", "Bytes of requests without an answer yet", metrics.request_bytes_held),
        ("floe_answer_bytes_held", "Memory in answers that are not sent", metrics.answer_bytes_held),
        ("floe_connections", "Connections open", metrics.connections),
        ("floe_unsettled_bytes", "Bytes in the journal that are in no segment yet", log.unsettled_bytes),
        ("floe_log_memory_bytes", "Memory held by the newest records", log.memory_bytes),
    ];
    for (name, help, value) in levels {
        page.add(name, help, label(shard), Number::Level(value as f64));
    }
}
