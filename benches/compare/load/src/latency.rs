//! Every latency of one run, kept as it was: a run has some hundred thousand, and an exact
//! percentile needs no bucket bounds to be argued about.

use std::time::Duration;

use serde_json::{Value, json};

/// The latencies seen so far, in nanoseconds; beyond four seconds they are all four seconds.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Percentiles in microseconds; `null` when nothing was seen.
    pub fn summary(&mut self) -> Value {
        self.0.sort_unstable();
        let at = |share: f64| {
            let last = self.0.len().checked_sub(1)?;
            let index = (last as f64 * share).round() as usize;
            self.0.get(index).map(|nanos| f64::from(*nanos) / 1000.0)
        };
        json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut latencies = Latencies::default();
        assert!(latencies.summary()["p50"].is_null());
        for micros in (0..=100).rev() {
            latencies.push(Duration::from_micros(micros));
        }
        assert_eq!(
            latencies.summary(),
            json!({ "p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0 })
        );
    }
}
