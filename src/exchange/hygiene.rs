//! Headers that end here. Hop-by-hop fields never cross (RFC 9110 section 7.6.1), and what
//! Bowline sets cannot be struck out by a peer's `Connection`.

use http::header::{CONNECTION, HeaderName, TE, TRAILER};
use http::{HeaderMap, HeaderValue};

use super::identity::claims_certificate;
use crate::fields::tokens;

/// Fields of one hop, whether `Connection` names them or not.
fn is_of_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authorization"
            | "proxy-authenticate"
    )
}

/// Fields that routing, framing, guards and the handshake stand on. A `Connection` that names one
/// asks for a request that means one thing here and another behind us: refused.
fn is_end_to_end(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "cookie"
            | "authorization"
            | "origin"
            | "expect"
            | "via"
            | "forwarded"
    ) || name.starts_with("sec-websocket-")
}

/// What `Connection` said, over all its lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionOptions {
    /// The `upgrade` option is there.
    pub(super) upgrade: bool,
    /// Names of further fields of this hop.
    nominated: Vec<HeaderName>,
}

impl ConnectionOptions {
    /// Reads `Connection`.
    ///
    /// # Errors
    /// The end-to-end field that it names.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let mut options = Self::default();
        for token in tokens(headers, &CONNECTION) {
            if token.eq_ignore_ascii_case("upgrade") {
                options.upgrade = true;
            } else if token.eq_ignore_ascii_case("keep-alive")
                || token.eq_ignore_ascii_case("close")
            {
                // hyper has acted on these.
            } else if let Ok(name) = HeaderName::from_bytes(token.as_bytes()) {
                if is_end_to_end(name.as_str()) {
                    return Err(format!("Connection names {name}, which is not of one hop"));
                }
                options.nominated.push(name);
            }
        }
        Ok(options)
    }

    /// Removes every field of this hop. Returns whether the sender takes trailers.
    pub(super) fn strip(&self, headers: &mut HeaderMap) -> bool {
        let trailers = headers.contains_key(TE)
            && tokens(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
        remove_hop(headers, &self.nominated);
        trailers
    }
}

/// Removes the fields of one hop, those that its `Connection` nominated among them.
fn remove_hop(headers: &mut HeaderMap, nominated: &[HeaderName]) {
    remove_all(headers, |name| is_of_one_hop(name.as_str()));
    for name in nominated {
        headers.remove(name);
    }
}

/// Removes what goes. One look at each name that is there: most heads have none or one of them.
pub(super) fn remove_all(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Removes the hop-by-hop fields of an answer; an upstream may nominate what it likes. Returns
/// what it nominated, for the trailers.
pub(super) fn strip_answer(headers: &mut HeaderMap) -> Vec<HeaderName> {
    let nominated: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !is_end_to_end(name.as_str()))
        .collect();
    remove_hop(headers, &nominated);
    nominated
}

/// Trailers that may cross: nothing that frames, routes or authenticates (RFC 9110 section 6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_all(trailers, |name| {
        is_of_one_hop(name.as_str())
            || is_end_to_end(name.as_str())
            || *name == TRAILER
            || claims_certificate(name)
            || matches!(
                name.as_str(),
                "set-cookie"
                    | "content-type"
                    | "content-encoding"
                    | "content-range"
                    | "www-authenticate"
            )
    });
}

/// Says that the sender takes trailers; the one value of TE that may cross.
pub(super) fn accept_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONNECTION, HeaderValue::from_static("te"));
}

#[cfg(test)]
mod tests;
