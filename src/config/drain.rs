//! The drain: how Bowline ends.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Time;

/// How Bowline ends when it is told to stop.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of drain settings")]
pub struct Drain {
    /// How long requests and tunnels may go on after SIGTERM or SIGINT; what is left then is cut.
    /// Default: `30s`.
    pub timeout: Option<Time>,
}
