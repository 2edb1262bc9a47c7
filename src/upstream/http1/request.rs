//! A request head as bytes (RFC 9112 section 3).

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Method};

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// After so many bytes; the head has the Content-Length.
    Length(u64),
    /// By the last chunk.
    Chunked,
}

/// The head of a request for `target` in origin-form. `fields` hold none of another hop;
/// `Transfer-Encoding` is added here and nowhere else.
pub fn request_head<'a>(
    method: &Method,
    target: &str,
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    framing: Framing,
) -> Bytes {
    const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";
    // Room for most heads, and of a size that allocators have at hand.
    let mut head = Vec::with_capacity(1024);
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(&mut head, fields);
    if framing == Framing::Chunked {
        head.extend_from_slice(CHUNKED);
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// Field lines; names and values hold nothing that could end one early.
pub(super) fn write_fields<'a>(
    out: &mut Vec<u8>,
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_head_is_its_line_its_fields_and_an_empty_line() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("a.example"));
        headers.append("x", HeaderValue::from_static("1"));
        headers.append("x", HeaderValue::from_static(""));
        let head = |framing| request_head(&Method::GET, "/p?q", headers.iter(), framing);
        let fields = "GET /p?q HTTP/1.1\r\nhost: a.example\r\nx: 1\r\nx: \r\n";
        assert_eq!(head(Framing::Empty), format!("{fields}\r\n"));
        assert_eq!(head(Framing::Length(3)), format!("{fields}\r\n"));
        assert_eq!(head(Framing::Chunked), format!("{fields}transfer-encoding: chunked\r\n\r\n"));
    }
}
