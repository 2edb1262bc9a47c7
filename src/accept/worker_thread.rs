//! Worker threads. Each has a runtime of its own, a socket of its own per listener, its own
//! upstream connections; they meet only at the plan pointer and when one passes a fresh
//! connection to another.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, timeout};

use super::admission::{Admission, Loads};
use super::backoff::Backoff;
use super::handshakes::Turn;
use super::live_listener::{LiveListener, Place, Settings};
use super::orders::{Order, Orders};
use super::tls::{Failed, LiveTls, Secured};
use super::{preface, proxy_protocol, tls};
use crate::config::Http2;
use crate::drain::{self, Phase};
use crate::exchange::{self, Arrival, Carriage, ClientTask, Worker};
use crate::generation::Generation;
use crate::plan::Listener;
use crate::telemetry::{Metrics, TlsFailure};
use crate::tunnel::Pace;

/// Tasks that run before the sockets are looked at again: all that one look made ready, in most
/// cases.
const TASKS_PER_LOOK: u32 = 256;

/// How often idle upstream connections are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// After the cut, tunnels get this long to say goodbye to their sockets.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A listener as one worker gets it.
#[derive(Debug)]
pub struct WorkerListener {
    /// What all workers share.
    pub live: Arc<LiveListener>,
    /// This worker's socket.
    pub socket: StdListener,
}

/// All workers.
#[derive(Debug)]
pub struct Fleet {
    threads: Vec<JoinHandle<()>>,
    inboxes: Vec<mpsc::UnboundedSender<Delivery>>,
    orders: Orders,
    /// Closed when the last worker has ended.
    ended: mpsc::Receiver<()>,
}

/// What comes to a worker from outside.
#[derive(Debug)]
enum Delivery {
    /// A fresh connection that another worker passes on.
    Connection(Passed),
    /// A listener that a reload has opened.
    Listener(WorkerListener),
    /// Somebody asks whether it is awake.
    Call(Here),
}

/// Let go when a worker has heard a call.
type Here = mpsc::Sender<()>;

/// The way to ask whether all workers are awake. Nobody is asked before there are any.
#[derive(Clone, Debug, Default)]
pub struct RollCall(Arc<OnceLock<Vec<mpsc::UnboundedSender<Delivery>>>>);

impl RollCall {
    /// Resolves when every worker has heard the call; a worker that does not accept any more has.
    pub async fn all(&self) {
        let (here, mut heard) = mpsc::channel(1);
        for inbox in self.0.get().into_iter().flatten() {
            inbox.send(Delivery::Call(here.clone())).ok();
        }
        drop(here);
        // Nobody says anything; the last one to let go ends it.
        while heard.recv().await.is_some() {}
    }
}

/// A fresh connection that one worker passes to another.
#[derive(Debug)]
struct Passed {
    stream: StdStream,
    peer: SocketAddr,
    listener: Arc<LiveListener>,
    place: Place,
}

impl Fleet {
    /// Starts one thread for each of `listeners`, which holds each worker's own sockets.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn start(
        listeners: Vec<Vec<WorkerListener>>,
        plan: &Arc<ArcSwap<Generation>>,
        metrics: &Arc<Metrics>,
        phase: &watch::Receiver<Phase>,
        roll_call: &RollCall,
    ) -> io::Result<Self> {
        let loads = Arc::new(Loads::new(listeners.len()));
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            listeners.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let (orders, order_boxes) = Orders::new(listeners.len());
        let (alive, ended) = mpsc::channel(1);
        let (started, starts) = std::sync::mpsc::channel();
        let mut threads = Vec::new();
        let inboxes = inboxes.into_iter().zip(order_boxes);
        for (id, (listeners, inboxes)) in listeners.into_iter().zip(inboxes).enumerate() {
            let (plan, metrics, phase) = (Arc::clone(plan), Arc::clone(metrics), phase.clone());
            let (loads, peers, alive) = (Arc::clone(&loads), senders.clone(), alive.clone());
            let started = started.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{id}"));
            threads.push(thread.spawn(move || {
                let work = async move {
                    let worker = Worker::new(id, plan, metrics);
                    WorkerThread { worker, loads, peers, phase }.run(listeners, inboxes).await;
                };
                // A runtime of this thread alone: its tasks need not be Send and cross no queue
                // that others write to.
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .event_interval(TASKS_PER_LOOK)
                    .build_local(LocalOptions::default());
                // Whoever asked is there until every worker has told.
                match runtime {
                    Ok(runtime) => {
                        started.send(Ok(())).ok();
                        // Who waits for the last of these senders would wait for this worker's end.
                        drop(started);
                        runtime.block_on(work);
                    }
                    Err(error) => {
                        started.send(Err(error)).ok();
                    }
                }
                drop(alive);
            })?);
        }
        roll_call.0.set(senders.clone()).ok();
        drop(started);
        starts.iter().collect::<io::Result<()>>()?;
        Ok(Self { threads, inboxes: senders, orders, ended })
    }

    /// Opens one more listener: a socket for each worker.
    pub fn listen(&self, live: &Arc<LiveListener>, sockets: Vec<StdListener>) {
        for (inbox, socket) in self.inboxes.iter().zip(sockets) {
            let listener = WorkerListener { live: Arc::clone(live), socket };
            // A worker that has ended needs none.
            inbox.send(Delivery::Listener(listener)).ok();
        }
    }

    /// The way to tell the workers what is to become of some tunnels.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Waits until every worker has ended, which they do some time after the phase has changed.
    pub async fn ended(mut self) {
        while self.ended.recv().await.is_some() {}
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic; this is a bug in Bowline");
            }
        }
    }
}

/// What comes to a worker from outside: connections and orders.
type Inboxes = (mpsc::UnboundedReceiver<Delivery>, mpsc::UnboundedReceiver<Order>);

#[derive(Clone)]
struct WorkerThread {
    worker: Rc<Worker>,
    loads: Arc<Loads>,
    peers: Vec<mpsc::UnboundedSender<Delivery>>,
    phase: watch::Receiver<Phase>,
}

impl WorkerThread {
    async fn run(self, listeners: Vec<WorkerListener>, (mut inbox, mut orders): Inboxes) {
        for listener in listeners {
            self.listen(listener);
        }
        let mut phase = self.phase.clone();
        let mut sweep = interval(SWEEP);
        loop {
            tokio::select! {
                () = drain::begun(&mut phase) => break,
                _ = sweep.tick() => self.worker.sweep(),
                passed = inbox.recv() => match passed {
                    Some(Delivery::Connection(passed)) => self.take_over(passed),
                    Some(Delivery::Listener(listener)) => self.listen(listener),
                    Some(Delivery::Call(here)) => drop(here),
                    None => break,
                },
                Some(order) = orders.recv() => order.obey(&self.worker),
            }
        }
        self.worker.begin_drain();
        // What was passed just before the drain is a client like any other.
        inbox.close();
        while let Some(delivery) = inbox.recv().await {
            match delivery {
                Delivery::Connection(passed) => self.take_over(passed),
                Delivery::Listener(_) | Delivery::Call(_) => {}
            }
        }
        self.worker.close_idle();
        let drain = self.worker.generation().plan.drain;
        let pace = Pace { spread: drain.spread, code: drain.code };
        let told = async {
            pace.close_all(&self.worker.roster).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.worker.empty() => {}
            () = told => {}
            () = drain::over(&mut phase) => {
                self.worker.roster.cut_all();
                // Requests that are still in flight are cut with the runtime.
                drop(timeout(LAST_WORDS, self.worker.without_tunnels()).await);
            }
        }
    }

    fn listen(&self, listener: WorkerListener) {
        let this = self.clone();
        tokio::task::spawn_local(async move { this.accept_loop(listener).await });
    }

    fn take_over(&self, passed: Passed) {
        let Passed { stream, peer, listener, place } = passed;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.admit(&listener, stream, peer, place),
            Err(error) => tracing::warn!(%error, "a connection was lost between two workers"),
        }
    }

    /// Accepts until the drain begins or the listener is removed, and then closes the socket: who
    /// comes now is refused and never waits in a queue that nobody reads.
    async fn accept_loop(&self, WorkerListener { live, socket }: WorkerListener) {
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(listener = live.settings().plan.name, %error, "cannot accept");
                return;
            }
        };
        let mut phase = self.phase.clone();
        tokio::select! {
            () = drain::begun(&mut phase) => {}
            () = live.closed() => {}
            () = self.accept_from(&socket, &live) => {}
        }
    }

    async fn accept_from(&self, socket: &TcpListener, live: &Arc<LiveListener>) {
        let mut backoff = Backoff::default();
        let mut told: Option<Instant> = None;
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => {
                    backoff.reset();
                    let most = live.settings().plan.limits.connections;
                    // Asked for after the accept: idle workers must not hold places.
                    match live.enter(most) {
                        Some(place) => self.place(live, stream, peer, place),
                        None => self.over_limit(live, &mut told),
                    }
                }
                Err(error) => {
                    self.worker.counters().accept_errors.inc();
                    let Some(pause) = backoff.after(&error) else { continue };
                    if once_a_second(&mut told) {
                        tracing::error!(
                            listener = live.settings().plan.name, %error,
                            "cannot accept; will go on trying (out of descriptors? raise `ulimit -n`)"
                        );
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// Counts and tells a connection that is closed because `limits.connections` are open.
    fn over_limit(&self, live: &LiveListener, told: &mut Option<Instant>) {
        self.worker.counters().over_limit.inc();
        if once_a_second(told) {
            tracing::warn!(
                listener = live.settings().plan.name,
                "as many connections as `limits.connections` allows: closing new ones"
            );
        }
    }

    /// Keeps a fresh connection, or passes it to a worker that has far fewer.
    fn place(&self, live: &Arc<LiveListener>, stream: TcpStream, peer: SocketAddr, place: Place) {
        let relief = self.loads.relief(self.worker.id).and_then(|id| self.peers.get(id));
        let Some(relief) = relief else {
            return self.admit(live, stream, peer, place);
        };
        match stream.into_std() {
            Ok(stream) => {
                self.worker.counters().handed_over.inc();
                let passed = Passed { stream, peer, listener: Arc::clone(live), place };
                if let Err(mpsc::error::SendError(Delivery::Connection(passed))) =
                    relief.send(Delivery::Connection(passed))
                {
                    self.take_over(passed);
                }
            }
            Err(error) => tracing::warn!(%error, "a connection was lost between two workers"),
        }
    }

    fn admit(&self, live: &LiveListener, stream: TcpStream, peer: SocketAddr, place: Place) {
        let admission =
            Box::new(Admission::new(Rc::clone(&self.worker), Arc::clone(&self.loads), place));
        let settings = live.settings();
        let Settings { plan, tls } = &**settings;
        let arrival = Arrival {
            peer,
            reached: self.reached(&stream, plan),
            tls: tls.is_some(),
            scheme_unknown: false,
            access: Arc::clone(&live.access),
            server_name: None,
            identity: None,
            header_timeout: plan.header_timeout,
            limits: plan.limits,
        };
        let most = plan.tls.as_ref().and_then(|tls| tls.max_handshakes);
        let turn = Turn::new(&live.handshakes, most);
        let worker = Rc::clone(&self.worker);
        let task = match (&plan.introduced_by, tls) {
            (Some(_), _) => {
                let mut phase = self.phase.clone();
                let settings = Arc::clone(&settings);
                ClientTask::new(async move {
                    let Settings { plan, tls } = &*settings;
                    let (stream, arrival) = tokio::select! {
                        // A header that is here already was sent in good faith.
                        biased;
                        introduced = introduced(stream, arrival, plan, &worker) => introduced?,
                        () = drain::begun(&mut phase) => return None,
                    };
                    match tls {
                        Some(tls) => {
                            over_tls((tls, turn), plan, stream, arrival, worker, admission).await
                        }
                        None => {
                            preface::serve(stream, arrival, plan.http2, worker, admission).await
                        }
                    }
                })
            }
            (None, Some(_)) => {
                let settings = Arc::clone(&settings);
                ClientTask::new(async move {
                    let Settings { plan, tls } = &*settings;
                    over_tls((tls.as_ref()?, turn), plan, stream, arrival, worker, admission).await
                })
            }
            (None, None) if plan.http2 == Http2::PriorKnowledge => {
                ClientTask::new(preface::serve(stream, arrival, plan.http2, worker, admission))
            }
            (None, None) => {
                ClientTask::new(exchange::serve(stream, Vec::new(), arrival, worker, admission))
            }
        };
        tokio::task::spawn_local(task);
    }

    /// What a client reached. The kernel is asked only where an upstream is to hear it.
    fn reached(&self, stream: &TcpStream, plan: &Listener) -> Option<SocketAddr> {
        let asked = self.worker.generation().plan.tells_destinations;
        let told = asked.then(|| stream.local_addr().ok()).flatten();
        told.or(plan.on.address())
    }
}

/// Takes the PROXY header off a connection and lets the client that it names arrive; `None` when the
/// connection is refused, which is told and counted.
async fn introduced(
    mut stream: TcpStream,
    arrival: Arrival,
    plan: &Listener,
    worker: &Worker,
) -> Option<(TcpStream, Arrival)> {
    let from = plan.introduced_by.as_ref()?;
    match proxy_protocol::take(&mut stream, arrival.peer, from, plan.header_timeout).await {
        Ok(header) => {
            let peer = header.source.unwrap_or(arrival.peer);
            let reached = header.destination.or(arrival.reached);
            let tls = arrival.tls || header.tls == Some(true);
            let scheme_unknown = !arrival.tls && header.tls.is_none() && header.source.is_some();
            Some((stream, Arrival { peer, reached, tls, scheme_unknown, ..arrival }))
        }
        // A health check that only connects is everyday.
        Err(refused @ proxy_protocol::Refused::Silent) => {
            tracing::debug!(peer = %arrival.peer.ip(), listener = plan.name, "{refused}");
            None
        }
        Err(refused) => {
            worker.counters().proxy_protocol_refused.inc();
            tracing::info!(peer = %arrival.peer.ip(), listener = plan.name, reason = %refused, "a connection was closed for its PROXY header");
            None
        }
    }
}

/// Serves a connection of a listener with TLS.
async fn over_tls(
    (tls, turn): (&LiveTls, Turn),
    plan: &Listener,
    stream: TcpStream,
    arrival: Arrival,
    worker: Rc<Worker>,
    admission: Box<Admission>,
) -> Option<Carriage> {
    // Out of the lock-free cell at once: a handshake takes seconds where a client is slow.
    let termination = Arc::clone(&tls.current());
    match termination.handshake(turn.comes(&worker), stream).await {
        Ok(Secured { stream, server_name, identity, handshake }) => {
            worker.counters().count_tls(handshake);
            let arrival = Arrival { server_name, identity, ..arrival };
            if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2) {
                let serving = exchange::serve_http2(stream, Vec::new(), arrival, worker, admission);
                // Boxed, or every connection would be as large.
                return Box::pin(serving).await;
            }
            exchange::serve(stream, Vec::new(), arrival, worker, admission).await
        }
        Err(failed) => {
            if failed.cause == TlsFailure::Timeout && turn.was_in_vain(&worker, &plan.name) {
                return None;
            }
            tls_failed(&worker, plan, arrival.peer, &failed);
            if let Some(plain) = failed.plain {
                Box::pin(exchange::turn_away(plain, &worker)).await;
            }
            None
        }
    }
}

/// One line a second however often something happens.
fn once_a_second(told: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let tell = told.is_none_or(|told| now.duration_since(told) >= Duration::from_secs(1));
    if tell {
        *told = Some(now);
    }
    tell
}

fn tls_failed(worker: &Worker, plan: &Listener, peer: SocketAddr, failed: &Failed) {
    worker.counters().count_tls_failure(failed.cause);
    let cause = failed.cause.label();
    tracing::info!(
        client = %peer.ip(), listener = plan.name, cause, error = %failed.why,
        "TLS handshake failed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_roll_call_ends_when_the_last_worker_has_heard_it() {
        let call = RollCall::default();
        call.all().await;
        let (senders, mut inboxes): (Vec<_>, Vec<_>) =
            (0..2).map(|_| mpsc::unbounded_channel()).unzip();
        call.0.set(senders).unwrap();
        let asleep = inboxes.pop();
        let awake = async {
            while let Some(Delivery::Call(here)) = inboxes[0].recv().await {
                drop(here);
            }
        };
        let calls = async {
            assert!(timeout(Duration::from_secs(9), call.all()).await.is_err());
            // It is gone, and nobody waits for it any more.
            drop(asleep);
            call.all().await;
        };
        tokio::select! {
            () = awake => panic!("nobody calls"),
            () = calls => {}
        }
    }
}
