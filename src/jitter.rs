//! Randomness that keeps what began together from ending together.

use std::time::Duration;

/// A part of `span` at random. Without random numbers it is nothing.
pub(crate) fn part_of(span: Duration) -> Duration {
    span.mul_f64(f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX))
}

/// Up to a tenth less than `age`, at random.
pub(crate) fn somewhat_less(age: Duration) -> Duration {
    age.saturating_sub(part_of(age / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somewhat_less_is_a_tenth_less_at_most() {
        let age = Duration::from_secs(100);
        let ages: Vec<_> = (0..100).map(|_| somewhat_less(age)).collect();
        assert!(ages.iter().all(|one| (Duration::from_secs(90)..=age).contains(one)), "{ages:?}");
        assert!(ages.iter().any(|one| *one != ages[0]));
        assert_eq!(somewhat_less(Duration::ZERO), Duration::ZERO);
    }
}
