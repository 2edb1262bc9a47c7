//! What keeps the load of an upstream to what it can bear.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Time};

/// How fast new WebSockets may come to an upstream, all its servers and all workers together. Those
/// that are open feel nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of upgrade settings")]
pub struct Upgrades {
    /// Upgrades a second. Needed.
    pub rate: Option<Count>,
    /// Upgrades that may come at once after a quiet time. Default: a tenth of `rate`, but one.
    pub burst: Option<Count>,
    /// For how long an upgrade may wait for its turn; one that would have to wait longer gets 503 at
    /// once, with a Retry-After. Default: `2s`.
    pub wait: Option<Time>,
}

/// How much may be under way at once, through all workers: a request until its answer has ended, a
/// WebSocket until it has. Connections that are kept idle do not count. Who is more than these waits
/// as `queue` says, or gets 503 with a Retry-After.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of limits")]
pub struct MaxConnections {
    /// To each server. Who would go to a full one goes to another one, `sticky` or not. Default: any
    /// number.
    pub endpoint: Option<Count>,
    /// To all servers together. What was under way before a reload that brought this limit does not
    /// count for it. Default: any number.
    pub upstream: Option<Count>,
}

/// Who waits when `max_connections` are reached: first come, first served, and whoever comes later
/// stands behind those who wait. A client that leaves gives its place up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of queue settings")]
pub struct Queue {
    /// How many may wait; further ones get 503 at once. Default: `100`.
    pub size: Option<Count>,
    /// How long each may wait before it gets 503. Default: `1s`.
    pub wait: Option<Time>,
}
