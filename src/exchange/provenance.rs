//! What trusted proxies in front say of a request: who asked, by which scheme, for which host. Lists
//! are read from the right, where the nearest proxy has written, and no further than there are
//! trusted proxies: what stands left of that, anybody may have written.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use crate::guard::origin::{Asked, Scheme};
use crate::plan::Networks;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How far trusted proxies lead back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The first address from the right that is no trusted proxy's; the last proxy's own where that
    /// names nobody.
    pub(super) client: IpAddr,
    /// The client's port; 0 when nobody says it.
    pub(super) port: u16,
    /// Trusted proxies passed, the peer among them; none when the peer is not one.
    hops: usize,
}

impl Walk {
    /// Walks from `peer` to the client.
    pub(super) fn new(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> Self {
        if !trusted.contains(peer) {
            Self { client: peer, port: 0, hops: 0 }
        } else if speaks_x(headers) {
            Self::along(peer, trusted, elements(headers, &X_FORWARDED_FOR).map(address))
        } else {
            let named = |element| address(parameter(element, b"for")?.as_slice());
            Self::along(peer, trusted, quoted_elements(headers).map(named))
        }
    }

    fn along(
        peer: IpAddr,
        trusted: &Networks,
        mut said: impl Iterator<Item = Option<(IpAddr, u16)>>,
    ) -> Self {
        let mut walk = Self { client: peer, port: 0, hops: 0 };
        while trusted.contains(walk.client) {
            walk.hops = walk.hops.saturating_add(1);
            // One that is no address names nobody; to pass over it would believe what stands left.
            let Some((next, port)) = said.next().flatten() else { break };
            walk.client = next.to_canonical();
            walk.port = port;
        }
        walk
    }

    /// The request as its client made it, as the trusted proxy next to the client has it. The scheme
    /// is unknown when no proxy says it, for any of them may have ended TLS; `host` is what the
    /// request itself says.
    pub(super) fn asked(self, headers: &HeaderMap, host: &str) -> Asked {
        let (proto, said) = if speaks_x(headers) {
            (
                self.outermost(elements(headers, &X_FORWARDED_PROTO)).map(<[u8]>::to_vec),
                self.outermost(elements(headers, &X_FORWARDED_HOST)).map(<[u8]>::to_vec),
            )
        } else {
            let element = self.outermost(quoted_elements(headers));
            let parameter = |name| element.and_then(|element| parameter(element, name));
            (parameter(b"proto"), parameter(b"host"))
        };
        let authority = said
            .filter(|said| !said.is_empty())
            .map_or_else(|| host.to_owned(), |said| String::from_utf8_lossy(&said).into_owned());
        Asked { scheme: proto.and_then(|proto| scheme(&proto)), authority }
    }

    /// Of a list that each proxy may have added to, what the one next to the client wrote.
    fn outermost<'a>(self, said: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
        said.take(self.hops).last()
    }
}

/// Proxies that know only the older fields let a client's `Forwarded` pass. So it counts only where
/// none of the older ones is there.
fn speaks_x(headers: &HeaderMap) -> bool {
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// The elements of a list over all its lines, the last one first. By bytes: one that is not ASCII
/// must hide no other.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + 'a {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// The elements of `Forwarded` (RFC 7239 section 4), the last one first.
fn quoted_elements(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(FORWARDED).iter().rev();
    lines.flat_map(|line| FromRight { left: Some(line.as_bytes()), separator: b',' })
}

/// The one value of a parameter of an element, without its quotes.
fn parameter(element: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut values = FromRight { left: Some(element), separator: b';' }.filter_map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let is_it = halves.next()?.eq_ignore_ascii_case(name);
        is_it.then(|| halves.next()).flatten()
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let Some(quoted) = value.strip_prefix(b"\"") else { return Some(value.to_vec()) };
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.strip_suffix(b"\"")?.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
    }
    Some(plain)
}

/// The parts of a text between separators that stand in no quoted string, from the right: a quote that
/// somebody left open further left cannot swallow what a proxy has appended.
struct FromRight<'a> {
    left: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.left?;
        let mut quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            let (before, rest) = text.split_at_checked(at)?;
            if *byte == b'"' {
                let escapes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
                quoted ^= escapes.is_multiple_of(2);
            } else if *byte == self.separator && !quoted {
                self.left = Some(before);
                return rest.get(1..).map(<[u8]>::trim_ascii);
            }
        }
        self.left = None;
        Some(text.trim_ascii())
    }
}

/// An address, with or without a port; IPv6 with a port has brackets (RFC 7239 section 6). What is
/// hidden (`unknown`, `_a`) is none.
fn address(said: &[u8]) -> Option<(IpAddr, u16)> {
    let said = std::str::from_utf8(said).ok()?;
    if let Ok(address) = said.parse() {
        return Some((address, 0));
    }
    let (bare, behind) = match said.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => said.split_once(':')?,
    };
    // A port may be hidden too (`_a`).
    let port = behind.trim_start_matches(':').parse().unwrap_or(0);
    let address = bare.parse::<IpAddr>().ok();
    address.filter(|address| address.is_ipv6() == said.starts_with('[')).map(|ip| (ip, port))
}

fn scheme(said: &[u8]) -> Option<Scheme> {
    let is = |name: &[u8]| said.eq_ignore_ascii_case(name);
    if is(b"https") || is(b"wss") {
        Some(Scheme::Https)
    } else if is(b"http") || is(b"ws") {
        Some(Scheme::Http)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
