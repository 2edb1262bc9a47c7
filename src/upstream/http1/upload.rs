//! A request on its way out: its head, then its body as it comes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::request::{Framing, write_fields};

/// So much of a body is taken ahead of the socket.
const AHEAD: usize = 64 * 1024;

/// So many pieces at most: each costs more than its bytes when they are few.
const PIECES_AHEAD: usize = 64;

/// Pieces that one write takes.
const PIECES: usize = 8;

/// An upstream that has answered and takes nothing more for so long is not written to any longer.
const STALL: Duration = Duration::from_secs(60);

/// What has not gone out yet.
#[derive(Debug)]
pub(super) struct Upload<B> {
    out: VecDeque<Bytes>,
    /// Of `out`.
    bytes: usize,
    /// Bytes that the socket took.
    written: u64,
    body: Option<B>,
    framing: Framing,
}

impl<B: Body<Data = Bytes> + Unpin> Upload<B> {
    /// `body` is what `framing` says; a head without one has [`Framing::Empty`].
    pub(super) fn new(head: Bytes, body: Option<B>, framing: Framing) -> Self {
        Self { bytes: head.len(), written: 0, out: VecDeque::from([head]), body, framing }
    }

    /// The same with `preface` before it.
    pub(super) fn behind(mut self, preface: Bytes) -> Self {
        if !preface.is_empty() {
            self.bytes = self.bytes.saturating_add(preface.len());
            self.out.push_front(preface);
        }
        self
    }

    /// Whether all is out.
    pub(super) fn is_done(&self) -> bool {
        self.out.is_empty() && self.body.is_none()
    }

    /// Writes what there is. Ready when all is out.
    ///
    /// # Errors
    /// When it will never all be out: no other request may follow this one.
    pub(super) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut W,
    ) -> Poll<Result<(), Unfinished>> {
        loop {
            // First the body, then the socket: a head and a small body leave in one packet.
            while self.bytes < AHEAD && self.out.len() < PIECES_AHEAD {
                let Some(body) = &mut self.body else { break };
                match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => break,
                    Poll::Ready(None) => self.finish(Vec::new())?,
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Unfinished::Body)),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.append(data)?,
                        Err(frame) => {
                            let mut fields = Vec::new();
                            if let Ok(trailers) = frame.into_trailers() {
                                write_fields(&mut fields, &trailers);
                            }
                            self.finish(fields)?;
                        }
                    },
                }
            }
            if self.out.is_empty() {
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let wrote = match ready!(self.poll_write(cx, socket)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Unfinished::Socket)),
                Ok(wrote) => wrote,
            };
            self.wrote(wrote);
        }
    }

    /// Writes all that is left, beside an answer that has begun.
    ///
    /// # Errors
    /// As [`Upload::poll`]'s; also when the socket takes nothing for too long.
    pub(super) async fn go_on<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
    ) -> Result<(), Unfinished> {
        loop {
            let before = self.written;
            match timeout(STALL, poll_fn(|cx| self.poll(cx, socket))).await {
                Ok(sent) => return sent,
                // A body that keeps its client waiting has a time of its own.
                Err(_) if self.written == before && !self.out.is_empty() => {
                    return Err(Unfinished::Socket);
                }
                Err(_) => {}
            }
        }
    }

    fn append(&mut self, data: Bytes) -> Result<(), Unfinished> {
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len() as u64;
        match &mut self.framing {
            Framing::Empty => return Err(Unfinished::Body),
            Framing::Length(left) => {
                *left = left.checked_sub(length).ok_or(Unfinished::Body)?;
                self.push(data);
            }
            Framing::Chunked => {
                self.push(format!("{length:x}\r\n").into());
                self.push(data);
                self.push(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    /// The body is over; `trailers` are field lines.
    fn finish(&mut self, trailers: Vec<u8>) -> Result<(), Unfinished> {
        self.body = None;
        match self.framing {
            Framing::Empty | Framing::Length(0) => {}
            Framing::Length(_) => return Err(Unfinished::Body),
            Framing::Chunked => {
                self.push(Bytes::from_static(b"0\r\n"));
                self.push(trailers.into());
                self.push(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes = self.bytes.saturating_add(piece.len());
            self.out.push_back(piece);
        }
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        socket: &mut W,
    ) -> Poll<std::io::Result<usize>> {
        if let (1, Some(piece)) = (self.out.len(), self.out.front()) {
            return Pin::new(socket).poll_write(cx, piece);
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        for (slice, piece) in slices.iter_mut().zip(&self.out) {
            *slice = IoSlice::new(piece);
        }
        Pin::new(socket).poll_write_vectored(cx, &slices)
    }

    fn wrote(&mut self, mut bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.written = self.written.saturating_add(bytes as u64);
        while bytes > 0
            && let Some(piece) = self.out.front_mut()
        {
            let taken = bytes.min(piece.len());
            piece.advance(taken);
            bytes = bytes.saturating_sub(taken);
            if piece.is_empty() {
                self.out.pop_front();
            }
        }
    }
}

/// Why a request did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Its body broke off, or was not as long as its head said.
    Body,
    /// The socket took no more. The upstream may have answered all the same.
    Socket,
}

#[cfg(test)]
mod tests;
