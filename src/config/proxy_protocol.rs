//! The PROXY protocol on a listener.

use schemars::JsonSchema;
use serde::Deserialize;

/// Every connection begins with a header that names the real client, as TCP load balancers send it:
/// version 1 or 2. It is never guessed whether one is there.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of PROXY protocol settings")]
pub struct ProxyProtocol {
    /// Networks (`10.0.0.0/8`, `::1`) of the load balancers. They must send the header; connections
    /// from anywhere else are closed. Required.
    pub from: Option<Vec<String>>,
}
