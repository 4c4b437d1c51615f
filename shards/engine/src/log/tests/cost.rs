//! What appending costs, measured: `cargo test --release -p floe-engine append_cost -- --ignored --nocapture`.

use super::*;

#[test]
#[ignore = "a measurement, for a release build"]
#[allow(clippy::disallowed_methods)]
fn append_cost() {
    for (partitions, bytes, per_round) in [(1, 1024, 64), (1000, 1024, 64), (1000, 200, 64), (100, 65_536, 8)] {
        let disk = Disk { forgets_segments: true, ..Disk::default() };
        let mut node = Node::start_with(LogSettings::default(), disk, 0, 1, partitions, LogConfig::default());
        let batch = make_batch(10, bytes, (-1, -1, -1), 1_000_000);
        let info = batch::header(&batch).expect("made so");
        let ixs: Vec<PartitionIx> = (0..partitions).map(|p| node.ix(p)).collect();
        let count = ((2u64 << 30) / bytes as u64).min(2_000_000);
        let (since, mut engine) = (std::time::Instant::now(), std::time::Duration::ZERO);
        for i in 0..count {
            let begun = std::time::Instant::now();
            let ix = ixs[(i % partitions as u64) as usize];
            while let Err(error) = node.log.append(node.now, ix, &batch, &info, 0) {
                assert_eq!(error, AppendError::Full);
                node.run();
            }
            engine += begun.elapsed();
            if i % per_round == 0 {
                node.run();
                node.events.clear();
                node.done.clear();
            }
        }
        let all = since.elapsed();
        let m = node.log.metrics().clone();
        println!(
            "{partitions} partitions, {bytes} bytes: append {:.0} ns, all with settling and memory as the disk {:.0} ns a batch ({:.1} GB/s); per byte appended: journal {:.2}, segments {:.2}, carried {:.3}; {} rounds, {} checkpoints",
            engine.as_nanos() as f64 / count as f64,
            all.as_nanos() as f64 / count as f64,
            (count * bytes as u64) as f64 / all.as_nanos() as f64,
            m.journal_bytes as f64 / m.batch_bytes as f64,
            m.settled_bytes as f64 / m.batch_bytes as f64,
            m.carried_bytes as f64 / m.batch_bytes as f64,
            m.settle_rounds,
            m.checkpoints,
        );
    }
}
