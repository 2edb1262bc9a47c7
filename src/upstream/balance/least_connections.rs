//! The least load for its weight: one look at every endpoint.

use super::{Draw, Group, Snapshot};

pub(super) fn pick(group: &Group, now: &impl Snapshot, draw: Draw) -> Option<usize> {
    let start = draw.turn.checked_rem(group.members.len() as u64)?;
    let (before, from) = group.members.split_at_checked(start as usize)?;
    let mut best: Option<(usize, u64, u64)> = None;
    // From `start` round to it again: equals take turns.
    for members in [from, before] {
        for member in members {
            let Some(load) = now.load(member.at()) else { continue };
            // With this one, so that the heavier of two empty endpoints comes first.
            let load = (load as u64).saturating_add(1);
            let share = member.share(now);
            let better = |(_, least, of): (usize, u64, u64)| {
                load.saturating_mul(of) < least.saturating_mul(share)
            };
            if best.is_none_or(better) {
                best = Some((member.at(), load, share));
            }
        }
    }
    best.map(|(index, ..)| index)
}
