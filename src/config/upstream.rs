//! An upstream: servers that do the same work, and how to use them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Health, Time};

/// A group of servers that do the same work.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of upstream settings")]
pub struct Upstream {
    /// Addresses of the servers: `10.0.0.1:9001`, `chat.internal:9001` or
    /// `http://chat.internal:9001`. Either these or `builtin` is needed. Default: none.
    pub endpoints: Vec<String>,
    /// A server inside Bowline, in place of endpoints. Default: none.
    pub builtin: Option<Builtin>,
    /// Which endpoint gets the next request. Default: `least_connections`.
    pub balance: Option<Balance>,
    /// Idle connections kept for the next request. Default: each its own.
    pub keep_alive: KeepAlive,
    /// Which servers count as down. Default: each its own.
    pub health: Health,
}

/// A server inside Bowline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// A WebSocket server that sends back every message.
    Echo,
    /// A page that opens a WebSocket to `/echo` on the same host and shows its frames.
    Page,
}

/// Which endpoint gets the next request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with the fewest requests and tunnels in progress; right for long-lived sockets.
    #[default]
    LeastConnections,
    /// Each in turn.
    RoundRobin,
}

/// Idle connections to an upstream, kept for the next request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of keep-alive settings")]
pub struct KeepAlive {
    /// How long an unused connection is kept. It should be shorter than the upstream's own keep-alive
    /// time, or requests meet connections that are just being closed. Default: `60s`.
    pub idle: Option<Time>,
    /// How many idle connections each worker keeps to each endpoint; 0 keeps none. Default: `64`.
    pub max: Option<Count>,
}

impl Builtin {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Page => "page",
        }
    }
}

impl Balance {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastConnections => "least_connections",
            Self::RoundRobin => "round_robin",
        }
    }
}
