//! Numbers with one writer. A shard belongs to one worker thread, so adding is a plain load and a
//! plain store: no locked instruction, no cache line that two cores fight for. Any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count that only grows, written by one thread and read by any.
///
/// Two writers at once lose additions (never memory safety): that is the price of the plain store,
/// and why a shard has one owner.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`; past `u64::MAX` it starts again at zero, which a scraper takes for a restart.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.value().wrapping_add(n), Ordering::Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many upper bounds a histogram has; one more bucket holds what is over the last.
const BOUNDS: usize = 16;

/// Upper bounds of a histogram's buckets in seconds or bytes, inclusive and rising.
pub type Bounds = [f64; BOUNDS];

/// Bounds for requests, dials and handshakes: 0.5 ms to 60 s.
pub static LATENCY: Bounds = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Bounds for the life of a tunnel: 1 s to 7 days.
pub static LIFETIME: Bounds = [
    1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0,
    43_200.0, 86_400.0, 259_200.0, 604_800.0,
];

/// Durations in buckets, with the single-writer rule of [`Counter`].
///
/// Buckets are stored apart and made cumulative at scrape, so that one observation is two additions
/// and the count can never disagree with the buckets.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    /// One per bound; inline, because a box per shard could put two workers on one cache line.
    buckets: [Counter; BOUNDS],
    over: Counter,
    /// In microseconds: nanoseconds would wrap after 30,000 tunnels of a week each.
    sum: Counter,
}

impl Histogram {
    /// An empty histogram over [`LATENCY`] or [`LIFETIME`].
    pub fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            buckets: Default::default(),
            over: Counter::default(),
            sum: Counter::default(),
        }
    }

    /// Counts one duration, to the nearest microsecond.
    #[inline]
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets.get(place).unwrap_or(&self.over).inc();
        let micros = took.saturating_add(Duration::from_nanos(500)).as_micros();
        self.sum.add(u64::try_from(micros).unwrap_or(u64::MAX));
    }

    /// What was counted so far; may miss an observation that is being made right now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: self.bounds,
            buckets: self.buckets.each_ref().map(Counter::value),
            over: self.over.value(),
            sum: self.sum.value(),
            scale: 1e6,
        }
    }
}

/// Sizes of messages in buckets, each four times the last: up to 16 bytes, 64, 256 and so on to
/// 16 GiB, and beyond. The single-writer rule of [`Counter`] holds.
#[derive(Debug, Default)]
pub struct SizeHistogram {
    buckets: [Counter; BOUNDS],
    over: Counter,
    sum: Counter,
}

/// The upper bounds of a [`SizeHistogram`]'s buckets in bytes.
static SIZES: Bounds = {
    let mut bounds = [16.0; BOUNDS];
    let mut at = 1;
    while at < BOUNDS {
        bounds[at] = bounds[at - 1] * 4.0;
        at += 1;
    }
    bounds
};

impl SizeHistogram {
    /// Counts one message.
    #[inline]
    pub fn observe(&self, bytes: u64) {
        // Bound n is 2^(4 + 2n): the bits of `bytes - 1`, rounded up to the next bound's.
        let bits = u64::BITS.saturating_sub(bytes.saturating_sub(1).leading_zeros());
        let place = bits.saturating_sub(3) / 2;
        self.buckets.get(place as usize).unwrap_or(&self.over).inc();
        self.sum.add(bytes);
    }

    /// What was counted so far; may miss an observation that is being made right now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: &SIZES,
            buckets: self.buckets.each_ref().map(Counter::value),
            over: self.over.value(),
            sum: self.sum.value(),
            scale: 1.0,
        }
    }
}

/// A histogram as read, to be added up over shards.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    bounds: &'static Bounds,
    buckets: [u64; BOUNDS],
    over: u64,
    sum: u64,
    /// Units of the sum in one of the bounds.
    scale: f64,
}

impl Snapshot {
    /// Adds another shard of the same metric.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.wrapping_add(theirs);
        }
        self.over = self.over.wrapping_add(other.over);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Upper bound and the count at or under it, rising; without the `+Inf` bucket, which
    /// is [`Snapshot::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().zip(self.buckets).scan(0_u64, |total, (bound, count)| {
            *total = total.wrapping_add(count);
            Some((*bound, *total))
        })
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.over, |total, count| total.wrapping_add(*count))
    }

    /// Their sum, in seconds or bytes.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_adds_up_and_wraps_instead_of_panicking() {
        let counter = Counter::default();
        counter.inc();
        counter.add(41);
        assert_eq!(counter.value(), 42);
        counter.add(u64::MAX);
        assert_eq!(counter.value(), 41);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [&LATENCY, &LIFETIME] {
            assert!(bounds.is_sorted_by(|low, high| low < high), "{bounds:?}");
        }
    }

    #[test]
    fn a_duration_on_a_bound_is_in_the_bucket_of_that_bound() {
        for bounds in [&LATENCY, &LIFETIME] {
            for (place, bound) in bounds.iter().enumerate() {
                let histogram = Histogram::new(bounds);
                histogram.observe(Duration::from_secs_f64(*bound));
                let first = histogram.snapshot().cumulative().position(|(_, count)| count == 1);
                assert_eq!(first, Some(place), "{bound}");
            }
        }
    }

    #[test]
    fn what_is_over_the_last_bound_is_counted_only_in_the_total() {
        let histogram = Histogram::new(&LATENCY);
        histogram.observe(Duration::from_secs(61));
        histogram.observe(Duration::ZERO);
        let read = histogram.snapshot();
        assert_eq!(read.cumulative().last(), Some((60.0, 1)));
        assert_eq!(read.count(), 2);
        assert_eq!(read.sum(), 61.0);
    }

    #[test]
    fn shards_of_one_histogram_add_up() {
        let (left, right) = (Histogram::new(&LATENCY), Histogram::new(&LATENCY));
        left.observe(Duration::from_micros(1_500));
        right.observe(Duration::from_secs(2));
        right.observe(Duration::from_secs(70));
        let mut sum = left.snapshot();
        sum.merge(&right.snapshot());
        assert_eq!(sum.count(), 3);
        assert_eq!(sum.sum(), 72.0015);
    }

    #[test]
    fn an_absurd_duration_does_not_panic() {
        Histogram::new(&LIFETIME).observe(Duration::MAX);
    }

    #[test]
    fn sizes_fall_into_the_bucket_that_their_bound_names() {
        for (bytes, bound) in [
            (0, 16.0),
            (1, 16.0),
            (16, 16.0),
            (17, 64.0),
            (64, 64.0),
            (65, 256.0),
            (1 << 16, 65_536.0),
            ((1 << 16) + 1, 262_144.0),
            (1 << 34, f64::from(1 << 30) * 16.0),
        ] {
            let sizes = SizeHistogram::default();
            sizes.observe(bytes);
            let read = sizes.snapshot();
            let (first, _) = read.cumulative().find(|(_, count)| *count == 1).unwrap();
            assert_eq!((first, read.sum()), (bound, bytes as f64));
        }
        let sizes = SizeHistogram::default();
        sizes.observe(u64::MAX);
        assert!(sizes.snapshot().cumulative().all(|(_, count)| count == 0));
        assert_eq!(sizes.snapshot().count(), 1);
    }
}
