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
    /// Where the points of each part of the ring begin. Points are hashes and so evenly spread: a part
    /// has about four, and a search is one step and a look at these, not twenty across megabytes.
    parts: Vec<u32>,
    /// Bits of a key that say which part.
    bits: u32,
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
        let (points, owners): (Vec<u64>, _) = ring.into_iter().unzip();
        let bits = (points.len() / 4).max(2).ilog2();
        let part = |number: u64| number << (u64::BITS - bits);
        let begin = |number| points.partition_point(|point| *point < part(number)) as u32;
        let parts = (0..1_u64 << bits).map(begin).collect();
        Self { points, owners, parts, bits }
    }

    /// Whose `key` is; `None` on an empty ring.
    pub(super) fn owner(&self, key: u64) -> Option<usize> {
        let part = (key >> (u64::BITS - self.bits)) as usize;
        let begin = *self.parts.get(part)? as usize;
        let end =
            self.parts.get(part.saturating_add(1)).map_or(self.points.len(), |at| *at as usize);
        let within = self.points.get(begin..end)?.partition_point(|point| *point < key);
        let owner = self.owners.get(begin.saturating_add(within)).or_else(|| self.owners.first());
        owner.map(|index| usize::from(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_the_first_point_behind_it() {
        for weight in [1, 3] {
            let endpoints = [("a:1", 0), ("b:1", 1), ("c:1", 2)];
            let ring =
                Ring::new(&endpoints.map(|(label, index)| (label, Member { index, weight })));
            let exactly = ring.points.iter().copied().chain([0, 1, u64::MAX]);
            let keys = exactly.flat_map(|key| [key.wrapping_sub(1), key, key.wrapping_add(1)]);
            for key in keys.chain((0..2000_u64).map(|n| hash::of(&n.to_le_bytes()))) {
                let behind = ring.points.iter().position(|point| *point >= key).unwrap_or(0);
                assert_eq!(ring.owner(key), Some(ring.owners[behind].into()), "{key}");
            }
        }
        assert_eq!(Ring::new(&[]).owner(5), None);
    }
}
