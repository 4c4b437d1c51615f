//! Checksums of what no batch's own checksum covers: base offset, length and leader epoch. In a segment that compaction has written offsets are
//! missing between batches, so an offset that was damaged on disk may fit between its neighbours. Its index has a sum for each chunk.

use std::collections::VecDeque;

use floe_wire::batch::LENGTH_END;

use super::segment::read_summed;

/// Bytes at the start of a batch that its checksum does not cover, up to that checksum.
const UNCOVERED_BYTES: usize = 17;

/// Goes on with the sum of a chunk (0 at its start) by the batch at the start of `bytes`.
pub(super) fn add(sum: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(&bytes[..UNCOVERED_BYTES.min(bytes.len())]);
    hasher.finalize()
}

/// The sum of a chunk; `None` when its bytes are not batches back to back.
pub(super) fn of(mut chunk: &[u8]) -> Option<u32> {
    let mut sum = 0;
    while !chunk.is_empty() {
        let length = chunk.get(LENGTH_END - 4..LENGTH_END)?;
        let length = i32::from_be_bytes(length.try_into().expect("4 bytes"));
        let bytes = LENGTH_END + usize::try_from(length).ok()?;
        let rest = chunk.get(bytes..)?;
        if bytes < UNCOVERED_BYTES {
            return None;
        }
        sum = add(sum, chunk);
        chunk = rest;
    }
    Some(sum)
}

/// The sums of a segment that is read from its start to its end, batch by batch.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Of the chunks that are not through: where each ends, and its sum.
    chunks: VecDeque<(u64, u32)>,
    /// Of the batches of the first of them that have been taken; `None` between two chunks.
    sum: Option<u32>,
    position: u64,
}

impl Sums {
    /// What the index file of a segment says; `None` when it is damaged, or of a kind that has no sums.
    pub fn read(index: &[u8]) -> Option<Sums> {
        let (len, entries) = read_summed(index)?;
        let ends = entries.iter().skip(1).map(|e| e.position).chain([len]);
        let chunks = ends.zip(entries.iter().map(|e| e.sum)).collect();
        Some(Sums { chunks, sum: None, position: 0 })
    }

    /// Takes the batch that comes next. `false`: the chunk that ends here does not hold its sum, or ended within the batch.
    pub fn take(&mut self, batch: &[u8]) -> bool {
        let sum = add(self.sum.unwrap_or(0), batch);
        self.sum = Some(sum);
        self.position += batch.len() as u64;
        match self.chunks.front() {
            Some((end, _)) if self.position < *end => true,
            Some(chunk) if *chunk == (self.position, sum) => {
                self.chunks.pop_front();
                self.sum = None;
                true
            }
            _ => false,
        }
    }

    /// Whether all batches that have been taken are known to be as they were written.
    pub fn is_between_chunks(&self) -> bool {
        self.sum.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::Segment;
    use crate::log::tests::make_batch;

    #[test]
    fn every_bit_that_no_batch_covers_counts() {
        let mut segment = Segment::new(0, 0);
        segment.version = 1;
        let mut bytes = Vec::new();
        for i in 0..200 {
            let mut batch = make_batch(1, 1000, (-1, -1, -1), 0);
            super::super::batch::stamp(&mut batch, 10 * i, 3);
            segment.push_summed(10 * i, 10 * i, &batch, 0);
            bytes.extend_from_slice(&batch);
        }
        let index = segment.summed_index_bytes(2000);
        let one = bytes.len() / 200;
        let read = |bytes: &[u8]| {
            let mut sums = Sums::read(&index).expect("just made");
            let taken = bytes.chunks(one).take_while(|batch| sums.take(batch)).count();
            (taken, sums.is_between_chunks())
        };
        assert_eq!(read(&bytes), (200, true));
        assert_eq!(read(&bytes[..one]), (1, false));
        let chunk = |i: usize| {
            let from = segment.index[i].position as usize;
            from..segment.chunk_end(i) as usize
        };
        assert_eq!(of(&bytes[chunk(1)]), Some(segment.index[1].sum));
        for bit in 0..UNCOVERED_BYTES * 8 {
            let at = chunk(1).start + one;
            bytes[at + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bytes), (chunk(1).end / one - 1, false), "bit {bit}");
            assert_ne!(of(&bytes[chunk(1)]), Some(segment.index[1].sum), "bit {bit}");
            bytes[at + bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(of(&bytes[1..one]), None);
        assert_eq!(of(&bytes[..one - 1]), None);
        assert!(Sums::read(&segment.index_bytes()).is_none());
    }
}
