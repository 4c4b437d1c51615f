//! Records by their timestamps: exact in the tail and in segments, whatever the codec.

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;

use super::*;

fn timed(codec: Codec, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for timestamp in timestamps {
        // Values that do not compress, so that all codecs fill segments alike.
        let value: Vec<u8> = (0..900i64).map(|i| (((timestamp + i) * (timestamp ^ (i * 7919))) >> 3) as u8).collect();
        builder.push(BatchRecord { timestamp: *timestamp, key: None, value: Some(&value), headers: &[] });
    }
    builder.finish().to_vec()
}

impl Node {
    fn append_bytes(&mut self, partition: i32, batch: &[u8]) -> i64 {
        let info = batch::header(batch).expect("made so");
        let ix = self.ix(partition);
        self.log.append(self.now, ix, batch, &info, 3).expect("room").base_offset
    }

    fn looked_up(&mut self, outcome: LookupOutcome) -> Option<(i64, i64)> {
        let found = match outcome {
            LookupOutcome::Ready(found) => found,
            LookupOutcome::Cold(wanted) => {
                self.run();
                let done = |e: &LogEvent| matches!(e, LogEvent::LookupDone { ticket, .. } if *ticket == wanted);
                let at = self.events.iter().position(done).expect("the disk answers at once");
                match self.events.remove(at) {
                    LogEvent::LookupDone { result, .. } => result.unwrap(),
                    _ => unreachable!(),
                }
            }
        };
        found.map(|f| (f.offset, f.timestamp_ms))
    }

    fn by_time(&mut self, partition: i32, timestamp_ms: i64) -> Option<(i64, i64)> {
        let ix = self.ix(partition);
        let outcome = self.log.lookup_timestamp(self.now, ix, timestamp_ms, &mut self.fx).unwrap();
        self.looked_up(outcome)
    }

    fn latest(&mut self, partition: i32) -> Option<(i64, i64)> {
        let ix = self.ix(partition);
        let outcome = self.log.max_timestamp(self.now, ix, &mut self.fx).unwrap();
        self.looked_up(outcome)
    }
}

/// Four records each, their times 0, 30, 10, 20 past a multiple of 100: the second of each is its highest.
#[test]
fn exact_in_segments_and_in_the_tail() {
    for codec in Codec::ALL {
        let mut node =
            Node::start(Disk::default(), 0, 1, 1, LogConfig { segment_bytes: 100_000, ..LogConfig::default() });
        for i in 0..500 {
            let t = i * 100;
            node.append_bytes(0, &timed(codec, &[t, t + 30, t + 10, t + 20]));
            node.run();
        }
        assert!(node.p(0).segments.len() > 3, "{codec:?}: something settled");
        for restart in [false, true] {
            if restart {
                node = Node::start(node.disk, 0, 1, 1, LogConfig::default());
            }
            for i in [0i64, 1, 17, 250, 498, 499] {
                let (base, t) = (i * 4, i * 100);
                for (asked, expected) in [(t - 50, (base, t)), (t, (base, t)), (t + 1, (base + 1, t + 30))] {
                    assert_eq!(node.by_time(0, asked), Some(expected), "{codec:?}, {asked}, restarted: {restart}");
                }
            }
            assert_eq!(node.by_time(0, 49_931), None);
            assert_eq!(node.latest(0), Some((1997, 49_930)), "{codec:?}");
        }
    }
}

#[test]
fn the_highest_timestamp_may_stand_anywhere() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { segment_bytes: 100_000, ..LogConfig::default() });
    assert_eq!(node.latest(0), None);
    for i in 0..200 {
        let t = if i == 20 { 1_000_000 } else { i };
        node.append_bytes(0, &timed(Codec::None, &[t, t + 1, t + 1]));
        node.run();
    }
    assert_eq!(node.latest(0), Some((61, 1_000_001)), "the first of those that share it");
    // Once it is deleted the next one counts, in what is left.
    let ix = node.ix(0);
    node.log.delete_records(node.now, ix, 150).unwrap();
    node.run();
    assert_eq!(node.latest(0), Some((598, 200)));
    assert_eq!(node.by_time(0, 0), Some((150, 50)), "not below the log start");
    // Not shown before it is committed.
    node.fault = |what| if matches!(what, DiskOp::Write { .. }) { None } else { Some(Ok(())) };
    node.append_bytes(0, &timed(Codec::None, &[5_000_000]));
    node.run();
    assert_eq!(node.latest(0), Some((598, 200)));
    assert_eq!(node.by_time(0, 2_000_000), None);
}
