//! What keeps the load of an upstream to what it can bear.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Percent, Time};

/// How fast new WebSockets may come to an upstream, and how many at once, all its servers and all
/// workers together. Those that are open feel nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of upgrade settings")]
pub struct Upgrades {
    /// Upgrades a second. Either this or `in_progress` is needed. Default: any number.
    pub rate: Option<Count>,
    /// Upgrades that may come at once after a quiet time. Default: a tenth of `rate`, but one.
    pub burst: Option<Count>,
    /// Upgrades that may be under way at once, each from its dial to the answer; further ones wait,
    /// first come, first served. A server that does more for a handshake than for a socket (looking
    /// up a session, say) is kept busy and not buried, however long it takes. Default: any number.
    pub in_progress: Option<Count>,
    /// For how long an upgrade may wait for its turn by both; one that waited in vain, or would have
    /// to wait longer for `rate`, gets 503 with a Retry-After. Default: `2s`.
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

/// Attempts after the first, each on another server, and never once a byte of a body, or of a request
/// that is not idempotent, has gone out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of retry settings")]
pub struct Retries {
    /// Servers that one request tries at most; 1 for no retries. Default: `3`.
    pub attempts: Option<Count>,
    /// Retries in a hundred requests, which each worker counts for itself, so that an upstream that
    /// fails under its load is not given several times that load. A request whose retry is refused
    /// ends with the failure that it met. Default: no bound.
    pub budget: Option<Percent>,
    /// Retries that each worker has from the start, for requests that are rare, and saves up at most;
    /// only with `budget`. Default: `10`.
    pub reserve: Option<Count>,
}

/// Sparing an upstream that fails: while the breaker is open, requests get 503 at once. After the pause
/// one request is let through, and decides. Each worker judges by what it sees itself. Failures are
/// what `health.passive` counts: no connection, no answer, a broken or a wrong one, and its `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of breaker settings")]
pub struct Breaker {
    /// The share of attempts that fail at which it opens. Default: `50%`.
    pub failures: Option<Percent>,
    /// Fewer attempts than these within `window` tell nothing. Default: `20`.
    pub requests: Option<Count>,
    /// How far back is looked. Default: `10s`.
    pub window: Option<Time>,
    /// How long nothing is asked of the upstream then. Default: `5s`.
    pub pause: Option<Time>,
}
