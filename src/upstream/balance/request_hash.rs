//! By the request's key: the same key, the same endpoint, in every Bowline that has the same list,
//! in whatever order it is written.

use super::maglev::Maglev;
use super::ring::Ring;
use super::{Group, Member, Policy, Snapshot, takes};
use crate::upstream::hash;

/// A key whose endpoint is out is hashed again so often before all endpoints are looked at.
const HASHES: u64 = 16;

/// Seeds from here on are for keys that an endpoint which warms up lets go by.
const CHANCES: u64 = 1 << 32;

/// Whose a key is.
#[derive(Debug)]
pub(super) struct Places {
    table: Table,
    /// By place in the group.
    names: Vec<u64>,
}

#[derive(Debug)]
enum Table {
    Ring(Ring),
    Maglev(Maglev),
}

impl Places {
    /// `labels` are those of the members; `None` when the policy needs no places.
    pub(super) fn new(policy: Policy, members: &[Member], labels: &[&str]) -> Option<Self> {
        let mut owners: Vec<_> = labels.iter().copied().zip(members.iter().copied()).collect();
        // Not in the order of the list: that may differ from one Bowline to the next.
        owners.sort_unstable_by_key(|(label, _)| *label);
        let table = match policy {
            Policy::RingHash => Table::Ring(Ring::new(&owners)),
            Policy::Maglev => Table::Maglev(Maglev::new(&owners)),
            _ => return None,
        };
        let names = labels.iter().map(|label| hash::of(label.as_bytes())).collect();
        Some(Self { table, names })
    }

    fn owner(&self, key: u64) -> Option<usize> {
        match &self.table {
            Table::Ring(ring) => ring.owner(key),
            Table::Maglev(maglev) => maglev.owner(key),
        }
    }
}

pub(super) fn pick(group: &Group, now: &impl Snapshot, key: u64) -> Option<usize> {
    let places = group.places.as_ref()?;
    let mut hashes = (0..HASHES).filter_map(|number| {
        // The keys of an endpoint that is out are spread over all others, and only they move.
        let key = if number == 0 { key } else { hash::again(key, number) };
        let index = places.owner(key)?;
        takes(now, index, hash::again(key, CHANCES + number)).then_some(index)
    });
    hashes.next().or_else(|| {
        // Nearly all are out: of the others the one that this key makes the greatest.
        let open = group.members.iter().zip(&places.names);
        let open = open.filter(|(one, _)| now.load(one.at()).is_some());
        open.max_by_key(|(_, name)| hash::again(key, **name)).map(|(one, _)| one.at())
    })
}
