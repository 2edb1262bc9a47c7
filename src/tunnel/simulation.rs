//! Thousands of tunnels between peers of every manner, on a paused clock, each from a seed: what
//! ends them, when, and what each side got is compared with a model that knows only the limits and
//! what went over the wires. `SIMULATION_SEED=7 cargo test simulation` plays one of them again,
//! `SIMULATION_RUNS=100000` more of them.

mod account;
mod dice;
mod frames;
mod history;
mod model;
mod peer;
mod wire;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use self::dice::Dice;
use self::history::History;
use self::model::{Decision, Model};
use self::peer::Manners;
use self::wire::{Gauge, Log, Wire};
use super::{
    Allowance, Ended, Extensions, Group, Labels, Leg, Limits, Pulse, Pulses, Reason, Roster, Rules,
    Tunnel,
};

/// How long a tunnel is watched.
const HORIZON: Duration = Duration::from_secs(240);

/// What a tunnel lives by, and who its peers are.
#[derive(Debug)]
struct Setup {
    limits: Limits,
    max_age: Option<Duration>,
    /// When it is told to close, or to be cut if that is true. An odd number of milliseconds is for
    /// being told to come back.
    drain: Option<(Duration, bool)>,
    /// Of each pipe: to the client, from it, to the upstream, from it.
    buffers: [usize; 4],
    client: Manners,
    upstream: Manners,
}

impl Setup {
    fn new(dice: &mut Dice) -> Self {
        let frames = dice.maybe(90, |dice| Rules {
            strict: dice.percent(80),
            max_frame: peer::MAX_FRAME as u64,
            max_message: peer::MAX_MESSAGE as u64,
        });
        let pulse = |dice: &mut Dice| Pulse {
            interval: dice.time(500, 25_000),
            timeout: dice.time(100, 10_000),
        };
        let buffer = |dice: &mut Dice| {
            let (low, high) = dice.pick(&[(1, 16), (16, 200), (200, 5000), (200, 5000)]);
            dice.size(low, high)
        };
        Self {
            limits: Limits {
                frames,
                idle: dice.maybe(40, |dice| dice.time(1000, 90_000)),
                half_close: dice.time(100, 40_000),
                write: dice.maybe(60, |dice| dice.time(500, 40_000)),
                close: dice.time(1, 10_000),
                tell_loss: dice.percent(70),
                pulses: Pulses { client: dice.maybe(50, pulse), upstream: dice.maybe(50, pulse) },
                client_rate: None,
                upstream_rate: None,
            },
            max_age: dice.maybe(25, |dice| dice.time(1, 200_000)),
            drain: dice.maybe(25, |dice| (dice.time(1, 200_000), dice.percent(20))),
            buffers: std::array::from_fn(|_| buffer(dice)),
            client: Manners::new(dice, true),
            upstream: Manners::new(dice, false),
        }
    }
}

/// A tunnel, and an eye on when it makes up its mind.
struct Watched {
    tunnel: Tunnel<Wire, Wire, ()>,
    eye: Rc<Eye>,
}

struct Eye {
    logs: [Rc<RefCell<Log>>; 2],
    gauges: [Gauge; 2],
    decision: RefCell<Option<Decision>>,
}

impl Eye {
    fn note(&self, reason: Option<Reason>) {
        let at = Instant::now();
        self.decision.borrow_mut().get_or_insert_with(|| {
            let mut logs = [&self.logs[0], &self.logs[1]].map(|log| log.borrow().clone());
            // Who was not read before, for a slow reader, is heard out right behind the decision.
            let blocked =
                [&logs[0], &logs[1]].map(|log| log.blocked.is_some_and(|since| since < at));
            let late = blocked.map(|blocked| blocked && reason.is_some());
            for (log, _) in logs.iter_mut().rev().zip(late).filter(|(_, late)| *late) {
                log.forget(at);
            }
            Decision {
                at,
                reason,
                logs,
                unread: [self.gauges[0].unread(), self.gauges[1].unread()],
            }
        });
    }
}

impl Future for Watched {
    type Output = (Instant, Ended);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Instant, Ended)> {
        let polled = Pin::new(&mut self.tunnel).poll(cx);
        let reason = self.tunnel.closing.as_ref().map(|closing| closing.reason);
        if reason.is_some() || polled.is_ready() {
            self.eye.note(reason);
        }
        polled.map(|ended| (Instant::now(), ended))
    }
}

/// A tunnel that is under way.
struct Scene {
    setup: Setup,
    began: Instant,
    eye: Rc<Eye>,
    roster: Rc<Roster>,
    watched: JoinHandle<(Instant, Ended)>,
    /// The peers, and whoever orders the drain.
    others: [JoinHandle<()>; 3],
}

impl Scene {
    fn open(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let setup = Setup::new(&mut dice);
        let [to_client, from_client, to_upstream, from_upstream] = setup.buffers;
        let (client, near, client_log) = wire::connect(to_client, from_client);
        let (upstream, far, upstream_log) = wire::connect(to_upstream, from_upstream);
        let ahead = setup.client.ahead(&mut dice);
        let began = Instant::now();
        if !ahead.is_empty() {
            let mut log = client_log.borrow_mut();
            log.read.clone_from(&ahead);
            log.reads.push((began, ahead.len()));
        }
        let eye = Rc::new(Eye {
            logs: [client_log, upstream_log],
            gauges: [near.gauge(), far.gauge()],
            decision: RefCell::default(),
        });
        let roster = Rc::new(Roster::default());
        let tunnel = Tunnel::new(
            Leg { stream: near, read_ahead: ahead },
            Leg { stream: far, read_ahead: Vec::new() },
            Arc::new(setup.limits),
            Extensions::None,
            roster.enter(Labels::default()),
            (),
        );
        let tunnel = tunnel.retiring(setup.max_age);
        let watched = spawn_local(Watched { tunnel, eye: Rc::clone(&eye) });
        let others = [
            spawn_local(peer::live(client, setup.client.clone(), dice.split())),
            spawn_local(peer::live(upstream, setup.upstream.clone(), dice.split())),
            spawn_local(order(Rc::clone(&roster), setup.drain)),
        ];
        Self { setup, began, eye, roster, watched, others }
    }

    /// Panics when something is not as it must be.
    fn judge(&self, ended: Option<(Instant, Ended)>, cut: Option<Instant>) {
        let [client, upstream] = [&self.eye.logs[0], &self.eye.logs[1]].map(|log| log.borrow());
        let (rules, decision) = (self.setup.limits.frames, self.eye.decision.borrow());
        let model = Model {
            setup: &self.setup,
            began: self.began,
            client: History::new(&client, true, rules),
            upstream: History::new(&upstream, false, rules),
            decision: decision.as_ref(),
            ended,
            cut,
            now: Instant::now(),
            wrong: Vec::new(),
        };
        let wrong = model.judge();
        assert!(wrong.is_empty(), "{wrong:#?}\n{ended:?}\n{:#?}", self.setup);
    }
}

async fn order(roster: Rc<Roster>, drain: Option<(Duration, bool)>) {
    let Some((after, cut)) = drain else { return };
    sleep(after).await;
    if cut {
        roster.cut_all();
    } else if is_shed(after) {
        let allowance = Arc::<Allowance>::default();
        allowance.grant(1);
        roster.shed(Group { place: 0, number: 0 }, 1, &allowance);
    } else {
        roster.begin_closing(1012).into_iter().for_each(|one| roster.close(one, 1012));
    }
}

/// Whether who is told at this time is told to come back.
fn is_shed(after: Duration) -> bool {
    after.as_millis() % 2 == 1
}

/// Plays one; how it ended, or `None` when it had to be cut in the end. An error is a panic within.
async fn play(seed: u64) -> Result<Option<Ended>, JoinError> {
    let mut scene = Scene::open(seed);
    let told = timeout(HORIZON, &mut scene.watched).await.ok().transpose()?;
    let cut = scene.setup.drain.filter(|(_, cut)| *cut).map(|(after, _)| scene.began + after);
    let cut = cut.filter(|_| told.is_some_and(|(_, ended)| ended.reason == Reason::Drain));
    scene.judge(told, cut);
    if told.is_none() {
        let now = Instant::now();
        scene.roster.cut_all();
        let ended = (&mut scene.watched).await?;
        scene.judge(Some(ended), Some(now));
    }
    assert!(scene.roster.is_empty());
    scene.others.iter().for_each(JoinHandle::abort);
    Ok(told.map(|(_, ended)| ended))
}

#[cfg(test)]
mod tests;
