//! Who the request came from, told to the upstream: `X-Forwarded-*`, `Forwarded` (RFC 7239), Via.
//! A client's own copies are dropped unless it is a trusted proxy.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::header::{FORWARDED, HeaderName, VIA};
use http::{HeaderMap, HeaderValue, Version};

use super::hygiene::remove_all;
use super::identity::{Identity, claims_certificate};
use super::outbound_fields::OutboundFields;
use super::provenance::{Walk, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::config;
use crate::guard::origin::{Asked, Scheme};
use crate::plan::{Networks, Plan};
use crate::proxy_protocol::Ends;

/// The sender of a connection's requests; made once a connection.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// The other end of the TCP connection.
    pub(super) peer: SocketAddr,
    /// Whether the connection is TLS.
    pub(super) tls: bool,
    /// Whether a proxy in front may have ended TLS, and did not say so.
    scheme_unknown: bool,
    /// What the client reached, where that is known.
    reached: Option<SocketAddr>,
    /// Its address as a field's value.
    address: HeaderValue,
    /// Who it has proved to be; `None` where it was not asked for a certificate.
    identity: Option<Rc<Identity>>,
}

impl Sender {
    /// Notes a connection's two ends.
    pub(super) fn new(
        peer: SocketAddr,
        reached: Option<SocketAddr>,
        tls: bool,
        scheme_unknown: bool,
    ) -> Self {
        let ip = peer.ip().to_canonical();
        let peer = SocketAddr::new(ip, peer.port());
        let address = value(ip);
        Self { peer, tls, scheme_unknown, reached, address, identity: None }
    }

    /// Both ends of the client's own connection. Behind trusted proxies its port may be unknown, and so is
    /// what it reached there: told is what the nearest of them reached here.
    pub(super) fn ends(&self, headers: &HeaderMap, trusted: &Networks) -> Ends {
        let source = if trusted.contains(self.peer.ip()) {
            let walk = Walk::new(self.peer.ip(), headers, trusted);
            SocketAddr::new(walk.client, walk.port)
        } else {
            self.peer
        };
        // The header has no word for an unknown one.
        let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Ends { source, destination: self.reached.unwrap_or(unknown) }
    }

    /// Notes who the other end has proved to be.
    pub(super) fn identified(self, identity: Option<Box<Identity>>) -> Self {
        Self { identity: identity.map(Rc::from), ..self }
    }

    /// The subject of the certificate that the other end has shown.
    pub(super) fn subject(&self) -> Option<&Arc<str>> {
        self.identity.as_ref()?.subject()
    }

    /// The client's address: the peer's, or what trusted proxies say.
    pub(super) fn client(&self, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
        Walk::new(self.peer.ip(), headers, trusted).client
    }

    /// The request as its client made it; `host` is its own Host.
    pub(super) fn asked(&self, headers: &HeaderMap, host: &str, trusted: &Networks) -> Asked {
        if trusted.contains(self.peer.ip()) {
            return Walk::new(self.peer.ip(), headers, trusted).asked(headers, host);
        }
        let scheme = (!self.scheme_unknown).then(|| self.scheme());
        Asked { scheme, authority: host.to_owned() }
    }

    /// Whether the client itself came over TLS: here, or at a trusted proxy in front.
    pub(super) fn is_secure(&self, headers: &HeaderMap, trusted: &Networks) -> bool {
        let scheme = self.asked(headers, "", trusted).scheme;
        scheme.map_or(self.tls, |scheme| scheme == Scheme::Https)
    }

    /// Sets the forwarding headers of a request to `authority`.
    pub(super) fn apply(
        &self,
        fields: &mut OutboundFields,
        authority: &str,
        kind: config::Forwarded,
        trusted: &Networks,
    ) {
        if !trusted.contains(self.peer.ip()) {
            drop_forged(&mut fields.said);
        }
        if let Some(identity) = &self.identity {
            // What was asked here is answered here: no proxy in front speaks for another client.
            remove_all(&mut fields.said, claims_certificate);
            identity.fields().for_each(|(name, value)| fields.add(name, value));
        }
        let (x, rfc7239) = match kind {
            config::Forwarded::Both => (true, true),
            config::Forwarded::XForwarded => (true, false),
            config::Forwarded::Rfc7239 => (false, true),
            config::Forwarded::None => (false, false),
        };
        if x {
            fields.append(X_FORWARDED_FOR, self.address.clone());
            let said = fields.or_add(X_FORWARDED_PROTO, || {
                Some(HeaderValue::from_static(self.scheme().as_str()))
            });
            // Some proxies say `ws`; frameworks know two schemes.
            match said {
                Some(proto) if proto.as_bytes().eq_ignore_ascii_case(b"ws") => {
                    *proto = HeaderValue::from_static("http");
                }
                Some(proto) if proto.as_bytes().eq_ignore_ascii_case(b"wss") => {
                    *proto = HeaderValue::from_static("https");
                }
                _ => {}
            }
            fields.or_add(X_FORWARDED_HOST, || HeaderValue::from_str(authority).ok());
        }
        if rfc7239 && let Some(element) = self.element(authority) {
            fields.append(FORWARDED, element);
        }
    }

    fn scheme(&self) -> Scheme {
        if self.tls { Scheme::Https } else { Scheme::Http }
    }

    fn element(&self, authority: &str) -> Option<HeaderValue> {
        let mut element = String::with_capacity(64 + authority.len());
        // RFC 7239 section 6: IPv6 is bracketed and therefore quoted.
        let (open, close) = if self.peer.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let address = self.address.to_str().unwrap_or("unknown");
        write!(element, "for={open}{address}{close};proto={}", self.scheme().as_str()).ok();
        if !authority.is_empty() {
            // A host with a port or brackets is no token: always quote. An authority that passed
            // the head's check holds no quote and no backslash.
            write!(element, ";host=\"{authority}\"").ok();
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(element)).ok()
    }
}

/// An address as a field's value. It is made for every connection, and the standard library's way to
/// write a number costs more than all the rest of it.
fn value(ip: IpAddr) -> HeaderValue {
    let value = match ip {
        IpAddr::V4(ip) => {
            let mut text = Vec::with_capacity("255.255.255.255".len());
            for octet in ip.octets() {
                if !text.is_empty() {
                    text.push(b'.');
                }
                let digits = [octet / 100, octet / 10 % 10, octet % 10];
                let leading = digits.iter().take(2).take_while(|digit| **digit == 0).count();
                text.extend(digits.into_iter().skip(leading).map(|digit| b'0' + digit));
            }
            HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        }
        IpAddr::V6(ip) => HeaderValue::try_from(ip.to_string()),
    };
    value.unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Adds Bowline to Via (RFC 9110 section 7.6.3).
pub(super) fn pass_via(fields: &mut OutboundFields, received: Version, plan: &Plan) {
    let element = match received {
        Version::HTTP_10 => {
            HeaderValue::try_from([b"1.0 ", plan.pseudonym.as_bytes()].concat()).ok()
        }
        Version::HTTP_2 => {
            HeaderValue::try_from([b"2.0 ", plan.pseudonym.as_bytes()].concat()).ok()
        }
        _ => Some(plan.via.clone()),
    };
    if let Some(element) = element {
        fields.append(VIA, element);
    }
}

fn drop_forged(headers: &mut HeaderMap) {
    remove_all(headers, claims_origin);
}

/// Names that tell an application who the client is or what it asked for, behind `x-`.
const X_CLAIMS: [&[u8]; 8] = [
    b"real-ip",
    b"client-ip",
    b"cluster-client-ip",
    b"originating-ip",
    b"original-forwarded-for",
    b"remote-user",
    // Some frameworks route by these instead of the path that was guarded.
    b"original-url",
    b"rewrite-url",
];

/// The same without `x-`.
const CLAIMS: [&[u8]; 6] = [
    b"forwarded",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"client-ip",
    b"fastly-client-ip",
    b"remote-user",
];

/// Whether a field is one that only a proxy in front may say, in one of the spellings that frameworks
/// take for it (`X_Forwarded_For`, `X.Forwarded.For`).
fn claims_origin(field: &HeaderName) -> bool {
    if claims_certificate(field) {
        return true;
    }
    let begins = |name: &[u8], wanted: &[u8]| {
        name.len() >= wanted.len()
            && name.iter().zip(wanted).all(|(byte, wanted)| match *wanted {
                b'-' => matches!(byte, b'-' | b'_' | b'.'),
                wanted => *byte == wanted,
            })
    };
    let is = |name: &[u8], wanted: &[u8]| name.len() == wanted.len() && begins(name, wanted);
    match field.as_str().as_bytes() {
        [b'x', b'-' | b'_' | b'.', rest @ ..] => {
            // Forwarded is a family (-For, -Port, -Prefix ...), the others are names.
            begins(rest, b"forwarded") || X_CLAIMS.iter().any(|claim| is(rest, claim))
        }
        name @ [b'f' | b't' | b'c' | b'r', ..] => CLAIMS.iter().any(|claim| is(name, claim)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
