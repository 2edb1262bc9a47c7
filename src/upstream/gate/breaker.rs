//! Whether an upstream is spared for a while because too much of what it was asked failed. A worker
//! judges by what it sees itself: no memory is shared for it. Decisions only; time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Trip;

/// The parts that the window is forgotten in.
const PARTS: usize = 8;

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    trip: Trip,
    state: State,
    /// Requests and failures in each part of the window, the newest at `part`.
    parts: [(u32, u32); PARTS],
    part: usize,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing is asked until then.
    Open(Instant),
    /// One request is on its way, and decides.
    Probing,
}

/// What a breaker says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Go on, and be the one that shows whether all is well again.
    Probe,
    /// Not now; perhaps after so long.
    Refuse(Duration),
}

impl Breaker {
    /// A closed one.
    pub fn new(trip: Trip, now: Instant) -> Self {
        Self { trip, state: State::Closed, parts: [(0, 0); PARTS], part: 0, since: now }
    }

    /// Whether a request may be sent `now`.
    pub fn ask(&mut self, now: Instant) -> Verdict {
        match self.state {
            State::Closed => Verdict::Pass,
            State::Open(until) if until > now => {
                Verdict::Refuse(until.saturating_duration_since(now))
            }
            State::Open(_) => {
                self.state = State::Probing;
                Verdict::Probe
            }
            State::Probing => Verdict::Refuse(self.trip.pause / 4),
        }
    }

    /// What became of a request that was let through. Returns whether that opened it.
    pub fn note(&mut self, failed: bool, now: Instant) -> bool {
        if self.state != State::Closed {
            // Sent before it opened: nothing new.
            return false;
        }
        self.forget(now);
        if let Some((requests, failures)) = self.parts.get_mut(self.part) {
            *requests = requests.saturating_add(1);
            *failures = failures.saturating_add(u32::from(failed));
        }
        let (requests, failures) = self.parts.iter().fold((0_u64, 0_u64), |sum, part| {
            (sum.0.saturating_add(part.0.into()), sum.1.saturating_add(part.1.into()))
        });
        let share =
            failures.saturating_mul(100) >= requests.saturating_mul(self.trip.percent.into());
        failed && requests >= self.trip.requests.into() && share && self.open(now)
    }

    /// What became of the probe. Returns whether that opened it again, or closed it; `None` when
    /// it is not waited for any more.
    pub fn conclude(&mut self, failed: bool, now: Instant) -> Option<bool> {
        if self.state != State::Probing {
            return None;
        }
        if !failed {
            self.state = State::Closed;
            self.parts = [(0, 0); PARTS];
        }
        Some(failed && self.open(now))
    }

    /// A probe came to nothing that tells anything: its client left, say.
    pub fn give_up(&mut self, now: Instant) {
        if self.state == State::Probing {
            self.state = State::Open(now);
        }
    }

    fn open(&mut self, now: Instant) -> bool {
        self.parts = [(0, 0); PARTS];
        self.state = now.checked_add(self.trip.pause).map_or(State::Closed, State::Open);
        true
    }

    /// Empties the parts of the window that have passed.
    fn forget(&mut self, now: Instant) {
        let length = self.trip.window / PARTS as u32;
        let mut passed = 0;
        while passed < PARTS && now.saturating_duration_since(self.since) >= length {
            self.since = self.since.checked_add(length).unwrap_or(now);
            self.part = self.part.wrapping_add(1) % PARTS;
            if let Some(part) = self.parts.get_mut(self.part) {
                *part = (0, 0);
            }
            passed = passed.saturating_add(1);
        }
        if passed == PARTS {
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TRIP: Trip = Trip {
        percent: 50,
        requests: 20,
        window: Duration::from_secs(8),
        pause: Duration::from_secs(4),
    };

    #[test]
    fn it_opens_at_the_share_and_not_before_there_are_enough() {
        let now = Instant::now();
        let mut breaker = Breaker::new(TRIP, now);
        for _ in 0..19 {
            assert!(!breaker.note(true, now));
        }
        assert_eq!(breaker.ask(now), Verdict::Pass);
        assert!(breaker.note(true, now));
        assert_eq!(breaker.ask(now + SECOND), Verdict::Refuse(3 * SECOND));
        let mut breaker = Breaker::new(TRIP, now);
        for turn in 0..1000 {
            assert!(!breaker.note(turn % 3 == 0, now), "a third is not a half");
        }
    }

    #[test]
    fn one_probe_decides() {
        let now = Instant::now();
        let mut breaker = Breaker::new(TRIP, now);
        while !breaker.note(true, now) {}
        let later = now + 4 * SECOND;
        assert_eq!(breaker.ask(later), Verdict::Probe);
        assert_eq!(breaker.ask(later), Verdict::Refuse(SECOND));
        assert!(!breaker.note(false, later), "an older request tells nothing");
        assert_eq!(breaker.conclude(true, later), Some(true));
        assert_eq!(breaker.conclude(false, later), None);
        assert_eq!(breaker.ask(later + SECOND), Verdict::Refuse(3 * SECOND));
        let later = later + 4 * SECOND;
        assert_eq!(breaker.ask(later), Verdict::Probe);
        assert_eq!(breaker.conclude(false, later), Some(false));
        assert_eq!(breaker.ask(later), Verdict::Pass);
        assert!(!breaker.note(true, later), "what was before is forgotten");
    }

    #[test]
    fn a_probe_that_tells_nothing_leaves_the_next_one_to_tell() {
        let now = Instant::now();
        let mut breaker = Breaker::new(TRIP, now);
        while !breaker.note(true, now) {}
        let later = now + 5 * SECOND;
        assert_eq!(breaker.ask(later), Verdict::Probe);
        breaker.give_up(later);
        assert_eq!(breaker.ask(later), Verdict::Probe);
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let now = Instant::now();
        let mut breaker = Breaker::new(TRIP, now);
        for _ in 0..19 {
            breaker.note(true, now);
        }
        for _ in 0..19 {
            assert!(!breaker.note(true, now + 9 * SECOND));
        }
        assert!(breaker.note(true, now + 10 * SECOND));
    }

    #[test]
    fn answers_to_what_was_sent_before_it_opened_do_not_open_it_again() {
        let now = Instant::now();
        let mut breaker = Breaker::new(TRIP, now);
        while !breaker.note(true, now) {}
        for _ in 0..100 {
            assert!(!breaker.note(true, now + SECOND));
        }
        assert_eq!(breaker.ask(now + 2 * SECOND), Verdict::Refuse(2 * SECOND));
    }
}
