//! Plain HTTP: one request to an upstream, its answer back, both streaming.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::time::Instant;

use super::connection_auth;
use super::dialling::{self, Attempts};
use super::outbound_fields::OutboundFields;
use super::reply::Refusal;
use super::request_body::{BodyStory, RequestBody};
use super::response_body::{FromUpstream, ResponseBody, Reuse};
use super::timer::LazyTimer;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::upstream::http1::{
    AnswerBody, AnswerError, Connection, Framing, InFlight, request_head,
};
use crate::upstream::{Claim, Endpoint, Lease, Mishap};

/// A request as it goes out.
#[derive(Debug)]
pub(super) struct Outbound {
    method: Method,
    head: Bytes,
    framing: Framing,
    body: Option<RequestBody>,
    /// Says who asks, where the upstream wants to hear it first.
    preface: Option<Bytes>,
    /// Its connection is not for anybody else afterwards.
    is_personal: bool,
}

/// An answer, and the endpoint that gave it.
pub(super) struct Forwarded {
    pub(super) response: Response<AnswerBody>,
    lease: Lease,
    is_personal: bool,
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
    worker: &Worker,
    timer: &LazyTimer,
    way: Way<'_>,
    claim: &Claim,
    mut request: Outbound,
    story: &BodyStory,
) -> Result<Forwarded, Refusal> {
    let mut attempts = Attempts::begin(worker, way, request.preface.take())?;
    let mut repeatable = request.body.is_none() && request.method.is_idempotent();
    let mut fresh_only = false;
    loop {
        let lease = attempts.lease(timer, claim).await?;
        let (connection, reused) =
            match connection(&mut attempts, worker, timer, way, &lease, fresh_only).await {
                Ok(connection) => connection,
                Err(failure) => {
                    attempts.failed(&lease, failure);
                    continue;
                }
            };
        let Outbound { method, head, framing, body, is_personal, .. } = &mut request;
        let mut in_flight =
            InFlight::new(connection, method.clone(), head.clone(), body.take(), *framing);
        let patience = way.route.timeouts.response;
        let head = in_flight.head(|interim| {
            if interim == StatusCode::CONTINUE {
                story.proceed();
            }
        });
        let answer = answer_within(timer, patience, story, head).await;
        let error = match answer {
            None => return Err(silent(&mut attempts, &lease)),
            Some(Ok(head)) => {
                attempts.answered(&lease, head.status());
                // A body that the upstream has answered without asking for it stays here, and nobody
                // who switched protocols hears the rest of one.
                let wanted = !story.is_held() && head.status() != StatusCode::SWITCHING_PROTOCOLS;
                let body = in_flight.into_body(wanted);
                let is_personal =
                    *is_personal || connection_auth::is_bound(head.headers(), &WWW_AUTHENTICATE);
                return Ok(Forwarded { response: head.map(|()| body), lease, is_personal });
            }
            Some(Err(error)) => error,
        };
        if let Some(failure) = story.failure.get() {
            // The client's body is at fault, not the upstream.
            return Err(Refusal::new(failure).closing());
        }
        let failure = dialling::blame(&error);
        report(&mut attempts, &lease, &error, reused);
        if !repeatable || failure != Failure::ConnectionLost {
            tracing::warn!(
                upstream = &*way.upstream.name, endpoint = lease.endpoint().label, %error,
                "an endpoint failed before its answer"
            );
            let refusal = Refusal::new(failure).closing();
            return Err(match error {
                AnswerError::Malformed(what) => refusal.because(what),
                _ => refusal,
            });
        }
        // It may have been processed: one repetition, on a connection that nobody has used, and no
        // more (RFC 9110 section 9.2.2).
        repeatable = false;
        fresh_only = true;
        if !reused {
            attempts.failed(&lease, failure);
        }
    }
}

/// No answer came in time.
fn silent(attempts: &mut Attempts<'_>, lease: &Lease) -> Refusal {
    attempts.met(lease, Mishap::Silence);
    Refusal::new(Failure::ResponseTimeout).because("the upstream did not answer in time").closing()
}

/// Tells what speaks against an endpoint. A kept connection may end at any time; a fresh one has no
/// such excuse.
fn report(attempts: &mut Attempts<'_>, lease: &Lease, error: &AnswerError, reused: bool) {
    let excused = match error {
        AnswerError::RequestBroken => true,
        AnswerError::Ended | AnswerError::Failed(_) => reused,
        AnswerError::Malformed(_) => false,
    };
    if !excused {
        attempts.met(lease, Mishap::Answer);
    }
}

/// A connection to the lease's endpoint, and whether it was used before.
async fn connection(
    attempts: &mut Attempts<'_>,
    worker: &Worker,
    timer: &LazyTimer,
    way: Way<'_>,
    lease: &Lease,
    fresh_only: bool,
) -> Result<(Connection, bool), Failure> {
    let counters = way.upstream.counters.at(worker.id);
    if attempts.is_retry() || fresh_only {
        counters.retries.inc();
    }
    if !fresh_only
        && attempts.may_reuse()
        && let Some(connection) = worker.pool.take(lease.endpoint())
    {
        counters.reused.inc();
        return Ok((connection, true));
    }
    let dialled = dialling::connect(attempts, timer, lease).await?;
    Ok((dialled, false))
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
    /// Who answered.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.lease.endpoint()
    }

    /// The body that streams the answer to the client and gives the connection back.
    pub(super) fn into_response(
        self,
        worker: &Rc<Worker>,
        way: Way<'_>,
        claim: &Claim,
        truncated: &Rc<Cell<bool>>,
    ) -> Response<ResponseBody> {
        let Self { response, lease, is_personal } = self;
        let overhearing = match response.status() {
            StatusCode::OK => way.upstream.overhearing(claim, lease.endpoint()),
            _ => None,
        };
        let reuse = (!is_personal)
            .then(|| Reuse { worker: Rc::clone(worker), keep_alive: way.upstream.keep_alive });
        response.map(|incoming| {
            ResponseBody::upstream(Box::new(FromUpstream {
                incoming,
                reuse,
                lease: Some(lease),
                truncated: Rc::clone(truncated),
                broken: None,
                overhearing,
            }))
        })
    }
}

/// A request with these fields, `length` being their Content-Length, and `preface` before it.
pub(super) fn outbound(
    parts: &Parts,
    fields: &OutboundFields,
    length: Option<u64>,
    body: RequestBody,
    preface: Option<Bytes>,
) -> Outbound {
    let framing = match (body.is_none(), length) {
        (true, _) => Framing::Empty,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    };
    let target = super::origin_form(&parts.uri);
    Outbound {
        method: parts.method.clone(),
        head: request_head(&parts.method, &target, fields.iter(), framing),
        framing,
        body: (!body.is_none()).then_some(body),
        preface,
        is_personal: connection_auth::is_bound(&fields.said, &AUTHORIZATION),
    }
}

/// The one Content-Length of a head that was checked.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
