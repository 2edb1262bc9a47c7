//! The parts of what a worker carries that can be told to end by themselves: which labels a tunnel gets,
//! and which group of them is meant.

use crate::generation::{Generation, LiveRoute};
use crate::tunnel::{Group, Labels};
use crate::upstream::Endpoint;

/// Tunnels that have something in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// All to one endpoint, by its id.
    Endpoint(usize),
    /// All of one route, by its number.
    Route(u32),
}

impl Part {
    /// The same in the words of the roster.
    pub fn group(self) -> Group {
        match self {
            Self::Endpoint(id) => Group { place: 0, number: number(id) },
            Self::Route(number) => Group { place: 1, number },
        }
    }
}

/// What a tunnel of `route` to `endpoint` belongs to.
pub(super) fn labels(endpoint: &Endpoint, route: &LiveRoute) -> Labels {
    Labels([number(endpoint.id), route.number])
}

/// Whether `generation` has the part whose tunnels are this group.
pub(super) fn is_in(generation: &Generation, group: Group) -> bool {
    let mut routes = generation.routes.iter().map(|route| route.number);
    let mut endpoints = generation.upstreams.iter().flat_map(|one| one.endpoint_ids()).map(number);
    match group.place {
        0 => endpoints.any(|number| number == group.number),
        _ => routes.any(|number| number == group.number),
    }
}

/// Ids count up from 0; nobody has so many endpoints in the life of a process that they do not fit.
fn number(id: usize) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}
