//! The top level of the file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Admin, Count, Drain, Listener, Log, Resolver, Route, Secret, Switch, Timeouts, Upstream,
    WebSocket,
};

/// A whole configuration file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub struct Config {
    /// Where Bowline accepts connections. At least one is needed. Default: none.
    pub listeners: Vec<Listener>,
    /// Which requests go to which upstream. The most specific match wins, and among equals the
    /// first; a request that no route matches is answered with 404. Default: none.
    pub routes: Vec<Route>,
    /// The groups of servers that routes send requests to, by name. Default: none.
    pub upstreams: BTreeMap<String, Upstream>,
    /// How endpoints of `dns://` are looked up. Default: each its own.
    pub resolver: Resolver,
    /// The listener for metrics and health. Without it there is none. Default: off.
    pub admin: Option<Admin>,
    /// Timeouts of every route that does not set its own. Default: each its own.
    pub timeouts: Timeouts,
    /// How open WebSockets are treated by every route that does not say otherwise. Default: each its
    /// own.
    pub websocket: WebSocket,
    /// How Bowline ends when it is told to stop. Default: each its own.
    pub drain: Drain,
    /// What is logged, and how. Default: each its own.
    pub log: Log,
    /// How many worker threads share the connections, each with its own event loop. Default: one
    /// per core.
    pub workers: Option<Count>,
    /// Networks (`10.0.0.0/8`, `::1`) whose `Forwarded` and `X-Forwarded-*` headers are believed
    /// and kept. From everyone else they are dropped, since anyone can write them. Default: none.
    pub trusted_proxies: Vec<String>,
    /// Whether `//` in a path is `/`, for routes as for upstreams; `.`, `..` and needless escapes are always
    /// resolved. Turn it off where paths hold URLs (`/resize/https://...`); a route that guards `/a` then
    /// takes no `//a`, which most servers take for the same. Default: `true`.
    pub merge_slashes: Option<Switch>,
    /// The name that Bowline gives itself in the `Via` header. Default: `bowline`.
    pub via: Option<String>,
    /// Which headers tell the upstream about the client. Default: `both`.
    pub forwarded: Option<Forwarded>,
    /// What signs the cookies of `sticky`: at least 32 characters, best from the environment as
    /// `${BOWLINE_SECRET}`. Bowlines in front of the same endpoints need the same one, or they ignore each
    /// other's cookies. Default: a random one for each process, so that its cookies end with it.
    pub secret: Option<Secret>,
}

/// Which headers tell the upstream who the client is and how it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forwarded {
    /// `X-Forwarded-*` and `Forwarded`.
    #[default]
    Both,
    /// Only `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwarded,
    /// Only `Forwarded`, as RFC 7239 has it.
    Rfc7239,
    /// Neither: the upstream learns nothing about the client.
    None,
}
