//! What each client, each key, or all together may ask for, resolved.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Key, Networks, balance};
use crate::config::{self, At, Frequency, Mistakes};

/// One quota. It limits something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Whom it counts.
    pub per: Per,
    /// Requests that are no upgrades.
    pub requests: Option<Pace>,
    /// Upgrades.
    pub upgrades: Option<Pace>,
    /// WebSockets at a time.
    pub sockets: Option<NonZeroU32>,
    /// Clients that are not counted.
    pub except: Networks,
}

/// Whom a quota counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each value of a part of the request.
    Key(Key),
    /// Everybody together.
    All,
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many in a time; above zero.
    pub rate: Frequency,
    /// What is not used is kept for so long.
    pub burst: Duration,
}

impl Pace {
    /// From one to the next; above zero.
    pub fn each(&self) -> Duration {
        let each = self.rate.per.checked_div(self.rate.amount).unwrap_or(self.rate.per);
        each.max(Duration::from_nanos(1))
    }
}

impl Quota {
    /// Reads the list at `at`.
    pub(super) fn read_all(
        written: &[config::Quota],
        at: &At,
        mistakes: &mut Mistakes,
    ) -> Vec<Self> {
        let read = |(index, one)| Self::read(one, &at.index(index), mistakes);
        written.iter().enumerate().map(read).collect()
    }

    fn read(written: &config::Quota, at: &At, mistakes: &mut Mistakes) -> Self {
        let config::Quota { per, requests, upgrades, sockets, burst, except } = written;
        if requests.is_none() && upgrades.is_none() && sockets.is_none() {
            mistakes.add(at, "this limits nothing: give `requests`, `upgrades` or `sockets`");
        }
        let nothing = "nothing could ever pass: give at least one, or leave the key out";
        let zero = |rate: &Option<Frequency>| rate.is_some_and(|rate| rate.amount == 0);
        for (key, is_zero) in [
            ("requests", zero(requests)),
            ("upgrades", zero(upgrades)),
            ("sockets", sockets.is_some_and(|most| most.0 == 0)),
        ] {
            if is_zero {
                mistakes.add(&at.key(key), nothing);
            }
        }
        if burst.is_some() && requests.is_none() && upgrades.is_none() && sockets.is_some() {
            mistakes.add(&at.key("burst"), "`sockets` has no burst: remove it, or give a rate");
        }
        let pace = |rate: &Option<Frequency>| {
            let burst = burst.map_or(Duration::from_secs(1), |time| time.0);
            rate.map(|rate| Pace { rate, burst })
        };
        let except_at = at.key("except");
        Self {
            per: match per {
                config::Per::ClientIp => Per::Key(Key::ClientIp),
                config::Per::All => Per::All,
                config::Per::Field(field) => {
                    Per::Key(balance::of_field(field, &at.key("per"), mistakes))
                }
            },
            requests: pace(requests),
            upgrades: pace(upgrades),
            sockets: sockets.and_then(|most| NonZeroU32::new(most.0)),
            except: Networks::read(except.as_deref().unwrap_or_default(), &except_at, mistakes),
        }
    }

    /// What bounds upgrades, or other requests, in words; `None` when nothing does.
    pub fn bounds(&self, upgrade: bool) -> Option<String> {
        let rate = if upgrade { self.upgrades } else { self.requests };
        let sockets = self.sockets.filter(|_| upgrade).map(|most| format!("{most} sockets"));
        let told: Vec<String> =
            rate.map(|pace| pace.rate.to_string()).into_iter().chain(sockets).collect();
        (!told.is_empty()).then(|| told.join(" and "))
    }

    /// Puts those of a route and of the top level into the order in which they are asked: those of one
    /// client or key before those of all, so that who is over its own takes nothing away from all;
    /// among them the route's first.
    pub fn in_order<T>(
        own: impl Iterator<Item = T>,
        common: impl Iterator<Item = T>,
        plan: impl Fn(&T) -> &Self,
    ) -> Vec<T> {
        let mut all: Vec<T> = own.chain(common).collect();
        all.sort_by_key(|one| plan(one).per == Per::All);
        all
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "per {key}"),
            Self::All => f.write_str("for all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> (Vec<Quota>, String) {
        let (config, mut mistakes) = config::parse("file", yaml, &|_| None);
        let quotas = Quota::read_all(&config.quotas, &At::root().key("quotas"), &mut mistakes);
        (quotas, mistakes.to_string())
    }

    #[test]
    fn a_quota_is_per_client_with_a_burst_of_a_second_unless_it_says_otherwise() {
        let (quotas, mistakes) =
            read("quotas: [ { requests: 50/s }, { per: all, upgrades: 6/min, burst: 10s } ]\n");
        assert_eq!(mistakes, "");
        assert_eq!(quotas[0].per, Per::Key(Key::ClientIp));
        let pace = quotas[0].requests.unwrap();
        assert_eq!((pace.each(), pace.burst), (Duration::from_millis(20), Duration::from_secs(1)));
        assert_eq!((&quotas[0].upgrades, quotas[0].sockets), (&None, None));
        let pace = quotas[1].upgrades.unwrap();
        assert_eq!(quotas[1].per, Per::All);
        assert_eq!((pace.each(), pace.burst), (Duration::from_secs(10), Duration::from_secs(10)));
    }

    #[test]
    fn the_narrow_are_asked_before_the_wide() {
        let (common, _) = read("quotas: [ { per: all, sockets: 1 }, { sockets: 2 } ]\n");
        let (own, _) = read("quotas: [ { per: all, sockets: 3 }, { sockets: 4 } ]\n");
        let order = Quota::in_order(own.iter(), common.iter(), |one| one);
        let order: Vec<_> = order.iter().map(|one| one.sockets.unwrap().get()).collect();
        assert_eq!(order, [4, 2, 3, 1]);
    }
}
