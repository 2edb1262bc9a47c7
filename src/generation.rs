//! One plan brought to life: its routes and upstreams joined with the counters and endpoint
//! states that outlive it. Workers read the current generation through one pointer.

use std::borrow::Cow;
use std::sync::Arc;

use crate::plan::{self, Plan};
use crate::telemetry::{InUse, Metrics, RouteShard, Sharded};
use crate::tunnel::{self, Pulses, Rules};
use crate::upstream::{Registry, Upstream};

/// A plan with its live parts; immutable, shared by every request that began under it.
#[derive(Debug)]
pub struct Generation {
    /// What was planned.
    pub plan: Arc<Plan>,
    /// By the ids that routes use.
    pub upstreams: Vec<Arc<Upstream>>,
    /// By route id.
    pub routes: Vec<Arc<LiveRoute>>,
    in_use: Arc<InUse>,
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
    /// Brings `plan` to life, with the endpoints that it names itself.
    pub fn new(plan: Plan, registry: &Registry, metrics: &Metrics) -> Self {
        Self::after(None, Arc::new(plan), as_planned, registry, metrics)
    }

    /// What follows `before`. `found` completes an upstream with the endpoints that were found for it.
    /// What does not differ is the same as before.
    pub fn after(
        before: Option<&Self>,
        plan: Arc<Plan>,
        found: impl Fn(&plan::Upstream) -> Cow<'_, plan::Upstream>,
        registry: &Registry,
        metrics: &Metrics,
    ) -> Self {
        let known = |name: &str| before?.upstreams.iter().find(|one| *one.name == *name);
        let upstreams: Vec<_> = plan
            .upstreams
            .iter()
            .map(|one| Upstream::after(known(&one.name), &found(one), registry, metrics))
            .collect();
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.plan, &plan)) {
            let (routes, in_use) = (before.routes.clone(), Arc::clone(&before.in_use));
            return Self { plan, upstreams, routes, in_use };
        }
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
        Self { plan, upstreams, routes, in_use: Arc::new(metrics.reloads().begin()) }
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

/// An upstream with the endpoints that its plan names, and no others.
pub fn as_planned(upstream: &plan::Upstream) -> Cow<'_, plan::Upstream> {
    Cow::Borrowed(upstream)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::upstream::Claim;

    const BOTH: &str = "
listeners: [ { address: '127.0.0.1:0' } ]
routes: [ { name: a, match: { path: /a }, upstream: a }, { name: b, upstream: b } ]
upstreams:
  a: { endpoints: [ '10.0.0.1:1', '10.0.0.2:1' ], balance: round_robin }
  b: { endpoints: [ '10.0.0.1:1', '10.0.0.2:1' ], balance: round_robin }
";

    fn plan(text: &str) -> Plan {
        let (config, mut mistakes) = config::parse("test", text, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        mistakes.into_result(plan).unwrap()
    }

    struct Bench(Registry, Arc<Metrics>, Generation);

    impl Bench {
        fn new() -> Self {
            let (registry, metrics) = (Registry::default(), Metrics::new(1));
            let first = Generation::new(plan(BOTH), &registry, &metrics);
            Self(registry, metrics, first)
        }

        /// The next generation, where upstream `a` has these endpoints.
        fn next(&mut self, plan: Arc<Plan>, ports: &[u16]) {
            let found = |one: &plan::Upstream| -> Vec<plan::Endpoint> {
                let at = |port: &u16| plan::Endpoint::at(([10, 0, 0, 9], *port).into());
                match one.name.as_str() {
                    "a" => ports.iter().map(at).collect(),
                    _ => one.endpoints.clone(),
                }
            };
            let (registry, metrics) = (&self.0, &self.1);
            let whole =
                |one: &plan::Upstream| plan::Upstream { endpoints: found(one), ..one.clone() };
            self.2 = Generation::after(
                Some(&self.2),
                plan,
                |one| Cow::Owned(whole(one)),
                registry,
                metrics,
            );
        }

        fn upstream(&self, index: usize) -> Arc<Upstream> {
            Arc::clone(&self.2.upstreams[index])
        }
    }

    #[test]
    fn an_upstream_that_does_not_differ_is_the_same_one_and_goes_on_where_it_was() {
        let mut bench = Bench::new();
        let (a, b) = (bench.upstream(0), bench.upstream(1));
        bench.next(Arc::new(plan(BOTH)), &[1, 2]);
        assert!(Arc::ptr_eq(&bench.upstream(1), &b));
        assert!(!Arc::ptr_eq(&bench.upstream(0), &a));
        let pick = |upstream: &Upstream| {
            upstream.lease(&Claim::default(), &[]).unwrap().endpoint().label.clone()
        };
        // Whoever had the last turn does not get the next one, too.
        let mut turns = vec![pick(&bench.upstream(0))];
        for ports in [[1, 2].as_slice(), &[1, 2, 3], &[1, 2]] {
            bench.next(Arc::clone(&bench.2.plan), ports);
            turns.push(pick(&bench.upstream(0)));
        }
        assert_eq!(turns[..2], ["10.0.0.9:1", "10.0.0.9:2"]);
        assert_eq!(turns[2..], ["10.0.0.9:3", "10.0.0.9:2"], "turns 2 of 3, 3 of 2");
    }

    #[test]
    fn the_same_plan_keeps_its_routes_and_counts_once() {
        let mut bench = Bench::new();
        let same = Arc::clone(&bench.2.plan);
        let route = Arc::clone(&bench.2.routes[0]);
        bench.next(Arc::clone(&same), &[1]);
        assert!(Arc::ptr_eq(&bench.2.routes[0], &route));
        assert!(bench.1.encode().contains("bowline_config_generations 1\n"));
        bench.next(Arc::new(plan(BOTH)), &[1]);
        assert!(!Arc::ptr_eq(&bench.2.routes[0], &route));
    }

    #[test]
    fn a_route_that_a_tunnel_keeps_holds_no_endpoint() {
        let mut bench = Bench::new();
        let _route = Arc::clone(&bench.2.routes[0]);
        let same = Arc::clone(&bench.2.plan);
        for port in 1..20 {
            bench.next(Arc::clone(&same), &[port]);
        }
        let known: Vec<_> = bench.0.gauges().into_iter().map(|one| one.endpoint).collect();
        assert_eq!(known.iter().filter(|one| one.starts_with("10.0.0.9:")).count(), 1, "{known:?}");
    }
}
