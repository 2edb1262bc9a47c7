//! Credentials that a server binds to a connection instead of a request (NTLM, Negotiate; RFC 4559
//! section 6). Such a connection is nobody else's: kept for the next request of whomever, it would be
//! answered as the first client.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// Whether a field, a challenge or credentials, is of such a scheme.
pub(super) fn is_bound(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    values.any(|value| value.split(|byte| *byte == b',').any(|one| begins_so(one.trim_ascii())))
}

fn begins_so(challenge: &[u8]) -> bool {
    let scheme = challenge.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    #[test]
    fn two_schemes_are_bound_to_their_connection_in_any_line_and_case() {
        for (lines, bound) in [
            (&["NTLM"][..], true),
            (&["Basic realm=\"a\"", "negotiate"], true),
            (&["Basic realm=\"a\", NTLM TlRMTVNTUAAB"], true),
            (&["Bearer realm=\"ntlm\""], false),
            (&["Basic realm=\"a\""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(line));
            }
            assert_eq!(is_bound(&headers, &WWW_AUTHENTICATE), bound, "{lines:?}");
        }
    }
}
