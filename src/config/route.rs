//! A route: which requests, and where to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Cors, OneOrMany, Quota, Size, Switch, Timeouts, WebSocket};

/// Which requests go to which upstream.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of route settings")]
pub struct Route {
    /// The name in logs and metrics. Default: made from the match.
    pub name: Option<String>,
    /// What a request must be like. Default: every request.
    #[serde(rename = "match")]
    pub matches: Match,
    /// The name of an upstream. Required.
    pub upstream: Option<String>,
    /// Timeouts of this route. Default: for each that is not set, the one from the top level.
    pub timeouts: Timeouts,
    /// How WebSockets of this route are treated once they are open. Default: for each setting that is
    /// not set, the one from the top level.
    pub websocket: WebSocket,
    /// The largest request body; a larger one is answered with 413. A WebSocket has no body and no
    /// such bound. Default: unlimited.
    pub max_body: Option<Size>,
    /// Whose pages may open WebSockets here: `same` (scheme, host and port of the request itself),
    /// origins such as `https://chat.example.com`, `https://*.example.com` for one label, `"null"` for
    /// pages without an origin, or `any` alone. A list without `same` is the whole list. Clients that
    /// send no Origin are no browsers, and pass. Default: `same`.
    pub origins: Option<OneOrMany>,
    /// What happens to WebSockets of other origins. Default: `enforce`.
    pub origin_mode: OriginMode,
    /// Networks (`10.0.0.0/8`, `::1`) that may use this route; all others get 403. Default: all.
    pub allow: Option<Vec<String>>,
    /// Networks that may not use this route and get 403, whatever `allow` says. Default: none.
    pub deny: Option<Vec<String>>,
    /// What one client, one key and all together may ask of this route; who asks for more gets 429. Those
    /// of the top level count as well. Default: none.
    pub quotas: Vec<Quota>,
    /// Which pages of other origins may read answers of this route. Default: the upstream's affair.
    pub cors: Option<Cors>,
}

/// What happens to a WebSocket of a page that is not in `origins`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "`enforce` or `report`")]
pub enum OriginMode {
    /// It is refused with 403.
    #[default]
    Enforce,
    /// It is logged and counted, and let through.
    Report,
}

/// What a request must be like. Everything that is written must hold; of a list, one entry.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of conditions")]
pub struct Match {
    /// Host names without port: `chat.example.com`, or `*.example.com` for every name below it.
    /// Default: any host.
    pub host: OneOrMany,
    /// A path and everything below it: `/ws` matches `/ws` and `/ws/room` but not `/wsx`. At most
    /// one of `path`, `path_exact` and `path_regex` may be given. Default: any path.
    pub path: Option<String>,
    /// A path, and nothing below it. Default: any path.
    pub path_exact: Option<String>,
    /// A regular expression that the path must match; write `^` and `$` to match all of it.
    /// Default: any path.
    pub path_regex: Option<String>,
    /// Methods, in capitals: `GET`. Default: any method.
    pub method: OneOrMany,
    /// Headers by name, each with the value that it must have. Default: any headers.
    pub headers: BTreeMap<String, String>,
    /// Query parameters by name, each with the value that it must have. Default: any query.
    pub query: BTreeMap<String, String>,
    /// WebSocket subprotocols, one of which the client must offer. Default: any, or none.
    pub subprotocol: OneOrMany,
    /// Only WebSocket upgrades (`true`), or only other requests (`false`). Default: both.
    pub websocket: Option<Switch>,
}
