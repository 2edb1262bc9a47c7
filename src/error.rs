//! The map from what went wrong to what a client sees: status, `Proxy-Status` error type (RFC 9209),
//! log level and metric label. Stages fail with a [`Failure`]; nothing else decides a status.

use http::StatusCode;

/// Why Bowline answers by itself instead of passing an upstream's answer on.
///
/// Variants are grouped by who is at fault, which [`Failure::fault`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// Client: the request breaks a rule of HTTP or of the WebSocket handshake.
    BadRequest,
    /// Client: its body stopped coming (`timeouts.body`) or its head did not arrive whole (`timeouts.header`).
    RequestTimeout,
    /// Client: no route matches.
    NoRoute,
    /// Client: a method that Bowline does not forward (CONNECT, TRACE).
    MethodRefused,
    /// Client: the body is over the route's `max_body`.
    BodyTooLarge,
    /// Client: the request target is over `limits.uri`.
    UriTooLong,
    /// Client: an `Expect` other than `100-continue` (RFC 9110 section 10.1.1).
    ExpectationUnknown,
    /// Client: the Host is not what this TLS connection was opened for (RFC 9110 section 7.4).
    Misdirected,
    /// Client: a WebSocket version other than 13 (RFC 6455 section 4.4).
    UpgradeVersion,
    /// Client: the header section is over `limits.headers`.
    HeadersTooLarge,
    /// Client: a transfer coding other than `chunked` (RFC 9112 section 6.1).
    CodingUnknown,
    /// Client: an extended CONNECT for a protocol that does not go on from here (RFC 9220 section 3).
    ProtocolUnknown,
    /// Client or network: Bowline's own name stands in `Via` too often; a loop (RFC 9110 section 7.6.3).
    Loop,
    /// Client: its page's origin may not open WebSockets here (`origins`).
    OriginRefused,
    /// Client: its address may not come here (`allow`, `deny`).
    AddressRefused,
    /// Client: a preflight of a page whose origin may not ask here (`cors`).
    CorsRefused,
    /// Client: it asks for more than its share (`quotas`).
    RateLimited,
    /// Upstream: every endpoint refused the connection, or nothing is where its path says.
    ConnectRefused,
    /// Upstream: no connection within `timeouts.connect`.
    ConnectTimeout,
    /// Upstream: unreachable in another way: no route to it, its name does not resolve.
    ConnectFailed,
    /// Upstream: no TLS with it: its certificate is not believed, or it refused the handshake.
    UpstreamTls,
    /// Upstream: the connection ended before a whole answer head.
    ConnectionLost,
    /// Upstream: what came back is not HTTP.
    BadResponse,
    /// Upstream: its 101 does not fit the handshake, or nobody asked for one.
    BadUpgrade,
    /// Upstream: no answer to the upgrade within `timeouts.handshake`.
    HandshakeTimeout,
    /// Upstream: no answer head within `timeouts.response`.
    ResponseTimeout,
    /// Bowline: shutting down, no new upgrades.
    Draining,
    /// Bowline: the upstream has no endpoint.
    NoEndpoint,
    /// Bowline: more upgrades at once than `upgrades.rate` of the upstream lets through in time.
    UpgradeRate,
    /// Bowline: `upgrades.in_progress` upgrades were under way for longer than one may wait.
    UpgradesInProgress,
    /// Bowline: the upstream carries what `max_connections` allows, and its queue is full or took too long.
    UpstreamFull,
    /// Bowline: so much of what the upstream was asked failed that `breaker` spares it.
    BreakerOpen,
    /// Bowline: a bug or a resource that ran out.
    Internal,
}

/// Who is at fault, for the log level and for the person who is woken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client sent something wrong; logged at info.
    Client,
    /// The upstream failed; logged at warn.
    Upstream,
    /// Bowline refused or failed; logged at warn.
    Bowline,
}

impl Failure {
    /// Every failure: the index into a metrics table is the position here.
    pub const ALL: [Self; 33] = [
        Self::BadRequest,
        Self::RequestTimeout,
        Self::NoRoute,
        Self::MethodRefused,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::ExpectationUnknown,
        Self::Misdirected,
        Self::UpgradeVersion,
        Self::HeadersTooLarge,
        Self::CodingUnknown,
        Self::ProtocolUnknown,
        Self::Loop,
        Self::OriginRefused,
        Self::AddressRefused,
        Self::CorsRefused,
        Self::RateLimited,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::UpstreamTls,
        Self::ConnectionLost,
        Self::BadResponse,
        Self::BadUpgrade,
        Self::HandshakeTimeout,
        Self::ResponseTimeout,
        Self::Draining,
        Self::NoEndpoint,
        Self::UpgradeRate,
        Self::UpgradesInProgress,
        Self::UpstreamFull,
        Self::BreakerOpen,
        Self::Internal,
    ];

    /// Status, `Proxy-Status` error type (RFC 9209 section 2.3), metric label.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => (S::BAD_REQUEST, "http_request_error", "bad_request"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "http_request_error", "request_timeout"),
            Self::NoRoute => (S::NOT_FOUND, "destination_not_found", "no_route"),
            Self::MethodRefused => (S::METHOD_NOT_ALLOWED, "http_request_denied", "method_refused"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "http_request_denied", "body_too_large"),
            Self::UriTooLong => (S::URI_TOO_LONG, "http_request_denied", "uri_too_long"),
            Self::ExpectationUnknown => {
                (S::EXPECTATION_FAILED, "http_request_denied", "expectation_unknown")
            }
            Self::Misdirected => (S::MISDIRECTED_REQUEST, "http_request_denied", "misdirected"),
            Self::UpgradeVersion => (S::UPGRADE_REQUIRED, "http_request_error", "upgrade_version"),
            Self::HeadersTooLarge => {
                (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_denied", "headers_too_large")
            }
            Self::CodingUnknown => (S::NOT_IMPLEMENTED, "http_request_error", "coding_unknown"),
            Self::ProtocolUnknown => (S::NOT_IMPLEMENTED, "http_request_error", "protocol_unknown"),
            Self::Loop => (S::LOOP_DETECTED, "proxy_loop_detected", "loop"),
            Self::OriginRefused => (S::FORBIDDEN, "http_request_denied", "origin_refused"),
            Self::AddressRefused => (S::FORBIDDEN, "http_request_denied", "address_refused"),
            Self::CorsRefused => (S::FORBIDDEN, "http_request_denied", "cors_refused"),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "http_request_denied", "rate_limited"),
            Self::ConnectRefused => (S::BAD_GATEWAY, "connection_refused", "connect_refused"),
            Self::ConnectTimeout => (S::GATEWAY_TIMEOUT, "connection_timeout", "connect_timeout"),
            Self::ConnectFailed => (S::BAD_GATEWAY, "destination_unavailable", "connect_failed"),
            Self::UpstreamTls => (S::BAD_GATEWAY, "tls_protocol_error", "upstream_tls"),
            Self::ConnectionLost => (S::BAD_GATEWAY, "connection_terminated", "connection_lost"),
            Self::BadResponse => (S::BAD_GATEWAY, "http_protocol_error", "bad_response"),
            Self::BadUpgrade => (S::BAD_GATEWAY, "http_upgrade_failed", "bad_upgrade"),
            Self::HandshakeTimeout => {
                (S::GATEWAY_TIMEOUT, "http_response_timeout", "handshake_timeout")
            }
            Self::ResponseTimeout => {
                (S::GATEWAY_TIMEOUT, "http_response_timeout", "response_timeout")
            }
            Self::Draining => (S::SERVICE_UNAVAILABLE, "http_request_denied", "draining"),
            Self::NoEndpoint => (S::SERVICE_UNAVAILABLE, "destination_unavailable", "no_endpoint"),
            Self::UpgradeRate => (S::SERVICE_UNAVAILABLE, "http_request_denied", "upgrade_rate"),
            Self::UpgradesInProgress => {
                (S::SERVICE_UNAVAILABLE, "connection_limit_reached", "upgrades_in_progress")
            }
            Self::UpstreamFull => {
                (S::SERVICE_UNAVAILABLE, "connection_limit_reached", "upstream_full")
            }
            Self::BreakerOpen => {
                (S::SERVICE_UNAVAILABLE, "destination_unavailable", "breaker_open")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "proxy_internal_error", "internal"),
        }
    }

    /// The status of Bowline's own answer.
    pub fn status(self) -> StatusCode {
        self.facts().0
    }

    /// The error type in `Proxy-Status`, from the registry of RFC 9209.
    pub fn proxy_status(self) -> &'static str {
        self.facts().1
    }

    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        self.facts().2
    }

    /// Who is at fault.
    pub fn fault(self) -> Fault {
        match self {
            Self::BadRequest
            | Self::RequestTimeout
            | Self::NoRoute
            | Self::MethodRefused
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::ExpectationUnknown
            | Self::Misdirected
            | Self::UpgradeVersion
            | Self::HeadersTooLarge
            | Self::CodingUnknown
            | Self::ProtocolUnknown
            | Self::Loop
            | Self::OriginRefused
            | Self::AddressRefused
            | Self::CorsRefused
            | Self::RateLimited => Fault::Client,
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::UpstreamTls
            | Self::ConnectionLost
            | Self::BadResponse
            | Self::BadUpgrade
            | Self::HandshakeTimeout
            | Self::ResponseTimeout => Fault::Upstream,
            Self::Draining
            | Self::NoEndpoint
            | Self::UpgradeRate
            | Self::UpgradesInProgress
            | Self::UpstreamFull
            | Self::BreakerOpen
            | Self::Internal => Fault::Bowline,
        }
    }
}
