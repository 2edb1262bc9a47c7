//! What stops a direction of a tunnel.

use std::io;

use super::offence::Offence;

/// Why a direction cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The stream it reads from failed.
    Source(#[allow(dead_code, reason = "shown by Debug")] io::Error),
    /// The stream it writes to failed.
    Sink(#[allow(dead_code, reason = "shown by Debug")] io::Error),
    /// The source sends more than its rate allows.
    OverRate,
    /// The source sent a frame that may not pass.
    Offence(Offence),
}
