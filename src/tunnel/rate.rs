//! How much a side may send: token buckets, each an instant and nothing else (the generic cell rate
//! algorithm). Decisions only; time is an argument.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// No read is cut below these for the sake of a rate: a few bytes at a time would cost more than the
/// rate saves.
const FEWEST_BYTES: usize = 4096;
const FEWEST_FOR_MESSAGES: usize = 128;

/// The smallest message on the wire, where nothing is masked.
const SMALLEST_MESSAGE: usize = 2;

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
    /// Since when the side is not read for the other one's sake.
    held_up: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    per_second: NonZeroU64,
    burst: Duration,
    /// When it would be full again. It is empty for `burst` and more before that.
    full: Instant,
    /// What it could have given while nobody could take it, and until when that is good.
    owed: Duration,
    good: Instant,
}

impl Allowance {
    /// The whole of a `rate`; `None` when it limits nothing.
    pub(super) fn new(rate: Rate, now: Instant) -> Option<Self> {
        let bucket = |per_second: Option<NonZeroU64>| {
            per_second.map(|per_second| Bucket {
                per_second,
                burst: rate.burst,
                full: now,
                owed: Duration::ZERO,
                good: now,
            })
        };
        let (messages, bytes) = (bucket(rate.messages), bucket(rate.bytes));
        let closes = rate.closes;
        (messages.is_some() || bytes.is_some()).then_some(Self {
            messages,
            bytes,
            closes,
            held_up: None,
        })
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

    /// The side is not read because the other one takes nothing. What it sends meanwhile comes at once
    /// afterwards, and is no more than it was allowed.
    pub(super) fn hold_up(&mut self, now: Instant) {
        self.held_up.get_or_insert(now);
    }

    /// The other side takes something again.
    pub(super) fn let_go(&mut self, now: Instant) {
        let Some(since) = self.held_up.take() else { return };
        for bucket in [&mut self.messages, &mut self.bytes].into_iter().flatten() {
            // It may be held up again before it has sent all.
            let left = if bucket.good > now { bucket.owed } else { Duration::ZERO };
            bucket.owed = left.saturating_add(now.saturating_duration_since(since));
            bucket.good = now.checked_add(bucket.burst).unwrap_or(now);
        }
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
    /// read of short messages would run up a debt of hours, or let them all pass.
    pub(super) fn longest_read(&self, payload_left: u64, now: Instant) -> usize {
        let messages = self.messages.as_ref().map_or(usize::MAX, |bucket| {
            let left = usize::try_from(payload_left).unwrap_or(usize::MAX);
            bucket
                .holds(now)
                .saturating_mul(SMALLEST_MESSAGE)
                .max(FEWEST_FOR_MESSAGES)
                .saturating_add(left)
        });
        let bytes = self.bytes.as_ref().map_or(usize::MAX, |bucket| bucket.holds(now));
        messages.min(bytes.max(FEWEST_BYTES))
    }
}

impl Bucket {
    fn take(&mut self, units: u64, now: Instant) {
        let time = Duration::try_from_secs_f64(units as f64 / self.per_second.get() as f64);
        let mut time = time.unwrap_or_default();
        if self.good > now {
            let paid = time.min(self.owed);
            self.owed = self.owed.saturating_sub(paid);
            time = time.saturating_sub(paid);
        }
        let full = self.full.max(now);
        self.full = full.checked_add(time).unwrap_or(full);
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
        for closes in [false, true] {
            let mut allowance = Allowance::new(rate(1000, 0, closes), now).unwrap();
            assert_eq!(allowance.longest_read(0, now), 2000 * SMALLEST_MESSAGE);
            assert_eq!(allowance.longest_read(1 << 20, now), (1 << 20) + 2000 * SMALLEST_MESSAGE);
            allowance.take(2000, 0, now);
            assert_eq!(allowance.longest_read(0, now), FEWEST_FOR_MESSAGES);
        }
        let bytes = Allowance::new(rate(0, 100, false), now).unwrap();
        assert_eq!(bytes.longest_read(0, now), FEWEST_BYTES);
        let fast = Allowance::new(rate(0, 1 << 20, false), now).unwrap();
        assert_eq!(fast.longest_read(0, now), 1 << 21);
    }

    #[test]
    fn who_was_held_up_may_send_what_it_could_have_sent_meanwhile() {
        let now = Instant::now();
        let mut allowance = Allowance::new(rate(10, 0, true), now).unwrap();
        allowance.hold_up(now);
        allowance.hold_up(now + SECOND);
        let later = now + 10 * SECOND;
        allowance.let_go(later);
        assert!(!allowance.take(120, 0, later), "a burst, and ten seconds of ten");
        assert!(allowance.take(1, 0, later));
        // But not for ever.
        let mut allowance = Allowance::new(rate(10, 0, true), now).unwrap();
        allowance.hold_up(now);
        allowance.let_go(later);
        assert!(allowance.take(120, 0, later + 3 * SECOND));
    }

    #[test]
    fn a_rate_of_nothing_is_none() {
        assert!(Allowance::new(rate(0, 0, true), Instant::now()).is_none());
    }
}
