//! How many tunnels may be shed, across workers: granted by whoever decides, taken one by one by those
//! who have the tunnels. Each that was shed holds it, so that its owners are who is still on the way
//! out.

use std::sync::atomic::{AtomicU32, Ordering};

/// A number of tunnels that may be shed.
#[derive(Debug, Default)]
pub struct Allowance(AtomicU32);

impl Allowance {
    /// So many from now on; returns how many were left of those before.
    pub fn grant(&self, count: u32) -> u32 {
        self.0.swap(count, Ordering::Relaxed)
    }

    /// How many of what is left fall to who has `own` of `all`; rounded up, since a part of a tunnel
    /// cannot be shed, and whoever takes first takes the rest.
    pub(super) fn share(&self, own: usize, all: usize) -> usize {
        let left = self.0.load(Ordering::Relaxed) as usize;
        left.saturating_mul(own).div_ceil(all.max(own).max(1)).min(left)
    }

    /// Takes one, if any is left.
    pub(super) fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}
