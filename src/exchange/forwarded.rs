//! Who the request came from, told to the upstream: `X-Forwarded-*`, `Forwarded` (RFC 7239), Via.
//! A client's own copies are dropped unless it is a trusted proxy.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderName, VIA};
use http::{HeaderMap, HeaderValue, Version};

use crate::config;
use crate::plan::TrustedProxies;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The sender of a connection's requests; made once a connection.
#[derive(Debug)]
pub(super) struct Origin {
    /// The other end of the TCP connection.
    pub(super) peer: SocketAddr,
    /// Whether the connection is TLS.
    pub(super) tls: bool,
    address: HeaderValue,
    element: String,
}

impl Origin {
    /// Notes a connection's other end.
    pub(super) fn new(peer: SocketAddr, tls: bool) -> Self {
        let ip = peer.ip().to_canonical();
        let proto = if tls { "https" } else { "http" };
        let node = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            // RFC 7239 section 6: IPv6 is bracketed and therefore quoted.
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        Self {
            peer: SocketAddr::new(ip, peer.port()),
            tls,
            address: HeaderValue::from_str(&ip.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            element: format!("for={node};proto={proto}"),
        }
    }

    /// The client's address: the peer's, or what trusted proxies say, walked right to left until
    /// the first address that is not one of them.
    pub(super) fn client(&self, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
        let mut client = self.peer.ip();
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        // By bytes: an element that is not ASCII ends the walk like any that is no address; to
        // pass over its line would believe what the client itself wrote on the one before.
        let mut hops = lines
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
            .map(|hop| std::str::from_utf8(hop.trim_ascii()).ok()?.parse::<IpAddr>().ok());
        while trusted.contains(client) {
            match hops.next().flatten() {
                Some(hop) => client = hop.to_canonical(),
                None => break,
            }
        }
        client
    }

    /// Sets the forwarding headers of a request to `authority`.
    pub(super) fn apply(
        &self,
        headers: &mut HeaderMap,
        authority: &str,
        kind: config::Forwarded,
        trusted: &TrustedProxies,
    ) {
        let trusted = trusted.contains(self.peer.ip());
        if !trusted {
            drop_forged(headers);
        }
        let (x, rfc7239) = match kind {
            config::Forwarded::Both => (true, true),
            config::Forwarded::XForwarded => (true, false),
            config::Forwarded::Rfc7239 => (false, true),
            config::Forwarded::None => (false, false),
        };
        if x {
            append(headers, X_FORWARDED_FOR, &self.address);
            let proto = if self.tls { "https" } else { "http" };
            let proto = headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
            // Some proxies say `ws`; frameworks know two schemes.
            if proto.as_bytes().eq_ignore_ascii_case(b"ws") {
                *proto = HeaderValue::from_static("http");
            } else if proto.as_bytes().eq_ignore_ascii_case(b"wss") {
                *proto = HeaderValue::from_static("https");
            }
            if let Ok(host) = HeaderValue::from_str(authority) {
                headers.entry(X_FORWARDED_HOST).or_insert(host);
            }
        }
        if rfc7239 && let Some(element) = self.element(authority) {
            append(headers, FORWARDED, &element);
        }
    }

    fn element(&self, authority: &str) -> Option<HeaderValue> {
        let mut element = String::with_capacity(self.element.len() + authority.len() + 8);
        element.push_str(&self.element);
        if !authority.is_empty() {
            // A host with a port or brackets is no token: always quote. An authority that passed
            // the head's check holds no quote and no backslash.
            write!(element, ";host=\"{authority}\"").ok();
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(element)).ok()
    }
}

/// Adds Bowline to Via (RFC 9110 section 7.6.3).
pub(super) fn pass_via(headers: &mut HeaderMap, received: Version, pseudonym: &HeaderValue) {
    let version: &[u8] = if received == Version::HTTP_10 { b"1.0 " } else { b"1.1 " };
    let element = [version, pseudonym.as_bytes()].concat();
    if let Ok(element) = HeaderValue::from_maybe_shared(bytes::Bytes::from(element)) {
        append(headers, VIA, &element);
    }
}

/// One list on one line: several lines of a list field are one list.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, element.clone());
        return;
    }
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(name, list);
    }
}

fn drop_forged(headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| claims_origin(name)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Names that tell an application who the client is, and the spellings that frameworks take for
/// them (`X_Forwarded_For`, `X.Forwarded.For`).
fn claims_origin(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes() {
        [b'f', ..] => name == "forwarded",
        [b'x', b'-' | b'_' | b'.', rest @ ..] => {
            let same = |wanted: &[u8]| {
                rest.len() >= wanted.len()
                    && rest.iter().zip(wanted).all(|(byte, wanted)| match *wanted {
                        b'-' => matches!(byte, b'-' | b'_' | b'.'),
                        wanted => *byte == wanted,
                    })
            };
            // Forwarded is a family (-For, -Port, -Prefix ...), the others are names.
            let is = |wanted: &[u8]| rest.len() == wanted.len() && same(wanted);
            same(b"forwarded") || is(b"real-ip") || is(b"client-ip") || is(b"cluster-client-ip")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
