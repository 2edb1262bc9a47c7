//! One worker's counters of one upstream: its connections, not what they carry.

use super::{Counter, Histogram, LATENCY};

/// What happened to connections of one upstream, as one worker saw it.
#[derive(Debug)]
pub struct UpstreamShard {
    /// Connections opened.
    pub connects: Counter,
    /// Dials that failed, each attempt by itself.
    pub connect_failures: Counter,
    /// Requests that went out on a kept connection.
    pub reused: Counter,
    /// Attempts after the first, on another endpoint or on a fresh connection.
    pub retries: Counter,
    /// How long successful dials took, TLS to the upstream included.
    pub connect_seconds: Histogram,
}

impl Default for UpstreamShard {
    fn default() -> Self {
        Self {
            connects: Counter::default(),
            connect_failures: Counter::default(),
            reused: Counter::default(),
            retries: Counter::default(),
            connect_seconds: Histogram::new(&LATENCY),
        }
    }
}
