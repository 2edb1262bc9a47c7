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
