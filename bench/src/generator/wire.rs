//! The two requests of the data path, Produce version 7 and Fetch version 10: the oldest that carry every codec, and without flexible fields.
//!
//! Answers are read with bounds checks and no allocation. Nothing here is shared with floe-wire.

use super::topics::Topics;

/// Produce.
pub const PRODUCE: i16 = 0;
/// Its version.
pub const PRODUCE_VERSION: i16 = 7;
/// Fetch.
pub const FETCH: i16 = 1;
/// Its version.
pub const FETCH_VERSION: i16 = 10;

/// Begins a request in `out`; [`end_request`] completes it.
pub fn begin_request(out: &mut Vec<u8>, key: i16, version: i16, correlation: i32) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    string(out, "floe-bench");
    at
}

/// Writes the size of the request that began at `at`; `more` bytes follow from elsewhere.
pub fn end_request(out: &mut [u8], at: usize, more: usize) {
    let size = (out.len() - at - 4 + more) as i32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

/// Everything of a Produce request before its topics.
pub fn produce_head(out: &mut Vec<u8>, acks: i16) {
    out.extend_from_slice(&(-1i16).to_be_bytes()); // no transactional id
    out.extend_from_slice(&acks.to_be_bytes());
    out.extend_from_slice(&30_000i32.to_be_bytes());
}

/// What a Fetch asks for, beside the partitions.
#[derive(Clone, Copy, Debug)]
pub struct FetchBounds {
    /// How long the broker may wait, in milliseconds.
    pub wait_ms_max: u32,
    /// Bytes of the whole answer.
    pub bytes_max: u32,
    /// Bytes of one partition.
    pub partition_bytes_max: u32,
}

/// Everything of a Fetch request before its topics. No session: every request names its partitions.
pub fn fetch_head(out: &mut Vec<u8>, bounds: FetchBounds) {
    out.extend_from_slice(&(-1i32).to_be_bytes()); // not a replica
    out.extend_from_slice(&bounds.wait_ms_max.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes()); // any byte is enough
    out.extend_from_slice(&bounds.bytes_max.to_be_bytes());
    out.push(0); // read uncommitted
    out.extend_from_slice(&0i32.to_be_bytes()); // no session id
    out.extend_from_slice(&(-1i32).to_be_bytes()); // and none to be made
}

/// One partition of a Fetch request.
pub fn fetch_partition(out: &mut Vec<u8>, partition: u32, offset: i64, bounds: FetchBounds) {
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes()); // leader epoch unknown
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&(-1i64).to_be_bytes()); // log start: of replicas only
    out.extend_from_slice(&bounds.partition_bytes_max.to_be_bytes());
}

/// Everything of a Fetch request behind its topics.
pub fn fetch_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(&0i32.to_be_bytes()); // nothing forgotten
}

/// A string with its length.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Calls `each` with (partition over all topics, error code) for every partition of a Produce answer, its correlation id left out.
pub fn produce_answer(answer: &[u8], topics: &Topics, mut each: impl FnMut(u32, i16)) -> Option<()> {
    let mut reader = Reader(answer);
    for _ in 0..reader.u32()? {
        let topic = topics.index_of(reader.string()?)?;
        for _ in 0..reader.u32()? {
            let partition = reader.u32()?;
            let error = reader.i16()?;
            reader.take(24)?; // base offset, append time, log start
            each(topics.global(topic, partition)?, error);
        }
    }
    Some(())
}

/// One partition of a Fetch answer.
pub struct Fetched<'a> {
    /// Counted over all topics.
    pub partition: u32,
    /// Kafka's code.
    pub error: i16,
    /// Batches, the last perhaps cut off.
    pub records: &'a [u8],
}

/// Calls `each` for every partition of a Fetch answer, its correlation id left out; returns the error of the whole.
pub fn fetch_answer<'a>(answer: &'a [u8], topics: &Topics, mut each: impl FnMut(Fetched<'a>)) -> Option<i16> {
    let mut reader = Reader(answer);
    reader.take(4)?; // throttle time
    let error_of_all = reader.i16()?;
    reader.take(4)?; // session
    for _ in 0..reader.u32()? {
        let topic = topics.index_of(reader.string()?)?;
        for _ in 0..reader.u32()? {
            let partition = reader.u32()?;
            let error = reader.i16()?;
            reader.take(24)?; // high watermark, last stable offset, log start
            let aborted = reader.u32()?;
            reader.take(if aborted == u32::MAX { 0 } else { aborted as usize * 16 })?;
            let bytes = reader.u32()?;
            let records = reader.take(if bytes == u32::MAX { 0 } else { bytes as usize })?;
            each(Fetched { partition: topics.global(topic, partition)?, error, records });
        }
    }
    Some(error_of_all)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.i16()?).ok()?;
        self.take(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: FetchBounds = FetchBounds { wait_ms_max: 1, bytes_max: 2, partition_bytes_max: 3 };

    /// Two views of the protocol must agree, to the last byte.
    #[test]
    fn requests_are_what_another_decoder_reads() {
        use floe_wire::messages::Message;
        use floe_wire::messages::fetch::FetchRequest;
        use floe_wire::messages::produce::ProduceRequest;
        let mut out = Vec::new();
        fetch_head(&mut out, BOUNDS);
        out.extend_from_slice(&1i32.to_be_bytes());
        string(&mut out, "a-00000");
        out.extend_from_slice(&1i32.to_be_bytes());
        fetch_partition(&mut out, 7, 8, BOUNDS);
        fetch_tail(&mut out);
        let fetch = FetchRequest::decode_all(&out, FETCH_VERSION).expect("a Fetch request");
        assert_eq!((fetch.max_wait_ms, fetch.max_bytes, fetch.session_epoch), (1, 2, -1));
        let of = &fetch.topics[0].partitions[0];
        assert_eq!(
            (&*fetch.topics[0].topic, of.partition, of.fetch_offset, of.partition_max_bytes),
            ("a-00000", 7, 8, 3)
        );

        out.clear();
        produce_head(&mut out, -1);
        out.extend_from_slice(&0i32.to_be_bytes());
        let produce = ProduceRequest::decode_all(&out, PRODUCE_VERSION).expect("a Produce request");
        assert_eq!((produce.acks, produce.timeout_ms, produce.topic_data.len()), (-1, 30_000, 0));
    }

    #[test]
    fn cut_off_answers_are_refused() {
        let topics = Topics::new("a", 1, 2);
        let mut answer = vec![0; 4 + 2 + 4];
        answer.extend_from_slice(&1i32.to_be_bytes());
        string(&mut answer, "a-00000");
        answer.extend_from_slice(&1i32.to_be_bytes());
        answer.extend_from_slice(&1i32.to_be_bytes()); // partition
        answer.extend_from_slice(&[0; 2 + 24]);
        answer.extend_from_slice(&(-1i32).to_be_bytes()); // nothing aborted
        answer.extend_from_slice(&3i32.to_be_bytes());
        answer.extend_from_slice(b"xyz");
        let mut seen = Vec::new();
        let read = fetch_answer(&answer, &topics, |fetched| {
            seen.push((fetched.partition, fetched.error, fetched.records.to_vec()))
        });
        assert_eq!((read, seen), (Some(0), vec![(1, 0, b"xyz".to_vec())]));
        for length in 0..answer.len() {
            assert_eq!(fetch_answer(&answer[..length], &topics, |_| {}), None, "{length}");
        }
    }
}
