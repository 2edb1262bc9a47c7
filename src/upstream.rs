//! Stage 4: a route becomes a live upstream connection. Endpoints and their counts live in a
//! [`Registry`] that every plan generation shares; a [`Lease`] is taken before the dial and its
//! drop is the only release.

mod balance;
pub mod builtin;
mod dial;
mod endpoint;
mod health;
pub mod http1;
mod lease;
mod pool;
mod registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Balance;
use crate::plan::{self, KeepAlive};
use crate::telemetry::{Metrics, Sharded, UpstreamShard};

use self::health::{Glance, Ward};

pub use self::dial::{KEEP_ALIVE, dial, keep_alive};
pub use self::endpoint::Endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::health::fuzzing as check_fuzzing;
pub use self::health::{Checkers, Mishap, Notice, is_local};
pub use self::lease::Lease;
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
    balance: Balance,
    turn: AtomicUsize,
    ward: Ward,
}

impl Upstream {
    /// Joins a planned upstream with the endpoints' live state.
    pub fn new(plan: &plan::Upstream, registry: &Registry, metrics: &Metrics) -> Self {
        let endpoints =
            plan.endpoints.iter().map(|endpoint| registry.endpoint(&plan.name, endpoint)).collect();
        Self {
            name: Arc::from(plan.name.as_str()),
            keep_alive: plan.keep_alive,
            counters: metrics.upstream(&plan.name),
            endpoints,
            balance: plan.balance,
            turn: AtomicUsize::new(0),
            ward: Ward::new(plan.health.clone(), metrics.panic(&plan.name)),
        }
    }

    /// The ids of its endpoints.
    pub fn endpoint_ids(&self) -> impl Iterator<Item = usize> {
        self.endpoints.iter().map(|endpoint| endpoint.id)
    }

    /// Picks an endpoint that is not in `tried` and counts a request on it at once, so that the
    /// next pick sees it; `None` when there is none left.
    pub fn lease(&self, tried: &[Arc<Endpoint>]) -> Option<Lease> {
        // Wrapping is the point: only the remainder is used.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let glance = Glance::default();
        let pick = |heed: bool| {
            let open = |index: usize| {
                let endpoint = self.endpoints.get(index)?;
                let tried = tried.iter().any(|one| Arc::ptr_eq(one, endpoint));
                (!tried && (!heed || glance.admits(endpoint))).then(|| endpoint.load())
            };
            balance::pick(self.balance, self.endpoints.len(), open, turn)
        };
        let mut picked = pick(true);
        if glance.noticed() && self.ward.panics(&self.name, &self.endpoints) {
            picked = pick(false);
        }
        let picked = picked?;
        self.endpoints.get(picked).map(|endpoint| Lease::request(Arc::clone(endpoint)))
    }
}
