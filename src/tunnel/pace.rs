//! Closes spread over a window. Clients that all hear a close at once come back at once; the same
//! number over seconds is a load that the next server can take.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::roster::{Closed, Group, Roster, Ticket};

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
        let tickets = roster.begin_closing(self.code);
        self.close_each(roster, &tickets, || true).await;
    }

    /// Closes the tunnels of `group` in the same order, the door having been closed with
    /// [`Roster::begin_closing_group`], until the group is [reopened](Roster::reopen) or closed anew: who was
    /// not told by then is not.
    pub async fn close_group(self, roster: &Roster, group: Group, closed: Closed) {
        let Closed { tickets, number } = closed;
        self.close_each(roster, &tickets, || roster.closing_of(group) == Some(number)).await;
    }

    async fn close_each(self, roster: &Roster, tickets: &[Ticket], goes_on: impl Fn() -> bool) {
        let began = Instant::now();
        for (index, ticket) in tickets.iter().enumerate() {
            // Without randomness the places are only regular.
            let jitter = getrandom::u32().unwrap_or_default();
            let due = began.checked_add(self.slot(index, tickets.len(), jitter));
            sleep_until(due.unwrap_or(began)).await;
            if !goes_on() {
                return;
            }
            roster.close(*ticket, self.code);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::task::{Context, Waker};

    use super::*;
    use crate::tunnel::roster::Labels;

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

    #[tokio::test(start_paused = true)]
    async fn a_group_is_closed_over_the_window_and_no_further_once_it_is_reopened() {
        const GROUP: Group = Group { place: 0, number: 7 };
        let roster = Rc::<Roster>::default();
        let members: Vec<_> =
            (0..1000).map(|index| roster.enter(Labels([7 + index % 2, 0]))).collect();
        let told = |of: u32| {
            let context = Context::from_waker(Waker::noop());
            let members = members.iter().enumerate().filter(|(index, _)| *index as u32 % 2 == of);
            members.filter(|(_, one)| one.poll_order(&context).is_some()).count()
        };
        let close =
            || PACE.close_group(&roster, GROUP, roster.begin_closing_group(GROUP, PACE.code));
        let closing = close();
        let half = tokio::time::timeout(PACE.spread / 2, closing).await;
        assert!(half.is_err() && (240..=260).contains(&told(0)), "{}", told(0));
        let (closing, reopening) = (close(), async {
            tokio::time::sleep(PACE.spread / 4).await;
            roster.reopen(GROUP);
        });
        tokio::join!(closing, reopening);
        assert!((330..=370).contains(&told(0)), "{}", told(0));
        close().await;
        assert_eq!((told(0), told(1)), (500, 0));
    }
}
