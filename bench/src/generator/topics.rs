//! The topics of one run. Their partitions are counted through over all topics: topic t's partition p is t * partitions + p.
//!
//! Names have one length, a number of five digits at their end: an answer's topic is found without a table.

use crate::client::Client;

/// Digits of a topic's number.
const DIGITS: usize = 5;

/// Topics made for one run.
#[derive(Clone, Debug)]
pub struct Topics {
    names: Vec<String>,
    partitions: u32,
}

impl Topics {
    /// `count` topics whose names begin with `prefix`.
    pub fn new(prefix: &str, count: u32, partitions: u32) -> Topics {
        let names = (0..count).map(|at| format!("{prefix}-{at:0width$}", width = DIGITS)).collect();
        Topics { names, partitions }
    }

    /// Creates them, and waits until every partition has a leader.
    pub fn create(&self, client: &mut Client, configs: &[(String, String)]) -> Result<(), String> {
        client.create_topics(&self.names, self.partitions as i32, configs).map_err(|error| error.to_string())
    }

    /// Writes a record into every partition: what only the first one costs belongs to no measurement.
    pub fn touch(&self, client: &mut Client) -> Result<(), String> {
        let mut touched = self.names.iter().map(|name| client.touch(name, self.partitions as i32));
        touched.try_for_each(|done| done).map_err(|error| error.to_string())
    }

    /// Deletes them.
    pub fn delete(&self, client: &mut Client) -> Result<(), String> {
        client.delete_topics(&self.names).map_err(|error| error.to_string())
    }

    /// Partitions of all.
    pub fn total(&self) -> u32 {
        self.names.len() as u32 * self.partitions
    }

    /// Topic name and partition in it.
    pub fn place(&self, global: u32) -> (&str, u32) {
        (&self.names[(global / self.partitions) as usize], global % self.partitions)
    }

    /// Number of the topic in which this partition is.
    pub fn topic_of(&self, global: u32) -> u32 {
        global / self.partitions
    }

    /// The number of a topic of ours.
    pub fn index_of(&self, name: &[u8]) -> Option<u32> {
        let digits = name.get(name.len().checked_sub(DIGITS)?..)?;
        let index = digits
            .iter()
            .try_fold(0u32, |sum, &digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))?;
        (self.names.get(index as usize)?.as_bytes() == name).then_some(index)
    }

    /// The partition counted over all topics.
    pub fn global(&self, topic: u32, partition: u32) -> Option<u32> {
        (partition < self.partitions).then(|| topic * self.partitions + partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        let topics = Topics::new("a-b", 12, 7);
        assert_eq!(topics.total(), 84);
        assert_eq!(topics.place(83), ("a-b-00011", 6));
        assert_eq!(
            (topics.topic_of(83), topics.index_of(b"a-b-00011"), topics.global(11, 6)),
            (11, Some(11), Some(83))
        );
        for other in [&b"a-b-00012"[..], b"a-c-00011", b"00011", b"a-b-0001x", b"11"] {
            assert_eq!(topics.index_of(other), None);
        }
        assert_eq!(topics.global(0, 7), None);
    }
}
