//! What answers of the DNS mean: which addresses a name has, and which endpoints those and SRV records
//! make. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::source::Fault;
use crate::plan::Endpoint;

/// The greatest weight of an endpoint.
const HEAVIEST: u32 = 256;

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply<T> {
    /// Records, and how long they hold.
    Records(Vec<T>, Duration),
    /// The name has none of the kind, or does not exist.
    Nothing,
    /// Nobody knows: no answer, or one that says so.
    Failed(String),
}

/// The addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    v4: BTreeSet<IpAddr>,
    v6: BTreeSet<IpAddr>,
}

/// What is known of a name after both questions about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Learned {
    pub(super) addresses: Addresses,
    /// How long it holds; `None` when neither question was answered with records.
    pub(super) ttl: Option<Duration>,
    /// Why, when neither was answered at all.
    pub(super) failed: Option<String>,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// A name with its last dot; `.` for "there is no such service".
    pub(super) target: String,
}

impl Addresses {
    /// What is known after an A and an AAAA question. One that failed leaves what it said before: a
    /// server that stumbles over one kind must not take half the endpoints away.
    pub(super) fn learn(&self, v4: Reply<IpAddr>, v6: Reply<IpAddr>) -> Learned {
        let failed = match (&v4, &v6) {
            (Reply::Failed(why), Reply::Failed(_)) => Some(why.clone()),
            _ => None,
        };
        let ttls = [&v4, &v6].into_iter().filter_map(|reply| match reply {
            Reply::Records(_, ttl) => Some(*ttl),
            _ => None,
        });
        let ttl = ttls.min();
        let addresses = Self { v4: known(&self.v4, v4), v6: known(&self.v6, v6) };
        Learned { addresses, ttl, failed }
    }

    fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.iter().chain(&self.v6).copied()
    }
}

fn known(before: &BTreeSet<IpAddr>, reply: Reply<IpAddr>) -> BTreeSet<IpAddr> {
    match reply {
        Reply::Records(addresses, _) => addresses.into_iter().collect(),
        Reply::Nothing => BTreeSet::new(),
        Reply::Failed(_) => before.clone(),
    }
}

/// The endpoints that a name with these addresses stands for, in order.
///
/// # Errors
/// When there are none: an upstream is not emptied by a slip in a zone.
pub(super) fn of_addresses(addresses: &Addresses, port: u16) -> Result<Vec<Endpoint>, Fault> {
    let endpoints = addresses.all().map(|ip| Endpoint::at(SocketAddr::new(ip, port)));
    some(endpoints.collect(), "the name has no addresses")
}

/// The endpoints that SRV records stand for, with what is known of their targets. Those of the lowest
/// priority are there for all requests, the others are backups; an address has the weight of its
/// record, scaled to what weights there are.
///
/// # Errors
/// When there are none.
pub(super) fn of_services(
    services: &[Service],
    targets: &BTreeMap<String, Addresses>,
) -> Result<Vec<Endpoint>, Fault> {
    if services.iter().any(|one| one.target == ".") {
        return Err(Fault("its SRV record says that there is no such service".to_owned()));
    }
    let heaviest = services.iter().map(|one| one.weight).max().unwrap_or_default();
    let mut found = BTreeMap::<SocketAddr, (u16, u16)>::new();
    for one in services {
        let rank = (one.priority, u16::MAX - scaled(one.weight, heaviest));
        for ip in targets.get(&one.target).into_iter().flat_map(Addresses::all) {
            // Where two records lead to one place, the more important one counts.
            let place = found.entry(SocketAddr::new(ip, one.port)).or_insert(rank);
            *place = rank.min(*place);
        }
    }
    // Of those that lead somewhere: a backup of nobody would be no backup.
    let first = found.values().map(|(priority, _)| *priority).min();
    let endpoints = found.iter().map(|(address, (priority, weight))| Endpoint {
        weight: u16::MAX - weight,
        backup: Some(*priority) != first,
        ..Endpoint::at(*address)
    });
    some(endpoints.collect(), "none of the targets of its SRV records has an address")
}

/// A weight of 0 to 65,535 as one of 1 to 256, beside the heaviest of its answer. Small ones stay as they
/// are; 0, which in SRV is "hardly ever", is the least.
fn scaled(weight: u16, heaviest: u16) -> u16 {
    let (weight, heaviest) = (u32::from(weight), u32::from(heaviest).max(HEAVIEST));
    let scaled = (weight * HEAVIEST + heaviest / 2) / heaviest;
    // At most 256.
    u16::try_from(scaled.clamp(1, HEAVIEST)).unwrap_or(1)
}

fn some(endpoints: Vec<Endpoint>, otherwise: &str) -> Result<Vec<Endpoint>, Fault> {
    if endpoints.is_empty() { Err(Fault(otherwise.to_owned())) } else { Ok(endpoints) }
}

#[cfg(test)]
mod tests;
