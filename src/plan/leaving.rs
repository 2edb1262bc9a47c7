//! How connections to an upstream leave: from which addresses, with which words first, and for how long
//! they are kept.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{KeepAlive, ProxyVersion};
use crate::config::{self, At, Limit, Mistakes};

pub(super) fn keep_alive(
    written: &config::KeepAlive,
    at: &At,
    mistakes: &mut Mistakes,
) -> KeepAlive {
    let max_age = match written.max_age {
        Some(Limit::After(age)) => Some(age),
        Some(Limit::Off) | None => None,
    };
    if max_age.is_some_and(|age| age.is_zero()) {
        let told = "no connection could be used twice: write `5m`, say, or `max: 0` to keep none";
        mistakes.add(&at.key("max_age"), told);
    }
    let max_requests = written.max_requests.map(|count| NonZeroU32::new(count.0));
    if max_requests == Some(None) {
        let told = "no request could ever go out: give 1 or more, or leave it out for any number";
        mistakes.add(&at.key("max_requests"), told);
    }
    KeepAlive {
        idle: written.idle.map_or(Duration::from_secs(60), |time| time.0),
        max: written.max.map_or(64, |count| count.0 as usize),
        max_age,
        max_requests: max_requests.flatten(),
    }
}

/// The addresses that connections come from.
pub(super) fn sources(
    upstream: &config::Upstream,
    at: &At,
    mistakes: &mut Mistakes,
) -> Vec<IpAddr> {
    let at = at.key("source_addresses");
    let written = &upstream.source_addresses;
    if upstream.builtin.is_some() && !written.is_empty() {
        mistakes.add(&at, "a built-in upstream is reached within this process: remove it");
    }
    let mut sources = Vec::new();
    for (index, written) in written.iter().enumerate() {
        let at = at.index(index);
        let Ok(source) = written.parse::<IpAddr>() else {
            mistakes
                .add(&at, format!("`{written}` is not an address: write 10.0.0.5 or 2001:db8::5"));
            continue;
        };
        let source = source.to_canonical();
        let told = if source.is_unspecified() || source.is_multicast() || is_broadcast(source) {
            "is no address that a connection can come from: give one of this machine's"
        } else if sources.contains(&source) {
            "is listed twice: keep one of the two"
        } else {
            sources.push(source);
            continue;
        };
        mistakes.add(&at, format!("{source} {told}"));
    }
    sources
}

fn is_broadcast(address: IpAddr) -> bool {
    // The kernel would take it.
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

/// The version of the PROXY protocol that servers want.
pub(super) fn proxy_protocol(
    upstream: &config::Upstream,
    at: &At,
    mistakes: &mut Mistakes,
) -> Option<ProxyVersion> {
    let version = upstream.proxy_protocol?;
    if upstream.builtin.is_some() {
        let told = "a built-in upstream does not read a PROXY header: remove it";
        mistakes.add(&at.key("proxy_protocol"), told);
    }
    Some(match version {
        config::ProxyVersion::V1 => ProxyVersion::V1,
        config::ProxyVersion::V2 => ProxyVersion::V2,
    })
}
