//! The body of an answer as it comes, and the connection behind it once it has come.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::answer::Framing;
use super::chunked::{self, Chunked, Piece};
use super::{AnswerError, Connection};

/// One read takes at most this much.
const MOST: usize = 64 * 1024;

/// What is asked for when nobody knows how much comes.
const SOME: usize = 16 * 1024;

/// The body of an answer. Reads from the socket only when it is polled.
#[derive(Debug)]
pub struct AnswerBody {
    source: Source,
    /// What was read and not taken yet.
    input: Bytes,
    state: State,
    persists: bool,
}

/// Where the rest comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The connection, which may be used again afterwards.
    Whole(TcpStream),
    /// A connection on which the request is still going out.
    Half(OwnedReadHalf),
    /// It was handed back, or nothing more is wanted.
    Gone,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Over,
}

impl AnswerBody {
    pub(super) fn new(source: Source, input: Bytes, framing: Framing, persists: bool) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { source, input, state, persists }
    }

    /// The connection, once the body is over and when another request may go out on it.
    pub fn take_connection(&mut self) -> Option<Connection> {
        let reusable = self.persists && self.input.is_empty() && self.is_end_stream();
        match std::mem::replace(&mut self.source, Source::Gone) {
            Source::Whole(stream) if reusable => Some(Connection::new(stream)),
            _ => None,
        }
    }

    /// The next piece of what has been read already.
    fn take_piece(&mut self) -> Result<Piece, &'static str> {
        let piece = match &mut self.state {
            State::Chunked(chunked) => chunked.take(&mut self.input)?,
            State::Over => Piece::Over,
            _ if self.input.is_empty() => Piece::More,
            State::UntilClose => Piece::Data(std::mem::take(&mut self.input)),
            State::Length(left) => {
                let data = chunked::take(&mut self.input, *left);
                *left = left.saturating_sub(data.len() as u64);
                if *left == 0 {
                    self.state = State::Over;
                }
                Piece::Data(data)
            }
        };
        if matches!(piece, Piece::Trailers(_) | Piece::Over) {
            self.state = State::Over;
        }
        Ok(piece)
    }

    /// Reads what is there. Ready with whether anything was: at a FIN there is nothing.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, AnswerError>> {
        let room = match self.state {
            State::Length(left) => usize::try_from(left).unwrap_or(MOST).min(MOST),
            _ => SOME,
        };
        let read = match &mut self.source {
            Source::Whole(stream) => {
                ready!(stream.poll_read_ready(cx))?;
                ready!(poll_take(stream, cx, room))?
            }
            Source::Half(half) => {
                ready!(half.as_ref().poll_read_ready(cx))?;
                ready!(poll_take(half, cx, room))?
            }
            Source::Gone => return Poll::Ready(Err(AnswerError::Ended)),
        };
        if read.is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.input =
            if self.input.is_empty() { read } else { [&self.input, &read[..]].concat().into() };
        Poll::Ready(Ok(true))
    }
}

/// One read; no buffer is kept when there is nothing to read.
fn poll_take<R: AsyncRead + Unpin>(
    source: &mut R,
    cx: &mut Context<'_>,
    room: usize,
) -> Poll<std::io::Result<Bytes>> {
    let mut buffer = BytesMut::with_capacity(room);
    ready!(pin!(source.read_buf(&mut buffer)).poll(cx))?;
    Poll::Ready(Ok(buffer.freeze()))
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        loop {
            match self.take_piece() {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(fields)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(fields))));
                }
                Ok(Piece::Over) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(what) => return Poll::Ready(Some(Err(AnswerError::Malformed(what)))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(true) => {}
                Ok(false) if matches!(self.state, State::UntilClose) => self.state = State::Over,
                Ok(false) => return Poll::Ready(Some(Err(AnswerError::Ended))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Length(left) => SizeHint::with_exact(left),
            State::Over => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
