//! One worker's counters of what happens before a route is known.

use super::{Counter, Http2Fault, TlsFailure, TlsHandshake};
use crate::error::Failure;

/// Connections and requests of one worker, whatever their route.
#[derive(Debug)]
pub struct WorkerShard {
    /// Client connections that began here. Live connections of the process are the sums of
    /// `accepted` less those of `closed`; one handed over is accepted once and closed once.
    pub accepted: Counter,
    /// Client connections that ended here, tunnels included.
    pub closed: Counter,
    /// Errors of `accept` itself, such as no free descriptor.
    pub accept_errors: Counter,
    /// Connections closed at once because `limits.connections` were open.
    pub over_limit: Counter,
    /// Fresh connections given to a less loaded worker.
    pub handed_over: Counter,
    /// TLS handshakes, indexed as [`TlsHandshake::ALL`].
    pub tls_handshakes: [Counter; TlsHandshake::ALL.len()],
    /// TLS handshakes that came to nothing, indexed as [`TlsFailure::ALL`].
    pub tls_failures: [Counter; TlsFailure::ALL.len()],
    /// TLS handshakes that waited because `tls.max_handshakes` were under way.
    pub tls_queued: Counter,
    /// Those of them whose time was over before they were done.
    pub tls_refused: Counter,
    /// Connections closed because their PROXY header was missing, malformed or late, or came from
    /// where none is believed.
    pub proxy_protocol_refused: Counter,
    /// Requests that hyper refused before routing: not HTTP, or a head over its limits.
    pub unparsed: Counter,
    /// Connections of HTTP/2 that began here.
    pub http2_begun: Counter,
    /// Those that ended.
    pub http2_ended: Counter,
    /// Streams that began, requests and WebSockets alike.
    pub streams_begun: Counter,
    /// Those that ended.
    pub streams_ended: Counter,
    /// WebSockets opened over HTTP/2.
    pub http2_tunnels: Counter,
    /// What was ended for a fault of the client, indexed as [`Http2Fault::ALL`].
    pub http2_faults: [Counter; Http2Fault::ALL.len()],
    /// Bowline's own answers before a route was found, indexed as [`Failure::ALL`].
    pub unrouted_failures: [Counter; Failure::ALL.len()],
}

impl WorkerShard {
    /// Counts a connection of HTTP/2, or a stream, that was ended for a fault of the client.
    pub fn count_http2_fault(&self, fault: Http2Fault) {
        if let Some(counter) = self.http2_faults.get(fault as usize) {
            counter.inc();
        }
    }

    /// Counts an answer that Bowline made before a route was found.
    #[inline]
    pub fn count_failure(&self, failure: Failure) {
        if let Some(counter) = self.unrouted_failures.get(failure as usize) {
            counter.inc();
        }
    }
}

impl WorkerShard {
    /// Counts a TLS handshake.
    #[inline]
    pub fn count_tls(&self, handshake: TlsHandshake) {
        if let Some(counter) = self.tls_handshakes.get(handshake.index()) {
            counter.inc();
        }
    }

    /// Counts a TLS handshake that came to nothing.
    #[inline]
    pub fn count_tls_failure(&self, cause: TlsFailure) {
        if let Some(counter) = self.tls_failures.get(cause as usize) {
            counter.inc();
        }
    }
}

impl Default for WorkerShard {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            closed: Counter::default(),
            accept_errors: Counter::default(),
            over_limit: Counter::default(),
            handed_over: Counter::default(),
            tls_handshakes: Default::default(),
            tls_failures: Default::default(),
            tls_queued: Counter::default(),
            tls_refused: Counter::default(),
            proxy_protocol_refused: Counter::default(),
            unparsed: Counter::default(),
            http2_begun: Counter::default(),
            http2_ended: Counter::default(),
            streams_begun: Counter::default(),
            streams_ended: Counter::default(),
            http2_tunnels: Counter::default(),
            http2_faults: std::array::from_fn(|_| Counter::default()),
            // The library's Default for arrays stops at 32.
            unrouted_failures: std::array::from_fn(|_| Counter::default()),
        }
    }
}
