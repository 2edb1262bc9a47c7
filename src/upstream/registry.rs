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
        let endpoint = Arc::new(Endpoint::new(id, plan.label.clone(), plan.target.clone()));
        known.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        known.endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
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
            })
        });
        live.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // The map is whole after any panic: entries are inserted in one step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
