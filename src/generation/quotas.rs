//! The quotas of one generation, with counts that go on over reloads.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::guard::quota::{Quota, Refused, Seats};
use crate::plan::{self, Facts, Plan};
use crate::upstream::gate::Told;

/// A quota in force.
#[derive(Debug)]
pub struct LiveQuota {
    /// What counts.
    pub quota: Quota,
    /// When a refusal was last told.
    pub told: Told,
    /// The name of the route that it belongs to; `None` for all routes.
    route: Option<String>,
    /// When its clock began.
    began: Instant,
}

/// All quotas of a plan.
#[derive(Debug)]
pub(super) struct Quotas {
    all: Vec<Arc<LiveQuota>>,
    /// By route id, each in the order in which they are asked.
    of_routes: Vec<Vec<Arc<LiveQuota>>>,
}

impl LiveQuota {
    /// Counts a request of `client` now; see [`Quota::judge`].
    ///
    /// # Errors
    /// What there is too much of.
    pub fn judge(
        &self,
        facts: &Facts<'_>,
        client: IpAddr,
        seats: &mut Seats,
    ) -> Result<(), Refused> {
        self.quota.judge(facts, client, self.began.elapsed(), seats)
    }
}

impl Quotas {
    /// Those of `plan`. One of the same route that counts the same clients or keys goes on where its
    /// like in `before` was; of several that do, the one that is equal.
    pub(super) fn after(before: Option<&Self>, plan: &Plan) -> Self {
        let mut old: Vec<_> = before.into_iter().flat_map(|before| &before.all).collect();
        let mut live = |route: Option<&str>, new: &plan::Quota| {
            let at = |is_like: fn(&plan::Quota, &plan::Quota) -> bool| {
                let like = |one: &&Arc<LiveQuota>| {
                    one.route.as_deref() == route && is_like(one.quota.plan(), new)
                };
                old.iter().position(like)
            };
            let at = at(|one, new| one == new).or_else(|| at(|one, new| one.per == new.per));
            let known = at.map(|at| old.remove(at));
            Arc::new(LiveQuota {
                quota: Quota::after(known.map(|known| &known.quota), new.clone()),
                told: Told::default(),
                route: route.map(str::to_owned),
                began: known.map_or_else(Instant::now, |known| known.began),
            })
        };
        let common: Vec<_> = plan.quotas.iter().map(|new| live(None, new)).collect();
        let mut all = common.clone();
        let mut of_routes = Vec::new();
        for route in plan.routes.all() {
            let own: Vec<_> = route.quotas.iter().map(|new| live(Some(&route.name), new)).collect();
            all.extend(own.iter().cloned());
            let common = common.iter().cloned();
            let order = plan::Quota::in_order(own.into_iter(), common, |one| one.quota.plan());
            of_routes.push(order);
        }
        Self { all, of_routes }
    }

    /// Those that count the requests of a route.
    pub(super) fn of(&self, route: usize) -> &[Arc<LiveQuota>] {
        self.of_routes.get(route).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::{HeaderMap, Method};

    use super::*;
    use crate::config;

    fn quotas(before: Option<&Quotas>, common: &str, routes: [&str; 2]) -> Quotas {
        let routes = routes.map(|own| format!("{{ upstream: up, quotas: [ {own} ] }}")).join(", ");
        let yaml = format!(
            "listeners: [ {{ address: 127.0.0.1:0 }} ]\nupstreams: {{ up: {{ builtin: echo }} }}\n\
             quotas: [ {common} ]\nroutes: [ {routes} ]\n"
        );
        let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        Quotas::after(before, &mistakes.into_result(plan).unwrap())
    }

    /// Whether a further request passes a quota.
    fn passes(live: &LiveQuota) -> bool {
        let facts = Facts {
            host: "a",
            path: "/",
            query: None,
            method: &Method::GET,
            headers: &HeaderMap::new(),
            websocket: false,
        };
        live.judge(&facts, IpAddr::from([192, 0, 2, 1]), &mut Seats::default()).is_ok()
    }

    #[test]
    fn counts_of_all_routes_are_one_and_those_of_a_route_are_its_own() {
        let now = quotas(None, "{ requests: 1/h }", ["{ requests: 1/h }", ""]);
        let [own, common] = now.of(0) else { panic!("{now:?}") };
        assert!(passes(own) && passes(common));
        assert!(!passes(&now.of(1)[0]), "the first route's requests count here too");
        assert!(now.of(2).is_empty());
    }

    #[test]
    fn each_goes_on_as_its_equal_also_among_routes_of_one_name() {
        // Neither route has a name of its own, so both are `/`.
        let (slow, fast) = ("{ requests: 1/h }", "{ requests: 2/h }");
        let old = quotas(None, "", [slow, slow]);
        assert!(passes(&old.of(0)[0]));
        let new = quotas(Some(&old), "", [slow, slow]);
        assert!(!passes(&new.of(0)[0]));
        assert!(passes(&new.of(1)[0]), "two routes have not become one count");
        // One in front of it does not take its place.
        let both = format!("{fast}, {slow}");
        let newer = quotas(Some(&new), "", [&both, ""]);
        assert!(passes(&newer.of(0)[0]));
        assert!(!passes(&newer.of(0)[1]));
    }
}
