//! Every live endpoint by upstream and address, shared by all plan generations: counts outlive
//! the configuration that began them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Endpoint;
use crate::plan;
use crate::telemetry::EndpointGauge;

/// The endpoints that a plan or a lease still holds.
#[derive(Debug, Default)]
pub struct Registry {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<(String, String), Weak<Endpoint>>,
    next_id: usize,
    numbers: HashMap<String, u32>,
}

impl Registry {
    /// The endpoint of `upstream` at this address, with the counts it already has.
    pub(super) fn endpoint(&self, upstream: &str, plan: &plan::Endpoint) -> Arc<Endpoint> {
        let mut known = self.lock();
        let key = (upstream.to_owned(), plan.label.clone());
        if let Some(endpoint) = known.endpoints.get(&key).and_then(Weak::upgrade) {
            return endpoint;
        }
        let id = known.next_id;
        known.next_id = id.saturating_add(1);
        let (upstream, label) = key.clone();
        let endpoint = Arc::new(Endpoint::new(id, upstream, label, plan.target.clone()));
        known.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        known.endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
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
            })
        });
        live.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // The map is whole after any panic: entries are inserted in one step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Lease;

    fn planned(written: &str) -> plan::Endpoint {
        plan::Endpoint::parse(written).unwrap()
    }

    #[test]
    fn the_same_address_in_a_later_plan_is_the_same_endpoint() {
        let registry = Registry::default();
        let first = registry.endpoint("chat", &planned("10.0.0.1:9001"));
        let lease = Lease::request(Arc::clone(&first)).into_tunnel();
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
        let (id, lease) = (gone.id, Lease::request(Arc::clone(&gone)).into_tunnel());
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
        let _lease = Lease::request(Arc::clone(&chat));
        assert_ne!(chat.id, web.id);
        assert_eq!((chat.load(), web.load()), (1, 0));
    }
}
