//! Any endpoint, as often as its weight says.

use super::{Draw, Group, Snapshot, takes};

/// Draws before all are looked at.
const DRAWS: u64 = 8;

pub(super) fn pick(group: &Group, now: &impl Snapshot, draw: Draw) -> Option<usize> {
    let mut drawn = (0..DRAWS).filter_map(|step| {
        let index = group.rota.at(draw.number(2 * step))?;
        takes(now, index, draw.number(2 * step + 1)).then_some(index)
    });
    drawn.next().or_else(|| group.at(now, draw.random))
}
