//! Which endpoint comes next: pure functions over what is fixed of the endpoints (weights, backups,
//! places on a ring) and a [`Snapshot`] of what is not. No clock and no chance in here: both are
//! arguments, so that a simulation tests it.

mod draw;
mod least_connections;
mod maglev;
mod power_of_two;
mod random;
mod request_hash;
mod ring;
mod rota;
mod round_robin;

use std::ops::Range;
use std::time::Duration;

use crate::plan::{self, Endpoint};

pub(super) use self::draw::Draw;
use self::request_hash::Places;
use self::rota::Rota;

/// The warmth of an endpoint that takes its whole share.
pub(super) const WARM: u16 = 1000;

/// The endpoints as they are now, by their index.
pub(super) trait Snapshot {
    /// Live sockets and requests; `None` when it is out of the question.
    fn load(&self, index: usize) -> Option<usize>;

    /// Shows each of `range` in order with its load, among them perhaps some that are out of the question.
    fn each_load(&self, range: Range<usize>, mut see: impl FnMut(usize, u64)) {
        for index in range {
            if let Some(load) = self.load(index) {
                see(index, load as u64);
            }
        }
    }

    /// How long its handshakes take, in nanoseconds; 0 when nobody knows.
    fn latency(&self, index: usize) -> u64;

    /// Whether each takes its whole share, as far as that is known without a look.
    fn is_warm(&self) -> bool {
        false
    }

    /// How much of its share it takes, up to [`WARM`]; never 0.
    fn warmth(&self, index: usize) -> u16;
}

/// How one upstream's endpoints are picked.
#[derive(Debug)]
pub(super) struct Balancer {
    policy: Policy,
    /// The backups stand in the second one.
    groups: Vec<Group>,
}

/// What a [`Balancer`] goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    LeastConnections,
    RoundRobin,
    PowerOfTwo,
    Random,
    RingHash,
    Maglev,
}

/// Endpoints among which one is picked.
#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    /// Weights by the index of the endpoint, 0 for those of another group; only where all are compared.
    weights: Vec<u16>,
    /// All weights are the same, and nobody else stands between them.
    even: bool,
    rota: Rota,
    places: Option<Places>,
}

/// What is fixed of an endpoint.
#[derive(Clone, Copy, Debug)]
struct Member {
    index: u16,
    weight: u16,
}

impl Policy {
    pub(super) fn of(balance: &plan::Balance) -> Self {
        match balance {
            plan::Balance::LeastConnections => Self::LeastConnections,
            plan::Balance::RoundRobin => Self::RoundRobin,
            plan::Balance::PowerOfTwo => Self::PowerOfTwo,
            plan::Balance::Random => Self::Random,
            plan::Balance::RingHash(_) => Self::RingHash,
            plan::Balance::Maglev(_) => Self::Maglev,
        }
    }
}

impl Balancer {
    /// For these endpoints, of which a plan has at most 65,535.
    pub(super) fn new(policy: Policy, endpoints: &[Endpoint]) -> Self {
        let group = |backup| {
            let group = endpoints.iter().zip(0..=u16::MAX).filter(|(one, _)| one.backup == backup);
            Group::new(policy, group)
        };
        let groups = [group(false), group(true)];
        Self { policy, groups: groups.into_iter().filter(|one| !one.members.is_empty()).collect() }
    }

    /// The indices and weights of those that get requests while one of them is open.
    pub(super) fn first_choice(&self) -> impl Iterator<Item = (usize, u16)> {
        let members = self.groups.first().into_iter().flat_map(|group| &group.members);
        members.map(|one| (one.at(), one.weight))
    }

    /// The index of the next endpoint. A backup's only when everything else is out.
    pub(super) fn pick(&self, now: &impl Snapshot, draw: Draw) -> Option<usize> {
        self.groups.iter().find_map(|group| match (self.policy, draw.key) {
            (Policy::LeastConnections, _) => least_connections::pick(group, now, draw),
            (Policy::RoundRobin, _) => round_robin::pick(group, now, draw),
            (Policy::Random, _) => random::pick(group, now, draw),
            (Policy::RingHash | Policy::Maglev, Some(key)) => request_hash::pick(group, now, key),
            // What has nothing to be hashed goes by load.
            (Policy::PowerOfTwo | Policy::RingHash | Policy::Maglev, _) => {
                power_of_two::pick(group, now, draw)
            }
        })
    }
}

impl Group {
    fn new<'a>(policy: Policy, endpoints: impl Iterator<Item = (&'a Endpoint, u16)>) -> Self {
        let (mut members, mut labels) = (Vec::new(), Vec::new());
        for (endpoint, index) in endpoints {
            members.push(Member { index, weight: endpoint.weight });
            labels.push(endpoint.label.as_str());
        }
        let rota = match policy {
            Policy::LeastConnections => Rota::default(),
            _ => Rota::new(&members),
        };
        let mut weights = Vec::new();
        if policy == Policy::LeastConnections {
            weights.resize(members.last().map_or(0, |last| last.at().saturating_add(1)), 0);
            for member in &members {
                if let Some(weight) = weights.get_mut(member.at()) {
                    *weight = member.weight;
                }
            }
        }
        let even = weights.first().is_some_and(|one| weights.iter().all(|other| other == one));
        let places = Places::new(policy, &members, &labels);
        Self { members, weights, even, rota, places }
    }

    /// An endpoint that is open, as often as its weight and warmth say: the one at `part` of the way
    /// through them all, `u64::MAX` being the whole way. For where the short ways have failed.
    fn at(&self, now: &impl Snapshot, part: u64) -> Option<usize> {
        let shares = || {
            let open = self.members.iter().filter(|one| now.load(one.at()).is_some());
            open.map(|one| (one.at(), one.share(now)))
        };
        let total: u64 = shares().map(|(_, share)| share).sum();
        let place = (u128::from(part) * u128::from(total)) >> 64;
        let mut passed = 0;
        shares().find_map(|(index, share)| {
            passed += u128::from(share);
            (place < passed).then_some(index)
        })
    }
}

impl Member {
    fn at(self) -> usize {
        self.index.into()
    }

    /// Its weight in thousandths, as far as it is warm.
    fn share(self, now: &impl Snapshot) -> u64 {
        u64::from(self.weight) * u64::from(now.warmth(self.at()))
    }
}

/// How warm an endpoint is that began `age` ago: in a straight line from a tenth, since one that got
/// nothing would never warm up, to all of it after `slow`.
pub(super) fn warmth(age: Duration, slow: Duration) -> u16 {
    let part = age.as_secs_f64() / slow.as_secs_f64().max(f64::MIN_POSITIVE);
    let least = WARM / 10;
    // Within 100 and 1000, whatever the clock says.
    least + (f64::from(WARM - least) * part.clamp(0.0, 1.0)) as u16
}

/// Whether the endpoint is open and takes this one: while it warms up, it lets a part of what is
/// its own go by. `chance` is any number that differs between requests.
fn takes(now: &impl Snapshot, index: usize, chance: u64) -> bool {
    if now.load(index).is_none() {
        return false;
    }
    let warmth = now.warmth(index);
    warmth >= WARM || chance % u64::from(WARM) < u64::from(warmth)
}

#[cfg(test)]
mod tests;
