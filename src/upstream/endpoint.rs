//! One live endpoint: what to dial, and how much it carries now across all workers and plans.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::health::{Look, Standing};
use crate::plan::Target;

/// An endpoint and its counts. Its leases keep it alive after a plan has dropped it.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in the process; the key of the workers' pools.
    pub id: usize,
    /// The name of its upstream, for logs.
    pub upstream: String,
    /// `host:port`, for logs and metrics.
    pub label: String,
    /// What to dial.
    pub target: Target,
    pub(super) tunnels: AtomicUsize,
    pub(super) requests: AtomicUsize,
    /// Whether it gets requests.
    pub(super) standing: Standing,
}

impl Endpoint {
    pub(super) fn new(id: usize, upstream: String, label: String, target: Target) -> Self {
        Self {
            id,
            upstream,
            label,
            target,
            tunnels: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            standing: Standing::default(),
        }
    }

    /// Live tunnels.
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Requests in flight, handshakes among them.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether it is neither down nor ejected.
    pub fn is_open(&self) -> bool {
        self.standing.is_open()
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.standing.ejections()
    }

    /// How long ago it last came back, from being down or ejected; `None` when it never was out.
    pub fn since_back(&self) -> Option<Duration> {
        self.standing.since_back()
    }

    /// Whether a pick may take it; tells when that is news.
    pub(super) fn look(&self) -> Look {
        let look = self.standing.look();
        if look == Look::Back {
            tracing::info!(
                upstream = self.upstream,
                endpoint = self.label,
                "an endpoint is back from its ejection"
            );
        }
        look
    }

    /// What balancing looks at.
    pub fn load(&self) -> usize {
        self.tunnels().saturating_add(self.requests())
    }
}
