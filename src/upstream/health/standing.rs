//! What the judges' verdicts come to for one endpoint. A pick reads one number; changes are rare and
//! take a lock. It lives on the endpoint, so that it outlives a plan.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ejection::{Ejections, Terms};

/// A gate that no time opens.
const DOWN: u64 = u64::MAX;

/// Whether requests go to an endpoint, and what is counted towards a change of that.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Standing {
    /// 0: open. [`DOWN`]: shut by checks. Else ejected until then, in milliseconds of [`now`].
    gate: AtomicU64,
    /// Failures in a row.
    pub(super) failures: AtomicU32,
    /// Tunnels lost young, in a row.
    pub(super) lost: AtomicU32,
    ejections: AtomicU64,
    /// When it last came back, in milliseconds of [`now`]; 0 for never out.
    back: AtomicU64,
    /// When the last check began, in milliseconds of [`now`]; 0 for never.
    checked: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    down: bool,
    ejected: Option<Ejected>,
    ejections: Ejections,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    until: u64,
    /// What the count stands at on its return.
    probation: Probation,
}

/// A returned endpoint has little credit: which count goes on, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probation {
    /// Failures of requests.
    Failures(u32),
    /// Lost tunnels.
    Lost(u32),
}

/// What a pick sees of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Look {
    /// It may have the request.
    Open,
    /// It may: its ejection is just over.
    Back,
    /// It may not.
    Shut,
}

/// The time since the beginning of the process, never zero: a moment that fits an atomic.
pub(super) fn now() -> Duration {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    let beginning = *BEGINNING.get_or_init(Instant::now);
    // A test's paused clock may stand before another test's beginning.
    Instant::now().saturating_duration_since(beginning).saturating_add(Duration::from_millis(1))
}

fn millis(moment: Duration) -> u64 {
    // `DOWN` is no moment.
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX).min(DOWN - 1)
}

impl Standing {
    /// What a pick does: one load when all is well. An ejection whose time is over ends here.
    pub(in crate::upstream) fn look(&self) -> Look {
        match self.gate.load(Ordering::Relaxed) {
            0 => Look::Open,
            DOWN => Look::Shut,
            until if until > millis(now()) => Look::Shut,
            until => self.settle(until),
        }
    }

    /// Whether it is open, without a change.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        match self.gate.load(Ordering::Relaxed) {
            0 => true,
            DOWN => false,
            until => until <= millis(now()),
        }
    }

    /// Whether checks found it down.
    pub(super) fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Whether it is ejected, and not down besides.
    pub(super) fn is_ejected(&self) -> bool {
        self.returns_in().is_some()
    }

    /// How long it is still ejected; `None` when it is not, or is down besides.
    pub(in crate::upstream) fn returns_in(&self) -> Option<Duration> {
        match self.gate.load(Ordering::Relaxed) {
            0 | DOWN => None,
            until => {
                let left = until.saturating_sub(millis(now()));
                (left > 0).then(|| Duration::from_millis(left))
            }
        }
    }

    /// How often it was ejected.
    pub(in crate::upstream) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// How long ago it last came back, from being down or from an ejection; `None` if it never was
    /// out.
    pub(in crate::upstream) fn since_back(&self) -> Option<Duration> {
        let back = self.back.load(Ordering::Relaxed);
        (back > 0).then(|| now().saturating_sub(Duration::from_millis(back)))
    }

    /// A check begins.
    pub(super) fn note_check(&self) {
        self.checked.store(millis(now()), Ordering::Relaxed);
    }

    /// How long the next check must wait to keep `interval` to the last one, whoever made that.
    pub(super) fn until_check(&self, interval: Duration) -> Duration {
        match self.checked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            // What was cut off in the storing comes on top.
            checked => {
                let next =
                    Duration::from_millis(checked.saturating_add(1)).saturating_add(interval);
                next.saturating_sub(now())
            }
        }
    }

    /// What checks found. Whether that is a change.
    pub(super) fn set_down(&self, down: bool) -> bool {
        let mut inner = self.lock();
        if inner.down == down {
            return false;
        }
        inner.down = down;
        if !down {
            // As many passed checks as are asked for are worth more than failures before them.
            self.failures.store(0, Ordering::Relaxed);
            self.lost.store(0, Ordering::Relaxed);
        }
        self.write_gate(&inner);
        true
    }

    /// Ejects it; for how long.
    pub(super) fn eject(&self, terms: Terms, probation: Probation, jitter: u32) -> Duration {
        let (mut inner, now) = (self.lock(), now());
        let until = inner.ejections.begin(now, terms, jitter);
        inner.ejected = Some(Ejected { until: millis(until), probation });
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
        self.write_gate(&inner);
        until.saturating_sub(now)
    }

    /// Ends an ejection that was until `until`.
    fn settle(&self, until: u64) -> Look {
        let mut inner = self.lock();
        let Some(ejected) = inner.ejected.filter(|ejected| ejected.until == until) else {
            // Somebody else has seen it meanwhile.
            return if self.is_open() { Look::Open } else { Look::Shut };
        };
        inner.ejected = None;
        match ejected.probation {
            Probation::Failures(count) => self.failures.store(count, Ordering::Relaxed),
            Probation::Lost(count) => self.lost.store(count, Ordering::Relaxed),
        }
        self.write_gate(&inner);
        if inner.down { Look::Shut } else { Look::Back }
    }

    fn write_gate(&self, inner: &Inner) {
        let gate = if inner.down { DOWN } else { inner.ejected.map_or(0, |ejected| ejected.until) };
        self.gate.store(gate, Ordering::Relaxed);
        if gate == 0 {
            self.back.store(millis(now()), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is one assignment: whole after any panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TERMS: Terms =
        Terms { first: Duration::from_secs(10), longest: Duration::from_secs(300) };

    fn eject(standing: &Standing) -> Duration {
        standing.eject(TERMS, Probation::Failures(4), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn an_ejection_ends_by_itself_and_is_told_once() {
        now();
        advance(Duration::from_secs(1)).await;
        let standing = Standing::default();
        assert_eq!((standing.look(), standing.since_back()), (Look::Open, None));
        assert_eq!(eject(&standing), TERMS.first);
        advance(Duration::from_millis(9_990)).await;
        assert_eq!((standing.look(), standing.is_open()), (Look::Shut, false));
        advance(Duration::from_millis(10)).await;
        assert!(standing.is_open() && !standing.is_ejected());
        assert_eq!((standing.look(), standing.look()), (Look::Back, Look::Open));
        assert_eq!(standing.failures.load(Ordering::Relaxed), 4, "one more is enough");
        assert_eq!((standing.ejections(), standing.since_back()), (1, Some(Duration::ZERO)));
        advance(Duration::from_secs(7)).await;
        assert_eq!(standing.since_back(), Some(Duration::from_secs(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn down_and_ejected_are_two_things_and_both_must_end() {
        let standing = Standing::default();
        assert!(standing.set_down(true) && !standing.set_down(true));
        eject(&standing);
        advance(Duration::from_secs(60)).await;
        assert_eq!(standing.look(), Look::Shut, "still down");
        assert!(standing.set_down(false));
        assert_eq!(standing.look(), Look::Back, "its ejection was over meanwhile");
        eject(&standing);
        assert!(standing.set_down(true) && standing.set_down(false));
        assert_eq!(standing.look(), Look::Shut, "still ejected");
    }

    #[tokio::test(start_paused = true)]
    async fn threads_that_see_the_end_at_once_agree_on_one_who_tells() {
        for _ in 0..50 {
            let standing = Standing::default();
            eject(&standing);
            advance(Duration::from_secs(11)).await;
            let until = standing.gate.load(Ordering::Relaxed);
            let looks = std::thread::scope(|scope| {
                let settle = || scope.spawn(|| standing.settle(until));
                let threads: Vec<_> = (0..4).map(|_| settle()).collect();
                threads.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(looks.iter().filter(|look| **look == Look::Back).count(), 1, "{looks:?}");
            assert!(!looks.contains(&Look::Shut), "{looks:?}");
        }
    }
}
