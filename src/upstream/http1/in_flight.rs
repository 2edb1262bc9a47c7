//! A request in flight: it goes out and its answer's head comes in, both in one poll, so that an
//! upstream that answers before it has heard the end is heard.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode};
use http_body::Body;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::answer;
use super::body::{AnswerBody, Source};
use super::request::Framing;
use super::upload::{Unfinished, Upload};
use super::{AnswerError, Connection};

/// One read of a head takes at most this much; most heads are far shorter.
const READ: usize = 4096;

/// A head that is longer is none.
const MAX_HEAD: usize = 256 * 1024;

/// A request in flight on a connection.
#[derive(Debug)]
pub struct InFlight<B> {
    stream: TcpStream,
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
        Self {
            stream: connection.0,
            method,
            upload: Upload::new(head, body, framing),
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
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, AnswerError>> {
        loop {
            if !self.broken && !self.upload.is_done() {
                match self.upload.poll(cx, &mut self.stream) {
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
            ready!(self.stream.poll_read_ready(cx))?;
            self.input.reserve(READ);
            if ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))? == 0 {
                return Poll::Ready(Err(AnswerError::Ended));
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<Response<()>>, &'static str> {
        if !may_be_whole(&self.input, self.seen) {
            return Ok(None);
        }
        self.seen = self.input.len();
        let message = self.input.split().freeze();
        match answer::parse(&message)? {
            Some((mut head, length)) => {
                self.seen = 0;
                self.input = message.slice(length..).into();
                self.framing = answer::framing(&self.method, &mut head)?;
                self.persists = answer::persists(&head);
                Ok(Some(head))
            }
            None if message.len() >= MAX_HEAD => Err("the upstream's answer has too large a head"),
            None => {
                // Nobody else holds it: not a copy.
                self.input = message.into();
                Ok(None)
            }
        }
    }

    /// The answer's body, behind its head. What is left of the request still goes out beside it
    /// when `uploading`, and is forgotten otherwise.
    pub fn into_body(self, uploading: bool) -> AnswerBody {
        let Self { stream, mut upload, broken, input, framing, persists, .. } = self;
        let unfinished = !upload.is_done();
        let source = if unfinished && uploading && !broken {
            // A task of its own: a client may read its answer slowly, or not before it has said all.
            let (read, mut write) = stream.into_split();
            tokio::task::spawn_local(async move {
                let sent = std::future::poll_fn(|cx| upload.poll(cx, &mut write)).await;
                if sent.is_ok() {
                    // A FIN would say that the client is gone.
                    write.forget();
                }
            });
            Source::Half(read)
        } else {
            Source::Whole(stream)
        };
        AnswerBody::new(source, input.freeze(), framing, persists && !unfinished)
    }

    /// The connection behind a 101, and what came right behind that.
    pub fn into_stream(self) -> (TcpStream, Bytes) {
        (self.stream, self.input.freeze())
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
pub fn is_interim(head: &Response<()>) -> bool {
    head.status().is_informational() && head.status() != StatusCode::SWITCHING_PROTOCOLS
}
