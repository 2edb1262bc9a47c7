//! Does this client ask for too much? Rates of requests and upgrades and a number of live sockets, for
//! each client or key, or for all together. The counts are those of the process, exact whichever
//! worker asks; time is an argument.

mod counter;
mod key;
mod live;
mod table;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::counter::Counter;
use self::live::Live;
pub use self::live::Seats;
use crate::plan::{self, Facts, Pace, Per};

/// A quota with its counts.
#[derive(Debug)]
pub struct Quota {
    plan: plan::Quota,
    requests: Option<Arc<Counter>>,
    upgrades: Option<Arc<Counter>>,
    live: Arc<Live>,
    /// Makes a number of a key, in a way that nobody outside can foresee; two have the same one once
    /// in 2^64 times.
    seed: RandomState,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What there was too much of, as the configuration calls it.
    pub of: &'static str,
    /// When the next one would pass; nothing for sockets, of which nobody knows when they end.
    pub wait: Duration,
}

impl Quota {
    /// A quota. Counts of `before`, which counts the same clients or keys, go on: live sockets always,
    /// each rate where it is the same.
    pub fn after(before: Option<&Self>, plan: plan::Quota) -> Self {
        let rate = |new: Option<Pace>, old: fn(&Self) -> &Option<Arc<Counter>>| {
            let (new, shared) = (new?, plan.per == Per::All);
            let old = before.and_then(|before| old(before).as_ref());
            let same = old.filter(|old| old.is_of(new)).map(Arc::clone);
            Some(same.unwrap_or_else(|| Arc::new(Counter::new(new, shared))))
        };
        Self {
            requests: rate(plan.requests, |before| &before.requests),
            upgrades: rate(plan.upgrades, |before| &before.upgrades),
            live: before.map(|before| Arc::clone(&before.live)).unwrap_or_default(),
            seed: before.map(|before| before.seed.clone()).unwrap_or_default(),
            plan,
        }
    }

    /// What was planned.
    pub fn plan(&self) -> &plan::Quota {
        &self.plan
    }

    /// Counts a request of `client` at `now`, the time since some fixed instant. One that opens a
    /// WebSocket leaves its seat with `seats`, and has it for as long as that lives.
    ///
    /// # Errors
    /// What there is too much of; nothing is counted then.
    pub fn judge(
        &self,
        facts: &Facts<'_>,
        client: IpAddr,
        now: Duration,
        seats: &mut Seats,
    ) -> Result<(), Refused> {
        let Some(key) = key::of(&self.plan, facts, client) else { return Ok(()) };
        let key = self.seed.hash_one(key.as_ref());
        let (counter, of) = match facts.websocket {
            true => (&self.upgrades, "upgrades"),
            false => (&self.requests, "requests"),
        };
        let seat = match self.plan.sockets.filter(|_| facts.websocket) {
            None => None,
            Some(most) => {
                let seat = Live::take(&self.live, key, most);
                Some(seat.ok_or(Refused { of: "sockets", wait: Duration::ZERO })?)
            }
        };
        if let Some(counter) = counter {
            counter.take(key, now).map_err(|wait| Refused { of, wait })?;
        }
        if let Some(seat) = seat {
            seats.add(seat);
        }
        Ok(())
    }
}

/// Whether a quota looks at this request at all.
pub fn counts(plan: &plan::Quota, facts: &Facts<'_>, client: IpAddr) -> bool {
    key::of(plan, facts, client).is_some()
}

#[cfg(test)]
mod tests;
