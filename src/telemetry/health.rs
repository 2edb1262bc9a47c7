//! What health checks found, and whether an upstream's health is ignored.

use std::sync::atomic::{AtomicBool, Ordering};

/// How one active check of an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckOutcome {
    /// It passed.
    Passed,
    /// What came is no answer, or broke off.
    Answer,
    /// The body lacks the text.
    Body,
    /// No connection.
    Connect,
    /// A header is missing or has another value.
    Header,
    /// Bowline itself had no descriptor or port; says nothing about the endpoint.
    Local,
    /// The WebSocket gave no right pong.
    Pong,
    /// A status that does not pass.
    Status,
    /// Not done in time.
    Timeout,
    /// A 101 that does not fit the handshake.
    Upgrade,
}

impl CheckOutcome {
    /// Every outcome: the index into a metrics table.
    pub const ALL: [Self; 10] = [
        Self::Passed,
        Self::Answer,
        Self::Body,
        Self::Connect,
        Self::Header,
        Self::Local,
        Self::Pong,
        Self::Status,
        Self::Timeout,
        Self::Upgrade,
    ];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Answer => "answer",
            Self::Body => "body",
            Self::Connect => "connect",
            Self::Header => "header",
            Self::Local => "local",
            Self::Pong => "pong",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Upgrade => "upgrade",
        }
    }
}

/// A gauge that is on or off, set by whoever sees the change.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Sets it; whether that changed it.
    pub fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed) != on
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_stands_in_the_table_where_its_number_says() {
        for (at, outcome) in CheckOutcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
        }
    }
}
