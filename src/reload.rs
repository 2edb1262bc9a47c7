//! A new plan for a running process. Whatever can fail happens first, and then everything changes at
//! once; nothing that the change does not concern is touched: sockets of kept listeners stay bound,
//! requests keep the plan that they began with, tunnels live on.

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::accept::{
    BindError, Bound, Fleet, LiveListener, Order, Orders, Settings, TlsAcceptorHandle, tls,
};
use crate::config::{Builtin, Mistakes};
use crate::exchange::Part;
use crate::generation::Generation;
use crate::plan::{Difference, Endpoint, Plan};
use crate::rebalance;
use crate::telemetry::{Metrics, logs};
use crate::upstream::builtin::BuiltinServer;
use crate::upstream::{Checkers, Notice, Registry};

/// The way to give a running server another plan.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Request>);

/// What a reload has changed, or would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Part by part.
    pub difference: Difference,
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

/// Why a plan did not take effect; the one before it is in force as if nothing had been.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It could not be begun with.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process is at its end.
    #[error("shutting down: nothing is reloaded any more")]
    Ending,
}

/// A plan on its way to the server.
#[derive(Debug)]
pub(crate) struct Request {
    plan: Box<Plan>,
    dry: bool,
    answer: oneshot::Sender<Result<Report, StartError>>,
}

/// The parts of a running server that a plan decides on.
pub(crate) struct Running {
    pub(crate) fleet: Fleet,
    pub(crate) current: Arc<ArcSwap<Generation>>,
    listeners: Vec<Arc<LiveListener>>,
    builtins: Builtins,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    checkers: Option<Checkers>,
    notices: mpsc::UnboundedSender<Notice>,
    rebalancing: JoinHandle<()>,
}

/// Built-in servers by the name of their upstream. Each keeps its port for as long as the process lives:
/// tunnels to it may outlive its upstream.
#[derive(Debug, Default)]
pub(crate) struct Builtins(Vec<(String, Builtin, Endpoint)>);

impl Reloader {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, inbox) = mpsc::channel(1);
        (Self(requests), inbox)
    }

    /// Puts `plan` in force.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed then.
    pub async fn reload(&self, plan: Plan) -> Result<Report, ReloadError> {
        self.ask(plan, false).await
    }

    /// Tells what `plan` would change, and changes nothing.
    ///
    /// # Errors
    /// What [`Reloader::reload`] would fail with.
    pub async fn preview(&self, plan: Plan) -> Result<Report, ReloadError> {
        self.ask(plan, true).await
    }

    async fn ask(&self, plan: Plan, dry: bool) -> Result<Report, ReloadError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { plan: Box::new(plan), dry, answer };
        self.0.send(request).await.map_err(|_| ReloadError::Ending)?;
        Ok(answered.await.map_err(|_| ReloadError::Ending)??)
    }
}

impl Running {
    /// Begins to check endpoints.
    pub(crate) fn new(
        fleet: Fleet,
        current: Arc<ArcSwap<Generation>>,
        listeners: Vec<Arc<LiveListener>>,
        builtins: Builtins,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (notices, noticed) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(noticed, fleet.orders()));
        let checkers = Some(Checkers::start(&current.load().upstreams, &notices));
        let rebalancing = tokio::spawn(rebalance::run(Arc::clone(&current), fleet.orders()));
        Self {
            fleet,
            current,
            listeners,
            builtins,
            registry,
            metrics,
            checkers,
            notices,
            rebalancing,
        }
    }

    /// Ends the checks, and what moves sockets.
    pub(crate) fn stop_judging(&mut self) {
        self.checkers = None;
        self.rebalancing.abort();
    }

    /// Does what is asked, and answers.
    pub(crate) fn obey(&mut self, request: Request) {
        let Request { plan, dry, answer } = request;
        // Whoever asked may have gone; it is done all the same.
        answer.send(self.reload(*plan, dry)).ok();
    }

    fn reload(&mut self, mut plan: Plan, dry: bool) -> Result<Report, StartError> {
        let old = self.current.load_full();
        let difference = Difference::between(&old.plan, &plan);
        (plan.workers, plan.admin, plan.log_format) =
            (old.plan.workers, old.plan.admin, old.plan.log_format);
        let tls = acceptors(&plan)?;
        let mut gone = self.listeners.clone();
        let (mut kept, mut opened) = (Vec::new(), Vec::new());
        for (plan, tls) in plan.listeners.iter().zip(tls) {
            let settings = Settings { plan: plan.clone(), tls };
            let known = gone.iter().position(|one| one.settings().plan.address == plan.address);
            match known {
                Some(at) => kept.push((gone.remove(at), settings)),
                None => opened.push(listener(settings, old.plan.workers)?),
            }
        }
        if dry {
            return Ok(Report { difference });
        }
        for server in self.builtins.settle(&mut plan)? {
            tokio::spawn(server.serve());
        }
        // Nothing below can fail.
        logs::change(plan.log_level.as_str(), plan.access_log);
        let generation = Generation::new(plan, &self.registry, &self.metrics);
        let generation = Arc::new(generation);
        self.current.store(Arc::clone(&generation));
        // The old ones first: no endpoint is checked twice.
        self.checkers = None;
        self.checkers = Some(Checkers::start(&generation.upstreams, &self.notices));
        self.part_with(&old, &generation);
        self.listeners.clear();
        for (live, settings) in kept {
            live.change(settings);
            self.listeners.push(live);
        }
        for (live, sockets) in opened {
            self.fleet.listen(&live, sockets);
            self.listeners.push(live);
        }
        for live in gone {
            live.close();
        }
        Ok(Report { difference })
    }
}

impl Running {
    /// Has the tunnels of what `new` has no more drained, and leaves in peace what is back.
    fn part_with(&self, old: &Generation, new: &Generation) {
        let (before, after) = (parts(old), parts(new));
        let orders = self.fleet.orders();
        for part in after.difference(&before) {
            orders.send(&Order::Keep(*part));
        }
        if new.plan.drain.keep_removed {
            return;
        }
        for part in before.difference(&after) {
            orders.send(&Order::Drain(*part));
        }
    }
}

/// What the tunnels of a generation belong to.
fn parts(generation: &Generation) -> HashSet<Part> {
    let routes = generation.routes.iter().map(|route| Part::Route(route.number));
    let endpoints = generation.upstreams.iter().flat_map(|upstream| upstream.endpoint_ids());
    routes.chain(endpoints.map(Part::Endpoint)).collect()
}

impl Builtins {
    /// Gives each built-in upstream of `plan` the address of its server. Returns the servers that are
    /// new and must be run.
    pub(crate) fn settle(&mut self, plan: &mut Plan) -> Result<Vec<BuiltinServer>, StartError> {
        let mut fresh = Vec::new();
        for upstream in &mut plan.upstreams {
            let Some(kind) = upstream.builtin else { continue };
            let known = self.0.iter().find(|(name, is, _)| *name == upstream.name && *is == kind);
            let endpoint = if let Some((_, _, endpoint)) = known {
                endpoint.clone()
            } else {
                let server = BuiltinServer::bind(kind)?;
                let address = server.address()?;
                fresh.push(server);
                let endpoint = Endpoint::at(address);
                self.0.push((upstream.name.clone(), kind, endpoint.clone()));
                endpoint
            };
            upstream.endpoints = vec![endpoint];
        }
        Ok(fresh)
    }
}

/// Tells the workers what checks found, until there are no checks any more.
async fn pass_on(mut noticed: mpsc::UnboundedReceiver<Notice>, orders: Orders) {
    while let Some(notice) = noticed.recv().await {
        orders.send(&match notice {
            Notice::Drain(endpoint) => Order::Drain(Part::Endpoint(endpoint)),
            Notice::Keep(endpoint) => Order::Keep(Part::Endpoint(endpoint)),
        });
    }
}

/// The TLS of each listener of `plan`, its files read anew.
pub(crate) fn acceptors(plan: &Plan) -> Result<Vec<Option<TlsAcceptorHandle>>, StartError> {
    let mut mistakes = Mistakes::new("tls");
    let mut load = |tls| tls::load(tls, &mut mistakes).map(TlsAcceptorHandle);
    let acceptors = plan.listeners.iter().map(|one| one.tls.as_ref().and_then(&mut load)).collect();
    mistakes.into_result(acceptors).map_err(StartError::Certificates)
}

/// Binds a listener: a socket for each worker.
pub(crate) fn listener(
    settings: Settings,
    workers: usize,
) -> Result<(Arc<LiveListener>, Vec<TcpListener>), StartError> {
    let Bound { address, sockets } = Bound::new(settings.plan.address, workers)?;
    Ok((LiveListener::new(address, settings), sockets))
}
