//! A shard's counters and distributions: plain numbers, read by the admin thread through [`crate::event::AdminRequest::Metrics`].

use floe_wire::api::{APIS, Api};

use crate::group::GroupMetrics;
use crate::log::LogMetrics;
use crate::txn::TxnMetrics;

/// Buckets of a histogram: four to the doubling, from 1 microsecond to some minutes.
const BUCKETS: usize = 116;
/// Bits of a value that choose among the buckets of one doubling.
const SUB_BITS: u32 = 2;
/// Values below 2^10 ns share the first bucket.
const FIRST_BITS: u32 = 10;

/// A distribution of durations in fixed memory: recording is a shift and an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKETS], sum_ns: 0 }
    }
}

impl Histogram {
    /// Enters a duration in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Sum of all durations in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The exclusive upper bound of each bucket in nanoseconds, and how many durations lie in it; the last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        self.counts.iter().enumerate().map(|(at, count)| ((at + 1 < BUCKETS).then(|| bound_of(at)), *count))
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

fn bucket_of(ns: u64) -> usize {
    let Some(octave) = (63 - (ns | 1).leading_zeros()).checked_sub(FIRST_BITS) else { return 0 };
    let sub = (ns >> (octave + FIRST_BITS - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    (1 + ((octave as usize) << SUB_BITS) + sub).min(BUCKETS - 1)
}

fn bound_of(bucket: usize) -> u64 {
    let (octave, sub) = (bucket >> SUB_BITS, bucket as u64 & ((1 << SUB_BITS) - 1));
    ((1 << SUB_BITS) + sub) << (octave as u32 + FIRST_BITS - SUB_BITS)
}

/// Which requests' durations stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Produce.
    Produce,
    /// Fetch, with the time that it waits for records.
    Fetch,
    /// All others.
    Other,
}

impl RequestKind {
    /// All of them, in the order of [`ShardMetrics::request_ns`].
    pub const ALL: [RequestKind; 3] = [RequestKind::Produce, RequestKind::Fetch, RequestKind::Other];

    /// That of an API.
    pub fn of(key: i16) -> RequestKind {
        *RequestKind::ALL.get(usize::try_from(key).unwrap_or(usize::MAX)).unwrap_or(&RequestKind::Other)
    }

    /// Its name on the metrics page.
    pub fn name(self) -> &'static str {
        ["produce", "fetch", "other"][self as usize]
    }
}

/// Kafka's error codes begin here (UNKNOWN_SERVER_ERROR).
const ERROR_FIRST: i16 = -1;
/// Codes counted one by one; those above stand together in the last place.
const ERRORS: usize = 160;

/// How often each of Kafka's error codes was answered for a part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCounts([u64; ERRORS]);

impl Default for ErrorCounts {
    fn default() -> ErrorCounts {
        ErrorCounts([0; ERRORS])
    }
}

impl ErrorCounts {
    /// Counts a part's code; none is none.
    pub fn count(&mut self, code: i16) {
        if code != 0 {
            self.0[usize::try_from(code - ERROR_FIRST).map_or(ERRORS - 1, |at| at.min(ERRORS - 1))] += 1;
        }
    }

    /// The codes that were answered, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (i16, u64)> {
        let numbered = self.0.iter().zip(ERROR_FIRST..);
        numbered.filter(|(count, _)| **count > 0).map(|(count, code)| (code, *count))
    }
}

/// Requests, by row of `floe_wire::api::APIS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCounts([u64; APIS.len()]);

impl Default for RequestCounts {
    fn default() -> RequestCounts {
        RequestCounts([0; APIS.len()])
    }
}

impl RequestCounts {
    /// Counts a request of an API that is in the table.
    pub fn count(&mut self, api: &Api) {
        self.0[APIS.iter().position(|row| row.key == api.key).expect("of the table")] += 1;
    }

    /// The APIs that were asked for, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Api, u64)> {
        APIS.iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

/// What only the driver of a shard can measure: it fills this in on an answer's way to the admin thread.
#[derive(Clone, Debug, Default)]
pub struct DriverMetrics {
    /// From the moment at which part of a request was there until all of it was; 0 for those that came whole.
    pub receive_ns: Histogram,
    /// From a message's being given to the mesh until the receiving shard's round took it in.
    pub hop_ns: Histogram,
    /// Rounds with inputs: from taking them to going back to the kernel. Decoding, deciding and preparing what follows is in here.
    pub round_ns: Histogram,
    /// Time spent looking for work instead of sleeping (`spin.us`), in nanoseconds.
    pub polled_ns: u64,
}

/// What the host of a shard's coordinators counts.
#[derive(Clone, Debug, Default)]
pub struct HostMetrics {
    /// Records appended to the coordinators' topic.
    pub records: u64,
    /// Bytes of their batches.
    pub record_bytes: u64,
    /// Decisions whose records could not be appended.
    pub refused: u64,
    /// Records read back at start.
    pub replayed: u64,
    /// From beginning to read a partition to its being served.
    pub load_ns: Histogram,
    /// Partitions of the topic here (goes up and down).
    pub partitions: u64,
    /// Of them, those that are not served yet (goes up and down).
    pub loading: u64,
    /// Requests that are not answered yet (goes up and down).
    pub waiting: u64,
}

/// All counters of one shard; only ever growing unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct ShardMetrics {
    /// The log's.
    pub log: LogMetrics,
    /// Requests taken.
    pub requests: RequestCounts,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
    /// Partitions answered with an error in Produce, Fetch and ListOffsets, by its code.
    pub errors: ErrorCounts,
    /// The driver's.
    pub driver: DriverMetrics,
    /// From a request's arrival until it is begun: it waits for those before it on its connection.
    pub turn_ns: Histogram,
    /// From a request's arrival to its answer's being given to the driver, by [`RequestKind`].
    pub request_ns: [Histogram; RequestKind::ALL.len()],
    /// From then until the kernel had taken it.
    pub send_ns: Histogram,
    /// From a produce's arrival to its being appended (on the shard that owns the partitions; once per shard).
    pub append_ns: Histogram,
    /// From being appended to having reached its tier; only of those that had to wait.
    pub durable_ns: Histogram,
    /// From the last of its shards having that to the answer.
    pub acknowledge_ns: Histogram,
    /// Connections open (goes up and down).
    pub connections: u64,
    /// Connections given to other shards.
    pub connections_moved: u64,
    /// Connections closed for what they sent, or refused.
    pub connections_refused: u64,
    /// For how long connections had requests other than Fetch at work, summed over connections, in nanoseconds.
    pub working_ns: u64,
    /// For how long connections were not read because of too much of theirs at work or unsent, summed over connections, in nanoseconds.
    pub paused_ns: u64,
    /// Times that a client's fetches were to wait until a member of it has taken in a change of its group.
    pub fetch_holds: u64,
    /// Connections closed for having been idle.
    pub connections_idle_closed: u64,
    /// Connections closed for not reading their answers while memory was spent.
    pub slow_readers_closed: u64,
    /// Times that reading from all connections was stopped.
    pub admissions_closed: u64,
    /// For how long it was, in nanoseconds.
    pub admission_closed_ns: u64,
    /// Bytes of requests without an answer yet (goes up and down).
    pub request_bytes_held: u64,
    /// Bytes of memory in answers that are not sent (goes up and down).
    pub answer_bytes_held: u64,
    /// Fetch sessions (goes up and down).
    pub fetch_sessions: u64,
    /// Partitions in them (goes up and down).
    pub fetch_session_partitions: u64,
    /// Of groups.
    pub groups: GroupMetrics,
    /// Of the host of their coordinators.
    pub group_host: HostMetrics,
    /// Of the transactional ids whose coordinator is here.
    pub txns: TxnMetrics,
    /// Of their host.
    pub txn_host: HostMetrics,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_below_its_bound_and_not_below_the_one_before() {
        let samples = (0..64).flat_map(|bit| [0, 1, 7].map(|low| (1_u64 << bit) + low)).chain([0, 1023, u64::MAX]);
        for ns in samples {
            let bucket = bucket_of(ns);
            assert!(bucket == BUCKETS - 1 || ns < bound_of(bucket), "{ns} in {bucket}");
            assert!(bucket == 0 || ns >= bound_of(bucket - 1), "{ns} in {bucket}");
        }
        assert_eq!((bound_of(0), bound_of(4), bound_of(8)), (1024, 2048, 4096));
        assert!((1..BUCKETS).all(|at| bound_of(at) > bound_of(at - 1)));
        assert!(bound_of(BUCKETS - 2) > 300_000_000_000, "five minutes are told apart");
    }

    #[test]
    fn counts_add_up() {
        let mut histogram = Histogram::default();
        [5, 2_000, 2_000_000, u64::MAX].into_iter().for_each(|ns| histogram.record(ns));
        assert_eq!((histogram.count(), histogram.sum_ns()), (4, u64::MAX));
        assert_eq!(histogram.buckets().map(|(_, count)| count).sum::<u64>(), 4);
        assert_eq!(histogram.buckets().last(), Some((None, 1)));
        let mut errors = ErrorCounts::default();
        [-1, 0, 3, 3, 999].into_iter().for_each(|code| errors.count(code));
        assert_eq!(errors.iter().collect::<Vec<_>>(), [(-1, 1), (3, 2), (158, 1)]);
        let kinds: Vec<_> = [0, 1, 2, -5, 99].map(|key| RequestKind::of(key).name()).into();
        assert_eq!(kinds, ["produce", "fetch", "other", "other", "other"]);
    }
}
