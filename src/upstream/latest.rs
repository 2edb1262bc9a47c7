//! Where what outlives generations, a tunnel or a check, finds its upstream as it is now. It holds none of
//! them alive: a socket of yesterday keeps no endpoint that left since.

use std::sync::Arc;

use arc_swap::ArcSwapWeak;

use super::Upstream;

/// The newest upstream of one name.
#[derive(Debug, Default)]
pub struct Latest(ArcSwapWeak<Upstream>);

impl Latest {
    /// It as it is now; `None` when no plan has it any more.
    pub fn now(&self) -> Option<Arc<Upstream>> {
        self.0.load().upgrade()
    }

    pub(super) fn is(&self, upstream: &Arc<Upstream>) {
        self.0.store(Arc::downgrade(upstream));
    }
}
