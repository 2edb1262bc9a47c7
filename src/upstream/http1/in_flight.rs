//! A request in flight: it goes out and its answer's head comes in, both in one poll, so that an
//! upstream that answers before it has heard the end is heard.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Response, StatusCode};
use http_body::Body;
use tokio::io::AsyncReadExt;

use super::answer;
use super::body::{AnswerBody, Half, Source};
use super::request::Framing;
use super::upload::{Unfinished, Upload};
use super::{AnswerError, Connection, Tally};
use crate::upstream::Socket;

/// One read of a head takes at most this much; most heads are far shorter.
const READ: usize = 4096;

/// A head that is longer is none.
const MAX_HEAD: usize = 256 * 1024;

/// A request in flight on a connection.
#[derive(Debug)]
pub struct InFlight<B> {
    socket: Socket,
    tally: Option<Tally>,
    method: Method,
    upload: Upload<B>,
    /// The socket takes no more of the request, which the upstream may have answered all the same.
    broken: bool,
    /// What was read and not taken yet.
    input: BytesMut,
    /// So many bytes of it were looked at in vain.
    seen: usize,
    framing: answer::Framing,
    persists: bool,
}

impl<B: Body<Data = Bytes> + Unpin + 'static> InFlight<B> {
    /// Sends `head`, and `body` behind it, which is as long as `framing` says. Nothing happens
    /// until it is polled.
    pub fn new(
        connection: Connection,
        method: Method,
        head: Bytes,
        body: Option<B>,
        framing: Framing,
    ) -> Self {
        let Connection { socket, mut tally, preface } = connection;
        if let Some(tally) = &mut tally {
            tally.requests = tally.requests.saturating_add(1);
        }
        Self {
            socket,
            tally,
            method,
            upload: Upload::new(head, body, framing).behind(preface),
            broken: false,
            input: BytesMut::new(),
            seen: 0,
            framing: answer::Framing::Empty,
            persists: false,
        }
    }

    /// The next head that comes: interim ones (1xx) first, the answer's last.
    ///
    /// # Errors
    /// When there will be none.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, AnswerError>> {
        loop {
            if !self.broken && !self.upload.is_done() {
                match self.upload.poll(cx, &mut self.socket) {
                    Poll::Ready(Err(Unfinished::Body)) => {
                        return Poll::Ready(Err(AnswerError::RequestBroken));
                    }
                    Poll::Ready(Err(Unfinished::Socket)) => self.broken = true,
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            if let Some(head) = self.take_head().map_err(AnswerError::Malformed)? {
                return Poll::Ready(Ok(head));
            }
            ready!(self.socket.poll_read_ready(cx))?;
            self.input.reserve(READ);
            if ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))? == 0 {
                return Poll::Ready(Err(AnswerError::Ended));
            }
        }
    }

    /// The answer's head; `interim` hears the status of each that only announces it.
    ///
    /// # Errors
    /// When there will be none.
    pub async fn head(
        &mut self,
        mut interim: impl FnMut(StatusCode),
    ) -> Result<Response<()>, AnswerError> {
        loop {
            let head = poll_fn(|cx| self.poll_head(cx)).await?;
            if !is_interim(&head) {
                return Ok(head);
            }
            interim(head.status());
        }
    }

    fn take_head(&mut self) -> Result<Option<Response<()>>, &'static str> {
        let Some(mut head) = take_head(&mut self.input, &mut self.seen)? else { return Ok(None) };
        self.framing = answer::framing(&self.method, &mut head)?;
        self.persists = answer::persists(&head);
        Ok(Some(head))
    }

    /// The answer's body, behind its head. What is left of the request still goes out beside it
    /// when `uploading`, and is forgotten otherwise.
    pub fn into_body(self, uploading: bool) -> AnswerBody {
        let Self { socket, tally, mut upload, broken, input, framing, persists, .. } = self;
        let unfinished = !upload.is_done();
        let source = if unfinished && uploading && !broken {
            // A task of its own: a client may read its answer slowly, or not before it has said all.
            let (read, mut write) = socket.into_split();
            let upload = tokio::task::spawn_local(async move {
                let sent = upload.go_on(&mut write).await;
                if sent.is_ok() {
                    // A FIN would say that the client is gone.
                    write.forget();
                }
                sent
            });
            Source::Half(Half { read, upload: Some(upload) })
        } else {
            Source::Whole(socket)
        };
        AnswerBody::new(source, input.freeze(), framing, persists, tally.filter(|_| !unfinished))
    }

    /// The connection behind a 101, and what came right behind that.
    pub fn into_socket(self) -> (Socket, Bytes) {
        (self.socket, self.input.freeze())
    }
}

/// Takes a head from the start of `input`, of which the first `seen` bytes were looked at in vain;
/// `None` while it is not whole.
///
/// # Errors
/// What is wrong with it.
pub(super) fn take_head(
    input: &mut BytesMut,
    seen: &mut usize,
) -> Result<Option<Response<()>>, &'static str> {
    // Empty lines in front are nothing; left to the parser they would be looked at again and again.
    while let Some(blank) = [&b"\r\n"[..], b"\n"].iter().find(|blank| input.starts_with(blank)) {
        input.advance(blank.len());
        *seen = 0;
    }
    let in_vain = std::mem::replace(seen, input.len());
    if !may_be_whole(input, in_vain) {
        return Ok(None);
    }
    let message = std::mem::take(input).freeze();
    match answer::parse(&message)? {
        Some((head, length)) if length <= MAX_HEAD => {
            *seen = 0;
            *input = message.slice(length..).into();
            Ok(Some(head))
        }
        None if message.len() < MAX_HEAD => {
            // Nobody else holds it: not a copy.
            *input = message.into();
            Ok(None)
        }
        // Whole or not: one read may bring more than there should be.
        _ => Err("the upstream's answer has too large a head"),
    }
}

/// Whether `input` may hold a whole head, of which the first `seen` bytes were looked at in vain.
/// A head that comes byte by byte must not be parsed as often: beyond a few, only at its end.
fn may_be_whole(input: &[u8], seen: usize) -> bool {
    const FEW: usize = READ;
    if input.len() <= seen {
        return false;
    }
    let new = input.get(seen.saturating_sub(3)..).unwrap_or_default();
    input.len() <= FEW
        || input.len() >= MAX_HEAD
        || new.windows(2).any(|end| end == b"\n\n")
        || new.windows(3).any(|end| end == b"\n\r\n")
}

/// Whether a head is only the forerunner of the answer's (RFC 9110 section 15.2); a 101 is final.
pub(super) fn is_interim(head: &Response<()>) -> bool {
    head.status().is_informational() && head.status() != StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The heads of `text` that comes in pieces of `step` bytes, up to what is wrong with one.
    fn heads(text: &str, step: usize) -> Result<usize, &'static str> {
        let (mut input, mut seen, mut heads) = (BytesMut::new(), 0, 0);
        for piece in text.as_bytes().chunks(step) {
            input.extend_from_slice(piece);
            while take_head(&mut input, &mut seen)?.is_some() {
                heads += 1;
            }
        }
        Ok(heads)
    }

    #[test]
    fn heads_are_found_however_they_are_cut() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * READ));
        let text = format!("HTTP/1.1 103 Early Hints\r\n\r\n{long}");
        for step in [1, 2, 3, 5, 64, READ, text.len()] {
            assert_eq!(heads(&text, step), Ok(2), "{step}");
        }
    }

    // Found while the fuzz target `answer` was written: one that came at once was never measured.
    #[test]
    fn too_large_a_head_is_refused_however_it_is_cut() {
        let head = |length: usize| {
            let ends = "HTTP/1.1 200 OK\r\nX: \r\n\r\n";
            ends.replace("X: ", &format!("X: {}", "x".repeat(length - ends.len())))
        };
        let (largest, larger) = (head(MAX_HEAD), head(MAX_HEAD + 1));
        for step in [READ, MAX_HEAD, 2 * MAX_HEAD] {
            assert_eq!(heads(&largest, step), Ok(1), "{step}");
            assert!(heads(&larger, step).is_err(), "{step}");
        }
    }

    #[test]
    fn empty_lines_in_front_are_nothing_however_many() {
        let text = format!("{}HTTP/1.1 200 OK\r\n\r\n", "\r\n\n".repeat(100_000));
        for step in [1, 2, READ, text.len()] {
            assert_eq!(heads(&text, step), Ok(1), "{step}");
        }
    }

    // Found while the fuzz target `answer` was written: beyond the first few bytes the search for an
    // end began anew with each read, which for 200 KiB in single bytes took 19 s.
    #[test]
    fn what_was_looked_at_in_vain_is_not_looked_at_again() {
        let text = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * READ));
        let (mut input, mut seen) = (BytesMut::new(), 0);
        for piece in text.as_bytes().chunks(64) {
            input.extend_from_slice(piece);
            assert!(take_head(&mut input, &mut seen).unwrap().is_none());
            assert_eq!(seen, input.len());
        }
    }

    // Found while the fuzz target `answer` was written: the room behind it was held all along.
    #[test]
    fn a_head_that_is_not_whole_is_not_copied() {
        let mut input = BytesMut::with_capacity(READ);
        input.extend_from_slice(b"HTTP/1.1 200 OK\r\nX: ");
        let (place, room) = (input.as_ptr(), input.capacity());
        assert!(take_head(&mut input, &mut 0).unwrap().is_none());
        assert_eq!((input.as_ptr(), input.capacity()), (place, room));
    }
}
