//! A claim on an endpoint. Taken before the dial, moved into the tunnel, released by its drop
//! and by nothing else: peers' counters leak or forget wherever there is a second way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Endpoint;

/// One request or one tunnel, counted on its endpoint for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    tunnel: bool,
}

impl Lease {
    pub(super) fn request(endpoint: Arc<Endpoint>) -> Self {
        endpoint.requests.fetch_add(1, Ordering::Relaxed);
        Self { endpoint, tunnel: false }
    }

    /// The request became a tunnel: counted as one from now on, without a gap.
    #[must_use]
    pub fn into_tunnel(mut self) -> Self {
        if !self.tunnel {
            self.endpoint.tunnels.fetch_add(1, Ordering::Relaxed);
            self.endpoint.requests.fetch_sub(1, Ordering::Relaxed);
            self.tunnel = true;
        }
        self
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn count(&self) -> &AtomicUsize {
        if self.tunnel { &self.endpoint.tunnels } else { &self.endpoint.requests }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self.count().fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a lease released twice");
    }
}
