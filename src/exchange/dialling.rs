//! From an upstream to a connection that HTTP can be spoken on, trying one endpoint after another
//! until one answers.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::entry;
use super::reply::Refusal;
use super::timer::LazyTimer;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::upstream::http1::{AnswerError, Connection};
use crate::upstream::{Claim, Endpoint, Lease, Mishap, Shut, dial, is_local};

/// Endpoints that one request tries at most: enough to pass over a dead one, few enough that a
/// dead upstream does not triple every client's wait further.
const MAX_ATTEMPTS: usize = 3;

/// The endpoints that a request has tried in vain.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    tried: Vec<Arc<Endpoint>>,
    last: Option<Failure>,
}

impl Attempts {
    /// Claims the next endpoint, waiting for one where they are full and there is a queue.
    ///
    /// # Errors
    /// What the last attempt failed with, when no further one may be made; else why there is none.
    pub(super) async fn lease(
        &self,
        worker: &Worker,
        timer: &LazyTimer,
        way: Way<'_>,
        claim: &Claim,
    ) -> Result<Lease, Refusal> {
        let exhausted = || Refusal::new(self.last.unwrap_or(Failure::NoEndpoint));
        if self.tried.len() >= MAX_ATTEMPTS {
            return Err(exhausted());
        }
        let refusal = match way.upstream.lease(claim, &self.tried) {
            Ok(lease) => return Ok(lease),
            Err(Shut::NoEndpoint) => None,
            // Boxed: few ever wait, and every request would carry its size.
            Err(Shut::Full) => {
                match Box::pin(entry::queue(worker, timer, way, claim, &self.tried)).await {
                    Ok(lease) => return Ok(lease),
                    Err(refusal) => refusal,
                }
            }
        };
        Err(refusal.filter(|_| !self.is_retry()).unwrap_or_else(exhausted))
    }

    /// Notes that an endpoint failed; the next lease is for another.
    pub(super) fn failed(&mut self, lease: &Lease, failure: Failure) {
        self.tried.push(Arc::clone(lease.endpoint()));
        self.last = Some(failure);
    }

    /// Whether something was tried already.
    pub(super) fn is_retry(&self) -> bool {
        !self.tried.is_empty()
    }
}

/// Connects to the lease's endpoint, within the route's time.
///
/// # Errors
/// The failure that the client gets when there is no other endpoint.
pub(super) async fn connect(
    worker: &Worker,
    timer: &LazyTimer,
    way: Way<'_>,
    lease: &Lease,
) -> Result<Connection, Failure> {
    let counters = way.upstream.counters.at(worker.id);
    let began = Instant::now();
    let patience = way.route.timeouts.connect;
    // Boxed: most requests find a pooled connection and never dial.
    let dialling = Box::pin(timer.within(patience, dial(&lease.endpoint().target)));
    let (failure, error) = match dialling.await {
        Some(Ok(stream)) => {
            counters.connects.inc();
            counters.connect_seconds.observe(began.elapsed());
            return Ok(Connection::new(stream));
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            (Failure::ConnectRefused, error)
        }
        Some(Err(error)) => (Failure::ConnectFailed, error),
        None => (Failure::ConnectTimeout, io::ErrorKind::TimedOut.into()),
    };
    if !is_local(&error) {
        way.upstream.failed(lease.endpoint(), Mishap::Connect);
    }
    counters.connect_failures.inc();
    tracing::warn!(
        upstream = &*way.upstream.name, endpoint = lease.endpoint().label, %error,
        "cannot connect to an endpoint"
    );
    Err(failure)
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
