//! Timeouts of a route, or of all of them. How long a listener waits is in `listener.rs`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Limit, Time};

/// How long each step between client and upstream may take. A route inherits what it does not set
/// from the top level.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of timeouts")]
pub struct Timeouts {
    /// To open a connection to an endpoint; after it the next endpoint is tried, and at the end the
    /// client gets 504. Default: `5s`.
    pub connect: Option<Time>,
    /// For the upstream to answer a WebSocket upgrade; after it the client gets 504. Default:
    /// `10s`.
    pub handshake: Option<Time>,
    /// For the upstream to send the head of a plain HTTP answer; after it the client gets 504. It
    /// does not bound the body, so long downloads and event streams live on. Default: `2m`.
    pub response: Option<Time>,
    /// The longest silence within a request body; after it the client gets 408. A client of HTTP/2 may also
    /// take nothing of an answer for so long, before that stream is reset. Default: `60s`.
    pub body: Option<Time>,
    /// How long a WebSocket may go without a message either way before it is ended, or `off`; pings
    /// and pongs are none. Chat-like sockets are often silent for hours. Default: `off`.
    pub idle: Option<Limit>,
    /// How long a tunnel lives on after one side has ended its half or said Close, from the last
    /// message on. Default: `30s`.
    pub half_close: Option<Time>,
}
