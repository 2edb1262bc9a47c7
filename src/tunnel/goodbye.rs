//! What each side is told when Bowline ends a tunnel: codes and words, decided in one place.

use tokio::time::Instant;

use super::direction::Direction;
use super::frame::{self, Heading};
use super::offence::Offence;
use super::{Closer, Reason};

/// The other side has gone, or is told to go (RFC 6455 section 7.4.1).
pub(super) const GOING_AWAY: u16 = 1001;

/// The upstream is gone, or says what is no WebSocket (IANA's registry of close codes).
pub(super) const BAD_GATEWAY: u16 = 1014;

/// Nothing is wrong but for a new connection being wanted (IANA's registry).
const SERVICE_RESTART: u16 = 1012;

/// A side does not keep to what is asked of it (RFC 6455 section 7.4.1).
const POLICY: u16 = 1008;

/// An end that Bowline brings about, and the Close that each side gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goodbye {
    pub(super) reason: Reason,
    pub(super) closer: Closer,
    /// The code that the end goes by.
    pub(super) code: u16,
    pub(super) to_client: u16,
    pub(super) to_upstream: u16,
    /// The side that broke the rules: it still gets what the other one has for it, up to that one's
    /// own Close.
    pub(super) offender: Option<Closer>,
    /// For a person who looks at the frames. Never a peer's words.
    pub(super) text: &'static str,
}

/// An end that Bowline has begun: a Close is on its way to each side that is still there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) reason: Reason,
    pub(super) closer: Closer,
    /// The sockets are dropped then, answered or not; when `late`, only the offender is told then.
    pub(super) until: Option<Instant>,
    /// The offender waits for what the other side has for it.
    pub(super) late: bool,
}

impl Goodbye {
    /// Bowline's own end: both sides hear `code`.
    fn ours(reason: Reason, code: u16) -> Self {
        Self {
            reason,
            closer: Closer::Bowline,
            code,
            to_client: code,
            to_upstream: code,
            offender: None,
            text: reason.text(),
        }
    }

    /// `side` hears `code`; the other one only that it is gone.
    fn blaming(side: Closer, reason: Reason, code: u16) -> Self {
        let (to_client, to_upstream) = match side {
            Closer::Client => (code, GOING_AWAY),
            Closer::Bowline | Closer::Upstream => (BAD_GATEWAY, code),
        };
        Self { to_client, to_upstream, ..Self::ours(reason, code) }
    }

    /// The peer at the source of a direction, `from`, sent a frame that may not pass.
    pub(super) fn offence(from: Closer, offence: Offence) -> Self {
        Self {
            offender: Some(from),
            text: offence.text(),
            ..Self::blaming(from, offence.reason(), offence.code())
        }
    }

    /// One side, `gone`, is there no more; the end began with `closer`.
    pub(super) fn lost(gone: Closer, closer: Closer, reason: Reason) -> Self {
        let code = if gone == Closer::Client { GOING_AWAY } else { BAD_GATEWAY };
        Self {
            closer,
            to_client: BAD_GATEWAY,
            to_upstream: GOING_AWAY,
            text: Reason::Lost.text(),
            ..Self::ours(reason, code)
        }
    }

    /// A drain, with the code that it is configured to have.
    pub(super) fn drain(code: u16) -> Self {
        Self::ours(Reason::Drain, code)
    }

    /// The tunnel is as old as it may get.
    pub(super) fn old() -> Self {
        Self::ours(Reason::MaxAge, SERVICE_RESTART)
    }

    /// There is more room elsewhere.
    pub(super) fn shed() -> Self {
        Self::ours(Reason::Rebalance, SERVICE_RESTART)
    }

    /// `slow` takes nothing of what waits for it.
    pub(super) fn slow(slow: Closer) -> Self {
        Self::blaming(slow, Reason::SlowConsumer, POLICY)
    }

    /// `side` sends more than its rate allows. What is under way still passes.
    pub(super) fn over_rate(side: Closer) -> Self {
        Self::blaming(side, Reason::Rate, POLICY)
    }

    /// Bowline itself has had enough, or `closer` has gone quietly.
    pub(super) fn due(reason: Reason, closer: Closer) -> Self {
        Self { closer, ..Self::ours(reason, GOING_AWAY) }
    }

    /// Puts a Close on the way to each side.
    pub(super) fn say(self, client: &mut Direction, upstream: &mut Direction) {
        let to_client = frame::close(Heading::ToClient, self.to_client, self.text);
        let to_upstream = frame::close(Heading::ToUpstream, self.to_upstream, self.text);
        match self.offender {
            Some(Closer::Client) => {
                upstream.seal(to_upstream);
                client.seal_for_close(to_client);
            }
            Some(Closer::Bowline | Closer::Upstream) => {
                client.seal(to_client);
                upstream.seal_for_close(to_upstream);
            }
            None => {
                client.seal(to_client);
                upstream.seal(to_upstream);
            }
        }
    }
}

#[cfg(test)]
mod tests;
