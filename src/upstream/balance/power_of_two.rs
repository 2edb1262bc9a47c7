//! The better of two at random. Nearly as even as looking at all of them, at the price of two; and
//! workers that look at the same moment do not all choose the same one.

use super::{Draw, Group, Snapshot};

/// Draws for each of the two. With half of the endpoints out, one request in 256 looks at all.
const DRAWS: u64 = 8;

pub(super) fn pick(group: &Group, now: &impl Snapshot, draw: Draw) -> Option<usize> {
    let open = |index: &usize| now.load(*index).is_some();
    let mut drawn = (0..DRAWS).filter_map(|step| group.rota.at(draw.number(step))).filter(open);
    let Some(one) = drawn.next() else { return group.at(now, draw.random) };
    let mut drawn = (DRAWS..2 * DRAWS).filter_map(|step| group.rota.at(draw.number(step)));
    let Some(other) = drawn.find(|index| *index != one && open(index)) else { return Some(one) };
    let standing = |index: usize| {
        let load = (now.load(index).unwrap_or(usize::MAX) as u64).saturating_add(1);
        (load, group.rota.weight(index).saturating_mul(now.warmth(index).into()))
    };
    let ((load, share), (other_load, other_share)) = (standing(one), standing(other));
    // By load for its share, crosswise, since neither is divided; then by how soon it answers.
    let loads = load.saturating_mul(other_share).cmp(&other_load.saturating_mul(share));
    let worse = loads.then_with(|| now.latency(one).cmp(&now.latency(other))).is_gt();
    Some(if worse { other } else { one })
}
