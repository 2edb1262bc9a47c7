//! What goes to a client on one stream: never more than its windows take, so that nothing piles up here.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;

/// Asked for at once, and so what a stream may hold of its connection's window without need.
const MOST: usize = 64 << 10;

/// The sending half of a stream.
#[derive(Debug)]
pub(super) struct Outflow {
    send: SendStream<Bytes>,
    finished: bool,
}

impl Outflow {
    pub(super) fn new(send: SendStream<Bytes>) -> Self {
        Self { send, finished: false }
    }

    /// How much of `wanted` bytes, of which there are some, the client takes now.
    pub(super) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        let wanted = wanted.min(MOST);
        self.send.reserve_capacity(wanted);
        loop {
            let room = self.send.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(gone())),
            }
        }
    }

    /// Sends what there is room for; `ends` when it is the last.
    pub(super) fn send(&mut self, data: Bytes, ends: bool) -> io::Result<()> {
        self.finished |= ends;
        self.send.send_data(data, ends).map_err(|_| gone())
    }

    /// Says END_STREAM.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.finished {
            return Ok(());
        }
        self.send(Bytes::new(), true)
    }

    /// Ends with trailers.
    pub(super) fn finish_with(&mut self, trailers: HeaderMap) -> io::Result<()> {
        self.finished = true;
        self.send.send_trailers(trailers).map_err(|_| gone())
    }

    /// Resets the stream, unless its end is said already.
    pub(super) fn reset(&mut self, reason: Reason) {
        if !self.finished {
            self.finished = true;
            self.send.send_reset(reason);
        }
    }

    /// Ready when the client has reset the stream, or is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(drop)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
