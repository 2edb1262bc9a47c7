//! How the sources of an upstream's endpoints fare.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The sources of one upstream.
#[derive(Debug, Default)]
pub struct Finding {
    failures: AtomicU64,
    failing: AtomicUsize,
}

/// A source that has said nothing good the last time, for as long as this lives.
#[derive(Debug)]
pub struct Failing(Arc<Finding>);

impl Finding {
    /// A source was asked in vain, or said what is of no use.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// One more source that is failing, or has not been heard yet.
    pub fn failing(self: &Arc<Self>) -> Failing {
        self.failing.fetch_add(1, Ordering::Relaxed);
        Failing(Arc::clone(self))
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn is_well(&self) -> bool {
        self.failing.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.failing.fetch_sub(1, Ordering::Relaxed);
    }
}
