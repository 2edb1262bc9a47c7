//! Cross-origin resource sharing of a route.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{OneOrMany, Switch, Time};

/// Which pages of other origins may read answers (CORS, as the Fetch standard has it). Bowline then
/// owns the policy: it answers preflights itself and replaces what the upstream says of it. Preflights
/// are OPTIONS requests, which the route has to match. WebSockets are not covered by CORS: see
/// `origins` of the route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of CORS settings")]
pub struct Cors {
    /// Whose pages: `https://app.example.com`, `https://*.example.com` for one label, `"null"`, or
    /// `any` alone. Required.
    pub origins: Option<OneOrMany>,
    /// Methods that pages may use, or `any` alone. Default: `GET`, `HEAD` and `POST`.
    pub methods: Option<OneOrMany>,
    /// Request headers that pages may set beside the harmless ones, or `any` alone. Default: none.
    pub headers: Option<OneOrMany>,
    /// Headers of answers that pages may read beside the harmless ones, or `any` alone, which browsers
    /// take only without `credentials`. Default: none.
    pub expose: Option<OneOrMany>,
    /// Whether cookies and other credentials may be sent along; `origins` must then be a list.
    /// Default: `false`.
    pub credentials: Switch,
    /// How long browsers may keep the answer to a preflight. Default: not said, which browsers take for
    /// 5 seconds.
    pub max_age: Option<Time>,
}
