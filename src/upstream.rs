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
pub mod gate;
mod hash;
mod health;
pub mod http1;
mod latest;
mod lease;
mod loads;
mod open_packet;
mod pool;
mod rebalance;
mod registry;
mod sessions;
mod socket;

use std::cell::Cell;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use self::affinity::Affinity;
use self::balance::{Balancer, Draw, Policy, Snapshot, WARM};
use crate::plan::{self, Bounds, Facts, KeepAlive, ProxyVersion, QueueTerms, Sparing};
use crate::proxy_protocol::{self, Ends};
use crate::telemetry::{Metrics, Sharded, UpstreamShard};

use self::dial::Departure;
use self::gate::{House, Seat, Upgrades};
use self::health::{Glance, Look, Ward};
use self::loads::Loads;

pub use self::affinity::{Asker, Claim};
pub use self::dial::KEEP_ALIVE;
pub use self::endpoint::Endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::health::fuzzing as check_fuzzing;
pub use self::health::{Checkers, Mishap, Notice, is_local};
pub use self::latest::Latest;
pub use self::lease::Lease;
pub use self::open_packet::Overhearing;
pub use self::pool::Pool;
pub use self::rebalance::{Member, News, Rebalance, Tick};
pub use self::registry::Registry;
pub use self::socket::Socket;

/// A plan's upstream with its live endpoints and counters.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// How idle connections to it are kept.
    pub keep_alive: KeepAlive,
    /// How its servers are told who the client is, before anything else; `None` for not at all.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Its counters, per worker.
    pub counters: Arc<Sharded<UpstreamShard>>,
    /// How fast it takes new WebSockets; `None` for as fast as they come.
    pub upgrades: Option<Arc<Upgrades>>,
    /// How many upgrades may be under way to it, and who of them is or waits; `None` for any number.
    pub in_progress: Option<(plan::InProgress, Arc<House>)>,
    /// What it carries at most.
    pub bounds: Bounds,
    /// Who may wait when it is full; `None` for nobody.
    pub queue: Option<QueueTerms>,
    /// Endpoints that one request tries at most.
    pub attempts: usize,
    /// When it is spared; `None` for never.
    pub sparing: Option<Sparing>,
    /// Whether sockets are moved to where there is room; `None` for never.
    pub rebalance: Option<plan::Rebalance>,
    /// Who is counted and waits.
    pub house: Arc<House>,
    departure: Departure,
    /// Where the newest of its name is found.
    pub latest: Arc<Latest>,
    plan: plan::Upstream,
    endpoints: Vec<Arc<Endpoint>>,
    loads: Loads,
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
    /// What follows `before` in the next plan: the same, where nothing differs. It is the newest then.
    pub fn after(
        before: Option<&Arc<Self>>,
        plan: &plan::Upstream,
        registry: &Registry,
        metrics: &Metrics,
    ) -> Arc<Self> {
        if let Some(before) = before.filter(|before| before.plan == *plan) {
            return Arc::clone(before);
        }
        let mut fresh = Self::new(plan, registry, metrics);
        if let Some(before) = before {
            // The next one's turn is the next one's.
            fresh.turn = AtomicU64::new(before.turn.load(Ordering::Relaxed));
            fresh.seed = before.seed;
        }
        let fresh = Arc::new(fresh);
        fresh.latest.is(&fresh);
        fresh
    }

    /// Joins a planned upstream with the endpoints' live state.
    pub fn new(plan: &plan::Upstream, registry: &Registry, metrics: &Metrics) -> Self {
        let endpoints = registry.endpoints(&plan.name, &plan.endpoints);
        Self {
            name: Arc::from(plan.name.as_str()),
            keep_alive: plan.keep_alive,
            proxy_protocol: plan.proxy_protocol,
            counters: metrics.upstream(&plan.name),
            upgrades: registry.upgrades(&plan.name, plan.gates.upgrades),
            in_progress: plan.gates.in_progress.map(|terms| (terms, registry.porch(&plan.name))),
            bounds: plan.gates.bounds,
            queue: plan.gates.queue,
            attempts: plan.gates.attempts,
            sparing: plan.gates.sparing,
            rebalance: plan.rebalance,
            house: registry.house(&plan.name),
            departure: Departure::new(&plan.source_addresses),
            latest: registry.latest(&plan.name),
            plan: plan.clone(),
            ward: Ward::new(plan, metrics.panic(&plan.name)),
            loads: Loads::of(&endpoints),
            endpoints,
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

    /// What is to go out first on a connection for the client at one of `ends`, or for nobody's; `None`
    /// where servers want no such thing.
    pub(crate) fn preface(&self, ends: impl FnOnce() -> Option<Ends>) -> Option<Bytes> {
        self.proxy_protocol.map(|version| proxy_protocol::write(version, ends()).into())
    }

    /// The ids of its endpoints.
    pub fn endpoint_ids(&self) -> impl Iterator<Item = usize> {
        self.endpoints.iter().map(|endpoint| endpoint.id)
    }

    /// Those among whom sockets may move, of which `leaving` tells by its id how many are on their way
    /// out already; none while health is ignored.
    pub fn members(&self, leaving: impl Fn(usize) -> usize) -> Vec<Member> {
        if self.ward.is_ignored() {
            return Vec::new();
        }
        let slow_start = self.slow_start.map(|slow| (slow, Instant::now()));
        let most = self.bounds.endpoint.map_or(usize::MAX, |most| most.get() as usize);
        let first = self.balancer.first_choice();
        let open = first.filter_map(|(index, weight)| Some((self.endpoints.get(index)?, weight)));
        // Looking ends an ejection that is over: no request may come for long.
        let open = open.filter(|(endpoint, _)| endpoint.look() != Look::Shut);
        let member = |(endpoint, weight): (&Arc<Endpoint>, u16)| Member {
            id: endpoint.id,
            weight,
            warmth: warmth(endpoint, slow_start),
            tunnels: endpoint.tunnels() as u64,
            leaving: leaving(endpoint.id) as u64,
            room: most.saturating_sub(endpoint.load()) as u64,
        };
        open.map(member).collect()
    }

    /// When the next of its endpoints comes back from an ejection, if one is ejected.
    pub fn next_return(&self) -> Option<Duration> {
        self.endpoints.iter().filter_map(|endpoint| endpoint.returns_in()).min()
    }

    /// Picks an endpoint that is not in `tried` and counts a request on it at once, so that the
    /// next pick sees it. Where somebody waits already, whoever comes is told to do the same.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lease(&self, claim: &Claim, tried: &[Arc<Endpoint>]) -> Result<Lease, Shut> {
        if self.queue.is_some() && self.house.waiting() > 0 {
            return Err(Shut::Full);
        }
        // What is given back rings for whoever has begun to wait in the meantime.
        self.attempt(claim, tried).map_err(|(shut, _)| shut)
    }

    /// The same for who stands at the front of the queue.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lease_at_front(&self, claim: &Claim, tried: &[Arc<Endpoint>]) -> Result<Lease, Shut> {
        self.attempt(claim, tried).map_err(|(shut, seat)| {
            seat.withdraw();
            shut
        })
    }

    fn attempt(&self, claim: &Claim, tried: &[Arc<Endpoint>]) -> Result<Lease, (Shut, Seat)> {
        let most = self.bounds.upstream.map(NonZeroU32::get);
        let mut seat = match most.map(|most| self.house.seat(most)) {
            Some(None) => return Err((Shut::Full, Seat::default())),
            Some(Some(seat)) => seat,
            None => Seat::default(),
        };
        loop {
            let endpoint = match self.pick(claim, tried) {
                Ok(endpoint) => endpoint,
                Err(shut) => return Err((shut, seat)),
            };
            let most = self.bounds.endpoint.map(NonZeroU32::get);
            // It may have filled up since it was picked: the next pick sees that.
            if let Some(lease) = Lease::request(endpoint, most, &mut seat) {
                return Ok(lease);
            }
        }
    }

    fn pick(&self, claim: &Claim, tried: &[Arc<Endpoint>]) -> Result<&Arc<Endpoint>, Shut> {
        // Wrapping is the point: only remainders are used.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let glance = Glance::default();
        let most = self.bounds.endpoint.map_or(usize::MAX, |most| most.get() as usize);
        let full = Cell::new(false);
        let pick = |heed: bool| {
            let open = |endpoint: &Arc<Endpoint>| {
                let tried = tried.iter().any(|one| Arc::ptr_eq(one, endpoint));
                let is_open = !tried && (!heed || glance.admits(endpoint));
                if is_open && most != usize::MAX && endpoint.load() >= most {
                    full.set(true);
                    return false;
                }
                is_open
            };
            let now = Now {
                endpoints: &self.endpoints,
                loads: &self.loads,
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
        let picked = picked.and_then(|picked| self.endpoints.get(picked));
        picked.ok_or(if full.get() { Shut::Full } else { Shut::NoEndpoint })
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

/// Why a request gets no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// As many are under way as may be, or others wait already.
    Full,
    /// There is none that is open and was not tried.
    NoEndpoint,
}

/// The endpoints at this moment.
struct Now<'a, Open> {
    endpoints: &'a [Arc<Endpoint>],
    loads: &'a Loads,
    /// Whether an endpoint may be picked.
    open: Open,
    slow_start: Option<(Duration, Instant)>,
}

impl<Open: Fn(&Arc<Endpoint>) -> bool> Snapshot for Now<'_, Open> {
    fn load(&self, index: usize) -> Option<usize> {
        let endpoint = self.endpoints.get(index)?;
        (self.open)(endpoint).then(|| endpoint.load())
    }

    fn each_load(&self, range: Range<usize>, see: impl FnMut(usize, u64)) {
        self.loads.each(range, see);
    }

    fn latency(&self, index: usize) -> u64 {
        self.endpoints.get(index).map_or(0, |endpoint| endpoint.handshake_nanos())
    }

    fn is_warm(&self) -> bool {
        self.slow_start.is_none()
    }

    fn warmth(&self, index: usize) -> u16 {
        self.endpoints.get(index).map_or(WARM, |endpoint| warmth(endpoint, self.slow_start))
    }
}

/// How much of its share `endpoint` takes in a slow start that takes so long, at this moment.
fn warmth(endpoint: &Endpoint, slow_start: Option<(Duration, Instant)>) -> u16 {
    let Some((slow, now)) = slow_start else { return WARM };
    let age = endpoint.age(now).into_iter().chain(endpoint.since_back()).min();
    age.map_or(WARM, |age| balance::warmth(age, slow))
}

#[cfg(test)]
mod tests;
