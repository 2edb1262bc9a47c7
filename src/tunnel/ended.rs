//! How a tunnel ended: the reason, who began it, and what had passed by then. Every label here is a
//! fixed word of ours; nothing a peer sent ever becomes one.

use std::time::Duration;

/// Why a tunnel ended. Each tunnel has exactly one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Both sides sent FIN after a TCP-level goodbye: the ordinary end.
    Closed,
    /// The drain deadline came and the tunnel was cut (`drain.timeout`).
    Drain,
    /// A reset or another error on one of the two sockets.
    Error,
    /// One side sent FIN and the other did not follow within `timeouts.half_close`.
    HalfClose,
    /// No byte crossed in either direction for `timeouts.idle`.
    Idle,
}

impl Reason {
    /// Every reason, in label order: the index into a metrics table.
    pub const ALL: [Self; 5] =
        [Self::Closed, Self::Drain, Self::Error, Self::HalfClose, Self::Idle];

    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Drain => "drain",
            Self::Error => "error",
            Self::HalfClose => "half_close",
            Self::Idle => "idle",
        }
    }
}

/// Who began the end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closer {
    /// Bowline itself: a deadline, a drain.
    Bowline,
    /// The client sent the first FIN or its socket failed first.
    Client,
    /// The upstream sent the first FIN or its socket failed first.
    Upstream,
}

impl Closer {
    /// Every closer, in label order: the index into a metrics table.
    pub const ALL: [Self; 3] = [Self::Bowline, Self::Client, Self::Upstream];

    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bowline => "bowline",
            Self::Client => "client",
            Self::Upstream => "upstream",
        }
    }
}

/// The whole story of one tunnel, told once, when both sockets are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why it ended.
    pub reason: Reason,
    /// Who began the end.
    pub closer: Closer,
    /// Bytes delivered to the upstream, those read ahead of the 101 included.
    pub to_upstream: u64,
    /// Bytes delivered to the client, those read ahead of the 101 included.
    pub to_client: u64,
    /// From the 101 to the end.
    pub lasted: Duration,
}
