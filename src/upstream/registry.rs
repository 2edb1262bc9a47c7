//! Every live endpoint by upstream and address, shared by all plan generations: counts outlive
//! the configuration that began them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::gate::{House, Upgrades};
use super::loads::Slot;
use super::sessions::Sessions;
use super::{Endpoint, Latest};
use crate::plan;
use crate::telemetry::EndpointGauge;

/// The endpoints that a plan or a lease still holds.
pub struct Registry {
    known: Mutex<Known>,
    sessions: Arc<Sessions>,
    secret: [u8; 32],
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<(String, String), Weak<Endpoint>>,
    upgrades: HashMap<String, Weak<Upgrades>>,
    houses: HashMap<String, Weak<House>>,
    latest: HashMap<String, Weak<Latest>>,
    /// The same for upgrades that are under way.
    porches: HashMap<String, Weak<House>>,
    next_id: usize,
    /// Upstreams without a secret.
    unsigned: HashSet<String>,
    numbers: HashMap<String, u32>,
}

impl Default for Registry {
    fn default() -> Self {
        let mut random = [0; 40];
        if let Err(error) = getrandom::fill(&mut random) {
            // Linux gives them from the start; whoever goes on without should know.
            tracing::error!(%error, "no random numbers: set `secret`, or sticky cookies can be forged");
        }
        let (seed, secret) = random.split_at(8);
        Self {
            known: Mutex::default(),
            sessions: Arc::new(Sessions::new(seed.iter().fold(0, |n, b| n << 8 | u64::from(*b)))),
            secret: secret.try_into().unwrap_or_default(),
        }
    }
}

impl Registry {
    /// The endpoints of `upstream`, with the counts they already have. One that appears beside
    /// others begins its slow start; where all are new, nobody is there to take their share meanwhile.
    pub(super) fn endpoints(&self, upstream: &str, plan: &[plan::Endpoint]) -> Vec<Arc<Endpoint>> {
        let mut known = self.lock();
        known.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        let is_known = plan
            .iter()
            .any(|one| known.endpoints.contains_key(&(upstream.to_owned(), one.label.clone())));
        // Who appears together stands together.
        let mut slots = Slot::row(plan.len());
        let live = plan.iter().map(|plan| known.endpoint(upstream, plan, is_known, &mut slots));
        live.collect()
    }

    /// Where the newest `upstream` is found.
    pub(super) fn latest(&self, upstream: &str) -> Arc<Latest> {
        let mut known = self.lock();
        if let Some(latest) = known.latest.get(upstream).and_then(Weak::upgrade) {
            return latest;
        }
        known.latest.retain(|_, latest| latest.strong_count() > 0);
        let latest = Arc::<Latest>::default();
        known.latest.insert(upstream.to_owned(), Arc::downgrade(&latest));
        latest
    }

    /// Who is counted and who waits at `upstream`.
    pub(super) fn house(&self, upstream: &str) -> Arc<House> {
        self.lock().house(upstream)
    }

    /// Whose upgrade is under way at `upstream`, and who waits for that.
    pub(super) fn porch(&self, upstream: &str) -> Arc<House> {
        kept(&mut self.lock().porches, upstream)
    }

    /// The pace of the upgrades of `upstream`, from where it stands.
    pub(super) fn upgrades(
        &self,
        upstream: &str,
        terms: Option<plan::UpgradeTerms>,
    ) -> Option<Arc<Upgrades>> {
        let mut known = self.lock();
        known.upgrades.retain(|_, upgrades| upgrades.strong_count() > 0);
        let terms = terms?;
        let before = known.upgrades.get(upstream).and_then(Weak::upgrade);
        if let Some(before) = before.as_ref().filter(|before| *before.terms() == terms) {
            return Some(Arc::clone(before));
        }
        let upgrades = Arc::new(Upgrades::new(terms, before.as_deref()));
        known.upgrades.insert(upstream.to_owned(), Arc::downgrade(&upgrades));
        Some(upgrades)
    }

    /// The sessions that upstreams gave out.
    pub(super) fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions)
    }

    /// What signs the cookies of `upstream` where nobody gave a secret: another one in every process,
    /// which is told once.
    pub(super) fn secret(&self, upstream: &str) -> &[u8] {
        if self.lock().unsigned.insert(upstream.to_owned()) {
            tracing::warn!(
                upstream,
                "sticky cookies are signed with a key of this process alone: \
                 set `secret`, so that other Bowlines and the next start honour them"
            );
        }
        &self.secret
    }

    /// A number for a name (of a route, say), the same in every plan.
    pub fn number(&self, name: &str) -> u32 {
        let mut known = self.lock();
        let next = u32::try_from(known.numbers.len()).unwrap_or(u32::MAX);
        *known.numbers.entry(name.to_owned()).or_insert(next)
    }

    /// What each endpoint carries now.
    pub fn gauges(&self) -> Vec<EndpointGauge> {
        let known = self.lock();
        let live = known.endpoints.iter().filter_map(|((upstream, label), endpoint)| {
            let endpoint = endpoint.upgrade()?;
            Some(EndpointGauge {
                upstream: upstream.clone(),
                endpoint: label.clone(),
                tunnels: endpoint.tunnels() as u64,
                requests: endpoint.requests() as u64,
                up: endpoint.is_open(),
                ejections: endpoint.ejections(),
                handshake: endpoint.handshake(),
            })
        });
        live.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // The map is whole after any panic: entries are inserted in one step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn house(&mut self, upstream: &str) -> Arc<House> {
        kept(&mut self.houses, upstream)
    }

    fn endpoint(
        &mut self,
        upstream: &str,
        plan: &plan::Endpoint,
        slow_start: bool,
        slots: &mut impl Iterator<Item = Slot>,
    ) -> Arc<Endpoint> {
        let key = (upstream.to_owned(), plan.label.clone());
        if let Some(endpoint) = self.endpoints.get(&key).and_then(Weak::upgrade) {
            return endpoint;
        }
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        let (upstream, label) = key.clone();
        let house = self.house(&upstream);
        let endpoint = Endpoint::new(id, upstream, label, plan.target.clone()).of(house);
        let endpoint = Arc::new(endpoint.in_slot(slots.next().unwrap_or_default()));
        if slow_start {
            endpoint.begin_slow_start();
        }
        self.endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }
}

/// The one of that name, made where there is none; those that nobody holds are forgotten then.
fn kept(houses: &mut HashMap<String, Weak<House>>, name: &str) -> Arc<House> {
    if let Some(house) = houses.get(name).and_then(Weak::upgrade) {
        return house;
    }
    houses.retain(|_, house| house.strong_count() > 0);
    let house = Arc::new(House::default());
    houses.insert(name.to_owned(), Arc::downgrade(&house));
    house
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the secret.
        f.debug_struct("Registry").field("known", &self.known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::upstream::Lease;
    use crate::upstream::gate::Seat;

    fn planned(written: &str) -> plan::Endpoint {
        plan::Endpoint::parse(written).unwrap()
    }

    fn request(endpoint: &Arc<Endpoint>) -> Lease {
        Lease::request(endpoint, None, &mut Seat::default()).unwrap()
    }

    impl Registry {
        fn endpoint(&self, upstream: &str, plan: &plan::Endpoint) -> Arc<Endpoint> {
            self.endpoints(upstream, std::slice::from_ref(plan)).remove(0)
        }
    }

    #[test]
    fn who_appears_beside_others_starts_slowly_and_who_comes_with_all_does_not() {
        let registry = Registry::default();
        let now = Instant::now();
        let two = [planned("10.0.0.1:80"), planned("10.0.0.2:80")];
        let first = registry.endpoints("web", &two);
        assert!(first.iter().all(|one| one.age(now).is_none()));
        let three = [two.as_slice(), &[planned("10.0.0.3:80")]].concat();
        let ages: Vec<_> =
            registry.endpoints("web", &three).iter().map(|one| one.age(now)).collect();
        assert!(matches!(ages[..], [None, None, Some(_)]), "{ages:?}");
        let other = registry.endpoints("chat", &three);
        assert!(other.iter().all(|one| one.age(now).is_none()));
    }

    #[test]
    fn the_same_address_in_a_later_plan_is_the_same_endpoint() {
        let registry = Registry::default();
        let first = registry.endpoint("chat", &planned("10.0.0.1:9001"));
        let lease = request(&first).into_tunnel();
        // Another spelling of the same place.
        let later = registry.endpoint("chat", &planned("http://10.0.0.1:9001/"));
        assert!(Arc::ptr_eq(&first, &later));
        assert_eq!((later.id, later.tunnels()), (first.id, 1));
        drop(lease);
        assert_eq!(later.load(), 0);
    }

    #[test]
    fn a_lease_keeps_an_endpoint_that_no_plan_names_any_more() {
        let registry = Registry::default();
        let gone = registry.endpoint("chat", &planned("10.0.0.1:9001"));
        let (id, lease) = (gone.id, request(&gone).into_tunnel());
        drop(gone);
        let other = registry.endpoint("chat", &planned("10.0.0.2:9001"));
        assert_ne!(other.id, id);
        assert_eq!(registry.gauges().iter().map(|gauge| gauge.tunnels).sum::<u64>(), 1);
        // It comes back in a third plan, with the tunnel that it still carries.
        let back = registry.endpoint("chat", &planned("10.0.0.1:9001"));
        assert_eq!((back.id, back.tunnels()), (id, 1));
        drop((back, lease));
        assert_eq!(registry.gauges().len(), 1, "what nobody holds is forgotten");
    }

    #[test]
    fn an_id_is_never_given_twice() {
        let registry = Registry::default();
        let mut ids = std::collections::HashSet::new();
        for port in 1..=50 {
            // Dropped at once: the address is free again, its id is not, because pools keep it.
            let endpoint = registry.endpoint("a", &planned(&format!("10.0.0.1:{}", port % 5 + 1)));
            assert!(ids.insert(endpoint.id));
        }
    }

    #[test]
    fn two_upstreams_at_one_address_count_apart() {
        let registry = Registry::default();
        let chat = registry.endpoint("chat", &planned("10.0.0.1:80"));
        let web = registry.endpoint("web", &planned("10.0.0.1:80"));
        let _lease = request(&chat);
        assert_ne!(chat.id, web.id);
        assert_eq!((chat.load(), web.load()), (1, 0));
    }

    #[test]
    fn a_pace_and_a_house_outlive_the_plan_that_began_them() {
        let registry = Registry::default();
        let rate = std::num::NonZeroU32::new(10).unwrap();
        let wait = std::time::Duration::ZERO;
        let terms = plan::UpgradeTerms { rate, burst: 1, wait };
        let first = registry.upgrades("chat", Some(terms)).unwrap();
        assert!(first.reserve().is_ok());
        let same = registry.upgrades("chat", Some(terms)).unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        let other = plan::UpgradeTerms { burst: 2, ..terms };
        let other = registry.upgrades("chat", Some(other)).unwrap();
        assert!(other.reserve().is_ok() && other.reserve().is_err(), "one of two was taken");
        assert!(registry.upgrades("web", Some(terms)).unwrap().reserve().is_ok());
        assert!(registry.upgrades("chat", None).is_none());
        let endpoint = registry.endpoint("chat", &planned("10.0.0.1:1"));
        assert!(Arc::ptr_eq(&endpoint.house, &registry.house("chat")));
        assert!(!Arc::ptr_eq(&endpoint.house, &registry.house("web")));
    }
}
