//! Who counts what a tunnel does while it lives. What is known only at its end is in
//! [`Ended`](super::Ended).

use std::time::Duration;

use super::{Closer, Heading};

/// Hears of what happens in a tunnel. Called on the hot path: a few additions, no lock.
pub trait Watch {
    /// A message with so many bytes of payload came whole.
    fn message(&self, heading: Heading, bytes: u64);

    /// The client or the upstream answered a ping of Bowline's after so long.
    fn round_trip(&self, side: Closer, took: Duration);

    /// A source is not read any more until its sink has taken what waits for it, or until its rate
    /// allows for more.
    fn paused(&self, heading: Heading);
}

/// Nobody.
impl Watch for () {
    fn message(&self, _: Heading, _: u64) {}

    fn round_trip(&self, _: Closer, _: Duration) {}

    fn paused(&self, _: Heading) {}
}
