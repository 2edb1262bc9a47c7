//! An upstream's bytes in answer to a request, up to the FIN behind them: heads, framing, body and
//! trailers, by Bowline's parser. What it makes of them is compared with what a plain reading of
//! the whole gives, and must be the same however the bytes are cut.

use std::task::Poll;

use bowline::upstream::http1::AnswerError;
use bowline::upstream::http1::fuzzing::{Content, Heads, is_interim};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use crate::pieces::pieces;

/// Reads `data` as an answer.
pub fn check(data: &[u8]) {
    content(data);
}

/// The content of the answer in `data`, if that is whole. The first byte picks the request's method,
/// `H` for HEAD and `G` for GET; the rest is the upstream's.
pub fn content(data: &[u8]) -> Option<Vec<u8>> {
    let (first, data) = data.split_first()?;
    let method = if first % 2 == 0 { Method::HEAD } else { Method::GET };
    let answer = read(&method, [data].into_iter());
    // Byte by byte, or the cost of a long one grows with its square.
    assert_eq!(answer, read(&method, data.chunks(1 + data.len() / 512)), "in equal pieces");
    assert_eq!(answer, read(&method, pieces(data)), "in unequal pieces");
    let lines = data.split_inclusive(|byte| *byte == b'\n');
    assert_eq!(answer, read(&method, lines), "line by line");

    let mut left = data;
    for head in &answer.heads {
        is_single(&head.headers);
        assert!(head.version == Version::HTTP_11 || !head.headers.contains_key(TRANSFER_ENCODING));
        left = behind_fields(behind_empty_lines(left)).expect("a head has an end");
    }
    let body = answer.body?;
    let head = answer.heads.last().expect("a body has a head");
    assert!(body.content.len() <= left.len(), "more content than came");
    let told = |name| head.headers.get(name).map(|value| value.as_bytes());
    let expected = if method == Method::HEAD
        || head.status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status)
    {
        Some((Vec::new(), left))
    } else if told(TRANSFER_ENCODING).is_some() {
        let chunks = chunks(left);
        // It refuses more than the plain reading does, and takes nothing that this does not.
        assert!(chunks.is_some() || body.end != End::Whole, "chunks that are none");
        chunks.filter(|_| body.end == End::Whole)
    } else if let Some(length) = told(CONTENT_LENGTH) {
        let length = std::str::from_utf8(length).expect("digits").parse::<u64>().expect("64 bits");
        let length = usize::try_from(length).expect("an address has 64 bits");
        left.split_at_checked(length).map(|(content, rest)| (content.to_vec(), rest))
    } else {
        Some((left.to_vec(), &[][..]))
    };
    let Some((content, rest)) = expected else {
        assert_ne!(body.end, End::Whole, "half an answer passed for a whole one");
        return None;
    };
    assert_eq!(body.end, End::Whole);
    assert_eq!(body.content, content);
    assert_eq!(body.rest, rest, "not the unread tail");
    Some(content)
}

/// What was made of an answer.
#[derive(Debug, PartialEq)]
struct Answer {
    /// Up to the first that is final, or is none.
    heads: Vec<Head>,
    /// Behind the final one. Why there is none may depend on the reads: only what may be whole is
    /// parsed, and so a FIN may come before the verdict.
    body: Option<Body>,
}

#[derive(Debug, PartialEq)]
struct Head {
    status: StatusCode,
    version: Version,
    reason: Option<Vec<u8>>,
    headers: HeaderMap,
}

#[derive(Debug, PartialEq)]
struct Body {
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: End,
    /// What came behind it.
    rest: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum End {
    Whole,
    /// The FIN came first.
    Cut,
    Malformed,
}

/// Reads an answer to `method` that comes in these pieces, a FIN behind them.
fn read<'a>(method: &Method, mut coming: impl Iterator<Item = &'a [u8]>) -> Answer {
    let mut from = Heads::new(method.clone());
    let mut heads = Vec::new();
    loop {
        match from.take() {
            Ok(Some(head)) => {
                heads.push(Head::new(&head));
                if !is_interim(&head) {
                    break;
                }
            }
            Ok(None) => match coming.next() {
                Some(piece) => from.read(piece),
                None => return Answer { heads, body: None },
            },
            Err(what) => {
                assert!(!what.is_empty(), "a refusal without a reason");
                return Answer { heads, body: None };
            }
        }
    }
    let body = Some(Body::read(from.into_content(), coming));
    Answer { heads, body }
}

impl Head {
    fn new(head: &Response<()>) -> Self {
        Self {
            status: head.status(),
            version: head.version(),
            reason: head.extensions().get().map(|reason: &ReasonPhrase| reason.as_bytes().to_vec()),
            headers: head.headers().clone(),
        }
    }
}

impl Body {
    fn read<'a>(mut from: Content, mut coming: impl Iterator<Item = &'a [u8]>) -> Self {
        let length = from.length();
        let (mut content, mut trailers) = (Vec::new(), None);
        let end = loop {
            match from.poll_frame() {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        assert!(!data.is_empty(), "a frame of nothing");
                        assert_eq!(trailers, None, "content behind the trailers");
                        content.extend_from_slice(&data);
                    }
                    Err(frame) => {
                        assert_eq!(trailers, None, "two trailer sections");
                        trailers = frame.into_trailers().ok();
                    }
                },
                Poll::Ready(None) => break End::Whole,
                Poll::Ready(Some(Err(AnswerError::Malformed(what)))) => {
                    assert!(!what.is_empty(), "a refusal without a reason");
                    break End::Malformed;
                }
                Poll::Ready(Some(Err(other))) => panic!("there is no socket: {other}"),
                Poll::Pending => match coming.next() {
                    Some(piece) => from.read(piece),
                    None if from.is_until_close() => break End::Whole,
                    None => break End::Cut,
                },
            }
        };
        assert_eq!(from.is_over(), end == End::Whole && !from.is_until_close());
        if from.is_over() {
            assert!(matches!(from.poll_frame(), Poll::Ready(None)), "a frame behind the last");
        }
        if let Some(length) = length {
            assert_eq!(content.len() as u64 == length, end == End::Whole, "not as long as told");
        }
        // Where the reader stopped in what is wrong, or half, is its own affair.
        let rest = match end {
            End::Whole => [from.rest(), &coming.collect::<Vec<_>>().concat()].concat(),
            _ => Vec::new(),
        };
        Self { content, trailers, end, rest }
    }
}

/// Whoever gets this head reads one framing in it.
fn is_single(headers: &HeaderMap) {
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
    assert!(codings.len() + lengths.len() <= 1, "two framings: {codings:?} {lengths:?}");
    for coding in codings {
        assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked"), "{coding:?}");
    }
    for length in lengths {
        let digits = length.as_bytes();
        assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{length:?}");
    }
    for value in headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)), "{value:?}");
    }
}

fn behind_empty_lines(mut data: &[u8]) -> &[u8] {
    while let Some(rest) = data.strip_prefix(b"\r\n").or(data.strip_prefix(b"\n")) {
        data = rest;
    }
    data
}

/// What follows the first empty line.
fn behind_fields(data: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line == b"\r\n" || line == b"\n" {
            return data.get(at..);
        }
    }
    None
}

/// The content of chunks and what follows them, by the letter of RFC 9112 section 7.1 but for
/// extensions, which may be anything.
fn chunks(mut data: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    loop {
        let line = data.split_inclusive(|byte| *byte == b'\n').next()?;
        data = &data[line.len()..];
        let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?.split(|b| *b == b';').next()?);
        let size = line.ok()?.trim_end_matches([' ', '\t']);
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some((content, behind_fields(data)?));
        }
        let (chunk, rest) = data.split_at_checked(size)?;
        content.extend_from_slice(chunk);
        data = rest.strip_prefix(b"\r\n")?;
    }
}
