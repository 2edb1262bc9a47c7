//! One worker's counters of one upstream: its connections, not what they carry. Checks are counted
//! in the slot that is no worker's.

use super::{CheckOutcome, Counter, Histogram, LATENCY};

/// What happened to connections of one upstream, as one worker saw it.
#[derive(Debug)]
pub struct UpstreamShard {
    /// Connections opened.
    pub connects: Counter,
    /// Dials that failed, each attempt by itself.
    pub connect_failures: Counter,
    /// Dials that found no free port, each source address by itself.
    pub no_port: Counter,
    /// Dials from a source address that this machine does not have, or that does not lead there.
    pub source_missing: Counter,
    /// Requests that went out on a kept connection.
    pub reused: Counter,
    /// Attempts after the first, on another endpoint or on a fresh connection.
    pub retries: Counter,
    /// Retries that the budget did not allow.
    pub retries_refused: Counter,
    /// How often this worker's breaker opened.
    pub breaker_opens: Counter,
    /// Requests that waited because `max_connections` were under way.
    pub queued: Counter,
    /// Upgrades that waited because `upgrades.in_progress` were under way.
    pub upgrades_queued: Counter,
    /// Tunnels that were told to come back, for there is more room elsewhere.
    pub rebalanced: Counter,
    /// How long successful dials took, TLS to the upstream included.
    pub connect_seconds: Histogram,
    /// Active checks by outcome, indexed as [`CheckOutcome::ALL`].
    pub checks: [Counter; CheckOutcome::ALL.len()],
    /// How long checks took that passed.
    pub check_seconds: Histogram,
}

impl UpstreamShard {
    /// Counts a check.
    pub fn count_check(&self, outcome: CheckOutcome) {
        if let Some(counter) = self.checks.get(outcome as usize) {
            counter.inc();
        }
    }
}

impl Default for UpstreamShard {
    fn default() -> Self {
        Self {
            connects: Counter::default(),
            connect_failures: Counter::default(),
            no_port: Counter::default(),
            source_missing: Counter::default(),
            reused: Counter::default(),
            retries: Counter::default(),
            retries_refused: Counter::default(),
            breaker_opens: Counter::default(),
            queued: Counter::default(),
            upgrades_queued: Counter::default(),
            rebalanced: Counter::default(),
            connect_seconds: Histogram::new(&LATENCY),
            checks: Default::default(),
            check_seconds: Histogram::new(&LATENCY),
        }
    }
}
