//! A named set of endpoints.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use crate::config::{self, At, Builtin, Config, Limit, Mistakes};

use super::balance::{self, Balance};
use super::leaving;
use super::sticky::{self, Sticky};
use super::{Discovered, Endpoint, Gates, Health, Key, ProxyVersion, Rebalance, Source};

/// A heavier endpoint than all others together is written with their weights divided.
const HEAVIEST: u16 = 256;

/// What the turns of `round_robin` have room for.
const MOST_TURNS: u32 = 65_535;

/// What a ring has room for, at 256 points for each unit of weight: a million points, 10 MB.
const MOST_ON_RING: u32 = 4_096;

/// Where requests of one or more routes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the configuration, logs and metrics.
    pub name: String,
    /// Its addresses; empty for a built-in one, which finds its address when it starts.
    pub endpoints: Vec<Endpoint>,
    /// Where further ones are found, in the order of the file.
    pub discovered: Vec<Discovered>,
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
    /// Addresses of this machine that its connections come from, in turn; none for what the kernel chooses.
    pub source_addresses: Vec<IpAddr>,
    /// How its servers are told who the client is, before anything else; `None` for not at all.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How its endpoints are judged.
    pub health: Health,
    /// What keeps its load to what it can bear.
    pub gates: Gates,
    /// Whether sockets are moved to where there is room; `None` for never.
    pub rebalance: Option<Rebalance>,
}

/// Idle connections to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// An idle connection is closed after so long.
    pub idle: Duration,
    /// Idle connections kept per worker and endpoint; 0 keeps none.
    pub max: usize,
    /// None is used again once so old, or up to a tenth younger; `None` for any age.
    pub max_age: Option<Duration>,
    /// None is used again after so many requests; `None` for any number.
    pub max_requests: Option<NonZeroU32>,
}

pub(super) fn build_all(config: &Config, folder: &Path, mistakes: &mut Mistakes) -> Vec<Upstream> {
    let at = At::root().key("upstreams");
    let mut upstreams = Vec::new();
    for (name, upstream) in &config.upstreams {
        let at = at.key(name);
        let named = !upstream.endpoints.is_empty() || upstream.endpoints_file.is_some();
        if upstream.builtin.is_some() && named {
            mistakes.add(
                &at.key("builtin"),
                format!("upstream `{name}` is built in: remove its `endpoints`"),
            );
        }
        if upstream.builtin.is_none() && !named {
            mistakes.add(
                &at,
                format!(
                    "upstream `{name}` has no endpoints: write `endpoints: [ \"10.0.0.1:9001\" ]`"
                ),
            );
        }
        let (endpoints, discovered) = members(upstream, &at, folder, mistakes);
        let written = upstream.sticky.as_ref();
        let sticky = written.and_then(|written| {
            sticky::build(written, name, config.secret.as_ref(), &at.key("sticky"), mistakes)
        });
        let balance = balance::build(upstream, &at, mistakes);
        let most = room(&balance, sticky.as_ref());
        if weights(&endpoints) > most {
            mistakes.add(
                &at.key("endpoints"),
                format!("the weights are over {most} together: divide them all by the same number"),
            );
        }
        upstreams.push(Upstream {
            name: name.clone(),
            endpoints,
            discovered,
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
            source_addresses: leaving::sources(upstream, &at, mistakes),
            proxy_protocol: leaving::proxy_protocol(upstream, &at, mistakes),
            keep_alive: leaving::keep_alive(&upstream.keep_alive, &at.key("keep_alive"), mistakes),
        });
    }
    upstreams
}

/// The endpoints of an upstream, and where further ones are found.
fn members(
    upstream: &config::Upstream,
    at: &At,
    folder: &Path,
    mistakes: &mut Mistakes,
) -> (Vec<Endpoint>, Vec<Discovered>) {
    let list = at.key("endpoints");
    let (endpoints, mut discovered) = endpoints(&upstream.endpoints, &list, mistakes);
    match upstream.endpoints_file.as_deref() {
        Some("") => mistakes.add(&at.key("endpoints_file"), "this names no file: give its path"),
        Some(file) => {
            let source = Source::File(folder.join(file));
            discovered.push(Discovered { source, weight: 1, backup: false });
        }
        None => {}
    }
    let backups = endpoints.iter().map(|one| one.backup);
    let mut backups = backups.chain(discovered.iter().map(|one| one.backup)).peekable();
    if backups.peek().is_some() && backups.all(|backup| backup) {
        mistakes.add(&list, "all of these are backups: at least one must not be");
    }
    (endpoints, discovered)
}

impl Upstream {
    /// What the weights of its endpoints may come to, all together.
    pub fn room(&self) -> u32 {
        room(&self.balance, self.sticky.as_ref())
    }
}

fn room(balance: &Balance, sticky: Option<&Sticky>) -> u32 {
    let on_ring = matches!(balance, Balance::RingHash(_))
        || matches!(sticky, Some(Sticky::Key(Key::ClientIp | Key::Header(_))));
    if on_ring { MOST_ON_RING } else { MOST_TURNS }
}

/// The endpoints of a list in a file of its own.
pub fn listed(written: &[config::EndpointEntry], mistakes: &mut Mistakes) -> Vec<Endpoint> {
    for (index, config::EndpointEntry(one)) in written.iter().enumerate() {
        if let Some(address) = one.address.as_deref().filter(|one| Source::parse(one).is_some()) {
            let what = format!("`{address}` cannot stand in a file: write it in `endpoints`");
            mistakes.add(&At::root().index(index), what);
        }
    }
    endpoints(written, &At::root(), mistakes).0
}

fn weights(endpoints: &[Endpoint]) -> u32 {
    endpoints.iter().map(|one| u32::from(one.weight)).fold(0, u32::saturating_add)
}

fn endpoints(
    written: &[config::EndpointEntry],
    at: &At,
    mistakes: &mut Mistakes,
) -> (Vec<Endpoint>, Vec<Discovered>) {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut discovered: Vec<Discovered> = Vec::new();
    for (index, config::EndpointEntry(written)) in written.iter().enumerate() {
        let at = at.index(index);
        let is_mapping = written.weight.is_some() || written.backup.is_some();
        let place = if is_mapping { at.key("address") } else { at.clone() };
        let Some(address) = &written.address else {
            mistakes.add(&at, "this endpoint needs an `address`, such as 10.0.0.1:9001");
            continue;
        };
        let weight = written.weight.map_or(Some(1), |count| {
            u16::try_from(count.0).ok().filter(|weight| (1..=HEAVIEST).contains(weight))
        });
        if weight.is_none() {
            mistakes.add(
                &at.key("weight"),
                "a weight is 1 to 256: one that shall take nothing is removed from the list",
            );
        }
        let (weight, backup) = (weight.unwrap_or(1), written.backup.is_some_and(|switch| switch.0));
        let parsed = match Source::parse(address) {
            Some(source) => source.map(|source| {
                if matches!(source, Source::Services { .. }) && written.weight.is_some() {
                    let what = "SRV records bring weights of their own: leave this one out";
                    mistakes.add(&at.key("weight"), what);
                }
                if discovered.iter().any(|one| one.source == source) {
                    let what = format!("{source} is listed twice: keep one of the two");
                    mistakes.add(&place, what);
                } else {
                    discovered.push(Discovered { source, weight, backup });
                }
                None
            }),
            None => Endpoint::parse(address).map(Some),
        };
        match parsed {
            Err(what) => mistakes.add(&place, what),
            Ok(None) => {}
            Ok(Some(parsed)) if endpoints.iter().any(|one| one.label == parsed.label) => mistakes
                .add(&place, format!("endpoint {parsed} is listed twice: keep one of the two")),
            Ok(Some(parsed)) => endpoints.push(Endpoint { weight, backup, ..parsed }),
        }
    }
    (endpoints, discovered)
}
