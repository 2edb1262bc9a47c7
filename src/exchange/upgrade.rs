//! The WebSocket handshake as pure decisions: what a client asks for, parsed once into an
//! [`UpgradeRequest`], and whether an upstream's 101 answers just that (RFC 6455 section 4).

use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

use super::hygiene::ConnectionOptions;
use super::reply::Refusal;
use crate::error::Failure;
use crate::fields::{is_token, tokens};
use crate::tunnel::Extensions;
use crate::websocket;

/// A client's WebSocket handshake, whole and correct. Nothing later looks at these headers again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpgradeRequest {
    /// The key that the upstream is asked with, where the client had none to give (RFC 8441 section 5).
    key: Option<HeaderValue>,
    /// The `Sec-WebSocket-Accept` that answers its key.
    accept: String,
    /// Subprotocols offered, in the client's order.
    protocols: Vec<String>,
    /// Names of extensions offered.
    extensions: Vec<String>,
}

impl UpgradeRequest {
    /// Reads a handshake; `None` when the request is plain HTTP, `Upgrade` to anything else
    /// included (RFC 9110 section 7.8: an upgrade may be ignored).
    ///
    /// # Errors
    /// The refusal, when a WebSocket is plainly meant and the handshake is wrong.
    pub(super) fn parse(
        parts: &Parts,
        options: &ConnectionOptions,
    ) -> Result<Option<Self>, Refusal> {
        if parts.version == Version::HTTP_2 {
            return Self::extended(parts);
        }
        let headers = &parts.headers;
        let wanted = headers.contains_key(UPGRADE)
            && tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
        if parts.version != Version::HTTP_11 {
            return Ok(None);
        }
        if !wanted {
            // Some proxy in front took `Upgrade` away and left the rest.
            let meant = options.upgrade && headers.contains_key(SEC_WEBSOCKET_KEY);
            if meant && !headers.contains_key(UPGRADE) {
                return Err(bad("a WebSocket handshake without `Upgrade: websocket`"));
            }
            return Ok(None);
        }
        if !options.upgrade {
            if headers.contains_key(SEC_WEBSOCKET_KEY) {
                return Err(bad("a WebSocket handshake whose Connection lacks `upgrade`"));
            }
            return Ok(None);
        }
        if parts.method != Method::GET {
            return Err(bad("a WebSocket handshake is a GET"));
        }
        // A body in front of a tunnel is how requests are smuggled (H-2, attack 8).
        let has_body = headers.contains_key(TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
        if has_body {
            return Err(bad("a WebSocket handshake has no body"));
        }
        version(headers)?;
        let key = single(headers, &SEC_WEBSOCKET_KEY)
            .filter(|key| websocket::is_key(key.as_bytes()))
            .ok_or_else(|| bad("Sec-WebSocket-Key is not one key of 16 bytes in base64"))?;
        Self::offer(headers, None, websocket::accept_of(key.as_bytes())).map(Some)
    }

    /// Reads an extended CONNECT (RFC 8441 section 4); `None` when the request is none.
    fn extended(parts: &Parts) -> Result<Option<Self>, Refusal> {
        let headers = &parts.headers;
        let Some(protocol) = parts.extensions.get::<Protocol>() else { return Ok(None) };
        if !protocol.as_str().eq_ignore_ascii_case("websocket") {
            return Err(Refusal::new(Failure::ProtocolUnknown)
                .because("the only `:protocol` that goes on from here is websocket"));
        }
        if parts.uri.authority().is_none() {
            return Err(bad("an extended CONNECT without `:authority`"));
        }
        if headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0") {
            return Err(bad("a WebSocket handshake has no body"));
        }
        version(headers)?;
        let key = websocket::fresh_key().ok_or_else(|| Refusal::new(Failure::Internal))?;
        let accept = websocket::accept_of(key.as_bytes());
        let key = HeaderValue::try_from(key).map_err(|_| Refusal::new(Failure::Internal))?;
        Self::offer(headers, Some(key), accept).map(Some)
    }

    /// What a handshake offers.
    fn offer(
        headers: &HeaderMap,
        key: Option<HeaderValue>,
        accept: String,
    ) -> Result<Self, Refusal> {
        let protocols = protocols(headers).ok_or_else(|| {
            bad("Sec-WebSocket-Protocol is not a list of at most 128 different tokens")
        })?;
        let extensions = extensions(headers)
            .ok_or_else(|| bad("Sec-WebSocket-Extensions is not a list of extensions"))?;
        Ok(Self { key, accept, protocols, extensions })
    }

    /// Makes `headers`, hop-by-hop fields gone already, ask an upstream for this upgrade: exactly
    /// one `Upgrade`, one `Connection`.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        Self::name(headers);
        if let Some(key) = &self.key {
            // A key that a client of HTTP/2 sends all the same says nothing.
            headers.insert(SEC_WEBSOCKET_KEY, key.clone());
        }
        headers.remove(CONTENT_LENGTH);
        // Without a body there is nothing to continue with.
        headers.remove(EXPECT);
    }

    /// Checks an upstream's 101.
    ///
    /// # Errors
    /// What is wrong with it, as a clause about the 101.
    pub(super) fn check(&self, answer: &HeaderMap) -> Result<(), &'static str> {
        let mut upgrades = tokens(answer, &UPGRADE);
        let websocket =
            upgrades.next().is_some_and(|token| token.eq_ignore_ascii_case("websocket"));
        if !websocket || upgrades.next().is_some() {
            return Err("the upstream's 101 does not switch to websocket");
        }
        if !tokens(answer, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return Err("the upstream's 101 lacks `Connection: upgrade`");
        }
        if single(answer, &SEC_WEBSOCKET_ACCEPT) != Some(&self.accept) {
            return Err("the upstream's 101 has a missing, wrong or doubled Sec-WebSocket-Accept");
        }
        if answer.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            let chosen = single(answer, &SEC_WEBSOCKET_PROTOCOL);
            if !chosen.is_some_and(|chosen| self.protocols.iter().any(|offered| offered == chosen))
            {
                return Err("the upstream's 101 selects a subprotocol that was not offered");
            }
        }
        if answer.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            let chosen = single(answer, &SEC_WEBSOCKET_EXTENSIONS).and(extensions(answer));
            let offered = |name: &String| self.extensions.contains(name);
            if !chosen.is_some_and(|chosen| chosen.iter().all(offered)) {
                return Err("the upstream's 101 selects an extension that was not offered");
            }
        }
        Ok(())
    }

    /// Makes `headers` of a checked 101, hop-by-hop fields gone already, the client's 101.
    pub(super) fn answer(&self, headers: &mut HeaderMap) {
        Self::name(headers);
        headers.remove(CONTENT_LENGTH);
    }

    /// Sets the two fields that name this upgrade, once each.
    fn name(headers: &mut HeaderMap) {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }

    /// Whether it came as an extended CONNECT.
    pub(super) fn is_extended(&self) -> bool {
        self.key.is_some()
    }

    /// Whether the client offered subprotocols; a 101 without one then fails in browsers.
    pub(super) fn offers_protocols(&self) -> bool {
        !self.protocols.is_empty()
    }
}

/// What a checked 101 agreed on, as far as frames show it.
pub(super) fn agreed(answer: &HeaderMap) -> Extensions {
    match extensions(answer).as_deref() {
        Some([]) => Extensions::None,
        Some([one]) if one == "permessage-deflate" => Extensions::Deflate,
        _ => Extensions::Unknown,
    }
}

fn version(headers: &HeaderMap) -> Result<(), Refusal> {
    if single(headers, &SEC_WEBSOCKET_VERSION) == Some("13") {
        return Ok(());
    }
    Err(Refusal::new(Failure::UpgradeVersion).because("the WebSocket version is 13"))
}

fn bad(what: &'static str) -> Refusal {
    // Bytes behind a refused handshake may be frames: nothing after it is read as HTTP (H-11).
    Refusal::new(Failure::BadRequest).because(what).closing()
}

/// The value of a field that stands exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Subprotocols that one offer may name: each is compared with each, and a head has room for
/// thousands.
const MAX_PROTOCOLS: usize = 128;

/// `None` when the list is malformed; an offer names each subprotocol once (section 4.1).
fn protocols(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut protocols: Vec<String> = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for protocol in line.to_str().ok()?.split(',').map(str::trim) {
            let known = protocols.iter().any(|known| known == protocol);
            if !is_token(protocol) || known || protocols.len() >= MAX_PROTOCOLS {
                return None;
            }
            protocols.push(protocol.to_owned());
        }
    }
    Some(protocols)
}

/// The names in `Sec-WebSocket-Extensions` (section 9.1); `None` when it is malformed.
fn extensions(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        for extension in line.to_str().ok()?.split(',') {
            let mut parts = extension.split(';').map(str::trim);
            let name = parts.next().filter(|name| is_token(name))?;
            for parameter in parts {
                let (key, value) = match parameter.split_once('=') {
                    Some((key, value)) => (key.trim_end(), value.trim_start()),
                    None => (parameter, "valueless"),
                };
                // Section 9.1: what is quoted must be a token too.
                let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                if !is_token(key) || !is_token(quoted.unwrap_or(value)) {
                    return None;
                }
            }
            names.push(name.to_owned());
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests;
