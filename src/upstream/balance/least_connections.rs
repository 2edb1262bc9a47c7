//! The least load for its weight: one look at every endpoint's load, and at few of them a second one.

use super::{Draw, Group, Snapshot};

pub(super) fn pick(group: &Group, now: &impl Snapshot, draw: Draw) -> Option<usize> {
    let member = draw.turn.checked_rem(group.members.len() as u64)?;
    let start = group.members.get(member as usize)?.at();
    // From `start` round to it again: equals take turns.
    let ranges = [start..group.weights.len(), 0..start];
    let is_warm = now.is_warm();
    let mut best = None;
    if group.even && is_warm {
        let mut least = u64::MAX;
        for range in ranges {
            now.each_load(range, |index, load| {
                // Whether it may be picked is asked only of one that would be: that costs more than the
                // comparison, and among many it is a handful.
                if load < least && now.load(index).is_some() {
                    (best, least) = (Some(index), load);
                }
            });
        }
        return best;
    }
    // More than any: a load of so much for no share at all.
    let (mut least, mut of) = (1, 0);
    for range in ranges {
        now.each_load(range, |index, load| {
            let mut share = u64::from(group.weights.get(index).copied().unwrap_or_default());
            if !is_warm {
                share *= u64::from(now.warmth(index));
            }
            // With this one, so that the heavier of two empty endpoints comes first. Loads have 33 bits, and
            // shares 18: neither product overflows.
            let load = load + 1;
            if load * of < least * share && now.load(index).is_some() {
                (best, least, of) = (Some(index), load, share);
            }
        });
    }
    best
}
