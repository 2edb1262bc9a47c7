//! The client's stream as hyper gets it. hyper answers a head that it cannot parse with a bare
//! 400, 414 or 431 of its own; here those bytes are kept back, so that every answer is Bowline's.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Whose turn it is on a connection: what hyper writes outside an exchange is its own.
#[derive(Debug, Default)]
pub(super) struct Turn {
    exchanging: Cell<bool>,
    /// What is written belongs to an exchange: from its head in to the last byte out.
    ours: Cell<bool>,
    reads: Cell<u64>,
    bare: Cell<Option<StatusCode>>,
}

/// An exchange under way; over when this drops.
#[derive(Debug)]
pub(super) struct Exchanging(Rc<Turn>);

impl Turn {
    /// A request came in.
    pub(super) fn begin(self: &Rc<Self>) -> Exchanging {
        self.exchanging.set(true);
        self.ours.set(true);
        Exchanging(Rc::clone(self))
    }

    /// How often the client was read; two requests between which this stands still came in one
    /// piece.
    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// The status of the bare answer that was kept back, if one was.
    pub(super) fn bare_answer(&self) -> Option<StatusCode> {
        self.bare.get()
    }

    /// Whether nothing of an earlier answer is still on its way.
    pub(super) fn may_speak(&self) -> bool {
        !self.ours.get()
    }

    fn keep_back(&self, bytes: &[u8]) {
        // "HTTP/1.1 431 ..."
        let status = bytes.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok());
        if self.bare.get().is_none() {
            self.bare.set(status);
        }
    }
}

impl Drop for Exchanging {
    fn drop(&mut self) {
        self.0.exchanging.set(false);
    }
}

/// A client's stream under the rule of a [`Turn`].
#[derive(Debug)]
pub(super) struct Front<S> {
    io: TokioIo<S>,
    /// What was read before and comes first.
    ahead: Vec<u8>,
    turn: Rc<Turn>,
}

impl<S> Front<S> {
    pub(super) fn new(stream: S, ahead: Vec<u8>, turn: Rc<Turn>) -> Self {
        Self { io: TokioIo::new(stream), ahead, turn }
    }

    /// The bare stream.
    pub(super) fn into_inner(self) -> S {
        self.io.into_inner()
    }
}

impl<S: AsyncRead + Unpin> Read for Front<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buf.remaining());
            let rest = self.ahead.split_off(length);
            let ahead = std::mem::replace(&mut self.ahead, rest);
            buf.put_slice(&ahead);
            self.turn.reads.set(self.turn.reads.get().wrapping_add(1));
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.turn.reads.set(self.turn.reads.get().wrapping_add(1));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Front<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.turn.ours.get() {
            self.turn.keep_back(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.turn.ours.get() {
            bufs.iter().take(1).for_each(|buf| self.turn.keep_back(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // hyper flushes only when it has written all it holds: the answer is out.
        if !self.turn.exchanging.get() {
            self.turn.ours.set(false);
        }
        Poll::Ready(Ok(()))
    }

    /// hyper is done and has flushed; whoever owns the stream says the FIN, when all is said.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
