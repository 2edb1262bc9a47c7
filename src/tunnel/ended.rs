//! How a tunnel ended: the reason, who began it, and what had passed by then. Every label here is a
//! fixed word of ours; nothing a peer sent ever becomes one.

use std::time::Duration;

/// Why a tunnel ended. Each tunnel has exactly one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Both sides said Close, or FIN where frames are not looked at: the ordinary end.
    Closed,
    /// The drain deadline came and the tunnel was cut (`drain.timeout`).
    Drain,
    /// A reset or another error on one of the two sockets.
    Error,
    /// One side sent Close or FIN and the other did not follow within `timeouts.half_close`.
    HalfClose,
    /// One side did not answer a ping (`websocket.heartbeat`).
    Heartbeat,
    /// No message crossed in either direction for `timeouts.idle`.
    Idle,
    /// One side ended without a Close: a crash, a cut line, a closed lid.
    Lost,
    /// It was as old as it may get (`websocket.max_age`).
    MaxAge,
    /// A frame that breaks RFC 6455 (`websocket.strict`).
    Protocol,
    /// A side sent more than its rate (`websocket.client_rate`, `websocket.upstream_rate`).
    Rate,
    /// Its endpoint had too many, and it was told to come back (`rebalance`).
    Rebalance,
    /// A side took nothing of what waited for it for `websocket.write_timeout`.
    SlowConsumer,
    /// A frame or message over its limit (`websocket.max_frame`, `websocket.max_message`).
    TooBig,
}

impl Reason {
    /// Every reason, in label order: the index into a metrics table.
    pub const ALL: [Self; 13] = [
        Self::Closed,
        Self::Drain,
        Self::Error,
        Self::HalfClose,
        Self::Heartbeat,
        Self::Idle,
        Self::Lost,
        Self::MaxAge,
        Self::Protocol,
        Self::Rate,
        Self::Rebalance,
        Self::SlowConsumer,
        Self::TooBig,
    ];

    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Drain => "drain",
            Self::Error => "error",
            Self::HalfClose => "half_close",
            Self::Heartbeat => "heartbeat",
            Self::Idle => "idle",
            Self::Lost => "lost",
            Self::MaxAge => "max_age",
            Self::Protocol => "protocol",
            Self::Rate => "rate",
            Self::Rebalance => "rebalance",
            Self::SlowConsumer => "slow_consumer",
            Self::TooBig => "too_big",
        }
    }

    /// What peers are told of it in a Close.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Closed | Self::Error | Self::Heartbeat | Self::Lost => "the other side is gone",
            Self::Drain => "the proxy is restarting",
            Self::HalfClose => "the other side has gone quietly",
            Self::Idle => "idle for too long",
            Self::MaxAge => "open for long enough: please reconnect",
            Self::Rate => "more than the rate allows",
            Self::Rebalance => "another server has more room: please reconnect",
            Self::SlowConsumer => "too slow to read",
            Self::Protocol => "frames against the protocol",
            Self::TooBig => "over the limit",
        }
    }
}

/// Who began the end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closer {
    /// Bowline itself: a deadline, a drain.
    Bowline,
    /// The client sent the first Close or FIN, or its socket failed first.
    Client,
    /// The upstream sent the first Close or FIN, or its socket failed first.
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

/// Classes of close codes, in label order: the index into a metrics table.
pub const CODES: [&str; 20] = [
    "none", "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011",
    "1012", "1013", "1014", "1015", "1xxx", "3xxx", "4xxx", "other",
];

impl Ended {
    /// The class of its code, as an index into [`CODES`]: applications have 2,000 codes of their own,
    /// and a label is not to be a peer's choice.
    pub fn code_class(&self) -> usize {
        let label = match self.code {
            None => return 0,
            Some(code @ 1000..=1015) => {
                let known = CODES.iter().position(|label| label.parse() == Ok(code));
                return known.unwrap_or(16);
            }
            Some(1016..=1999) => "1xxx",
            Some(3000..=3999) => "3xxx",
            Some(4000..=4999) => "4xxx",
            Some(_) => "other",
        };
        CODES.iter().position(|one| *one == label).unwrap_or_default()
    }
}

/// The whole story of one tunnel, told once, when both sockets are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why it ended.
    pub reason: Reason,
    /// Who began the end.
    pub closer: Closer,
    /// The code of the first Close, a peer's or ours; `None` when there was none or it had none.
    pub code: Option<u16>,
    /// Messages of the client that came whole; 0 where frames are not looked at.
    pub messages_to_upstream: u64,
    /// Messages of the upstream that came whole; 0 where frames are not looked at.
    pub messages_to_client: u64,
    /// Bytes delivered to the upstream, those read ahead of the 101 included.
    pub to_upstream: u64,
    /// Bytes delivered to the client, those read ahead of the 101 included.
    pub to_client: u64,
    /// From the 101 to the end.
    pub lasted: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_of_a_few_labels() {
        for (code, label) in [
            (None, "none"),
            (Some(1000), "1000"),
            (Some(1004), "1xxx"),
            (Some(1012), "1012"),
            (Some(1500), "1xxx"),
            (Some(2500), "other"),
            (Some(3000), "3xxx"),
            (Some(4999), "4xxx"),
            (Some(0), "other"),
            (Some(u16::MAX), "other"),
        ] {
            let ended = Ended {
                reason: Reason::Closed,
                closer: Closer::Client,
                code,
                messages_to_upstream: 0,
                messages_to_client: 0,
                to_upstream: 0,
                to_client: 0,
                lasted: Duration::ZERO,
            };
            assert_eq!(CODES[ended.code_class()], label, "{code:?}");
        }
    }
}
