//! Stage 4: a route becomes a live upstream connection. Endpoints and their counts live in a
//! [`Registry`] that every plan generation shares; a [`Lease`] is taken before the dial and its
//! drop is the only release.

mod affinity;
mod balance;
pub mod builtin;
mod cookies;
mod dial;
mod endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod health;
pub mod http1;
mod lease;
mod open_packet;
mod pool;
mod registry;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use self::affinity::Affinity;
use self::balance::{Balancer, Draw, Policy, Snapshot, WARM};
use crate::plan::{self, Facts, KeepAlive};
use crate::telemetry::{Metrics, Sharded, UpstreamShard};

use self::health::{Glance, Ward};

pub use self::affinity::{Asker, Claim};
pub use self::dial::{KEEP_ALIVE, dial, keep_alive};
pub use self::endpoint::Endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::health::fuzzing as check_fuzzing;
pub use self::health::{Checkers, Mishap, Notice, is_local};
pub use self::lease::Lease;
pub use self::open_packet::Overhearing;
pub use self::pool::Pool;
pub use self::registry::Registry;

/// A plan's upstream with its live endpoints and counters.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// How idle connections to it are kept.
    pub keep_alive: KeepAlive,
    /// Its counters, per worker.
    pub counters: Arc<Sharded<UpstreamShard>>,
    endpoints: Vec<Arc<Endpoint>>,
    ward: Ward,
    balancer: Balancer,
    slow_start: Option<Duration>,
    /// `None` where requests are not looked at.
    affinity: Option<Box<Affinity>>,
    turn: AtomicU64,
    /// What makes turns random.
    seed: u64,
}

impl Upstream {
    /// Joins a planned upstream with the endpoints' live state.
    pub fn new(plan: &plan::Upstream, registry: &Registry, metrics: &Metrics) -> Self {
        Self {
            name: Arc::from(plan.name.as_str()),
            keep_alive: plan.keep_alive,
            counters: metrics.upstream(&plan.name),
            ward: Ward::new(plan.health.clone(), metrics.panic(&plan.name)),
            endpoints: registry.endpoints(&plan.name, &plan.endpoints),
            balancer: Balancer::new(Policy::of(&plan.balance), &plan.endpoints),
            slow_start: plan.slow_start,
            affinity: Affinity::new(plan, registry),
            turn: AtomicU64::new(0),
            // Without random numbers all Bowlines take the same turns, which is no harm.
            seed: getrandom::u64().unwrap_or_default(),
        }
    }

    /// Where a request belongs. `asker` is asked only when it matters.
    pub fn claim(&self, facts: &Facts<'_>, asker: impl FnOnce() -> Asker) -> Claim {
        match &self.affinity {
            None => Claim::default(),
            Some(affinity) => affinity.read(facts, asker(), &self.name, &self.endpoints),
        }
    }

    /// The ids of its endpoints.
    pub fn endpoint_ids(&self) -> impl Iterator<Item = usize> {
        self.endpoints.iter().map(|endpoint| endpoint.id)
    }

    /// Picks an endpoint that is not in `tried` and counts a request on it at once, so that the
    /// next pick sees it; `None` when there is none left.
    pub fn lease(&self, claim: &Claim, tried: &[Arc<Endpoint>]) -> Option<Lease> {
        // Wrapping is the point: only remainders are used.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let glance = Glance::default();
        let pick = |heed: bool| {
            let open = |endpoint: &Arc<Endpoint>| {
                let tried = tried.iter().any(|one| Arc::ptr_eq(one, endpoint));
                !tried && (!heed || glance.admits(endpoint))
            };
            let now = Now {
                endpoints: &self.endpoints,
                open,
                slow_start: self.slow_start.map(|slow| (slow, Instant::now())),
            };
            self.bound(claim, &now, turn)
                .or_else(|| self.balancer.pick(&now, Draw::of(turn, self.seed, claim.key)))
        };
        let mut picked = pick(true);
        if glance.noticed() && self.ward.panics(&self.name, &self.endpoints) {
            picked = pick(false);
        }
        let picked = picked?;
        self.endpoints.get(picked).map(|endpoint| Lease::request(Arc::clone(endpoint)))
    }

    /// The endpoint that a request belongs to.
    fn bound(&self, claim: &Claim, now: &impl Snapshot, turn: u64) -> Option<usize> {
        if let Some(index) = claim.bound {
            return now.load(index).map(|_| index);
        }
        let key = claim.sticky_key?;
        self.affinity.as_ref()?.ring()?.pick(now, Draw::of(turn, self.seed, Some(key)))
    }

    /// The `Set-Cookie` that tells a client where it belongs from now on, when `endpoint` has
    /// answered and the client does not know.
    pub fn cookie(&self, claim: &Claim, endpoint: &Arc<Endpoint>) -> Option<HeaderValue> {
        let affinity = self.affinity.as_ref()?;
        let index = self.endpoints.iter().position(|one| Arc::ptr_eq(one, endpoint))?;
        affinity.cookie(claim, index)
    }

    /// What hears the answer of `endpoint`, when it may give out a session.
    pub fn overhearing(&self, claim: &Claim, endpoint: &Endpoint) -> Option<Box<Overhearing>> {
        self.affinity.as_ref()?.overhearing(claim, &self.name, endpoint)
    }
}

/// The endpoints at this moment.
struct Now<'a, Open> {
    endpoints: &'a [Arc<Endpoint>],
    /// Whether an endpoint may be picked.
    open: Open,
    slow_start: Option<(Duration, Instant)>,
}

impl<Open: Fn(&Arc<Endpoint>) -> bool> Snapshot for Now<'_, Open> {
    fn load(&self, index: usize) -> Option<usize> {
        let endpoint = self.endpoints.get(index)?;
        (self.open)(endpoint).then(|| endpoint.load())
    }

    fn latency(&self, index: usize) -> u64 {
        self.endpoints.get(index).map_or(0, |endpoint| endpoint.handshake_nanos())
    }

    fn warmth(&self, index: usize) -> u16 {
        let Some((slow, now)) = self.slow_start else { return WARM };
        let endpoint = self.endpoints.get(index);
        let age = endpoint.and_then(|one| one.age(now).into_iter().chain(one.since_back()).min());
        age.map_or(WARM, |age| balance::warmth(age, slow))
    }
}

#[cfg(test)]
mod tests;
