//! A connection whose peer says what it was given and then nothing more, and hears nothing: hyper
//! runs on it without a runtime.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// The peer's end.
pub(crate) struct Wire<'a> {
    /// What it says that was not read yet.
    says: &'a [u8],
    /// It waits until it is spoken to: hyper takes an answer before its request for an error.
    waits: bool,
}

impl<'a> Wire<'a> {
    /// A client, which speaks first.
    pub(crate) fn client(says: &'a [u8]) -> Self {
        Self { says, waits: false }
    }

    /// A server, which answers.
    pub(crate) fn server(says: &'a [u8]) -> Self {
        Self { says, waits: true }
    }
}

impl Read for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.waits {
            // Whoever polls does so again without being woken.
            return Poll::Pending;
        }
        let (now, later) = self.says.split_at(self.says.len().min(to.remaining()));
        to.put_slice(now);
        self.says = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.waits = false;
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
