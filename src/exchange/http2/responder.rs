//! The way to answer on a stream, until the answer has begun.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::Response;

/// Shared by whoever may say something on the stream before its answer.
#[derive(Clone, Debug)]
pub(super) struct Responder(Rc<RefCell<Option<SendResponse<Bytes>>>>);

impl Responder {
    pub(super) fn new(respond: SendResponse<Bytes>) -> Self {
        Self(Rc::new(RefCell::new(Some(respond))))
    }

    /// Sends an answer of the class 1xx.
    pub(super) fn inform(&self, response: Response<()>) {
        if let Some(respond) = &mut *self.0.borrow_mut() {
            // A stream that is gone already is noticed by whoever reads it.
            drop(respond.send_informational(response));
        }
    }

    /// Begins the answer; `ends` when its head is all. `None` when the client is gone.
    pub(super) fn begin(&self, head: Response<()>, ends: bool) -> Option<SendStream<Bytes>> {
        self.0.borrow_mut().take()?.send_response(head, ends).ok()
    }

    /// Ready when the client does not wait for an answer any more.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.0.borrow_mut() {
            Some(respond) => respond.poll_reset(cx).map(drop),
            None => Poll::Pending,
        }
    }
}
