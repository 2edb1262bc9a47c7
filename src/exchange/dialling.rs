//! From an upstream to a connection that HTTP can be spoken on, trying one endpoint after another
//! until one answers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::entry;
use super::reply::Refusal;
use super::timer::LazyTimer;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::jitter::somewhat_less;
use crate::upstream::http1::{AnswerError, Connection};
use crate::upstream::{Claim, Endpoint, Lease, Mishap, Shut, is_local};

/// The attempts of one request: what it has tried in vain, and what is told of what it met.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    worker: &'a Worker,
    way: Way<'a>,
    tried: Vec<Arc<Endpoint>>,
    last: Option<Failure>,
    /// What goes out first on a connection of its own; such a one serves nobody else.
    preface: Option<Bytes>,
    /// It is to show whether its upstream is well again, and has not yet.
    probe: bool,
}

impl<'a> Attempts<'a> {
    /// None yet. `preface` is what goes out first on each connection that they dial.
    ///
    /// # Errors
    /// The refusal that the client gets when the upstream is spared.
    pub(super) fn begin(
        worker: &'a Worker,
        way: Way<'a>,
        preface: Option<Bytes>,
    ) -> Result<Self, Refusal> {
        let probe = worker.ledger.ask(way.upstream).map_err(|after| {
            Refusal::new(Failure::BreakerOpen)
                .because("breaker: too many requests to this upstream failed")
                .retry_after(after)
        })?;
        Ok(Self { worker, way, tried: Vec::new(), last: None, preface, probe })
    }

    /// Claims the next endpoint, waiting for one where they are full and there is a queue.
    ///
    /// # Errors
    /// What the last attempt failed with, when no further one may be made; else why there is none.
    pub(super) async fn lease(&self, timer: &LazyTimer, claim: &Claim) -> Result<Lease, Refusal> {
        let Self { worker, way, .. } = *self;
        let exhausted = || Refusal::new(self.last.unwrap_or(Failure::NoEndpoint));
        if self.tried.len() >= way.upstream.attempts {
            return Err(exhausted());
        }
        let found = match way.upstream.lease(claim, &self.tried) {
            Ok(lease) => Ok(lease),
            Err(Shut::NoEndpoint) => Err(None),
            // Who has been served badly already does not hold up those who were not served yet.
            Err(Shut::Full) if self.is_retry() => Err(None),
            // Boxed: few ever wait, and every request would carry its size.
            Err(Shut::Full) => Box::pin(entry::queue(worker, timer, way, claim, &self.tried)).await,
        };
        if !self.is_retry() {
            return found.map_err(|refusal| refusal.unwrap_or_else(exhausted));
        }
        // Asked last, so that only what could be made is taken out or counted.
        let lease = found.map_err(|_| exhausted())?;
        if worker.ledger.may_retry(way.upstream) {
            return Ok(lease);
        }
        way.upstream.counters.at(worker.id).retries_refused.inc();
        Err(exhausted())
    }

    /// Tells that an endpoint has answered.
    pub(super) fn answered(&mut self, lease: &Lease, status: StatusCode) {
        self.way.upstream.answered(lease.endpoint(), status);
        self.note(self.way.upstream.is_failure(status));
    }

    /// Tells what speaks against an endpoint.
    pub(super) fn met(&mut self, lease: &Lease, mishap: Mishap) {
        self.way.upstream.failed(lease.endpoint(), mishap);
        self.note(true);
    }

    fn note(&mut self, failed: bool) {
        let Self { worker, way, .. } = *self;
        let probe = std::mem::take(&mut self.probe);
        worker.ledger.note(way.upstream, way.upstream.counters.at(worker.id), failed, probe);
    }

    /// Notes that an endpoint failed; the next lease is for another.
    pub(super) fn failed(&mut self, lease: &Lease, failure: Failure) {
        self.tried.push(Arc::clone(lease.endpoint()));
        self.last = Some(failure);
    }

    /// Whether a kept connection will do.
    pub(super) fn may_reuse(&self) -> bool {
        self.preface.is_none()
    }

    /// Whether something was tried already.
    pub(super) fn is_retry(&self) -> bool {
        !self.tried.is_empty()
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.worker.ledger.give_up(self.way.upstream);
        }
    }
}

/// Connects to the lease's endpoint, within the route's time.
///
/// # Errors
/// The failure that the client gets when there is no other endpoint.
pub(super) async fn connect(
    attempts: &mut Attempts<'_>,
    timer: &LazyTimer,
    lease: &Lease,
) -> Result<Connection, Failure> {
    let Attempts { worker, way, .. } = *attempts;
    let counters = way.upstream.counters.at(worker.id);
    let began = Instant::now();
    let patience = way.route.timeouts.connect;
    // Boxed: most requests find a pooled connection and never dial.
    let dialling = way.upstream.dial(lease.endpoint(), worker.id);
    let dialling = Box::pin(timer.within(patience, dialling));
    let (failure, error) = match dialling.await {
        Some(Ok(socket)) => {
            counters.connects.inc();
            counters.connect_seconds.observe(began.elapsed());
            return Ok(match &attempts.preface {
                Some(preface) => Connection::once(socket, preface.clone()),
                None => {
                    let age = way.upstream.keep_alive.max_age.map(somewhat_less);
                    Connection::lasting(socket, age.and_then(|age| began.checked_add(age)))
                }
            });
        }
        Some(Err(error)) => (not_connected(&error), error),
        None => (Failure::ConnectTimeout, io::ErrorKind::TimedOut.into()),
    };
    if !is_local(&error) {
        attempts.met(lease, Mishap::Connect);
    }
    counters.connect_failures.inc();
    tracing::warn!(
        upstream = &*way.upstream.name, endpoint = lease.endpoint().label, %error,
        "cannot connect to an endpoint"
    );
    Err(failure)
}

/// What a failed dial says about the upstream.
fn not_connected(error: &io::Error) -> Failure {
    match error.kind() {
        // A path that is not there is a server that does not run.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Failure::ConnectRefused,
        _ => Failure::ConnectFailed,
    }
}

/// What a missing answer says about the upstream.
pub(super) fn blame(error: &AnswerError) -> Failure {
    match error {
        AnswerError::Malformed(_) => Failure::BadResponse,
        AnswerError::Ended | AnswerError::Failed(_) | AnswerError::RequestBroken => {
            Failure::ConnectionLost
        }
    }
}
