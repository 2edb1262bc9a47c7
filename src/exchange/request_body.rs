//! A request body on its way to an upstream: streamed, bounded, timed, and held back until the
//! upstream wants it when the client asked to wait (`Expect: 100-continue`).

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::client_body::ClientBody;
use super::hygiene::{ConnectionOptions, clean_trailers};
use crate::error::Failure;

/// An upstream that never says 100 gets the body all the same after this (RFC 9110 section 10.1.1
/// tells clients not to wait for ever either).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// What became of a body; shared with whoever answers the request.
#[derive(Debug, Default)]
pub(super) struct BodyStory {
    /// Bytes that came from the client.
    pub(super) received: Cell<u64>,
    /// Why it broke off, if it did.
    pub(super) failure: Cell<Option<Failure>>,
    /// When a piece of it last went through.
    pub(super) moved: Cell<Option<Instant>>,
    /// It is the client's turn: the body waits for its next piece.
    pub(super) awaits_client: Cell<bool>,
    /// The body waits for the upstream to say 100.
    held: Cell<bool>,
}

impl BodyStory {
    /// The upstream said 100.
    pub(super) fn proceed(&self) {
        self.held.set(false);
    }

    /// Whether the upstream has not asked for the body that was promised.
    pub(super) fn is_held(&self) -> bool {
        self.held.get()
    }
}

/// A request body; no allocation when there is none.
#[derive(Debug)]
pub(super) struct RequestBody(Option<Box<Streaming>>);

#[derive(Debug)]
struct Streaming {
    incoming: ClientBody,
    story: Rc<BodyStory>,
    limit: u64,
    silence: Duration,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// While the body is held: for how long at most.
    patience: Option<Pin<Box<Sleep>>>,
    /// What `Connection` said: trailers that it names end here too.
    options: ConnectionOptions,
}

/// A body broke off; the story tells why.
#[derive(Debug)]
pub(super) struct BodyBroken;

impl RequestBody {
    /// Takes over a client's body. `limit` in bytes; `silence` is how long it may pause.
    pub(super) fn new(
        incoming: ClientBody,
        limit: Option<u64>,
        silence: Duration,
        options: ConnectionOptions,
    ) -> (Self, Rc<BodyStory>) {
        let story = Rc::new(BodyStory::default());
        if incoming.is_end_stream() {
            return (Self(None), story);
        }
        let streaming = Streaming {
            incoming,
            story: Rc::clone(&story),
            limit: limit.unwrap_or(u64::MAX),
            silence,
            since: Instant::now(),
            timer: None,
            patience: None,
            options,
        };
        (Self(Some(Box::new(streaming))), story)
    }

    /// Whether there is no body at all.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Holds the body back until the upstream answers its head with 100.
    pub(super) fn await_continue(&mut self) {
        if let Some(streaming) = &mut self.0 {
            streaming.story.held.set(true);
            streaming.patience = Some(Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)));
        }
    }
}

impl Streaming {
    fn fail(&self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        self.story.failure.set(Some(failure));
        Poll::Ready(Some(Err(BodyBroken)))
    }

    /// Ready once the body may go out.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(patience) = &mut self.patience {
            if self.story.is_held() {
                // Whoever hears the 100 polls this again.
                ready!(patience.as_mut().poll(cx));
                self.story.proceed();
            }
            self.patience = None;
            self.since = Instant::now();
        }
        Poll::Ready(())
    }

    /// Ready when the client was silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(due) = self.since.checked_add(self.silence) else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        ready!(self.poll_release(cx));
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        self.story.awaits_client.set(polled.is_pending());
        let frame = match polled {
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                return self.fail(Failure::RequestTimeout);
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(_))) => return self.fail(Failure::BadRequest),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        self.since = Instant::now();
        self.story.moved.set(Some(self.since));
        if let Some(data) = frame.data_ref() {
            let received = self.story.received.get().saturating_add(data.len() as u64);
            self.story.received.set(received);
            if received > self.limit {
                return self.fail(Failure::BodyTooLarge);
            }
        }
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                self.options.strip(&mut trailers);
                clean_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        match &mut self.0 {
            Some(streaming) => streaming.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}
