//! What all exchanges of one worker thread share. Nothing here is touched by another thread but
//! the plan pointer and the counters that are read at scrape.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::part;
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
    /// Its live tunnels.
    pub roster: Rc<Roster>,
    /// Clients that are in: connections, and tunnels that they became.
    inside: Cell<usize>,
    left: Notify,
    /// The drain has begun, and this worker knows.
    draining: Cell<bool>,
    bell: Notify,
    pub(super) pool: Pool,
    /// What it remembers of upstreams that may be spared.
    pub(super) ledger: Ledger,
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
pub struct Snapshot(
    #[expect(clippy::redundant_allocation, reason = "an Arc's count is shared by all workers")]
    Rc<Arc<Generation>>,
);

impl Deref for Snapshot {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.0
    }
}

impl Worker {
    /// A worker that serves what `plan` points to.
    pub fn new(id: usize, plan: Arc<ArcSwap<Generation>>, metrics: Arc<Metrics>) -> Rc<Self> {
        let mut cache = Cache::new(plan);
        let snapshot = Snapshot(Rc::new(Arc::clone(cache.load())));
        Rc::new(Self {
            id,
            metrics,
            roster: Rc::default(),
            inside: Cell::new(0),
            left: Notify::new(),
            draining: Cell::new(false),
            bell: Notify::new(),
            pool: Pool::default(),
            ledger: Ledger::default(),
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
        self.draining.get()
    }

    /// Tells every connection of this worker that the drain has begun.
    pub fn begin_drain(&self) {
        self.draining.set(true);
        self.bell.notify_waiters();
    }

    /// Resolves when the drain begins. Connections wait here, not at the phase itself, whose lock
    /// all workers share.
    pub(super) async fn drain_begun(&self) {
        if !self.draining.get() {
            self.bell.notified().await;
        }
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

    /// Closes idle upstream connections that are over their time, and lets go of a plan that is no
    /// longer in force.
    pub fn sweep(&self) {
        let generation = self.generation();
        self.ledger.keep(&generation.upstreams);
        self.roster.forget_groups(|group| !part::is_in(&generation, group));
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::path::Path;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::tunnel::Labels;
    use crate::upstream::Registry;

    fn generation(upstream: &str, registry: &Registry, metrics: &Metrics) -> Generation {
        let yaml = format!(
            "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
             routes: [ {{ upstream: {upstream} }} ]\n\
             upstreams: {{ {upstream}: {{ endpoints: [ '127.0.0.1:1' ] }} }}\n"
        );
        let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        Generation::new(plan, registry, metrics)
    }

    struct Bench {
        worker: Rc<Worker>,
        plan: Arc<ArcSwap<Generation>>,
        registry: Registry,
        metrics: Arc<Metrics>,
    }

    fn bench(id: usize) -> Bench {
        let (registry, metrics) = (Registry::default(), Metrics::new(4));
        let plan = Arc::new(ArcSwap::from_pointee(generation("first", &registry, &metrics)));
        let worker = Worker::new(id, Arc::clone(&plan), Arc::clone(&metrics));
        Bench { worker, plan, registry, metrics }
    }

    fn name(generation: &Generation) -> &str {
        &generation.plan.upstreams[0].name
    }

    #[test]
    fn a_request_keeps_the_generation_it_began_with_and_the_next_sees_the_new_one() {
        let Bench { worker, plan, registry, metrics, .. } = bench(0);
        let began = worker.generation();
        plan.store(Arc::new(generation("second", &registry, &metrics)));
        assert_eq!(name(&began), "first");
        assert_eq!(name(&worker.generation()), "second");
        assert_eq!(name(&began.clone()), "first");
    }

    #[test]
    fn an_old_generation_goes_with_the_last_request_that_began_under_it() {
        let Bench { worker, plan, registry, metrics, .. } = bench(0);
        let old = Arc::downgrade(&plan.load_full());
        let began = worker.generation();
        plan.store(Arc::new(generation("second", &registry, &metrics)));
        drop(worker.generation());
        assert!(old.upgrade().is_some());
        drop(began);
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn a_worker_is_empty_when_as_many_have_left_as_came() {
        let Bench { worker, .. } = bench(0);
        let mut context = Context::from_waker(Waker::noop());
        worker.enter();
        worker.enter();
        let mut empty = pin!(worker.empty());
        assert!(empty.as_mut().poll(&mut context).is_pending());
        worker.leave();
        assert!(empty.as_mut().poll(&mut context).is_pending());
        worker.leave();
        assert!(empty.as_mut().poll(&mut context).is_ready());
        assert!(pin!(worker.empty()).poll(&mut context).is_ready());
        // One leave too many must not wrap to a crowd.
        worker.leave();
        assert!(pin!(worker.empty()).poll(&mut context).is_ready());
    }

    #[test]
    fn a_worker_without_tunnels_waits_for_the_last_to_leave() {
        let Bench { worker, .. } = bench(0);
        let mut context = Context::from_waker(Waker::noop());
        let member = worker.roster.enter(Labels::default());
        let mut without = pin!(worker.without_tunnels());
        assert!(without.as_mut().poll(&mut context).is_pending());
        drop(member);
        worker.leave();
        assert!(without.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn no_two_tunnels_of_a_process_share_a_number() {
        let (one, two) = (bench(0).worker, bench(3).worker);
        let ids = (0..100).flat_map(|_| [one.next_tunnel_id(), two.next_tunnel_id()]);
        assert_eq!(ids.collect::<std::collections::HashSet<_>>().len(), 200);
    }

    #[test]
    fn a_worker_learns_that_the_process_drains() {
        let Bench { worker, .. } = bench(0);
        assert!(!worker.is_draining());
        let mut context = Context::from_waker(Waker::noop());
        let mut early = pin!(worker.drain_begun());
        assert!(early.as_mut().poll(&mut context).is_pending());
        worker.begin_drain();
        assert!(worker.is_draining());
        assert!(early.as_mut().poll(&mut context).is_ready());
        assert!(pin!(worker.drain_begun()).poll(&mut context).is_ready());
    }
}
