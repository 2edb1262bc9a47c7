//! A request's body on a stream of HTTP/2.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Frame;

use super::super::client_body::Broken;
use super::inflow::Inflow;
use super::responder::Responder;

/// What comes on the stream, as a body.
#[derive(Debug)]
pub(in crate::exchange) struct StreamBody {
    inflow: Rc<RefCell<Inflow>>,
    /// Who has to say 100 before anything comes.
    awaits: Option<Responder>,
}

impl StreamBody {
    /// The body of a stream; `awaits` where the client waits for 100 (RFC 9110 section 10.1.1).
    pub(super) fn new(inflow: Rc<RefCell<Inflow>>, awaits: Option<Responder>) -> Self {
        Self { inflow, awaits }
    }

    pub(in crate::exchange) fn is_end_stream(&self) -> bool {
        self.inflow.borrow().is_ended()
    }

    pub(in crate::exchange) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(responder) = self.awaits.take() {
            let mut proceed = Response::new(());
            *proceed.status_mut() = StatusCode::CONTINUE;
            responder.inform(proceed);
        }
        let mut inflow = self.inflow.borrow_mut();
        let frame = match ready!(inflow.poll_piece(cx)) {
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(_)) => Some(Err(Broken)),
            None => inflow.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))),
        };
        Poll::Ready(frame)
    }
}
