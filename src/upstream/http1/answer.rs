//! The head of an answer: parsed, and its framing made single or refused (RFC 9112 sections 4 to 6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use crate::fields::tokens;

/// Fields that a head or a trailer section may have; hyper's limit on the other side.
pub(super) const MAX_FIELDS: usize = 100;

/// How the end of an answer's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, whatever the fields say.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the FIN.
    UntilClose,
}

/// Reads one head from the start of `message`; with it, how many bytes it took. `None` while it
/// is not whole.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(message: &Bytes) -> Result<Option<(Response<()>, usize)>, &'static str> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut head, message, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err("the upstream's answer has over 100 fields");
        }
        Err(_) => return Err("the upstream's answer is not HTTP/1.1"),
    };
    let mut response = Response::new(());
    *response.status_mut() = head
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or("the upstream's answer has no status")?;
    *response.version_mut() =
        if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let reason = head.reason.unwrap_or_default();
    if !reason.is_empty() && response.status().canonical_reason() != Some(reason) {
        // What is no reason phrase is left out, as if there had been none.
        if let Ok(reason) = ReasonPhrase::try_from(message.slice_ref(reason.as_bytes())) {
            response.extensions_mut().insert(reason);
        }
    }
    *response.headers_mut() = header_map(message, head.headers)?;
    Ok(Some((response, length)))
}

/// Fields as a map whose values are slices of `message`, in which they were found.
pub(super) fn header_map(
    message: &Bytes,
    fields: &[httparse::Header<'_>],
) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(message.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err("the upstream's answer has a field that is none");
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// How the body behind an answer to `method` ends (RFC 9112 section 6.3), and makes the fields say
/// just that: a client behind us must not read them in another way.
///
/// # Errors
/// What is wrong with them.
pub(super) fn framing(method: &Method, answer: &mut Response<()>) -> Result<Framing, &'static str> {
    let said = said_framing(answer.version(), answer.headers_mut())?;
    let status = answer.status();
    let empty = *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    Ok(if empty { Framing::Empty } else { said })
}

fn said_framing(version: Version, headers: &mut HeaderMap) -> Result<Framing, &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if version == Version::HTTP_10 {
            return Err("the upstream's answer of HTTP/1.0 has a transfer coding");
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("the upstream's answer has a transfer coding other than `chunked`");
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err("the upstream's answer has both Transfer-Encoding and Content-Length");
        }
        return Ok(Framing::Chunked);
    }
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(Framing::UntilClose) };
    if lines.next().is_none()
        && let Some(length) = number(first.as_bytes())
    {
        return Ok(Framing::Length(length));
    }
    // One number that is said several times is one number.
    let mut all = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    let length = all
        .next()
        .and_then(number)
        .filter(|length| all.all(|other| number(other) == Some(*length)));
    let Some(length) = length else {
        return Err("the upstream's answer has a Content-Length that is not one number");
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(Framing::Length(length))
}

/// Digits and nothing else; `None` beyond 64 bits too.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Whether the upstream keeps the connection open behind this answer (RFC 9112 section 9.3).
pub(super) fn persists(answer: &Response<()>) -> bool {
    let headers = answer.headers();
    let says =
        |option: &str| tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(option));
    match answer.version() {
        Version::HTTP_10 => says("keep-alive") && !says("close"),
        _ => !says("close"),
    }
}

#[cfg(test)]
mod tests;
