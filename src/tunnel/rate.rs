//! How much a side may send: token buckets, each an instant and nothing else (the generic cell rate
//! algorithm). Decisions only; time is an argument.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// No read is cut below this for the sake of a rate: a few bytes at a time would cost more than the
/// rate saves.
const SMALLEST_READ: usize = 4096;

/// The smallest message on the wire: a header of two bytes and a key.
const SMALLEST_MESSAGE: usize = 6;

/// What one side may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second.
    pub messages: Option<NonZeroU64>,
    /// Bytes a second, as they travel.
    pub bytes: Option<NonZeroU64>,
    /// So much of it may come at once.
    pub burst: Duration,
    /// Whether who sends more is ended, and not only read later.
    pub closes: bool,
}

/// What one side may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    closes: bool,
}

#[derive(Debug)]
struct Bucket {
    per_second: NonZeroU64,
    burst: Duration,
    /// When it would be full again. It is empty for `burst` and more before that.
    full: Instant,
}

impl Allowance {
    /// The whole of a `rate`; `None` when it limits nothing.
    pub(super) fn new(rate: Rate, now: Instant) -> Option<Self> {
        let bucket = |per_second: Option<NonZeroU64>| {
            per_second.map(|per_second| Bucket { per_second, burst: rate.burst, full: now })
        };
        let (messages, bytes) = (bucket(rate.messages), bucket(rate.bytes));
        let closes = rate.closes;
        (messages.is_some() || bytes.is_some()).then_some(Self { messages, bytes, closes })
    }

    /// Takes what came. Whether that is an offence.
    pub(super) fn take(&mut self, messages: u64, bytes: usize, now: Instant) -> bool {
        let mut over = false;
        for (bucket, units) in [(&mut self.messages, messages), (&mut self.bytes, bytes as u64)] {
            let Some(bucket) = bucket else { continue };
            bucket.take(units, now);
            over |= units > 0 && bucket.is_overdrawn(now);
        }
        over && self.closes
    }

    /// Whether the side must not be read `now`.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.fills().is_some_and(|due| due > now)
    }

    /// When the side may be read, or since when.
    pub(super) fn fills(&self) -> Option<Instant> {
        let buckets = [&self.messages, &self.bytes].into_iter().flatten();
        buckets.filter_map(Bucket::fills).max().filter(|_| !self.closes)
    }

    /// How much to read at once, when so many bytes of a message's payload are still to come: a long
    /// read of short messages would run up a debt of hours.
    pub(super) fn longest_read(&self, payload_left: u64, now: Instant) -> usize {
        if self.closes {
            return usize::MAX;
        }
        let messages = self.messages.as_ref().map_or(usize::MAX, |bucket| {
            let left = usize::try_from(payload_left).unwrap_or(usize::MAX);
            bucket.holds(now).max(1).saturating_mul(SMALLEST_MESSAGE).saturating_add(left)
        });
        let bytes = self.bytes.as_ref().map_or(usize::MAX, |bucket| bucket.holds(now));
        messages.min(bytes.max(SMALLEST_READ))
    }
}

impl Bucket {
    fn take(&mut self, units: u64, now: Instant) {
        let time = Duration::try_from_secs_f64(units as f64 / self.per_second.get() as f64);
        let full = self.full.max(now);
        self.full = full.checked_add(time.unwrap_or_default()).unwrap_or(full);
    }

    /// When something is in it again.
    fn fills(&self) -> Option<Instant> {
        self.full.checked_sub(self.burst)
    }

    /// More was taken than was in it.
    fn is_overdrawn(&self, now: Instant) -> bool {
        self.full.saturating_duration_since(now) > self.burst
    }

    /// Whole units in it.
    fn holds(&self, now: Instant) -> usize {
        let left = self.burst.saturating_sub(self.full.saturating_duration_since(now));
        (left.as_secs_f64() * self.per_second.get() as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(messages: u64, bytes: u64, closes: bool) -> Rate {
        Rate {
            messages: NonZeroU64::new(messages),
            bytes: NonZeroU64::new(bytes),
            burst: 2 * SECOND,
            closes,
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let now = Instant::now();
        let mut allowance = Allowance::new(rate(10, 0, false), now).unwrap();
        for _ in 0..20 {
            assert!(!allowance.waits(now));
            assert!(!allowance.take(1, 100, now));
        }
        assert!(!allowance.waits(now), "empty, and not overdrawn");
        assert!(!allowance.take(1, 100, now), "pausing is no offence");
        assert!(allowance.waits(now));
        assert_eq!(allowance.fills(), Some(now + SECOND / 10));
        assert!(!allowance.waits(now + SECOND / 10));
        let mut passed = 0;
        let mut time = now;
        while time < now + 100 * SECOND {
            time = allowance.fills().unwrap().max(time);
            allowance.take(1, 100, time);
            passed += 1;
        }
        assert!((999..=1002).contains(&passed), "{passed}");
    }

    #[test]
    fn what_was_not_used_is_kept_up_to_the_burst() {
        let now = Instant::now();
        let mut allowance = Allowance::new(rate(0, 1000, true), now).unwrap();
        let later = now + 3600 * SECOND;
        assert!(!allowance.take(0, 2000, later));
        assert!(allowance.take(0, 1, later), "a third second at once");
    }

    #[test]
    fn who_closes_is_never_paused() {
        let now = Instant::now();
        let mut allowance = Allowance::new(rate(1, 0, true), now).unwrap();
        assert!(!allowance.take(2, 0, now));
        assert!(allowance.take(1, 0, now));
        assert!(!allowance.waits(now));
        assert_eq!(allowance.longest_read(0, now), usize::MAX);
    }

    #[test]
    fn payload_and_control_frames_are_no_messages() {
        let now = Instant::now();
        let mut allowance = Allowance::new(rate(1, 0, true), now).unwrap();
        allowance.take(3, 0, now);
        assert!(!allowance.take(0, 1_000_000, now), "an offence that was told already");
    }

    #[test]
    fn short_messages_are_read_a_few_at_a_time_and_long_ones_whole() {
        let now = Instant::now();
        let mut allowance = Allowance::new(rate(10, 0, false), now).unwrap();
        assert_eq!(allowance.longest_read(0, now), 20 * SMALLEST_MESSAGE);
        assert_eq!(allowance.longest_read(1 << 20, now), (1 << 20) + 20 * SMALLEST_MESSAGE);
        allowance.take(20, 0, now);
        assert_eq!(allowance.longest_read(0, now), SMALLEST_MESSAGE);
        let bytes = Allowance::new(rate(0, 100, false), now).unwrap();
        assert_eq!(bytes.longest_read(0, now), SMALLEST_READ);
        let fast = Allowance::new(rate(0, 1 << 20, false), now).unwrap();
        assert_eq!(fast.longest_read(0, now), 1 << 21);
    }

    #[test]
    fn a_rate_of_nothing_is_none() {
        assert!(Allowance::new(rate(0, 0, true), Instant::now()).is_none());
    }
}
