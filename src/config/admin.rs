//! The admin listener.

use schemars::JsonSchema;
use serde::Deserialize;

/// The listener for `/metrics`, `/healthz` and `/readyz`, and for `POST /reload`, which reads the
/// configuration again. It asks nobody for a password: keep it
/// on an address that only operators reach.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of admin settings")]
pub struct Admin {
    /// IP address and port, `127.0.0.1:9900`. Required.
    pub address: Option<String>,
}
