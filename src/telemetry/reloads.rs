//! What became of reloads, and how many plans are still in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The reloads of a process.
#[derive(Debug)]
pub struct Reloads {
    done: AtomicU64,
    refused: AtomicU64,
    last_done: AtomicBool,
    /// Unix time in seconds.
    since: AtomicU64,
    generations: Arc<AtomicUsize>,
}

/// A plan in use, for as long as this lives.
#[derive(Debug)]
pub struct InUse(Arc<AtomicUsize>);

impl Reloads {
    /// Notes that a new plan took effect, the first one included, or that one was refused.
    pub fn note(&self, done: bool) {
        self.last_done.store(done, Ordering::Relaxed);
        let counter = if done { &self.done } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        if done {
            self.since.store(unix_seconds(), Ordering::Relaxed);
        }
    }

    /// One more plan.
    pub fn begin(&self) -> InUse {
        self.generations.fetch_add(1, Ordering::Relaxed);
        InUse(Arc::clone(&self.generations))
    }

    /// Reloads that took effect, and those that were refused.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    pub(super) fn last_done(&self) -> bool {
        self.last_done.load(Ordering::Relaxed)
    }

    pub(super) fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    pub(super) fn generations(&self) -> u64 {
        self.generations.load(Ordering::Relaxed) as u64
    }
}

impl Default for Reloads {
    /// The plan of the start is in force.
    fn default() -> Self {
        Self {
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_done: AtomicBool::new(true),
            since: AtomicU64::new(unix_seconds()),
            generations: Arc::default(),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
