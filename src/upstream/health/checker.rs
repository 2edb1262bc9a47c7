//! The active checks of one endpoint, one after another for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::{Endpoint, Latest};
use super::probe::Fault;
use super::streak::Streak;
use super::told::Told;
use crate::jitter::part_of;
use crate::plan::ActiveCheck;
use crate::telemetry::CheckOutcome;

/// The first check comes no later than this, so that a start is not blind for long.
const FIRST: Duration = Duration::from_secs(1);

/// The shard of [`UpstreamShard`](crate::telemetry::UpstreamShard) that is no worker's.
pub(super) const NO_WORKER: usize = usize::MAX;

/// The checks of one endpoint.
pub(super) struct Checker {
    /// The one of the plan in force: others may join the endpoint, or leave.
    pub(super) upstream: Arc<Latest>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) check: ActiveCheck,
    pub(super) streak: Streak,
    /// Its tunnels hear of it, where the upstream says so.
    pub(super) tunnels: Option<Arc<Told>>,
}

impl Checker {
    /// Checks at each interval, for ever.
    pub(super) async fn run<F: Future<Output = Result<(), Fault>>>(
        mut self,
        mut probe: impl FnMut() -> F,
    ) {
        let standing = &self.endpoint.standing;
        let first = standing.until_check(self.check.interval);
        sleep(first.saturating_add(part_of(FIRST.min(self.check.interval)))).await;
        loop {
            let began = Instant::now();
            self.endpoint.standing.note_check();
            let result = timeout(self.check.timeout, probe()).await;
            let result = result.unwrap_or_else(|_| {
                let why = format!("not done within {:?}", self.check.timeout);
                Err(Fault::new(CheckOutcome::Timeout, why))
            });
            self.note(&result, began.elapsed());
            // Each interval is longer by a share of its own: what began together spreads.
            let next = self.check.interval.saturating_add(part_of(self.check.interval / 10));
            // A check takes no longer than an interval.
            match began.checked_add(next) {
                Some(next) => sleep_until(next).await,
                None => return,
            }
        }
    }

    fn note(&mut self, result: &Result<(), Fault>, took: Duration) {
        let outcome = result.as_ref().map_or_else(|fault| fault.outcome, |()| CheckOutcome::Passed);
        let Some(of) = self.upstream.now() else { return };
        let counters = of.counters.at(NO_WORKER);
        counters.count_check(outcome);
        if outcome == CheckOutcome::Passed {
            counters.check_seconds.observe(took);
        }
        let (upstream, endpoint) = (&*of.name, self.endpoint.label.as_str());
        if let Err(why) = result {
            tracing::debug!(upstream, endpoint, %why, "a health check failed");
        }
        // Bowline's own trouble says nothing.
        if outcome != CheckOutcome::Local {
            let turned = self.streak.note(result.is_ok(), self.check.rise, self.check.fall);
            if let Some(up) = turned
                && self.endpoint.standing.set_down(!up)
            {
                match result {
                    Ok(()) => {
                        // Who waits for room finds some.
                        self.endpoint.house.freed();
                        let passed = self.check.rise;
                        tracing::info!(upstream, endpoint, passed, "an endpoint is up");
                    }
                    Err(why) => {
                        let failed = self.check.fall;
                        tracing::warn!(upstream, endpoint, failed, last = %why, "an endpoint is down");
                    }
                }
            }
        }
        // Others may have changed that meanwhile: looked at each time, and told when it is news.
        let panics = of.ward.panics(&of.name, &of.endpoints);
        if let Some(tunnels) = &self.tunnels {
            tunnels.set(self.endpoint.standing.is_down() && !panics);
        }
    }
}

#[cfg(test)]
mod tests;
