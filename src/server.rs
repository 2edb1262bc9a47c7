//! Build, then run: everything is bound before anything is served, so that a mistake costs
//! nothing and addresses are known. The command line and programs that embed Bowline start here.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::accept::{Bound, Fleet, LiveListener, Settings, WorkerListener};
use crate::admin::{self, AdminState, ReloadOrder};
use crate::drain::Phase;
use crate::generation::Generation;
use crate::plan::Plan;
pub use crate::reload::StartError;
use crate::reload::{self, Builtins, Reloader, Running};
use crate::telemetry::Metrics;
use crate::upstream::Registry;
use crate::upstream::builtin::BuiltinServer;

/// After the deadline, workers get this long to cut what is left.
const CUT: Duration = Duration::from_secs(2);

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<(Arc<LiveListener>, Vec<TcpListener>)>,
    admin: Option<Bound>,
    builtins: Builtins,
    to_run: Vec<BuiltinServer>,
    generation: Generation,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    reloader: Reloader,
    reloads: mpsc::Receiver<reload::Request>,
    to_reload: mpsc::Sender<ReloadOrder>,
    reload_orders: Option<mpsc::Receiver<ReloadOrder>>,
}

impl Server {
    /// Binds everything that `plan` names.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays bound then.
    pub fn bind(mut plan: Plan) -> Result<Self, StartError> {
        let metrics = Metrics::new(plan.workers);
        let registry = Arc::new(Registry::default());
        let tls = reload::acceptors(&plan)?;
        let listeners = plan.listeners.iter().zip(tls).map(|(plan_of_it, tls)| {
            let settings = Settings { plan: plan_of_it.clone(), tls };
            reload::listener(settings, plan.workers)
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let admin = plan.admin.map(|address| Bound::new(address, 1)).transpose()?;
        let mut builtins = Builtins::default();
        let to_run = builtins.settle(&mut plan)?;
        let generation = Generation::new(plan, &registry, &metrics);
        let (reloader, reloads) = Reloader::new();
        let (to_reload, reload_orders) = mpsc::channel(1);
        Ok(Self {
            listeners,
            admin,
            builtins,
            to_run,
            generation,
            registry,
            metrics,
            reloader,
            reloads,
            to_reload,
            reload_orders: Some(reload_orders),
        })
    }

    /// Where clients are served, in the order of the plan's listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(live, _)| live.address).collect()
    }

    /// Where /metrics is, if anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|bound| bound.address)
    }

    /// The process's counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The way to give it another plan while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The reloads that are asked for at the admin listener: whoever knows where the configuration is
    /// takes them, reads it, and goes to [`Server::reloader`]. Empty the second time.
    pub fn take_reload_orders(&mut self) -> Option<mpsc::Receiver<ReloadOrder>> {
        self.reload_orders.take()
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
        let (phase, phases) = watch::channel(Phase::Serving);
        let ready = Arc::new(AtomicBool::new(true));
        let (listeners, workers) = self.deal();
        let Self { admin, builtins, to_run, generation, registry, metrics, .. } = self;
        let (mut reloads, to_reload) = (self.reloads, self.to_reload);
        // Nobody took them: nobody can reload.
        drop(self.reload_orders);
        let gauges = Arc::clone(&registry);
        metrics.endpoints(Box::new(move || gauges.gauges()));
        for builtin in to_run {
            tokio::spawn(builtin.serve());
        }
        let (end_admin, admin_ended) = tokio::sync::oneshot::channel::<()>();
        if let Some(socket) = admin.and_then(|bound| bound.sockets.into_iter().next()) {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let state = Arc::new(AdminState {
                metrics: Arc::clone(&metrics),
                ready: Arc::clone(&ready),
                reloads: to_reload,
            });
            tokio::spawn(admin::serve(listener, state, async {
                // Either way the process is at its end.
                drop(admin_ended.await);
            }));
        }
        let current = Arc::new(ArcSwap::from_pointee(generation));
        let fleet = Fleet::start(workers, &current, &metrics, &phases)?;
        let mut running =
            Running::new(fleet, current, listeners, builtins, registry, Arc::clone(&metrics));
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(request) = reloads.recv() => running.obey(request),
            }
        }
        drop(reloads);
        // All tunnels are told now, whatever becomes of their endpoints.
        running.stop_judging();
        let drain = running.current.load().plan.drain.timeout;
        tracing::info!(deadline = ?drain, "draining: no new connections, waiting for requests and tunnels");
        ready.store(false, Ordering::Relaxed);
        phase.send_replace(Phase::Draining);
        let mut ended = Box::pin(running.fleet.ended());
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
    fn deal(&mut self) -> (Vec<Arc<LiveListener>>, Vec<Vec<WorkerListener>>) {
        let mut workers: Vec<Vec<WorkerListener>> = Vec::new();
        workers.resize_with(self.generation.plan.workers, Vec::new);
        let dealt = std::mem::take(&mut self.listeners).into_iter().map(|(live, sockets)| {
            for (worker, socket) in workers.iter_mut().zip(sockets) {
                worker.push(WorkerListener { live: Arc::clone(&live), socket });
            }
            live
        });
        (dealt.collect(), workers)
    }
}
