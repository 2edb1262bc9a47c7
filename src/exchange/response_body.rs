//! An answer's body on its way to the client, and with it everything that must last as long:
//! the lease, the upstream connection, the account of the request.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderName;
use hyper::body::{Body, Frame, SizeHint};

use super::account::Account;
use super::front::Exchanging;
use super::hygiene::clean_trailers;
use super::worker::Worker;
use crate::plan::KeepAlive;
use crate::upstream::http1::{AnswerBody, AnswerError};
use crate::upstream::{Lease, Overhearing};

/// A response body with the account that it closes when dropped.
#[derive(Debug)]
pub(super) struct ResponseBody {
    kind: Kind,
    account: Option<Box<Account>>,
    /// Trailers that end here with the fields of this hop.
    nominated: Vec<HeaderName>,
    /// Only dropped.
    exchanging: Option<Exchanging>,
}

#[derive(Debug)]
enum Kind {
    Own(Option<Bytes>),
    Upstream(Box<FromUpstream>),
}

/// A body that an upstream sends, with its way back to the pool.
#[derive(Debug)]
pub(super) struct FromUpstream {
    pub(super) incoming: AnswerBody,
    /// The connection, when it may be used again after this body.
    pub(super) reuse: Option<Reuse>,
    /// Counted until the body has ended.
    pub(super) lease: Option<Lease>,
    /// Set when the body broke off: the client must not take it for whole.
    pub(super) truncated: Rc<Cell<bool>>,
    /// It broke off, and what came before that is on its way to the client.
    pub(super) broken: Option<AnswerError>,
    /// What listens in, for as long as it has not heard what it waits for.
    pub(super) overhearing: Option<Box<Overhearing>>,
}

/// What gives a connection back to its worker's pool.
#[derive(Debug)]
pub(super) struct Reuse {
    pub(super) worker: Rc<Worker>,
    pub(super) keep_alive: KeepAlive,
}

impl ResponseBody {
    /// A body of Bowline's own.
    pub(super) fn own(body: Bytes) -> Self {
        Self {
            kind: Kind::Own((!body.is_empty()).then_some(body)),
            account: None,
            nominated: Vec::new(),
            exchanging: None,
        }
    }

    /// A body that streams from an upstream.
    pub(super) fn upstream(mut from: Box<FromUpstream>) -> Self {
        if from.incoming.is_end_stream() {
            from.finish();
        }
        Self { kind: Kind::Upstream(from), account: None, nominated: Vec::new(), exchanging: None }
    }

    /// Trailers of these names end here.
    pub(super) fn strike(&mut self, nominated: Vec<HeaderName>) {
        self.nominated = nominated;
    }

    /// The exchange is over when the body is.
    pub(super) fn hold(&mut self, exchanging: Exchanging) {
        self.exchanging = Some(exchanging);
    }

    /// Hands the account to the body: closed when the last byte is gone or the client is.
    pub(super) fn carry(&mut self, mut account: Box<Account>) {
        if self.is_end_stream() {
            account.is_whole();
        }
        self.account = Some(account);
    }
}

impl FromUpstream {
    fn finish(&mut self) {
        if let (Some(lease), Some(reuse)) = (self.lease.take(), self.reuse.take())
            && let Some(connection) = self.incoming.take_connection()
        {
            reuse.worker.pool.put(lease.endpoint(), connection, reuse.keep_alive);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Own(body) => body.take().map(|body| Ok(Frame::data(body))),
            Kind::Upstream(from) => {
                if let Some(error) = from.broken.take() {
                    return Poll::Ready(Some(Err(error)));
                }
                match ready!(Pin::new(&mut from.incoming).poll_frame(cx)) {
                    Some(Err(error)) => {
                        from.truncated.set(true);
                        from.reuse = None;
                        from.broken = Some(error);
                        // hyper throws away what it has not written when a body fails: first that, as far
                        // as the socket takes it.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    frame => {
                        if let (Some(hearing), Some(Ok(frame))) = (&mut from.overhearing, &frame)
                            && let Some(piece) = frame.data_ref()
                            && !hearing.hear(piece)
                        {
                            from.overhearing = None;
                        }
                        if from.incoming.is_end_stream() {
                            from.finish();
                        }
                        frame
                    }
                }
            }
        };
        if this.is_end_stream()
            && let Some(account) = &mut this.account
        {
            account.is_whole();
        }
        match frame {
            Some(Ok(frame)) => {
                if let (Some(account), Some(data)) = (&mut this.account, frame.data_ref()) {
                    account.sent(data.len());
                }
                let frame = match frame.into_trailers() {
                    Ok(mut trailers) => {
                        for name in &this.nominated {
                            trailers.remove(name);
                        }
                        clean_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                };
                Poll::Ready(Some(Ok(frame)))
            }
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_none(),
            Kind::Upstream(from) => from.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Upstream(from) => from.incoming.size_hint(),
        }
    }
}
