//! What happens to WebSockets once they are open.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Limit, Size, Switch, Time};

/// How open WebSockets are treated. A route inherits what it does not set from the top level.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of WebSocket settings")]
pub struct WebSocket {
    /// Whether Bowline looks at frames (`metered`) or carries bytes (`opaque`). Close codes,
    /// pings, checks and limits of frames and messages need `metered`. Default: `metered`.
    pub frames: Option<Frames>,
    /// End a WebSocket whose frames break RFC 6455 or RFC 7692: the offender gets 1002. UTF-8 is not
    /// looked at. Default: `true`.
    pub strict: Option<Switch>,
    /// Whether clients of HTTP/2 may open WebSockets (RFC 8441). They are told so as long as one route lets
    /// them; where a route does not, they get 501. Default: `true`.
    pub bridge: Option<Switch>,
    /// Pings that show whether a quiet side is still there.
    /// Default: each its own.
    pub heartbeat: Heartbeat,
    /// The largest frame, as it travels (compressed, where that was agreed on); a larger one ends the
    /// WebSocket with 1009 before its payload passes. Default: unlimited.
    pub max_frame: Option<Size>,
    /// The largest message over all its frames, as it travels; a larger one ends the WebSocket with
    /// 1009. Default: unlimited.
    pub max_message: Option<Size>,
    /// What each client may send over its WebSocket. A route's own replaces the whole.
    /// Default: unlimited.
    pub client_rate: Option<Rate>,
    /// What the upstream may send over each WebSocket. A route's own replaces the whole.
    /// Default: unlimited.
    pub upstream_rate: Option<Rate>,
    /// The greatest age of a WebSocket, or `off`; up to a tenth less, at random, so that those that
    /// began together do not end together. Both sides get 1012. Default: `off`.
    pub max_age: Option<Limit>,
    /// How long a side may take nothing of what waits for it, or `off`; after it the WebSocket is
    /// ended with 1008. Until then whoever sends is slowed down. Default: `60s`.
    pub write_timeout: Option<Limit>,
    /// How long a peer may take to answer a Close from Bowline. Default: `5s`.
    pub close_timeout: Option<Time>,
    /// Whether a side is told by a Close that the other one is gone without one: 1014 to the client,
    /// 1001 to the upstream. Otherwise it sees a bare end of the connection. Default: `true`.
    pub tell_loss: Option<Switch>,
}

/// Pings to both sides. A side that talks is not asked; a WebSocket is never ended for being quiet, but
/// for not answering.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of heartbeat settings")]
pub struct Heartbeat {
    /// Silence of a side after which it gets a ping, or `off` for no pings at all. Default: `30s`.
    pub interval: Option<Limit>,
    /// Silence after a ping after which the side counts as gone and the WebSocket is ended. Default:
    /// `10s`.
    pub timeout: Option<Time>,
    /// Whether clients are asked. Default: `true`.
    pub client: Option<Switch>,
    /// Whether upstreams are asked. Default: `true`.
    pub upstream: Option<Switch>,
}

/// How much one side of a WebSocket may send: at once as much as `burst` allows, then no more than the
/// rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of rate settings")]
pub struct Rate {
    /// Messages a second; pings, pongs and fragments are none. Needs frames to be `metered`.
    /// Default: unlimited.
    pub messages: Option<Count>,
    /// Bytes a second, as they travel. Default: unlimited.
    pub bytes: Option<Size>,
    /// How long a side must be quiet to have its full allowance again, which it may then send at once:
    /// with 20 messages a second and a burst of `2s`, 40 messages. Default: `1s`.
    pub burst: Option<Time>,
    /// What happens to a side that sends more: it is read later, and so slowed down (`pause`), or the
    /// WebSocket is ended with 1008 (`close`). Default: `pause`.
    pub limit: OverRate,
}

/// What happens to a side that sends more than its rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "`pause` or `close`")]
pub enum OverRate {
    /// It is read later.
    #[default]
    Pause,
    /// Its WebSocket is ended.
    Close,
}

/// Whether frames are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "`metered` or `opaque`")]
pub enum Frames {
    /// Headers and control frames are.
    #[default]
    Metered,
    /// They are bytes.
    Opaque,
}
