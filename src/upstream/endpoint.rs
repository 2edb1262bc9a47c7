//! One live endpoint: what to dial, and how much it carries now across all workers and plans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::gate::House;
use super::health::{Look, Standing};
use super::loads::{Slot, TUNNEL, both, requests, tunnels};
use crate::plan::Target;

/// A new handshake counts for an eighth: after ten of them, three quarters of what is known is of
/// those ten.
const SHARE_OF_NEW: u64 = 8;

/// Stands for an endpoint that has been there for ever.
const FOR_EVER: u64 = u64::MAX;

/// An endpoint and its counts. Its leases keep it alive after a plan has dropped it.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in the process; the key of the workers' pools.
    pub id: usize,
    /// The name of its upstream, for logs.
    pub upstream: String,
    /// `host:port` or `unix:/path`, for logs and metrics.
    pub label: String,
    /// What to dial.
    pub target: Target,
    /// Who waits until one of its leases ends, or of another endpoint of its upstream.
    pub(super) house: Arc<House>,
    /// What it carries, beside what the others of its upstream do.
    slot: Slot,
    /// Whether it gets requests.
    pub(super) standing: Standing,
    /// Nanoseconds, 0 until the first one.
    handshake: AtomicU64,
    made: Instant,
    /// Milliseconds after `made`.
    up_since: AtomicU64,
}

impl Endpoint {
    pub(super) fn new(id: usize, upstream: String, label: String, target: Target) -> Self {
        Self {
            id,
            upstream,
            label,
            target,
            house: Arc::default(),
            slot: Slot::default(),
            standing: Standing::default(),
            handshake: AtomicU64::new(0),
            made: Instant::now(),
            up_since: AtomicU64::new(FOR_EVER),
        }
    }

    /// The same in `house`.
    pub(super) fn of(self, house: Arc<House>) -> Self {
        Self { house, ..self }
    }

    /// The same with its load in `slot`.
    pub(super) fn in_slot(self, slot: Slot) -> Self {
        Self { slot, ..self }
    }

    /// Where its load stands.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Counts a request, unless it carries `most` requests and tunnels already.
    pub(super) fn begin(&self, most: Option<u32>) -> bool {
        let Some(most) = most else {
            self.slot.word().fetch_add(1, Ordering::Relaxed);
            return true;
        };
        let more = |now: u64| (both(now) < most.into()).then(|| now.saturating_add(1));
        // See `House::freed`.
        self.slot.word().fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// A request became a tunnel.
    pub(super) fn switch(&self) {
        self.slot.word().fetch_add(TUNNEL - 1, Ordering::Relaxed);
    }

    /// A request has ended, or a tunnel, and who waits for that may go on.
    pub(super) fn end(&self, tunnel: bool) {
        let one = if tunnel { TUNNEL } else { 1 };
        let before = self.slot.word().fetch_sub(one, Ordering::SeqCst);
        debug_assert!(before >= one, "a lease released twice");
        self.house.freed();
    }

    /// Begins its slow start: it appears beside others, or recovers.
    pub fn begin_slow_start(&self) {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(FOR_EVER);
        self.up_since.store(now, Ordering::Relaxed);
    }

    /// How long ago its slow start began; `None` when it never had one.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let since = self.up_since.load(Ordering::Relaxed);
        let began = (since != FOR_EVER).then(|| Duration::from_millis(since))?;
        Some(now.saturating_duration_since(self.made).saturating_sub(began))
    }

    /// Notes how long a good handshake took, from the claim to the 101.
    pub fn handshake_took(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mean = |before: u64| match before {
            0 => took,
            before => before - before / SHARE_OF_NEW + took / SHARE_OF_NEW,
        };
        // It never fails: the mean is always some.
        self.handshake
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(mean(before)))
            .ok();
    }

    /// The moving average of how long good handshakes took, in nanoseconds; 0 until the first one.
    pub fn handshake_nanos(&self) -> u64 {
        self.handshake.load(Ordering::Relaxed)
    }

    /// The same as a time; `None` until the first one.
    pub fn handshake(&self) -> Option<Duration> {
        Some(self.handshake_nanos()).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    /// Live tunnels.
    pub fn tunnels(&self) -> usize {
        tunnels(self.slot.word().load(Ordering::Relaxed)) as usize
    }

    /// Requests in flight, handshakes among them.
    pub fn requests(&self) -> usize {
        requests(self.slot.word().load(Ordering::Relaxed)) as usize
    }

    /// Its own name as a Host: a path is none.
    pub fn host(&self) -> &str {
        match &self.target {
            // Letters, digits, dots and colons.
            Target::Address(_) | Target::Name { .. } => &self.label,
            Target::Unix(_) => "localhost",
        }
    }

    /// Whether it is neither down nor ejected.
    pub fn is_open(&self) -> bool {
        self.standing.is_open()
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.standing.ejections()
    }

    /// How long ago it last came back, from being down or ejected; `None` when it never was out.
    pub fn since_back(&self) -> Option<Duration> {
        self.standing.since_back()
    }

    /// When its ejection ends, if it is ejected and not down besides.
    pub(super) fn returns_in(&self) -> Option<Duration> {
        self.standing.returns_in()
    }

    /// Whether a pick may take it; tells when that is news.
    pub(super) fn look(&self) -> Look {
        let look = self.standing.look();
        if look == Look::Back {
            tracing::info!(
                upstream = self.upstream,
                endpoint = self.label,
                "an endpoint is back from its ejection"
            );
        }
        look
    }

    /// What balancing looks at.
    pub fn load(&self) -> usize {
        // At most 33 bits.
        both(self.slot.word().load(Ordering::Relaxed)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        let target = Target::Address(([127, 0, 0, 1], 1).into());
        Endpoint::new(0, "web".to_owned(), "127.0.0.1:1".to_owned(), target)
    }

    #[test]
    fn the_mean_of_handshakes_follows_them_by_an_eighth() {
        let endpoint = endpoint();
        assert_eq!(endpoint.handshake_nanos(), 0);
        endpoint.handshake_took(Duration::from_nanos(800));
        assert_eq!(endpoint.handshake_nanos(), 800);
        endpoint.handshake_took(Duration::from_nanos(1600));
        assert_eq!(endpoint.handshake_nanos(), 900);
        for _ in 0..200 {
            endpoint.handshake_took(Duration::from_micros(100));
        }
        assert!((99_000..=100_000).contains(&endpoint.handshake_nanos()));
        endpoint.handshake_took(Duration::MAX);
        assert!(endpoint.handshake_nanos() > u64::MAX / 9);
    }

    #[tokio::test(start_paused = true)]
    async fn its_age_counts_from_its_last_beginning() {
        let endpoint = endpoint();
        assert_eq!(endpoint.age(Instant::now()), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        endpoint.begin_slow_start();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(endpoint.age(Instant::now()), Some(Duration::from_secs(3)));
    }
}
