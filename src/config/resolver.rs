//! Whom endpoints of `dns://` are asked from, and how often.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Time;

/// How `dns://` and `dns+srv://` endpoints are looked up.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of resolver settings")]
pub struct Resolver {
    /// The DNS servers: `10.0.0.53` or `127.0.0.1:5353`. Names are then asked for as they are written.
    /// Default: those of `/etc/resolv.conf`, with its search list.
    pub servers: Vec<String>,
    /// How long an answer may take, with all that is asked again meanwhile. Default: `5s`.
    pub timeout: Option<Time>,
    /// A name is not asked for again sooner, however short an answer holds. At least `100ms`.
    /// Default: `1s`.
    pub min_ttl: Option<Time>,
    /// A name is asked for again after this, however long an answer holds. Default: `5m`.
    pub max_ttl: Option<Time>,
}
