//! Which batch leaves next: full ones at once, others when their linger is over; without a rate only full ones.
//!
//! Records without keys go batch by batch (as Java's and newer librdkafka's partitioners do), so that a batch is a range of the schedule and needs no
//! memory. Records with keys are gathered by partition.

use std::collections::VecDeque;
use std::rc::Rc;

use super::records::Template;
use super::schedule::{Chooser, Schedule};

/// A batch that may leave.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Counted over all topics.
    pub partition: u32,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Due whenever it is sent, without keys.
    Now { records: usize },
    /// A range of the schedule, without keys.
    Range { schedule: Schedule, first: u64, records: usize },
    /// Records with keys: (due, key). Without a rate due is 0.
    Keyed { records: Rc<Vec<(u64, u64)>> },
}

impl Ready {
    /// How many records.
    pub fn records(&self) -> usize {
        match &self.what {
            What::Now { records } | What::Range { records, .. } => *records,
            What::Keyed { records } => records.len(),
        }
    }

    /// When its oldest record was due; none without a rate.
    pub fn first_due_ns(&self) -> Option<u64> {
        match &self.what {
            What::Now { .. } => None,
            What::Range { schedule, first, .. } => Some(schedule.due_ns(*first)),
            What::Keyed { records } => Some(records[0].0).filter(|&due| due > 0),
        }
    }

    /// When record `at` was due (without a rate `now_ns`), and its key.
    pub fn record(&self, at: usize, now_ns: u64) -> (u64, Option<u64>) {
        match &self.what {
            What::Now { .. } => (now_ns, None),
            What::Range { schedule, first, .. } => (schedule.due_ns(first + at as u64), None),
            What::Keyed { records } => {
                let (due, key) = records[at];
                (if due > 0 { due } else { now_ns }, Some(key))
            }
        }
    }
}

/// Makes batches out of a schedule.
pub struct Batches {
    chooser: Chooser,
    schedule: Option<Schedule>,
    linger_ns: u64,
    batch_records: u64,
    /// All its batches are full ones that were prepared.
    whole_only: bool,
    records_max: u64,
    next: u64,
    gathering: Vec<Vec<(u64, u64)>>,
    /// Records in there.
    gathered: u64,
    /// Partitions below this have nothing gathered any more; only without a rate, when everything was made.
    emptied: usize,
    /// With a rate: partitions that gather, by the due time of their first record; one that left meanwhile is passed over.
    lingering: VecDeque<(u64, u32)>,
    put_back: Option<Ready>,
}

impl Batches {
    /// For one producer.
    pub fn new(chooser: Chooser, linger_ns: u64, template: &Template) -> Batches {
        let whole_only = template.is_prepared();
        // Prepared batches have their keys already.
        let gathering =
            if chooser.has_keys() && !whole_only { vec![vec![]; chooser.partitions() as usize] } else { vec![] };
        Batches {
            chooser,
            schedule: None,
            linger_ns,
            batch_records: template.records_max() as u64,
            whole_only,
            records_max: u64::MAX,
            next: 0,
            gathering,
            gathered: 0,
            emptied: 0,
            lingering: VecDeque::new(),
            put_back: None,
        }
    }

    /// From now on records are due at their times.
    pub fn schedule(&mut self, schedule: Option<Schedule>) {
        self.schedule = schedule;
    }

    /// It ends after so many records.
    pub fn limit(&mut self, records_max: u64) {
        self.records_max = records_max;
    }

    /// Has everything that it was to make been made?
    pub fn is_over(&self) -> bool {
        self.next >= self.records_max && self.put_back.is_none() && self.gathered == 0
    }

    /// Nothing that is due after `now_ns` is made; without a rate nothing at all.
    pub fn end_at(&mut self, now_ns: u64) {
        let made = self.next;
        self.records_max =
            self.schedule.map_or(made, |schedule| schedule.due_until(now_ns)).clamp(made, self.records_max);
    }

    /// Calls `each` with when every record that is due at `now_ns`, and was not made, was due.
    pub fn unmade(&self, now_ns: u64, mut each: impl FnMut(u64)) {
        let Some(schedule) = self.schedule else { return };
        (self.next..schedule.due_until(now_ns).min(self.records_max)).for_each(|at| each(schedule.due_ns(at)));
    }

    /// Gives a batch back: it is the next one again.
    pub fn put_back(&mut self, batch: Ready) {
        self.put_back = Some(batch);
    }

    /// The batch that leaves at `now_ns`, if one does.
    pub fn next(&mut self, now_ns: u64) -> Option<Ready> {
        if let Some(batch) = self.put_back.take() {
            return Some(batch);
        }
        if self.gathering.is_empty() { self.next_without_keys(now_ns) } else { self.next_with_keys(now_ns) }
    }

    /// When [`Batches::next`] gives something, at the earliest.
    pub fn wake_ns(&self) -> Option<u64> {
        let schedule = self.schedule?;
        if self.put_back.is_some() {
            return Some(0);
        }
        let lingering = self.lingering.front().map(|(due, _)| due + self.linger_ns);
        if self.next >= self.records_max {
            return lingering;
        }
        if self.gathering.is_empty() {
            let full = schedule.due_ns(self.next + self.batch_records - 1);
            return Some(full.min(schedule.due_ns(self.next) + self.linger_ns));
        }
        Some(lingering.unwrap_or(u64::MAX).min(schedule.due_ns(self.next)))
    }

    fn next_without_keys(&mut self, now_ns: u64) -> Option<Ready> {
        let left = self.records_max - self.next;
        let Some(schedule) = self.schedule else {
            let records = if self.whole_only { self.batch_records } else { self.batch_records.min(left) };
            if left == 0 {
                return None;
            }
            self.next = (self.next + records).min(self.records_max);
            return Some(Ready { partition: self.chooser.partition(), what: What::Now { records: records as usize } });
        };
        let due = schedule.due_until(now_ns).saturating_sub(self.next).min(left).min(self.batch_records);
        if due == 0 || (due < self.batch_records && schedule.due_ns(self.next) + self.linger_ns > now_ns) {
            return None;
        }
        let first = self.next;
        self.next += due;
        let what = What::Range { schedule, first, records: due as usize };
        Some(Ready { partition: self.chooser.partition(), what })
    }

    fn next_with_keys(&mut self, now_ns: u64) -> Option<Ready> {
        let due_until = self.schedule.map_or(u64::MAX, |schedule| schedule.due_until(now_ns)).min(self.records_max);
        while self.next < due_until {
            let due_ns = self.schedule.map_or(0, |schedule| schedule.due_ns(self.next));
            self.next += 1;
            let key = self.chooser.key().expect("gathers only with keys");
            let partition = self.chooser.partition_of(key);
            let gathered = &mut self.gathering[partition as usize];
            if gathered.is_empty() && self.schedule.is_some() {
                self.lingering.push_back((due_ns, partition));
            }
            gathered.push((due_ns, key));
            self.gathered += 1;
            if gathered.len() as u64 >= self.batch_records {
                return Some(self.take(partition));
            }
        }
        if self.schedule.is_none() {
            // Everything was made: what is left leaves.
            self.emptied += self.gathering[self.emptied..].iter().position(|records| !records.is_empty())?;
            return Some(self.take(self.emptied as u32));
        }
        while let Some(&(due_ns, partition)) = self.lingering.front() {
            let is_current = self.gathering[partition as usize].first().is_some_and(|&(first, _)| first == due_ns);
            if is_current && due_ns + self.linger_ns > now_ns {
                return None;
            }
            self.lingering.pop_front();
            if is_current {
                return Some(self.take(partition));
            }
        }
        None
    }

    fn take(&mut self, partition: u32) -> Ready {
        let records = std::mem::take(&mut self.gathering[partition as usize]);
        self.gathered -= records.len() as u64;
        Ready { partition, what: What::Keyed { records: Rc::new(records) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn batches(more: &str, rate: Option<f64>, records_max: Option<u64>) -> Batches {
        let text = format!("kind = 'produce'\nrecord_bytes = 100\npartitions = 4\nbatch_records_max = 5\n{more}");
        let workload = Workload::parse(&text, "").expect("parses");
        let chooser = Chooser::new(&workload, 0);
        let template = Template::new(&workload, chooser.has_keys(), 1);
        let mut batches = Batches::new(chooser, (workload.linger_ms * 1e6) as u64, &template);
        batches.schedule(rate.map(|rate| Schedule::new(1_000_000, rate, 0, 1)));
        batches.limit(records_max.unwrap_or(u64::MAX));
        batches
    }

    /// Partition and number of records of everything that leaves at a time, in milliseconds after the start.
    fn at(batches: &mut Batches, ms: u64) -> Vec<(u32, usize)> {
        std::iter::from_fn(|| batches.next(1_000_000 + ms * 1_000_000))
            .map(|batch| (batch.partition, batch.records()))
            .collect()
    }

    #[test]
    fn full_batches_leave_at_once_and_others_after_their_linger() {
        let mut none = batches("", Some(1000.0), None);
        assert_eq!((at(&mut none, 0), at(&mut none, 0), at(&mut none, 3)), (vec![(0, 1)], vec![], vec![(1, 3)]));
        // A stall: all that is due leaves in full batches, the rest behind them.
        assert_eq!(at(&mut none, 15), [(2, 5), (3, 5), (0, 2)]);
        assert_eq!(none.wake_ns(), Some(1_000_000 + 16_000_000));
        let mut linger = batches("linger_ms = 3", Some(1000.0), None);
        assert_eq!(linger.wake_ns(), Some(4_000_000));
        assert_eq!((at(&mut linger, 2), at(&mut linger, 3)), (vec![], vec![(0, 4)]));
        let mut full = batches("linger_ms = 100", Some(1000.0), None);
        assert_eq!((at(&mut full, 3), full.wake_ns()), (vec![], Some(5_000_000)));
        assert_eq!(at(&mut full, 4), [(0, 5)]);
    }

    #[test]
    fn records_with_keys_are_gathered_by_partition() {
        for (linger, early) in [("", 11), ("linger_ms = 20", 0)] {
            let mut keyed = batches(&format!("keys = 'uniform'\n{linger}"), Some(1000.0), None);
            let first: usize = at(&mut keyed, 10).iter().map(|(_, records)| records).sum();
            assert!(first >= early, "{first}");
            let mut seen = first;
            for ms in 11..200 {
                seen += at(&mut keyed, ms).iter().map(|(_, records)| records).sum::<usize>();
            }
            let due = 200;
            assert!(seen <= due && seen + if early > 0 { 0 } else { 20 } >= due, "{seen}");
        }
    }

    #[test]
    fn a_load_of_so_many_records_ends_with_the_last() {
        for keys in ["none", "uniform"] {
            let mut limited = batches(&format!("keys = '{keys}'"), None, Some(23));
            let sizes = at(&mut limited, 0);
            assert_eq!(sizes.iter().map(|(_, records)| records).sum::<usize>(), 23, "{keys}");
            assert!(limited.is_over() && sizes.iter().all(|&(_, records)| records <= 5));
        }
    }

    #[test]
    fn each_record_keeps_its_due_time() {
        let mut batches = batches("", Some(1000.0), None);
        let batch = batches.next(1_000_000 + 3_500_000).expect("four are due");
        let due: Vec<_> = (0..batch.records()).map(|at| batch.record(at, 99).0).collect();
        assert_eq!(due, [1_000_000, 2_000_000, 3_000_000, 4_000_000]);
        assert_eq!(batch.first_due_ns(), Some(1_000_000));
    }
}
