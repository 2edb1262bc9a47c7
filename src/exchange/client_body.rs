//! A request's body as its client sends it, whatever version of HTTP that speaks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};

use super::http2::StreamBody;

/// A client's body.
#[derive(Debug)]
pub(super) enum ClientBody {
    /// Of HTTP/1.
    Http1(Incoming),
    /// Of HTTP/2.
    Http2(StreamBody),
}

/// A body did not come to its end.
#[derive(Debug)]
pub(super) struct Broken;

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Http1(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Broken)))
            }
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }
}
