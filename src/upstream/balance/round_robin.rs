//! Each endpoint in turn, as often as its weight says.

use super::draw::GOLDEN;
use super::{Draw, Group, Snapshot, takes};

pub(super) fn pick(group: &Group, now: &impl Snapshot, draw: Draw) -> Option<usize> {
    let index = group.rota.at(draw.turn)?;
    if takes(now, index, draw.random) {
        return Some(index);
    }
    // Who is out has its turns taken by all others, and not by whoever stands behind it: from one
    // round of the rota to the next another one, evenly.
    let round = draw.turn.checked_div(group.rota.len())?;
    group.at(now, round.wrapping_add(index as u64).wrapping_mul(GOLDEN))
}
