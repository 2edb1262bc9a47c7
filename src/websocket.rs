//! Words of RFC 6455 that both ends of a handshake share.

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 section 4.2.2).
pub(crate) fn accept_of(key: &[u8]) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A key that nobody has had before; `None` without randomness.
pub(crate) fn fresh_key() -> Option<String> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).ok()?;
    Some(BASE64.encode(&key))
}

/// Whether `key` is 16 bytes in base64 (RFC 6455 section 4.1).
pub(crate) fn is_key(key: &[u8]) -> bool {
    let mut decoded = [0; 18];
    key.len() == 24 && BASE64.decode_mut(key, &mut decoded).is_ok_and(|length| length == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_of_the_rfcs_own_example_is_the_rfcs() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64_and_nothing_else() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZWE=",
            "dGhlIHNhbXBsZSBub25j",
            "!GhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ== ",
        ] {
            assert!(!is_key(bad.as_bytes()), "{bad}");
        }
    }
}
