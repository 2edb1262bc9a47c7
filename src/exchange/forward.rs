//! Plain HTTP: one request to an upstream, its answer back, both streaming.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::header::TRANSFER_ENCODING;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::dialling::{self, Attempts, Dialled};
use super::reply::Refusal;
use super::request_body::{BodyStory, RequestBody};
use super::response_body::{FromUpstream, ResponseBody, Reuse};
use super::timer::LazyTimer;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::upstream::Lease;

/// An answer, and what it takes to use its connection again.
pub(super) struct Forwarded {
    pub(super) response: Response<Incoming>,
    lease: Lease,
    sender: SendRequest<RequestBody>,
    story: Rc<BodyStory>,
}

/// Sends `request` to `way`'s upstream and waits for the head of the answer.
///
/// A pooled connection that its upstream had closed is replaced without a word; an endpoint that
/// refuses is passed over; a request that may have been processed is repeated once, and only when
/// it has no body and its method is idempotent (RFC 9110 section 9.2.2).
///
/// # Errors
/// The refusal that the client gets.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    timer: &LazyTimer,
    way: Way<'_>,
    request: Request<RequestBody>,
    story: &Rc<BodyStory>,
) -> Result<Forwarded, Refusal> {
    let mut attempts = Attempts::default();
    let mut spare = Spare::of(&request);
    let mut next = Some(request);
    let mut fresh_only = false;
    loop {
        let lease = attempts.lease(way.upstream).map_err(Refusal::new)?;
        let (mut sender, reused) =
            match connection(worker, way, &lease, attempts.is_retry(), fresh_only).await {
                Ok(connection) => connection,
                Err(failure) => {
                    attempts.failed(&lease, failure);
                    continue;
                }
            };
        let Some(request) = next.take().or_else(|| spare.as_ref().map(Spare::again)) else {
            return Err(Refusal::new(Failure::Internal).closing());
        };
        let patience = way.route.timeouts.response;
        let answer = answer_within(timer, patience, story, sender.try_send_request(request)).await;
        let mut error = match answer {
            None => {
                return Err(Refusal::new(Failure::ResponseTimeout)
                    .because("the upstream did not answer in time")
                    .closing());
            }
            Some(Ok(response)) => {
                let story = Rc::clone(story);
                return Ok(Forwarded { response, lease, sender, story });
            }
            Some(Err(error)) => error,
        };
        if let Some(failure) = story.failure.get() {
            // The client's body is at fault, not the upstream.
            return Err(Refusal::new(failure).closing());
        }
        let failure = dialling::blame(error.error());
        next = error.take_message();
        let unsent = next.is_some();
        if !unsent && (spare.is_none() || failure != Failure::ConnectionLost) {
            tracing::warn!(
                upstream = &*way.upstream.name, endpoint = lease.endpoint().label,
                error = %error.error(), "an endpoint failed before its answer"
            );
            return Err(Refusal::new(failure).closing());
        }
        if !unsent {
            // It may have been processed: one repetition, on a connection that nobody has used, and
            // no more (RFC 9110 section 9.2.2).
            next = spare.take().map(|spare| spare.again());
            fresh_only = true;
        }
        if !reused {
            attempts.failed(&lease, failure);
        }
    }
}

/// A connection to the lease's endpoint, and whether it was used before.
async fn connection(
    worker: &Worker,
    way: Way<'_>,
    lease: &Lease,
    is_retry: bool,
    fresh_only: bool,
) -> Result<(SendRequest<RequestBody>, bool), Failure> {
    let counters = way.upstream.counters.at(worker.id);
    if is_retry || fresh_only {
        counters.retries.inc();
    }
    if !fresh_only && let Some(sender) = worker.pool.take(lease.endpoint()) {
        counters.reused.inc();
        return Ok((sender, true));
    }
    let dialled = dialling::connect(worker, way.upstream, lease, &way.route.timeouts).await?;
    Ok((drive(dialled), false))
}

/// Waits for an answer as long as the request moves, and `patience` from there: neither a long
/// upload nor a slow client is a slow upstream. `None` when that is over.
async fn answer_within<T>(
    timer: &LazyTimer,
    patience: Duration,
    story: &BodyStory,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut began = Instant::now();
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        loop {
            let since = story.moved.get().map_or(began, |moved| moved.max(began));
            // A time beyond the clock's end never comes.
            let Some(by) = since.checked_add(patience) else { return Poll::Pending };
            ready!(timer.poll_due(cx, by));
            if story.awaits_client.get() {
                // That has a time of its own.
                began = Instant::now();
                continue;
            }
            if story.moved.get().is_none_or(|moved| moved <= since) {
                return Poll::Ready(None);
            }
        }
    })
    .await
}

impl Forwarded {
    /// Who answered, for the access line.
    pub(super) fn endpoint(&self) -> String {
        self.lease.endpoint().label.clone()
    }

    /// The body that streams the answer to the client and gives the connection back.
    pub(super) fn into_response(
        self,
        worker: &Rc<Worker>,
        way: Way<'_>,
        truncated: &Rc<Cell<bool>>,
    ) -> Response<ResponseBody> {
        let Self { response, lease, sender, story } = self;
        let keep_alive = way.upstream.keep_alive;
        let reuse = Some(Reuse { worker: Rc::clone(worker), sender, keep_alive, story });
        response.map(|incoming| {
            ResponseBody::upstream(Box::new(FromUpstream {
                incoming,
                reuse,
                lease: Some(lease),
                truncated: Rc::clone(truncated),
            }))
        })
    }
}

/// Lets a connection run beside its requests, so that its end is noticed while it is idle.
fn drive(dialled: Dialled) -> SendRequest<RequestBody> {
    let Dialled { sender, connection } = dialled;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream connection ended early");
        }
    });
    sender
}

/// Makes a client's head one for an upstream: origin-form, HTTP/1.1, framing as the body's.
pub(super) fn outbound(mut parts: Parts, body: RequestBody) -> Request<RequestBody> {
    parts.uri = super::origin_form(&parts.uri);
    parts.version = Version::HTTP_11;
    // hyper would send a body of unknown length on these as empty unless told.
    let unsized_body = !body.is_none() && !parts.headers.contains_key(CONTENT_LENGTH);
    if unsized_body && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    parts.extensions = http::Extensions::new();
    Request::from_parts(parts, body)
}

/// A copy of a request that may be sent twice.
struct Spare {
    head: Request<()>,
}

impl Spare {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        if !request.body().is_none() || !request.method().is_idempotent() {
            return None;
        }
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = request.headers().clone();
        Some(Self { head })
    }

    fn again(&self) -> Request<RequestBody> {
        self.head.clone().map(|()| RequestBody::default())
    }
}
