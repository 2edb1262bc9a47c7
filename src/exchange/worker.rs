//! What all exchanges of one worker thread share. Nothing here is touched by another thread but
//! the plan pointer and the counters that are read at scrape.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::request_body::RequestBody;
use crate::drain::Phase;
use crate::generation::Generation;
use crate::telemetry::{Metrics, WorkerShard};
use crate::tunnel::Roster;
use crate::upstream::Pool;

/// The state of one worker.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0; the index of its counters.
    pub id: usize,
    /// Process-wide counters, of which it writes only its own shard.
    pub metrics: Arc<Metrics>,
    /// Where the life of the process stands.
    pub phase: watch::Receiver<Phase>,
    /// Its live tunnels.
    pub roster: Rc<Roster>,
    /// Clients that are in: connections, and tunnels that they became.
    inside: Cell<usize>,
    left: Notify,
    pub(super) pool: Pool<RequestBody>,
    current: RefCell<Current>,
    tunnels_begun: Cell<u64>,
}

#[derive(Debug)]
struct Current {
    cache: Cache<Arc<ArcSwap<Generation>>, Arc<Generation>>,
    snapshot: Snapshot,
}

/// The generation that a request began under; cloned without touching other threads' cache lines.
#[derive(Clone, Debug)]
pub struct Snapshot(Rc<Arc<Generation>>);

impl Deref for Snapshot {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.0
    }
}

impl Worker {
    /// A worker that serves what `plan` points to.
    pub fn new(
        id: usize,
        plan: Arc<ArcSwap<Generation>>,
        metrics: Arc<Metrics>,
        phase: watch::Receiver<Phase>,
    ) -> Rc<Self> {
        let mut cache = Cache::new(plan);
        let snapshot = Snapshot(Rc::new(Arc::clone(cache.load())));
        Rc::new(Self {
            id,
            metrics,
            phase,
            roster: Rc::default(),
            inside: Cell::new(0),
            left: Notify::new(),
            pool: Pool::default(),
            current: RefCell::new(Current { cache, snapshot }),
            tunnels_begun: Cell::new(0),
        })
    }

    /// The generation in force now.
    pub fn generation(&self) -> Snapshot {
        let mut current = self.current.borrow_mut();
        let Current { cache, snapshot } = &mut *current;
        let latest = cache.load();
        if !Arc::ptr_eq(latest, &snapshot.0) {
            *snapshot = Snapshot(Rc::new(Arc::clone(latest)));
        }
        snapshot.clone()
    }

    /// Its shard of the process-wide counters.
    pub fn counters(&self) -> &WorkerShard {
        self.metrics.workers().at(self.id)
    }

    /// Whether the process is shutting down.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// A client came in.
    pub fn enter(&self) {
        self.inside.set(self.inside.get().saturating_add(1));
    }

    /// A client is gone, its tunnel too.
    pub fn leave(&self) {
        self.inside.set(self.inside.get().saturating_sub(1));
        self.left.notify_waiters();
    }

    /// Resolves when no client is left.
    pub async fn empty(&self) {
        while self.inside.get() > 0 {
            self.left.notified().await;
        }
    }

    /// Resolves when no tunnel is left.
    pub async fn without_tunnels(&self) {
        while !self.roster.is_empty() {
            self.left.notified().await;
        }
    }

    /// Closes idle upstream connections that are over their time.
    pub fn sweep(&self) {
        self.pool.sweep(Instant::now());
    }

    /// Closes all idle upstream connections.
    pub fn close_idle(&self) {
        self.pool.clear();
    }

    /// A number no other tunnel of this process has.
    pub(super) fn next_tunnel_id(&self) -> u64 {
        let begun = self.tunnels_begun.get().wrapping_add(1);
        self.tunnels_begun.set(begun);
        ((self.id as u64) << 48) | (begun & 0xffff_ffff_ffff)
    }
}
