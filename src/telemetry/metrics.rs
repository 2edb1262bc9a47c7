//! Every counter of the process by name. A route or upstream of the same name keeps its counters
//! across plans, and a removed one keeps its series until the process ends: long-lived tunnels still
//! count there. The lock is taken when a plan is built and at scrape, never by a request.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Registry, TextEncoder};

use super::exposition::Exposition;
use super::{Finding, Flag, Reloads, RouteShard, Sharded, TlsFiles, UpstreamShard, WorkerShard};

/// Live load of one endpoint, read from the leases at scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointGauge {
    /// Name of the upstream.
    pub upstream: String,
    /// The endpoint's address as configured or discovered.
    pub endpoint: String,
    /// Tunnels open to it now.
    pub tunnels: u64,
    /// Plain requests in flight to it now.
    pub requests: u64,
    /// Neither down nor ejected.
    pub up: bool,
    /// How often it was ejected.
    pub ejections: u64,
    /// The moving average of its upgrade handshakes; `None` before the first one.
    pub handshake: Option<Duration>,
}

impl EndpointGauge {
    fn add(&mut self, other: &Self) {
        self.tunnels = self.tunnels.saturating_add(other.tunnels);
        self.requests = self.requests.saturating_add(other.requests);
        self.ejections = self.ejections.saturating_add(other.ejections);
        self.up |= other.up;
        self.handshake = self.handshake.max(other.handshake);
    }
}

/// Where live endpoint loads come from.
pub type EndpointSource = Box<dyn Fn() -> Vec<EndpointGauge> + Send + Sync>;

/// Where the number of endpoints of each upstream comes from, by its name.
pub type SizeSource = Box<dyn Fn() -> Vec<(String, usize)> + Send + Sync>;

/// All counters, and their text for a scraper.
pub struct Metrics {
    tables: Arc<Tables>,
    registry: Registry,
}

/// The counters themselves, shared with the collector inside the registry.
pub(super) struct Tables {
    workers: Sharded<WorkerShard>,
    routes: Named<RouteShard>,
    upstreams: Named<UpstreamShard>,
    panics: Mutex<BTreeMap<String, Arc<Flag>>>,
    findings: Mutex<BTreeMap<String, Weak<Finding>>>,
    endpoints: Mutex<Option<Arc<EndpointSource>>>,
    sizes: Mutex<Option<Arc<SizeSource>>>,
    descriptor_limit: AtomicU64,
    reloads: Reloads,
    tls_files: TlsFiles,
}

impl Metrics {
    /// Empty tables for `workers` workers.
    pub fn new(workers: usize) -> Arc<Self> {
        let tables = Arc::new(Tables {
            workers: Sharded::new(workers),
            routes: Named::new(workers),
            upstreams: Named::new(workers),
            panics: Mutex::default(),
            findings: Mutex::default(),
            endpoints: Mutex::new(None),
            sizes: Mutex::new(None),
            descriptor_limit: AtomicU64::new(0),
            reloads: Reloads::default(),
            tls_files: TlsFiles::default(),
        });
        let metrics = Self { registry: Registry::new(), tables: Arc::clone(&tables) };
        if let Err(error) = metrics.register(Box::new(Exposition::new(tables))) {
            tracing::error!(%error, "metrics will be empty");
        }
        Arc::new(metrics)
    }

    /// The counters of a route, made at first use.
    pub fn route(&self, name: &str) -> Arc<Sharded<RouteShard>> {
        self.tables.routes.entry(name)
    }

    /// The counters of an upstream, made at first use.
    pub fn upstream(&self, name: &str) -> Arc<Sharded<UpstreamShard>> {
        self.tables.upstreams.entry(name)
    }

    /// Whether the health of an upstream is ignored, off at first use.
    pub fn panic(&self, upstream: &str) -> Arc<Flag> {
        Arc::clone(lock(&self.tables.panics).entry(upstream.to_owned()).or_default())
    }

    /// How the sources of an upstream's endpoints fare; told for as long as somebody holds it.
    pub fn finding(&self, upstream: &str) -> Arc<Finding> {
        let mut findings = lock(&self.tables.findings);
        if let Some(known) = findings.get(upstream).and_then(Weak::upgrade) {
            return known;
        }
        findings.retain(|_, finding| finding.strong_count() > 0);
        let fresh = Arc::<Finding>::default();
        findings.insert(upstream.to_owned(), Arc::downgrade(&fresh));
        fresh
    }

    /// The counters that belong to no route.
    pub fn workers(&self) -> &Sharded<WorkerShard> {
        &self.tables.workers
    }

    /// What becomes of reloads.
    pub fn reloads(&self) -> &Reloads {
        &self.tables.reloads
    }

    /// The files that TLS lives on.
    pub fn tls_files(&self) -> &TlsFiles {
        &self.tables.tls_files
    }

    /// Sets where live endpoint loads come from; a second call replaces the first.
    pub fn endpoints(&self, source: EndpointSource) {
        *lock(&self.tables.endpoints) = Some(Arc::new(source));
    }

    /// Sets where the numbers of endpoints come from; a second call replaces the first.
    pub fn sizes(&self, source: SizeSource) {
        *lock(&self.tables.sizes) = Some(Arc::new(source));
    }

    /// Tells the limit on open descriptors that was reached at start; left out while zero.
    pub fn set_descriptor_limit(&self, limit: u64) {
        self.tables.descriptor_limit.store(limit, Ordering::Relaxed);
    }

    /// Adds a collector of an embedding program to the same page.
    ///
    /// # Errors
    ///
    /// When one of its families is here already.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        self.registry.register(collector)
    }

    /// Everything in the Prometheus text format 0.0.4.
    ///
    /// In tables with two labels a series that is still zero is left out (but for the answer classes
    /// 2xx, 4xx and 5xx and accepted upgrades), and so is a histogram without an observation.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics are incomplete");
        }
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn workers(&self) -> &Sharded<WorkerShard> {
        &self.workers
    }

    pub(super) fn routes(&self) -> Vec<(String, Arc<Sharded<RouteShard>>)> {
        self.routes.all()
    }

    pub(super) fn upstreams(&self) -> Vec<(String, Arc<Sharded<UpstreamShard>>)> {
        self.upstreams.all()
    }

    /// Live loads, one row an endpoint: rows with the same two names are added up, because a page
    /// with a series twice is refused whole by the scraper.
    pub(super) fn endpoints(&self) -> BTreeMap<(String, String), EndpointGauge> {
        // The source takes locks of its own: let ours go first.
        let source = lock(&self.endpoints).clone();
        let mut rows = BTreeMap::<_, EndpointGauge>::new();
        for row in source.map(|source| source()).unwrap_or_default() {
            match rows.entry((row.upstream.clone(), row.endpoint.clone())) {
                Entry::Vacant(place) => drop(place.insert(row)),
                Entry::Occupied(mut known) => known.get_mut().add(&row),
            }
        }
        rows
    }

    pub(super) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    pub(super) fn tls_files(&self) -> &TlsFiles {
        &self.tls_files
    }

    /// By upstream.
    pub(super) fn panics(&self) -> Vec<(String, bool)> {
        lock(&self.panics).iter().map(|(name, flag)| (name.clone(), flag.is_on())).collect()
    }

    /// By upstream.
    pub(super) fn findings(&self) -> Vec<(String, Arc<Finding>)> {
        let findings = lock(&self.findings);
        let live = findings.iter().filter_map(|(name, one)| Some((name.clone(), one.upgrade()?)));
        live.collect()
    }

    /// How many endpoints each upstream has.
    pub(super) fn sizes(&self) -> Vec<(String, usize)> {
        // As above: it takes what others may hold.
        let source = lock(&self.sizes).clone();
        source.map(|source| source()).unwrap_or_default()
    }

    pub(super) fn descriptor_limit(&self) -> u64 {
        self.descriptor_limit.load(Ordering::Relaxed)
    }
}

/// Shards by name.
struct Named<T> {
    workers: usize,
    by_name: Mutex<BTreeMap<String, Arc<Sharded<T>>>>,
}

impl<T: Default> Named<T> {
    fn new(workers: usize) -> Self {
        Self { workers, by_name: Mutex::default() }
    }

    fn entry(&self, name: &str) -> Arc<Sharded<T>> {
        let mut by_name = lock(&self.by_name);
        if let Some(known) = by_name.get(name) {
            return Arc::clone(known);
        }
        let fresh = Arc::new(Sharded::new(self.workers));
        by_name.insert(name.to_owned(), Arc::clone(&fresh));
        fresh
    }

    fn all(&self) -> Vec<(String, Arc<Sharded<T>>)> {
        lock(&self.by_name)
            .iter()
            .map(|(name, shards)| (name.clone(), Arc::clone(shards)))
            .collect()
    }
}

/// A panic elsewhere cannot leave these maps half-changed, so poison is nothing to pass on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
