//! Closes spread over a window. Clients that all hear a close at once come back at once; the same
//! number over seconds is a load that the next server can take.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Roster;

/// A few tunnels need no window: nobody is to wait longer than this for each.
const EACH: Duration = Duration::from_millis(50);

/// How the tunnels of a worker are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the first close to the last, at most.
    pub spread: Duration,
    /// The code that both sides get.
    pub code: u16,
}

impl Pace {
    /// When the close at `index` of `count` is due: one in each of `count` equal parts of the window,
    /// at a place within it that `jitter` says, so that several workers do not beat as one.
    fn slot(self, index: usize, count: usize, jitter: u32) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let part = self.spread.min(EACH.saturating_mul(count)).checked_div(count);
        let part = part.unwrap_or_default();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        part.saturating_mul(index).saturating_add(part.mul_f64(f64::from(jitter) / 4_294_967_296.0))
    }

    /// Closes all tunnels of `roster`, and those that still enter. The youngest go first: they have
    /// the least to lose, and the oldest, with the most behind them, get the longest time to end by
    /// themselves.
    pub async fn close_all(self, roster: &Roster) {
        let began = Instant::now();
        let tickets = roster.begin_closing(self.code);
        for (index, ticket) in tickets.iter().enumerate() {
            // Without randomness the places are only regular.
            let jitter = getrandom::u32().unwrap_or_default();
            let due = began.checked_add(self.slot(index, tickets.len(), jitter));
            sleep_until(due.unwrap_or(began)).await;
            roster.close(*ticket, self.code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { spread: Duration::from_secs(20), code: 1012 };

    #[test]
    fn closes_are_even_over_the_window_whatever_the_jitter() {
        for (count, dice) in [(5000, 0x9e37_79b9_u32), (401, u32::MAX), (1000, 0)] {
            let slots: Vec<Duration> = (0..count)
                .map(|index| PACE.slot(index, count, dice.wrapping_mul(index as u32 + 1)))
                .collect();
            assert!(slots.is_sorted() && slots[count - 1] <= PACE.spread);
            let even = count as f64 / PACE.spread.as_secs_f64();
            for (first, from) in slots.iter().enumerate() {
                let until = *from + Duration::from_secs(1);
                let within = slots[first..].iter().take_while(|slot| **slot < until).count();
                assert!((within as f64) <= even * 1.3 + 1.0, "{within} of {even} from {from:?}");
            }
        }
    }

    #[test]
    fn a_few_tunnels_do_not_take_the_whole_window() {
        assert!(PACE.slot(0, 1, u32::MAX) <= EACH);
        assert!(PACE.slot(9, 10, u32::MAX) <= EACH * 10);
    }

    #[test]
    fn no_window_is_all_at_once() {
        let pace = Pace { spread: Duration::ZERO, ..PACE };
        assert_eq!(pace.slot(4999, 5000, u32::MAX), Duration::ZERO);
    }
}
