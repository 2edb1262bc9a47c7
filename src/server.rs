//! Build, then run: everything is bound before anything is served, so that a mistake costs
//! nothing and addresses are known. The command line and programs that embed Bowline start here.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::accept::{BindError, Bound, Fleet, WorkerListener, tls};
use crate::admin::{self, AdminState};
use crate::config::Mistakes;
use crate::drain::Phase;
use crate::generation::Generation;
use crate::plan::{Endpoint, Plan};
use crate::telemetry::Metrics;
use crate::upstream::Registry;
use crate::upstream::builtin::BuiltinServer;

/// After the deadline, workers get this long to cut what is left.
const CUT: Duration = Duration::from_secs(2);

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    bound: Vec<Bound>,
    tls: Vec<Option<crate::accept::TlsAcceptorHandle>>,
    admin: Option<Bound>,
    builtins: Vec<BuiltinServer>,
    generation: Generation,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate or key is wrong.
    #[error("{0}")]
    Certificates(Mistakes),
    /// A resource of the system ran out.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl Server {
    /// Binds everything that `plan` names.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays bound then.
    pub fn bind(mut plan: Plan) -> Result<Self, StartError> {
        let metrics = Metrics::new(plan.workers);
        let registry = Arc::new(Registry::default());
        let mut mistakes = Mistakes::new("tls");
        let mut acceptor =
            |tls| tls::load(tls, &mut mistakes).map(crate::accept::TlsAcceptorHandle);
        let tls =
            plan.listeners.iter().map(|one| one.tls.as_ref().and_then(&mut acceptor)).collect();
        if !mistakes.is_empty() {
            return Err(StartError::Certificates(mistakes));
        }
        let bound = plan.listeners.iter().map(|one| Bound::new(one.address, plan.workers));
        let bound = bound.collect::<Result<Vec<_>, _>>()?;
        let admin = plan.admin.map(|address| Bound::new(address, 1)).transpose()?;
        let mut builtins = Vec::new();
        for upstream in &mut plan.upstreams {
            let Some(kind) = upstream.builtin else { continue };
            let server = BuiltinServer::bind(kind)?;
            upstream.endpoints = vec![Endpoint::at(server.address()?)];
            builtins.push(server);
        }
        let generation = Generation::new(plan, &registry, &metrics);
        Ok(Self { bound, tls, admin, builtins, generation, registry, metrics })
    }

    /// Where clients are served, in the order of the plan's listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Where /metrics is, if anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|bound| bound.address)
    }

    /// The process's counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Serves until `stop` resolves, then drains: no new connection, requests finish, tunnels end
    /// by the plan's `drain` deadline, or at once when `now` resolves.
    ///
    /// # Errors
    /// When threads or their runtimes cannot be had.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        now: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let drain = self.generation.plan.drain.timeout;
        let (phase, phases) = watch::channel(Phase::Serving);
        let ready = Arc::new(AtomicBool::new(true));
        let listeners = self.worker_listeners();
        let Self { admin, builtins, generation, registry, metrics, .. } = self;
        metrics.endpoints(Box::new(move || registry.gauges()));
        for builtin in builtins {
            tokio::spawn(builtin.serve());
        }
        let (end_admin, admin_ended) = tokio::sync::oneshot::channel::<()>();
        if let Some(socket) = admin.and_then(|bound| bound.sockets.into_iter().next()) {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let state =
                Arc::new(AdminState { metrics: Arc::clone(&metrics), ready: Arc::clone(&ready) });
            tokio::spawn(admin::serve(listener, state, async {
                // Either way the process is at its end.
                drop(admin_ended.await);
            }));
        }
        let plan = Arc::new(ArcSwap::from_pointee(generation));
        let fleet = Fleet::start(listeners, &plan, &metrics, &phases)?;
        stop.await;
        tracing::info!(deadline = ?drain, "draining: no new connections, waiting for requests and tunnels");
        ready.store(false, Ordering::Relaxed);
        phase.send_replace(Phase::Draining);
        let mut ended = Box::pin(fleet.ended());
        tokio::select! {
            () = &mut ended => {
                tracing::info!("drained");
                drop(end_admin);
                return Ok(());
            }
            () = now => tracing::warn!("told twice: ending at once"),
            () = tokio::time::sleep(drain) => tracing::warn!("drain deadline: cutting what is left"),
        }
        phase.send_replace(Phase::Cutting);
        drop(timeout(CUT, ended).await);
        drop(end_admin);
        Ok(())
    }

    /// Deals the sockets out: each worker gets its own of every listener.
    fn worker_listeners(&mut self) -> Vec<Vec<WorkerListener>> {
        let plan = &self.generation.plan;
        let mut workers: Vec<Vec<WorkerListener>> = Vec::new();
        workers.resize_with(plan.workers, Vec::new);
        let bound = std::mem::take(&mut self.bound);
        for ((listener, bound), tls) in plan.listeners.iter().zip(bound).zip(&self.tls) {
            let shared = Arc::new(listener.clone());
            let places = listener.limits.connections.map(|most| Arc::new(Semaphore::new(most)));
            for (worker, socket) in workers.iter_mut().zip(bound.sockets) {
                worker.push(WorkerListener {
                    plan: Arc::clone(&shared),
                    socket,
                    tls: tls.clone(),
                    places: places.clone(),
                });
            }
        }
        workers
    }
}
