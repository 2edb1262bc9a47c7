//! One slot per worker, each on cache lines of its own, so that a worker's counters are never
//! invalidated by another worker's writes.

/// A `T` for each worker and one more for threads that are not workers.
///
/// Each slot has one writer: worker `n` owns slot `n`, and the last slot belongs to the single thread
/// that runs what no worker does (start-up, reload).
#[derive(Debug)]
pub struct Sharded<T> {
    owned: Box<[Slot<T>]>,
    last: Slot<T>,
}

/// Two 64-byte lines: Intel's spatial prefetcher pulls lines in pairs, and Apple's lines are 128.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot<T>(T);

impl<T: Default> Sharded<T> {
    /// Slots for `workers` workers and for the rest of the process.
    pub fn new(workers: usize) -> Self {
        Self { owned: (0..workers).map(|_| Slot::default()).collect(), last: Slot::default() }
    }
}

impl<T> Sharded<T> {
    /// The slot of one worker; an index that is no worker's gives the last slot.
    #[inline]
    pub fn at(&self, worker: usize) -> &T {
        &self.owned.get(worker).unwrap_or(&self.last).0
    }

    /// Every slot, for summing.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.owned.iter().chain(std::iter::once(&self.last)).map(|slot| &slot.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counter;
    use super::*;

    #[test]
    fn an_index_out_of_range_is_not_another_workers_slot() {
        let shards = Sharded::<Counter>::new(2);
        shards.at(0).add(1);
        shards.at(1).add(10);
        shards.at(2).add(100);
        shards.at(usize::MAX).add(100);
        assert_eq!(shards.iter().map(Counter::value).collect::<Vec<_>>(), [1, 10, 200]);
    }

    #[test]
    fn slots_do_not_share_cache_lines() {
        let shards = Sharded::<Counter>::new(3);
        let mut at: Vec<usize> =
            shards.iter().map(|slot| std::ptr::from_ref(slot) as usize).collect();
        at.sort_unstable();
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 128), "{at:?}");
    }
}
