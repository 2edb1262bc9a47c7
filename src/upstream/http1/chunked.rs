//! Chunked transfer coding of an answer (RFC 9112 section 7.1): bytes in, data out, no IO.

use bytes::{Buf, Bytes};
use http::HeaderMap;
use httparse::Status;

use super::answer::{MAX_FIELDS, header_map};

/// A chunk's size with its extensions is a line of this length at most.
const MAX_LINE: usize = 4096;

/// A trailer section may be so long.
const MAX_TRAILERS: usize = 16 * 1024;

/// What comes next.
#[derive(Debug, Default)]
pub(super) enum Chunked {
    /// A chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The end of a chunk's line.
    DataEnd,
    /// Trailers, or the empty line.
    Trailers,
    /// The empty line behind trailers was taken: nothing.
    Over,
}

/// What was found at the start of the input, and taken from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Content.
    Data(Bytes),
    /// Fields behind the content; the body is over.
    Trailers(HeaderMap),
    /// The body is over.
    Over,
    /// Nothing whole yet.
    More,
}

impl Chunked {
    /// Takes the next piece from `input`, which holds what came and was not taken yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn take(&mut self, input: &mut Bytes) -> Result<Piece, &'static str> {
        loop {
            match *self {
                Self::Size => {
                    let Some(size) = size(input)? else { return Ok(Piece::More) };
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(left) if input.is_empty() => {
                    *self = Self::Data(left);
                    return Ok(Piece::More);
                }
                Self::Data(left) => {
                    let data = take(input, left);
                    *self = match left.saturating_sub(data.len() as u64) {
                        0 => Self::DataEnd,
                        left => Self::Data(left),
                    };
                    return Ok(Piece::Data(data));
                }
                Self::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::Size;
                    }
                    None if input.is_empty() || &input[..] == b"\r" => return Ok(Piece::More),
                    _ => return Err("a chunk of the upstream's answer is longer than it said"),
                },
                Self::Trailers => return self.take_trailers(input),
                Self::Over => return Ok(Piece::Over),
            }
        }
    }

    fn take_trailers(&mut self, input: &mut Bytes) -> Result<Piece, &'static str> {
        if input.starts_with(b"\r\n") {
            input.advance(2);
            *self = Self::Over;
            return Ok(Piece::Over);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(input, &mut fields) {
            Ok(Status::Complete((length, fields))) if length <= MAX_TRAILERS => {
                let trailers = header_map(input, fields)?;
                input.advance(length);
                *self = Self::Over;
                Ok(Piece::Trailers(trailers))
            }
            Ok(Status::Partial) if input.len() < MAX_TRAILERS => Ok(Piece::More),
            _ => Err("the trailers of the upstream's answer are none"),
        }
    }
}

/// At most `left` bytes from the front of `input`.
pub(super) fn take(input: &mut Bytes, left: u64) -> Bytes {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    input.split_to(length)
}

/// Takes a chunk's size with the rest of its line; `None` while the line is not whole.
fn size(input: &mut Bytes) -> Result<Option<u64>, &'static str> {
    const WRONG: &str = "a chunk of the upstream's answer has no size";
    match httparse::parse_chunk_size(input) {
        Ok(Status::Complete((length, size))) if length <= MAX_LINE => {
            let line = input.split_to(length);
            // httparse takes an empty size for 0, and a bare LF in an extension for a part of it.
            let line = line.strip_suffix(b"\r\n").unwrap_or_default();
            if !line.first().is_some_and(u8::is_ascii_hexdigit) || line.contains(&b'\n') {
                return Err(WRONG);
            }
            Ok(Some(size))
        }
        Ok(Status::Partial) if input.len() < MAX_LINE => Ok(None),
        _ => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` decodes to when it comes in pieces of `step` bytes, and what is left of it.
    fn decoded(
        text: &str,
        step: usize,
    ) -> Result<(String, Option<HeaderMap>, String), &'static str> {
        let (mut chunked, mut input, mut content) = (Chunked::default(), Bytes::new(), Vec::new());
        let mut coming = text.as_bytes().chunks(step);
        loop {
            match chunked.take(&mut input)? {
                Piece::Data(data) => content.extend_from_slice(&data),
                Piece::More => match coming.next() {
                    Some(next) => input = [&input, next].concat().into(),
                    None => return Err("unfinished"),
                },
                end => {
                    let trailers = match end {
                        Piece::Trailers(trailers) => Some(trailers),
                        _ => None,
                    };
                    assert_eq!(chunked.take(&mut input), Ok(Piece::Over));
                    let rest =
                        [&input[..], &coming.flatten().copied().collect::<Vec<_>>()].concat();
                    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                    return Ok((text(content), trailers, text(rest)));
                }
            }
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let text = "3\r\nabc\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\n\r\nnext";
        for step in 1..=text.len() {
            let (content, trailers, rest) = decoded(text, step).unwrap();
            assert_eq!((content.as_str(), rest.as_str()), ("abc0123456789", "next"), "{step}");
            assert_eq!(trailers, None);
        }
    }

    #[test]
    fn trailers_are_read_however_they_are_cut() {
        let text = "1\r\na\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n";
        for step in 1..=text.len() {
            let (content, trailers, rest) = decoded(text, step).unwrap();
            let trailers = trailers.unwrap();
            assert_eq!((content.as_str(), rest.as_str()), ("a", ""));
            assert_eq!(
                (&trailers["x-sum"], &trailers["y"]),
                (&"1".parse().unwrap(), &"".parse().unwrap())
            );
        }
    }

    #[test]
    fn what_could_be_read_in_another_way_is_refused() {
        for text in [
            "\r\n",
            "\r\n0\r\n\r\n",
            " 0\r\n\r\n",
            ";x\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "-3\r\nabc",
            "+3\r\nabc",
            "3 3\r\nabc",
            "3;a\nb\r\nabc\r\n0\r\n\r\n",
            "3;a\rb\r\nabc\r\n0\r\n\r\n",
            "3\nabc\n0\n\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "10000000000000000\r\n",
            "g\r\n",
            "0\r\n folded: 1\r\n\r\n",
            "0\r\nno field\r\n\r\n",
        ] {
            let read = decoded(text, text.len());
            assert!(read.as_ref().is_err_and(|why| *why != "unfinished"), "{text:?}: {read:?}");
        }
    }

    #[test]
    fn lines_and_trailers_without_end_are_refused() {
        let line = format!("1;{}", "x".repeat(MAX_LINE));
        let trailers = format!("0\r\nX: {}", "x".repeat(MAX_TRAILERS));
        let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS + 1));
        for text in [line, trailers, many] {
            assert!(decoded(&text, 1024).is_err_and(|why| why != "unfinished"));
        }
    }

    // Found while the fuzz target `answer` was written: what came at once was never measured.
    #[test]
    fn too_long_a_line_or_trailer_section_is_refused_however_it_is_cut() {
        let line = |length: usize| format!("0;{}\r\n\r\n", "x".repeat(length - "0;\r\n".len()));
        let trailers =
            |length: usize| format!("0\r\nX: {}\r\n\r\n", "x".repeat(length - "X: \r\n\r\n".len()));
        for (longest, longer) in [
            (line(MAX_LINE), line(MAX_LINE + 1)),
            (trailers(MAX_TRAILERS), trailers(MAX_TRAILERS + 1)),
        ] {
            for step in [64, longest.len(), longer.len()] {
                assert!(decoded(&longest, step).is_ok(), "{step}");
                assert!(decoded(&longer, step).is_err_and(|why| why != "unfinished"), "{step}");
            }
        }
    }

    #[test]
    fn the_largest_size_is_no_overflow() {
        let (mut chunked, mut input) = (Chunked::default(), Bytes::from("ffffffffffffffff\r\nabc"));
        assert_eq!(chunked.take(&mut input), Ok(Piece::Data("abc".into())));
        assert_eq!(chunked.take(&mut input), Ok(Piece::More));
    }
}
