//! A new plan for a running process. Whatever can fail happens first, and then everything changes at
//! once; nothing that the change does not concern is touched: sockets of kept listeners stay bound,
//! requests keep the plan that they began with, tunnels live on.

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::accept::tls::{self, Keeper, LiveTls, Vault};
use crate::accept::{BindError, Bound, Fleet, LiveListener, Order, PassedSockets, Settings};
use crate::config::{Builtin, Mistakes};
use crate::discovery::Discovery;
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
    /// Whoever wants to know the plan hears each.
    pub(crate) in_force: watch::Sender<Arc<Plan>>,
    pub(crate) listeners: Vec<Arc<LiveListener>>,
    pub(crate) passed: PassedSockets,
    pub(crate) builtins: Builtins,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) vault: Arc<Vault>,
    /// `None` while no certificate is kept in view.
    pub(crate) keeper: Option<Keeper>,
    pub(crate) discovery: Discovery,
    /// `None` while nothing is checked.
    pub(crate) checkers: Option<Checkers>,
    /// `None` while nothing is moved to where there is room.
    pub(crate) rebalancing: Option<JoinHandle<()>>,
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
    /// Begins to check endpoints, to move sockets among them, and to keep certificates in view.
    pub(crate) fn begin_judging(&mut self) {
        self.keep_in_view();
        let orders = self.fleet.orders();
        let mut checkers = Checkers::new(move |notice| {
            orders.send(&match notice {
                Notice::Drain(endpoint) => Order::Drain(Part::Endpoint(endpoint)),
                Notice::Keep(endpoint) => Order::Keep(Part::Endpoint(endpoint)),
            });
        });
        checkers.follow(&self.current.load().upstreams);
        self.checkers = Some(checkers);
        let rebalancing = rebalance::run(Arc::clone(&self.current), self.fleet.orders());
        self.rebalancing = Some(tokio::spawn(rebalancing));
    }

    fn keep_in_view(&mut self) {
        self.keeper = Some(Keeper::start(in_view(&self.listeners), &self.vault, &self.metrics));
    }

    /// Ends the checks, and what moves sockets.
    pub(crate) fn stop_judging(&mut self) {
        self.checkers = None;
        if let Some(rebalancing) = self.rebalancing.take() {
            rebalancing.abort();
        }
    }

    /// Does what `requests` ask for, and follows what is discovered, until `stop` resolves.
    pub(crate) async fn serve(
        &mut self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(request) = requests.recv() => tokio::select! {
                    () = &mut stop => return,
                    () = self.obey(request) => {}
                },
                () = self.discovery.changed() => self.rediscover(),
            }
        }
    }

    /// Does what is asked, and answers. Where it is dropped on the way, nothing has changed.
    async fn obey(&mut self, request: Request) {
        let Request { plan, dry, answer } = request;
        if !dry {
            // Nobody is to be without endpoints for having become a name.
            self.discovery.begin(&plan);
            self.discovery.hear_all().await;
        }
        // Whoever asked may have gone; it is done all the same.
        answer.send(self.reload(*plan, dry)).ok();
        // The one in force, whichever that is now.
        self.discovery.keep(&self.current.load().plan);
    }

    /// Puts in force what was found.
    fn rediscover(&mut self) {
        let old = self.current.load_full();
        self.put_in_force(&old, Arc::clone(&old.plan));
    }

    fn reload(&mut self, mut plan: Plan, dry: bool) -> Result<Report, StartError> {
        let old = self.current.load_full();
        let difference = Difference::between(&old.plan, &plan);
        (plan.workers, plan.admin, plan.log_format) =
            (old.plan.workers, old.plan.admin, old.plan.log_format);
        let tls = terminations(&plan, &self.vault)?;
        let mut gone = self.listeners.clone();
        let (mut kept, mut opened) = (Vec::new(), Vec::new());
        for (plan, tls) in plan.listeners.iter().zip(tls) {
            let settings = Settings { plan: plan.clone(), tls };
            let known = gone.iter().position(|one| one.settings().plan.on == plan.on);
            match known {
                Some(at) => kept.push((gone.remove(at), settings)),
                None => opened.push(listener(settings, &self.passed, old.plan.workers)?),
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
        self.put_in_force(&old, Arc::new(plan));
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
        self.keep_in_view();
        Ok(Report { difference })
    }
}

impl Running {
    /// The next generation: what does not differ from `old` goes on undisturbed.
    fn put_in_force(&mut self, old: &Generation, plan: Arc<Plan>) {
        self.discovery.take_news();
        let new = Generation::after(
            Some(old),
            plan,
            |one| self.discovery.complete(one),
            &self.registry,
            &self.metrics,
        );
        let new = Arc::new(new);
        self.current.store(Arc::clone(&new));
        // Before tunnels are drained: what checks had them told is taken back first.
        if let Some(checkers) = &mut self.checkers {
            checkers.follow(&new.upstreams);
        }
        self.in_force.send_replace(Arc::clone(&new.plan));
        self.part_with(old, &new);
    }

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
        let (mut fresh, mut known_now) = (Vec::new(), Vec::new());
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
                known_now.push((upstream.name.clone(), kind, endpoint.clone()));
                endpoint
            };
            upstream.endpoints = vec![endpoint];
        }
        // All of them run, or none is known.
        self.0.append(&mut known_now);
        Ok(fresh)
    }
}

/// The TLS of each listener of `plan`, its files read anew.
pub(crate) fn terminations(
    plan: &Plan,
    vault: &Arc<Vault>,
) -> Result<Vec<Option<Arc<LiveTls>>>, StartError> {
    let mut mistakes = Mistakes::new("tls");
    let loaded = tls::load(plan, vault, &mut mistakes);
    let loaded = mistakes.into_result(loaded).map_err(StartError::Certificates)?;
    for warning in tls::warnings(plan, &loaded) {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

/// The TLS of these listeners.
fn in_view(listeners: &[Arc<LiveListener>]) -> Vec<Arc<LiveTls>> {
    listeners.iter().filter_map(|listener| listener.settings().tls.clone()).collect()
}

/// Opens a listener: a socket for each worker.
pub(crate) fn listener(
    settings: Settings,
    passed: &PassedSockets,
    workers: usize,
) -> Result<(Arc<LiveListener>, Vec<TcpListener>), StartError> {
    let Bound { address, sockets } = Bound::on(&settings.plan.on, passed, workers)?;
    Ok((LiveListener::new(address, settings), sockets))
}
