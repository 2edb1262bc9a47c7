//! The access log: one line for each plain request, one when a tunnel opens and one when it closes.
//! Lines carry no query and no header values, because those carry tokens. Durations are numbers:
//! milliseconds where the field ends in `_ms`, and a tunnel's life (`lasted`) in seconds.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Version};

use crate::error::Failure;
use crate::tunnel::Ended;

/// The tracing target of every access line.
pub const TARGET: &str = "access";

static ENABLED: AtomicBool = AtomicBool::new(false);

/// Whether access lines go anywhere; when not, a caller need not gather one.
#[inline]
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Tells callers whether to gather lines. [`super::logs::init`] does this; an embedding program with
/// a tracing subscriber of its own calls it by hand.
pub fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// A finished plain request, or an upgrade request that became no tunnel.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// Who asked: the peer, or whom a trusted proxy named.
    pub client: IpAddr,
    /// The subject of its certificate, where it has shown one.
    pub certificate: Option<&'a str>,
    /// The request's method.
    pub method: &'a Method,
    /// The host asked for.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The client's HTTP version.
    pub version: Version,
    /// The status sent to the client.
    pub status: u16,
    /// Why Bowline answered by itself, when it did.
    pub failure: Option<Failure>,
    /// Name of the route; empty when none was found.
    pub route: &'a str,
    /// Name of the upstream; empty when none was chosen.
    pub upstream: &'a str,
    /// The endpoint that answered or was tried last.
    pub endpoint: Option<&'a str>,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// From the whole head to the end of the answer's body.
    pub took: Duration,
    /// From the whole head to the upstream's answer head.
    pub first_byte: Option<Duration>,
    /// The answer's body did not reach its end.
    pub aborted: bool,
}

/// Writes the line of a request.
pub fn request(line: &RequestLine<'_>) {
    tracing::info!(
        target: TARGET,
        client = %line.client,
        certificate = line.certificate,
        method = line.method.as_str(),
        host = line.host,
        path = line.path,
        version = version(line.version),
        status = line.status,
        failure = line.failure.map(Failure::label),
        route = named(line.route),
        upstream = named(line.upstream),
        endpoint = line.endpoint,
        bytes_in = line.bytes_in,
        bytes_out = line.bytes_out,
        took_ms = millis(line.took),
        first_byte_ms = line.first_byte.map(millis),
        aborted = line.aborted.then_some(true),
        "request"
    );
}

/// A tunnel that has just begun.
#[derive(Clone, Copy, Debug)]
pub struct TunnelOpen<'a> {
    /// Number of the tunnel, the same in its closing line.
    pub id: u64,
    /// Who asked: the peer, or whom a trusted proxy named.
    pub client: IpAddr,
    /// The subject of its certificate, where it has shown one.
    pub certificate: Option<&'a str>,
    /// The host asked for.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The HTTP version that the client speaks.
    pub version: Version,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// The endpoint at the other end.
    pub endpoint: &'a str,
    /// The subprotocol that the upstream chose.
    pub subprotocol: Option<&'a str>,
    /// From the whole upgrade request to the upstream's 101.
    pub handshake: Duration,
}

/// Writes the opening line of a tunnel.
pub fn tunnel_open(line: &TunnelOpen<'_>) {
    tracing::info!(
        target: TARGET,
        id = line.id,
        client = %line.client,
        certificate = line.certificate,
        host = line.host,
        path = line.path,
        version = version(line.version),
        route = line.route,
        upstream = line.upstream,
        endpoint = line.endpoint,
        subprotocol = line.subprotocol,
        handshake_ms = millis(line.handshake),
        "tunnel opened"
    );
}

/// A tunnel that has just ended.
#[derive(Clone, Copy, Debug)]
pub struct TunnelClose<'a> {
    /// Number of the tunnel, the same as in its opening line.
    pub id: u64,
    /// Who asked: the peer, or whom a trusted proxy named.
    pub client: IpAddr,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// The endpoint at the other end.
    pub endpoint: &'a str,
    /// How it ended.
    pub ended: &'a Ended,
}

/// Writes the closing line of a tunnel.
pub fn tunnel_close(line: &TunnelClose<'_>) {
    tracing::info!(
        target: TARGET,
        id = line.id,
        client = %line.client,
        route = line.route,
        upstream = line.upstream,
        endpoint = line.endpoint,
        reason = line.ended.reason.label(),
        closer = line.ended.closer.label(),
        code = line.ended.code,
        messages_to_upstream = line.ended.messages_to_upstream,
        messages_to_client = line.ended.messages_to_client,
        to_upstream = line.ended.to_upstream,
        to_client = line.ended.to_client,
        lasted = seconds(line.ended.lasted),
        "tunnel closed"
    );
}

/// To the microsecond: more digits say nothing about a network, and fewer zeros than in seconds keep
/// the text free of exponents.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// To the millisecond.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}

/// A field without a name in it is left out of the line.
fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
