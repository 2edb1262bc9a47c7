//! How many TLS handshakes of a listener are under way at once, through all workers. Who comes above
//! that waits unread, in the order of coming: a handshake costs far more than a message of a socket
//! that is open, and those that are begun together all end late.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::exchange::Worker;
use crate::upstream::gate::{House, Seat};

/// What one connection has to do with the bound.
#[derive(Debug)]
pub(super) struct Turn {
    /// Where it waits, and how many may be under way; `None` for any number.
    bound: Option<(Arc<House>, NonZeroU32)>,
    waited: Cell<bool>,
}

impl Turn {
    /// In `house`, where `most` may be under way.
    pub(super) fn new(house: &Arc<House>, most: Option<NonZeroU32>) -> Self {
        Self { bound: most.map(|most| (Arc::clone(house), most)), waited: Cell::new(false) }
    }

    /// Waits until it may begin. It is under way for as long as the seat is held.
    pub(super) async fn comes(&self, worker: &Worker) -> Seat {
        let Some((house, most)) = &self.bound else { return Seat::default() };
        if let Some(seat) = house.seat_for_newcomer(most.get()) {
            return seat;
        }
        worker.counters().tls_queued.inc();
        self.waited.set(true);
        // Boxed: every connection would carry its size.
        Box::pin(house.queue(most.get())).await
    }

    /// The time is over: whether it had to wait for others, even if it began in the end. Then that is
    /// counted, and told once a second.
    pub(super) fn was_in_vain(&self, worker: &Worker, listener: &str) -> bool {
        let Some((house, limit)) = self.bound.as_ref().filter(|_| self.waited.get()) else {
            return false;
        };
        worker.counters().tls_refused.inc();
        if house.told.may_tell() {
            tracing::warn!(
                listener,
                limit,
                "connections are closed: `tls.max_handshakes` others were under way until `tls.handshake_timeout`"
            );
        }
        true
    }
}
