//! What keeps the load of an upstream to what it can bear, resolved and checked.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{self, At, Count, Mistakes};

/// The gates of an upstream; each stands open where nothing is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// How fast new WebSockets may come.
    pub upgrades: Option<UpgradeTerms>,
    /// What may be under way.
    pub bounds: Bounds,
    /// Who waits when that is so many already; `None` for nobody.
    pub queue: Option<QueueTerms>,
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

impl Gates {
    pub(super) fn build(written: &config::Upstream, at: &At, mistakes: &mut Mistakes) -> Self {
        let upgrades = written.upgrades.as_ref();
        Self {
            upgrades: upgrades.and_then(|one| upgrade_terms(one, &at.key("upgrades"), mistakes)),
            bounds: bounds(&written.max_connections, &at.key("max_connections"), mistakes),
            queue: queue_terms(written, &at.key("queue"), mistakes),
        }
    }
}

fn upgrade_terms(
    written: &config::Upgrades,
    at: &At,
    mistakes: &mut Mistakes,
) -> Option<UpgradeTerms> {
    if written.rate.is_none() {
        mistakes.add(at, "this limits nothing: give `rate`, upgrades per second");
    }
    let told = "nothing could ever pass: give at least one, or leave the key out";
    let rate = at_least_one(written.rate, "rate", told, at, mistakes);
    let burst = at_least_one(written.burst, "burst", told, at, mistakes);
    let rate = rate?;
    Some(UpgradeTerms {
        rate,
        burst: burst.map_or((rate.get() / 10).max(1), NonZeroU32::get),
        wait: written.wait.map_or(Duration::from_secs(2), |time| time.0),
    })
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
