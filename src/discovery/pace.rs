//! When a name is asked for again.

use std::time::Duration;

use crate::plan::Resolver;

/// After the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause between failures: an outage of the DNS is over for Bowline this much later.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after an answer that holds for `ttl`. `dice` is any random number: up to a tenth comes on
/// top, so that many Bowlines do not ask all at once.
pub(super) fn after_answer(ttl: Duration, terms: &Resolver, dice: u32) -> Duration {
    spread(ttl.max(terms.min_ttl).min(terms.max_ttl), dice)
}

/// The pause after so many failures in a row.
pub(super) fn after_failures(failures: u32, terms: &Resolver, dice: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = FIRST.saturating_mul(doubled.max(1)).min(LONGEST);
    spread(pause.max(terms.min_ttl).min(terms.max_ttl), dice)
}

fn spread(pause: Duration, dice: u32) -> Duration {
    pause.saturating_add(pause.mul_f64(f64::from(dice) / f64::from(u32::MAX) / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(min_ttl: u64, max_ttl: u64) -> Resolver {
        let of = Duration::from_secs;
        Resolver { servers: vec![], timeout: of(5), min_ttl: of(min_ttl), max_ttl: of(max_ttl) }
    }

    #[test]
    fn an_answer_holds_for_its_ttl_within_bounds_and_a_tenth() {
        for (ttl, expected) in [(0, 1), (1, 1), (30, 30), (300, 300), (86_400, 300)] {
            let pause = |dice| after_answer(Duration::from_secs(ttl), &terms(1, 300), dice);
            assert_eq!(pause(0), Duration::from_secs(expected), "{ttl}");
            assert_eq!(pause(u32::MAX), Duration::from_secs(expected).mul_f64(1.1), "{ttl}");
        }
    }

    #[test]
    fn failures_double_the_pause_up_to_a_bound() {
        let pauses = |terms: Resolver, failures: &[u32]| -> Vec<u64> {
            failures.iter().map(|count| after_failures(*count, &terms, 0).as_secs()).collect()
        };
        let counts = [1, 2, 3, 4, 5, 6, 7, 31, 32, 33, u32::MAX];
        assert_eq!(pauses(terms(1, 300), &counts), [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]);
        assert_eq!(pauses(terms(5, 10), &[1, 2, 3, 4, 5]), [5, 5, 5, 8, 10]);
        assert_eq!(pauses(terms(60, 300), &[1, 9]), [60, 60]);
    }
}
