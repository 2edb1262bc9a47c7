//! One plan brought to life: its routes and upstreams joined with the counters and endpoint
//! states that outlive it. Workers read the current generation through one pointer.

use std::sync::Arc;

use crate::plan::{self, Plan};
use crate::telemetry::{InUse, Metrics, RouteShard, Sharded};
use crate::tunnel::{self, Pulses, Rules};
use crate::upstream::{Registry, Upstream};

/// A plan with its live parts; immutable, shared by every request that began under it.
#[derive(Debug)]
pub struct Generation {
    /// What was planned.
    pub plan: Plan,
    /// By the ids that routes use.
    pub upstreams: Vec<Arc<Upstream>>,
    /// By route id.
    pub routes: Vec<Arc<LiveRoute>>,
    _in_use: InUse,
}

/// What of a route outlives its plan: with its tunnels, so nothing large.
#[derive(Debug)]
pub struct LiveRoute {
    /// Its name, for logs.
    pub name: Arc<str>,
    /// The number of that name, by which its tunnels are found.
    pub number: u32,
    /// Its counters, per worker.
    pub counters: Arc<Sharded<RouteShard>>,
    /// What its tunnels live by.
    pub limits: Arc<tunnel::Limits>,
}

impl Generation {
    /// Brings `plan` to life.
    pub fn new(plan: Plan, registry: &Registry, metrics: &Metrics) -> Self {
        let upstreams: Vec<_> = plan
            .upstreams
            .iter()
            .map(|upstream| Arc::new(Upstream::new(upstream, registry, metrics)))
            .collect();
        let routes = plan
            .routes
            .all()
            .iter()
            .map(|route| {
                Arc::new(LiveRoute {
                    name: Arc::from(route.name.as_str()),
                    number: registry.number(&route.name),
                    counters: metrics.route(&route.name),
                    limits: Arc::new(limits(route)),
                })
            })
            .collect();
        Self { plan, upstreams, routes, _in_use: metrics.reloads().begin() }
    }

    /// The upstream of this name.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|one| *one.name == *name)
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
    pub live: &'a Arc<LiveRoute>,
    /// Its upstream.
    pub upstream: &'a Arc<Upstream>,
}

/// What a route's tunnels live by, in the tunnel's own words.
fn limits(route: &plan::Route) -> tunnel::Limits {
    let (timeouts, websocket) = (&route.timeouts, &route.websocket);
    let pulse =
        |plan: plan::Pulse| tunnel::Pulse { interval: plan.interval, timeout: plan.timeout };
    let rate = |plan: plan::Rate| {
        let plan::Rate { messages, bytes, burst, closes } = plan;
        tunnel::Rate { messages, bytes, burst, closes }
    };
    tunnel::Limits {
        frames: websocket.metered.then_some(Rules {
            strict: websocket.strict,
            max_frame: websocket.max_frame,
            max_message: websocket.max_message,
        }),
        idle: timeouts.idle,
        half_close: timeouts.half_close,
        write: websocket.write_timeout,
        close: websocket.close_timeout,
        tell_loss: websocket.tell_loss,
        pulses: Pulses {
            client: websocket.client_pulse.map(pulse),
            upstream: websocket.upstream_pulse.map(pulse),
        },
        client_rate: websocket.client_rate.map(rate),
        upstream_rate: websocket.upstream_rate.map(rate),
    }
}
