//! One live endpoint: what to dial, and how much it carries now across all workers and plans.

use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// What balancing looks at.
    pub fn load(&self) -> usize {
        self.tunnels().saturating_add(self.requests())
    }
}
