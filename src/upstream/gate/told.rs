//! Lines in the log that would come by the thousand when they come at all: one a second is enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// From one line to the next.
const APART: Duration = Duration::from_secs(1);

/// When something was last told, across all workers.
#[derive(Debug)]
pub struct Told {
    began: Instant,
    /// Milliseconds after `began` from which on it may be told again.
    next: AtomicU64,
}

impl Default for Told {
    fn default() -> Self {
        Self { began: Instant::now(), next: AtomicU64::new(0) }
    }
}

impl Told {
    /// Whether it is to be told now; `true` at most once a second.
    pub fn may_tell(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.began.elapsed());
        let next = self.next.load(Ordering::Relaxed);
        let after = now.saturating_add(millis(APART));
        // Of several at once, one has its way.
        now >= next
            && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_in_a_second_are_one_line() {
        let told = Told::default();
        assert_eq!((0..1000).filter(|_| told.may_tell()).count(), 1);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(!told.may_tell());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(told.may_tell() && !told.may_tell());
    }
}
