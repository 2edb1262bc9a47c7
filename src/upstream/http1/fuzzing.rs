//! A door for the fuzz targets to what is private here: an answer as it is read, with bytes in the
//! place of its socket. With the feature `fuzzing` only, and no promise to anybody.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use http_body::{Body, Frame};

use super::AnswerError;
use super::answer::{self, Framing};
use super::body::{AnswerBody, Source};
use super::in_flight;

/// An answer whose head has not come yet: [`InFlight`](super::InFlight) without its request.
#[derive(Debug)]
pub struct Heads {
    method: Method,
    input: BytesMut,
    seen: usize,
    framing: Framing,
}

impl Heads {
    /// The answer to a request with `method`, of which nothing was read yet.
    pub fn new(method: Method) -> Self {
        Self { method, input: BytesMut::new(), seen: 0, framing: Framing::Empty }
    }

    /// Takes what one read brings.
    pub fn read(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next head, interim ones first; `None` while it is not whole.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self) -> Result<Option<Response<()>>, &'static str> {
        let Some(mut head) = in_flight::take_head(&mut self.input, &mut self.seen)? else {
            return Ok(None);
        };
        self.framing = answer::framing(&self.method, &mut head)?;
        Ok(Some(head))
    }

    /// The body behind the last head.
    pub fn into_content(self) -> Content {
        let body = AnswerBody::new(Source::Gone, self.input.freeze(), self.framing, false, None);
        Content { body, until_close: self.framing == Framing::UntilClose }
    }
}

/// Whether another head follows this one.
pub fn is_interim(head: &Response<()>) -> bool {
    in_flight::is_interim(head)
}

/// The body of an answer, as [`AnswerBody`] makes it of what it reads.
#[derive(Debug)]
pub struct Content {
    body: AnswerBody,
    until_close: bool,
}

impl Content {
    /// Takes what one read brings.
    pub fn read(&mut self, bytes: &[u8]) {
        self.body.input = [&self.body.input, bytes].concat().into();
    }

    /// The next frame; pending when more must be read for it.
    pub fn poll_frame(&mut self) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.body).poll_frame(&mut nobody) {
            // It would have read, and there is no socket.
            Poll::Ready(Some(Err(AnswerError::Ended))) => Poll::Pending,
            frame => frame,
        }
    }

    /// Whether a FIN is its end, and not the end of a part of it.
    pub fn is_until_close(&self) -> bool {
        self.until_close
    }

    /// Whether it has said that nothing more comes.
    pub fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// How long the rest of it is, when that is known.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// What was read and is not a part of it, once it is over.
    pub fn rest(&self) -> &[u8] {
        &self.body.input
    }
}
