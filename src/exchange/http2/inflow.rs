//! What a client sends on one stream. h2 holds a connection to account for every small frame that nobody has
//! read, so each is read as soon as it is there, into a stash that the stream's window bounds; the window is
//! given back only when the bytes have gone on.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use tokio::io::ReadBuf;

/// The receiving half of a stream.
#[derive(Debug)]
pub(super) struct Inflow {
    recv: RecvStream,
    /// Read from h2, and asked for by nobody yet.
    stash: BytesMut,
    /// Bytes that were handed on, and for which the window was not given back.
    lent: usize,
    state: State,
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The client said END_STREAM.
    Ended,
    /// It reset the stream, or its connection is gone.
    Broken,
}

impl Inflow {
    pub(super) fn new(recv: RecvStream) -> Self {
        let state = if recv.is_end_stream() { State::Ended } else { State::Open };
        Self { recv, stash: BytesMut::new(), lent: 0, state, trailers: None }
    }

    /// Whether nothing comes any more, and nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.state != State::Open && self.stash.is_empty()
    }

    /// Whether the client has ended its half properly, and no byte of it is left.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended && self.stash.is_empty() && self.trailers.is_none()
    }

    /// Whether the stream broke off.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Reads ahead all that there is.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(data)) = self.poll_data(cx) {
            self.stash.extend_from_slice(&data);
        }
    }

    /// Throws away all that there is.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) {
        self.lend(self.stash.len());
        self.stash = BytesMut::new();
        while let Poll::Ready(Some(data)) = self.poll_data(cx) {
            self.lend(data.len());
        }
        self.give_back();
        self.trailers = None;
    }

    /// The next piece, of any length; `None` at the end. What was handed on before has gone on.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.give_back();
        let piece = match self.stash.is_empty() {
            true => match ready!(self.poll_data(cx)) {
                Some(data) => data,
                None if self.is_broken() => return Poll::Ready(Some(Err(gone()))),
                None => return Poll::Ready(None),
            },
            false => std::mem::take(&mut self.stash).freeze(),
        };
        self.lend(piece.len());
        Poll::Ready(Some(Ok(piece)))
    }

    /// The trailers, once the end was told.
    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// Puts into `buf` what there is; nothing at the end. What was handed on before has gone on.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.give_back();
        let before = buf.filled().len();
        let stashed = self.stash.len().min(buf.remaining());
        buf.put_slice(&self.stash.split_to(stashed));
        if self.stash.is_empty() {
            // The block goes too: an idle stream holds none.
            self.stash = BytesMut::new();
        }
        let mut polled = Poll::Ready(None);
        while self.stash.is_empty() && buf.remaining() > 0 {
            polled = self.poll_data(cx);
            let Poll::Ready(Some(mut data)) = polled else { break };
            let taken = data.len().min(buf.remaining());
            buf.put_slice(&data.split_to(taken));
            self.stash.extend_from_slice(&data);
            polled = Poll::Pending;
        }
        let read = buf.filled().len().saturating_sub(before);
        self.lend(read);
        match polled {
            _ if read > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) if self.is_broken() => Poll::Ready(Err(gone())),
            Poll::Ready(_) => Poll::Ready(Ok(())),
        }
    }

    /// The next frame's bytes from h2; `None` when none comes any more.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.state != State::Open {
            return Poll::Ready(None);
        }
        loop {
            match ready!(self.recv.poll_data(cx)) {
                // The last one may be empty.
                Some(Ok(data)) if data.is_empty() => continue,
                Some(Ok(data)) => return Poll::Ready(Some(data)),
                Some(Err(_)) => self.state = State::Broken,
                None => match self.recv.poll_trailers(cx) {
                    Poll::Ready(Err(_)) => self.state = State::Broken,
                    Poll::Ready(Ok(trailers)) => {
                        (self.trailers, self.state) = (trailers, State::Ended);
                    }
                    Poll::Pending => self.state = State::Ended,
                },
            }
            return Poll::Ready(None);
        }
    }

    fn lend(&mut self, bytes: usize) {
        self.lent = self.lent.saturating_add(bytes);
    }

    fn give_back(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 {
            // Fails only for more than there was.
            drop(self.recv.flow_control().release_capacity(lent));
        }
    }
}

/// The client has reset its stream, or has left.
fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
