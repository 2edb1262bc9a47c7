//! The body of an answer as it comes, and the connection behind it once it has come.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

use super::answer::Framing;
use super::chunked::{self, Chunked, Piece};
use super::upload::Unfinished;
use super::{AnswerError, Connection, Tally};
use crate::upstream::socket::{ReadHalf, Socket};

/// One read takes at most this much.
const MOST: usize = 64 * 1024;

/// What is asked for when nobody knows how much comes.
const SOME: usize = 16 * 1024;

/// The body of an answer. Reads from the socket only when it is polled.
#[derive(Debug)]
pub struct AnswerBody {
    source: Source,
    /// What was read and not taken yet.
    pub(super) input: Bytes,
    state: State,
    /// The upstream keeps the connection open behind this answer.
    persists: bool,
    /// `None` when no further request may go out on it: this one has not gone out whole, say.
    tally: Option<Tally>,
}

/// Where the rest comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The connection, which may be used again afterwards.
    Whole(Socket),
    /// A connection on which the request is still going out.
    Half(Half),
    /// It was handed back, or nothing more is wanted.
    Gone,
}

/// The reading half of a connection, and the task that has the other one.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) read: ReadHalf,
    pub(super) upload: Option<JoinHandle<Result<(), Unfinished>>>,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Over,
}

impl AnswerBody {
    pub(super) fn new(
        source: Source,
        input: Bytes,
        framing: Framing,
        persists: bool,
        tally: Option<Tally>,
    ) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilClose => State::UntilClose,
        };
        // Behind a FIN no other answer comes, whatever the head said.
        let persists = persists && framing != Framing::UntilClose;
        Self { source, input, state, persists, tally }
    }

    /// The connection, once the body is over and when another request may go out on it.
    pub fn take_connection(&mut self) -> Option<Connection> {
        let reusable = self.persists && self.input.is_empty() && self.is_end_stream();
        self.stop_upload();
        match (std::mem::replace(&mut self.source, Source::Gone), self.tally) {
            (Source::Whole(socket), Some(tally)) if reusable => {
                Some(Connection { socket, tally: Some(tally), preface: Bytes::new() })
            }
            _ => None,
        }
    }

    /// Ends what is left of the request, unless the upstream wants to hear it behind its answer (RFC
    /// 9112 section 9.5).
    fn stop_upload(&mut self) {
        if let Source::Half(Half { upload: Some(upload), .. }) = &self.source
            && !(self.is_end_stream() && self.persists)
        {
            upload.abort();
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
            Source::Half(Half { read, upload }) => {
                if let Some(task) = upload
                    && let Poll::Ready(sent) = Pin::new(task).poll(cx)
                {
                    *upload = None;
                    if let Ok(Err(Unfinished::Body)) = sent {
                        return Poll::Ready(Err(AnswerError::RequestBroken));
                    }
                }
                ready!(read.poll_read_ready(cx))?;
                ready!(poll_take(read, cx, room))?
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

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.stop_upload();
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Whether the connection can be used again behind a body that `framing` ends and the upstream
    /// says with a FIN behind it.
    async fn is_handed_back(framing: Framing, said: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut upstream = listener.accept().await.unwrap().0;
        upstream.write_all(said.as_bytes()).await.unwrap();
        upstream.shutdown().await.unwrap();
        let source = Source::Whole(stream.into());
        let tally = Some(Tally { retires: None, requests: 1 });
        let mut body = AnswerBody::new(source, Bytes::new(), framing, true, tally);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frame.unwrap();
        }
        body.take_connection().is_some()
    }

    #[tokio::test]
    async fn a_connection_whose_fin_ended_the_body_is_not_handed_back() {
        assert!(is_handed_back(Framing::Length(2), "ab").await);
        assert!(is_handed_back(Framing::Chunked, "2\r\nab\r\n0\r\n\r\n").await);
        assert!(!is_handed_back(Framing::UntilClose, "ab").await);
    }
}
