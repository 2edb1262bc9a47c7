//! A client's stream as h2 gets it. h2 reads whatever is there in one go, and counts frames that nobody has
//! read yet against the client; here it gets a bounded sip at a time, so that those who read the single
//! streams have their turn in between. Floods are seen here too, and the stream comes back at the end.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::floods::Floods;
use crate::telemetry::Http2Fault;

/// Bytes that h2 may read before the streams have their turn; a read that has begun may take it over that,
/// by 16 KiB at most. In frames of one byte that is 3 MiB of h2's measure, for which see `UNREAD`.
const SIP: usize = 16 << 10;

/// What the driver of a connection and its door share.
pub(super) struct Doorway<S> {
    floods: RefCell<Floods>,
    fault: Cell<Option<Http2Fault>>,
    /// Nothing is read any more.
    shut: Cell<bool>,
    /// What may still be read before the others have their turn.
    sip: Cell<usize>,
    heard: Cell<Instant>,
    returned: Cell<Option<S>>,
}

impl<S> Doorway<S> {
    pub(super) fn new(floods: Floods) -> Rc<Self> {
        Rc::new(Self {
            floods: RefCell::new(floods),
            fault: Cell::new(None),
            shut: Cell::new(false),
            sip: Cell::new(SIP),
            heard: Cell::new(Instant::now()),
            returned: Cell::new(None),
        })
    }

    /// The streams have had their turn.
    pub(super) fn begin_sip(&self) {
        self.sip.set(SIP);
    }

    /// What the client sent too much of. From then on it is not read any more.
    pub(super) fn fault(&self) -> Option<Http2Fault> {
        self.fault.get()
    }

    /// Reads nothing any more.
    pub(super) fn shut(&self) {
        self.shut.set(true);
    }

    /// When bytes last came.
    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// The client's stream, once h2 has let go of it.
    pub(super) fn take_back(&self) -> Option<S> {
        self.returned.take()
    }
}

/// A client's stream under the rule of a [`Doorway`].
pub(super) struct Door<S> {
    stream: Option<S>,
    /// What was read before and comes first.
    ahead: Vec<u8>,
    way: Rc<Doorway<S>>,
}

impl<S> Door<S> {
    pub(super) fn new(stream: S, ahead: Vec<u8>, way: Rc<Doorway<S>>) -> Self {
        Self { stream: Some(stream), ahead, way }
    }
}

impl<S> Drop for Door<S> {
    fn drop(&mut self) {
        self.way.returned.set(self.stream.take());
    }
}

impl<S: AsyncRead + Unpin> Door<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let rest = self.ahead.split_off(self.ahead.len().min(buf.remaining()));
            buf.put_slice(&std::mem::replace(&mut self.ahead, rest));
            return Poll::Ready(Ok(()));
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        Pin::new(stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Door<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.way.shut.get() || self.way.fault.get().is_some() {
            // The driver knows, and ends it.
            return Poll::Pending;
        }
        if self.way.sip.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(self.poll_fill(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let (way, now) = (&self.way, Instant::now());
        way.sip.set(way.sip.get().saturating_sub(fresh.len()));
        way.heard.set(now);
        let fault = way.floods.borrow_mut().look(fresh, now);
        way.fault.set(fault);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Door<S> {
    fn note(&self, written: &io::Result<usize>) {
        if let Ok(bytes) = written {
            self.way.floods.borrow_mut().wrote(*bytes);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Door<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let written = ready!(Pin::new(stream).poll_write(cx, buf));
        self.note(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, bufs));
        self.note(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        Pin::new(stream).poll_flush(cx)
    }

    /// h2 has flushed all it says; the FIN is said when the stream has come back.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
