//! A named set of endpoints.

use std::time::Duration;

use crate::config::{self, At, Builtin, Config, Limit, Mistakes};

use super::balance::{self, Balance};
use super::sticky::{self, Sticky};
use super::{Endpoint, Gates, Health, Key, Rebalance};

/// A heavier endpoint than all others together is written with their weights divided.
const HEAVIEST: u16 = 256;

/// What the turns of `round_robin` have room for.
const MOST_TURNS: u32 = 65_535;

/// What a ring has room for, at 256 points for each unit of weight: a million points, 10 MB.
const MOST_ON_RING: u32 = 4_096;

/// Where requests of one or more routes go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name in the configuration, logs and metrics.
    pub name: String,
    /// Its addresses; empty for a built-in one, which finds its address when it starts.
    pub endpoints: Vec<Endpoint>,
    /// A server inside the process, if it is one.
    pub builtin: Option<Builtin>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// How long a new endpoint takes to come to its whole share; `None` for at once.
    pub slow_start: Option<Duration>,
    /// What keeps a client with its endpoint.
    pub sticky: Option<Sticky>,
    /// How idle connections are kept.
    pub keep_alive: KeepAlive,
    /// How its endpoints are judged.
    pub health: Health,
    /// What keeps its load to what it can bear.
    pub gates: Gates,
    /// Whether sockets are moved to where there is room; `None` for never.
    pub rebalance: Option<Rebalance>,
}

/// Idle connections to endpoints.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// An idle connection is closed after so long.
    pub idle: Duration,
    /// Idle connections kept per worker and endpoint; 0 keeps none.
    pub max: usize,
}

pub(super) fn build_all(config: &Config, mistakes: &mut Mistakes) -> Vec<Upstream> {
    let at = At::root().key("upstreams");
    let mut upstreams = Vec::new();
    for (name, upstream) in &config.upstreams {
        let at = at.key(name);
        if upstream.builtin.is_some() && !upstream.endpoints.is_empty() {
            mistakes.add(
                &at.key("builtin"),
                format!("upstream `{name}` is built in: remove its `endpoints`"),
            );
        }
        if upstream.builtin.is_none() && upstream.endpoints.is_empty() {
            mistakes.add(
                &at,
                format!(
                    "upstream `{name}` has no endpoints: write `endpoints: [ \"10.0.0.1:9001\" ]`"
                ),
            );
        }
        let endpoints = endpoints(&upstream.endpoints, &at.key("endpoints"), mistakes);
        let written = upstream.sticky.as_ref();
        let sticky = written.and_then(|written| {
            sticky::build(written, name, config.secret.as_ref(), &at.key("sticky"), mistakes)
        });
        let balance = balance::build(upstream, &at, mistakes);
        let on_ring = matches!(balance, Balance::RingHash(_))
            || matches!(sticky, Some(Sticky::Key(Key::ClientIp | Key::Header(_))));
        let most = if on_ring { MOST_ON_RING } else { MOST_TURNS };
        if weights(&endpoints) > most {
            mistakes.add(
                &at.key("endpoints"),
                format!("the weights are over {most} together: divide them all by the same number"),
            );
        }
        upstreams.push(Upstream {
            name: name.clone(),
            endpoints,
            builtin: upstream.builtin,
            health: Health::build(&upstream.health, &at.key("health"), mistakes),
            gates: Gates::build(upstream, &at, mistakes),
            rebalance: Rebalance::build(upstream, &balance, &at, mistakes),
            balance,
            slow_start: match upstream.slow_start {
                Some(Limit::After(after)) if !after.is_zero() => Some(after),
                _ => None,
            },
            sticky,
            keep_alive: KeepAlive {
                idle: upstream.keep_alive.idle.map_or(Duration::from_secs(60), |time| time.0),
                max: upstream.keep_alive.max.map_or(64, |count| count.0 as usize),
            },
        });
    }
    upstreams
}

fn weights(endpoints: &[Endpoint]) -> u32 {
    endpoints.iter().map(|one| u32::from(one.weight)).fold(0, u32::saturating_add)
}

fn endpoints(written: &[config::EndpointEntry], at: &At, mistakes: &mut Mistakes) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (index, config::EndpointEntry(written)) in written.iter().enumerate() {
        let at = at.index(index);
        let is_mapping = written.weight.is_some() || written.backup.is_some();
        let place = if is_mapping { at.key("address") } else { at.clone() };
        let Some(address) = &written.address else {
            mistakes.add(&at, "this endpoint needs an `address`, such as 10.0.0.1:9001");
            continue;
        };
        let parsed = match Endpoint::parse(address) {
            Ok(endpoint) => endpoint,
            Err(what) => {
                mistakes.add(&place, what);
                continue;
            }
        };
        if endpoints.iter().any(|one| one.label == parsed.label) {
            mistakes.add(&place, format!("endpoint {parsed} is listed twice: keep one of the two"));
            continue;
        }
        let weight = written.weight.map_or(Some(1), |count| {
            u16::try_from(count.0).ok().filter(|weight| (1..=HEAVIEST).contains(weight))
        });
        if weight.is_none() {
            mistakes.add(
                &at.key("weight"),
                "a weight is 1 to 256: one that shall take nothing is removed from the list",
            );
        }
        endpoints.push(Endpoint {
            weight: weight.unwrap_or(1),
            backup: written.backup.is_some_and(|switch| switch.0),
            ..parsed
        });
    }
    if !endpoints.is_empty() && endpoints.iter().all(|one| one.backup) {
        mistakes.add(at, "all of these are backups: at least one must not be");
    }
    endpoints
}
