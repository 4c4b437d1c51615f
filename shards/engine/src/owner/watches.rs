//! Fetches that wait for more on a shard's partitions, and what of each is to be looked at again. Part of the [`super::Owner`].
//!
//! A fetch may name thousands of partitions, of which one moves at a time: what moved is noted here, so that a wake costs a look at that one.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::event::ShardId;
use crate::log::PartitionIx;

/// Whose fetch: the connection's shard, and the token there.
pub type Watcher = (ShardId, u64);

/// One waiting fetch.
#[derive(Debug)]
struct Watch {
    /// By its part.
    parts: Vec<Option<PartitionIx>>,
    /// By its part: whether it is to be looked at again.
    stale: Vec<bool>,
    /// Whether it has been told that there is more.
    told: bool,
}

/// All of a shard's.
#[derive(Debug, Default)]
pub struct Watches {
    by_watcher: HashMap<Watcher, Watch, FxBuildHasher>,
    /// By partition index (dense): who, and which of their parts it is.
    by_partition: Vec<Vec<(Watcher, u32)>>,
}

impl Watches {
    /// A fetch waits from now on, with the parts of `stale` to be looked at again in any case: what they had was too little and is not kept.
    pub fn begin(&mut self, watcher: Watcher, parts: Vec<Option<PartitionIx>>, stale: Vec<bool>) {
        self.end(watcher);
        for (ix, at) in parts.iter().zip(0..) {
            let Some(ix) = ix.map(|ix| ix.0 as usize) else { continue };
            if self.by_partition.len() <= ix {
                self.by_partition.resize_with(ix + 1, Vec::new);
            }
            self.by_partition[ix].push((watcher, at));
        }
        self.by_watcher.insert(watcher, Watch { parts, stale, told: false });
    }

    /// It is awake and looks again: at which parts, if it is known. It is told of what comes from now on.
    pub fn look_again(&mut self, watcher: Watcher) -> Option<Vec<bool>> {
        let watch = self.by_watcher.get_mut(&watcher)?;
        watch.told = false;
        let clean = vec![false; watch.stale.len()];
        Some(std::mem::replace(&mut watch.stale, clean))
    }

    /// What it has found is too little once more: these parts have something.
    pub fn go_on(&mut self, watcher: Watcher, stale: &[bool]) {
        if let Some(watch) = self.by_watcher.get_mut(&watcher) {
            watch.stale.iter_mut().zip(stale).for_each(|(stale, more)| *stale |= more);
        }
    }

    /// There is more to read in a partition, or another reason to look: who is to be told that has not been.
    pub fn moved(&mut self, ix: PartitionIx) -> Vec<Watcher> {
        let mut woken = Vec::new();
        for (watcher, at) in self.by_partition.get(ix.0 as usize).into_iter().flatten() {
            let watch = self.by_watcher.get_mut(watcher).expect("who watches a partition watches");
            watch.stale[*at as usize] = true;
            if !std::mem::replace(&mut watch.told, true) {
                woken.push(*watcher);
            }
        }
        woken
    }

    /// A fetch no longer waits.
    pub fn end(&mut self, watcher: Watcher) {
        let Some(watch) = self.by_watcher.remove(&watcher) else { return };
        for ix in watch.parts.into_iter().flatten() {
            self.by_partition[ix.0 as usize].retain(|(other, _)| *other != watcher);
        }
    }

    /// How many fetches wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert!(!self.by_watcher.is_empty() || self.by_partition.iter().all(Vec::is_empty));
        self.by_watcher.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moved_is_looked_at_again_and_each_watcher_is_told_once() {
        let mut watches = Watches::default();
        let [one, two] = [(ShardId(0), 1), (ShardId(1), 1)];
        let ix = |at| Some(PartitionIx(at));
        watches.begin(one, vec![ix(4), None, ix(2), ix(7)], vec![false, false, true, false]);
        watches.begin(two, vec![ix(7), ix(7)], vec![false; 2]);
        assert_eq!(watches.moved(PartitionIx(4)), [one]);
        assert_eq!(watches.moved(PartitionIx(4)), [], "it knows");
        assert_eq!(watches.moved(PartitionIx(7)), [two], "one knows already; two has it twice");
        assert_eq!(watches.moved(PartitionIx(99)), []);
        assert_eq!(watches.look_again(one), Some(vec![true, false, true, true]));
        watches.go_on(one, &[false, false, false, true]);
        assert_eq!(watches.moved(PartitionIx(2)), [one], "it wants to be told anew");
        assert_eq!(watches.look_again(one), Some(vec![false, false, true, true]));
        assert_eq!(watches.look_again(two), Some(vec![true, true]));
        watches.end(one);
        assert_eq!((watches.moved(PartitionIx(2)), watches.look_again(one)), (vec![], None));
        assert_eq!(watches.moved(PartitionIx(7)), [two]);
        watches.end(two);
        assert_eq!(watches.len(), 0);
    }
}
