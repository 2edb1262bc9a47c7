//! Build, then run: everything is bound before anything is served, so that a mistake costs
//! nothing and addresses are known. The command line and programs that embed Bowline start here.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::accept::tls::Vault;
use crate::accept::{
    Bound, Fleet, LiveListener, PassedSockets, RollCall, Settings, WorkerListener,
};
use crate::admin::{self, AdminState, ReloadOrder};
use crate::discovery::Discovery;
use crate::drain::Phase;
use crate::generation::Generation;
use crate::plan::Plan;
pub use crate::reload::StartError;
use crate::reload::{self, Builtins, Reloader, Running};
use crate::telemetry::{Metrics, SizeSource};
use crate::upstream::Registry;
use crate::upstream::builtin::BuiltinServer;

/// After the deadline, workers get this long to cut what is left.
const CUT: Duration = Duration::from_secs(2);

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<(Arc<LiveListener>, Vec<TcpListener>)>,
    admin: Option<Bound>,
    passed: PassedSockets,
    builtins: Builtins,
    to_run: Vec<BuiltinServer>,
    in_force: watch::Sender<Arc<Plan>>,
    registry: Arc<Registry>,
    vault: Arc<Vault>,
    metrics: Arc<Metrics>,
    reloader: Reloader,
    reloads: mpsc::Receiver<reload::Request>,
    to_reload: mpsc::Sender<ReloadOrder>,
    reload_orders: Option<mpsc::Receiver<ReloadOrder>>,
    phase: watch::Sender<Phase>,
    roll_call: RollCall,
}

impl Server {
    /// Binds everything that `plan` names.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays bound then.
    pub fn bind(plan: Plan) -> Result<Self, StartError> {
        Self::bind_with(plan, PassedSockets::default())
    }

    /// The same, except where a socket was `passed` to this process.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays bound then.
    pub fn bind_with(mut plan: Plan, passed: PassedSockets) -> Result<Self, StartError> {
        let metrics = Metrics::new(plan.workers);
        let registry = Arc::new(Registry::default());
        let vault = Arc::new(Vault::default());
        let tls = reload::terminations(&plan, &vault)?;
        let listeners = plan.listeners.iter().zip(tls).map(|(plan_of_it, tls)| {
            let settings = Settings { plan: plan_of_it.clone(), tls };
            reload::listener(settings, &passed, plan.workers)
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let admin = plan.admin.map(|address| Bound::new(address, 1)).transpose()?;
        let mut builtins = Builtins::default();
        let to_run = builtins.settle(&mut plan)?;
        let (reloader, reloads) = Reloader::new();
        let (to_reload, reload_orders) = mpsc::channel(1);
        Ok(Self {
            listeners,
            admin,
            passed,
            builtins,
            to_run,
            in_force: watch::Sender::new(Arc::new(plan)),
            registry,
            vault,
            metrics,
            reloader,
            reloads,
            to_reload,
            reload_orders: Some(reload_orders),
            phase: watch::Sender::default(),
            roll_call: RollCall::default(),
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

    /// The plan in force, and each later one.
    pub fn plan(&self) -> watch::Receiver<Arc<Plan>> {
        self.in_force.subscribe()
    }

    /// Where its life stands.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The way to ask whether all workers are awake.
    pub fn roll_call(&self) -> RollCall {
        self.roll_call.clone()
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
        let (listeners, workers) = self.deal();
        let Self { admin, passed, builtins, to_run, in_force, registry, metrics, phase, .. } = self;
        let (reloads, to_reload) = (self.reloads, self.to_reload);
        // Nobody took them: nobody can reload.
        drop(self.reload_orders);
        let gauges = Arc::clone(&registry);
        metrics.endpoints(Box::new(move || gauges.gauges()));
        for builtin in to_run {
            tokio::spawn(builtin.serve());
        }
        let state = AdminState {
            metrics: Arc::clone(&metrics),
            phase: phase.subscribe(),
            reloads: to_reload,
        };
        let end_admin = serve_admin(admin, state)?;
        let (mut stop, mut now) = (pin!(stop), pin!(now));
        let mut discovery = Discovery::new(Arc::clone(&metrics));
        let plan = Arc::clone(&in_force.borrow());
        let ended = heard(&mut discovery, &plan, stop.as_mut()).await.is_none();
        let current = first(plan, &discovery, &registry, &metrics);
        metrics.sizes(sizes(&current));
        let fleet = Fleet::start(workers, &current, &metrics, &phase.subscribe(), &self.roll_call)?;
        let mut running = Running {
            fleet,
            current,
            in_force,
            listeners,
            passed,
            builtins,
            registry,
            metrics,
            vault: self.vault,
            keeper: None,
            discovery,
            checkers: None,
            rebalancing: None,
        };
        running.begin_judging();
        if !ended {
            // Not before it has endpoints, as far as they can be had.
            phase.send_replace(Phase::Serving);
            running.serve(stop, reloads).await;
        }
        let drain = running.current.load().plan.drain;
        phase.send_replace(Phase::Leaving);
        let told_twice = !pauses(drain.delay, now.as_mut()).await;
        // All tunnels are told now, whatever becomes of their endpoints.
        running.stop_judging();
        phase.send_replace(Phase::Draining);
        let mut ended = Box::pin(running.fleet.ended());
        if told_twice || !drains(drain.timeout, now, ended.as_mut()).await {
            phase.send_replace(Phase::Cutting);
            drop(timeout(CUT, ended).await);
        }
        drop(end_admin);
        Ok(())
    }

    /// Deals the sockets out: each worker gets its own of every listener.
    fn deal(&mut self) -> (Vec<Arc<LiveListener>>, Vec<Vec<WorkerListener>>) {
        let mut workers: Vec<Vec<WorkerListener>> = Vec::new();
        workers.resize_with(self.in_force.borrow().workers, Vec::new);
        let dealt = std::mem::take(&mut self.listeners).into_iter().map(|(live, sockets)| {
            for (worker, socket) in workers.iter_mut().zip(sockets) {
                worker.push(WorkerListener { live: Arc::clone(&live), socket });
            }
            live
        });
        (dealt.collect(), workers)
    }
}

/// Serves the admin plane, if there is one, until what is returned is dropped.
fn serve_admin(bound: Option<Bound>, state: AdminState) -> io::Result<oneshot::Sender<()>> {
    let (end, ended) = oneshot::channel();
    if let Some(socket) = bound.and_then(|bound| bound.sockets.into_iter().next()) {
        let listener = tokio::net::TcpListener::from_std(socket)?;
        tokio::spawn(admin::serve(listener, Arc::new(state), async {
            drop(ended.await);
        }));
    }
    Ok(end)
}

/// Goes on as before for `delay`. Whether it could: `now` cuts it short.
async fn pauses(delay: Duration, now: Pin<&mut impl Future<Output = ()>>) -> bool {
    if delay.is_zero() {
        return true;
    }
    tracing::info!(?delay, "stopping: not ready any more, and serving a little longer");
    tokio::select! {
        () = sleep(delay) => true,
        () = now => false,
    }
}

/// Waits until all have `ended`. Whether they did by the `deadline`, and before `now`.
async fn drains(
    deadline: Duration,
    now: Pin<&mut impl Future<Output = ()>>,
    ended: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    tracing::info!(?deadline, "draining: no new connections, waiting for requests and tunnels");
    tokio::select! {
        () = ended => {
            tracing::info!("drained");
            return true;
        }
        () = now => tracing::warn!("told twice: ending at once"),
        () = sleep(deadline) => tracing::warn!("drain deadline: cutting what is left"),
    }
    false
}

/// The first word of all sources of endpoints, or that there is none; `None` when `stop` came first. Who
/// connects meanwhile waits in the backlog of the listener.
async fn heard(
    discovery: &mut Discovery,
    plan: &Plan,
    stop: impl Future<Output = ()>,
) -> Option<()> {
    discovery.keep(plan);
    let heard = tokio::select! {
        () = discovery.hear_all() => Some(()),
        () = stop => None,
    };
    discovery.take_news();
    heard
}

/// `plan` with what was found.
fn first(
    plan: Arc<Plan>,
    discovery: &Discovery,
    registry: &Registry,
    metrics: &Metrics,
) -> Arc<ArcSwap<Generation>> {
    let found = Generation::after(None, plan, |one| discovery.complete(one), registry, metrics);
    Arc::new(ArcSwap::from_pointee(found))
}

/// How many endpoints each upstream has, whenever that is asked.
fn sizes(current: &Arc<ArcSwap<Generation>>) -> SizeSource {
    let current = Arc::clone(current);
    Box::new(move || {
        let current = current.load();
        let upstreams = current.upstreams.iter();
        upstreams.map(|one| (one.name.to_string(), one.endpoint_ids().count())).collect()
    })
}
