//! Why Bowline ends a connection of HTTP/2 that its client would have go on.

/// What a client of HTTP/2 did too much of, or wrong. The index into a metrics table is the position in
/// [`ALL`](Self::ALL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Fault {
    /// A head in more CONTINUATION frames than one of its size needs.
    Continuations,
    /// Streams opened and reset.
    Resets,
    /// DATA frames with nothing in them.
    EmptyData,
    /// SETTINGS frames, each of which has to be acknowledged.
    Settings,
    /// PING frames, each of which has to be answered.
    Pings,
    /// Windows opened a little at a time.
    WindowUpdates,
    /// PRIORITY frames, and frames that nobody knows.
    Others,
    /// h2's own guards: small frames that wait unread, errors without end.
    Calm,
    /// Frames that break RFC 9113.
    Protocol,
    /// No answer to a PING.
    Silent,
    /// One stream, whose answer the client took nothing of; the connection goes on.
    Stalled,
}

impl Http2Fault {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Continuations,
        Self::Resets,
        Self::EmptyData,
        Self::Settings,
        Self::Pings,
        Self::WindowUpdates,
        Self::Others,
        Self::Calm,
        Self::Protocol,
        Self::Silent,
        Self::Stalled,
    ];

    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Continuations => "continuations",
            Self::Resets => "resets",
            Self::EmptyData => "empty_data",
            Self::Settings => "settings",
            Self::Pings => "pings",
            Self::WindowUpdates => "window_updates",
            Self::Others => "others",
            Self::Calm => "calm",
            Self::Protocol => "protocol",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
        }
    }
}
