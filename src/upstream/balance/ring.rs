//! A ring of points (Karger and others: Consistent hashing and random trees, 1997): a key belongs to
//! the first point behind it.

use super::Member;
use crate::upstream::hash;

/// Points for each unit of weight: of ten endpoints the fullest then has a tenth too much, as a rule.
const POINTS: u64 = 256;

/// A ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// In rising order; apart from the owners, so that a search touches fewer cache lines.
    points: Vec<u64>,
    owners: Vec<u16>,
}

impl Ring {
    /// The ring of these endpoints, by label.
    pub(super) fn new(endpoints: &[(&str, Member)]) -> Self {
        let mut ring = Vec::new();
        for (label, member) in endpoints {
            let points = 0..POINTS * u64::from(member.weight);
            ring.extend(points.map(|n| (hash::seeded(n, label.as_bytes()), member.index)));
        }
        // Stable: of two at one point the first label has it.
        ring.sort_by_key(|(point, _)| *point);
        let (points, owners) = ring.into_iter().unzip();
        Self { points, owners }
    }

    /// Whose `key` is; `None` on an empty ring.
    pub(super) fn owner(&self, key: u64) -> Option<usize> {
        let behind = self.points.partition_point(|point| *point < key);
        self.owners.get(behind).or_else(|| self.owners.first()).map(|index| usize::from(*index))
    }
}
