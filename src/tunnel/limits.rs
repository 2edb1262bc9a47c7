//! What a tunnel lives by.

use std::time::Duration;

use super::{Pulse, Rate, Rules};

/// What a tunnel lives by; one for all tunnels of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What frames are measured by; `None` carries bytes and looks at nothing.
    pub frames: Option<Rules>,
    /// No message in either direction for so long ends the tunnel; `None` never does.
    pub idle: Option<Duration>,
    /// After one side's FIN or Close was passed on: silence for so long ends what is left.
    pub half_close: Duration,
    /// A side that takes no byte of what waits for it, for so long, ends the tunnel; `None` waits for
    /// ever.
    pub write: Option<Duration>,
    /// For both sides to answer a Close of ours; after it the sockets are dropped.
    pub close: Duration,
    /// Whether a side hears, by a Close, that the other one is gone; it only sees a FIN otherwise.
    pub tell_loss: bool,
    /// How the two sides are asked whether they are there; frames must be looked at.
    pub pulses: Pulses,
    /// What the client may send.
    pub client_rate: Option<Rate>,
    /// What the upstream may send.
    pub upstream_rate: Option<Rate>,
}

impl Limits {
    /// For the kernel to see nothing acknowledged by a side that is asked like this: what the heartbeat
    /// itself would allow, and never less than the write bound, for a closed window is silence too.
    pub(super) fn unacknowledged(&self, pulse: Pulse) -> Option<Duration> {
        Some(pulse.interval.saturating_add(pulse.timeout).max(self.write?))
    }
}

/// How the two sides are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulses {
    /// The client.
    pub client: Option<Pulse>,
    /// The upstream.
    pub upstream: Option<Pulse>,
}
