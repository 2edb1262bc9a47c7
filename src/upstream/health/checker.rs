//! The active checks: one task for each endpoint, for as long as its [`Checkers`] lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::{Endpoint, Upstream};
use super::probe::{self, Fault};
use super::streak::Streak;
use crate::plan::ActiveCheck;
use crate::telemetry::CheckOutcome;

/// The first check comes no later than this, so that a start is not blind for long.
const FIRST: Duration = Duration::from_secs(1);

/// The shard of [`UpstreamShard`](crate::telemetry::UpstreamShard) that is no worker's.
const NO_WORKER: usize = usize::MAX;

/// What becomes of the live tunnels of an endpoint, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// They are to be told to close, at a pace, and so are those that still begin.
    Drain(usize),
    /// No further one is.
    Keep(usize),
}

/// The checks of all endpoints of a generation. A drop ends them.
///
/// What they found stays with the endpoints. The old set is to be dropped before the next one starts:
/// its last notices come before the first of the other.
#[derive(Debug)]
pub struct Checkers {
    _tasks: JoinSet<()>,
}

impl Checkers {
    /// Starts the checks of `upstreams` in the runtime of the caller. `notices` hears of endpoints whose
    /// upstream says `on_down: drain`.
    pub fn start<'a>(
        upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>,
        notices: &mpsc::UnboundedSender<Notice>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for upstream in upstreams {
            for endpoint in &upstream.endpoints {
                let Some(check) = upstream.ward.plan.active.clone() else {
                    // Nobody would ever find that it is up again.
                    endpoint.standing.set_down(false);
                    continue;
                };
                let drains = upstream.ward.plan.drain_when_down;
                let checker = Checker {
                    streak: Streak::new(!endpoint.standing.is_down()),
                    upstream: Arc::clone(upstream),
                    endpoint: Arc::clone(endpoint),
                    drain: drains.then(|| Drain::new(endpoint.id, notices.clone())),
                    check: check.clone(),
                };
                let endpoint = Arc::clone(endpoint);
                let probe = Arc::new(check.probe);
                tasks.spawn(checker.run(move || {
                    let (endpoint, probe) = (Arc::clone(&endpoint), Arc::clone(&probe));
                    async move { probe::check(&endpoint, &probe).await }
                }));
            }
        }
        Self { _tasks: tasks }
    }
}

/// The checks of one endpoint.
struct Checker {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    check: ActiveCheck,
    streak: Streak,
    drain: Option<Drain>,
}

impl Checker {
    /// Checks at each interval, for ever.
    async fn run<F: Future<Output = Result<(), Fault>>>(mut self, mut probe: impl FnMut() -> F) {
        let standing = &self.endpoint.standing;
        let first = standing.until_check(self.check.interval);
        sleep(first.saturating_add(share(FIRST.min(self.check.interval)))).await;
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
            let next = self.check.interval.saturating_add(share(self.check.interval / 10));
            // A check takes no longer than an interval.
            match began.checked_add(next) {
                Some(next) => sleep_until(next).await,
                None => return,
            }
        }
    }

    fn note(&mut self, result: &Result<(), Fault>, took: Duration) {
        let outcome = result.as_ref().map_or_else(|fault| fault.outcome, |()| CheckOutcome::Passed);
        let counters = self.upstream.counters.at(NO_WORKER);
        counters.count_check(outcome);
        if outcome == CheckOutcome::Passed {
            counters.check_seconds.observe(took);
        }
        let (upstream, endpoint) = (&*self.upstream.name, self.endpoint.label.as_str());
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
        let panics = self.upstream.ward.panics(&self.upstream.name, &self.upstream.endpoints);
        if let Some(drain) = &mut self.drain {
            drain.set(self.endpoint.standing.is_down() && !panics);
        }
    }
}

/// Whether the tunnels of an endpoint are being told. A drop takes it back.
struct Drain {
    endpoint: usize,
    on: bool,
    notices: mpsc::UnboundedSender<Notice>,
}

impl Drain {
    fn new(endpoint: usize, notices: mpsc::UnboundedSender<Notice>) -> Self {
        Self { endpoint, on: false, notices }
    }

    fn set(&mut self, on: bool) {
        if on != self.on {
            self.on = on;
            let notice =
                if on { Notice::Drain(self.endpoint) } else { Notice::Keep(self.endpoint) };
            // Nobody listens at the end of the process, which ends all tunnels.
            self.notices.send(notice).ok();
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A part of `span` at random.
fn share(span: Duration) -> Duration {
    span.mul_f64(f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
