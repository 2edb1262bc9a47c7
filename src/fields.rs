//! Header fields that are lists (RFC 9110 section 5.6.1), and cookies (RFC 6265 section 5.4).

use http::HeaderMap;
use http::header::{COOKIE, HeaderName};

/// The elements of a comma-separated field over all its lines, order kept, empty ones left out.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + 'a {
    headers
        .get_all(name)
        .iter()
        // By bytes: one that is not text spoils its own element, not the whole line, and stands
        // for an element that equals nothing.
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|token| std::str::from_utf8(token.trim_ascii()).unwrap_or("\u{fffd}"))
        .filter(|token| !token.is_empty())
}

/// The values of every cookie of this name that a client sent, in its order.
pub(crate) fn cookies<'a>(
    headers: &'a HeaderMap,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    let pairs = headers.get_all(COOKIE).iter();
    pairs.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(move |pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.trim_ascii_end())
    })
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
