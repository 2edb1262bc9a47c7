//! The least load for its weight: one look at every endpoint.

use super::{Draw, Group, Snapshot};

pub(super) fn pick(group: &Group, now: &impl Snapshot, draw: Draw) -> Option<usize> {
    let member = draw.turn.checked_rem(group.members.len() as u64)?;
    let start = group.members.get(member as usize)?.at();
    let is_warm = now.is_warm();
    let mut best: Option<usize> = None;
    // More than any: a load of so much for no share at all.
    let (mut least, mut of) = (1, 0);
    // From `start` round to it again: equals take turns.
    for range in [start..group.weights.len(), 0..start] {
        now.each_load(range, |index, load| {
            let mut share = u64::from(group.weights.get(index).copied().unwrap_or_default());
            if !is_warm {
                share = share.saturating_mul(now.warmth(index).into());
            }
            // With this one, so that the heavier of two empty endpoints comes first. Counts have 33 bits,
            // and shares 18: neither product overflows.
            let load = load as u64 + 1;
            if load.wrapping_mul(of) < u64::wrapping_mul(least, share) {
                (best, least, of) = (Some(index), load, share);
            }
        });
    }
    best
}
