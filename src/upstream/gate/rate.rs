//! How fast new WebSockets may come to an upstream. After a network has blinked, every client is back
//! within a second; a server that had an hour to collect them has not an hour to take them back.
//! One atomic instant for all workers (the generic cell rate algorithm), so places are exact and given
//! in order: whoever waits knows for how long.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::gcra::Gcra;

/// A bucket of upgrades.
#[derive(Debug)]
pub(super) struct UpgradeRate {
    pace: Gcra,
    /// When the bucket would be full again, in nanoseconds of the clock that callers use.
    full: AtomicU64,
}

impl UpgradeRate {
    /// `rate` upgrades a second, and `burst` of them at once.
    pub(super) fn new(rate: NonZeroU32, burst: u32) -> Self {
        let each = (1_000_000_000 / u64::from(rate.get())).max(1);
        let burst = each.saturating_mul(burst.into());
        Self { pace: Gcra { each, burst }, full: AtomicU64::new(0) }
    }

    /// As full as `before`, place for place, at `now`.
    pub(super) fn following(self, before: &Self, now: Duration) -> Self {
        let now = nanos(now);
        let taken = before.full.load(Ordering::Relaxed).saturating_sub(now);
        let taken = taken.div_ceil(before.pace.each);
        let full = now.saturating_add(taken.saturating_mul(self.pace.each));
        Self { full: AtomicU64::new(full), ..self }
    }

    /// Takes the next free place, `now` being the time since some fixed instant: how long to wait for
    /// it.
    ///
    /// # Errors
    /// How long that would be, when it is longer than `patience`; no place is taken then.
    pub(super) fn reserve(&self, now: Duration, patience: Duration) -> Result<Duration, Duration> {
        let (now, patience) = (nanos(now), nanos(patience));
        // Nothing else is read or written by it.
        let taken = self.full.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
            (self.pace.wait(full, now) <= patience).then(|| self.pace.taken(full, now))
        });
        match taken {
            Ok(full) => Ok(Duration::from_nanos(self.pace.wait(full, now))),
            Err(full) => Err(Duration::from_nanos(self.pace.wait(full, now))),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: u32, burst: u32) -> UpgradeRate {
        UpgradeRate::new(NonZeroU32::new(rate).unwrap(), burst)
    }

    #[test]
    fn a_storm_is_let_in_at_the_rate_and_in_order() {
        let rate = rate(500, 50);
        let start = Duration::from_secs(1000);
        let mut waits: Vec<Duration> =
            (0..20_000).map(|_| rate.reserve(start, Duration::from_secs(100)).unwrap()).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 50);
        for second in 0..39 {
            let within = |wait: &&Duration| {
                (Duration::from_secs(second)..Duration::from_secs(second + 1)).contains(*wait)
            };
            let count = waits.iter().filter(within).count();
            assert!(count <= 550, "{count} in second {second}");
        }
        // 19,950 at 500 a second.
        assert_eq!(waits.pop().unwrap(), Duration::from_millis(39_900));
    }

    #[test]
    fn whoever_would_wait_too_long_takes_no_place() {
        let rate = rate(10, 1);
        let now = Duration::from_secs(5);
        let patience = Duration::from_millis(250);
        let waits: Vec<_> = (0..5).map(|_| rate.reserve(now, patience)).collect();
        let millis = Duration::from_millis;
        assert_eq!(
            waits,
            [Ok(millis(0)), Ok(millis(100)), Ok(millis(200)), Err(millis(300)), Err(millis(300))]
        );
        assert_eq!(rate.reserve(now + millis(100), patience), Ok(millis(200)));
    }

    #[test]
    fn no_burst_is_one_at_a_time_and_time_that_was_not_used_is_not_saved_up() {
        let rate = rate(10, 0);
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            assert_eq!(rate.reserve(now, Duration::ZERO), Ok(Duration::ZERO));
            assert!(rate.reserve(now, Duration::ZERO).is_err());
            now += Duration::from_millis(250);
        }
    }

    #[test]
    fn places_are_exact_across_threads() {
        let rate = rate(1000, 10);
        let waits = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let patience = Duration::from_secs(10);
                        (0..1000)
                            .map(|_| rate.reserve(Duration::ZERO, patience).unwrap())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let mut all: Vec<_> =
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            all.sort();
            all
        });
        let expected = |place: u64| Duration::from_millis(place.saturating_sub(9));
        assert!(waits.iter().zip(0..).all(|(wait, place)| *wait == expected(place)));
    }
}
