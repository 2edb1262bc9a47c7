//! One rate, for many keys or for all together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::table::Table;
use crate::gcra::Gcra;
use crate::plan::Pace;

/// What has been asked for, and how fast it may be.
#[derive(Debug)]
pub(super) struct Counter {
    planned: Pace,
    pace: Gcra,
    buckets: Buckets,
}

#[derive(Debug)]
enum Buckets {
    /// One for all: when it is full again.
    One(AtomicU64),
    /// One for each key.
    Each(Table),
}

impl Counter {
    /// Full buckets; one that is `shared`, or one for each key.
    pub(super) fn new(planned: Pace, shared: bool) -> Self {
        let pace = Gcra { each: nanos(planned.each()), burst: nanos(planned.burst) };
        let buckets = match shared {
            true => Buckets::One(AtomicU64::new(0)),
            false => Buckets::Each(Table::default()),
        };
        Self { planned, pace, buckets }
    }

    /// Whether this is its pace.
    pub(super) fn is_of(&self, planned: Pace) -> bool {
        self.planned == planned
    }

    /// Takes one out of the bucket of `key`.
    ///
    /// # Errors
    /// When there will be one in it again; nothing is taken then.
    pub(super) fn take(&self, key: u64, now: Duration) -> Result<(), Duration> {
        let (now, pace) = (nanos(now), self.pace);
        let take = |full| (pace.wait(full, now) == 0).then(|| pace.taken(full, now));
        let taken = match &self.buckets {
            // Nothing else is read or written by it.
            Buckets::One(full) => {
                full.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map(drop)
            }
            Buckets::Each(table) => table.update(key, take),
        };
        taken.map_err(|full| Duration::from_nanos(pace.wait(full, now)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
