//! Moving long-lived sockets to where there is room, resolved and checked.

use std::fmt;
use std::time::Duration;

use crate::config::{self, At, Mistakes, ShedRate};

use super::Balance;

/// When sockets are shed from an upstream's fullest endpoints, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// The fullest endpoint may be so many thousandths of the mean; at least 1000.
    pub max_skew: u32,
    /// How fast; above zero.
    pub rate: ShedRate,
}

/// Slow enough that nobody notices, and an hour for a whole server in two.
const RATE: ShedRate = ShedRate { amount: 1, is_share: true, per: Duration::from_secs(60) };

impl Rebalance {
    /// What is written of the upstream at `at`, which picks by `balance`.
    pub(super) fn build(
        written: &config::Upstream,
        balance: &Balance,
        at: &At,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let (upstream, at, written) = (written, at.key("rebalance"), written.rebalance?);
        if *balance != Balance::LeastConnections {
            mistakes.add(
                &at,
                "who is moved must meet the endpoint that has room: \
                 write `balance: least_connections`, or leave `rebalance` out",
            );
        }
        if upstream.sticky.is_some() {
            mistakes.add(
                &at,
                "`sticky` brings everybody back to where they came from: keep one of the two",
            );
        }
        let rate = written.rate.unwrap_or(RATE);
        if rate.amount == 0 {
            let told = "nobody would ever be moved: write `1%/min`, say, or leave `rebalance` out";
            mistakes.add(&at.key("rate"), told);
        }
        Some(Self { max_skew: written.max_skew.map_or(1250, |ratio| ratio.0), rate })
    }
}

impl fmt::Display for Rebalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over {} of the mean, {}", f64::from(self.max_skew) / 1000.0, self.rate)
    }
}
