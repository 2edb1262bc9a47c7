//! A stream of HTTP/2 as the client's side of a tunnel. A FIN is END_STREAM, a reset is RST_STREAM with
//! CANCEL, both ways (RFC 8441 section 5); hyper's tunnels tell the two not apart.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inflow::Inflow;
use super::outflow::Outflow;
use crate::tunnel::Stream;

/// Both halves of a stream.
#[derive(Debug)]
pub(super) struct ClientLeg {
    inflow: Rc<RefCell<Inflow>>,
    outflow: Outflow,
}

impl ClientLeg {
    pub(super) fn new(inflow: Rc<RefCell<Inflow>>, outflow: Outflow) -> Self {
        Self { inflow, outflow }
    }
}

impl AsyncRead for ClientLeg {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inflow.borrow_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientLeg {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.outflow.poll_room(cx, buf.len()))?;
        let piece = Bytes::copy_from_slice(buf.get(..room).unwrap_or(buf));
        let sent = piece.len();
        self.outflow.send(piece, false)?;
        Poll::Ready(Ok(sent))
    }

    /// What was sent is on its way; the connection flushes for all its streams.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.outflow.finish())
    }
}

impl Stream for ClientLeg {
    /// Its drop is a reset.
    const DROP_IS_FIN: bool = false;

    /// The connection is not the stream's: its own pings find out.
    fn give_up_after(&self, _: Duration) {}

    fn reset(&mut self) {
        self.outflow.reset(Reason::CANCEL);
    }
}
