//! The drain: how Bowline ends.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Time};

/// How Bowline ends when it is told to stop.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of drain settings")]
pub struct Drain {
    /// How long requests and tunnels may go on after SIGTERM or SIGINT; what is left then is cut.
    /// Default: `30s`.
    pub timeout: Option<Time>,
    /// How long everything goes on as before after SIGTERM or SIGINT while `/readyz` says 503 already, so
    /// that whoever sends connections here stops first: 5 to 10 seconds under Kubernetes. It comes before
    /// `timeout`. Default: `0s`.
    pub delay: Option<Time>,
    /// Over how long the closes of open WebSockets are spread, so that their clients do not all come
    /// back at once. A few take less: 50 ms each. Default: `20s`, and no more than two thirds of
    /// `timeout`.
    pub spread: Option<Time>,
    /// What happens to open WebSockets whose route or endpoint a reload has removed, or whose endpoint
    /// is found no more: they are told to close, spread over `spread`, or live on until they end by
    /// themselves. Those of routes with `frames: opaque` cannot be told, and live on. Default: `drain`.
    pub on_removed: Option<OnRemoved>,
    /// The close code that both sides of a WebSocket get. Default: `1012` (service restart).
    pub code: Option<Count>,
}

/// What happens to WebSockets whose route or endpoint is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "`drain` or `keep`")]
pub enum OnRemoved {
    /// They are told to close.
    #[default]
    Drain,
    /// They live on.
    Keep,
}
