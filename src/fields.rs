//! Header fields that are lists (RFC 9110 section 5.6.1).

use http::HeaderMap;
use http::header::HeaderName;

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

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
