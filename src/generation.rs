//! One plan brought to life: its routes and upstreams joined with the counters and endpoint
//! states that outlive it. Workers read the current generation through one pointer.

use std::sync::Arc;

use crate::plan::{self, Plan};
use crate::telemetry::{Metrics, RouteShard, Sharded};
use crate::upstream::{Registry, Upstream};

/// A plan with its live parts; immutable, shared by every request that began under it.
#[derive(Debug)]
pub struct Generation {
    /// What was planned.
    pub plan: Plan,
    /// By the ids that routes use.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Name and counters, by route id.
    pub routes: Vec<LiveRoute>,
}

/// What of a route outlives its plan.
#[derive(Clone, Debug)]
pub struct LiveRoute {
    /// Its name, for logs.
    pub name: Arc<str>,
    /// Its counters, per worker.
    pub counters: Arc<Sharded<RouteShard>>,
}

impl Generation {
    /// Brings `plan` to life.
    pub fn new(plan: Plan, registry: &Registry, metrics: &Metrics) -> Self {
        let upstreams = plan
            .upstreams
            .iter()
            .map(|upstream| Arc::new(Upstream::new(upstream, registry, metrics)))
            .collect();
        let routes = plan
            .routes
            .all()
            .iter()
            .map(|route| LiveRoute {
                name: Arc::from(route.name.as_str()),
                counters: metrics.route(&route.name),
            })
            .collect();
        Self { plan, upstreams, routes }
    }

    /// Everything about the route that takes a request.
    pub fn find(&self, facts: &plan::Facts<'_>) -> Option<Way<'_>> {
        let (id, route) = self.plan.routes.find(facts)?;
        Some(Way {
            route,
            live: self.routes.get(id)?,
            upstream: self.upstreams.get(route.upstream)?,
        })
    }
}

/// Where one request goes.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The route as planned.
    pub route: &'a plan::Route,
    /// Its name and counters.
    pub live: &'a LiveRoute,
    /// Its upstream.
    pub upstream: &'a Arc<Upstream>,
}
