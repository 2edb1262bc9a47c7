//! What keeps the load of an upstream to what it can bear, resolved and checked.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{self, At, Count, Mistakes};

/// Enough to pass over a dead endpoint, few enough that a dead upstream does not triple every client's
/// wait further.
const ATTEMPTS: usize = 3;

/// The gates of an upstream; each stands open where nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// How fast new WebSockets may come.
    pub upgrades: Option<UpgradeTerms>,
    /// How many of them may be under way; `None` for any number.
    pub in_progress: Option<InProgress>,
    /// What may be under way.
    pub bounds: Bounds,
    /// Who waits when that is so many already; `None` for nobody.
    pub queue: Option<QueueTerms>,
    /// Endpoints that one request tries at most; at least 1.
    pub attempts: usize,
    /// When it is spared; `None` for never.
    pub sparing: Option<Sparing>,
}

/// How an upstream that fails is spared, by each worker for itself. One of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sparing {
    /// How many retries it gets; `None` for any number.
    pub budget: Option<Budget>,
    /// When nothing is asked of it; `None` for never.
    pub breaker: Option<Trip>,
}

/// A budget of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Retries in a hundred requests.
    pub percent: u8,
    /// Retries there are from the start, and that are saved up at most; at least 1.
    pub reserve: u16,
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// Failures in a hundred requests; at least 1.
    pub percent: u8,
    /// Fewer requests than these within the window tell nothing.
    pub requests: u32,
    /// How far back is looked.
    pub window: Duration,
    /// How long nothing is asked then.
    pub pause: Duration,
}

/// Requests and tunnels that may be under way together; `None` for any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// To each endpoint.
    pub endpoint: Option<NonZeroU32>,
    /// To all endpoints together.
    pub upstream: Option<NonZeroU32>,
}

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueTerms {
    /// How many may wait.
    pub size: NonZeroU32,
    /// How long each may wait; above zero.
    pub wait: Duration,
}

/// A pace of upgrades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeTerms {
    /// A second.
    pub rate: NonZeroU32,
    /// At once; at least 1.
    pub burst: u32,
    /// How long one may wait for its turn.
    pub wait: Duration,
}

/// Upgrades that may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InProgress {
    /// So many.
    pub most: NonZeroU32,
    /// How long one may wait, what it waited for its turn by the rate included.
    pub wait: Duration,
}

/// A line of what is not as it is by itself; empty where nothing is written.
impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: Vec<String> = Vec::new();
        if let Some(UpgradeTerms { rate, burst, wait }) = self.upgrades {
            told.push(format!("upgrades {rate} a second, {burst} at once, wait {wait:?}"));
        }
        if let Some(InProgress { most, wait }) = self.in_progress {
            told.push(format!("{most} upgrades in progress, wait {wait:?}"));
        }
        for (most, of) in [(self.bounds.endpoint, "an endpoint"), (self.bounds.upstream, "all")] {
            told.extend(most.map(|most| format!("max_connections {most} to {of}")));
        }
        if let Some(QueueTerms { size, wait }) = self.queue {
            told.push(format!("queue of {size}, wait {wait:?}"));
        }
        let budget = self.sparing.and_then(|sparing| sparing.budget);
        match (self.attempts, budget) {
            (1, _) => told.push("no retries".to_owned()),
            (ATTEMPTS, None) => {}
            (attempts, None) => told.push(format!("{attempts} attempts")),
            (attempts, Some(Budget { percent, reserve })) => {
                told.push(format!("{attempts} attempts, retries {percent}% and {reserve}"));
            }
        }
        if let Some(Trip { percent, requests, window, pause }) =
            self.sparing.and_then(|sparing| sparing.breaker)
        {
            told.push(format!(
                "breaker at {percent}% of {requests} or more in {window:?}, pause {pause:?}"
            ));
        }
        f.write_str(&told.join("; "))
    }
}

impl Gates {
    pub(super) fn build(written: &config::Upstream, at: &At, mistakes: &mut Mistakes) -> Self {
        let (upgrades, in_progress) = written
            .upgrades
            .as_ref()
            .map_or((None, None), |one| upgrade_terms(one, &at.key("upgrades"), mistakes));
        let (attempts, budget) = retries(&written.retries, &at.key("retries"), mistakes);
        let breaker = written.breaker.map(|one| trip(one, &at.key("breaker"), mistakes));
        let is_spared = budget.is_some() || breaker.is_some();
        Self {
            upgrades,
            in_progress,
            bounds: bounds(&written.max_connections, &at.key("max_connections"), mistakes),
            queue: queue_terms(written, &at.key("queue"), mistakes),
            attempts,
            sparing: is_spared.then_some(Sparing { budget, breaker }),
        }
    }
}

fn upgrade_terms(
    written: &config::Upgrades,
    at: &At,
    mistakes: &mut Mistakes,
) -> (Option<UpgradeTerms>, Option<InProgress>) {
    if written.rate.is_none() && written.in_progress.is_none() {
        let told = "this limits nothing: give `rate`, upgrades per second, or `in_progress`";
        mistakes.add(at, told);
    } else if written.rate.is_none() && written.burst.is_some() {
        mistakes
            .add(&at.key("burst"), "a burst is part of a rate: give `rate` too, or leave it out");
    }
    let told = "nothing could ever pass: give at least one, or leave the key out";
    let rate = at_least_one(written.rate, "rate", told, at, mistakes);
    let burst = at_least_one(written.burst, "burst", told, at, mistakes);
    let most = at_least_one(written.in_progress, "in_progress", told, at, mistakes);
    let wait = written.wait.map_or(Duration::from_secs(2), |time| time.0);
    let terms = rate.map(|rate| {
        let burst = burst.map_or((rate.get() / 10).max(1), NonZeroU32::get);
        UpgradeTerms { rate, burst, wait }
    });
    (terms, most.map(|most| InProgress { most, wait }))
}

fn bounds(written: &config::MaxConnections, at: &At, mistakes: &mut Mistakes) -> Bounds {
    let told = "nothing could ever pass: give at least one, or leave the key out";
    Bounds {
        endpoint: at_least_one(written.endpoint, "endpoint", told, at, mistakes),
        upstream: at_least_one(written.upstream, "upstream", told, at, mistakes),
    }
}

fn queue_terms(written: &config::Upstream, at: &At, mistakes: &mut Mistakes) -> Option<QueueTerms> {
    let queue = written.queue?;
    if written.max_connections == config::MaxConnections::default() {
        mistakes.add(at, "nobody ever waits here: give `max_connections` too, or leave it out");
    }
    let told = "nobody could wait here: give at least one, or leave `queue` out";
    let size = at_least_one(queue.size, "size", told, at, mistakes);
    let wait = queue.wait.map_or(Duration::from_secs(1), |time| time.0);
    if wait.is_zero() {
        mistakes
            .add(&at.key("wait"), "nobody could wait here: write `1s`, say, or leave `queue` out");
    }
    // A hundred by default.
    Some(QueueTerms { size: size.or(NonZeroU32::new(100))?, wait })
}

/// Attempts, and the budget for those after the first.
fn retries(written: &config::Retries, at: &At, mistakes: &mut Mistakes) -> (usize, Option<Budget>) {
    let told = "nothing could ever be tried: write `attempts: 1` for no retries";
    let attempts = at_least_one(written.attempts, "attempts", told, at, mistakes);
    let told = "no retry could ever be made: give at least one, or write `attempts: 1`";
    let reserve = at_least_one(written.reserve, "reserve", told, at, mistakes);
    if written.reserve.is_some() && written.budget.is_none() {
        mistakes.add(&at.key("reserve"), "a reserve is part of a budget: give `budget: 20%`, say");
    }
    let reserve = reserve.map_or(10, |count| u16::try_from(count.get()).unwrap_or(u16::MAX));
    let budget = written.budget.map(|share| Budget { percent: share.0, reserve });
    (attempts.map_or(ATTEMPTS, |count| count.get() as usize), budget)
}

fn trip(written: config::Breaker, at: &At, mistakes: &mut Mistakes) -> Trip {
    let percent = written.failures.map_or(50, |share| share.0);
    if percent == 0 {
        mistakes.add(&at.key("failures"), "a share of none is always reached: write `50%`, say");
    }
    let told = "no requests tell nothing: give at least one";
    let requests = at_least_one(written.requests, "requests", told, at, mistakes);
    let mut time = |key: &str, time: Option<config::Time>, default| {
        let time = time.map_or(Duration::from_secs(default), |time| time.0);
        if time.is_zero() {
            let told = format!("no time does nothing: write `{default}s`, or leave `breaker` out");
            mistakes.add(&at.key(key), told);
        }
        time
    };
    Trip {
        percent,
        requests: requests.map_or(20, NonZeroU32::get),
        window: time("window", written.window, 10),
        pause: time("pause", written.pause, 5),
    }
}

/// What is written under `key`; a zero is a mistake, of which `told` says the mend.
fn at_least_one(
    written: Option<Count>,
    key: &str,
    told: &str,
    at: &At,
    mistakes: &mut Mistakes,
) -> Option<NonZeroU32> {
    let count = written.map(|count| NonZeroU32::new(count.0));
    if count == Some(None) {
        mistakes.add(&at.key(key), told);
    }
    count.flatten()
}
