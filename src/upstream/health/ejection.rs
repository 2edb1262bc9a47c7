//! How long an endpoint is out: longer each time, and shorter again for the time it behaves. Pure:
//! the time and the randomness are arguments.

use std::time::Duration;

/// The first and the longest ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// What one endpoint's past ejections have come to. Times are since the beginning of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ejections {
    /// Of the first one, for the next one.
    doublings: u32,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    length: Duration,
    end: Duration,
}

impl Ejections {
    /// Begins one at `now`; its end. It is up to a tenth shorter than its turn says, as `jitter` has it,
    /// so that what fell together does not come back together.
    pub(super) fn begin(&mut self, now: Duration, terms: Terms, jitter: u32) -> Duration {
        if let Some(last) = self.last {
            let calm = now.saturating_sub(last.end).as_millis();
            let spans = calm.checked_div(last.length.as_millis()).unwrap_or(u128::MAX);
            let spans = u32::try_from(spans).unwrap_or(u32::MAX);
            self.doublings = self.doublings.saturating_sub(spans);
        }
        let factor = 1_u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
        let length = terms.first.saturating_mul(factor).min(terms.longest);
        // Beyond the longest no doubling would count, and each would have to be taken back.
        if length < terms.longest {
            self.doublings = self.doublings.saturating_add(1);
        }
        let less = length.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 10.0);
        let end = now.saturating_add(length.saturating_sub(less));
        self.last = Some(Last { length, end });
        end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms =
        Terms { first: Duration::from_secs(10), longest: Duration::from_secs(300) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_ejection_is_twice_as_long_as_the_last_up_to_the_longest() {
        let (mut ejections, mut now) = (Ejections::default(), seconds(100));
        let mut lengths = Vec::new();
        for _ in 0..8 {
            let end = ejections.begin(now, TERMS, 0);
            lengths.push((end - now).as_secs());
            now = end;
        }
        assert_eq!(lengths, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_calm_span_takes_one_doubling_back_and_a_long_one_all() {
        let mut ejections = Ejections::default();
        let mut end = seconds(0);
        for _ in 0..3 {
            end = ejections.begin(end, TERMS, 0);
        }
        // The last was of 40 s; the next would be of 80 s.
        let mut soon = ejections;
        assert_eq!(soon.begin(end + seconds(39), TERMS, 0), end + seconds(39 + 80));
        let mut later = ejections;
        assert_eq!(later.begin(end + seconds(40), TERMS, 0), end + seconds(40 + 40));
        let mut latest = ejections;
        assert_eq!(latest.begin(end + seconds(4000), TERMS, 0), end + seconds(4000 + 10));
    }

    #[test]
    fn jitter_takes_up_to_a_tenth() {
        let begin = |jitter| Ejections::default().begin(seconds(0), TERMS, jitter);
        assert_eq!((begin(0), begin(u32::MAX)), (seconds(10), seconds(9)));
    }

    proptest! {
        /// However an endpoint flaps, no ejection is shorter than nine tenths of the first or longer
        /// than the longest, and none is more than twice the one before it.
        #[test]
        fn an_ejection_keeps_its_bounds(
            gaps in prop::collection::vec((0_u64..2_000, any::<u32>()), 1..100),
            first in 1_u64..600,
            more in 0_u64..6_000,
        ) {
            let terms = Terms { first: seconds(first), longest: seconds(first + more) };
            let (mut ejections, mut now) = (Ejections::default(), Duration::ZERO);
            let mut before = terms.first;
            for (gap, jitter) in gaps {
                now += seconds(gap);
                let end = ejections.begin(now, terms, jitter);
                let length = end - now;
                prop_assert!(length >= terms.first.mul_f64(0.899) && length <= terms.longest);
                prop_assert!(length <= before.mul_f64(2.0 / 0.899));
                (now, before) = (end, length);
            }
        }

        #[test]
        fn no_time_and_no_terms_overflow(now in any::<u64>(), first in any::<u64>(), times in 0..70) {
            let terms = Terms { first: seconds(first), longest: Duration::MAX };
            let mut ejections = Ejections::default();
            for _ in 0..times {
                prop_assert!(ejections.begin(seconds(now), terms, 7) >= seconds(now));
            }
        }
    }
}
