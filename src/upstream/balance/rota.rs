//! The order of turns by weight, worked out once: an atomic number that grows is then all that
//! workers share, and their turns are exact without a lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Member;

/// Endpoints in an order in which each stands as often as its weight says, evenly spread. As long
/// as the weights' sum, each divided by what divides them all.
#[derive(Debug, Default)]
pub(super) struct Rota {
    turns: Vec<u16>,
    /// By index.
    weights: Vec<u16>,
}

/// When an endpoint's next turn is due, as a fraction of the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// Twice the turns it had, and one: turns stand in the middle of their share of the round.
    halves: u64,
    weight: u64,
    member: usize,
}

impl Rota {
    pub(super) fn new(members: &[Member]) -> Self {
        let divisor = members.iter().fold(0, |divisor, one| gcd(divisor, one.weight)).max(1);
        let mut due: BinaryHeap<_> = members
            .iter()
            .enumerate()
            .map(|(member, one)| Due { halves: 1, weight: (one.weight / divisor).into(), member })
            .map(Reverse)
            .collect();
        let length: u64 = due.iter().map(|Reverse(one)| one.weight).sum();
        let mut rota = Self::default();
        while (rota.turns.len() as u64) < length
            && let Some(Reverse(next)) = due.pop()
        {
            rota.turns.extend(members.get(next.member).map(|one| one.index));
            due.push(Reverse(Due { halves: next.halves.saturating_add(2), ..next }));
        }
        for member in members {
            if rota.weights.len() <= member.at() {
                rota.weights.resize(member.at().saturating_add(1), 0);
            }
            if let Some(weight) = rota.weights.get_mut(member.at()) {
                *weight = member.weight;
            }
        }
        rota
    }

    /// Whose turn the `number`th is, any number of rounds on.
    pub(super) fn at(&self, number: u64) -> Option<usize> {
        let place = number.checked_rem(self.len())?;
        self.turns.get(place as usize).map(|index| usize::from(*index))
    }

    /// Turns in a round.
    pub(super) fn len(&self) -> u64 {
        self.turns.len() as u64
    }

    /// The weight of an endpoint.
    pub(super) fn weight(&self, index: usize) -> u64 {
        self.weights.get(index).copied().unwrap_or_default().into()
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (mine, theirs) = (self.halves * other.weight, other.halves * self.weight);
        mine.cmp(&theirs).then(self.member.cmp(&other.member))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u16]) -> Vec<u16> {
        let members =
            weights.iter().zip(0..).map(|(weight, index)| Member { index, weight: *weight });
        Rota::new(&members.collect::<Vec<_>>()).turns
    }

    #[test]
    fn the_heavy_one_is_not_served_in_a_row() {
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[2, 1]), [0, 1, 0]);
        assert_eq!(turns(&[4, 2]), [0, 1, 0]);
        assert_eq!(turns(&[3, 1, 2]), [0, 2, 0, 1, 2, 0]);
        assert!(turns(&[]).is_empty());
    }

    #[test]
    fn in_every_part_of_a_round_each_has_about_its_share() {
        let weights = [50, 30, 11, 7, 1, 1];
        let turns = turns(&weights);
        assert_eq!(turns.len(), 100);
        for end in 1..=turns.len() {
            for (index, weight) in weights.iter().enumerate() {
                let had = turns[..end].iter().filter(|one| usize::from(**one) == index).count();
                let due = end as f64 * f64::from(*weight) / 100.0;
                assert!((had as f64 - due).abs() < 2.0, "{index}: {had} of {end}, due {due}");
            }
        }
    }
}
