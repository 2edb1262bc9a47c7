//! A listener: one address to accept on, and what a connection there may cost.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Http2, ProxyProtocol, Size, Time, Tls};

/// One address where Bowline accepts connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of listener settings")]
pub struct Listener {
    /// IP address and port, `127.0.0.1:8080` or `[::]:443`; port 0 takes any free one. Or `systemd:NAME`: the
    /// socket that a socket unit with `FileDescriptorName=NAME` passes at the start. Required.
    pub address: Option<String>,
    /// The name in logs and metrics. Default: the address.
    pub name: Option<String>,
    /// Certificates; with them the listener speaks TLS, without them plain text. Default: off.
    pub tls: Option<Tls>,
    /// HTTP/2 besides HTTP/1.1: `true` offers it by ALPN, with TLS. Without TLS, `prior_knowledge` takes
    /// clients that speak it from their first byte (h2c). Default: `true` with TLS, else `false`.
    pub http2: Option<Http2>,
    /// How long a client may take to send a request head, counted from the connection or from the
    /// end of the answer before; so also how long an idle keep-alive connection is held, or one of
    /// HTTP/2 without a stream. Default: `30s`.
    pub header_timeout: Option<Time>,
    /// Bounds on what one client may send or hold. Default: each its own.
    pub limits: Limits,
    /// Networks (`10.0.0.0/8`, `::1`) that may come; all others get 403. Default: all.
    pub allow: Option<Vec<String>>,
    /// Networks that may not come and get 403, whatever `allow` says. Default: none.
    pub deny: Option<Vec<String>>,
    /// The PROXY protocol, for a listener behind a TCP load balancer. Default: off.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Bounds on what clients of one listener may send or hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of limits")]
pub struct Limits {
    /// The longest request target; a longer one is answered with 414. Default: `16KiB`.
    pub uri: Option<Size>,
    /// The largest request head; a larger one is answered with 431. This is also the memory that
    /// a client can make Bowline hold before a route is known. Default: `64KiB`.
    pub headers: Option<Size>,
    /// How many connections may be open at once, tunnels included; more are closed as soon as
    /// they are accepted. Default: unlimited.
    pub connections: Option<Count>,
    /// How many streams a client may have open at once on a connection of HTTP/2, its WebSockets among
    /// them. Default: `200`.
    pub streams: Option<Count>,
}
