//! RFC 6455 section 4: the texts of the opening handshake, made and checked from both ends.

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// Most header fields that a message of the benchmark may have; proxies add a few of their own.
pub const MAX_FIELDS: usize = 48;

/// A client's opening request.
pub fn request(out: &mut Vec<u8>, host: &str, key: &str) {
    for part in [
        "GET /ws HTTP/1.1\r\nHost: ",
        host,
        "\r\nUser-Agent: bowline-load\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        key,
        "\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The server's answer to a request with `key`.
pub fn answer(out: &mut Vec<u8>, key: &[u8]) {
    for part in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: ",
        &accept(key),
        "\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Checks that `bytes` begin with a proper 101 for `key` and says how long it is; `None` while
/// it is not all there.
pub fn check(bytes: &[u8], key: &str) -> Result<Option<usize>, String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer to an upgrade is not HTTP: {error}")),
    };
    let code = response.code.unwrap_or_default();
    if code != 101 {
        return Err(format!("the answer to an upgrade was {code}, not 101"));
    }
    if !field(response.headers, "upgrade").is_some_and(|v| v.eq_ignore_ascii_case(b"websocket")) {
        return Err("the 101 has no Upgrade: websocket".to_owned());
    }
    if !has_token(response.headers, "connection", "upgrade") {
        return Err("the 101 has no Connection: Upgrade".to_owned());
    }
    match field(response.headers, "sec-websocket-accept") {
        Some(value) if value == accept(key.as_bytes()).as_bytes() => Ok(Some(length)),
        Some(_) => Err("the 101 has a wrong Sec-WebSocket-Accept".to_owned()),
        None => Err("the 101 has no Sec-WebSocket-Accept".to_owned()),
    }
}

/// The first field of that name (any case).
pub fn field<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Whether a list field holds a token (any case).
pub fn has_token(fields: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name))
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// RFC 6455 section 4.2.2, item 5.4.
fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(&hash.finalize())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_key_of_the_rfc_gives_the_accept_of_the_rfc() {
        assert_eq!(accept(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_answer_is_accepted_for_its_own_key_only() {
        let mut bytes = Vec::new();
        answer(&mut bytes, KEY.as_bytes());
        assert_eq!(check(&bytes, KEY), Ok(Some(bytes.len())));
        assert_eq!(check(&bytes[..40], KEY), Ok(None));
        assert!(check(&bytes, "AAAAAAAAAAAAAAAAAAAAAA==").is_err());
        assert!(check(b"HTTP/1.1 200 OK\r\n\r\n", KEY).is_err());
    }
}
