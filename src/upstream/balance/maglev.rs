//! A table in which every endpoint has places by its weight, filled in turns by each one's own order
//! of preference (Eisenbud and others: Maglev, a fast and reliable software network load balancer,
//! 2016, section 3.4).

use super::Member;
use crate::upstream::hash;

/// Places: a prime, so that every step from place to place meets all of them. Never another one:
/// all keys would move.
const PLACES: u64 = 65_537;

/// A table.
#[derive(Debug)]
pub(super) struct Maglev {
    places: Vec<u16>,
}

/// An endpoint while it claims places.
struct Claimant {
    index: u16,
    weight: u32,
    /// Its next preference.
    next: u64,
    step: u64,
    /// What it may claim, in parts of a place.
    credit: u32,
}

impl Maglev {
    /// The table of these endpoints, by label.
    pub(super) fn new(endpoints: &[(&str, Member)]) -> Self {
        let mut claimants: Vec<_> = endpoints
            .iter()
            .map(|(label, member)| Claimant {
                index: member.index,
                weight: member.weight.into(),
                next: hash::seeded(0, label.as_bytes()) % PLACES,
                step: hash::seeded(1, label.as_bytes()) % (PLACES - 1) + 1,
                credit: 0,
            })
            .collect();
        let most = claimants.iter().map(|one| one.weight).max().unwrap_or_default();
        if most == 0 {
            return Self { places: Vec::new() };
        }
        let mut places: Vec<Option<u16>> = vec![None; PLACES as usize];
        let mut free = PLACES;
        while free > 0 {
            for one in &mut claimants {
                one.credit += one.weight;
                if one.credit >= most && free > 0 {
                    one.credit -= most;
                    one.claim(&mut places);
                    free -= 1;
                }
            }
        }
        Self { places: places.into_iter().flatten().collect() }
    }

    /// Whose `key` is; `None` in an empty table.
    pub(super) fn owner(&self, key: u64) -> Option<usize> {
        self.places.get((key % PLACES) as usize).map(|index| usize::from(*index))
    }
}

impl Claimant {
    /// Claims the first free place of its preference, which there is.
    fn claim(&mut self, places: &mut [Option<u16>]) {
        for _ in 0..PLACES {
            let place = places.get_mut(self.next as usize);
            self.next = (self.next + self.step) % PLACES;
            if let Some(place @ None) = place {
                *place = Some(self.index);
                return;
            }
        }
    }
}
